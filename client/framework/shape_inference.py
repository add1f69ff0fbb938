"""Runs the shape function of an operation's definition when the operation is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowray.client.framework.constant_value import constant_value, constant_value_as_shape
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape, format_shape

if TYPE_CHECKING:
    from flowray.client.framework.graph import Operation, Tensor


class _Context:
    """``op_registry.ShapeContext`` over an operation of a client's graph."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.inputs: Sequence[Shape] = [t._shape for t in operation._inputs]

    def attr(self, name: str) -> Any:
        if name in self._operation._attrs:
            return self._operation._attrs[name]
        assert self._operation.op_def is not None
        return self._operation.op_def.attrs[name].default

    def constant(self, index: int) -> np.ndarray[Any, Any] | None:
        return constant_value(self._operation._inputs[index])

    def constant_shape(self, index: int) -> Shape:
        return constant_value_as_shape(self._operation._inputs[index])

    def resource(self, index: int) -> tuple[DType, Shape] | None:
        return variable_of(self._operation._inputs[index])


def variable_of(handle: Tensor) -> tuple[DType, Shape] | None:
    """Returns the dtype and shape of the variable of a resource tensor, or None if unknown."""
    op = handle.op
    while True:
        if op.op_def is not None and op.op_def.forwards_resource:
            op = op._inputs[0].op
            continue
        source = op.graph._source_of(op._outputs[0]) if op._kind is OpKind.PLACEHOLDER else None
        if source is None:
            break
        op = source.op
    if op._kind is not OpKind.VARIABLE or op._outputs[0].dtype != dtypes.resource:
        return None
    return op._attrs["dtype"], op._attrs["shape"]


def infer(operation: Operation) -> None:
    """Sets the outputs' static shapes; ValueError with TensorFlow's text if there are none."""
    assert operation.op_def is not None
    if not operation._outputs:
        shapes: Shape | list[Shape] = []
    try:
        shapes = operation.op_def.shape(_Context(operation))
    except ValueError as error:
        listed = ", ".join(format_shape(t._shape) for t in operation._inputs)
        raise ValueError(
            f"{error} for '{operation.name}' (op: '{operation.type}') with input shapes: {listed}."
        ) from None
    all_shapes = shapes if isinstance(shapes, list) else [shapes] * min(1, len(operation._outputs))
    if len(all_shapes) != len(operation._outputs):
        raise AssertionError(
            f"the shape function of {operation.type} gave {len(all_shapes)} shapes for "
            f"{len(operation._outputs)} outputs"
        )
    for tensor, shape in zip(operation._outputs, all_shapes, strict=True):
        tensor._shape = shape
