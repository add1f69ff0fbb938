"""The graph as the passes see it: nodes with their definitions and types, in topological order.

A pass takes a ``Graph`` and gives a new one; nodes are never changed, so graphs share them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2, types_pb2
from flowray.proto.ops.op_registry import OpDef
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType


@dataclass(frozen=True, slots=True)
class Node:
    """A node whose op is known and whose attributes and edges have been checked."""

    definition: graph_pb2.NodeDef
    """With all attributes of the op. It is shared, so nobody changes it. Its inputs are what the
    client wrote; the passes go by ``inputs`` and ``control_inputs``."""
    op: OpDef
    inputs: tuple[TensorId, ...]
    control_inputs: tuple[str, ...]
    input_types: tuple[DType, ...]
    output_types: tuple[DType, ...]
    back_inputs: frozenset[str] = frozenset()
    """The NextIteration nodes among the inputs of a loop's Merge: the edges that close the loop."""

    @property
    def name(self) -> str:
        return self.definition.name

    def predecessors(self) -> list[str]:
        """The nodes that come before this one, by data or control; not those of back edges."""
        nodes = [t.node for t in self.inputs if t.node not in self.back_inputs]
        nodes.extend(self.control_inputs)
        return nodes

    def reads_reference(self, position: int) -> bool:
        """Whether input ``position`` takes a variable itself, not its value."""
        return self.input_types[position]._is_ref_dtype

    def writes_variable(self) -> bool:
        """Whether it changes a variable, or another resource."""
        if self.op.reads_only:
            return False
        if self.op.stateful and any(a.type_list_attr for a in self.op.inputs):  # it calls functions
            return any(t is dtypes.resource or t._is_ref_dtype for t in self.input_types)
        return any(a.is_ref or a.dtype is dtypes.resource for a in self.op.inputs)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by name, in topological order, with the function library and the versions."""

    nodes: Mapping[str, Node] = field(default_factory=lambda: MappingProxyType({}))
    library: graph_pb2.FunctionDefLibrary = field(default_factory=graph_pb2.FunctionDefLibrary)
    versions: types_pb2.VersionDef = field(default_factory=types_pb2.VersionDef)

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """A graph of these nodes (in topological order), with the same library and versions."""
        return Graph({node.name: node for node in nodes}, self.library, self.versions)

    def to_graph_def(self, devices: Mapping[str, str] | None = None) -> graph_pb2.GraphDef:
        """The GraphDef; ``devices`` replaces the requested devices of the nodes that it has."""
        result = graph_pb2.GraphDef(library=self.library, versions=self.versions)
        for name, node in self.nodes.items():
            add_node(result, node, None if devices is None else devices.get(name))
        return result


def add_node(
    graph_def: graph_pb2.GraphDef,
    node: Node,
    device: str | None = None,
    *,
    inputs: Iterable[TensorId] | None = None,
    control_inputs: Iterable[str] | None = None,
) -> None:
    """Appends the NodeDef of ``node``, with another device or other inputs where given."""
    definition = graph_def.node.add()
    definition.CopyFrom(node.definition)
    del definition.input[:]
    definition.input.extend(t.input_name for t in (node.inputs if inputs is None else inputs))
    controls = node.control_inputs if control_inputs is None else control_inputs
    definition.input.extend(f"^{name}" for name in controls)
    if device is not None:
        definition.device = device


def topological(
    nodes: Iterable[Node], priority: Callable[[Node], Any] = lambda node: 0
) -> tuple[list[Node], list[Node]]:
    """The nodes in topological order, and those left over: on a cycle or behind one.

    Of the nodes that can come next, the one of lowest ``priority`` does, then the first one of the
    given order. Predecessors that are not among the nodes do not count.
    """
    listed = list(nodes)
    position = {node.name: i for i, node in enumerate(listed)}
    waiting = [0] * len(listed)
    successors: list[list[int]] = [[] for _ in listed]
    for i, node in enumerate(listed):
        for name in node.predecessors():
            before = position.get(name)
            if before is not None:
                successors[before].append(i)
                waiting[i] += 1
    ready = [(priority(listed[i]), i) for i, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        _, i = heapq.heappop(ready)
        order.append(listed[i])
        for j in successors[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                heapq.heappush(ready, (priority(listed[j]), j))
    return order, [node for i, node in enumerate(listed) if waiting[i] > 0]
