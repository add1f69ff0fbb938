"""Turns the loops of TensorFlow 1 into While nodes.

A loop variable is a Merge of its first value (an Enter) and the next one (a NextIteration). The
LoopCond decides, by a Switch after each Merge, whether the value starts another iteration or leaves
through an Exit. The nodes before the LoopCond become the function ``cond`` of the While, those
before the NextIterations the function ``body``. Values that enter as constants become arguments
that do not change. An Exit becomes an Identity of an output, so that its name stays valid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from flowray.master.passes.frames import ROOT, Frame, frame_after, frames_of
from flowray.master.passes.graph import Graph, add_node, topological
from flowray.proto import errors
from flowray.proto.graph import device_names, functions
from flowray.proto.graph.device_names import DeviceSpec
from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType

_MACHINERY = frozenset({OpKind.ENTER, OpKind.EXIT, OpKind.NEXT_ITERATION, OpKind.LOOP_COND})
"""The kinds of the nodes that make a loop; all others compute something."""

# A constant up to this size is copied into the functions that use it: what XLA must know of a
# shape or an axis is known there. A larger one is passed, so that it lies in memory once.
_MAX_COPIED_BYTES = 1 << 10


def with_while_nodes(
    graph: Graph,
    devices: Mapping[str, str],
    feeds: Collection[TensorId],
    fetches: Sequence[TensorId] = (),
    targets: Sequence[str] = (),
) -> tuple[Graph, Mapping[str, str]]:
    """Returns the placed graph of a step, and its devices, with a While node for every loop.

    A loop runs on one task: that of its nodes with state, whatever the others ask for.

    Raises:
        InvalidArgumentError: the frames are not consistent, or something in a loop is fed,
            fetched or a target.
        UnimplementedError: a loop has state on several tasks, or a form that no client builds.
    """
    if not any(node.op.kind is OpKind.ENTER for node in graph.nodes.values()):
        return graph, devices
    frames = frames_of(graph.nodes, frozenset(feeds))
    _check_outside(graph, frames, feeds, fetches, targets)
    work = _Work(graph, devices, frozenset(feeds), frames)
    for frame in sorted(dict.fromkeys(frames.values()), key=lambda f: f.depth, reverse=True):
        if frame.parent is not None:
            # Its inner loops are nodes of this frame by now.
            members = work.used_members(frame)
            for connected in _connected(members, work.nodes):
                _Loop(work, frame, connected).convert()
    return work.result(graph)


def _check_outside(
    graph: Graph,
    frames: Mapping[str, Frame],
    feeds: Collection[TensorId],
    fetches: Sequence[TensorId],
    targets: Sequence[str],
) -> None:
    used = [(t.node, "fed") for t in feeds if t.node in frames]
    used += [(t.node, "fetched") for t in fetches]
    used += [(name, "a target") for name in targets]
    for name, what in used:
        frame = frame_after(graph.nodes[name], frames)
        if frame != ROOT:
            raise errors.invalid_argument(
                f"Node '{name}' is in the loop '{frame.name}': it cannot be {what}", node=name
            )


def _connected(members: Sequence[str], nodes: Mapping[str, Node]) -> list[list[str]]:
    """Returns the members in groups that no edge joins, in their order.

    Two loops may have one frame's name: those of a graph that was imported twice.
    """
    group = {name: [name] for name in members}
    for name in members:
        for other in (*_before(nodes[name]), *nodes[name].back_inputs):
            if other in group and group[other] is not group[name]:
                small, large = sorted((group[name], group[other]), key=len)
                large.extend(small)
                group.update(dict.fromkeys(small, large))
    position = {name: i for i, name in enumerate(members)}
    found = {id(names): names for names in group.values()}
    return [sorted(names, key=position.__getitem__) for names in found.values()]


def _before(node: Node) -> list[str]:
    return [*(t.node for t in node.inputs), *node.control_inputs]


def _is_constant_enter(node: Node) -> bool:
    return node.op.kind is OpKind.ENTER and bool(node.attrs["is_constant"])


class _Work:
    """The graph while its loops are being replaced."""

    def __init__(
        self,
        graph: Graph,
        devices: Mapping[str, str],
        feeds: frozenset[TensorId],
        frames: Mapping[str, Frame],
    ) -> None:
        self.nodes = dict(graph.nodes)
        self.devices = dict(devices)
        self.frames = dict(frames)
        self._feeds = feeds
        self._functions: list[graph_pb2.FunctionDef] = []
        self._taken = {function.signature.name for function in graph.library.function}

    def add(self, node: Node, frame: Frame, device: str) -> None:
        self.nodes[node.name] = node
        self.frames[node.name] = frame
        self.devices[node.name] = device

    def used_members(self, frame: Frame) -> list[str]:
        """Drops constants that enter ``frame`` without a use, and returns its nodes.

        A constant that an inner loop uses enters all loops around it. The inner loop's functions
        have a copy of a small one.
        """
        members = [name for name in self.nodes if self.frames[name] == frame]
        used = {name for node in self.nodes.values() for name in _before(node)}
        unused = {
            name for name in members if name not in used and _is_constant_enter(self.nodes[name])
        }
        for name in unused:
            del self.nodes[name]
        return [name for name in members if name not in unused]

    def add_function(self, function: graph_pb2.FunctionDef) -> None:
        self._functions.append(function)
        self._taken.add(function.signature.name)

    def free_name(self, name: str) -> str:
        """Returns ``name``, or a similar name that no function has."""
        while name in self._taken:
            name += "_"
        return name

    def task(self, name: str) -> str:
        return device_names.task_name(self.devices[name])

    def small_constant(self, tensor: TensorId) -> Node | None:
        """Returns the Const of ``tensor``, outside of all loops, if it is worth copying."""
        while tensor not in self._feeds and tensor.node in self.nodes:
            node = self.nodes[tensor.node]
            if _is_constant_enter(node):
                tensor = node.inputs[0]
                continue
            if node.op.kind is not OpKind.CONST:
                return None
            size = node.definition.attr["value"].tensor.ByteSize()
            return node if size <= _MAX_COPIED_BYTES else None
        return None

    def result(self, graph: Graph) -> tuple[Graph, Mapping[str, str]]:
        library = type(graph.library)()
        library.CopyFrom(graph.library)
        library.function.extend(self._functions)
        order, _ = topological(self.nodes.values())
        return Graph({n.name: n for n in order}, library, graph.versions), self.devices


class _Loop:
    """One loop.

    Args:
        members: its nodes, in topological order but for back edges; inner loops are While nodes.
    """

    def __init__(self, work: _Work, frame: Frame, members: Sequence[str]) -> None:
        assert frame.parent is not None
        self._work = work
        self._frame = frame
        self._outside = frame.parent
        self._members = list(members)
        conditions = self._of(OpKind.LOOP_COND)
        if len(conditions) != 1:
            raise self._refusal(f"has {len(conditions)} LoopCond nodes instead of one", members[0])
        (self._condition,) = conditions
        self._merges = {n.name: n for n in self._of(OpKind.MERGE) if n.back_inputs}
        self._switches = {
            n.name: n for n in self._of(OpKind.SWITCH) if n.inputs[1].node == self._condition.name
        }
        self._invariants: dict[TensorId, Node] = {}
        """What enters as a constant, and the Enter that stands for it in the functions."""

    def _of(self, kind: OpKind) -> list[Node]:
        nodes = (self._work.nodes[name] for name in self._members)
        return [node for node in nodes if node.op.kind is kind]

    def _computing(self) -> list[Node]:
        """Returns the nodes that compute something, and do not only make the loop."""
        nodes = (self._work.nodes[name] for name in self._members)
        return [n for n in nodes if n.op.kind not in _MACHINERY and n.name not in self._parts()]

    def _parts(self) -> set[str]:
        return {*self._merges, *self._switches}

    def _refusal(self, why: str, node: str) -> errors.UnimplementedError:
        return errors.unimplemented(f"The loop '{self._frame.name}' {why}", node=node)

    # The nodes that replace it ------------------------------------------------------------------

    def convert(self) -> None:
        """Puts a While node and the Identities of its outputs in place of the members."""
        work = self._work
        home = self._home()
        variables = [self._ends(merge) for merge in self._merges.values()]
        self._find_invariants()
        arguments = [(merge.name, merge.output_types[0]) for merge in self._merges.values()]
        arguments += [(e.name, self._passed_type(e)) for e in self._invariants.values()]
        cond = self._function(
            "cond",
            arguments,
            [TensorId(self._condition.name, 0)],
            self._waits([self._condition, *self._switches.values()]),
            home,
        )
        body = self._function(
            "body",
            arguments,
            [following.inputs[0] for _, following in variables]
            + [TensorId(enter.name, 0) for enter in self._invariants.values()],
            self._waits(following for _, following in variables),
            home,
        )
        self._check_effects(cond, body)
        enters = self._of(OpKind.ENTER)
        loop = _while_node(
            f"_loop/{self._condition.name}",
            cond,
            body,
            [dtype for _, dtype in arguments],
            [*(enter.inputs[0] for enter, _ in variables), *self._invariants],
            self._waits(enters),
            max(e.attrs["parallel_iterations"] for e in enters),
        )
        exits = [self._identity(node, loop) for node in self._of(OpKind.EXIT)]
        for name in self._members:
            del work.nodes[name]
        for node in (loop, *exits):
            work.add(node, self._outside, home)

    def _ends(self, merge: Node) -> tuple[Node, Node]:
        """Returns the Enter and the NextIteration of a loop variable."""
        if merge.op.outputs[0].is_ref:
            raise self._refusal("has a reference as a loop variable", merge.name)
        following = [t.node for t in merge.inputs if t.node in merge.back_inputs]
        first = [t.node for t in merge.inputs if t.node not in merge.back_inputs]
        if len(first) != 1 or len(following) != 1 or first[0] not in self._members:
            raise self._refusal("has a Merge of other inputs than a first and a next", merge.name)
        enter = self._work.nodes[first[0]]
        if enter.op.kind is not OpKind.ENTER or _is_constant_enter(enter):
            raise self._refusal("has a Merge whose first value does not enter", merge.name)
        return enter, self._work.nodes[following[0]]

    def _find_invariants(self) -> None:
        users = [self._work.nodes[name] for name in self._members if name not in self._merges]
        uses = {tensor.node for user in users for tensor in user.inputs}
        for enter in self._of(OpKind.ENTER):
            if not _is_constant_enter(enter):
                if enter.name in uses:
                    raise self._refusal("uses a first value beyond its Merge", enter.name)
            elif enter.name in uses and self._work.small_constant(TensorId(enter.name, 0)) is None:
                self._invariants.setdefault(enter.inputs[0], enter)

    def _passed_type(self, enter: Node) -> DType:
        """Returns the dtype of a loop variable: a value, unless the loop needs a reference."""
        dtype = enter.output_types[0]
        needed = any(t._is_ref_dtype for node in self._computing() for t in node.input_types)
        return dtype if needed else dtype.base_dtype

    def _identity(self, leaving: Node, loop: Node) -> Node:
        """Returns the Identity that replaces an Exit."""
        switch = self._switches.get(leaving.inputs[0].node)
        merges = list(self._merges)
        if (
            switch is None
            or leaving.inputs[0].index != 0
            or switch.inputs[0].node not in merges
            or leaving.control_inputs
        ):
            raise self._refusal("is left by a value that is not a loop variable", leaving.name)
        dtype = leaving.output_types[0].base_dtype
        return _node_of(
            graph_pb2.NodeDef(name=leaving.name),
            "Identity",
            dtype,
            (TensorId(loop.name, merges.index(switch.inputs[0].node)),),
        )

    def _waits(self, nodes: Iterable[Node]) -> tuple[str, ...]:
        """Returns the control inputs of these nodes from outside of the loop."""
        return tuple(dict.fromkeys(c for node in nodes for c in node.control_inputs))

    # Its functions ------------------------------------------------------------------------------

    def _function(
        self,
        what: str,
        arguments: Sequence[tuple[str, DType]],
        results: Sequence[TensorId],
        controls: Sequence[str],
        device: str,
    ) -> graph_pb2.FunctionDef:
        """Makes the function that computes ``results`` from the loop's arguments."""
        graph = graph_pb2.GraphDef()
        given = {name for name, _ in arguments}
        pending: list[str] = []

        def value(tensor: TensorId) -> TensorId:
            tensor = self._seen_inside(tensor)
            pending.append(tensor.node)
            return tensor

        def before(names: Iterable[str]) -> list[str]:
            kept = [name for name in names if not self._is_there_already(name)]
            pending.extend(kept)
            return kept

        made = [value(tensor) for tensor in results]
        targets = before(controls)
        while pending:
            name = pending.pop()
            if name in given:
                continue
            given.add(name)
            node = self._work.nodes[name]
            if _is_constant_enter(node):
                constant = self._work.small_constant(TensorId(name, 0))
                assert constant is not None
                add_node(graph, constant, device, control_inputs=())
                graph.node[-1].name = name
                continue
            inputs = [value(tensor) for tensor in node.inputs]
            add_node(graph, node, inputs=inputs, control_inputs=before(node.control_inputs))
        types = dict(arguments)
        result = functions.make_function(
            self._work.free_name(f"_loop/{self._condition.name}/{what}"),
            reversed(graph.node),
            arguments,
            [(str(t), types[t.node] if t.node in types else self._type(t)) for t in made],
            targets,
        )
        self._work.add_function(result)
        return result

    def _type(self, tensor: TensorId) -> DType:
        return self._work.nodes[tensor.node].output_types[tensor.index].base_dtype

    def _seen_inside(self, tensor: TensorId) -> TensorId:
        """Returns the argument or node that stands for ``tensor`` in the functions."""
        node = self._work.nodes[tensor.node]
        if node is self._condition:
            return self._seen_inside(node.inputs[0])
        if node.name in self._switches:
            if tensor.index != 1:
                raise self._refusal("computes with what leaves it", node.name)
            return self._seen_inside(node.inputs[0])
        if node.name in self._merges and tensor.index != 0:
            raise self._refusal("asks whether this is its first iteration", node.name)
        if _is_constant_enter(node) and node.inputs[0] in self._invariants:
            return TensorId(self._invariants[node.inputs[0]].name, 0)
        return tensor

    def _is_there_already(self, name: str) -> bool:
        """Tells whether a node has run before the function is called."""
        node = self._work.nodes[name]
        if node.op.kind is OpKind.NEXT_ITERATION:
            raise self._refusal("waits for its next iteration", name)
        return node.op.kind in _MACHINERY or name in self._parts()

    def _check_effects(self, cond: graph_pb2.FunctionDef, body: graph_pb2.FunctionDef) -> None:
        """Checks that nodes which both functions need, and which run in both, have no effects."""
        both = {n.name for n in cond.node_def} & {n.name for n in body.node_def}
        for name in sorted(both):
            if self._work.nodes[name].op.stateful:
                raise self._refusal("uses what its condition did", name)

    # Where it runs ------------------------------------------------------------------------------

    def _home(self) -> str:
        """Returns the device of the While node: on the task of the loop's state, if it has any."""
        tasks = self._tasks_of_state()
        if len(tasks) > 1:
            self._read_outside()
            tasks = self._tasks_of_state()
        if len(tasks) > 1:
            listed = ", ".join(sorted(tasks))
            raise self._refusal(
                f"has state on several tasks: {listed}. A loop runs on one task.", tasks[max(tasks)]
            )
        devices = [self._work.devices[n.name] for n in self._computing() or [self._condition]]
        task = next(iter(tasks), _most_common(map(device_names.task_name, devices)))
        here = [d for d in devices if device_names.task_name(d) == task]
        return _most_common(here)

    def _tasks_of_state(self) -> dict[str, str]:
        """Returns the tasks that have state of the loop, and a node of each."""
        return {
            self._work.task(node.name): node.name
            for node in self._computing()
            if node.op.stateful or any(map(_is_state, (*node.input_types, *node.output_types)))
        }

    def _read_outside(self) -> None:
        """Reads the variables that the loop does not write once, before it begins."""
        work = self._work
        written = {
            self._handle(tensor)
            for node in self._computing()
            if not node.op.reads_only
            for tensor, dtype in zip(node.inputs, node.input_types, strict=True)
            if dtype is dtypes.resource
        }
        for node in self._computing():
            if node.op.name != "ReadVariableOp":
                continue
            handle = self._handle(node.inputs[0])
            if handle is None or handle in written:
                continue
            enter = work.nodes[node.inputs[0].node]
            read = replace(
                node,
                definition=graph_pb2.NodeDef(),
                inputs=(handle,),
                control_inputs=enter.control_inputs,
            )
            read.definition.CopyFrom(node.definition)
            read.definition.name = f"_read/{node.name}"
            work.add(read, self._outside, work.devices[node.name])
            entering = graph_pb2.NodeDef()
            entering.CopyFrom(enter.definition)
            entering.name = node.name
            made = (TensorId(read.name, 0),)
            work.nodes[node.name] = _node_of(entering, "Enter", node.output_types[0], made)

    def _handle(self, tensor: TensorId) -> TensorId | None:
        """Returns the tensor outside that a resource comes from; None if it is made in the loop."""
        enter = self._work.nodes[tensor.node]
        return enter.inputs[0] if _is_constant_enter(enter) else None


