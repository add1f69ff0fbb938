"""User functions for convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops
from flowray.client.ops.reduction_ops import deprecated_argument
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import merge_dims


def list_of(value: Any) -> list[Any]:
    """Returns the elements of a sequence, or a list of the one number that ``value`` is."""
    return list(value) if isinstance(value, Iterable) else [value]


def expanded(value: Any, count: int, data_format: str, name: str) -> list[int]:
    """Expands a number, or one for each spatial dimension, to one for each dimension."""
    rank = count + 2
    values = [1] if value is None else list_of(value)
    if len(values) == 1:
        values = values * count
    if len(values) == rank:
        return [int(v) for v in values]
    if len(values) != count:
        raise ValueError(f"{name} should be of length 1, {count} or {rank} but was {len(values)}")
    spatial = [int(v) for v in values]
    return [1, 1, *spatial] if data_format.startswith("NC") else [1, *spatial, 1]


def padding_attrs(padding: Any) -> dict[str, Any]:
    """Returns the attributes for ``"SAME"``, ``"VALID"`` or a list of (before, after) pairs."""
    if not isinstance(padding, list | tuple):
        return {"padding": padding}
    pairs = [list(pair) for pair in padding]
    if len(pairs) != 4 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            "When padding is a list, each element of padding must be a list/tuple of size 2, and "
            f"there must be 4 of them: {padding}"
        )
    return {"padding": "EXPLICIT", "explicit_paddings": [p for pair in pairs for p in pair]}


@tf_export("nn.conv2d")
def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Computes a 2-D convolution (without flipping the filter, as usual in machine learning).

    Args:
        input: ``[batch, height, width, channels]``, or as ``data_format`` says.
        filter: ``[height, width, in_channels, out_channels]``; the input's channels may be a
            multiple of ``in_channels``: a grouped convolution.
        strides, dilations: one number, two or four of them.
        padding: ``"SAME"``, ``"VALID"``, or four (before, after) pairs.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        filters: another name of ``filter``.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    filter = deprecated_argument("filters", filters, "filter", filter)
    data_format = data_format or "NHWC"
    return output_of(
        "Conv2D",
        input,
        filter,
        strides=expanded(strides, 2, data_format, "strides"),
        **padding_attrs(padding),
        use_cudnn_on_gpu=use_cudnn_on_gpu,
        data_format=data_format,
        dilations=expanded(dilations, 2, data_format, "dilations"),
        name=name,
    )


@tf_export("nn.conv2d_backprop_input")
def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any = None,
    out_backprop: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Computes the gradient of ``conv2d`` for an input of shape ``input_sizes``."""
    filter = deprecated_argument("filter", filter, "filters", filters)
    return output_of(
        "Conv2DBackpropInput",
        input_sizes,
        filter,
        out_backprop,
        strides=expanded(strides, 2, data_format, "strides"),
        **padding_attrs(padding),
        use_cudnn_on_gpu=use_cudnn_on_gpu,
        data_format=data_format,
        dilations=expanded(dilations, 2, data_format, "dilations"),
        name=name,
    )


@tf_export("nn.conv2d_backprop_filter")
def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """Computes the gradient of ``conv2d`` for a filter of shape ``filter_sizes``."""
    return output_of(
        "Conv2DBackpropFilter",
        input,
        filter_sizes,
        out_backprop,
        strides=expanded(strides, 2, data_format, "strides"),
        **padding_attrs(padding),
        use_cudnn_on_gpu=use_cudnn_on_gpu,
        data_format=data_format,
        dilations=expanded(dilations, 2, data_format, "dilations"),
        name=name,
    )


