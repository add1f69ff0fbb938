"""Cuts a placed graph into stages, each of which one task runs in one go.

Edges between tasks can go back and forth, so a task's partition is cut by levels: the level of a
node is the largest number of changes of task on any way to it. Edges between the stages (task,
level) lead upwards only, so they have no cycle. Two steps then make them fewer: nodes without
effects that only serve a later stage move there, and stages of a task with nothing
in between become one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from flowray.master.passes.graph import Graph, add_node, topological
from flowray.proto.graph import device_names, functions
from flowray.proto.graph.deadness import NONE, Conditions, DeadnessAnalysis
from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes


@dataclass(frozen=True, slots=True)
class StageGraph:
    """One stage, before it has a handle; see ``flowray.proto.wire.stage.Stage``."""

    task: str
    graph: graph_pb2.GraphDef
    inputs: tuple[TensorId, ...] = ()
    outputs: tuple[TensorId, ...] = ()
    ref_outputs: frozenset[TensorId] = frozenset()
    blocks: bool = False
    keeps_step_resources: bool = False
    after: tuple[int, ...] = ()
    """The stages that must be done before, by data or control."""
    input_conditions: Mapping[str, Conditions] = field(default_factory=dict)
    node_conditions: Mapping[str, Conditions] = field(default_factory=dict)


def cut(
    graph: Graph,
    devices: Mapping[str, str],
    feeds: Collection[TensorId],
    fetches: Sequence[TensorId],
    targets: Sequence[str] = (),
) -> list[StageGraph]:
    """Returns the stages of a step, in topological order.

    Constants, and within a task what makes variables and resources, are copied into every stage
    that uses them. A fetched tensor is an output of the one stage that makes it.
    """
    return _Cutter(graph, devices, frozenset(feeds), fetches, targets).cut()


@dataclass(frozen=True, slots=True)
class _Crossing:
    """The tensors that leave the stages that make them, in order: as values, and as references."""

    values: Mapping[TensorId, None]
    references: Mapping[TensorId, None]

    def name_of_value(self, tensor: TensorId) -> TensorId:
        """Returns the name of a value: it needs one of its own if it is a reference, too."""
        return value_of(tensor) if tensor in self.references else tensor


@dataclass(slots=True)
class _Draft:
    """A stage in the making."""

    number: int
    task: str
    input_conditions: Mapping[str, Conditions]
    node_conditions: Mapping[str, Conditions]
    nodes: dict[str, Node] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    inputs: dict[TensorId, None] = field(default_factory=dict)
    after: set[int] = field(default_factory=set)
    """The stages that must be done before, perhaps with its own number."""


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
        self._library = {f.signature.name: f for f in graph.library.function}
        self._devices = devices
        self._task = {name: device_names.task_name(devices[name]) for name in graph.nodes}
        self._feeds = feeds
        self._fetches = dict.fromkeys(fetches)
        self._wanted = {t.node for t in fetches} | set(targets)
        self._copied = {name for name, node in graph.nodes.items() if _can_be_copied(node)}
        self._before = {name: self._predecessors(node) for name, node in graph.nodes.items()}
        self._conditions = self._analyze()

    def _analyze(self) -> DeadnessAnalysis:
        """Finds the conditions under which each tensor is live."""
        analysis = DeadnessAnalysis({str(tensor): NONE for tensor in self._feeds})
        for node in self._nodes.values():
            copies = not any(
                t.node in self._nodes and self._nodes[t.node].output_types[t.index]._is_ref_dtype
                for t in node.inputs
            )
            analysis.add(node, copies=copies)
        return analysis

    def cut(self) -> list[StageGraph]:
        return self._finish(self._merge(self._group(self._levels())))

    # What goes where

    def _is_copy(self, producer: str, task: str) -> bool:
        """Tells whether stages of ``task`` have their own copy of ``producer``."""
        if producer not in self._copied:
            return False
        return self._task[producer] == task or self._nodes[producer].op.kind is OpKind.CONST

    def _predecessors(self, node: Node) -> list[str]:
        """Returns the nodes that run before: not those of fed or copied values."""
        task = self._task[node.name]
        names = [
            t.node for t in node.inputs if t not in self._feeds and t.node not in node.back_inputs
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
            if not after or name in self._wanted or not self._can_run_later(name):
                continue
            if all(self._task[s] == self._task[name] for s in after):
                levels[name] = min(levels[s] for s in after)
        return levels

    def _can_run_later(self, name: str) -> bool:
        """Tells whether a node neither has an effect nor reads a variable."""
        node = self._nodes[name]
        types = (
            self._nodes[t.node].output_types[t.index] for t in node.inputs if t.node in self._nodes
        )
        return not node.op.stateful and not any(
            t is dtypes.resource or t._is_ref_dtype for t in types
        )

    def _group(self, levels: Mapping[str, int]) -> list[list[str]]:
        groups: dict[tuple[int, str], list[str]] = {}
        for name, level in levels.items():
            groups.setdefault((level, self._task[name]), []).append(name)
        return [groups[key] for key in sorted(groups)]

    def _merge(self, groups: list[list[str]]) -> list[list[str]]:
        """Joins stages of a task between which nothing else has to run; sorts topologically."""
        parts = dict(enumerate(groups))
        edges = self._edges(groups)
        later = _reachable(edges)
        by_task: dict[str, list[int]] = {}
        for i, group in parts.items():
            by_task.setdefault(self._task[group[0]], []).append(i)
        for ids in by_task.values():
            for b in ids:
                for a in ids[: ids.index(b)]:
                    if a not in parts or any(
                        _detour(edges, later, *way) for way in ((a, b), (b, a))
                    ):
                        continue
                    parts[b] = parts.pop(a) + parts[b]
                    _contract(edges, a, b)
                    later = _reachable(edges)
        return [parts[i] for i in _sorted(edges)]

    def _edges(self, groups: list[list[str]]) -> dict[int, set[int]]:
        group_of = {name: i for i, group in enumerate(groups) for name in group}
        edges: dict[int, set[int]] = {i: set() for i in range(len(groups))}
        for name, i in group_of.items():
            for before in self._before[name]:
                if group_of[before] != i:
                    edges[group_of[before]].add(i)
        return edges

    # What crosses

    def _finish(self, groups: list[list[str]]) -> list[StageGraph]:
        """Makes the stages of the groups of nodes, which are in topological order."""
        stage_of = {name: i for i, group in enumerate(groups) for name in group}
        conditions = [self._decided_elsewhere(group, stage_of) for group in groups]
        crossing = self._crossing(stage_of, conditions)
        return [
            self._stage(_Draft(i, self._task[group[0]], *conditions[i]), group, stage_of, crossing)
            for i, group in enumerate(groups)
        ]

    def _crossing(
        self,
        stage_of: Mapping[str, int],
        conditions: Sequence[tuple[Mapping[str, Conditions], Mapping[str, Conditions]]],
    ) -> _Crossing:
        """Finds the tensors that leave the stages that make them."""
        values, references = dict.fromkeys(self._fetches), dict[TensorId, None]()
        for name in stage_of:
            node = self._nodes[name]
            for position, tensor in enumerate(node.inputs):
                if tensor not in self._feeds and not self._is_local(tensor, name, stage_of):
                    (references if node.reads_reference(position) else values)[tensor] = None
        for i, decided in enumerate(conditions):
            for tensor in _predicates(*decided):
                if tensor not in self._feeds and stage_of.get(tensor.node, i) != i:
                    values[tensor] = None
        return _Crossing(values, references)

    def _stage(
        self,
        draft: _Draft,
        group: Sequence[str],
        stage_of: Mapping[str, int],
        crossing: _Crossing,
    ) -> StageGraph:
        """Makes the stage of one group."""
        for name in group:
            draft.nodes[name] = self._nodes[name]
            draft.devices[name] = self._devices[name]
        for name in group:
            draft.after.update(stage_of[before] for before in self._before[name])
            self._connect(draft, name, stage_of, crossing)
        self._add_predicates(draft, draft.devices[group[0]], stage_of, crossing)
        made = [t for t in crossing.values if stage_of.get(t.node) == draft.number]
        handed = [t for t in crossing.references if stage_of.get(t.node) == draft.number]
        graph, blocks = self._graph_of(draft, [t for t in made if t in crossing.references])
        return StageGraph(
            draft.task,
            graph,
            tuple(draft.inputs),
            (*map(crossing.name_of_value, made), *handed),
            frozenset(handed),
            blocks,
            any(map(self._is_made_resource, made)),
            tuple(sorted(draft.after - {draft.number})),
            draft.input_conditions,
            draft.node_conditions,
        )

    def _connect(
        self, draft: _Draft, name: str, stage_of: Mapping[str, int], crossing: _Crossing
    ) -> None:
        """Connects a node of the stage to what it reads: inputs of the stage, or copied nodes."""
        node = self._nodes[name]
        read = []
        for position, tensor in enumerate(node.inputs):
            if tensor in self._feeds:
                draft.inputs[tensor] = None
            elif not self._is_local(tensor, name, stage_of):
                if not node.reads_reference(position):
                    tensor = crossing.name_of_value(tensor)
                draft.inputs[tensor] = None
            elif tensor.node not in draft.nodes:
                draft.nodes[tensor.node] = self._nodes[tensor.node]
                home = self._devices[tensor.node]
                is_at_home = self._task[tensor.node] == draft.task
                draft.devices[tensor.node] = home if is_at_home else self._devices[name]
            read.append(tensor)
        draft.nodes[name] = replace(
            node,
            inputs=tuple(read),
            control_inputs=tuple(c for c in node.control_inputs if c in stage_of),
        )

    def _add_predicates(
        self, draft: _Draft, device: str, stage_of: Mapping[str, int], crossing: _Crossing
    ) -> None:
        """Brings the predicates of its conditions to a stage; constants are put on ``device``."""
        for tensor in _predicates(draft.input_conditions, draft.node_conditions):
            if tensor in self._feeds:
                draft.inputs[tensor] = None
            elif stage_of.get(tensor.node, draft.number) != draft.number:
                draft.inputs[crossing.name_of_value(tensor)] = None
                draft.after.add(stage_of[tensor.node])
            elif tensor.node not in draft.nodes:  # a constant
                draft.nodes[tensor.node] = self._nodes[tensor.node]
                draft.devices[tensor.node] = device

    def _graph_of(
        self, draft: _Draft, reads: Sequence[TensorId]
    ) -> tuple[graph_pb2.GraphDef, bool]:
        """Makes the stage's graph, with reads of references; also returns whether it may block."""
        nodes = draft.nodes
        called = functions.reachable((n.definition for n in nodes.values()), self._library)
        graph = graph_pb2.GraphDef(versions=self._graph.versions)
        graph.library.function.extend(called)
        order, cyclic = topological(nodes.values(), Node.writes_variable)
        for node in order + cyclic:
            controls = [c for c in node.control_inputs if c in nodes]
            add_node(graph, node, draft.devices[node.name], control_inputs=controls)
        for tensor in reads:
            self._add_read(graph, tensor)
        return graph, any(node.op.blocks for node in order) or _may_block(called)

    def _decided_elsewhere(
        self, group: Sequence[str], stage_of: Mapping[str, int]
    ) -> tuple[dict[str, Conditions], dict[str, Conditions]]:
        """Returns a stage's ``input_conditions`` and ``node_conditions``: those of its inputs, and
        those that control edges from other stages put on its nodes."""
        input_conditions: dict[str, Conditions] = {}
        node_conditions: dict[str, Conditions] = {}
        for name in group:
            node = self._nodes[name]
            for tensor in node.inputs:
                conditions = self._conditions.of_tensor(str(tensor))
                if conditions and not self._is_local(tensor, name, stage_of):
                    input_conditions[str(tensor)] = conditions
            waits = NONE.union(
                *(
                    self._conditions.of_node(control)
                    for control in node.control_inputs
                    if stage_of.get(control, stage_of[name]) != stage_of[name]
                )
            )
            if waits:
                node_conditions[name] = waits
        return input_conditions, node_conditions

    def _is_made_resource(self, tensor: TensorId) -> bool:
        """Tells whether it may be a resource that lives as long as the step; these have inputs."""
        node = self._nodes[tensor.node]
        return node.output_types[tensor.index] is dtypes.resource and bool(node.inputs)

    def _is_local(self, tensor: TensorId, reader: str, stage_of: Mapping[str, int]) -> bool:
        return (
            self._is_copy(tensor.node, self._task[reader])
            or stage_of[tensor.node] == stage_of[reader]
        )

    def _add_read(self, graph: graph_pb2.GraphDef, tensor: TensorId) -> None:
        """Adds a read of a reference that also leaves its stage as a value, under another name."""
        dtype = self._nodes[tensor.node].output_types[tensor.index].base_dtype
        node = graph.node.add(
            name=value_of(tensor).node,
            op="Identity",
            input=[str(tensor)],
            device=self._devices[tensor.node],
        )
        node.attr["T"].type = dtype.as_datatype_enum


