"""A placed graph by device."""

from __future__ import annotations

from collections.abc import Mapping

from flowray.master.passes.graph import Graph
from flowray.proto.graph.node import Node
from flowray.proto.messages import graph_pb2


def by_device(graph: Graph, devices: Mapping[str, str]) -> list[graph_pb2.GraphDef]:
    """Returns one GraphDef per device, by its name: ``RunMetadata.partition_graphs``.

    Each has its nodes with their full device names; they still name nodes of other devices as
    inputs.
    """
    parts: dict[str, list[Node]] = {}
    for name, node in graph.nodes.items():
        parts.setdefault(devices[name], []).append(node)
    return [graph.with_nodes(parts[device]).to_graph_def(devices) for device in sorted(parts)]
