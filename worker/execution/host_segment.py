"""Runs segments on the host, one instruction after the other."""

from __future__ import annotations

from typing import Any, Protocol

from flowray.proto.graph.deadness import DEAD
from flowray.worker.execution.interpreter import Interpreter, as_host_value
from flowray.worker.program.instruction import hold
from flowray.worker.program.segment import Segment


class SegmentRunner(Protocol):
    """Runs one segment of a program, again and again and from any thread."""

    def run(self, interpreter: Interpreter, slots: list[Any]) -> None:
        """Runs the segment: takes its inputs from ``slots`` and puts its outputs there.

        Raises:
            OpError: of the first node that failed, with the node's tag.
            CancelledError: the step was cancelled.
        """


class HostSegmentRunner:
    """Interprets every run of a segment."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def run(self, interpreter: Interpreter, slots: list[Any]) -> None:
        """Runs the segment; see ``SegmentRunner.run``."""
        interpreter.cancellation.check()
        if not is_dead(self._segment, slots):
            interpret(self._segment, interpreter, slots)


def is_dead(segment: Segment, slots: list[Any]) -> bool:
    """Tells whether the segment must not run, and if so marks its outputs as dead."""
    if not segment.conditions or hold(segment.conditions, slots):
        return False
    for instruction in segment.instructions:
        for slot in instruction.outputs:
            slots[slot] = DEAD
    return True


def interpret(segment: Segment, interpreter: Interpreter, slots: list[Any]) -> None:
    """Runs a live segment's instructions. XLA's arrays among its inputs become numpy's."""
    for slot in segment.inputs:
        slots[slot] = as_host_value(slots[slot])
    interpreter.run(segment.instructions, slots)