@tf_export("nn.conv2d_transpose")
def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Computes the transpose of ``conv2d``: its gradient with respect to the input.

    Args:
        value: ``[batch, height, width, in_channels]``, or as ``data_format`` says.
        filter: ``[height, width, output_channels, in_channels]``.
        output_shape: the shape of the result.
        strides: as for ``conv2d``.
    """
    filter = deprecated_argument("filters", filters, "filter", filter)
    value = deprecated_argument("input", input, "value", value)
    with name_scope(name, "conv2d_transpose", [value, filter, output_shape]) as scope:
        data_format = data_format or "NHWC"
        if data_format not in ("NCHW", "NHWC"):
            raise ValueError("data_format has to be either NCHW or NHWC.")
        value = convert_to_tensor(value, name="value")
        filter = convert_to_tensor(filter, name="filter")
        if not filter.shape[3].is_compatible_with(value.shape[1 if data_format == "NCHW" else 3]):
            raise ValueError(
                f"input channels does not match filter's input channels, "
                f"{value.shape[1 if data_format == 'NCHW' else 3]} != {filter.shape[3]}"
            )
        return output_of(
            "Conv2DBackpropInput",
            convert_to_tensor(output_shape, name="output_shape"),
            filter,
            value,
            strides=expanded(strides, 2, data_format, "strides"),
            **padding_attrs(padding),
            data_format=data_format,
            dilations=expanded(dilations, 2, data_format, "dilations"),
            name=scope,
        )


@tf_export("nn.depthwise_conv2d")
def depthwise_conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """Convolves each channel with filters of its own.

    Args:
        input: ``[batch, height, width, channels]``, or as ``data_format`` says.
        filter: ``[height, width, channels, multiplier]``.
        rate: dilations, one or two numbers; if above 1, the strides must be 1.

    Returns:
        A tensor with ``channels * multiplier`` channels.
    """
    rate = deprecated_argument("dilations", dilations, "rate", rate)
    with name_scope(name, "depthwise", [input, filter]) as scope:
        data_format = data_format or "NHWC"
        filter = convert_to_tensor(filter, name="filter_in")
        _unread_nodes(filter, rate)
        return _depthwise(input, filter, strides, padding, rate, data_format, scope)


def _unread_nodes(filter: Any, rate: Any) -> None:
    """Makes the ops that TensorFlow makes before it finds no dilation, and leaves in the graph.

    The seeds of random ops that come after go by the number of nodes.
    """
    array_ops.shape(filter)
    rates = expanded(rate, 2, "NHWC", "rate")[1:3]
    convert_to_tensor(rates, dtypes.int32, name="dilation_rate")


def _depthwise(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    rate: Any,
    data_format: str,
    name: str | None,
) -> Tensor:
    return output_of(
        "DepthwiseConv2dNative",
        convert_to_tensor(input, name="tensor_in"),
        convert_to_tensor(filter, name="filter_in"),
        strides=expanded(strides, 2, data_format, "strides"),
        **padding_attrs(padding),
        data_format=data_format,
        dilations=expanded(rate, 2, data_format, "rate"),
        name=name,
    )


@tf_export("nn.depthwise_conv2d_native")
def depthwise_conv2d_native(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """Computes ``depthwise_conv2d`` as the bare op."""
    return _depthwise(input, filter, strides, padding, dilations, data_format, name)


@tf_export("nn.depthwise_conv2d_backprop_input", "nn.depthwise_conv2d_native_backprop_input")
def depthwise_conv2d_native_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """Computes the gradient of ``depthwise_conv2d_native`` for its input."""
    return _depthwise_backprop(
        "Input", (input_sizes, filter, out_backprop), strides, padding, data_format, dilations, name
    )


@tf_export("nn.depthwise_conv2d_backprop_filter", "nn.depthwise_conv2d_native_backprop_filter")
def depthwise_conv2d_native_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """Computes the gradient of ``depthwise_conv2d_native`` for its filter."""
    return _depthwise_backprop(
        "Filter",
        (input, filter_sizes, out_backprop),
        strides,
        padding,
        data_format,
        dilations,
        name,
    )


def _depthwise_backprop(
    what: str,
    inputs: tuple[Any, Any, Any],
    strides: Any,
    padding: Any,
    data_format: str,
    dilations: Any,
    name: str | None,
) -> Any:
    return apply_op(
        f"DepthwiseConv2dNativeBackprop{what}",
        *inputs,
        strides=expanded(strides, 2, data_format, "strides"),
        **padding_attrs(padding),
        data_format=data_format,
        dilations=expanded(dilations, 2, data_format, "dilations"),
        name=name,
    )


@tf_export("nn.separable_conv2d")
def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """Computes ``depthwise_conv2d``, then a 1x1 convolution that mixes the channels.

    Args:
        pointwise_filter: ``[1, 1, channels * multiplier, out_channels]``.
    """
    rate = deprecated_argument("dilations", dilations, "rate", rate)
    with name_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]) as scope:
        data_format = data_format or "NHWC"
        pointwise_filter = convert_to_tensor(pointwise_filter, name="pointwise_filter")
        shape = pointwise_filter.shape.with_rank(4)
        for dim in shape[:2]:
            merge_dims(dim.value, 1)
        depthwise_filter = convert_to_tensor(depthwise_filter, name="depthwise_filter")
        _unread_nodes(depthwise_filter, rate)
        depthwise = _depthwise(
            input, depthwise_filter, strides, padding, rate, data_format, "depthwise"
        )
        return conv2d(
            depthwise, pointwise_filter, [1, 1, 1, 1], "VALID", data_format=data_format, name=scope
        )


@tf_export("nn.atrous_conv2d")
def atrous_conv2d(
    value: Any, filters: Any, rate: int, padding: str, name: str | None = None
) -> Any:
    """Computes ``conv2d`` with a filter whose elements are ``rate`` apart."""
    return conv2d(value, filters, 1, padding, dilations=rate, name=name or "convolution")


@tf_export("nn.conv1d")
def conv1d(
    value: Any = None,
    filters: Any = None,
    stride: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool | None = None,
    data_format: str | None = None,
    name: str | None = None,
    input: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Computes a 1-D convolution, as a 2-D one of height 1.

    Args:
        value: ``[batch, width, channels]`` (``NWC``) or ``[batch, channels, width]`` (``NCW``).
        filters: ``[width, in_channels, out_channels]``.
    """
    value = deprecated_argument("input", input, "value", value)
    with name_scope(name, "conv1d", [value, filters]) as scope:
        first = data_format in ("NCW", "NCHW")
        if data_format not in (None, "NHWC", "NWC", "NCHW", "NCW"):
            raise ValueError('data_format must be "NWC" or "NCW".')
        axis = -2 if first else -3
        step, apart = (
            _single(v, name) for v, name in ((stride, "stride"), (dilations, "dilations"))
        )
        result = conv2d(
            apply_op("ExpandDims", value, axis),
            apply_op("ExpandDims", filters, 0),
            [1, step],
            padding,
            use_cudnn_on_gpu=use_cudnn_on_gpu is not False,
            data_format="NCHW" if first else "NHWC",
            dilations=[1, apart],
            name=scope,
        )
        return output_of("Squeeze", result, squeeze_dims=[axis])


