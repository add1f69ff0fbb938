"""Graph: the data structure that every TF1 program builds, and the scopes of the default one.

The behaviour (names, scopes, control dependencies, colocation, collections) is TensorFlow 1.15's.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flowray.client.framework import shape_inference
from flowray.client.framework.graph_keys import GraphKeys
from flowray.client.framework.operation import (
    Operation,
    Tensor,
    input_name,
    override_operator,
)
from flowray.client.framework.stacks import DefaultStack
from flowray.client.platform.version import GRAPH_DEF_VERSION
from flowray.client.tf_export import tf_export
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.graph.device_names import DeviceSpec
from flowray.proto.graph.device_names import merge as merge_devices
from flowray.proto.graph.tensor_id import TensorId, node_of
from flowray.proto.messages import graph_pb2, types_pb2
from flowray.proto.ops import op_registry
from flowray.proto.types import attr_values, dtypes
from flowray.proto.types.dtypes import DType

_VALID_OP_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$")
_VALID_SCOPE_NAME = re.compile(r"^[A-Za-z0-9_.\\/>-]*$")


@tf_export("Graph")
class Graph:
    """A TensorFlow computation, as a dataflow graph. Not thread-safe while it is being built."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._nodes_by_name: dict[str, Operation] = {}
        self._nodes: list[Operation] = []
        self._ids = 0
        self._names_in_use: dict[str, int] = {}
        self._name_stack = ""
        self._device_stack: list[Any] = []
        self._colocation_stack: list[Operation] = []
        self._control_stack: list[_ControlDependencies] = []
        self._collections: dict[Any, list[Any]] = {}
        self._control_flow_context: Any = None
        self._container = ""
        self._seed: int | None = None
        self._finalized = False
        self._unfeedable: set[Tensor] = set()
        self._unfetchable: set[Operation | Tensor] = set()
        self._library = graph_pb2.FunctionDefLibrary()
        self._functions: dict[str, Any] = {}  # the traced functions of the library
        self._function_counts: dict[str, int] = {}
        self._python_functions: list[Any] = []  # those that py_func ops call live as long
        self._gradient_override: dict[str, str] = {}
        self._attr_scope: dict[str, graph_pb2.AttrValue] = {}

    # Building -------------------------------------------------------------------------------

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        output_types: Sequence[DType] | None = None,
        input_types: Sequence[DType] | None = None,
        name: str | None = None,
        attrs: dict[str, Any] | None = None,
    ) -> Operation:
        """Adds an operation whose inputs are converted already (``op_builder.apply_op`` does that).

        Args:
            op_type: the op's registered name.
            inputs: its data inputs, flattened.
            output_types, input_types: taken from the definition if None.
            name: its name; made unique; a trailing ``/`` takes it as it stands.
            attrs: Python values of all attributes (defaults are not filled in here).

        Raises:
            ValueError: a shape error, named with TensorFlow's text, or an invalid name.
            RuntimeError: the graph is finalized.
        """
        self._check_not_finalized()
        inputs = [self._adopt(tensor) for tensor in inputs]
        definition = op_registry.lookup(op_type)
        attrs = dict(attrs or {})
        if name is None:
            name = op_type
        with self._lock:
            name = name[:-1] if name.endswith("/") else self.unique_name(name)
            if not _VALID_OP_NAME.match(name):
                raise ValueError(f"'{name}' is not a valid node name")
            control_inputs = self._control_dependencies_for(inputs)
            node = graph_pb2.NodeDef(name=name, op=op_type)
            node.input.extend(input_name(tensor) for tensor in inputs)
            node.input.extend("^" + op.name for op in control_inputs)
            for key, value in attrs.items():
                attr_proto = attr_values.to_attr_value(value, definition.attrs[key].kind)
                node.attr[key].CopyFrom(attr_proto)
            for key, attr_proto in self._attr_scope.items():
                node.attr[key].CopyFrom(attr_proto)
            if op_type in self._gradient_override:
                node.attr["_gradient_op_type"].s = self._gradient_override[op_type].encode()
            operation = Operation(
                self,
                node,
                inputs,
                control_inputs,
                attrs,
                definition.output_types(attrs) if output_types is None else output_types,
                definition.input_types(attrs) if input_types is None else input_types,
                definition,
            )
            self._add(operation)
            self._apply_device_functions(operation)
            self._apply_colocation(operation)
            for controller in self._control_stack:
                controller.seen.add(operation)
        if operation._control_flow_context is not None:
            operation._control_flow_context.AddOp(operation)
        return operation

    def _add(self, operation: Operation) -> None:
        """Adds a new operation and infers its output shapes; removes it again if that fails."""
        shape_inference.infer(operation)
        self._nodes_by_name[operation.name] = operation
        self._nodes.append(operation)

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids

    @property
    def _last_id(self) -> int:
        return self._ids

    def _check_not_finalized(self) -> None:
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")

    def _check_own(self, item: Tensor | Operation) -> None:
        if item.graph is not self:
            raise ValueError(f"{item} is not from the passed-in graph.")

    def _adopt(self, tensor: Tensor) -> Tensor:
        """Returns ``tensor`` as an input of an op here; ValueError if it is of another graph."""
        self._check_own(tensor)
        return tensor

    def _is_inside(self, graph: Graph) -> bool:
        """Returns True if ``graph`` is around this one, so that its tensors can be used here."""
        return False

    def _source_of(self, argument: Tensor) -> Tensor | None:
        """Returns the outer tensor that a function's argument stands for, or None."""
        return None

    def _function_name(self, name: str) -> str:
        """Returns an unused name for a new function of the library."""
        count = self._function_counts.get(name, 0)
        self._function_counts[name] = count + 1
        return f"{name}_{count}"

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """Returns ``name`` under the current name scope, with ``_1``, ``_2``... if it is taken."""
        if self._name_stack:
            name = f"{self._name_stack}/{name}"
        key = name.lower()
        count = self._names_in_use.get(key, 0)
        if mark_as_used:
            self._names_in_use[key] = count + 1
        if count > 0:
            base = key
            while key in self._names_in_use:
                key = f"{base}_{count}"
                count += 1
            if mark_as_used:
                self._names_in_use[key] = 1
            name = f"{name}_{count - 1}"
        return name

    # Scopes ---------------------------------------------------------------------------------

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Opens a name scope; ``""`` or None the root scope, ``"scope/"`` that scope again."""
        if name:
            if isinstance(name, bytes):
                name = name.decode()
            valid = _VALID_SCOPE_NAME if self._name_stack else _VALID_OP_NAME
            if not valid.match(name):
                raise ValueError(f"'{name}' is not a valid scope name")
        old = self._name_stack
        if not name:
            new = ""
        elif name.endswith("/"):
            new = name[:-1]
        else:
            new = self.unique_name(name)
        self._name_stack = new
        try:
            yield "" if not new else new + "/"
        finally:
            self._name_stack = old

    def get_name_scope(self) -> str:
        """Returns the current name scope, without the slash at its end."""
        return self._name_stack

    @contextmanager
    def device(self, device_name_or_function: Any) -> Iterator[None]:
        """Gives ops a device: a (partial) name, a ``DeviceSpec``, a function of the op, or None.

        Inner scopes override outer ones field by field; None ignores all outer scopes.
        """
        spec = device_name_or_function
        if isinstance(spec, str):
            spec = DeviceSpec.from_string(spec)
        self._device_stack.append(spec)
        try:
            yield
        finally:
            self._device_stack.pop()

    def _apply_device_functions(self, operation: Operation) -> None:
        for spec in reversed(self._device_stack):
            if spec is None:
                break
            if callable(spec):
                chosen = spec(operation)
                operation._set_device("" if chosen is None else chosen)
                continue
            operation._set_device(merge_devices(spec, operation.device))

    @contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Places new ops on the device of ``op`` (an Operation, Tensor or Variable, or None)."""
        if op is None and not ignore_existing:
            raise ValueError(
                "Trying to reset colocation (op is None) but ignore_existing is not True"
            )
        # Of a resource variable, the handle and not a read says where it is.
        handle = getattr(op, "handle", None)
        if isinstance(handle, Tensor):
            op = handle
        op = _as_operation(op) if op is not None else None
        old_devices, old_colocation = self._device_stack, self._colocation_stack
        # Colocation overrides device scopes: the device is that op's, whatever it is.
        self._device_stack = [] if op is not None else self._device_stack
        self._colocation_stack = [] if ignore_existing else list(self._colocation_stack)
        if op is not None:
            self._colocation_stack.append(op)
        try:
            yield
        finally:
            self._device_stack, self._colocation_stack = old_devices, old_colocation

    def _apply_colocation(self, operation: Operation) -> None:
        groups: set[bytes] = set()
        for other in self._colocation_stack:
            groups.update(other.colocation_groups())
            if other.device:
                operation._set_device(other.device)
        if groups:
            operation._node_def.attr["_class"].list.s[:] = sorted(groups)

    def control_dependencies(
        self, control_inputs: Iterable[Any] | None
    ) -> AbstractContextManager[None]:
        """Makes new ops wait for ``control_inputs``; None clears all dependencies in the scope."""
        if control_inputs is None:
            return self._control_scope(_ControlDependencies([], new_stack=True))
        ops = []
        for item in control_inputs:
            op = _as_operation(item)
            self._check_own(op)
            if op not in ops:
                ops.append(op)
        return self._control_scope(_ControlDependencies(ops))

    @contextmanager
    def _control_scope(self, controller: _ControlDependencies) -> Iterator[None]:
        old, old_context = self._control_stack, self._control_flow_context
        self._control_stack = [controller] if controller.new_stack else [*old, controller]
        if controller.new_stack:
            self._control_flow_context = None
        try:
            yield
        finally:
            self._control_stack, self._control_flow_context = old, old_context

    def _control_dependencies_for(self, inputs: Sequence[Tensor]) -> list[Operation]:
        """Returns the control inputs of a new op, without those that its inputs wait for."""
        result: list[Operation] = []
        input_ops = {t.op for t in inputs}
        for controller in self._control_stack:
            if input_ops & controller.seen:
                continue
            result.extend(op for op in controller.ops if op not in input_ops and op not in result)
        return result

    @contextmanager
    def container(self, container_name: str) -> Iterator[str]:
        """Gives stateful ops made in the scope the resource container ``container_name``."""
        old, self._container = self._container, container_name
        try:
            yield container_name
        finally:
            self._container = old

    @contextmanager
    def gradient_override_map(self, op_type_map: dict[str, str]) -> Iterator[None]:
        """Makes ops of the given types use the gradient registered under another name."""
        old = self._gradient_override
        self._gradient_override = {**old, **op_type_map}
        try:
            yield
        finally:
            self._gradient_override = old

    @contextmanager
    def _attr_scope_context(self, attrs: dict[str, graph_pb2.AttrValue]) -> Iterator[None]:
        old = self._attr_scope
        self._attr_scope = {**old, **attrs}
        try:
            yield
        finally:
            self._attr_scope = old

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Makes this the thread's default graph inside the block."""
        with _default_graphs.pushed(self):
            yield self

    # Looking up -----------------------------------------------------------------------------

    def get_operations(self) -> list[Operation]:
        """Returns the operations in the order in which they were added."""
        return list(self._nodes)

    def get_operation_by_name(self, name: str) -> Operation:
        """Returns the operation ``name``. KeyError if there is none, ValueError for a tensor."""
        result = self.as_graph_element(name, allow_tensor=False, allow_operation=True)
        assert isinstance(result, Operation)
        return result

    def get_tensor_by_name(self, name: str) -> Tensor:
        """Returns the tensor ``name`` ("op:0"). KeyError if there is none, ValueError for an op."""
        if not isinstance(name, str):
            raise TypeError(f"Tensor names are strings (or similar), not {type(name).__name__}.")
        result = self.as_graph_element(name, allow_tensor=True, allow_operation=False)
        assert isinstance(result, Tensor)
        return result

    def as_graph_element(
        self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True
    ) -> Tensor | Operation:
        """Returns the tensor or operation of ``obj``: one of them, a name, or a variable.

        Raises:
            ValueError: the name is not valid, or the object belongs to another graph.
            KeyError: no such operation or tensor.
            TypeError: ``obj`` is something else.
        """
        kinds = " or ".join(
            kind
            for kind, allowed in (("Tensor", allow_tensor), ("Operation", allow_operation))
            if allowed
        )
        convert = getattr(obj, "_as_graph_element", None)
        if callable(convert):
            obj = convert()
        if isinstance(obj, str):
            return self._element_by_name(obj, allow_tensor, allow_operation)
        if isinstance(obj, Tensor) and allow_tensor:
            if obj.graph is not self:
                raise ValueError(f"Tensor {obj} is not an element of this graph.")
            return obj
        if isinstance(obj, Operation) and allow_operation:
            if obj.graph is not self:
                raise ValueError(f"Operation {obj!r} is not an element of this graph.")
            return obj
        raise TypeError(f"Can not convert a {type(obj).__name__} into a {kinds}.")

    def _element_by_name(
        self, name: str, allow_tensor: bool, allow_operation: bool
    ) -> Tensor | Operation:
        if ":" in name and allow_tensor:
            op_name, index = TensorId.parse(name)
            if op_name == name:
                raise ValueError(
                    f"The name {name!r} looks a like a Tensor name, but is not a valid one. "
                    'Tensor names must be of the form "<op_name>:<output_index>".'
                )
            op = self._nodes_by_name.get(op_name)
            if op is None:
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. The operation, "
                    f"{op_name!r}, does not exist in the graph."
                )
            if index >= len(op._outputs):
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. The operation, "
                    f"{op_name!r}, exists but only has {len(op._outputs)} outputs."
                )
            return op._outputs[index]
        if ":" in name:
            if node_of(name) in self._nodes_by_name:
                raise ValueError(
                    f"The name {name!r} appears to refer to a Tensor, not a Operation."
                )
            raise ValueError(f"The name {name!r} is not a valid Operation name.")
        if not allow_operation:
            if name in self._nodes_by_name:
                raise ValueError(
                    f"The name {name!r} refers to an Operation, not a Tensor. Tensor names must "
                    'be of the form "<op_name>:<output_index>".'
                )
            raise ValueError(
                f"The name {name!r} looks like an (invalid) Operation name, not a Tensor. Tensor "
                'names must be of the form "<op_name>:<output_index>".'
            )
        if name not in self._nodes_by_name:
            raise KeyError(f"The name {name!r} refers to an Operation not in the graph.")
        return self._nodes_by_name[name]

    # Collections ----------------------------------------------------------------------------

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Appends ``value`` to the collection ``name``. RuntimeError in a finalized graph."""
        self._check_not_finalized()
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Appends ``value`` to each of the collections ``names``, or to one if it is a string."""
        for name in (names,) if isinstance(names, str) else set(names):
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: Any) -> list[Any]:
        """Returns the list itself, so that changing it changes the collection."""
        return self._collections.setdefault(name, [])

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """Returns a copy of the collection, or of its items whose names match the regex."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        pattern = re.compile(scope)
        return [i for i in items if hasattr(i, "name") and pattern.match(i.name)]

    def get_all_collection_keys(self) -> list[Any]:
        """Returns the names of the collections; keys that are not strings are left out."""
        return [key for key in self._collections if isinstance(key, str)]

    def clear_collection(self, name: Any) -> None:
        """Removes all items of the collection ``name``."""
        self._collections.pop(name, None)

    @property
    def collections(self) -> list[Any]:
        """The keys of all collections, strings or not."""
        return list(self._collections)

    # The rest -------------------------------------------------------------------------------

    @property
    def seed(self) -> int | None:
        """The seed of ``tf.set_random_seed``; None if every session draws other numbers."""
        return self._seed

    @seed.setter
    def seed(self, seed: int | None) -> None:
        self._seed = seed

    @property
    def finalized(self) -> bool:
        """True once nothing can be added any more."""
        return self._finalized

    def finalize(self) -> None:
        """Makes the graph read-only: adding an operation is a RuntimeError from now on."""
        self._finalized = True

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    @property
    def version(self) -> int:
        """A number that grows with every operation."""
        return self._ids

    @property
    def graph_def_versions(self) -> types_pb2.VersionDef:
        """The version that ``as_graph_def`` states."""
        return types_pb2.VersionDef(producer=GRAPH_DEF_VERSION)

    def as_graph_def(
        self, from_version: int | None = None, add_shapes: bool = False
    ) -> graph_pb2.GraphDef:
        """Returns the graph as a GraphDef, or only the nodes added since ``from_version``."""
        result = graph_pb2.GraphDef()
        result.versions.producer = GRAPH_DEF_VERSION
        with self._lock:
            for op in self._nodes:
                if from_version is not None and op._id <= from_version:
                    continue
                node = result.node.add()
                node.CopyFrom(op._node_def)
                if add_shapes and op._outputs:
                    shapes = [t._shape for t in op._outputs]
                    node.attr["_output_shapes"].CopyFrom(
                        attr_values.to_attr_value(shapes, "list(shape)")
                    )
            result.library.CopyFrom(self._library)
        return result

    def is_feedable(self, tensor: Any) -> bool:
        """Returns False for a tensor that ``prevent_feeding`` named."""
        return tensor not in self._unfeedable

    def is_fetchable(self, item: Any) -> bool:
        """Returns False for what ``prevent_fetching`` named, and for the tensors of such an op."""
        if isinstance(item, Tensor):
            return item not in self._unfetchable and item.op not in self._unfetchable
        return item not in self._unfetchable

    def prevent_feeding(self, tensor: Tensor) -> None:
        """Makes it an error to feed ``tensor``."""
        self._unfeedable.add(tensor)

    def prevent_fetching(self, op: Operation) -> None:
        """Makes it an error to fetch ``op`` or one of its outputs."""
        self._unfetchable.add(op)

    def _get_control_flow_context(self) -> Any:
        return self._control_flow_context

    def _set_control_flow_context(self, context: Any) -> None:
        self._control_flow_context = context


class _ControlDependencies:
    """One control_dependencies scope: its ops, and the ops made in it (which wait already)."""

    def __init__(self, ops: Sequence[Operation], new_stack: bool = False) -> None:
        self.ops = list(ops)
        self.new_stack = new_stack
        self.seen: set[Operation] = set()


# The default graph and the scopes of the current graph ------------------------------------------

_default_graphs: DefaultStack[Graph] = DefaultStack("graph", Graph)


@tf_export("get_default_graph")
def get_default_graph() -> Graph:
    """Returns the graph of this thread's innermost ``as_default``, or the one of the process."""
    return _default_graphs.get()


