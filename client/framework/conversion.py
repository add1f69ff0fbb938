"""``tf.convert_to_tensor`` and ``tf.constant``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowray.client.framework.graph import Graph, Tensor, get_default_graph
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes, tensors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Dimension, TensorShape, as_shape

ConversionFunction = Callable[..., Any]

_conversions: list[tuple[int, int, type | tuple[type, ...], ConversionFunction]] = []


@tf_export("register_tensor_conversion_function")
def register_tensor_conversion_function(
    base_type: type | tuple[type, ...],
    conversion_func: ConversionFunction,
    priority: int = 100,
) -> None:
    """Registers ``f(value, dtype, name, as_ref) -> Tensor | NotImplemented`` for ``base_type``.

    Lower priorities are tried first; among equals, the earlier registered one.
    """
    _conversions.append((priority, len(_conversions), base_type, conversion_func))
    _conversions.sort(key=lambda entry: entry[:2])


@tf_export("convert_to_tensor")
def convert_to_tensor(
    value: Any,
    dtype: Any = None,
    name: str | None = None,
    preferred_dtype: Any = None,
    as_ref: bool = False,
) -> Tensor:
    """Converts ``value`` to a Tensor: itself, a variable's value, or a constant.

    Args:
        value: a Tensor, a variable, a numpy array, Python numbers, strings and lists of these.
        dtype: the dtype of the result; None takes the value's own.
        name: the name of the constant, if one is made.
        preferred_dtype: a dtype to try first where ``dtype`` is None.
        as_ref: whether a variable may come as its reference.

    Raises:
        TypeError: the value has no tensor form, or none of ``dtype``.
        ValueError: a tensor of another dtype.
    """
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(value, Tensor):
        if wanted is not None and not wanted.is_compatible_with(value.dtype):
            raise ValueError(
                f"Tensor conversion requested dtype {wanted.name} for Tensor with dtype "
                f"{value.dtype.name}: {str(value)!r}"
            )
        return value
    preferred = None if preferred_dtype is None else dtypes.as_dtype(preferred_dtype)
    for _, _, base_type, function in _conversions:
        if not isinstance(value, base_type):
            continue
        result: Any = NotImplemented
        if wanted is None and preferred is not None:
            try:
                result = function(value, dtype=preferred, name=name, as_ref=as_ref)
            except (TypeError, ValueError):
                result = NotImplemented
            if result is not NotImplemented and result.dtype.base_dtype != preferred.base_dtype:
                result = NotImplemented
        if result is NotImplemented:
            result = function(value, dtype=wanted, name=name, as_ref=as_ref)
        if result is NotImplemented:
            continue
        if wanted is not None and not wanted.is_compatible_with(result.dtype):
            raise RuntimeError(
                f"Conversion function for type {base_type} returned incompatible dtype: requested "
                f"= {wanted.name}, actual = {result.dtype.name}"
            )
        tensor: Tensor = result
        return tensor
    raise TypeError(
        f"Cannot convert {value!r} with type {type(value)} to Tensor: no conversion function "
        "registered."
    )


def convert_n_to_tensor(
    values: Sequence[Any],
    dtype: Any = None,
    name: str | None = None,
    preferred_dtype: Any = None,
    as_ref: bool = False,
) -> list[Tensor]:
    """Converts each value with ``convert_to_tensor``; the names are ``name_0``, ``name_1``..."""
    return [
        convert_to_tensor(
            v, dtype, None if name is None else f"{name}_{i}", preferred_dtype, as_ref
        )
        for i, v in enumerate(values)
    ]


@tf_export("convert_to_tensor_or_indexed_slices")
def convert_to_tensor_or_indexed_slices(
    value: Any, dtype: Any = None, name: str | None = None
) -> Tensor | IndexedSlices:
    """Returns IndexedSlices as they are, and ``convert_to_tensor(value)`` for other values."""
    if isinstance(value, IndexedSlices):
        if dtype is not None and not dtypes.as_dtype(dtype).is_compatible_with(value.dtype):
            raise ValueError(
                f"Tensor conversion requested dtype {dtypes.as_dtype(dtype).name} for Tensor with "
                f"dtype {value.dtype.name}: {value}"
            )
        return value
    return convert_to_tensor(value, dtype, name)


@tf_export("constant")
def constant(
    value: Any,
    dtype: Any = None,
    shape: Any = None,
    name: str = "Const",
    verify_shape: bool = False,
) -> Tensor:
    """Adds a Const op that holds ``value``.

    Args:
        value: a number, string, array or (nested) list of these.
        dtype: its dtype; inferred if None (Python floats are float32, ints int32).
        shape: its shape; a shorter value is filled up with its last element.
        name: the name of the op.
        verify_shape: whether ``value`` must have just ``shape``.

    Raises:
        TypeError: the value does not fit the dtype; or, with ``verify_shape``, the shape.
        ValueError: the value has more elements than ``shape``.
    """
    graph = get_default_graph()
    proto = tensors.make_tensor_proto(
        value,
        dtype=None if dtype is None else dtypes.as_dtype(dtype),
        shape=None if shape is None else as_shape(shape).as_list(),
        verify_shape=verify_shape,
    )
    return _make_const(graph, proto, name)


def _make_const(graph: Graph, proto: Any, name: str) -> Tensor:
    return graph.create_op(
        "Const", [], name=name, attrs={"value": proto, "dtype": dtypes.as_dtype(proto.dtype)}
    )._outputs[0]


def _constant_conversion(
    value: Any, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    return constant(value, dtype, name=name or "Const")


def _shape_conversion(
    value: TensorShape, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    if not value.is_fully_defined():
        raise ValueError(f"Cannot convert a partially known TensorShape to a Tensor: {value}")
    dims = value.as_list()
    if dtype is None:
        fits = all(d is None or d <= 2**31 - 1 for d in dims)
        dtype = dtypes.int32 if fits else dtypes.int64
    elif dtype not in (dtypes.int32, dtypes.int64):
        raise TypeError(f"Cannot convert a TensorShape to dtype: {dtype.name}")
    return constant(dims, dtype, shape=[len(dims)], name=name or "shape_as_tensor")


def _dimension_conversion(
    value: Dimension, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    if value.value is None:
        raise ValueError(f"Cannot convert an unknown Dimension to a Tensor: {value}")
    return constant(value.value, dtype or dtypes.int32, name=name or "shape_as_tensor")


def contains_tensor(value: Any) -> bool:
    """Returns True if a nested list or tuple has a tensor or variable among its items."""
    if isinstance(value, list | tuple):
        return any(contains_tensor(item) for item in value)
    return isinstance(value, Tensor) or hasattr(value, "_as_graph_element")


def _sequence_conversion(
    value: Any, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Any:
    value = [int(v) if isinstance(v, Dimension) else v for v in value]
    return constant(value, dtype, name=name or "Const")


def dtype_of_tensors(value: Any) -> DType | None:
    """Returns the base dtype of the first tensor or variable in nested sequences, or None."""
    if isinstance(value, list | tuple):
        found = (dtype_of_tensors(item) for item in value)
        return next((d for d in found if d is not None), None)
    dtype = getattr(value, "dtype", None)
    if isinstance(value, Tensor) or hasattr(value, "_as_graph_element"):
        return None if dtype is None else dtype.base_dtype
    return None


def own_dtype(value: Any) -> DType | None:
    """Returns the dtype that ``convert_to_tensor(value)`` has; None if it would fail."""
    dtype = getattr(value, "dtype", None)
    if dtype is None and contains_tensor(value):
        return dtype_of_tensors(value)
    try:
        dtype = tensors.make_tensor_proto(value).dtype if dtype is None else dtype
        return dtypes.as_dtype(dtype).base_dtype
    except (TypeError, ValueError):
        return None


register_tensor_conversion_function(TensorShape, _shape_conversion, 90)
register_tensor_conversion_function(Dimension, _dimension_conversion, 90)
register_tensor_conversion_function((list, tuple), _sequence_conversion, 95)
register_tensor_conversion_function(np.ndarray, _constant_conversion, 100)
register_tensor_conversion_function(object, _constant_conversion, 200)
