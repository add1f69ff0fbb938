"""User functions for pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.conv_ops import expanded, list_of, padding_attrs
from flowray.client.ops.reduction_ops import deprecated_argument
from flowray.client.tf_export import tf_export


@tf_export("nn.max_pool")
def max_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """Takes the maximum over windows of ``ksize``.

    Args:
        value: ``[batch, height, width, channels]``, or as ``data_format`` says.
        ksize, strides: one number, two or four of them.
        padding: ``"SAME"``, ``"VALID"``, or four (before, after) pairs. Padding never is a maximum.
    """
    value = deprecated_argument("input", input, "value", value)
    with name_scope(name, "MaxPool", [value]) as scope:
        data_format = data_format or "NHWC"
        return output_of(
            "MaxPool",
            convert_to_tensor(value, name="input"),
            ksize=expanded(ksize, 2, data_format, "ksize"),
            strides=expanded(strides, 2, data_format, "strides"),
            **padding_attrs(padding),
            data_format=data_format,
            name=scope,
        )


@tf_export("nn.max_pool2d")
def max_pool2d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Any:
    """Takes the maximum over windows: ``max_pool`` by another name."""
    with name_scope(name, "MaxPool2d", [input]) as scope:
        return max_pool(input, ksize, strides, padding, data_format, scope)


@tf_export("nn.avg_pool", "nn.avg_pool2d")
def avg_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """Takes the average over windows as ``max_pool`` does; padding does not count."""
    value = deprecated_argument("input", input, "value", value)
    with name_scope(name, "AvgPool", [value]) as scope:
        data_format = data_format or "NHWC"
        return output_of(
            "AvgPool",
            convert_to_tensor(value, name="value"),
            ksize=expanded(ksize, 2, data_format, "ksize"),
            strides=expanded(strides, 2, data_format, "strides"),
            padding=padding,
            data_format=data_format,
            name=scope,
        )


avg_pool2d = avg_pool


@tf_export("nn.max_pool3d")
def max_pool3d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NDHWC",
    name: str | None = None,
) -> Any:
    """Takes the maximum over windows of three spatial dimensions."""
    return _pool3d("MaxPool3D", input, ksize, strides, padding, data_format, name)


@tf_export("nn.avg_pool3d")
def avg_pool3d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NDHWC",
    name: str | None = None,
) -> Any:
    """Takes the average over windows of three spatial dimensions."""
    return _pool3d("AvgPool3D", input, ksize, strides, padding, data_format, name)


def _pool3d(
    op_type: str,
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None,
    name: str | None,
) -> Any:
    data_format = data_format or "NDHWC"
    return apply_op(
        op_type,
        input,
        ksize=expanded(ksize, 3, data_format, "ksize"),
        strides=expanded(strides, 3, data_format, "strides"),
        padding=padding,
        data_format=data_format,
        name=name,
    )


@tf_export("nn.pool")
def pool(
    input: Any,
    window_shape: Sequence[int],
    pooling_type: str,
    padding: str,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """Computes a ``"MAX"`` or ``"AVG"`` pool over the (1 or 2) dimensions of ``window_shape``."""
    rate = deprecated_argument("dilations", dilations, "dilation_rate", dilation_rate)
    if rate is not None and any(r != 1 for r in list_of(rate)):
        raise ValueError("pool: a dilation_rate above 1 has no kernel in TensorFlow's own ops")
    functions = {"MAX": max_pool, "AVG": avg_pool}
    if pooling_type not in functions:
        raise ValueError(f"pooling_type must be MAX or AVG, got {pooling_type}")
    window, first = list(window_shape), bool(data_format and data_format.startswith("NC"))
    steps = [1] * len(window) if strides is None else list(strides)
    layout = "NCHW" if first else "NHWC"
    with name_scope(name, f"{pooling_type.lower()}_pool", [input]) as scope:
        if len(window) == 2:
            return functions[pooling_type](input, window, steps, padding, layout, scope)
        if len(window) != 1:
            raise ValueError(f"window_shape must have 1 or 2 elements, got {window}")
        axis = 2 if first else 1
        wide = apply_op("ExpandDims", convert_to_tensor(input), axis)
        pooled = functions[pooling_type](wide, [1, *window], [1, *steps], padding, layout)
        return apply_op("Squeeze", pooled, squeeze_dims=[axis], name=scope)


@tf_export("nn.max_pool1d")
def max_pool1d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NWC",
    name: str | None = None,
) -> Any:
    """Takes the maximum over windows of one spatial dimension."""
    return _pool1d(max_pool, "MaxPool1d", input, ksize, strides, padding, data_format, name)


@tf_export("nn.avg_pool1d")
def avg_pool1d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NWC",
    name: str | None = None,
) -> Any:
    """Takes the average over windows of one spatial dimension."""
    return _pool1d(avg_pool, "AvgPool1D", input, ksize, strides, padding, data_format, name)


def _pool1d(
    function: Any,
    default_name: str,
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None,
    name: str | None,
) -> Tensor:
    """Computes a pool over two dimensions, the first of which has size 1."""
    with name_scope(name, default_name, [input]) as scope:
        data_format = data_format or "NWC"
        axis = 2 if data_format.startswith("NC") else 1
        size, steps = (
            [1, *expanded(value, 1, data_format, what)[axis : axis + 1]]
            for value, what in ((ksize, "ksize"), (strides, "strides"))
        )
        layout = "NCHW" if axis == 2 else "NHWC"
        wide = apply_op("ExpandDims", convert_to_tensor(input, name="input"), axis)
        pooled = function(wide, size, steps, padding, data_format=layout)
        return output_of("Squeeze", pooled, squeeze_dims=[axis], name=scope)


@tf_export("nn.max_pool_v2")
def max_pool_v2(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    name: str | None = None,
) -> Any:
    """Takes the maximum over windows of one to three spatial dimensions, by the input's rank."""
    functions = {3: max_pool1d, 4: max_pool, 5: max_pool3d}
    return _pool_of_rank(functions, input, ksize, strides, padding, data_format, name)


@tf_export("nn.avg_pool_v2")
def avg_pool_v2(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    name: str | None = None,
) -> Any:
    """Takes the average over windows of one to three spatial dimensions, by the input's rank."""
    functions = {3: avg_pool1d, 4: avg_pool, 5: avg_pool3d}
    return _pool_of_rank(functions, input, ksize, strides, padding, data_format, name)


def _pool_of_rank(
    functions: dict[int, Any],
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str | None,
    name: str | None,
) -> Any:
    input = convert_to_tensor(input, name="input")
    rank = input.shape.rank or (None if data_format is None else len(data_format))
    if rank not in functions:
        raise ValueError(f"Input tensor must be of rank 3, 4 or 5 but was {rank}.")
    layout = data_format or ("N" + "DHW"[5 - rank :] + "C")
    return functions[rank](input, ksize, strides, padding, layout, name)
