"""A placed graph by task, and by device."""

from __future__ import annotations

from collections.abc import Mapping

from flowray.master.passes.graph import Graph, Node
from flowray.proto import device_names, graph_pb2


def by_task(graph: Graph, devices: Mapping[str, str]) -> dict[str, Graph]:
    """What each task runs: its nodes, which still name the nodes of other tasks as inputs."""
    return _split(graph, {name: device_names.task_name(devices[name]) for name in graph.nodes})


def by_device(graph: Graph, devices: Mapping[str, str]) -> list[graph_pb2.GraphDef]:
    """One GraphDef per device, by the devices' names: ``RunMetadata.partition_graphs``."""
    parts = _split(graph, devices)
    return [parts[device].to_graph_def(devices) for device in sorted(parts)]


def _split(graph: Graph, part_of: Mapping[str, str]) -> dict[str, Graph]:
    parts: dict[str, list[Node]] = {}
    for name, node in graph.nodes.items():
        parts.setdefault(part_of[name], []).append(node)
    return {part: graph.with_nodes(nodes) for part, nodes in parts.items()}
