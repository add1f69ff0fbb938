"""Instructions: the nodes of a program, made ready to run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from flowray.proto.graph.deadness import DEAD
from flowray.proto.ops import op_registry
from flowray.worker.state.store import Resource, Variable

if TYPE_CHECKING:
    from flowray.worker.program.function import Function

Slot = int
Condition = tuple[Slot, bool]
"""That the predicate in a slot has this value."""
Arg = Slot | tuple[Slot, ...]


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
    conditions: tuple[Condition, ...] = ()
    """It runs only if these hold; otherwise its outputs are dead."""
    switched: Slot | None = None
    """Of a Switch: its predicate, where that was first computed."""
    input_conditions: tuple[tuple[Condition, ...], ...] = ()
    """Of a Merge: what conditions each of its inputs."""
    choice: tuple[Condition, Condition] | None = None
    """Of a Merge that a trace makes a selection: what tells its two inputs apart."""
    masks: tuple[Condition, ...] = ()
    """Those of ``conditions`` under which a trace runs it all the same, its writes masked."""
    after: list[int] = field(default_factory=list)
    """Instructions that must run before this one, by index."""
    run: Callable[[list[Any]], None] = field(init=False)
    """Calls the kernel on numpy arrays, with arguments of the slots, and stores what it returns."""

    def __post_init__(self) -> None:
        attrs = self.attrs if self.state is None else {**self.attrs, "state": self.state}
        call = functools.partial(self.function, np, **attrs)
        self.run = self._quick_run(call) or functools.partial(self._run, call)

    def _run(self, call: Callable[..., Any], slots: list[Any]) -> None:
        self.store(call(*self.arguments(slots)), slots)

    def _quick_run(self, call: Callable[..., Any]) -> Callable[[list[Any]], None] | None:
        """``run`` of what most nodes are, a microsecond quicker; None for another one."""
        if self.reads or self.list_outputs or len(self.outputs) != 1:
            return None
        (output,) = self.outputs
        match self.args:
            case (int(a),):

                def run(slots: list[Any]) -> None:
                    result = call(slots[a])
                    slots[output] = result[0] if type(result) is tuple else result

            case (int(a), int(b)):

                def run(slots: list[Any]) -> None:
                    result = call(slots[a], slots[b])
                    slots[output] = result[0] if type(result) is tuple else result

            case _:
                return None
        return run

    @property
    def is_compilable(self) -> bool:
        """Whether XLA can compile it, given that its resources are known by then."""
        return not self.op.dynamic_shape and self._is_maybe_compilable()

    def _is_maybe_compilable(self) -> bool:
        if self.op.host_only or self.op.blocks:
            return False
        if not self.outputs and not self.args:
            return True  # NoOp
        return self.on_xla and all(f.is_compilable for f in self.functions)

    @property
    def is_traceable(self) -> bool:
        """Whether a trace can run it in a function, where no segment decides about branches.

        Where its output's shape depends on data, it shows only then whether these are known: they
        often are shapes.
        """
        return (
            self._is_maybe_compilable()
            and len(self.masks) == len(self.conditions)
            and (not self.input_conditions or self.choice is not None)
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
        for conditions in (self.conditions, *self.input_conditions):
            for slot, _ in conditions:
                yield slot

    def arguments(self, slots: Sequence[Any]) -> list[Any]:
        """The positional arguments of the kernel, references read where values are wanted."""
        if self.input_conditions:
            (inputs,) = self.args
            pairs = zip(slots_of(inputs), self.input_conditions, strict=True)
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
            if not isinstance(result, tuple):
                values = result if isinstance(result, list) else (result,)
            elif self.list_outputs:
                values = [v for x in result for v in (x if isinstance(x, list) else (x,))]
            else:
                values = result
            for slot, value in zip(outputs, values, strict=True):
                slots[slot] = value


def hold(conditions: Iterable[Condition], slots: Sequence[Any]) -> bool:
    """Returns whether all conditions hold. A dead predicate has no value, so none on it holds."""
    for slot, value in conditions:
        predicate = slots[slot]
        if predicate is DEAD or bool(predicate) is not value:
            return False
    return True


def slots_of(arg: Arg) -> tuple[Slot, ...]:
    return arg if isinstance(arg, tuple) else (arg,)
