"""Functions of the graph as datasets call them: over and over, from several threads.

They are interpreted. What of them takes long is compiled by XLA in the background, as the segments
of a stage are, once elements of the same shapes have come a few times.
"""

from __future__ import annotations

import functools
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowray.worker import executor
from flowray.worker.checks import RunAgainError
from flowray.worker.executor import Interpreter, as_host_value
from flowray.worker.function import Function
from flowray.worker.state import StateStore

if TYPE_CHECKING:
    from flowray.worker.instruction import Unit
    from flowray.worker.program import Program
    from flowray.worker.segment import Key, Segment

# What a call costs if it is quicker than that is mostly the calling; XLA would not help.
_CHEAP_SECONDS: Final = 150e-6
_CALLS_TO_JUDGE: Final = 16
_CALLS_BEFORE_COMPILING: Final = 3
_MOST_PROGRAMS: Final = 32  # of one unit: where every picture has a size of its own, nothing helps


class ElementCaller:
    """``function`` of an element's components, its captured arguments added."""

    __slots__ = ("_calls", "_captures", "_function", "_pieces", "_quickest")

    def __init__(self, function: Function, captures: Sequence[Any]) -> None:
        self._function = function
        self._captures = tuple(captures)
        self._pieces: list[_Piece] | None = None
        self._calls = 0
        self._quickest = math.inf

    def __call__(self, *components: Any) -> Sequence[Any]:
        how = executor.current()
        if not self._may_compile(how):
            return self._function(*components, *self._captures)
        assert isinstance(how, Interpreter)
        program = self._function.program
        slots = self._function.slots(how, (*components, *self._captures))
        pieces = self._pieces
        if pieces is None:
            pieces = self._pieces = _pieces_of(program)
        begin = time.perf_counter()
        for piece in pieces:
            piece.run(how, slots)
        self._calls += 1
        self._quickest = min(self._quickest, time.perf_counter() - begin)
        return [np.asarray(slots[slot]) for slot in program.outputs]

    def _may_compile(self, how: executor.Executor) -> bool:
        if not isinstance(how, Interpreter) or how.compile == "never" or how.recorder is not None:
            return False
        if self._pieces is not None and not any(piece.segment for piece in self._pieces):
            return False
        is_cheap = self._calls >= _CALLS_TO_JUDGE and self._quickest < _CHEAP_SECONDS
        return not is_cheap or how.compile == "eager"


class _Piece:
    """A unit of the function's body, and what of it is compiled."""

    __slots__ = ("_counts", "_unit", "segment")

    def __init__(self, unit: Unit, segment: Segment | None) -> None:
        self._unit = unit
        self.segment = segment
        self._counts: Counter[Key] = Counter()

    def run(self, how: Interpreter, slots: list[Any]) -> None:
        segment = self.segment
        for slot in self._unit.inputs:
            slots[slot] = as_host_value(slots[slot])
        if segment is None or not segment.compilable:
            how.run(self._unit.instructions, slots)
            return
        key = segment.key(slots)
        eager = how.compile == "eager"
        compiled = segment.compile_now(key, slots) if eager else segment.program(key)
        if compiled is not None:
            how.cancellation.check()
            try:
                segment.execute(compiled, slots)
            except RunAgainError:
                segment.forget(key)
            else:
                return
        begin = time.perf_counter()
        how.run(self._unit.instructions, slots)
        if time.perf_counter() - begin > _CHEAP_SECONDS:
            self._note_slow_run(key, slots, segment)

    def _note_slow_run(self, key: Key, slots: list[Any], segment: Segment) -> None:
        if key not in self._counts and len(self._counts) >= _MOST_PROGRAMS:
            return
        self._counts[key] += 1
        if self._counts[key] == _CALLS_BEFORE_COMPILING:
            segment.compile_in_background(key, slots, _segments().compiler())


@functools.cache
def _segments() -> Any:
    """The module; programs, on which it stands, are made of kernels, and those stand on this."""
    from flowray.worker import segment

    return segment


def _pieces_of(program: Program) -> list[_Piece]:
    store = StateStore("")  # the units that are compiled here touch no state
    make = _segments().Segment
    return [
        _Piece(unit, make(unit, program.base, store) if _is_pure(unit) else None)
        for unit in program.units
    ]


def _is_pure(unit: Unit) -> bool:
    """Whether it may be compiled, and computes its outputs of its inputs and nothing else."""
    return (
        unit.compilable
        and not unit.guards
        and not any(
            i.op.stateful or i.masks or i.choice or any(True for _ in i.own_resources())
            for i in unit.instructions
        )
    )
