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

from flowray.proto import errors
from flowray.worker import executor
from flowray.worker.checks import RunAgainError
from flowray.worker.data import helpers
from flowray.worker.data.columns import Answer
from flowray.worker.data.dataset import Element
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
_MOST_AT_ONCE: Final = 16
_SECONDS_AT_ONCE: Final = 3e-3
_MOST_PROGRAMS: Final = 8  # a shape that is rarer than that among the first calls gets none
_MOST_SHAPES: Final = 256  # are counted


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
        begin = time.perf_counter()
        if self._may_compile(how):
            assert isinstance(how, Interpreter)
            outputs = self._run_pieces(how, components)
        else:
            outputs = self._function(*components, *self._captures)
        self._calls += 1
        self._note(time.perf_counter() - begin)
        return outputs

    def each(self, elements: Sequence[Element]) -> Sequence[Answer]:
        """What a call for each element gives, or the error that it raises.

        Of several elements every instruction may see all before the next instruction sees any, so
        the function must have no effects then.
        """
        how = executor.current()
        if len(elements) == 1 or not isinstance(how, Interpreter) or self._may_compile(how):
            return [self._answer(element) for element in elements]
        begin = time.perf_counter()
        answers = self._interpret_together(how, elements)
        self._calls += len(elements)
        self._note((time.perf_counter() - begin) / len(elements))
        return answers

    def _answer(self, element: Element) -> Answer:
        try:
            return self(*element)
        except errors.OpError as error:
            return error

    def _interpret_together(self, how: Interpreter, elements: Sequence[Element]) -> list[Answer]:
        program = self._function.program
        runs = [self._function.slots(how, (*element, *self._captures)) for element in elements]
        failed = how.run_together(program.instructions, runs)
        return [
            failed[i] if i in failed else [slots[slot] for slot in program.outputs]
            for i, slots in enumerate(runs)
        ]

    def _note(self, seconds: float) -> None:
        """What a call took."""
        self._quickest = min(self._quickest, seconds)  # the first calls are slow ones

    def _run_pieces(self, how: Interpreter, components: Sequence[Any]) -> Sequence[Any]:
        program = self._function.program
        slots = self._function.slots(how, (*components, *self._captures))
        if self._pieces is None:
            self._pieces = _pieces_of(program)
        for piece in self._pieces:
            piece.run(how, slots)
        return [np.asarray(slots[slot]) for slot in program.outputs]

    def _may_compile(self, how: executor.Executor) -> bool:
        if not isinstance(how, Interpreter) or how.compile == "never" or how.recorder is not None:
            return False
        if self._pieces is not None and not any(piece.segment for piece in self._pieces):
            return False
        return not self._is_cheap or how.compile == "eager"

    @property
    def _is_judged(self) -> bool:
        return self._calls >= _CALLS_TO_JUDGE

    @property
    def _is_cheap(self) -> bool:
        return self._is_judged and self._quickest < _CHEAP_SECONDS


class SharedCaller(ElementCaller):
    """An ElementCaller for several threads, and for several elements at once.

    What takes long and is not compiled, helpers do: threads would get into each other's way.
    """

    __slots__ = ("_has_helpers", "_is_decided", "_shared")

    def __init__(self, function: Function, captures: Sequence[Any]) -> None:
        super().__init__(function, captures)
        self._is_decided = False
        self._shared: helpers.Shared | None = None
        self._has_helpers = False

    @property
    def at_once(self) -> int:
        """For how many elements ``each`` is best called: passing one on takes time as well.

        One for functions with effects, so that these come no sooner than they must.
        """
        if self._shared is None:
            return 1
        return max(1, min(_MOST_AT_ONCE, int(_SECONDS_AT_ONCE / self._quickest)))

    def each(self, elements: Sequence[Element]) -> Sequence[Answer]:
        if self._is_judged and not self._is_decided:
            self._is_decided = True
            self._decide()
        if self._has_helpers and self._shared is not None:
            begin = time.perf_counter()
            answers = helpers.helpers.each(self._shared, elements)
            if answers is not None:
                self._note((time.perf_counter() - begin) / len(elements))
                return answers
        return super().each(elements)

    def _decide(self) -> None:
        how = executor.current()
        if isinstance(how, Interpreter) and how.compile == "background":
            self._shared = helpers.shared(self._function, self._captures)
        is_compiled = any(piece.is_compiled for piece in self._pieces or ())
        self._has_helpers = not self._is_cheap and not is_compiled


class _Piece:
    """A unit of the function's body, and what of it is compiled."""

    __slots__ = ("_counts", "_slow_runs", "_unit", "is_compiled", "segment")

    def __init__(self, unit: Unit, segment: Segment | None) -> None:
        self._unit = unit
        self.segment = segment
        self.is_compiled = False
        """Whether there are programs for some shapes, or soon will be."""
        self._counts: Counter[Key] = Counter()
        self._slow_runs = 0

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
        self._slow_runs += 1
        if key not in self._counts and len(self._counts) >= _MOST_SHAPES:
            return
        self._counts[key] += 1
        # Of shapes of which each is rare, a program would never make good what compiling it takes.
        if self._counts[key] == max(_CALLS_BEFORE_COMPILING, self._slow_runs // _MOST_PROGRAMS):
            self.is_compiled = True
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
