"""The graph as the passes see it: typed nodes in topological order.

A pass takes a ``Graph`` and gives a new one; nodes are never changed, so graphs share them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2, types_pb2


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by name, in topological order, with the function library and the versions."""

    nodes: Mapping[str, Node] = field(default_factory=lambda: MappingProxyType({}))
    library: graph_pb2.FunctionDefLibrary = field(default_factory=graph_pb2.FunctionDefLibrary)
    versions: types_pb2.VersionDef = field(default_factory=types_pb2.VersionDef)

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """Returns a graph of these nodes, in topological order, with the same library."""
        return Graph({node.name: node for node in nodes}, self.library, self.versions)

    def to_graph_def(self, devices: Mapping[str, str] | None = None) -> graph_pb2.GraphDef:
        """Returns the GraphDef; ``devices`` replaces the requested devices of its nodes."""
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
    """Appends the NodeDef of ``node``, with another device or other inputs if these are given."""
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
    """Returns the nodes in topological order, and those left over: on a cycle or behind one.

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
