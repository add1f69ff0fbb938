"""Functions of pipelines in pieces: those that XLA compiles, and what of them it has compiled.

A piece is compiled in the background once elements of the same shapes have come a few times, and
stays so if the program is quicker than the kernels on numpy.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flowray.worker.execution.checks import RunAgainError
from flowray.worker.execution.interpreter import Interpreter, as_host_value
from flowray.worker.program.segment import XlaSegment
from flowray.worker.state.store import StateStore

if TYPE_CHECKING:
    from flowray.worker.execution.xla_segment import Compiled, Key, XlaSegmentRunner
    from flowray.worker.program.program import Program
    from flowray.worker.program.segment import Segment

# What a call costs if it is quicker than that is mostly the calling; XLA would not help.
CHEAP_SECONDS: Final = 150e-6
_CALLS_BEFORE_COMPILING: Final = 3
_RUNS_TO_COMPARE: Final = 8
_RUNS_BETWEEN_RACES: Final = 512
_LEAST_GAIN: Final = 1.2  # a program has threads of its own, which others miss meanwhile
_MOST_PROGRAMS: Final = 8  # a shape that is rarer than that among the first calls gets none
_MOST_SHAPES: Final = 256  # are counted


@dataclass(slots=True)
class _Race:
    """XLA's program against the kernels on numpy, for inputs of certain shapes."""

    slow_runs: int = 0
    """How often the kernels were slow before there was a program."""
    is_on: bool = False
    """Whether the program is there, or soon will be."""
    runs: int = 0
    compiled: list[float] = field(default_factory=list)
    interpreted: list[float] = field(default_factory=list)
    """Seconds of runs."""
    is_over: bool = False
    is_lost: bool = False

    def takes_program(self) -> bool:
        """Whether the next run is the program's: they take turns, then the better one goes on."""
        self.runs += 1
        if self.is_over and self.runs % _RUNS_BETWEEN_RACES == 0:  # loops may be compiled by now
            self.is_over = False
            self.compiled.clear()
            self.interpreted.clear()
        return self.is_over or self.runs % 2 == 1

    def note(self, runs: list[float], begin: float) -> None:
        """Adds a run, which ends now, and after the last one tells who won."""
        if self.is_over:
            return
        runs.append(time.perf_counter() - begin)
        if min(len(self.compiled), len(self.interpreted)) == _RUNS_TO_COMPARE:
            gain = statistics.median(self.interpreted) / statistics.median(self.compiled)
            self.is_lost = gain < _LEAST_GAIN
            self.is_over = True


class Piece:
    """A segment of the function's body, and what of it is compiled."""

    __slots__ = ("_races", "_segment", "_slow_runs", "runner")

    def __init__(self, segment: Segment, runner: XlaSegmentRunner | None) -> None:
        self._segment = segment
        self.runner = runner
        self._races: dict[Key, _Race] = {}
        self._slow_runs = 0

    @property
    def is_compiled(self) -> bool:
        """Whether there are programs for some shapes, or soon will be."""
        return any(race.is_on and not race.is_lost for race in self._races.values())

    def run(self, how: Interpreter, slots: list[Any]) -> None:
        for slot in self._segment.inputs:
            slots[slot] = as_host_value(slots[slot])
        runner = self.runner
        if runner is None or not runner.compilable:
            how.run(self._segment.instructions, slots)
            return
        key = runner.key(slots)
        if how.compile == "eager":
            program = runner.compile_now(key, slots)
            if program is None or not self._execute(program, runner, key, how, slots):
                how.run(self._segment.instructions, slots)
            return
        race = self._races.get(key)
        program = None if race is None or race.is_lost else runner.program(key)
        if race is not None and program is not None and race.takes_program():
            begin = time.perf_counter()
            if self._execute(program, runner, key, how, slots):
                race.note(race.compiled, begin)
                return
        begin = time.perf_counter()
        how.run(self._segment.instructions, slots)
        if race is not None and program is not None:
            race.note(race.interpreted, begin)
        elif time.perf_counter() - begin > CHEAP_SECONDS:
            self._note_slow_run(key, slots, runner)

    def _execute(
        self,
        program: Compiled,
        runner: XlaSegmentRunner,
        key: Key,
        how: Interpreter,
        slots: list[Any],
    ) -> bool:
        """Runs the program; whether it came to its end."""
        how.cancellation.check()
        try:
            runner.execute(program, slots)
        except RunAgainError:
            runner.forget(key)
            return False
        for slot in self._segment.outputs:
            slots[slot] = as_host_value(slots[slot])
        return True

    def _note_slow_run(self, key: Key, slots: list[Any], runner: XlaSegmentRunner) -> None:
        self._slow_runs += 1
        race = self._races.get(key)
        if race is None:
            if len(self._races) >= _MOST_SHAPES:
                return
            race = self._races[key] = _Race()
        race.slow_runs += 1
        # Of shapes of which each is rare, a program would never make good what compiling it takes.
        enough = max(_CALLS_BEFORE_COMPILING, self._slow_runs // _MOST_PROGRAMS)
        if race.slow_runs == enough:
            race.is_on = True
            runner.compile_in_background(key, slots, _segments().compiler())


@functools.cache
def _segments() -> Any:
    """The module; programs, on which it stands, are made of kernels, and those stand on this."""
    from flowray.worker.execution import xla_segment

    return xla_segment


def pieces_of(program: Program) -> Sequence[Piece]:
    store = StateStore("")  # the segments that are compiled here touch no state
    make = _segments().XlaSegmentRunner
    return [
        Piece(segment, make(segment, program.base, store) if _is_pure(segment) else None)
        for segment in program.segments
    ]


def _is_pure(segment: Segment) -> bool:
    """Whether it may be compiled, and computes its outputs of its inputs and nothing else."""
    return (
        isinstance(segment, XlaSegment)
        and not segment.conditions
        and not segment.selects
        and not any(
            i.op.stateful or any(True for _ in i.own_resources()) for i in segment.instructions
        )
    )
