"""Operation and Tensor: a node of a graph, and one of its outputs.

A node is held as its NodeDef proto, so that serializing a graph copies nothing but protos.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flowray.client.framework.default_session import SessionLike, session_for
from flowray.client.tf_export import tf_export
from flowray.proto.graph.device_names import DeviceSpec
from flowray.proto.graph.tensor_id import is_control
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.types import attr_values
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape, TensorShape, as_shape, merge

if TYPE_CHECKING:
    from flowray.client.framework.graph import Graph

_PACKAGE_PREFIX = __name__.split(".", 1)[0] + "."


@tf_export("Tensor")
class Tensor:
    """A symbolic handle to one output of an ``Operation``."""

    __array_priority__ = 100  # numpy's operators give way to ours
    __slots__ = ("__dict__", "__weakref__", "_consumers", "_dtype", "_op", "_shape", "_value_index")

    def __init__(self, op: Operation, value_index: int, dtype: DType, shape: Shape) -> None:
        self._op = op
        self._value_index = value_index
        self._dtype = dtype
        self._shape = shape
        self._consumers: list[Operation] = []

    @property
    def op(self) -> Operation:
        """The operation that this is an output of."""
        return self._op

    @property
    def dtype(self) -> DType:
        """The dtype of the elements; a reference dtype for the output of a reference op."""
        return self._dtype

    @property
    def graph(self) -> Graph:
        """The graph of the operation."""
        return self._op.graph

    @property
    def name(self) -> str:
        """The name of the operation and the index of the output: "op:0"."""
        return f"{self._op.name}:{self._value_index}"

    @property
    def device(self) -> str:
        """The device that the operation was given; "" for none."""
        return self._op.device

    @property
    def value_index(self) -> int:
        """The index among the operation's outputs."""
        return self._value_index

    @property
    def shape(self) -> TensorShape:
        """The static shape, as far as it is known."""
        return TensorShape(self._shape)

    @property
    def shape_tuple(self) -> Shape:
        """The static shape as a plain tuple (None for unknown dimensions)."""
        return self._shape

    def get_shape(self) -> TensorShape:
        """Returns ``shape``."""
        return TensorShape(self._shape)

    def set_shape(self, shape: Any) -> None:
        """Merges ``shape`` into the static shape; ValueError if they are incompatible."""
        self._shape = merge(self._shape, as_shape(shape).as_tuple())

    def consumers(self) -> list[Operation]:
        """Returns the operations that have this tensor as an input."""
        return list(self._consumers)

    def eval(self, feed_dict: Any = None, session: SessionLike | None = None) -> Any:
        """Returns this tensor's value in ``session``, or in the default session."""
        return session_for(self.graph, session, "evaluate tensor", "eval").run(self, feed_dict)

    def _shape_as_list(self) -> list[int | None] | None:
        return None if self._shape is None else list(self._shape)

    def __iter__(self) -> Iterator[Tensor]:
        raise TypeError(
            "Tensor objects are only iterable when eager execution is enabled. "
            "To iterate over this tensor use tf.map_fn."
        )

    def __bool__(self) -> bool:
        raise TypeError(
            "Using a `tf.Tensor` as a Python `bool` is not allowed. Use `if t is not None:` "
            "instead of `if t:` to test if a tensor is defined, and use TensorFlow ops such as "
            "tf.cond to execute subgraphs conditioned on the value of a tensor."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"Cannot convert a symbolic Tensor ({self.name}) to a numpy array."
        )

    def __len__(self) -> int:
        raise TypeError(
            f"len is not well defined for symbolic Tensors. ({self.name}) "
            "Please call `x.shape` rather than `len(x)` for shape information."
        )

    if TYPE_CHECKING:
        # The ops that these are come from ``client/ops``, through ``override_operator``.

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, spec: Any) -> Tensor: ...

    # As in TensorFlow 1.15, == and hash go by identity.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Tensor:
        result = Tensor(self._op, self._value_index, self._dtype, self._shape)
        result._consumers = self._consumers
        return result

    def __str__(self) -> str:
        shape = "" if self._shape is None else f", shape={self.get_shape()}"
        device = f", device={self.device}" if self.device else ""
        return f'Tensor("{self.name}"{shape}, dtype={self._dtype.name}{device})'

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self.get_shape()} dtype={self._dtype.name}>"


