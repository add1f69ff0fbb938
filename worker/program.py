"""A stage made ready to run: tensors in numbered slots, nodes as instructions, instructions in units.

Loading a stage happens once; running it then does no look-ups by name. Constants and handles of
variables are put into their slots at load time, so that they cost a run nothing.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from flowray.proto import dtypes, errors, functions, graph_pb2, op_registry
from flowray.proto.conditions import DEAD, MERGES, SWITCHES, ConditionAnalysis, Conditions
from flowray.proto.conditions import NONE as NO_CONDITIONS
from flowray.proto.device_names import DeviceSpec
from flowray.proto.dtypes import DType
from flowray.proto.stage import Stage
from flowray.worker import branches, rewrites
from flowray.worker.executor import at_node, hold
from flowray.worker.function import Function, FunctionLibrary
from flowray.worker.kernels import registry as kernels
from flowray.worker.state import KernelContext, Resource, StateStore, StoredVariable, Variable

Slot = int
Guard = tuple[Slot, bool]
"""That the predicate in a slot has this value."""
Arg = Slot | tuple[Slot, ...]

# Their output's value is known from the shape of the input alone, which every trace knows.
_SHAPE_OPS = frozenset({"Shape", "ShapeN", "Size", "Rank"})
_VARIABLE_OPS = {"VariableV2": "ref", "Variable": "ref", "VarHandleOp": "resource"}
_PASS_ON = frozenset({"Identity", *SWITCHES})
_NOT_ON_XLA = frozenset({dtypes.string, dtypes.variant})


@dataclass(slots=True)
class Instruction:
    """One node: which kernel to call with which slots, and where its results go."""

    node: str
    op: op_registry.OpDef
    device: str
    function: Callable[..., Any]
    attrs: dict[str, Any]
    args: tuple[Arg, ...]
    reads: tuple[Slot, ...]
    """Slots with a reference whose value, not the reference, is the argument."""
    outputs: tuple[Slot, ...]
    list_outputs: bool
    """Whether the kernel returns lists that are to be flattened into ``outputs``."""
    state: Variable | None = None
    functions: tuple[Function, ...] = ()
    """Those among the attributes."""
    on_xla: bool = True
    """Whether XLA has the dtypes of the inputs and outputs."""
    guards: tuple[Guard, ...] = ()
    """It runs only if these hold; otherwise its outputs are dead."""
    switched: Slot | None = None
    """Of a Switch: its predicate, where that was first computed."""
    alternatives: tuple[tuple[Guard, ...], ...] = ()
    """Of a Merge: what guards each of its inputs."""
    choice: tuple[Guard, Guard] | None = None
    """Of a Merge that a trace makes a selection: what tells its two inputs apart."""
    masks: tuple[Guard, ...] = ()
    """Those of ``guards`` that do not keep a trace from running it: what it writes is masked."""
    after: list[int] = field(default_factory=list)
    """Instructions that must run before this one, by index."""
    call: Callable[..., Any] = field(init=False)
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        function, attrs = self.function, dict(self.attrs)
        if self.state is not None:
            attrs["state"] = self.state
        self.call = (
            (lambda *args: function(np, *args, **attrs)) if attrs else (lambda *a: function(np, *a))
        )
        self.plain = not self.reads and all(isinstance(a, int) for a in self.args)

    @property
    def is_compilable(self) -> bool:
        """Whether XLA can compile it, given that its resources are known by then."""
        definition = self.op
        if definition.host_only or definition.dynamic_shape or definition.blocks:
            return False
        if not self.outputs and not self.args:
            return True  # NoOp
        return self.on_xla and all(f.is_compilable for f in self.functions)

    @property
    def is_traceable(self) -> bool:
        """Whether a trace can run it in a function, where no unit decides about branches."""
        return (
            self.is_compilable
            and len(self.masks) == len(self.guards)
            and (not self.alternatives or self.choice is not None)
        )

    def own_resources(self) -> Iterable[Resource]:
        """The resources that it has besides its inputs: its state, those of its functions."""
        if self.state is not None:
            yield self.state
        for function in self.functions:
            yield from function.resources()

    def input_slots(self) -> Iterable[Slot]:
        for arg in self.args:
            if isinstance(arg, tuple):
                yield from arg
            else:
                yield arg
        yield from self.predicates()

    def predicates(self) -> Iterable[Slot]:
        """The slots that decide whether it runs, and which input a Merge takes."""
        for guards in (self.guards, *self.alternatives):
            for slot, _ in guards:
                yield slot

    def arguments(self, slots: Sequence[Any]) -> list[Any]:
        """The positional arguments of the kernel, references read where values are wanted."""
        if self.plain:
            return [slots[a] for a in self.args]  # type: ignore[index]
        if self.alternatives:
            (inputs,) = self.args
            pairs = zip(_slots_of(inputs), self.alternatives, strict=True)
            return [[self.value(slots, s) if hold(g, slots) else DEAD for s, g in pairs]]
        return [
            [self.value(slots, s) for s in arg]
            if isinstance(arg, tuple)
            else self.value(slots, arg)
            for arg in self.args
        ]

    def value(self, slots: Sequence[Any], slot: Slot) -> Any:
        """What is in ``slot``; the value of a variable where that is the argument."""
        value = slots[slot]
        return value.read() if slot in self.reads else value

    def store(self, result: Any, slots: list[Any]) -> None:
        """Puts what the kernel returned into the output slots."""
        outputs = self.outputs
        if len(outputs) == 1 and not self.list_outputs:
            slots[outputs[0]] = result[0] if type(result) is tuple else result
        elif outputs:
            values = result if isinstance(result, tuple) else (result,)
            if self.list_outputs:
                values = tuple(
                    v for item in values for v in (item if isinstance(item, list) else (item,))
                )
            for slot, value in zip(outputs, values, strict=True):
                slots[slot] = value


@dataclass(slots=True)
class Unit:
    """Instructions that run together: on the host one by one, or as one XLA program."""

    compilable: bool
    device: str
    instructions: list[Instruction]
    inputs: tuple[Slot, ...]
    """Slots that come from outside the unit, constants and variables included."""
    outputs: tuple[Slot, ...]
    """Slots that later units or the stage's caller read."""
    guards: tuple[Guard, ...] = ()
    """All its instructions run, or none does, as these tell. (Traced, masks are none of them.)"""