def _is_state(dtype: DType) -> bool:
    return dtype is dtypes.resource or dtype._is_ref_dtype


def _most_common(names: Iterable[str]) -> str:
    """Returns the most common device; a tie goes to an accelerator, then to the first name."""
    counts = Counter(names)
    kinds = {name: DeviceSpec.from_string(name).device_type for name in counts}
    return min(counts, key=lambda name: (-counts[name], kinds[name] == "CPU", name))


def _node_of(
    definition: graph_pb2.NodeDef, op: str, dtype: DType, inputs: tuple[TensorId, ...]
) -> Node:
    """Makes a node of an op with one type ``T``, one input and one output."""
    definition.op = op
    definition.attr["T"].type = dtype.as_datatype_enum
    return Node.from_def(definition, inputs=inputs)


def _while_node(
    name: str,
    cond: graph_pb2.FunctionDef,
    body: graph_pb2.FunctionDef,
    types: Sequence[DType],
    inputs: Sequence[TensorId],
    control_inputs: tuple[str, ...],
    parallel_iterations: int,
) -> Node:
    stateful = (
        cond.signature.is_stateful
        or body.signature.is_stateful
        or any(dtype._is_ref_dtype for dtype in types)
    )
    definition = graph_pb2.NodeDef(name=name, op="While" if stateful else "StatelessWhile")
    definition.attr["cond"].func.name = cond.signature.name
    definition.attr["body"].func.name = body.signature.name
    for dtype in types:
        definition.attr["T"].list.type.append(dtype.as_datatype_enum)
    definition.attr["parallel_iterations"].i = parallel_iterations
    return Node.from_def(definition, inputs=tuple(inputs), control_inputs=control_inputs)
