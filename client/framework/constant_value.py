"""Values of tensors that are known while the graph is being built.

As TensorFlow's ``tensor_util``: enough of an evaluator to see through the usual shape arithmetic.
Evaluators are registered per op type by the op families of the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flowray.proto.ops import strided_slice
from flowray.proto.types import tensors
from flowray.proto.types.shapes import Shape

if TYPE_CHECKING:
    from flowray.client.framework.graph import Operation, Tensor

Array = np.ndarray[Any, Any]
Evaluator = Callable[["Operation", list["Array | None"]], "Array | None"]
PartialEvaluator = Callable[["Operation"], Shape]

_evaluators: dict[str, Evaluator] = {}
_partial_evaluators: dict[str, PartialEvaluator] = {}
_MAX_ELEMENTS = 1 << 16  # folding is for shapes and axes, not for data
_MAX_DEPTH = 50


def evaluator(op_type: str) -> Callable[[Evaluator], Evaluator]:
    """Registers ``f(op, input_values) -> value | None``; an unknown input is passed as None."""

    def register(function: Evaluator) -> Evaluator:
        if op_type in _evaluators:
            raise ValueError(f"a constant evaluator of {op_type!r} is registered already")
        _evaluators[op_type] = function
        return function

    return register


def partial_shape_evaluator(op_type: str) -> Callable[[PartialEvaluator], PartialEvaluator]:
    """Registers ``f(op) -> Shape``: the op's output 0, a shape vector, as far as it is known."""

    def register(function: PartialEvaluator) -> PartialEvaluator:
        if op_type in _partial_evaluators:
            raise ValueError(f"a partial evaluator of {op_type!r} is registered already")
        _partial_evaluators[op_type] = function
        return function

    return register


def constant_value(tensor: Tensor) -> Array | None:
    """Returns the value of ``tensor`` as an array if the graph alone determines it, else None."""
    return _value(tensor, {}, _MAX_DEPTH)


def _value(tensor: Tensor, seen: dict[int, Array | None], depth: int) -> Array | None:
    """Computes ``constant_value``; ``seen`` holds the values that this call has found already.

    Only values are kept on the tensor: what is unknown may become known by ``set_shape``.
    """
    known: Array | None = tensor.__dict__.get("constant")
    if known is not None or id(tensor) in seen:
        return known if known is not None else seen[id(tensor)]
    operation = tensor.op
    function = _evaluators.get(operation.type)
    if function is None or tensor._value_index != 0 or depth == 0:
        return None
    value = function(operation, [_value(t, seen, depth - 1) for t in operation._inputs])
    if value is not None:
        value = np.asarray(value, dtype=tensor.dtype.base_dtype.as_numpy_dtype)
        tensor.__dict__["constant"] = value
    seen[id(tensor)] = value
    return value


def constant_value_as_shape(tensor: Tensor) -> Shape:
    """Returns the value of a shape vector, with None for unknown entries; None for a scalar -1."""
    value = constant_value(tensor)
    if value is not None:
        if value.ndim == 0:
            if value >= 0:
                raise ValueError("Received a scalar with value >= 0 as shape; must be -1")
            return None
        if (value < -1).any():
            raise ValueError(f"Invalid value in tensor used for shape: {value[value < -1][0]}")
        return tuple(int(d) if d >= 0 else None for d in value)
    function = _partial_evaluators.get(tensor.op.type)
    if function is not None and tensor._value_index == 0:
        result = function(tensor.op)
        if result is not None:
            return result
    shape = tensor._shape
    if shape is not None and len(shape) == 1 and shape[0] is not None:
        return (None,) * shape[0]
    return None


@evaluator("Const")
def _const(op: Operation, inputs: list[Array | None]) -> Array | None:
    return tensors.decode(op.node_def.attr["value"].tensor)


@evaluator("Shape")
def _shape(op: Operation, inputs: list[Array | None]) -> Array | None:
    shape = op._inputs[0]._shape
    return None if shape is None or None in shape else np.array(shape, np.int64)