@dataclass(slots=True)
class Program:
    """A loaded stage."""

    stage: Stage
    base: list[Any]
    """The slots before a run: constants and resources in their places."""
    inputs: tuple[Slot, ...]
    input_is_handle: tuple[bool, ...]
    instructions: list[Instruction]
    units: list[Unit]
    outputs: tuple[Slot, ...]
    as_handle: tuple[bool, ...]
    output_names: tuple[str, ...]
    output_guards: tuple[tuple[Guard, ...], ...]
    """For each output, what decides whether it is alive."""


def load(stage: Stage, store: StateStore, *, select: bool = True) -> Program:
    """Loads ``stage``; raises OpError with the node's name for whatever is wrong with it.

    ``select`` allows XLA programs that compute both branches of a condition and select.
    """
    return _Loader(stage, store, select).load()


_Way = tuple[bool, str, tuple[Guard, ...]]
"""How an instruction runs: compiled or on the host, on which device, under which guards."""


class _Loader:
    """Loads a stage, or the body of a function that it calls (``within`` is its name then)."""

    def __init__(
        self,
        stage: Stage,
        store: StateStore,
        select: bool,
        library: FunctionLibrary | None = None,
        within: str = "",
    ) -> None:
        self._stage = stage
        self._store = store
        self._select = select
        self._within = within
        self._library = library or FunctionLibrary(
            {f.signature.name: f for f in stage.graph.library.function}, self._load_body
        )
        self._slots: dict[str, Slot] = {}
        self._types: dict[str, DType] = {}
        self._base: list[Any] = []
        self._instructions: list[Instruction] = []
        self._producer: dict[Slot, int] = {}
        self._instruction_of: dict[str, int] = {}
        self._node_types: dict[str, list[DType]] = {}
        self._handle_inputs: set[str] = set()
        self._handle_slots: set[Slot] = set()
        self._conditions = ConditionAnalysis(
            {name: stage.given.get(name, NO_CONDITIONS) for name in stage.inputs}
        )

    def load(self) -> Program:
        stage = self._stage
        inputs = tuple(self._new_slot(name) for name in stage.inputs)
        fed = set(stage.inputs)
        for step in (self._read_types, self._add):
            for node in stage.graph.node:
                try:
                    step(node, fed)
                except errors.OpError as error:
                    raise at_node(error, node.name) from None
        self._handle_slots = {self._slots[name] for name in self._handle_inputs}
        units = self._units()
        outputs = tuple(self._slot(name) for name in stage.outputs)
        guards = tuple(self._guards(self._conditions.of_tensor(name)) for name in stage.outputs)
        deciding = (slot for some in guards for slot, _ in some)
        self._set_unit_outputs(units, (*outputs, *deciding))
        return Program(
            stage,
            self._base,
            inputs,
            tuple(name in self._handle_inputs for name in stage.inputs),
            self._instructions,
            units,
            outputs,
            tuple(
                name in stage.ref_outputs or self._types.get(name) == dtypes.resource
                for name in stage.outputs
            ),
            stage.outputs,
            guards,
        )

    def _load_body(self, name: str, body: functions.FunctionBody) -> Program:
        body = rewrites.scale_after_resizing(body)
        stage = replace(
            self._stage, graph=body.graph, inputs=body.inputs, outputs=body.outputs,
            ref_outputs=frozenset(), given={}, guarded={},
        )  # fmt: skip
        return _Loader(stage, self._store, self._select, self._library, name).load()

    def _new_slot(self, name: str) -> Slot:
        self._slots[name] = len(self._base)
        self._base.append(None)
        return self._slots[name]

    def _slot(self, name: str) -> Slot:
        try:
            return self._slots[name]
        except KeyError:
            raise errors.internal(f"stage {self._stage.handle} has no tensor {name}") from None

    def _read_types(self, node: graph_pb2.NodeDef, fed: set[str]) -> None:
        """Notes the dtypes of a node, and which of the stage's inputs come as handles."""
        definition = op_registry.lookup(node.op)
        attrs = definition.attr_values(node)
        wanted = definition.input_types(attrs)
        made = definition.output_types(attrs)
        self._node_types[node.name] = wanted + made
        for i, dtype in enumerate(made):
            self._types[f"{node.name}:{i}"] = dtype
        names = [_with_index(i) for i in node.input if not i.startswith("^")]
        for name, dtype in zip(names, wanted, strict=True):
            if name in fed and (dtype._is_ref_dtype or dtype == dtypes.resource):
                self._handle_inputs.add(name)

    def _add(self, node: graph_pb2.NodeDef, fed: set[str]) -> None:
        definition = op_registry.lookup(node.op)
        attrs = definition.attr_values(node)
        names = [_with_index(i) for i in node.input if not i.startswith("^")]
        wanted = definition.input_types(attrs)
        made = definition.output_types(attrs)
        # A fed tensor keeps the run's value, even where its node runs for another output.
        outputs = tuple(
            self._dropped_slot()
            if f"{node.name}:{i}" in fed
            else self._new_slot(f"{node.name}:{i}")
            for i in range(len(made))
        )
        conditions = self._conditions.add(
            node.name,
            node.op,
            names,
            [i[1:] for i in node.input if i.startswith("^")],
            self._stage.guarded.get(node.name, NO_CONDITIONS),
            not any(self._is_reference(name, fed) for name in names),
        )
        if node.op in _VARIABLE_OPS:
            self._base[outputs[0]] = self._variable(node, attrs)
            return
        if node.op == "Const":
            value = np.array(attrs["value"])
            value.flags.writeable = False
            self._base[outputs[0]] = value
            return
        kernel = kernels.lookup(node.op)
        in_slots = [self._slot(name) for name in names]
        reads = [
            slot
            for slot, name, dtype in zip(in_slots, names, wanted, strict=True)
            if not dtype._is_ref_dtype
            and dtype != dtypes.resource
            and self._is_reference(name, fed)
        ]
        chosen = {key: self._attr(definition, key, attrs[key]) for key in kernel.attrs}
        state = None if kernel.make_state is None else self._private_state(node, kernel, chosen)
        if kernel.wants_context:
            chosen["context"] = self._context(node)
        index = len(self._instructions)
        instruction = Instruction(
            node.name,
            definition,
            node.device,
            kernel.function,
            chosen,
            _group(definition.inputs, in_slots, attrs),
            tuple(reads),
            outputs,
            any(arg.is_list for arg in definition.outputs),
            state,
            tuple(_functions_among(chosen.values())),
            not any(t.base_dtype in _NOT_ON_XLA for t in self._node_types[node.name]),
            self._guards(conditions),
        )
        if node.op in SWITCHES:
            instruction.switched = self._slot(self._conditions.root(names[1]))
        elif node.op in MERGES:
            instruction.alternatives = tuple(
                self._guards(self._conditions.of_tensor(name)) for name in names
            )
        self._pass_resources_on(instruction)
        instruction.after = [
            self._instruction_of[name[1:]]
            for name in node.input
            if name.startswith("^") and name[1:] in self._instruction_of
        ]
        read = (*in_slots, *instruction.predicates())
        instruction.after += [self._producer[s] for s in read if s in self._producer]
        for slot in outputs:
            self._producer[slot] = index
        self._instruction_of[node.name] = index
        self._instructions.append(instruction)

    def _attr(self, definition: op_registry.OpDef, name: str, value: Any) -> Any:
        """An attribute as the kernel takes it: a function is there to be called."""
        match definition.attrs[name].kind:
            case "func":
                return self._library.get(value)
            case "list(func)":
                return [self._library.get(item) for item in value]
        return value

    def _guards(self, conditions: Conditions) -> tuple[Guard, ...]:
        return tuple((self._slot(c.predicate), c.value) for c in sorted(conditions))

    def _pass_resources_on(self, instruction: Instruction) -> None:
        """Notes at load time that an op's output is the resource that it got as its input."""
        passes = [a.is_ref for a in instruction.op.outputs] == [True] or (
            instruction.op.name in _PASS_ON and not instruction.reads
        )
        if passes:
            source = next(iter(instruction.input_slots()))
            if isinstance(self._base[source], Resource):
                for slot in instruction.outputs:
                    self._base[slot] = self._base[source]

    def _is_reference(self, name: str, fed: set[str]) -> bool:
        """Whether the tensor is a variable where it is used, and not a value."""
        if name in fed:
            return name in self._handle_inputs
        return self._types[name]._is_ref_dtype

    def _dropped_slot(self) -> Slot:
        self._base.append(None)
        return len(self._base) - 1

    def _variable(self, node: graph_pb2.NodeDef, attrs: dict[str, Any]) -> StoredVariable:
        name = attrs["shared_name"].decode() or node.name
        return self._store.variable(
            self._stage.state_scope,
            attrs["container"].decode(),
            name,
            attrs["dtype"],
            attrs["shape"],
            _VARIABLE_OPS[node.op],
        )

    def _private_state(
        self, node: graph_pb2.NodeDef, kernel: kernels.Kernel, attrs: dict[str, Any]
    ) -> Variable:
        """The state of a stateful kernel: one per session and node, whatever the stage."""
        assert kernel.make_state is not None

        def make(container: str) -> StoredVariable:
            value = np.asarray(kernel.make_state(**attrs))  # type: ignore[misc]
            state = StoredVariable(
                node.name, dtypes.as_dtype(value.dtype), value.shape, container, self._store.lock
            )
            state.assign(value)
            return state

        return self._store.lookup_or_create(
            f"private:{self._stage.session}", "", self._full_name(node), StoredVariable, make
        )

    def _context(self, node: graph_pb2.NodeDef) -> KernelContext:
        stage = self._stage
        return KernelContext(
            self._store, node.device, stage.state_scope, stage.session, self._full_name(node)
        )

    def _full_name(self, node: graph_pb2.NodeDef) -> str:
        """Unique in the session: the name of a node in a function is only so within that."""
        return f"{self._within}/{node.name}" if self._within else node.name

    # Units ----------------------------------------------------------------------------------

    def _units(self) -> list[Unit]:
        """Cuts the instructions into as few units as possible, along the edges between them.

        An instruction's phase is one more than that of anything it needs that runs in another way
        (host or compiled, or on another device); those of one phase and one way make a unit, which
        is convex because every path that leaves the unit's way leads to a later phase.
        """
        instructions = self._instructions
        self._order_state()
        static = self._static_slots()
        phases: list[int] = []
        ways: list[_Way] = []
        compilable = [self._is_compilable(i) for i in instructions]
        if any(i.guards or i.alternatives for i in instructions):
            branches.choose(instructions, compilable, self._select)
        for instruction, can_compile in zip(instructions, compilable, strict=True):
            unmasked = [g for g in instruction.guards if g not in instruction.masks]
            way = (can_compile, instruction.device, tuple(unmasked))
            phase = 0
            for index in instruction.after:
                phase = max(phase, phases[index] + (ways[index] != way))
            if way[0]:
                for position in instruction.op.static_inputs:
                    for slot in _slots_of(instruction.args[position]):
                        if slot in self._producer and slot not in static:
                            # Its value must be there before XLA can compile this instruction.
                            phase = max(phase, phases[self._producer[slot]] + 1)
            phases.append(phase)
            ways.append(way)
        groups: dict[tuple[int, _Way], list[Instruction]] = {}
        for phase, way, instruction in zip(phases, ways, instructions, strict=True):
            groups.setdefault((phase, way), []).append(instruction)
        return [
            Unit(way[0], way[1], members, _inputs_of(members), (), way[2])
            for (_, way), members in sorted(groups.items(), key=lambda item: item[0][0])
        ]

    def _order_state(self) -> None:
        """Keeps the stage's order among the instructions that touch a variable one of them writes.

        The graph need not order them; the master did, and units must not undo it.
        """
        last_write: dict[int, int] = {}
        reads_since: dict[int, list[int]] = {}
        for index, instruction in enumerate(self._instructions):
            for slot in dict.fromkeys(instruction.input_slots()):
                resource = self._base[slot]
                if not isinstance(resource, Resource):
                    continue
                key = id(resource)
                if key in last_write:
                    instruction.after.append(last_write[key])
                if slot not in instruction.reads and not instruction.op.reads_only:
                    instruction.after.extend(reads_since.pop(key, []))
                    last_write[key] = index
                else:
                    reads_since.setdefault(key, []).append(index)

    def _static_slots(self) -> set[Slot]:
        """Slots whose values are numpy arrays while XLA traces."""
        static = {slot for slot, value in enumerate(self._base) if isinstance(value, np.ndarray)}
        for instruction in self._instructions:
            if instruction.op.name in _SHAPE_OPS or (
                not instruction.op.stateful
                and not instruction.reads
                and instruction.args
                and all(slot in static for slot in instruction.input_slots())
            ):
                static.update(instruction.outputs)
        return static

    def _is_compilable(self, instruction: Instruction) -> bool:
        if self._handle_slots.intersection(instruction.input_slots()):
            return False  # which variable it is shows only when the stage runs
        return instruction.is_compilable

    def _set_unit_outputs(self, units: list[Unit], outputs: Iterable[Slot]) -> None:
        needed = set(outputs)
        for unit in reversed(units):
            made = {slot for i in unit.instructions for slot in i.outputs}
            unit.outputs = tuple(sorted(made & needed))
            needed.update(unit.inputs)