def _single(value: Any, name: str) -> int:
    """Returns the one number of a 1-D convolution's stride or dilation."""
    if value is None:
        return 1
    values = list_of(value)
    if len(values) not in (1, 3):
        raise ValueError(f"{name} should be of length 1 or 3 but was {len(values)}")
    return int(max(values))


@tf_export("nn.conv3d")
def conv3d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str = "NDHWC",
    dilations: Any = (1, 1, 1, 1, 1),
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Computes a 3-D convolution.

    Args:
        input: ``[batch, depth, height, width, channels]``, or as ``data_format`` says.
        filter: ``[depth, height, width, in_channels, out_channels]``.
    """
    return output_of(
        "Conv3D",
        input,
        deprecated_argument("filters", filters, "filter", filter),
        strides=expanded(strides, 3, data_format, "strides"),
        padding=padding,
        data_format=data_format,
        dilations=expanded(dilations, 3, data_format, "dilations"),
        name=name,
    )


@tf_export("nn.conv1d_transpose")
def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: str = "SAME",
    data_format: str = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """Computes the transpose of ``conv1d``: its gradient with respect to the input.

    Args:
        input: ``[batch, width, in_channels]``, or as ``data_format`` says.
        filters: ``[width, output_channels, in_channels]``.
        output_shape: the shape of the result.
    """
    with name_scope(name, "conv1d_transpose", [input, filters, output_shape]) as scope:
        axis = 2 if data_format.startswith("NC") else 1
        step, apart = (_single(v, n) for v, n in ((strides, "strides"), (dilations, "dilations")))
        sizes = convert_to_tensor(output_shape, name="output_shape")
        sizes = array_ops.concat([sizes[:axis], [1], sizes[axis:]], 0)
        wide = conv2d_transpose(
            array_ops.expand_dims(input, axis),
            array_ops.expand_dims(filters, 0),
            sizes,
            [1, step],
            padding,
            "NCHW" if axis == 2 else "NHWC",
            scope,
            dilations=[1, apart],
        )
        return array_ops.squeeze(wide, [axis])


@tf_export("nn.conv3d_transpose")
def conv3d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: str = "SAME",
    data_format: str = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Computes the transpose of ``conv3d``: its gradient with respect to the input.

    Args:
        value: ``[batch, depth, height, width, in_channels]``, or as ``data_format`` says.
        filter: ``[depth, height, width, output_channels, in_channels]``.
        output_shape: the shape of the result.
        strides: as for ``conv3d``.
    """
    filter = deprecated_argument("filters", filters, "filter", filter)
    value = deprecated_argument("input", input, "value", value)
    with name_scope(name, "conv3d_transpose", [value, filter, output_shape]) as scope:
        value = convert_to_tensor(value, name="value")
        filter = convert_to_tensor(filter, name="filter")
        channels = value.shape[1 if data_format == "NCDHW" else 4]
        if not channels.is_compatible_with(filter.shape[4]):
            raise ValueError(
                "input channels does not match filter's input channels, "
                f"{channels} != {filter.shape[4]}"
            )
        return output_of(
            "Conv3DBackpropInputV2",
            convert_to_tensor(output_shape, name="output_shape"),
            filter,
            value,
            strides=expanded(strides, 3, data_format, "strides"),
            padding=padding,
            data_format=data_format,
            dilations=expanded(dilations, 3, data_format, "dilations"),
            name=scope,
        )


