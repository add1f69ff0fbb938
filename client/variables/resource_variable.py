"""Resource variables: a handle names them, reads copy the value, and each write is atomic."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import (
    Operation,
    Tensor,
    colocate_with,
    control_dependencies,
    device,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.variables.initial_value import guarded, initializer_scope, located_at
from flowray.client.variables.save_slice_info import in_scope
from flowray.client.variables.variables import Variable, slice_masks
from flowray.proto.messages import meta_graph_pb2
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import TensorShape, as_shape


class ResourceVariable(Variable):
    """A variable behind a resource handle; see ``Variable`` for the arguments.

    A read is a snapshot: later writes do not change it. Writes return the variable itself in the
    form that reads what was written.
    """

    _handle: Tensor
    _dtype: DType
    _shape: TensorShape
    _graph_element: Tensor
    _cached_value: Tensor | None = None

    def _build(
        self, initial_value: Any, dtype: Any, shape: Any, validate_shape: bool, scope: str
    ) -> None:
        handle_name = scope.rstrip("/")
        with initializer_scope(scope):
            value = initial_value() if callable(initial_value) else initial_value
            value = convert_to_tensor(value, dtype, name="initial_value")
        self._initial_value = value
        self._dtype = value.dtype.base_dtype
        self._shape = value.get_shape() if shape is None else as_shape(shape)
        if not value.get_shape().is_compatible_with(self._shape):
            raise ValueError(
                f"The initial value's shape ({value.get_shape()}) is not compatible with the "
                f"explicitly supplied `shape` argument ({self._shape})."
            )
        with located_at(scope):
            self._handle = apply_op(
                "VarHandleOp",
                dtype=self._dtype,
                shape=self._shape,
                shared_name=handle_name,
                container=self._graph._container,
                name=scope,
            )
        with name_scope("IsInitialized"):
            # Nobody uses this one; it is TensorFlow's, and seeds go by the number of ops.
            apply_op("VarIsInitializedOp", self._handle)
        with name_scope("Assign") as name, self._at_handle():
            self._initializer_op = apply_op(
                "AssignVariableOp", self._handle, guarded(scope, value), name=name
            )
        with name_scope("Read"):
            with device(self._handle.device or None):
                self._graph_element = self._read()
            if self._caching_device is not None:
                with colocate_with(None, ignore_existing=True), device(self._caching_device):
                    self._cached_value = apply_op("Identity", self._graph_element)

    def _from_def(self, variable_def: meta_graph_pb2.VariableDef, import_scope: str | None) -> None:
        if not variable_def.is_resource:
            raise ValueError("Trying to restore Variable as ResourceVariable.")
        element = self._graph.as_graph_element
        handle = element(in_scope(variable_def.variable_name, import_scope))
        initializer = element(in_scope(variable_def.initializer_name, import_scope))
        assert isinstance(handle, Tensor)
        assert isinstance(initializer, Operation)
        self._handle, self._initializer_op = handle, initializer
        self._dtype, self._shape = handle.op.get_attr("dtype"), handle.op.get_attr("shape")
        self._initial_value = self._named_initial_value(variable_def, import_scope)
        if variable_def.snapshot_name:
            snapshot = element(in_scope(variable_def.snapshot_name, import_scope))
            assert isinstance(snapshot, Tensor)
            if snapshot.op.type != "ReadVariableOp":
                self._cached_value = snapshot
                snapshot = snapshot.op.inputs[0]
            self._graph_element = snapshot
        else:
            with name_scope(handle.op.name + "/Read/"), self._at_handle():
                self._graph_element = self._read()

    def _complete_def(
        self, result: meta_graph_pb2.VariableDef, stripped: Callable[[str], str]
    ) -> None:
        result.is_resource = True
        snapshot = self._graph_element if self._cached_value is None else self._cached_value
        result.snapshot_name = stripped(snapshot.name)

    @contextmanager
    def _at_handle(self) -> Iterator[None]:
        """Places the ops of the block on the variable's device, whatever scopes are around."""
        with colocate_with(None, ignore_existing=True), device(self._handle.device or None):
            yield

    def _read(self) -> Tensor:
        value: Tensor = apply_op("ReadVariableOp", self._handle, dtype=self._dtype)
        return value

    # What it is -----------------------------------------------------------------------------

    @property
    def handle(self) -> Tensor:
        """The resource tensor that names the variable."""
        return self._handle

    @property
    def op(self) -> Operation:
        return self._handle.op

    @property
    def name(self) -> str:
        """The name of the handle: "scope/name:0"."""
        return self._handle.name

    @property
    def dtype(self) -> DType:
        """The dtype of the value; never a reference dtype."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The static shape."""
        return self._shape

    @property
    def create(self) -> Operation:
        """The op that initializes the variable."""
        return self._initializer_op

    def set_shape(self, shape: Any) -> None:
        """Merges ``shape`` into the static shape of the variable."""
        self._shape = self._shape.merge_with(shape)

    def value(self) -> Tensor:
        if self._cached_value is not None:
            return self._cached_value
        with self._at_handle():
            return self._read()

    def read_value(self) -> Tensor:
        with name_scope("Read"):
            value = self._read()
        # The identity lets the reader choose a device of its own.
        return output_of("Identity", value)

    def is_initialized(self, name: str | None = None) -> Tensor:
        return output_of("VarIsInitializedOp", self._handle, name=name)

    def _as_graph_element(self) -> Tensor:
        return self._graph_element

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """Returns the rows ``indices`` of the value; the whole is not read."""
        with name_scope(name, "Gather") as scope:
            return output_of("ResourceGather", self._handle, indices, dtype=self._dtype, name=scope)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """Returns the slices of the value at the index vectors ``indices``."""
        with name_scope(name, "GatherNd") as scope:
            value = apply_op(
                "ResourceGatherNd", self._handle, indices, dtype=self._dtype, name=scope
            )
        return output_of("Identity", value)

    # Writing --------------------------------------------------------------------------------

    def _after(self, op: Operation) -> _UnreadVariable:
        """Returns the variable as it is once ``op`` has written to it."""
        return _UnreadVariable(self, op)

    def _write(self, op_type: str, value: Any, name: str | None, read_value: bool) -> Any:
        tensor = convert_to_tensor(value, self._dtype)
        self._shape.assert_is_compatible_with(tensor.get_shape())
        op = apply_op(op_type, self._handle, tensor, name=name)
        return self._after(op) if read_value else op

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        return self._write("AssignVariableOp", value, name, read_value)

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        return self._write("AssignAddVariableOp", delta, name, read_value)

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        return self._write("AssignSubVariableOp", delta, name, read_value)

    def _write_whole(self, kind: str, value: Any, name: str | None, **attrs: Any) -> Any:
        """Adds the op of ``tf.assign`` ("Assign") and its like; only references have attributes."""
        return self._write(f"{kind}VariableOp", value, name, read_value=True)

    def count_up_to(self, limit: int) -> Tensor:
        return self._count_up_to(limit, None)

    def _count_up_to(self, limit: int, name: str | None) -> Tensor:
        return output_of("ResourceCountUpTo", self._handle, limit=limit, T=self._dtype, name=name)

    def _assign_slice(self, slice_op: Operation, value: Any, name: str | None = None) -> Any:
        op = apply_op(
            "ResourceStridedSliceAssign",
            self._handle,
            *slice_op.inputs[1:],
            convert_to_tensor(value, self._dtype),
            name=name or f"{slice_op.name}/_assign",
            **slice_masks(slice_op),
        )
        return self._after(op)

    def _scatter(
        self, kind: str, indices: Any, updates: Any, name: str | None, **attrs: Any
    ) -> Any:
        # ``use_locking`` is for references: every write to a resource is atomic.
        updates = convert_to_tensor(updates, self._dtype)
        return self._after(
            apply_op(f"ResourceScatter{kind}", self._handle, indices, updates, name=name)
        )

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


