"""The loader: makes programs of stages and of the bodies of functions.

A stage is loaded once; running it then looks nothing up by name. Constants and the handles of
variables are put into their slots at load time, so that they cost a run nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.proto.graph.deadness import NONE as NO_CONDITIONS
from flowray.proto.graph.deadness import Conditions, DeadnessAnalysis
from flowray.proto.graph.functions import FunctionBody
from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.wire.stage import Stage
from flowray.worker import kernel_registry as kernels
from flowray.worker.failures import as_op_error
from flowray.worker.kernel_registry import Kernel
from flowray.worker.program import rewrites
from flowray.worker.program.function import Function, FunctionLibrary
from flowray.worker.program.instruction import Arg, Condition, Instruction, Slot
from flowray.worker.program.program import Program
from flowray.worker.program.segmentation import Cutter
from flowray.worker.state.store import (
    KernelContext,
    Resource,
    StateStore,
    StoredVariable,
    Variable,
)

_NOT_ON_XLA: Final = frozenset({dtypes.string, dtypes.variant})


def load(
    stage: Stage, store: StateStore, *, select: bool = True, hosted: Collection[str] = ()
) -> Program:
    """Loads a stage.

    Args:
        stage: its nodes are in topological order.
        store: the state of the task.
        select: whether XLA programs may compute both branches of a condition and select.
        hosted: the stage's nodes that XLA is known not to compile.

    Raises:
        OpError: something is wrong with the stage; the error names the node.
    """
    return _Loader(stage, store, select, hosted=hosted).load()


def _missing(tensor: TensorId | str) -> errors.OpError:
    return errors.internal(f"the stage has no tensor {tensor}")


class _Tensors:
    """The tensors of a program by name: dtypes, slots, and what is in these before a run.

    Args:
        fed: the tensors that a run brings. A node that reads one reads the run's value, even if
            the stage has the node that makes it.
        handles: those of ``fed`` that are known to come as handles of resources.
    """

    def __init__(self, fed: Iterable[str], handles: Iterable[str]) -> None:
        self.base: list[Any] = []
        self.types: dict[str, DType] = {}
        self.handles = set(handles)
        self._slots: dict[str, Slot] = {}
        self._fed = dict.fromkeys(fed)
        self.inputs = tuple(self._new_slot(name) for name in self._fed)

    def declare(self, node: Node) -> None:
        """Notes the dtypes of a node's outputs, and which fed tensors it takes as handles."""
        for index, dtype in enumerate(node.output_types):
            self.types[str(node.output(index))] = dtype
        for tensor, dtype in zip(node.inputs, node.input_types, strict=True):
            if str(tensor) in self._fed and (dtype._is_ref_dtype or dtype == dtypes.resource):
                self.handles.add(str(tensor))

    def add_outputs(self, node: Node) -> tuple[Slot, ...]:
        """Returns new slots for a node's outputs; the output of a fed node is not read."""
        return tuple(
            self._new_slot(None if (name := str(node.output(index))) in self._fed else name)
            for index in range(len(node.output_types))
        )

    def slot(self, tensor: TensorId | str) -> Slot:
        """Returns the slot that readers of the tensor read; InternalError if there is none."""
        try:
            return self._slots[str(tensor)]
        except KeyError:
            raise _missing(tensor) from None

    def alias(self, slot: Slot) -> Slot:
        """Returns another slot for the variable that is in ``slot`` before a run."""
        if not isinstance(self.base[slot], Resource):
            return slot
        self.base.append(self.base[slot])
        return len(self.base) - 1

    def is_reference(self, tensor: TensorId) -> bool:
        """Returns whether the tensor is a variable where it is read, and not a value."""
        name = str(tensor)
        if name in self._fed:
            return name in self.handles
        if name not in self.types:
            raise _missing(name)
        return self.types[name]._is_ref_dtype

    def _new_slot(self, name: str | None) -> Slot:
        slot = len(self.base)
        self.base.append(None)
        if name is not None:
            self._slots[name] = slot
        return slot


