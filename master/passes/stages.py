"""Cuts a placed graph into stages: what one task runs in one go.

Edges between tasks can go back and forth, so a task's partition is cut by levels: the level of a
node is the largest number of changes of task on any way to it. Edges between the stages (task,
level) lead upwards only, so they have no cycle. Two steps then make them fewer: nodes without
effects that only serve a later stage move there, and stages of a task that could run together
become one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flowray.master.passes.graph import Graph, Node, TensorId, add_node, topological
from flowray.proto import device_names, dtypes, graph_pb2, op_registry


@dataclass(frozen=True, slots=True)
class StageGraph:
    """One stage, before it has a handle; see ``flowray.proto.stage.Stage``."""

    task: str
    graph: graph_pb2.GraphDef
    inputs: tuple[TensorId, ...] = ()
    outputs: tuple[TensorId, ...] = ()
    ref_outputs: frozenset[TensorId] = frozenset()
    blocks: bool = False
    after: tuple[int, ...] = ()
    """The stages that must be done before, by data or control."""


def cut(
    graph: Graph,
    devices: Mapping[str, str],
    feeds: Collection[TensorId],
    fetches: Sequence[TensorId],
    targets: Sequence[str] = (),
) -> list[StageGraph]:
    """The stages of a step, in topological order.

    Constants, and within a task what makes variables and resources, are copied into every stage
    that uses them. A fetched tensor is an output of the one stage that makes it.
    """
    return _Cutter(graph, devices, frozenset(feeds), fetches, targets).cut()


class _Cutter:
    def __init__(
        self,
        graph: Graph,
        devices: Mapping[str, str],
        feeds: frozenset[TensorId],
        fetches: Sequence[TensorId],
        targets: Sequence[str],
    ) -> None:
        self._graph = graph
        self._nodes = graph.nodes
        self._devices = devices
        self._task = {name: device_names.task_name(devices[name]) for name in graph.nodes}
        self._feeds = feeds
        self._fetches = dict.fromkeys(fetches)
        self._wanted = {t.node for t in fetches} | set(targets)
        self._copied = {name for name, node in graph.nodes.items() if _can_be_copied(node)}
        self._before = {name: self._predecessors(node) for name, node in graph.nodes.items()}

    def cut(self) -> list[StageGraph]:
        groups = self._merge(self._group(self._levels()))
        stage_of = {name: i for i, group in enumerate(groups) for name in group}
        return self._finish(groups, stage_of)

    # What goes where

    def _is_copy(self, producer: str, task: str) -> bool:
        """Whether stages of ``task`` have their own copy of ``producer``."""
        if producer not in self._copied:
            return False
        return self._task[producer] == task or self._nodes[producer].op.name == "Const"

    def _predecessors(self, node: Node) -> list[str]:
        """The nodes whose run comes before: not those of fed or copied values."""
        task = self._task[node.name]
        names = [
            t.node
            for t in node.inputs
            if t not in self._feeds and t.node not in node.back_inputs
        ]
        names.extend(c for c in node.control_inputs if c in self._nodes)
        return [name for name in dict.fromkeys(names) if not self._is_copy(name, task)]

    def _levels(self) -> dict[str, int]:
        levels: dict[str, int] = {}
        successors: dict[str, list[str]] = {}
        for name in self._nodes:
            level = 0
            for before in self._before[name]:
                change = self._task[before] != self._task[name]
                level = max(level, levels[before] + change)
                successors.setdefault(before, []).append(name)
            levels[name] = level
        used = {n for names in self._before.values() for n in names} | self._wanted
        for name in [n for n in self._copied if n not in used]:
            del levels[name]
        for name in reversed(list(levels)):
            after = successors.get(name, ())
            if after and name not in self._wanted and _has_no_time(self._nodes, self._nodes[name]):
                if all(self._task[s] == self._task[name] for s in after):
                    levels[name] = min(levels[s] for s in after)
        return levels

    def _group(self, levels: Mapping[str, int]) -> list[list[str]]:
        groups: dict[tuple[int, str], list[str]] = {}
        for name, level in levels.items():
            groups.setdefault((level, self._task[name]), []).append(name)
        return [groups[key] for key in sorted(groups)]

    def _merge(self, groups: list[list[str]]) -> list[list[str]]:
        """Joins stages of a task between which nothing else has to run; sorts topologically."""
        parts = dict(enumerate(groups))
        edges = self._edges(parts)
        by_task: dict[str, list[int]] = {}
        for i, group in parts.items():
            by_task.setdefault(self._task[group[0]], []).append(i)
        for ids in by_task.values():
            for later in range(1, len(ids)):
                for earlier in range(later):
                    a, b = ids[earlier], ids[later]
                    if a in parts and not _detour(edges, a, b) and not _detour(edges, b, a):
                        parts[b] = parts.pop(a) + parts[b]
                        edges = self._edges(parts)
        order: list[int] = []
        while len(order) < len(parts):
            blocked = {b for a in parts if a not in order for b in edges[a]}
            order.append(next(i for i in parts_in_order(parts) if i not in order and i not in blocked))
        return [parts[i] for i in order]

    def _edges(self, parts: Mapping[int, Iterable[str]]) -> dict[int, set[int]]:
        part_of = {name: i for i, group in parts.items() for name in group}
        edges: dict[int, set[int]] = {i: set() for i in parts}
        for name, i in part_of.items():
            for before in self._before[name]:
                if part_of[before] != i:
                    edges[part_of[before]].add(i)
        return edges