@tf_export("reset_default_graph")
def reset_default_graph() -> None:
    """Clears the default graph; AssertionError inside ``with graph.as_default()``."""
    _default_graphs.reset()


@tf_export("name_scope")
class name_scope(AbstractContextManager[str]):  # noqa: N801 - TensorFlow's name
    """``tf.name_scope(name, default_name, values)``: a scope of op names.

    Enters the graph of ``values`` if they have one. A None ``name`` means ``default_name``; both
    None with no values is a ValueError.
    """

    def __init__(
        self, name: str | None, default_name: str | None = None, values: Any = None
    ) -> None:
        self._name = default_name if name is None else name
        self._has_name = name is not None
        self._values = values
        self._default_name = default_name

    @property
    def name(self) -> str | None:
        """The name that was given, or the default name."""
        return self._name

    def __enter__(self) -> str:
        if self._name is None and self._values is not None:
            raise ValueError(
                f"At least one of name ({self._name}) and default_name "
                f"({self._default_name}) must be provided."
            )
        graph = _graph_of(self._values or ())
        self._graph_scope = graph.as_default()
        self._graph_scope.__enter__()
        self._scope = graph.name_scope(self._name)
        try:
            return self._scope.__enter__()
        except BaseException:
            self._graph_scope.__exit__(*sys.exc_info())
            raise

    def __exit__(self, *exc_info: Any) -> None:
        self._scope.__exit__(*exc_info)
        self._graph_scope.__exit__(*exc_info)


