"""Segments: the parts of a program that run as one, on the host or as an XLA program.

These are plans, values that segmentation makes. ``worker/execution/`` runs them: an
``XlaSegmentRunner`` for each XlaSegment, a ``HostSegmentRunner`` for each HostSegment.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowray.worker.program.branch_selection import Selection
from flowray.worker.program.instruction import Condition, Instruction, Slot, conjunction


@dataclass(frozen=True, slots=True)
class HostSegment:
    """Instructions that run on the host, one by one."""

    device: str
    instructions: tuple[Instruction, ...]
    inputs: tuple[Slot, ...]
    """Slots that come from outside the segment, constants and variables included."""
    outputs: tuple[Slot, ...]
    """Slots that later segments or the stage's caller read."""
    conditions: tuple[Condition, ...] = ()
    """If one of them does not hold, no instruction runs and all outputs are dead."""

    def __str__(self) -> str:
        lines = [_head("host", self), *map(str, self.instructions)]
        return "\n    ".join(lines)


@dataclass(frozen=True, slots=True)
class XlaSegment:
    """Instructions that XLA can compile into one program."""

    device: str
    instructions: tuple[Instruction, ...]
    inputs: tuple[Slot, ...]
    """As those of a HostSegment; so are the outputs and the conditions."""
    outputs: tuple[Slot, ...]
    conditions: tuple[Condition, ...] = ()
    selection: Selection = Selection()  # noqa: RUF009 - it is frozen
    """The selection of the whole program."""

    @property
    def selects(self) -> bool:
        """Says whether the XLA program computes branches that may not be taken."""
        return self.selection.touches(self.instructions)

    def __str__(self) -> str:
        lines = [_head("xla", self)]
        for instruction in self.instructions:
            text = str(instruction)
            masks = self.selection.masks.get(instruction.node)
            if masks is not None:
                is_whole = masks == instruction.conditions
                text += ", masked" if is_whole else f", masked by {conjunction(masks)}"
            if instruction.node in self.selection.choices:
                text += ", selected"
            lines.append(text)
        return "\n    ".join(lines)


Segment = HostSegment | XlaSegment


def _head(kind: str, segment: Segment) -> str:
    """The first line: ``xla on /device:CPU:0 (%1, %2) -> %5 if %0``."""
    inputs = ", ".join(f"%{slot}" for slot in segment.inputs)
    outputs = ", ".join(f"%{slot}" for slot in segment.outputs) or "nothing"
    device = f" on {segment.device}" if segment.device else ""
    condition = f" if {conjunction(segment.conditions)}" if segment.conditions else ""
    return f"{kind}{device} ({inputs}) -> {outputs}{condition}"