@tf_export("Operation")
class Operation:
    """A node of a graph: an op with its attributes, inputs and outputs."""

    def __init__(
        self,
        graph: Graph,
        node_def: graph_pb2.NodeDef,
        inputs: Sequence[Tensor],
        control_inputs: Sequence[Operation],
        attrs: dict[str, Any],
        output_types: Sequence[DType],
        input_types: Sequence[DType],
        op_def: op_registry.OpDef | None,
    ) -> None:
        self._graph = graph
        self._node_def = node_def
        self._inputs = list(inputs)
        self._control_inputs = list(control_inputs)
        self._attrs = attrs
        self._op_def = op_def
        self._input_types = list(input_types)
        self._id = graph._next_id()
        self._control_flow_context = graph._get_control_flow_context()
        self._user_frame = _user_frame()
        self._outputs = [Tensor(self, i, dtype, None) for i, dtype in enumerate(output_types)]
        for tensor in inputs:
            tensor._consumers.append(self)

    @property
    def graph(self) -> Graph:
        """The graph that the operation belongs to."""
        return self._graph

    @property
    def name(self) -> str:
        """The full name, with its scopes."""
        return self._node_def.name

    @property
    def type(self) -> str:
        """The name of the op: "MatMul"."""
        return self._node_def.op

    @property
    def device(self) -> str:
        """The device that the operation was given; "" for none."""
        return self._node_def.device

    @property
    def node_def(self) -> graph_pb2.NodeDef:
        """The NodeDef itself; to change it changes the operation."""
        return self._node_def

    @property
    def op_def(self) -> op_registry.OpDef | None:
        """The definition of the op; None for a call of a function and for an unknown op."""
        return self._op_def

    @property
    def _kind(self) -> op_registry.OpKind:
        """The kind of the op; OTHER where its definition is not known."""
        return op_registry.OpKind.OTHER if self._op_def is None else self._op_def.kind

    @property
    def inputs(self) -> list[Tensor]:
        """The input tensors in order."""
        return list(self._inputs)

    @property
    def control_inputs(self) -> list[Operation]:
        """The operations that this one waits for."""
        return list(self._control_inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """The output tensors in order."""
        return list(self._outputs)

    @property
    def traceback(self) -> list[tuple[str, int, str, str]]:
        """The user's line that made this op: ``[(file, line, function, source line)]``."""
        file, line, function = self._user_frame
        return [(file, line, function, linecache.getline(file, line).strip())]

    def values(self) -> tuple[Tensor, ...]:
        """Returns the outputs as a tuple."""
        return tuple(self._outputs)

    def colocation_groups(self) -> list[bytes]:
        """Returns the colocation groups of this op; its own ``loc:@name`` if it was given none."""
        default = [b"loc:@" + self.name.encode()]
        if "_class" not in self._node_def.attr:
            return default
        groups = [s for s in self._node_def.attr["_class"].list.s if s.startswith(b"loc:@")]
        return groups or default

    def get_attr(self, name: str) -> Any:
        """Returns an attribute as a Python value (DType, int, bytes); ValueError if absent."""
        if name in self._attrs:
            value = self._attrs[name]
            return as_shape(value) if self._attr_kind(name) == "shape" else value
        if name in self._node_def.attr:
            proto = self._node_def.attr[name]
            for kind in ("type", "int", "float", "bool", "string", "shape", "func", "tensor"):
                value = attr_values.from_attr_value(proto, kind)
                if value is not None:
                    return value
            for item in ("string", "int", "float", "bool", "type", "shape"):
                value = attr_values.from_attr_value(proto, f"list({item})")
                if value:
                    return value
            return []
        raise ValueError(f"Operation '{self.name}' has no attr named '{name}'.")

    def _attr_kind(self, name: str) -> str:
        if self._op_def is not None and name in self._op_def.attrs:
            return self._op_def.attrs[name].kind
        return ""

    def run(self, feed_dict: Any = None, session: SessionLike | None = None) -> None:
        """Runs this operation in ``session``, or in the default session."""
        session_for(self.graph, session, "execute operation", "run").run(self, feed_dict)

    def _set_device(self, device: str | DeviceSpec) -> None:
        self._node_def.device = device if isinstance(device, str) else device.to_string()

    def _set_attr(self, name: str, value: graph_pb2.AttrValue) -> None:
        self._node_def.attr[name].CopyFrom(value)

    def _add_control_input(self, op: Operation) -> None:
        self._add_control_inputs([op])

    def _add_control_inputs(self, ops: Iterable[Operation]) -> None:
        for op in ops:
            self._graph._check_own(op)
            if op not in self._control_inputs:
                self._control_inputs.append(op)
                self._node_def.input.append("^" + op.name)

    def _remove_control_inputs(self, ops: Collection[Operation]) -> None:
        self._control_inputs = [op for op in self._control_inputs if op not in ops]
        kept = [text for text in self._node_def.input if not is_control(text)]
        self._node_def.input[:] = kept + [f"^{op.name}" for op in self._control_inputs]

    def _update_input(self, index: int, tensor: Tensor) -> None:
        self._graph._check_own(tensor)
        self._inputs[index]._consumers.remove(self)
        self._inputs[index] = tensor
        tensor._consumers.append(self)
        self._node_def.input[index] = input_name(tensor)

    def __str__(self) -> str:
        return str(self._node_def)

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.type}>"


def input_name(tensor: Tensor) -> str:
    """Returns how a NodeDef names ``tensor`` among its inputs: "op", or "op:1"."""
    index = tensor._value_index
    return tensor._op.name if index == 0 else f"{tensor._op.name}:{index}"


def _user_frame() -> tuple[str, int, str]:
    """Returns file, line and function of the innermost frame outside flowray."""
    frame: Any = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        _PACKAGE_PREFIX
    ):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


OperatorFunction = Callable[[Any, Any], Tensor]


def override_operator(operator: str, function: OperatorFunction) -> None:
    """Gives ``Tensor`` a Python operator; the op families call this for their operators."""
    if operator in Tensor.__dict__ and operator not in ("__eq__", "__ne__"):
        raise ValueError(f"operator {operator} cannot be overwritten again")
    setattr(Tensor, operator, function)
