"""Colors of images: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import unchanged
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import FLOATING
from flowray.proto.types.shapes import Shape, with_rank, with_rank_at_least, with_value

_HALF_OR_FLOAT = attr("type", dtypes.float32, allowed={dtypes.float16, dtypes.float32})


def _colors(c: ShapeContext) -> Shape:
    images = with_rank_at_least(c.inputs[0], 1)
    return None if images is None else (*images[:-1], with_value(images[-1], 3))


# As in TensorFlow 1: scripts rely on it that gradients end at a conversion of colors.
for _name in ("RGBToHSV", "HSVToRGB"):
    op(
        _name,
        "images: T -> output: T",
        T=attr("type", dtypes.float32, allowed=FLOATING),
        differentiable=False,
        shape=_colors,
    )


def _adjusted(c: ShapeContext) -> Shape:
    with_rank_at_least(c.inputs[0], 3)
    with_rank(c.inputs[1], 0)
    return unchanged(c)


op(
    "AdjustContrastv2",
    "images: T, contrast_factor: float32 -> output: T",
    T=_HALF_OR_FLOAT,
    shape=_adjusted,
)
op("AdjustHue", "images: T, delta: float32 -> output: T", T=_HALF_OR_FLOAT, shape=_adjusted)
op("AdjustSaturation", "images: T, scale: float32 -> output: T", T=_HALF_OR_FLOAT, shape=_adjusted)