class _UnreadVariable(ResourceVariable):
    """The result of a write: the variable, whose reads come after the write."""

    def __init__(self, variable: ResourceVariable, write: Operation) -> None:
        self.__dict__.update(variable.__dict__)
        self._write_op = write
        self._cached_value = None
        with control_dependencies([write]):
            self._graph_element = super()._read()

    @property
    def op(self) -> Operation:
        """The op that writes."""
        return self._write_op

    def _read(self) -> Tensor:
        with control_dependencies([self._write_op]):
            return super()._read()


def _order_after_write(method: str) -> None:
    of_variable = getattr(ResourceVariable, method)

    @functools.wraps(of_variable)
    def ordered(self: _UnreadVariable, *args: Any, **kwargs: Any) -> Any:
        with control_dependencies([self._write_op]):
            return of_variable(self, *args, **kwargs)

    setattr(_UnreadVariable, method, ordered)


for _method in ("_assign_slice", "_scatter", "_write", "_count_up_to", "gather_nd", "sparse_read"):
    _order_after_write(_method)


def is_resource_variable(variable: Any) -> bool:
    """Returns True for a resource variable."""
    return isinstance(variable, ResourceVariable)


def variable_shape(handle: Tensor, out_type: DType = dtypes.int32) -> Tensor:
    """Returns the shape of the variable that ``handle`` names: a constant where it is known."""
    shape = handle.op._attrs.get("shape") if handle.op.type == "VarHandleOp" else None
    if shape is not None and None not in shape:
        return constant(list(shape), out_type, shape=[len(shape)])
    return output_of("VariableShape", handle, out_type=out_type)