@evaluator("Size")
def _size(op: Operation, inputs: list[Array | None]) -> Array | None:
    shape = op._inputs[0]._shape
    if shape is None or None in shape:
        return None
    return np.array(np.prod(np.array(shape, np.int64), dtype=np.int64))


@evaluator("Rank")
def _rank(op: Operation, inputs: list[Array | None]) -> Array | None:
    shape = op._inputs[0]._shape
    return None if shape is None else np.array(len(shape))


def _whole(function: Callable[..., Any]) -> Evaluator:
    """Returns an evaluator that needs all its inputs."""

    def evaluate(op: Operation, inputs: list[Array | None]) -> Array | None:
        if any(v is None or v.size > _MAX_ELEMENTS for v in inputs):
            return None
        return np.asarray(function(op, *inputs))

    return evaluate


def _strided_slice(op: Operation, x: Array, begin: Array, end: Array, strides: Array) -> Any:
    selections, shape = strided_slice.resolve(
        x.shape, begin.tolist(), end.tolist(), strides.tolist(), _masks(op)
    )
    assert shape is not None
    return x[tuple(s.as_slice for s in selections)].reshape(shape)


def _masks(op: Operation) -> strided_slice.Masks:
    names = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    return strided_slice.Masks(*(op.get_attr(f"{name}_mask") for name in names))


def _slice(op: Operation, x: Array, begin: Array, size: Array) -> Any:
    ends = [None if n == -1 else b + n for b, n in zip(begin.tolist(), size.tolist(), strict=True)]
    return x[tuple(slice(b, e) for b, e in zip(begin.tolist(), ends, strict=True))]


def _fill(op: Operation, dims: Array, value: Array) -> Any:
    if np.prod(dims, dtype=np.int64) > _MAX_ELEMENTS:
        return None
    return np.full(tuple(int(d) for d in dims), value)


