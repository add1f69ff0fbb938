"""Sampling of classes for losses over very many of them: gradients, of which there are none."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable(
    "AllCandidateSampler", "ComputeAccidentalHits", "FixedUnigramCandidateSampler",
    "LearnedUnigramCandidateSampler", "LogUniformCandidateSampler",
    "ThreadUnsafeUnigramCandidateSampler", "UniformCandidateSampler",
)  # fmt: skip
