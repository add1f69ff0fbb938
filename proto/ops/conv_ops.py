"""Convolutions: definitions."""

from __future__ import annotations

from collections.abc import Sequence

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
from flowray.proto.types.dtypes import FLOATING, bfloat16, float16, float32, float64, int32, int64
from flowray.proto.types.shapes import Shape, merge_dims, with_rank

_CONV_TYPES = frozenset({float16, bfloat16, float32, float64, int32})


# Shape functions ----------------------------------------------------------------------------------


def _spatial_outputs(
    c: ShapeContext, source: Sequence[int | None], extents: Sequence[int | None], rank: int
) -> list[int | None]:
    axes = spatial_axes(c.attr("data_format"), rank)
    strides, dilations = steps(c, "strides", rank), steps(c, "dilations", rank)
    explicit = pairs(explicit_paddings(c, rank), axes)
    return [
        output_size(source[a], extent, strides[a], c.attr("padding"), dilations[a], pad)
        for a, extent, pad in zip(axes, extents, explicit, strict=True)
    ]


def conv_shape(c: ShapeContext, rank: int = 4) -> Shape:
    """Returns a convolution's output shape.

    The input's depth may be a multiple of the filter's: the number of groups.
    """
    source, weights = with_rank(c.inputs[0], rank), with_rank(c.inputs[1], rank)
    data_format = c.attr("data_format")
    depth, filter_depth = source[channel_axis(data_format, rank)], weights[-2]
    if filter_depth == 0:
        raise ValueError("Depth of filter must not be 0")
    if depth is not None and filter_depth is not None:
        if depth % filter_depth:
            raise ValueError(
                f"Depth of input ({depth}) is not a multiple of input depth of filter "
                f"({filter_depth})"
            )
        groups = depth // filter_depth
        if groups and weights[-1] is not None and weights[-1] % groups:
            raise ValueError(
                f"Depth of output ({weights[-1]}) is not a multiple of the number of groups "
                f"({groups})"
            )
    spatial = _spatial_outputs(c, source, weights[:-2], rank)
    return assemble(data_format, source[0], spatial, weights[-1])


def depthwise_conv_shape(c: ShapeContext) -> Shape:
    """Returns a depthwise convolution's output shape: the depth times the multiplier."""
    source, weights = with_rank(c.inputs[0], 4), with_rank(c.inputs[1], 4)
    data_format = c.attr("data_format")
    depth = merge_dims(source[channel_axis(data_format, 4)], weights[2])
    multiplier = weights[3]
    channels = None if depth is None or multiplier is None else depth * multiplier
    spatial = _spatial_outputs(c, source, weights[:2], 4)
    return assemble(data_format, source[0], spatial, channels)


def conv_backprop_input_shape(c: ShapeContext) -> Shape:
    """Returns the shape that input 0 holds, in full or for the spatial dimensions only."""
    with_rank(c.inputs[0], 1)
    if c.inputs[0] == (2,):  # height and width: batch and depth come from the other inputs
        data_format = c.attr("data_format")
        gradient, weights = with_rank(c.inputs[2], 4), with_rank(c.inputs[1], 4)
        spatial = with_rank(c.constant_shape(0), 2)
        return assemble(data_format, gradient[0], spatial, weights[2])
    return sizes_shape(c, 0, 4)


# Convolutions -------------------------------------------------------------------------------------

_CONV_2D = {
    "strides": attr("list(int)"),
    "padding": ANY_PADDING,
    "explicit_paddings": NO_PADDINGS,
    "data_format": FORMAT_2D,
    "dilations": [1, 1, 1, 1],
}
_CONV_3D = {
    "strides": attr("list(int)", minimum=5),
    "padding": SAME_OR_VALID,
    "data_format": FORMAT_3D,
    "dilations": [1, 1, 1, 1, 1],
}

op(
    "Conv2D",
    "input: T, filter: T -> output: T",
    T=_CONV_TYPES,
    use_cudnn_on_gpu=True,
    **_CONV_2D,
    expensive=True,
    shape=conv_shape,
    hints=["use_cudnn_on_gpu"],
)
op(
    "Conv2DBackpropInput",
    "input_sizes: int32, filter: T, out_backprop: T -> output: T",
    T=_CONV_TYPES,
    use_cudnn_on_gpu=True,
    **_CONV_2D,
    expensive=True,
    shape=conv_backprop_input_shape,
    static_inputs=[0],
    hints=["use_cudnn_on_gpu"],
)
op(
    "Conv2DBackpropFilter",
    "input: T, filter_sizes: int32, out_backprop: T -> output: T",
    T=FLOATING,
    use_cudnn_on_gpu=True,
    **_CONV_2D,
    expensive=True,
    shape=lambda c: sizes_shape(c, 1, 4),
    static_inputs=[1],
    hints=["use_cudnn_on_gpu"],
)
op(
    "DepthwiseConv2dNative",
    "input: T, filter: T -> output: T",
    T=FLOATING,
    **_CONV_2D,
    expensive=True,
    shape=depthwise_conv_shape,
)
op(
    "DepthwiseConv2dNativeBackpropInput",
    "input_sizes: int32, filter: T, out_backprop: T -> output: T",
    T=FLOATING,
    **_CONV_2D,
    expensive=True,
    shape=lambda c: sizes_shape(c, 0, 4),
    static_inputs=[0],
)
op(
    "DepthwiseConv2dNativeBackpropFilter",
    "input: T, filter_sizes: int32, out_backprop: T -> output: T",
    T=FLOATING,
    **_CONV_2D,
    expensive=True,
    shape=lambda c: sizes_shape(c, 1, 4),
    static_inputs=[1],
)
op(
    "Conv3D",
    "input: T, filter: T -> output: T",
    T=FLOATING,
    **_CONV_3D,
    expensive=True,
    shape=lambda c: conv_shape(c, 5),
)
op(
    "Conv3DBackpropInputV2",
    "input_sizes: Tshape, filter: T, out_backprop: T -> output: T",
    T=FLOATING,
    Tshape=attr("type", int32, allowed=[int32, int64]),
    **_CONV_3D,
    expensive=True,
    shape=lambda c: sizes_shape(c, 0, 5),
    static_inputs=[0],
)
op(
    "Conv3DBackpropFilterV2",
    "input: T, filter_sizes: int32, out_backprop: T -> output: T",
    T=FLOATING,
    **_CONV_3D,
    expensive=True,
    shape=lambda c: sizes_shape(c, 1, 5),
    static_inputs=[1],
)
