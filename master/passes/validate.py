"""The first pass: checks the bytes that a client sent and makes a graph that later passes trust.

Codes and texts are TensorFlow's. Every message that concerns a node names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Final

from flowray.master.passes.graph import Graph, topological
from flowray.proto import errors
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.graph import functions
from flowray.proto.graph.node import Node
from flowray.proto.messages import graph_pb2, types_pb2
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import REQUIRED, OpDef, OpKind
from flowray.proto.types.attr_values import to_attr_value
from flowray.proto.types.dtypes import type_name

GRAPH_DEF_VERSION: Final = 2474
"""What this master can consume: everything that TensorFlow up to 2.21 writes."""

_NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")


def validate(graph_def: graph_pb2.GraphDef, base: Graph | None = None) -> Graph:
    """Returns the graph of ``graph_def``, or ``base`` with its nodes added.

    Attributes that are missing have their defaults, unknown ones are left alone; the nodes come
    out in topological order, those of ``base`` first.

    Raises:
        InvalidArgumentError: a name is illegal or taken, an attribute has a bad value, an edge
            leads nowhere or does not fit its ends' dtypes, there is a cycle, or the graph is meant
            for a newer consumer.
        NotFoundError: an op is unknown, a required attribute is missing.
    """
    base = Graph() if base is None else base
    _check_versions(graph_def.versions)
    library = _merged_library(base.library, graph_def.library)
    called = {f.signature.name: f for f in library.function}
    added: dict[str, Node] = {}
    for definition in graph_def.node:
        _check_name(definition.name, base, added)
        added[definition.name] = _node(functions.as_call(definition, called))
    for node in added.values():
        _check_edges(node, base, added)
    loops = [_with_back_inputs(node, added) for node in added.values()]
    order, cyclic = topological(loops)
    if cyclic:
        raise errors.invalid_argument(f"{len(cyclic)} nodes in a cycle", node=cyclic[0].name)
    nodes = dict(base.nodes)
    nodes.update((node.name, node) for node in order)
    versions = base.versions if base.nodes else graph_def.versions
    return Graph(nodes, library, versions)


def _check_versions(versions: types_pb2.VersionDef) -> None:
    if versions.min_consumer > GRAPH_DEF_VERSION:
        raise errors.invalid_argument(
            f"GraphDef min consumer version {versions.min_consumer} above current version "
            f"{GRAPH_DEF_VERSION} for flowray.  Please upgrade flowray."
        )
    if GRAPH_DEF_VERSION in versions.bad_consumers:
        raise errors.invalid_argument(
            f"GraphDef disallows consumer version {GRAPH_DEF_VERSION}.  Please upgrade flowray: "
            "this version is likely buggy."
        )


def _merged_library(
    base: graph_pb2.FunctionDefLibrary, added: graph_pb2.FunctionDefLibrary
) -> graph_pb2.FunctionDefLibrary:
    if not added.function and not added.gradient:
        return base
    result = graph_pb2.FunctionDefLibrary()
    result.CopyFrom(base)
    functions = {f.signature.name: f for f in base.function}
    for function in added.function:
        known = functions.setdefault(function.signature.name, function)
        if known is function:
            result.function.add().CopyFrom(function)
        elif known != function:
            raise errors.invalid_argument(
                f"Cannot add function '{function.signature.name}' because a different function "
                "with the same name already exists."
            )
    gradients = {g.function_name: g.gradient_func for g in base.gradient}
    for gradient in added.gradient:
        name = gradient.function_name
        if name not in gradients:
            gradients[name] = gradient.gradient_func
            result.gradient.add().CopyFrom(gradient)
        elif gradients[name] != gradient.gradient_func:
            raise errors.invalid_argument(
                f"Cannot assign gradient function '{gradient.gradient_func}' to '{name}' because "
                f"it already has gradient function '{gradients[name]}'"
            )
    return result


def _check_name(name: str, base: Graph, added: dict[str, Node]) -> None:
    if _NODE_NAME.fullmatch(name) is None:
        raise errors.invalid_argument(f"Illegal op name '{name}'", node=name)
    if name in added:
        raise errors.invalid_argument(f"Node '{name}' is not unique", node=name)
    if name in base.nodes:
        raise errors.invalid_argument(
            f"GraphDef argument to Extend includes node '{name}', which was created by a previous "
            "call to Create or Extend in this session.",
            node=name,
        )


def _node(definition: graph_pb2.NodeDef) -> Node:
    """Returns the node, its definition with all attributes of the op.

    Values of constants are checked but not kept decoded: the master has no use for them, and they
    would take their memory a second time.
    """
    node = Node.from_def(definition)
    for text in definition.input:
        if text.startswith(("_", "^_")):  # a name of flowray's own passes
            raise errors.invalid_argument(f"Illegal op input name '{text}'", node=definition.name)
    attrs = node.attrs
    if _tensor_attrs(node.op.name):
        attrs = {k: v for k, v in attrs.items() if k not in _tensor_attrs(node.op.name)}
    # Not by ``replace``, which takes as long as all the rest.
    return Node(
        _completed(definition, node.op),
        node.op,
        attrs,
        node.inputs,
        node.control_inputs,
        node.input_types,
        node.output_types,
    )


@cache
def _tensor_attrs(op_name: str) -> frozenset[str]:
    attrs = op_registry.lookup(op_name).attrs
    return frozenset(name for name, attr in attrs.items() if attr.kind == "tensor")


def _completed(definition: graph_pb2.NodeDef, op: OpDef) -> graph_pb2.NodeDef:
    result = graph_pb2.NodeDef()
    result.CopyFrom(definition)
    for name in op.attrs:
        if name not in definition.attr:
            result.attr[name].CopyFrom(_default(op.name, name))
    return result


@cache
def _default(op_name: str, name: str) -> graph_pb2.AttrValue:
    definition = op_registry.lookup(op_name).attrs[name]
    assert definition.default is not REQUIRED
    return to_attr_value(definition.default, definition.kind)


def _check_edges(node: Node, base: Graph, added: dict[str, Node]) -> None:
    name = node.name
    for producer in _producers(node):
        if producer not in added and producer not in base.nodes:
            raise errors.invalid_argument(
                f"Node '{name}': Unknown input node '{producer}'", node=name
            )
    for position, (tensor, expected) in enumerate(zip(node.inputs, node.input_types, strict=True)):
        source = added.get(tensor.node) or base.nodes[tensor.node]
        count = len(source.output_types)
        if tensor.index >= count:
            raise errors.invalid_argument(
                f"Node '{name}': Connecting to invalid output {tensor.index} of source node "
                f"{tensor.node} which has {count} outputs.",
                node=name,
            )
        given = source.output_types[tensor.index]
        if given is not expected and given.base_dtype is not expected:
            raise errors.invalid_argument(
                f"Input {position} of node {name} was passed {type_name(given)} from {tensor} "
                f"incompatible with expected {type_name(expected)}.",
                node=name,
            )


def _producers(node: Node) -> Iterable[str]:
    yield from (tensor.node for tensor in node.inputs)
    yield from node.control_inputs


def _with_back_inputs(node: Node, added: dict[str, Node]) -> Node:
    """Adds the inputs of Merges from NextIterations: the one cycle that is allowed."""
    if node.op.kind is not OpKind.MERGE:
        return node
    back = frozenset(
        t.node
        for t in node.inputs
        if t.node in added and added[t.node].op.kind is OpKind.NEXT_ITERATION
    )
    return replace(node, back_inputs=back) if back else node
