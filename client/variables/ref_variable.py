"""Reference variables: ``tf.Variable`` as it was first made, and TensorFlow 1's default."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Operation, Tensor, colocate_with, device
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.variables.initial_value import guarded, initializer_scope, located_at
from flowray.client.variables.save_slice_info import in_scope
from flowray.client.variables.variables import Variable, slice_masks
from flowray.proto.messages import meta_graph_pb2
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import TensorShape, unknown_shape


class RefVariable(Variable):
    """A variable whose node has a reference as its output."""

    _variable: Tensor
    _snapshot: Tensor

    def _build(
        self, initial_value: Any, dtype: Any, shape: Any, validate_shape: bool, scope: str
    ) -> None:
        if callable(initial_value):
            with initializer_scope(scope):
                initial_value = convert_to_tensor(initial_value(), dtype, name="initial_value")
            variable_place = located_at(scope)
        else:
            initial_value = convert_to_tensor(initial_value, dtype, name="initial_value")
            variable_place = nullcontext()
        self._initial_value = initial_value
        if shape is None:
            shape = initial_value.get_shape() if validate_shape else unknown_shape()
        if validate_shape and not initial_value.get_shape().is_fully_defined():
            raise ValueError(f"initial_value must have a shape specified: {initial_value}")
        with variable_place:
            self._variable = apply_op(
                "VariableV2",
                shape=shape,
                dtype=initial_value.dtype.base_dtype,
                container=self._graph._container,
                name=scope,
            )
        self._initializer_op = apply_op(
            "Assign",
            self._variable,
            guarded(scope, initial_value),
            validate_shape=validate_shape,
        ).op
        where = self._caching_device
        with device(where) if where is not None else colocate_with(self._variable.op):
            self._snapshot = apply_op("Identity", self._variable, name="read")

    def _from_def(self, variable_def: meta_graph_pb2.VariableDef, import_scope: str | None) -> None:
        element = self._graph.as_graph_element
        variable = element(in_scope(variable_def.variable_name, import_scope))
        initializer = element(in_scope(variable_def.initializer_name, import_scope))
        snapshot = element(in_scope(variable_def.snapshot_name, import_scope))
        assert isinstance(variable, Tensor)
        assert isinstance(initializer, Operation)
        assert isinstance(snapshot, Tensor)
        self._variable, self._initializer_op, self._snapshot = variable, initializer, snapshot
        self._initial_value = self._named_initial_value(variable_def, import_scope)

    def _complete_def(
        self, result: meta_graph_pb2.VariableDef, stripped: Callable[[str], str]
    ) -> None:
        result.snapshot_name = stripped(self._snapshot.name)

    @property
    def op(self) -> Operation:
        return self._variable.op

    @property
    def name(self) -> str:
        """The name of the reference: "scope/name:0"."""
        return self._variable.name

    @property
    def dtype(self) -> DType:
        """A reference dtype, such as ``tf.float32_ref``."""
        return self._variable.dtype

    @property
    def shape(self) -> TensorShape:
        """The static shape."""
        return self._variable.get_shape()

    def set_shape(self, shape: Any) -> None:
        """Merges ``shape`` into the static shape of the variable and of its reads."""
        self._variable.set_shape(shape)
        self._snapshot.set_shape(shape)

    def value(self) -> Tensor:
        return self._snapshot

    def read_value(self) -> Tensor:
        return output_of("Identity", self._variable, name="read")

    def is_initialized(self, name: str | None = None) -> Tensor:
        return output_of("IsVariableInitialized", self._variable, name=name)

    def _ref(self) -> Tensor:
        return self._variable

    def _as_graph_element(self) -> Tensor:
        return self._variable

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """Returns the rows ``indices`` of the value."""
        return output_of("GatherV2", self.value(), indices, 0, name=name or "GatherV2")

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """Returns the slices of the value at the index vectors ``indices``."""
        return output_of("GatherNd", self.value(), indices, name=name)

    def _write(
        self, op_type: str, value: Any, use_locking: bool, name: str | None, read_value: bool
    ) -> Any:
        result = apply_op(op_type, self._variable, value, use_locking=use_locking, name=name)
        return result if read_value else result.op

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        return self._write("Assign", value, use_locking, name, read_value)

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        return self._write("AssignAdd", delta, use_locking, name, read_value)

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        return self._write("AssignSub", delta, use_locking, name, read_value)

    def count_up_to(self, limit: int) -> Tensor:
        return output_of("CountUpTo", self._variable, limit=limit)

    def _assign_slice(self, slice_op: Operation, value: Any, name: str | None = None) -> Tensor:
        return output_of(
            "StridedSliceAssign",
            self._variable,
            *slice_op.inputs[1:],
            value,
            name=name or f"{slice_op.name}/_assign",
            **slice_masks(slice_op),
        )

    def _scatter(
        self, kind: str, indices: Any, updates: Any, name: str | None, **attrs: Any
    ) -> Any:
        return apply_op(f"Scatter{kind}", self._variable, indices, updates, name=name, **attrs)

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"
