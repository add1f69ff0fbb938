"""Instructions: the nodes of a program, made ready to run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flowray.proto.graph.deadness import DEAD
from flowray.proto.ops.op_registry import OpDef
from flowray.worker.state.store import Resource, Variable

if TYPE_CHECKING:
    from flowray.worker.program.function import Function

Slot = int
"""Where a run keeps a tensor: an index into a list."""
Arg = Slot | tuple[Slot, ...]
"""The slot of an argument; the slots of a list argument."""


class Condition(NamedTuple):
    """That the predicate in slot ``predicate`` is ``value``."""

    predicate: Slot
    value: bool

    def __str__(self) -> str:
        return f"%{self.predicate}" if self.value else f"not %{self.predicate}"


@dataclass(frozen=True, slots=True, eq=False)
class Instruction:
    """One node: which kernel to call with which slots, and where its results go.

    Instructions never change. The findings of a pass about one are in the pass's result (see
    ``Selection``), by the name of the node, which is unique in its program.
    """

    node: str
    op: OpDef
    device: str
    function: Callable[..., Any]
    """The kernel."""
    attrs: dict[str, Any]
    """The keyword arguments of the kernel, but for ``state``."""
    args: tuple[Arg, ...]
    reads: tuple[Slot, ...]
    """The slots with a reference of which the kernel gets the value, not the reference."""
    outputs: tuple[Slot, ...]
    list_outputs: bool = False
    """Whether the kernel returns lists that are to be flattened into ``outputs``."""
    state: Variable | None = None
    """The private state of a stateful kernel."""
    functions: tuple[Function, ...] = ()
    """The functions among the attributes."""
    on_xla: bool = True
    """Whether XLA has the dtypes of the inputs and outputs."""
    conditions: tuple[Condition, ...] = ()
    """It runs only if these hold; otherwise its outputs are dead."""
    switch_on: Slot | None = None
    """Of a Switch: its predicate, in the slot where that was first computed."""
    input_conditions: tuple[tuple[Condition, ...], ...] = ()
    """Of a Merge: the conditions under which each of its inputs is live."""
    control_inputs: tuple[str, ...] = ()
    """The nodes that run before this one, besides those that its inputs come from."""
    run: Callable[[list[Any]], None] = field(init=False, repr=False)
    """Calls the kernel on numpy arrays, with arguments of the slots, and stores what it returns."""

    def __post_init__(self) -> None:
        attrs = self.attrs if self.state is None else {**self.attrs, "state": self.state}
        call = functools.partial(self.function, np, **attrs)
        run = self._quick_run(call) or functools.partial(self._run, call)
        object.__setattr__(self, "run", run)

    def _run(self, call: Callable[..., Any], slots: list[Any]) -> None:
        self.store(call(*self.arguments(slots)), slots)

    def _quick_run(self, call: Callable[..., Any]) -> Callable[[list[Any]], None] | None:
        """Returns ``run`` of the most frequent forms, a microsecond quicker; None for others."""
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
        """Says whether XLA can compile it, if its resources are known by then."""
        return not self.op.dynamic_shape and self.is_traceable

    @property
    def is_traceable(self) -> bool:
        """Says whether a trace can run it, perhaps only for some values.

        Where the shape of its output depends on data, the trace finds out whether these are known:
        they often are shapes.
        """
        if self.op.host_only or self.op.blocks:
            return False
        if not self.outputs and not self.args:
            return True  # NoOp
        return self.on_xla and all(f.is_compilable for f in self.functions)

    def own_resources(self) -> Iterable[Resource]:
        """Yields the resources that are not inputs: its state, and those of its functions."""
        if self.state is not None:
            yield self.state
        for function in self.functions:
            yield from function.resources()

    def input_slots(self) -> Iterable[Slot]:
        """Yields the slots of all arguments, then the predicates."""
        for arg in self.args:
            if isinstance(arg, tuple):
                yield from arg
            else:
                yield arg
        yield from self.predicates()

    def predicates(self) -> Iterable[Slot]:
        """Yields the slots that decide whether it runs, and which input a Merge takes."""
        for conditions in (self.conditions, *self.input_conditions):
            for slot, _ in conditions:
                yield slot

    def forwarded_inputs(self) -> tuple[Slot, ...]:
        """Returns the slots of which an output is the same: those of a variable or resource."""
        if not self.op.forwards_resource and not any(arg.is_ref for arg in self.op.outputs):
            return ()
        slots = slots_of(self.args[0]) if self.args else ()
        return () if any(slot in self.reads for slot in slots) else slots

    def forwarding_outputs(self) -> tuple[Slot, ...]:
        """Returns the outputs that are ``forwarded_inputs``, or one of them."""
        if not self.forwarded_inputs():
            return ()
        return self.outputs if self.op.forwards_resource else self.outputs[:1]

    def arguments(self, slots: Sequence[Any]) -> list[Any]:
        """Returns the positional arguments of the kernel, references read where it wants values."""
        if self.input_conditions:
            (inputs,) = self.args
            pairs = zip(slots_of(inputs), self.input_conditions, strict=True)
            return [[self.value(slots, s) if hold(c, slots) else DEAD for s, c in pairs]]
        return [
            [self.value(slots, s) for s in arg]
            if isinstance(arg, tuple)
            else self.value(slots, arg)
            for arg in self.args
        ]

    def value(self, slots: Sequence[Any], slot: Slot) -> Any:
        """Returns what is in ``slot``; the value of a variable where that is the argument."""
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

    def __str__(self) -> str:
        """The instruction as text: ``%4, %5 = Unpack(%3) 'node' if %1 after 'other'``.

        ``*%3`` is the value of the reference in slot 3. A Merge shows the conditions of each of
        its inputs: ``merging not %1 | %1``.
        """
        text = f"{self.op.name}({', '.join(map(self._text, self.args))}) '{self.node}'"
        if self.outputs:
            text = f"{', '.join(f'%{slot}' for slot in self.outputs)} = {text}"
        if self.functions:
            text += f" calls {', '.join(function.name for function in self.functions)}"
        if self.state is not None:
            text += f" with state {self.state.name}"
        if self.conditions:
            text += f" if {conjunction(self.conditions)}"
        if self.input_conditions:
            text += f" merging {' | '.join(map(conjunction, self.input_conditions))}"
        if self.control_inputs:
            text += f" after {', '.join(map(repr, self.control_inputs))}"
        return text

    def _text(self, arg: Arg) -> str:
        if isinstance(arg, tuple):
            return f"[{', '.join(map(self._text, arg))}]"
        return f"*%{arg}" if arg in self.reads else f"%{arg}"


def conjunction(conditions: Iterable[Condition]) -> str:
    """Returns the conditions as text: ``%1 and not %4``; ``always`` without any."""
    return " and ".join(map(str, conditions)) or "always"


def hold(conditions: Iterable[Condition], slots: Sequence[Any]) -> bool:
    """Returns whether all conditions hold. A dead predicate has no value, so none on it holds."""
    for slot, value in conditions:
        predicate = slots[slot]
        if predicate is DEAD or bool(predicate) is not value:
            return False
    return True


def slots_of(arg: Arg) -> tuple[Slot, ...]:
    """Returns the slots of an argument."""
    return arg if isinstance(arg, tuple) else (arg,)
