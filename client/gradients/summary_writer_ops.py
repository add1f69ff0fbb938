"""Writing event files has no gradients."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable(
    "SummaryWriter",
    "CreateSummaryFileWriter",
    "ImportEvent",
    "FlushSummaryWriter",
    "CloseSummaryWriter",
)
