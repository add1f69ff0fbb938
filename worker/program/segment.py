"""Segments: the parts of a program that run as one, on the host or as an XLA program.

These are plans, values that segmentation makes. ``worker/execution/`` runs them: an
``XlaSegmentRunner`` for each XlaSegment, the interpreter for a HostSegment.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowray.worker.program.instruction import Condition, Instruction, Slot


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


@dataclass(frozen=True, slots=True)
class XlaSegment:
    """Instructions that XLA can compile into one program; the fields are those of HostSegment."""

    device: str
    instructions: tuple[Instruction, ...]
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    conditions: tuple[Condition, ...] = ()


Segment = HostSegment | XlaSegment
