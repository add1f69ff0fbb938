"""Branch selection: which conditions an XLA program computes by selecting between both branches.

A branch that is not taken must not run. The interpreter skips its instructions. In XLA programs
there are two ways: to cut the stage at the branches, so that the runtime skips the segments of the
branch that is not taken; or to compute both branches in one program, where a Merge selects, and the
writes of a branch to variables are masked. The second way needs no cuts, but costs both branches.

A condition on a predicate is selected unless
* an instruction under it, or one of its Switches, cannot be compiled or is expensive;
* a Merge joins its branches whose two inputs no single predicate tells apart;
* the instructions under it run on different devices.
Otherwise it is cut: its Switches and Merges run on the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flowray.proto.ops.op_registry import OpKind
from flowray.worker.program.instruction import Condition, Instruction, Slot


@dataclass(frozen=True, slots=True)
class Selection:
    """The conditions of a program that are selected, as its instructions see them, by node."""

    masks: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    """The conditions of a node under which a trace runs it all the same, its writes masked."""
    choices: Mapping[str, Condition] = field(default_factory=dict)
    """Of each Merge that a trace makes a selection: the condition under which it takes its first
    input. Otherwise it takes the second one."""
    cut: frozenset[Slot] = frozenset()
    """The predicates whose conditions are cut."""

    def unmasked(self, instruction: Instruction) -> tuple[Condition, ...]:
        """Returns the conditions of an instruction that decide whether its segment runs."""
        masks = self.masks.get(instruction.node, ())
        return tuple(c for c in instruction.conditions if c not in masks)

    def needs_host(self, instruction: Instruction) -> bool:
        """Returns whether it is a Switch or a Merge of a condition that is cut."""
        if instruction.op.kind is OpKind.MERGE:
            return instruction.node not in self.choices
        return instruction.switch_on in self.cut

    def covers(self, instruction: Instruction) -> bool:
        """Returns whether a trace can run it unconditionally."""
        return not self.unmasked(instruction) and not self.needs_host(instruction)

    def touches(self, instructions: Sequence[Instruction]) -> bool:
        """Returns whether a trace of these instructions masks or selects anything."""
        return any(i.node in self.masks or i.node in self.choices for i in instructions)


def select(
    instructions: Sequence[Instruction], compilable: Sequence[bool], enabled: bool = True
) -> Selection:
    """Returns the selection for instructions of which some can be compiled.

    Args:
        instructions: a whole program.
        compilable: whether XLA can compile each instruction.
        enabled: False cuts all conditions.
    """
    choices = {i.node: _choice(i) for i in instructions if i.op.kind is OpKind.MERGE}
    cut: set[Slot] = set()
    devices: dict[Slot, str] = {}
    for instruction, can_compile in zip(instructions, compilable, strict=True):
        concerned = set(instruction.predicates())
        if instruction.switch_on is not None:
            concerned.add(instruction.switch_on)
        if (
            not enabled
            or not can_compile
            or instruction.op.expensive
            or choices.get(instruction.node, ...) is None
        ):
            cut.update(concerned)
        for slot in concerned:
            if devices.setdefault(slot, instruction.device) != instruction.device:
                cut.add(slot)
    return Selection(
        {
            i.node: masks
            for i in instructions
            if (masks := tuple(c for c in i.conditions if c.predicate not in cut))
        },
        {
            node: choice
            for node, choice in choices.items()
            if choice is not None and choice.predicate not in cut
        },
        frozenset(cut),
    )


def _choice(merge: Instruction) -> Condition | None:
    """Returns the condition under which the first of two inputs is live and the second is dead."""
    if len(merge.input_conditions) != 2:
        return None
    first, second = merge.input_conditions
    for slot, value in first:
        if Condition(slot, not value) in second:
            return Condition(slot, value)
    return None
