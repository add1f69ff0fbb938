"""Translates FunctionDefs to plain graphs, and back.

A FunctionDef names the tensors of its body in its own way: an argument by its name, the output of
a node as ``node:argument:index`` (``mm:product:0``). The client's graphs and the worker's programs
use ``node:index``. The op definitions tell which names belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId, is_control, node_of
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.types.dtypes import DType, as_dtype


@dataclass(frozen=True, slots=True)
class FunctionBody:
    """The body of a function as a graph. Tensors are named ``node:index``."""

    graph: graph_pb2.GraphDef
    """Its nodes in topological order."""
    inputs: tuple[str, ...]
    """The arguments: tensors that no node makes."""
    input_types: tuple[DType, ...]
    outputs: tuple[str, ...]
    output_types: tuple[DType, ...]
    targets: tuple[str, ...]
    """The nodes that run even if no output needs them."""


# From a graph to a FunctionDef


def make_function(
    name: str,
    nodes: Iterable[graph_pb2.NodeDef],
    arguments: Sequence[tuple[str, DType]],
    results: Sequence[tuple[str, DType]],
    targets: Sequence[str] = (),
) -> graph_pb2.FunctionDef:
    """Makes the function whose body is a graph.

    Args:
        name: the name of the function.
        nodes: the body, without nodes for the arguments.
        arguments: ``(node, dtype)`` each: in ``nodes``, ``node`` stands for the argument's value.
        results: ``(tensor, dtype)`` each, the tensor named ``node`` or ``node:index``.
        targets: nodes that run even if no result needs them.
    """
    body = list(nodes)
    translator = _Translator(body, {argument for argument, _ in arguments})
    result = graph_pb2.FunctionDef()
    result.signature.name = name
    for argument, dtype in arguments:
        result.signature.input_arg.add(name=argument, type=dtype.as_datatype_enum)
    for i, (tensor, dtype) in enumerate(results):
        output = f"output_{i}"
        result.signature.output_arg.add(name=output, type=dtype.as_datatype_enum)
        result.ret[output] = translator.function_name(tensor)
    for node in body:
        copied = result.node_def.add()
        copied.CopyFrom(node)
        copied.input[:] = [translator.function_name(i) for i in node.input]
        if op_registry.lookup(node.op).stateful:
            result.signature.is_stateful = True
    for target in targets:
        result.signature.control_output.append(target)
        result.control_ret[target] = target
    return result


class _Translator:
    def __init__(self, body: Sequence[graph_pb2.NodeDef], arguments: set[str]) -> None:
        self._nodes = {node.name: node for node in body}
        self._arguments = arguments
        self._names: dict[str, list[str]] = {}

    def function_name(self, tensor: str) -> str:
        """Returns the FunctionDef's name for ``node``, ``node:index`` or ``^node`` of a graph."""
        if is_control(tensor):
            return tensor
        node, index = TensorId.parse(tensor)
        if node in self._arguments:
            return node
        if node not in self._names:
            definition = self._nodes[node]
            op = op_registry.lookup(definition.op)
            self._names[node] = output_names(op, definition)
        return f"{node}:{self._names[node][index]}"


def output_names(op: op_registry.OpDef, node: graph_pb2.NodeDef) -> list[str]:
    """Returns ``argument:index`` for every output of ``node``."""
    names: list[str] = []
    for arg in op.outputs:
        count = 1
        if arg.number_attr is not None:
            count = op.attr_value(node, arg.number_attr)
        elif arg.type_list_attr is not None:
            count = len(op.attr_value(node, arg.type_list_attr))
        names.extend(f"{arg.name}:{i}" for i in range(count))
    return names


# From a FunctionDef to a graph


def body_of(
    definition: graph_pb2.FunctionDef,
    attrs: Mapping[str, graph_pb2.AttrValue],
    library: Mapping[str, graph_pb2.FunctionDef],
) -> FunctionBody:
    """Returns the body of ``definition``, with ``attrs`` for its attribute placeholders.

    Raises:
        InvalidArgumentError, NotFoundError: the definition is not consistent. The message names the
            function and the node.
    """
    try:
        return _Body(definition, attrs, library).read()
    except errors.OpError as error:
        name = definition.signature.name
        message = error.message if name in error.message else f"{error.message} (function {name})"
        raise errors.from_code(error.error_code, message) from None


