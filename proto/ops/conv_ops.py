"""Convolutions and pools: definitions."""

from __future__ import annotations

from collections.abc import Sequence

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.ops.windows import assemble, channel_axis, output_size, pairs, spatial_axes
from flowray.proto.types.dtypes import (
    FLOATING,
    REAL,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
)
from flowray.proto.types.shapes import Shape, merge_all, merge_dims, with_rank

_FORMAT_2D = attr("string", b"NHWC", allowed=[b"NHWC", b"NCHW"])
_FORMAT_3D = attr("string", b"NDHWC", allowed=[b"NDHWC", b"NCDHW"])
_SAME_OR_VALID = attr("string", allowed=[b"SAME", b"VALID"])
_ANY_PADDING = attr("string", allowed=[b"SAME", b"VALID", b"EXPLICIT"])
_NO_PADDINGS = attr("list(int)", [])
_CONV_TYPES = frozenset({float16, bfloat16, float32, float64, int32})
_MAX_POOL_TYPES = _CONV_TYPES | {int64, uint8, int16, int8, uint16}


# Shape functions ----------------------------------------------------------------------------------


def _steps(c: ShapeContext, name: str, rank: int) -> list[int]:
    """An attribute that has one number per dimension, all positive."""
    values: list[int] = c.attr(name)
    if len(values) != rank:
        what = {"strides": "stride", "dilations": "dilation"}.get(name, name)
        raise ValueError(
            f"The op on data format {c.attr('data_format').decode()} requires the {what} attribute "
            f"to contain {rank} values, but got: {len(values)}"
        )
    if name == "strides" and min(values) <= 0:
        raise ValueError(f"Stride must be > 0, but got {min(values)}")
    if name == "dilations" and min(values) < 1:
        raise ValueError(f"Dilation rate must be >= 1, but got {min(values)}")
    return values


def _explicit(c: ShapeContext, rank: int) -> Sequence[int]:
    """The explicit paddings, checked; an op that cannot have any has none."""
    if c.attr("padding") != b"EXPLICIT":
        return ()
    paddings: list[int] = c.attr("explicit_paddings")
    if len(paddings) != 2 * rank:
        raise ValueError(
            f"explicit_paddings attribute must contain {2 * rank} values, but got: {len(paddings)}"
        )
    if min(paddings) < 0:
        raise ValueError("All elements of explicit_paddings must be nonnegative")
    for axis in (0, channel_axis(c.attr("data_format"), rank)):
        if paddings[2 * axis] or paddings[2 * axis + 1]:
            raise ValueError(
                "Nonzero explicit padding in the batch or depth dimensions is not supported"
            )
    return paddings


def _spatial_outputs(
    c: ShapeContext, source: Sequence[int | None], extents: Sequence[int | None], rank: int
) -> list[int | None]:
    axes = spatial_axes(c.attr("data_format"), rank)
    strides, dilations = _steps(c, "strides", rank), _steps(c, "dilations", rank)
    explicit = pairs(_explicit(c, rank), axes)
    return [
        output_size(source[a], extent, strides[a], c.attr("padding"), dilations[a], pad)
        for a, extent, pad in zip(axes, extents, explicit, strict=True)
    ]


def conv_shape(c: ShapeContext, rank: int = 4) -> Shape:
    """A convolution's output; the input's depth may be a multiple of the filter's (groups)."""
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
    source, weights = with_rank(c.inputs[0], 4), with_rank(c.inputs[1], 4)
    data_format = c.attr("data_format")
    depth = merge_dims(source[channel_axis(data_format, 4)], weights[2])
    multiplier = weights[3]
    channels = None if depth is None or multiplier is None else depth * multiplier
    spatial = _spatial_outputs(c, source, weights[:2], 4)
    return assemble(data_format, source[0], spatial, channels)


def sizes_shape(c: ShapeContext, index: int, rank: int) -> Shape:
    """The shape that input ``index``, a shape vector, holds."""
    with_rank(c.inputs[index], 1)
    return with_rank(c.constant_shape(index), rank)


def conv_backprop_input_shape(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 1)
    if c.inputs[0] == (2,):  # height and width: batch and depth come from the other inputs
        data_format = c.attr("data_format")
        gradient, weights = with_rank(c.inputs[2], 4), with_rank(c.inputs[1], 4)
        spatial = with_rank(c.constant_shape(0), 2)
        return assemble(data_format, gradient[0], spatial, weights[2])
    return sizes_shape(c, 0, 4)