@tf_export("device")
def device(device_name_or_function: Any) -> AbstractContextManager[None]:
    """Gives the ops of the block a device; see ``Graph.device``."""
    return get_default_graph().device(device_name_or_function)


@tf_export("control_dependencies")
def control_dependencies(control_inputs: Iterable[Any] | None) -> AbstractContextManager[None]:
    """Lets the ops of the block wait for ``control_inputs``; see ``Graph.control_dependencies``."""
    return get_default_graph().control_dependencies(control_inputs)


@tf_export("colocate_with")
def colocate_with(op: Any, ignore_existing: bool = False) -> AbstractContextManager[None]:
    """Places the ops of the block where ``op`` is; see ``Graph.colocate_with``."""
    return get_default_graph().colocate_with(op, ignore_existing)


@tf_export("container")
def container(container_name: str) -> AbstractContextManager[str]:
    """Names the resource container of the block's stateful ops; see ``Graph.container``."""
    return get_default_graph().container(container_name)


@tf_export("add_to_collection")
def add_to_collection(name: Any, value: Any) -> None:
    """Appends ``value`` to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


@tf_export("add_to_collections")
def add_to_collections(names: Any, value: Any) -> None:
    """Appends ``value`` to several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


@tf_export("get_collection")
def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """Returns a copy of a collection of the default graph; see ``Graph.get_collection``."""
    return get_default_graph().get_collection(key, scope)


