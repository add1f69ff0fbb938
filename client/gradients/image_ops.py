"""Colors of images: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.gradients.registry import gradient


@gradient("AdjustContrastv2", "AdjustHue", "AdjustSaturation")
def without(op: Any, *grads: Any) -> None:
    """Raises LookupError, as TensorFlow does; a gradient of None would be silently wrong."""
    raise LookupError(f"No gradient defined for operation '{op.name}' (op type: {op.type})")
