"""Which conditions an XLA program computes by selection.

A branch that is not taken must not run. Interpreted, that is what happens. In XLA programs there are
two ways: to cut the stage at the branches, so that the runtime leaves out the segments of the branch
that is not taken; or to compute both branches in one program, where a Merge selects, and what a
branch writes to variables is masked. The second has no cuts, but costs both branches: it is chosen
where all that depends on a predicate is compilable and none of it is expensive.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowray.proto.ops.op_registry import OpKind

if TYPE_CHECKING:
    from flowray.worker.program.instruction import Condition, Instruction, Slot


def choose(instructions: Sequence[Instruction], compilable: list[bool], select: bool) -> None:
    """Sets ``masks`` and ``choice`` of the instructions under conditions that are selected.

    The Switches and Merges of the other conditions run on the host: ``compilable`` is changed.
    """
    cut: set[Slot] = set()
    if not select:
        cut.update(slot for i in instructions for slot in i.predicates())
        cut.update(i.switched for i in instructions if i.switched is not None)
    devices: dict[Slot, str] = {}
    for instruction, can_compile in zip(instructions, compilable, strict=True):
        concerned = set(instruction.predicates())
        if instruction.switched is not None:
            concerned.add(instruction.switched)
        if not can_compile or instruction.op.expensive:
            cut.update(concerned)
        if instruction.op.kind is OpKind.MERGE and _choice(instruction) is None:
            cut.update(concerned)
        for slot in concerned:
            if devices.setdefault(slot, instruction.device) != instruction.device:
                cut.add(slot)
    for index, instruction in enumerate(instructions):
        instruction.masks = tuple(g for g in instruction.conditions if g[0] not in cut)
        instruction.choice = None
        if instruction.switched in cut:
            compilable[index] = False
        if instruction.op.kind is OpKind.MERGE:
            choice = _choice(instruction)
            if choice is None or choice[0][0] in cut:
                compilable[index] = False
            else:
                instruction.choice = choice


def _choice(merge: Instruction) -> tuple[Condition, Condition] | None:
    """The conditions, on one predicate, that tell two inputs apart; None if there are none."""
    if len(merge.input_conditions) != 2:
        return None
    first, second = merge.input_conditions
    for slot, value in first:
        if (slot, not value) in second:
            return (slot, value), (slot, not value)
    return None