_WHOLE: dict[str, Callable[..., Any]] = {
    "Identity": lambda op, x: x,
    "StopGradient": lambda op, x: x,
    "Cast": lambda op, x: x.astype(op.get_attr("DstT").as_numpy_dtype),
    "Pack": lambda op, *xs: np.stack(xs, axis=op.get_attr("axis")),
    "ConcatV2": lambda op, *xs: np.concatenate(xs[:-1], axis=int(xs[-1])),
    "Range": lambda op, start, limit, delta: np.arange(start, limit, delta),
    "ExpandDims": lambda op, x, axis: np.expand_dims(x, int(axis.reshape(()))),
    "Reshape": lambda op, x, shape: x.reshape(tuple(int(d) for d in shape)),
    "Squeeze": lambda op, x: np.squeeze(x, tuple(op.get_attr("squeeze_dims")) or None),
    "Slice": _slice,
    "Fill": _fill,
    "Add": lambda op, x, y: x + y,
    "AddV2": lambda op, x, y: x + y,
    "Sub": lambda op, x, y: x - y,
    "Mul": lambda op, x, y: x * y,
    "Neg": lambda op, x: -x,
    "FloorDiv": lambda op, x, y: x // y if np.all(y != 0) else None,
    "FloorMod": lambda op, x, y: x % y if np.all(y != 0) else None,
    "Maximum": lambda op, x, y: np.maximum(x, y),
    "Minimum": lambda op, x, y: np.minimum(x, y),
    "Equal": lambda op, x, y: x == y,
    "NotEqual": lambda op, x, y: x != y,
    "Prod": lambda op, x, axis: np.prod(
        x, axis=tuple(int(a) for a in axis.reshape(-1)), keepdims=op.get_attr("keep_dims")
    ),
    "ZerosLike": lambda op, x: np.zeros_like(x) if x.dtype != object else None,
    "OnesLike": lambda op, x: np.ones_like(x),
    "Transpose": lambda op, x, perm: np.transpose(x, perm),
    "Tile": lambda op, x, multiples: np.tile(x, multiples),
    "ReverseV2": lambda op, x, axis: np.flip(x, axis),
    "BroadcastArgs": lambda op, a, b: np.broadcast_shapes(tuple(a), tuple(b)),
    "InvertPermutation": lambda op, x: np.argsort(x),
    "GatherV2": lambda op, x, indices, axis: np.take(x, indices, axis=int(axis)),
}


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes an evaluator return None where numpy fails: the kernel will report the error."""

    def evaluate(op: Operation, *inputs: Array) -> Any:
        try:
            return function(op, *inputs)
        except (IndexError, ValueError, TypeError):
            return None

    return evaluate


def _none_or_array(function: Evaluator) -> Evaluator:
    def evaluate(op: Operation, inputs: list[Array | None]) -> Array | None:
        value = function(op, inputs)
        return None if value is None or (value.dtype == object and value.ndim == 0) else value

    return evaluate


for _op_type, _function in _WHOLE.items():
    evaluator(_op_type)(_none_or_array(_whole(_checked(_function))))


@partial_shape_evaluator("Shape")
def _partial_shape(op: Operation) -> Shape:
    return op._inputs[0]._shape


@partial_shape_evaluator("Cast")
@partial_shape_evaluator("Identity")
def _partial_same(op: Operation) -> Shape:
    return constant_value_as_shape(op._inputs[0])


@partial_shape_evaluator("Pack")
def _partial_pack(op: Operation) -> Shape:
    dims: list[int | None] = []
    for tensor in op._inputs:
        value = constant_value(tensor)
        if value is not None and value.ndim != 0:
            return None
        dims.append(None if value is None or value < 0 else int(value))
    return tuple(dims)


@partial_shape_evaluator("ConcatV2")
def _partial_concat(op: Operation) -> Shape:
    dims: tuple[int | None, ...] = ()
    for tensor in op._inputs[:-1]:
        part = constant_value_as_shape(tensor)
        if part is None:
            return None
        dims += part
    return dims


def _partial_selection(op: Operation) -> tuple[Shape, Shape]:
    """Returns the known entries of a StridedSlice of a partly known vector, and its shape.

    Entries are None where unknown; both are None where nothing is known.
    """
    index = [constant_value(t) for t in op._inputs[1:]]
    whole = constant_value_as_shape(op._inputs[0]) if op._inputs[0].dtype.is_integer else None
    if whole is None or any(v is None for v in index):
        return None, None
    try:
        begin, end, strides = (v.tolist() for v in index if v is not None)
        selections, shape = strided_slice.resolve([len(whole)], begin, end, strides, _masks(op))
    except ValueError:
        return None, None
    return whole[selections[0].as_slice], shape


@evaluator("StridedSlice")
def _strided_slice_value(op: Operation, inputs: list[Array | None]) -> Array | None:
    if all(v is not None and v.size <= _MAX_ELEMENTS for v in inputs):
        value: Array | None = _checked(_strided_slice)(op, *inputs)
        return value
    # ``tf.shape(x)[1]`` is known where that dimension is.
    if op._inputs[0]._shape is None or len(op._inputs[0]._shape) != 1:
        return None
    entries, shape = _partial_selection(op)
    if entries is None or shape is None or None in entries:
        return None
    return np.array(entries).reshape(tuple(d for d in shape if d is not None))


@partial_shape_evaluator("StridedSlice")
def _partial_strided_slice(op: Operation) -> Shape:
    entries, shape = _partial_selection(op)
    return entries if shape is not None and len(shape) == 1 else None


@partial_shape_evaluator("Slice")
def _partial_slice(op: Operation) -> Shape:
    begin, size = (constant_value(t) for t in op._inputs[1:])
    whole = constant_value_as_shape(op._inputs[0])
    if whole is None or begin is None or size is None or len(begin) != 1:
        return None
    start, count = int(begin[0]), int(size[0])
    return whole[start:] if count == -1 else whole[start : start + count]