@tf_export("nn.conv_transpose")
def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: str = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """Computes a transposed convolution over as many dimensions (1 to 3) as the shape has."""
    with name_scope(name, "conv_transpose", [input, filters, output_shape]) as scope:
        length = len(output_shape) if isinstance(output_shape, list | tuple) else None
        rank = length or convert_to_tensor(output_shape).shape.as_list()[0]
        functions: dict[int, Any] = {
            3: conv1d_transpose, 4: conv2d_transpose, 5: conv3d_transpose,
        }  # fmt: skip
        if rank not in functions:
            raise ValueError(f"output_shape must have 3, 4 or 5 elements, got {rank}")
        layout = data_format or ("N" + "DHW"[5 - rank :] + "C")
        return functions[rank](
            input,
            filters,
            output_shape,
            strides,
            padding,
            data_format=layout,
            dilations=dilations,
            name=scope,
        )


@tf_export("nn.atrous_conv2d_transpose")
def atrous_conv2d_transpose(
    value: Any, filters: Any, output_shape: Any, rate: int, padding: str, name: str | None = None
) -> Any:
    """Computes the transpose of ``atrous_conv2d``."""
    return conv2d_transpose(
        value,
        filters,
        output_shape,
        1,
        padding,
        name=name or "atrous_conv2d_transpose",
        dilations=rate,
    )


@tf_export("nn.conv3d_backprop_filter", "nn.conv3d_backprop_filter_v2")
def conv3d_backprop_filter_v2(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: str,
    data_format: str = "NDHWC",
    dilations: Any = (1, 1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """Computes the gradient of ``conv3d`` for a filter of shape ``filter_sizes``."""
    return output_of(
        "Conv3DBackpropFilterV2",
        input,
        filter_sizes,
        out_backprop,
        strides=expanded(strides, 3, data_format, "strides"),
        padding=padding,
        data_format=data_format,
        dilations=expanded(dilations, 3, data_format, "dilations"),
        name=name,
    )


@tf_export("nn.convolution")
def convolution(
    input: Any,
    filter: Any,
    padding: str,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    filters: Any = None,
    dilations: Any = None,
) -> Any:
    """Computes a convolution over one to three spatial dimensions, by the filter's rank."""
    filter = deprecated_argument("filters", filters, "filter", filter)
    rate = deprecated_argument("dilations", dilations, "dilation_rate", dilation_rate)
    with name_scope(name, "convolution", [input, filter]) as scope:
        filter = convert_to_tensor(filter, name="filter")
        rank = filter.shape.rank
        if rank is None:
            rank = convert_to_tensor(input).shape.rank
        if rank not in (3, 4, 5):
            raise ValueError(f"input must have 1, 2 or 3 spatial dimensions, got rank {rank}")
        first = data_format is not None and data_format.startswith("NC")
        if rank == 3:
            return conv1d(
                input,
                filter,
                strides,
                padding,
                data_format="NCW" if first else "NWC",
                name=scope,
                dilations=rate,
            )
        if rank == 4:
            return conv2d(
                input,
                filter,
                strides or 1,
                padding,
                data_format="NCHW" if first else "NHWC",
                dilations=rate,
                name=scope,
            )
        return conv3d(
            input, filter, strides or 1, padding, "NCDHW" if first else "NDHWC", rate or 1, scope
        )