def pool_shape(c: ShapeContext, rank: int = 4) -> Shape:
    return _pool_shape(c, _steps(c, "ksize", rank), _steps(c, "strides", rank), rank)


def pool_v2_shape(c: ShapeContext) -> Shape:
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
    sizes = [
        output_size(source[a], ksize[a], strides[a], padding, 1, pad)
        for a, pad in zip(axes, pairs(_explicit(c, rank), axes), strict=True)
    ]
    return assemble(data_format, source[0], sizes[:-1], sizes[-1])


def pool_grad_shape(c: ShapeContext, rank: int = 4) -> Shape:
    return with_rank(c.inputs[0], rank)


# Convolutions -------------------------------------------------------------------------------------

_CONV_2D = {
    "strides": attr("list(int)"),
    "padding": _ANY_PADDING,
    "explicit_paddings": _NO_PADDINGS,
    "data_format": _FORMAT_2D,
    "dilations": [1, 1, 1, 1],
}
_CONV_3D = {
    "strides": attr("list(int)", minimum=5),
    "padding": _SAME_OR_VALID,
    "data_format": _FORMAT_3D,
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
    padding=_ANY_PADDING,
    explicit_paddings=_NO_PADDINGS,
    data_format=_FORMAT_2D,
    shape=pool_shape,
)
op(
    "MaxPoolV2",
    "input: T, ksize: int32, strides: int32 -> output: T",
    T=_FLOAT_DEFAULT,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_2D,
    shape=pool_v2_shape,
    static_inputs=[1, 2],
)
op(
    "MaxPoolGrad",
    "orig_input: T, orig_output: T, grad: T -> output: T",
    T=_REAL_DEFAULT,
    **_WINDOW_2D,
    padding=_ANY_PADDING,
    explicit_paddings=_NO_PADDINGS,
    data_format=_FORMAT_2D,
    shape=pool_grad_shape,
)
op(
    "MaxPoolGradV2",
    "orig_input: T, orig_output: T, grad: T, ksize: int32, strides: int32 -> output: T",
    T=_REAL_DEFAULT,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_2D,
    shape=pool_grad_shape,
    static_inputs=[3, 4],
)
op(
    "MaxPoolGradGrad",
    "orig_input: T, orig_output: T, grad: T -> output: T",
    T=REAL,
    **_WINDOW_2D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_2D,
    shape=lambda c: merge_all([with_rank(c.inputs[1], 4), pool_shape(c)]),
)
op(
    "MaxPoolGradGradV2",
    "orig_input: T, orig_output: T, grad: T, ksize: int32, strides: int32 -> output: T",
    T=REAL,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_2D,
    shape=lambda c: with_rank(c.inputs[1], 4),
    static_inputs=[3, 4],
)
op(
    "AvgPool",
    "value: T -> output: T",
    T=FLOATING,
    **_WINDOW_2D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_2D,
    shape=pool_shape,
)
op(
    "AvgPoolGrad",
    "orig_input_shape: int32, grad: T -> output: T",
    T=FLOATING,
    **_WINDOW_2D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_2D,
    shape=lambda c: sizes_shape(c, 0, 4),
    static_inputs=[0],
)
op(
    "MaxPool3D",
    "input: T -> output: T",
    T=attr("type", allowed=_POOL_3D_TYPES),
    **_WINDOW_3D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_3D,
    shape=lambda c: pool_shape(c, 5),
)
op(
    "MaxPool3DGrad",
    "orig_input: TInput, orig_output: TInput, grad: T -> output: T",
    T=attr("type", float32, allowed=_POOL_3D_TYPES),
    TInput=attr("type", float32, allowed=_POOL_3D_TYPES),
    **_WINDOW_3D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_3D,
    shape=lambda c: pool_grad_shape(c, 5),
)
op(
    "MaxPool3DGradGrad",
    "orig_input: T, orig_output: T, grad: T -> output: T",
    T=REAL,
    **_WINDOW_3D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_3D,
    shape=lambda c: merge_all([with_rank(c.inputs[1], 5), pool_shape(c, 5)]),
)
op(
    "AvgPool3D",
    "input: T -> output: T",
    T=FLOATING,
    **_WINDOW_3D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_3D,
    shape=lambda c: pool_shape(c, 5),
)
op(
    "AvgPool3DGrad",
    "orig_input_shape: int32, grad: T -> output: T",
    T=FLOATING,
    **_WINDOW_3D,
    padding=_SAME_OR_VALID,
    data_format=_FORMAT_3D,
    shape=lambda c: sizes_shape(c, 0, 5),
    static_inputs=[0],
)