@tf_export("get_collection_ref")
def get_collection_ref(key: Any) -> list[Any]:
    """Returns the list itself that is a collection of the default graph."""
    return get_default_graph().get_collection_ref(key)


# Helpers ------------------------------------------------------------------------------------------


def _as_operation(item: Any) -> Operation:
    """Returns the operation to wait for, or to be colocated with.

    For a resource variable it is the one that made it or wrote to it: neither needs a read.
    """
    op = getattr(item, "op", None)
    if hasattr(item, "handle") and isinstance(op, Operation):
        return op
    convert = getattr(item, "_as_graph_element", None)
    if callable(convert):
        item = convert()
    if isinstance(item, Operation):
        return item
    if isinstance(item, Tensor):
        return item.op
    op = getattr(item, "op", None)  # IndexedSlices, TensorArray
    if isinstance(op, Operation):
        return op
    raise TypeError(f"Control input must be Operation or Tensor, got {item!r}")


def _graph_of(values: Iterable[Any]) -> Graph:
    """Returns the graph of the given inputs, or the default graph.

    A function that is being traced takes in the tensors of the graphs around it.
    """
    for value in values:
        graph = getattr(value, "graph", None)
        if isinstance(graph, Graph):
            default = get_default_graph()
            return default if default._is_inside(graph) else graph
    return get_default_graph()


__all__ = [
    "Graph", "GraphKeys", "Operation", "Tensor", "add_to_collection", "add_to_collections",
    "colocate_with", "container", "control_dependencies", "device", "dtypes", "get_collection",
    "get_collection_ref", "get_default_graph", "name_scope", "override_operator",
    "reset_default_graph",
]  # fmt: skip
