"""Summaries are strings: they have no gradients."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable(
    "ScalarSummary",
    "HistogramSummary",
    "ImageSummary",
    "AudioSummaryV2",
    "TensorSummaryV2",
    "MergeSummary",
)
