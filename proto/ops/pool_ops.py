"""Pools: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.ops.windows import (
    ANY_PADDING,
    FORMAT_2D,
    FORMAT_3D,
    NO_PADDINGS,
    SAME_OR_VALID,
    assemble,
    channel_axis,
    explicit_paddings,
    output_size,
    pairs,
    sizes_shape,
    spatial_axes,
    steps,
)
from flowray.proto.types.dtypes import FLOATING, REAL, bfloat16, float16, float32, uint32, uint64
from flowray.proto.types.shapes import Shape, merge_all, with_rank

_MAX_POOL_TYPES = REAL - {uint32, uint64}


# Shape functions ----------------------------------------------------------------------------------


def pool_shape(c: ShapeContext, rank: int = 4) -> Shape:
    """Returns a pool's output shape, from the attributes ``ksize`` and ``strides``."""
    return _pool_shape(c, steps(c, "ksize", rank), steps(c, "strides", rank), rank)


def pool_v2_shape(c: ShapeContext) -> Shape:
    """Returns a pool's output shape, from the inputs ``ksize`` and ``strides``."""
    source = with_rank(c.inputs[0], 4)
    ksize, strides = c.constant(1), c.constant(2)
    if ksize is None or strides is None:
        return (source[0], None, None, None)
    return _pool_shape(c, [int(k) for k in ksize], [int(s) for s in strides], 4)


def _pool_shape(c: ShapeContext, ksize: list[int], strides: list[int], rank: int) -> Shape:
    source = with_rank(c.inputs[0], rank)
    data_format = c.attr("data_format")
    padding = c.attr("padding")
    axes = (*spatial_axes(data_format, rank), channel_axis(data_format, rank))
    channels = axes[-1]
    if ksize[channels] == 1:
        # Kernels ignore a stride along the channels.
        strides = [1 if a == channels else stride for a, stride in enumerate(strides)]
    sizes = [
        output_size(source[a], ksize[a], strides[a], padding, 1, pad)
        for a, pad in zip(axes, pairs(explicit_paddings(c, rank), axes), strict=True)
    ]
    return assemble(data_format, source[0], sizes[:-1], sizes[-1])


def pool_grad_shape(c: ShapeContext, rank: int = 4) -> Shape:
    """Returns the shape of the original input."""
    return with_rank(c.inputs[0], rank)


# Pools --------------------------------------------------------------------------------------------

_WINDOW_2D = {"ksize": attr("list(int)", minimum=4), "strides": attr("list(int)", minimum=4)}
_WINDOW_3D = {"ksize": attr("list(int)", minimum=5), "strides": attr("list(int)", minimum=5)}
_FLOAT_DEFAULT = attr("type", float32, allowed=_MAX_POOL_TYPES)
_REAL_DEFAULT = attr("type", float32, allowed=REAL)
_POOL_3D_TYPES = frozenset({float16, bfloat16, float32})

op(
    "MaxPool",
    "input: T -> output: T",
    T=_FLOAT_DEFAULT,
    **_WINDOW_2D,
    padding=ANY_PADDING,
    explicit_paddings=NO_PADDINGS,
    data_format=FORMAT_2D,
    shape=pool_shape,
)
op(
    "MaxPoolV2",
    "input: T, ksize: int32, strides: int32 -> output: T",
    T=_FLOAT_DEFAULT,
    padding=SAME_OR_VALID,
    data_format=FORMAT_2D,
    shape=pool_v2_shape,
    static_inputs=[1, 2],
)
op(
    "MaxPoolGrad",
    "orig_input: T, orig_output: T, grad: T -> output: T",
    T=_REAL_DEFAULT,
    **_WINDOW_2D,
    padding=ANY_PADDING,
    explicit_paddings=NO_PADDINGS,
    data_format=FORMAT_2D,
    shape=pool_grad_shape,
)
op(
    "MaxPoolGradV2",
    "orig_input: T, orig_output: T, grad: T, ksize: int32, strides: int32 -> output: T",
    T=_REAL_DEFAULT,
    padding=SAME_OR_VALID,
    data_format=FORMAT_2D,
    shape=pool_grad_shape,
    static_inputs=[3, 4],
)
op(
    "MaxPoolGradGrad",
    "orig_input: T, orig_output: T, grad: T -> output: T",
    T=REAL,
    **_WINDOW_2D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_2D,
    shape=lambda c: merge_all([with_rank(c.inputs[1], 4), pool_shape(c)]),
)
op(
    "MaxPoolGradGradV2",
    "orig_input: T, orig_output: T, grad: T, ksize: int32, strides: int32 -> output: T",
    T=REAL,
    padding=SAME_OR_VALID,
    data_format=FORMAT_2D,
    shape=lambda c: with_rank(c.inputs[1], 4),
    static_inputs=[3, 4],
)
op(
    "AvgPool",
    "value: T -> output: T",
    T=FLOATING,
    **_WINDOW_2D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_2D,
    shape=pool_shape,
)
op(
    "AvgPoolGrad",
    "orig_input_shape: int32, grad: T -> output: T",
    T=FLOATING,
    **_WINDOW_2D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_2D,
    shape=lambda c: sizes_shape(c, 0, 4),
    static_inputs=[0],
)
op(
    "MaxPool3D",
    "input: T -> output: T",
    T=attr("type", allowed=_POOL_3D_TYPES),
    **_WINDOW_3D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_3D,
    shape=lambda c: pool_shape(c, 5),
)
op(
    "MaxPool3DGrad",
    "orig_input: TInput, orig_output: TInput, grad: T -> output: T",
    T=attr("type", float32, allowed=_POOL_3D_TYPES),
    TInput=attr("type", float32, allowed=_POOL_3D_TYPES),
    **_WINDOW_3D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_3D,
    shape=lambda c: pool_grad_shape(c, 5),
)
op(
    "MaxPool3DGradGrad",
    "orig_input: T, orig_output: T, grad: T -> output: T",
    T=REAL,
    **_WINDOW_3D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_3D,
    shape=lambda c: merge_all([with_rank(c.inputs[1], 5), pool_shape(c, 5)]),
)
op(
    "AvgPool3D",
    "input: T -> output: T",
    T=FLOATING,
    **_WINDOW_3D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_3D,
    shape=lambda c: pool_shape(c, 5),
)
op(
    "AvgPool3DGrad",
    "orig_input_shape: int32, grad: T -> output: T",
    T=FLOATING,
    **_WINDOW_3D,
    padding=SAME_OR_VALID,
    data_format=FORMAT_3D,
    shape=lambda c: sizes_shape(c, 0, 5),
    static_inputs=[0],
)