class _Body:
    def __init__(
        self,
        definition: graph_pb2.FunctionDef,
        attrs: Mapping[str, graph_pb2.AttrValue],
        library: Mapping[str, graph_pb2.FunctionDef],
    ) -> None:
        self._definition = definition
        self._attrs = attrs
        self._library = library
        self._tensors: dict[str, str] = {}  # by their names in the FunctionDef

    def read(self) -> FunctionBody:
        signature = self._definition.signature
        inputs, input_types = [], []
        for arg in signature.input_arg:
            if arg.number_attr or arg.type_list_attr:
                raise errors.unimplemented(
                    f"Function {signature.name}: argument {arg.name} is a list"
                )
            self._tensors[arg.name] = f"{arg.name}:0"
            inputs.append(f"{arg.name}:0")
            input_types.append(self._type(arg))
        nodes: dict[str, graph_pb2.NodeDef] = {}
        for original in self._definition.node_def:
            node = self._instantiated(original)
            if node.name in nodes or node.name in self._tensors:
                raise errors.invalid_argument(f"Node '{node.name}' is not unique", node=node.name)
            nodes[node.name] = node
            names = output_names(op_registry.lookup(node.op), node)
            for i, name in enumerate(names):
                self._tensors[f"{node.name}:{name}"] = f"{node.name}:{i}"
                if name.endswith(":0"):
                    self._tensors.setdefault(f"{node.name}:{name[:-2]}", f"{node.name}:{i}")
            if names:
                self._tensors.setdefault(node.name, f"{node.name}:0")
        for node in nodes.values():
            self._connect(node, nodes)
        outputs = tuple(self._result(arg.name) for arg in signature.output_arg)
        targets = [node for node in self._definition.control_ret.values() if node in nodes]
        # As in TensorFlow, what has effects runs even if nothing needs its outputs.
        targets += [n.name for n in nodes.values() if op_registry.lookup(n.op).stateful]
        roots = [*targets, *(node_of(o) for o in outputs)]
        graph = graph_pb2.GraphDef(node=_sorted(nodes, roots, signature.name))
        return FunctionBody(
            graph,
            tuple(inputs),
            tuple(input_types),
            outputs,
            tuple(self._type(arg) for arg in signature.output_arg),
            tuple(dict.fromkeys(targets)),
        )

    def _type(self, arg: graph_pb2.OpDef.ArgDef) -> DType:
        return as_dtype(self._attr(arg.type_attr).type if arg.type_attr else arg.type)

    def _attr(self, name: str) -> graph_pb2.AttrValue:
        value = self._attrs.get(name)
        if value is None:
            raise errors.invalid_argument(
                f"Function {self._definition.signature.name} is not given its attribute {name}"
            )
        return value

    def _instantiated(self, original: graph_pb2.NodeDef) -> graph_pb2.NodeDef:
        node = graph_pb2.NodeDef()
        node.CopyFrom(original)
        for value in node.attr.values():
            if value.WhichOneof("value") == "placeholder":
                value.CopyFrom(self._attr(value.placeholder))
        return as_call(node, self._library)

    def _connect(self, node: graph_pb2.NodeDef, nodes: Mapping[str, graph_pb2.NodeDef]) -> None:
        signature = self._definition.signature.name
        inputs = []
        for name in node.input:
            if is_control(name):
                if name[1:] in nodes:  # an argument is there before the body runs
                    inputs.append(name)
                continue
            tensor = self._tensors.get(name)
            if tensor is None:
                raise errors.invalid_argument(
                    f"Node '{node.name}' of function {signature}: Unknown input '{name}'",
                    node=node.name,
                )
            inputs.append(tensor)
        node.input[:] = inputs

    def _result(self, name: str) -> str:
        tensor = self._tensors.get(self._definition.ret.get(name, name))
        if tensor is None:
            raise errors.invalid_argument(
                f"Function {self._definition.signature.name}: nothing makes its result {name}"
            )
        return tensor


def _sorted(
    nodes: Mapping[str, graph_pb2.NodeDef], roots: Iterable[str], function: str
) -> Iterable[graph_pb2.NodeDef]:
    """Returns the nodes that ``roots`` need, in topological order, else in the given order."""
    wanted = set(roots)
    done: dict[str, graph_pb2.NodeDef] = {}
    for root in nodes:
        pending, entered = [root] if root in wanted else [], set[str]()
        while pending:
            name = pending[-1]
            before = {node_of(i) for i in nodes[name].input}
            missing = [n for n in sorted(before) if n in nodes and n not in done]
            if missing and name in entered:
                raise errors.invalid_argument(
                    f"The nodes of function {function} form a cycle", node=name
                )
            if missing:
                entered.add(name)
                pending.extend(missing)
                continue
            pending.pop()
            done.setdefault(name, nodes[name])
    return done.values()


def as_call(
    node: graph_pb2.NodeDef, library: Mapping[str, graph_pb2.FunctionDef]
) -> graph_pb2.NodeDef:
    """Returns ``node``, or a node that calls its op, if that is a function of the library."""
    called = library.get(node.op)
    if called is None or node.op in op_registry.registered_ops():
        return node
    call = graph_pb2.NodeDef(name=node.name, device=node.device, input=node.input)
    call.op = "StatefulPartitionedCall" if called.signature.is_stateful else "PartitionedCall"
    call.attr["f"].func.name = node.op
    for key, value in node.attr.items():
        target = call.attr if key.startswith("_") else call.attr["f"].func.attr
        target[key].CopyFrom(value)
    for key, args in (("Tin", called.signature.input_arg), ("Tout", called.signature.output_arg)):
        for arg in args:
            dtype = node.attr[arg.type_attr].type if arg.type_attr else arg.type
            call.attr[key].list.type.append(dtype)
        call.attr[key].list.SetInParent()
    return call


def called_functions(node: graph_pb2.NodeDef) -> list[str]:
    """Returns the functions that the attributes of ``node`` name."""
    names = []
    for value in node.attr.values():
        match value.WhichOneof("value"):
            case "func":
                names.append(value.func.name)
            case "list":
                names.extend(f.name for f in value.list.func)
    return names


def reachable(
    nodes: Iterable[graph_pb2.NodeDef], library: Mapping[str, graph_pb2.FunctionDef]
) -> list[graph_pb2.FunctionDef]:
    """Returns the functions that ``nodes`` call, also indirectly, in the library's order."""
    found: set[str] = set()
    pending = [name for node in nodes for name in (node.op, *called_functions(node))]
    while pending:
        name = pending.pop()
        if name in found or name not in library:
            continue
        found.add(name)
        for node in library[name].node_def:
            pending.extend((node.op, *called_functions(node)))
    return [definition for name, definition in library.items() if name in found]
