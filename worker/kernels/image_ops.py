"""Kernels of colors in images."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support.axes import extremum
from flowray.worker.kernels.support.elementwise import in_float32

# Hue, saturation, value --------------------------------------------------------------------------


def _check_colors(x: Any) -> None:
    if x.ndim < 1:
        raise errors.invalid_argument(f"input must be at least 1D{format_shape(x.shape)}")
    if x.shape[-1] != 3:
        raise errors.failed_precondition(
            f"input must have 3 channels but input only has {x.shape[-1]} channels."
        )


def _split(x: Any) -> tuple[Any, Any, Any]:
    return x[..., 0], x[..., 1], x[..., 2]


def _to_hsv(xp: Any, rgb: Any) -> tuple[Any, Any, Any]:
    """Returns hue (from 0 to 1), saturation and value."""
    r, g, b = _split(rgb)
    one = rgb.dtype.type
    value = xp.maximum(xp.maximum(r, g), b)
    spread = value - xp.minimum(xp.minimum(r, g), b)
    colored = spread > 0
    saturation = xp.where(value > 0, spread / xp.where(value > 0, value, one(1)), one(0))
    sixth = one(1) / (one(6) * xp.where(colored, spread, one(1)))
    hue = xp.where(
        r == value,
        sixth * (g - b),
        xp.where(g == value, sixth * (b - r) + one(2 / 6), sixth * (r - g) + one(4 / 6)),
    )
    hue = xp.where(colored, hue, one(0))
    return xp.where(hue < 0, hue + one(1), hue), saturation, value


def _to_rgb(xp: Any, hue: Any, saturation: Any, value: Any) -> Any:
    one = hue.dtype.type
    sixths = hue * one(6)
    parts = (
        abs(sixths - one(3)) - one(1),
        one(2) - abs(sixths - one(2)),
        one(2) - abs(sixths - one(4)),
    )
    colors = [
        (one(1) - saturation + saturation * xp.clip(part, one(0), one(1))) * value for part in parts
    ]
    return xp.stack(colors, axis=-1)


@kernel("RGBToHSV")
@in_float32
def rgb_to_hsv(xp: Any, x: Any) -> Any:
    """Converts red, green and blue in [0, 1], along the last axis, to hue, saturation and value.

    A color without saturation has hue 0.
    """
    _check_colors(x)
    return xp.stack(_to_hsv(xp, x), axis=-1)


@kernel("HSVToRGB")
@in_float32
def hsv_to_rgb(xp: Any, x: Any) -> Any:
    """Converts hue, saturation and value, along the last axis, to red, green and blue."""
    _check_colors(x)
    return _to_rgb(xp, *_split(x))


# Adjusting ---------------------------------------------------------------------------------------


def _check_adjustment(x: Any, by: Any, name: str, colored: bool = True) -> None:
    if x.ndim < 3:
        raise errors.invalid_argument(
            f"input must be at least 3-D, got shape{format_shape(x.shape)}"
        )
    if by.ndim:
        raise errors.invalid_argument(f"{name} must be scalar: {format_shape(by.shape)}")
    if colored and x.shape[-1] != 3:
        raise errors.invalid_argument(
            f"input must have 3 channels but instead has {x.shape[-1]} channels."
        )


@kernel("AdjustContrastv2")
@in_float32
def adjust_contrast(xp: Any, x: Any, factor: Any) -> Any:
    """Stretches each channel of each image away from its mean by ``factor``."""
    _check_adjustment(x, factor, "contrast_factor", colored=False)
    if 0 in x.shape:
        return x
    mean = xp.mean(x, axis=(-3, -2), keepdims=True, dtype=np.float32)
    return (x - mean) * factor + mean


@kernel("AdjustHue")
@in_float32
def adjust_hue(xp: Any, x: Any, delta: Any) -> Any:
    """Adds ``delta``, in turns of the color wheel, to the hue.

    Largest and smallest channel stay.
    """
    _check_adjustment(x, delta, "delta")
    hue, _, highest = _to_hsv(xp, x)
    lowest = extremum(xp, xp.min, x, (x.ndim - 1,)) if x.size else highest
    sixths = xp.mod(hue * np.float32(6) + delta * np.float32(6), np.float32(6))
    parts = (
        abs(sixths - np.float32(3)) - np.float32(1),
        np.float32(2) - abs(sixths - np.float32(2)),
        np.float32(2) - abs(sixths - np.float32(4)),
    )
    colors = [lowest + xp.clip(part, 0, 1) * (highest - lowest) for part in parts]
    return xp.stack(colors, axis=-1).astype(np.float32)


@kernel("AdjustSaturation")
@in_float32
def adjust_saturation(xp: Any, x: Any, scale: Any) -> Any:
    """Multiplies the saturation by ``scale`` and clips it to [0, 1]."""
    _check_adjustment(x, scale, "scale")
    hue, saturation, value = _to_hsv(xp, x)
    return _to_rgb(xp, hue, xp.clip(saturation * scale, np.float32(0), np.float32(1)), value)
