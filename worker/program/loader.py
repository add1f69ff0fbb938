"""A stage made ready to run: tensors in numbered slots, nodes as instructions, in segments.

Loading a stage happens once; running it then does no look-ups by name. Constants and handles of
variables are put into their slots at load time, so that they cost a run nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.graph import functions
from flowray.proto.graph.deadness import NONE as NO_CONDITIONS
from flowray.proto.graph.deadness import Conditions, DeadnessAnalysis
from flowray.proto.graph.tensor_id import control_inputs, data_inputs
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.wire.stage import Stage
from flowray.worker import kernel_registry as kernels
from flowray.worker.program import rewrites
from flowray.worker.program.function import Function, FunctionLibrary
from flowray.worker.program.instruction import Arg, Condition, Instruction, Slot
from flowray.worker.program.segment import Segment
from flowray.worker.program.segmentation import Cutter
from flowray.worker.state.store import (
    KernelContext,
    Resource,
    StateStore,
    StoredVariable,
    Variable,
)

_NOT_ON_XLA = frozenset({dtypes.string, dtypes.variant})


@dataclass(slots=True)
class Program:
    """A loaded stage."""

    stage: Stage
    base: list[Any]
    """The slots before a run: constants and resources in their places."""
    inputs: tuple[Slot, ...]
    input_is_handle: tuple[bool, ...]
    instructions: list[Instruction]
    segments: list[Segment]
    outputs: tuple[Slot, ...]
    as_handle: tuple[bool, ...]
    output_names: tuple[str, ...]
    output_conditions: tuple[tuple[Condition, ...], ...]
    """For each output, the conditions under which it is live."""


def load(
    stage: Stage, store: StateStore, *, select: bool = True, hosted: Collection[str] = ()
) -> Program:
    """Loads ``stage``; raises OpError with the node's name for whatever is wrong with it.

    Args:
        select: whether XLA programs may compute both branches of a condition and select.
        hosted: the stage's nodes that XLA is known not to compile.
    """
    return _Loader(stage, store, select, hosted=hosted).load()


class _Loader:
    """Loads a stage, or the body of a function that it calls.

    Args:
        within: the function's name; "" for a stage.
        handles: the function's arguments that are resources.
    """

    def __init__(
        self,
        stage: Stage,
        store: StateStore,
        select: bool,
        library: FunctionLibrary | None = None,
        within: str = "",
        handles: Iterable[str] = (),
        hosted: Collection[str] = (),
    ) -> None:
        self._stage = stage
        self._store = store
        self._select = select
        self._within = within
        self._hosted = hosted
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
        self._handle_inputs = set(handles)
        self._deadness = DeadnessAnalysis(
            {name: stage.input_conditions.get(name, NO_CONDITIONS) for name in stage.inputs}
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
                    raise errors.at_node(error, node.name) from None
        outputs = tuple(self._slot(name) for name in stage.outputs)
        conditions = tuple(self._in_slots(self._deadness.of_tensor(name)) for name in stage.outputs)
        segments = self._cutter().cut(
            {*outputs, *(slot for some in conditions for slot, _ in some)}
        )
        return Program(
            stage,
            self._base,
            inputs,
            tuple(name in self._handle_inputs for name in stage.inputs),
            self._instructions,
            segments,
            outputs,
            tuple(
                name in stage.ref_outputs or self._types.get(name) == dtypes.resource
                for name in stage.outputs
            ),
            stage.outputs,
            conditions,
        )

    def _cutter(self) -> Cutter:
        given, made = set[Slot](), set[Slot]()
        if not self._within:  # what a function gets, and whether it leaves, its caller knows
            given = {self._slots[name] for name in self._handle_inputs}
            made = {
                self._slots[name]
                for name, dtype in self._types.items()
                if dtype == dtypes.resource and self._base[self._slots[name]] is None
            }
        return Cutter(
            self._instructions, self._base, self._producer, given, made - given, self._select,
            self._hosted,
        )  # fmt: skip

    def _load_body(self, name: str, body: functions.FunctionBody) -> Program:
        body = rewrites.scale_after_resizing(body)
        stage = replace(
            self._stage, graph=body.graph, inputs=body.inputs, outputs=body.outputs,
            ref_outputs=frozenset(), input_conditions={}, node_conditions={},
        )  # fmt: skip
        handles = [
            argument
            for argument, dtype in zip(body.inputs, body.input_types, strict=True)
            if dtype == dtypes.resource or dtype._is_ref_dtype
        ]
        return _Loader(stage, self._store, self._select, self._library, name, handles).load()

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
        names = [str(tensor) for tensor in data_inputs(node.input)]
        for name, dtype in zip(names, wanted, strict=True):
            if name in fed and (dtype._is_ref_dtype or dtype == dtypes.resource):
                self._handle_inputs.add(name)

    def _add(self, node: graph_pb2.NodeDef, fed: set[str]) -> None:
        definition = op_registry.lookup(node.op)
        attrs = definition.attr_values(node)
        names = [str(tensor) for tensor in data_inputs(node.input)]
        wanted = definition.input_types(attrs)
        made = definition.output_types(attrs)
        # A fed tensor keeps the run's value, even where its node runs for another output.
        outputs = tuple(
            self._dropped_slot()
            if f"{node.name}:{i}" in fed
            else self._new_slot(f"{node.name}:{i}")
            for i in range(len(made))
        )
        conditions = self._deadness.add(
            node.name,
            definition.kind,
            names,
            control_inputs(node.input),
            self._stage.node_conditions.get(node.name, NO_CONDITIONS),
            not any(self._is_reference(name, fed) for name in names),
        )
        if definition.kind is OpKind.VARIABLE:
            self._base[outputs[0]] = self._variable(node, definition, attrs)
            return
        if definition.kind is OpKind.CONST:
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
            self._in_slots(conditions),
        )
        if definition.kind is OpKind.SWITCH:
            instruction.switched = self._slot(self._deadness.root(names[1]))
        elif definition.kind is OpKind.MERGE:
            instruction.input_conditions = tuple(
                self._in_slots(self._deadness.of_tensor(name)) for name in names
            )
        self._pass_resources_on(instruction)
        instruction.after = [
            self._instruction_of[name]
            for name in control_inputs(node.input)
            if name in self._instruction_of
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

    def _in_slots(self, conditions: Conditions) -> tuple[Condition, ...]:
        return tuple((self._slot(c.predicate), c.value) for c in sorted(conditions))

    def _pass_resources_on(self, instruction: Instruction) -> None:
        """Notes at load time that an op's output is the resource that it got as its input."""
        passes = [a.is_ref for a in instruction.op.outputs] == [True] or (
            instruction.op.forwards_resource and not instruction.reads
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

    def _variable(
        self, node: graph_pb2.NodeDef, definition: op_registry.OpDef, attrs: dict[str, Any]
    ) -> StoredVariable:
        name = attrs["shared_name"].decode() or node.name
        return self._store.variable(
            self._stage.state_scope,
            attrs["container"].decode(),
            name,
            attrs["dtype"],
            attrs["shape"],
            "ref" if definition.is_ref_variable else "resource",
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


def _functions_among(values: Iterable[Any]) -> Iterable[Function]:
    for value in values:
        if isinstance(value, Function):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, Function))


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
