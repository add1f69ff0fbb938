"""Boxes in images: gradients, of which there are none."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable(
    "DrawBoundingBoxes",
    "DrawBoundingBoxesV2",
    "NonMaxSuppression",
    "NonMaxSuppressionV2",
    "NonMaxSuppressionV3",
    "NonMaxSuppressionV4",
    "SampleDistortedBoundingBox",
    "SampleDistortedBoundingBoxV2",
)