def _functions_among(values: Iterable[Any]) -> Iterable[Function]:
    for value in values:
        if isinstance(value, Function):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, Function))


def _slots_of(arg: Arg) -> tuple[Slot, ...]:
    return arg if isinstance(arg, tuple) else (arg,)


def _inputs_of(instructions: Sequence[Instruction]) -> tuple[Slot, ...]:
    made: set[Slot] = set()
    used: dict[Slot, None] = {}
    for instruction in instructions:
        for slot in instruction.input_slots():
            if slot not in made:
                used[slot] = None
        made.update(instruction.outputs)
    return tuple(used)


def _group(
    args: Sequence[op_registry.ArgDef], slots: Sequence[Slot], attrs: dict[str, Any]
) -> tuple[Arg, ...]:
    """The flat input slots as one entry per argument, list arguments as tuples."""
    result: list[Arg] = []
    position = 0
    for arg in args:
        if arg.number_attr is not None:
            count = attrs[arg.number_attr]
        elif arg.type_list_attr is not None:
            count = len(attrs[arg.type_list_attr])
        else:
            result.append(slots[position])
            position += 1
            continue
        result.append(tuple(slots[position : position + count]))
        position += count
    return tuple(result)


def _with_index(name: str) -> str:
    return name if ":" in name else name + ":0"


def device_type(device: str) -> str:
    """ "CPU" or "GPU"; a node without a device runs on the CPU."""
    return DeviceSpec.from_string(device).device_type or "CPU" if device else "CPU"