def value_of(tensor: TensorId) -> TensorId:
    """Returns the name of the value of a reference that leaves its stage as both.

    No name of a client begins with "_".
    """
    return TensorId(f"_value/{tensor.node}_{tensor.index}", 0)


def _predicates(*conditions: Mapping[str, Conditions]) -> list[TensorId]:
    found = {c.predicate for some in conditions for each in some.values() for c in each}
    return [TensorId.parse(name) for name in sorted(found)]


def _can_be_copied(node: Node) -> bool:
    """Tells whether a node has no inputs and gives the same wherever it runs."""
    if node.inputs or node.control_inputs or len(node.output_types) != 1:
        return False
    made = node.output_types[0]
    return node.op.kind is OpKind.CONST or made is dtypes.resource or made._is_ref_dtype


def _may_block(called: Iterable[graph_pb2.FunctionDef]) -> bool:
    ops = op_registry.registered_ops()
    return any(
        node.op in ops and ops[node.op].blocks for function in called for node in function.node_def
    )


def _reachable(edges: Mapping[int, set[int]]) -> dict[int, int]:
    """Returns the stages that come after each stage, as the bits of a number."""
    later: dict[int, int] = {}
    for i in reversed(_sorted(edges)):
        bits = 0
        for j in edges[i]:
            bits |= later[j] | 1 << j
        later[i] = bits
    return later


def _detour(edges: Mapping[int, set[int]], later: Mapping[int, int], start: int, end: int) -> bool:
    """Tells whether a path leads from ``start`` to ``end`` over another stage."""
    return any(later[i] >> end & 1 for i in edges[start] if i != end)


def _contract(edges: dict[int, set[int]], a: int, b: int) -> None:
    """Makes stage ``a`` a part of stage ``b``."""
    edges[b] |= edges.pop(a)
    for successors in edges.values():
        if a in successors:
            successors.remove(a)
            successors.add(b)
    edges[b].discard(b)


def _sorted(edges: Mapping[int, set[int]]) -> list[int]:
    sorter = TopologicalSorter[int](dict.fromkeys(edges, ()))
    for i, successors in edges.items():
        for j in successors:
            sorter.add(j, i)
    sorter.prepare()
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return order
