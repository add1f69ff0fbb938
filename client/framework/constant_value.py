"""Values of tensors that are known while the graph is being built.

As TensorFlow's ``tensor_util``: enough of an evaluator to see through the usual shape arithmetic.
Evaluators are registered per op type by the op families of the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flowray.proto.shapes import Shape

if TYPE_CHECKING:
    from flowray.client.framework.graph import Operation, Tensor

Array = np.ndarray[Any, Any]
Evaluator = Callable[["Operation", list["Array | None"]], "Array | None"]
PartialEvaluator = Callable[["Operation"], Shape]

_evaluators: dict[str, Evaluator] = {}
_partial_evaluators: dict[str, PartialEvaluator] = {}
_MAX_ELEMENTS = 1 << 16  # folding is for shapes and axes, not for data


def evaluator(op_type: str) -> Callable[[Evaluator], Evaluator]:
    """Registers ``f(op, input_values) -> value | None``; inputs that are unknown come as None."""

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
    """The value of ``tensor`` as an array if the graph alone determines it, else None."""
    cache: dict[str, Any] = tensor.__dict__
    if "constant" in cache:
        return cache["constant"]  # type: ignore[no-any-return]
    function = _evaluators.get(tensor.op.type)
    if function is None or tensor._value_index != 0:
        return None
    value = function(tensor.op, [constant_value(t) for t in tensor.op._inputs])
    if value is not None:
        value = np.asarray(value, dtype=tensor.dtype.base_dtype.as_numpy_dtype)
        cache["constant"] = value
    return value


def constant_value_as_shape(tensor: Tensor) -> Shape:
    """The value of a shape vector (or of a scalar -1, unknown rank) with None where unknown."""
    value = constant_value(tensor)
    if value is not None:
        if value.ndim == 0:
            if value >= 0:
                raise ValueError("Received a scalar with value >= 0 as shape; must be -1")
            return None
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
    from flowray.proto import tensors

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
    """An evaluator that needs all its inputs."""

    def evaluate(op: Operation, inputs: list[Array | None]) -> Array | None:
        if any(v is None or v.size > _MAX_ELEMENTS for v in inputs):
            return None
        return np.asarray(function(op, *inputs))

    return evaluate


def _strided_slice_index(op: Operation, begin: Array, end: Array, strides: Array) -> Any:
    """The numpy index of a StridedSlice; None for masks that numpy indexing lacks."""
    masks = {m: op.get_attr(m) for m in ("begin_mask", "end_mask", "shrink_axis_mask")}
    ellipsis, new_axis = op.get_attr("ellipsis_mask"), op.get_attr("new_axis_mask")
    index: list[Any] = []
    for i in range(len(begin)):
        bit = 1 << i
        if ellipsis & bit:
            index.append(Ellipsis)
        elif new_axis & bit:
            index.append(np.newaxis)
        elif masks["shrink_axis_mask"] & bit:
            index.append(int(begin[i]))
        else:
            index.append(
                slice(
                    None if masks["begin_mask"] & bit else int(begin[i]),
                    None if masks["end_mask"] & bit else int(end[i]),
                    int(strides[i]),
                )
            )
    return tuple(index)


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
    "StridedSlice": lambda op, x, *index: x[_strided_slice_index(op, *index)],
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
    "GatherV2": lambda op, x, indices, axis: np.take(x, indices, axis=int(axis)),
}


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Folding never fails: what cannot be computed is left to the kernel, which says why."""

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


@partial_shape_evaluator("StridedSlice")
def _partial_strided_slice(op: Operation) -> Shape:
    index = [constant_value(t) for t in op._inputs[1:]]
    whole = constant_value_as_shape(op._inputs[0])
    if whole is None or any(v is None for v in index):
        return None
    if op.get_attr("new_axis_mask") or op.get_attr("ellipsis_mask"):
        return None
    if op.get_attr("shrink_axis_mask"):
        return None
    part: Shape = whole[_strided_slice_index(op, *index)[0]]  # type: ignore[arg-type]
    return part