@contextmanager
def _failures_of(op: str, node: str) -> Iterator[None]:
    """Turns every exception in the scope into an OpError that names the node."""
    try:
        yield
    except errors.OpError as error:
        raise errors.at_node(error, node) from None
    except Exception as failure:
        raise as_op_error(failure, f"loading {op} '{node}'", node) from failure


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
        self._tensors = _Tensors(stage.inputs, handles)
        self._instructions: list[Instruction] = []
        self._deadness = DeadnessAnalysis(
            {name: stage.input_conditions.get(name, NO_CONDITIONS) for name in stage.inputs}
        )

    def load(self) -> Program:
        """Returns the program; OpError with the node's name if something is wrong."""
        nodes: list[Node] = []
        for definition in self._stage.graph.node:
            with _failures_of(definition.op, definition.name):
                node = Node.from_def(definition)
                self._tensors.declare(node)
                nodes.append(node)
        for node in nodes:
            with _failures_of(node.op.name, node.name):
                self._add(node)
        return self._program()

    def _load_body(self, name: str, body: FunctionBody) -> Program:
        body = rewrites.scale_after_resizing(body)
        stage = replace(
            self._stage,
            graph=body.graph,
            inputs=body.inputs,
            outputs=body.outputs,
            ref_outputs=frozenset(),
            input_conditions={},
            node_conditions={},
        )
        handles = [
            argument
            for argument, dtype in zip(body.inputs, body.input_types, strict=True)
            if dtype == dtypes.resource or dtype._is_ref_dtype
        ]
        return _Loader(stage, self._store, self._select, self._library, name, handles).load()

    # The program

    def _program(self) -> Program:
        stage, tensors = self._stage, self._tensors
        outputs = tuple(map(tensors.slot, stage.outputs))
        conditions = tuple(self._in_slots(self._deadness.of_tensor(t)) for t in stage.outputs)
        cutter = self._cutter({*outputs, *(slot for each in conditions for slot, _ in each)})
        segmentation = cutter.cut()
        return Program(
            stage,
            tuple(tensors.base),
            tensors.inputs,
            tuple(name in tensors.handles for name in stage.inputs),
            tuple(self._instructions),
            segmentation.segments,
            segmentation.selection,
            outputs,
            tuple(
                name in stage.ref_outputs or tensors.types.get(name) == dtypes.resource
                for name in stage.outputs
            ),
            conditions,
        )

    def _cutter(self, outputs: Collection[Slot]) -> Cutter:
        tensors = self._tensors
        brought, made = set[Slot](), set[Slot]()
        if not self._within:  # what a function gets, and whether it leaves, its caller knows
            brought = {tensors.slot(name) for name in tensors.handles}
            brought.update(
                slot
                for name, dtype in tensors.types.items()
                if dtype._is_ref_dtype and tensors.base[slot := tensors.slot(name)] is None
            )
            made = {
                slot
                for name, dtype in tensors.types.items()
                if dtype == dtypes.resource and tensors.base[slot := tensors.slot(name)] is None
            }
        return Cutter(
            self._instructions,
            tensors.base,
            outputs,
            brought,
            made - brought,
            self._select,
            self._hosted,
        )

    # Nodes

    def _add(self, node: Node) -> None:
        """Adds a node: as a value that is there before a run, or as an instruction."""
        outputs = self._tensors.add_outputs(node)
        conditions = self._deadness.add(
            node,
            self._stage.node_conditions.get(node.name, NO_CONDITIONS),
            copies=not any(map(self._tensors.is_reference, node.inputs)),
        )
        if node.op.kind is OpKind.VARIABLE:
            self._tensors.base[outputs[0]] = self._variable(node)
        elif node.op.kind is OpKind.CONST:
            self._tensors.base[outputs[0]] = _constant(node)
        else:
            instruction = self._instruction(node, outputs, conditions)
            self._pass_resource_on(instruction)
            self._instructions.append(instruction)

    def _instruction(
        self, node: Node, outputs: tuple[Slot, ...], conditions: Conditions
    ) -> Instruction:
        op, kernel = node.op, kernels.lookup(node.op.name)
        slots, reads = self._input_slots(node)
        attrs = {key: self._attr(op, key, node.attrs[key]) for key in kernel.attrs}
        state = None if kernel.make_state is None else self._private_state(node, kernel, attrs)
        if kernel.wants_context:
            attrs["context"] = self._context(node)
        types = (*node.input_types, *node.output_types)
        switch_on, input_conditions = None, list[tuple[Condition, ...]]()
        if op.kind is OpKind.SWITCH:
            switch_on = self._tensors.slot(self._deadness.root(str(node.inputs[1])))
        elif op.kind is OpKind.MERGE:
            found = (self._deadness.of_tensor(str(tensor)) for tensor in node.inputs)
            input_conditions.extend(map(self._in_slots, found))
        return Instruction(
            node.name,
            op,
            node.device,
            kernel.function,
            attrs,
            _grouped(op.inputs, slots, node.attrs),
            reads,
            outputs,
            any(arg.is_list for arg in op.outputs),
            state,
            tuple(_functions_among(attrs.values())),
            not any(dtype.base_dtype in _NOT_ON_XLA for dtype in types),
            self._in_slots(conditions),
            switch_on,
            tuple(input_conditions),
            node.control_inputs,
        )

    def _input_slots(self, node: Node) -> tuple[list[Slot], tuple[Slot, ...]]:
        """Returns the slots of the inputs, and those with a reference where the op takes a value.

        An op may take one variable both ways, as ``AssignAdd(v, v)`` does: in two slots then.
        """
        slots = list(map(self._tensors.slot, node.inputs))
        read = [
            position
            for position, (tensor, dtype) in enumerate(
                zip(node.inputs, node.input_types, strict=True)
            )
            if not dtype._is_ref_dtype
            and dtype != dtypes.resource
            and self._tensors.is_reference(tensor)
        ]
        taken = {slot for position, slot in enumerate(slots) if position not in read}
        for position in read:
            if slots[position] in taken:
                slots[position] = self._tensors.alias(slots[position])
        return slots, tuple(slots[position] for position in read)

    def _attr(self, op: op_registry.OpDef, name: str, value: Any) -> Any:
        """Returns an attribute as the kernel takes it: a function is there to be called."""
        match op.attrs[name].kind:
            case "func":
                return self._library.get(value)
            case "list(func)":
                return [self._library.get(item) for item in value]
        return value

    def _in_slots(self, conditions: Conditions) -> tuple[Condition, ...]:
        return tuple(
            Condition(self._tensors.slot(c.predicate), c.value) for c in sorted(conditions)
        )

    def _pass_resource_on(self, instruction: Instruction) -> None:
        """Notes that outputs of an op are the resource that it got as its input.

        A RefMerge of several variables passes one of them on, which only a run can tell.
        """
        base = self._tensors.base
        passed = {id(base[slot]): base[slot] for slot in instruction.forwarded_inputs()}
        if len(passed) == 1 and isinstance(resource := passed.popitem()[1], Resource):
            for slot in instruction.forwarding_outputs():
                base[slot] = resource

    # State

    def _variable(self, node: Node) -> StoredVariable:
        attrs = node.attrs
        return self._store.variable(
            self._stage.state_scope,
            attrs["container"].decode(),
            attrs["shared_name"].decode() or node.name,
            attrs["dtype"],
            attrs["shape"],
            "ref" if node.op.is_ref_variable else "resource",
        )

    def _private_state(self, node: Node, kernel: Kernel, attrs: dict[str, Any]) -> Variable:
        """Returns the state of a stateful kernel: one per session and node, whatever the stage."""
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

    def _context(self, node: Node) -> KernelContext:
        stage = self._stage
        return KernelContext(
            self._store, node.device, stage.state_scope, stage.session, self._full_name(node)
        )

    def _full_name(self, node: Node) -> str:
        """Returns a name that is unique in the session, also for a node of a function."""
        return f"{self._within}/{node.name}" if self._within else node.name


def _constant(node: Node) -> np.ndarray[Any, Any]:
    value = np.array(node.attrs["value"])
    value.flags.writeable = False
    return value


def _functions_among(values: Iterable[Any]) -> Iterable[Function]:
    for value in values:
        if isinstance(value, Function):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, Function))


def _grouped(
    args: Sequence[op_registry.ArgDef], slots: Sequence[Slot], attrs: Mapping[str, Any]
) -> tuple[Arg, ...]:
    """Returns the flat input slots as one entry per argument, list arguments as tuples."""
    result: list[Arg] = []
    position = 0
    for arg in args:
        if not arg.is_list:
            result.append(slots[position])
            position += 1
            continue
        if arg.number_attr is not None:
            count = attrs[arg.number_attr]
        else:
            count = len(attrs[arg.type_list_attr or ""])
        result.append(tuple(slots[position : position + count]))
        position += count
    return tuple(result)
