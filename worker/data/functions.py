"""Functions of the graph as datasets call them: over and over, from several threads.

They are interpreted; XLA compiles what of them takes long (``pieces.py``), and processes help with
what is Python for the most part (``helpers.py``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.worker.data import process_pool
from flowray.worker.data.columns import Answer
from flowray.worker.data.dataset import Element
from flowray.worker.data.gil import held_part
from flowray.worker.data.pieces import CHEAP_SECONDS, Piece, pieces_of
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.program.executor import Executor, current
from flowray.worker.program.function import Function

_CALLS_TO_JUDGE: Final = 16
_CALLS_TO_GIVE_UP: Final = 128
"""When nothing has been compiled after so many, or it is not quicker, nothing more will be."""
_MOST_AT_ONCE: Final = 16
_SECONDS_AT_ONCE: Final = 6e-3
_HELPED_SECONDS: Final = 75e-6  # what is quicker is mostly the way there and back
_SECONDS_TO_DECIDE_AGAIN: Final = 0.25
_MOST_HELD: Final = 0.6
"""The part of the time that Python's lock may be held, all threads together, lest they wait."""


class ElementCaller:
    """``function`` of an element's components, its captured arguments added."""

    __slots__ = ("_calls", "_captures", "_function", "_pieces", "_quickest")

    def __init__(self, function: Function, captures: Sequence[Any]) -> None:
        self._function = function
        self._captures = tuple(captures)
        self._pieces: Sequence[Piece] | None = None
        self._calls = 0
        self._quickest = math.inf

    def __call__(self, *components: Any) -> Sequence[Any]:
        how = current()
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
        how = current()
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
            self._pieces = pieces_of(program)
        for piece in self._pieces:
            piece.run(how, slots)
        return [np.asarray(slots[slot]) for slot in program.outputs]

    def _may_compile(self, how: Executor | None) -> bool:
        if not isinstance(how, Interpreter) or how.compile == "never" or how.recorder is not None:
            return False
        if how.compile == "eager":
            return True
        return not self._is_cheap and (self._calls <= _CALLS_TO_GIVE_UP or self._has_programs)

    @property
    def _has_programs(self) -> bool:
        """Whether XLA does better than the kernels on numpy, or may do so."""
        return any(piece.is_compiled for piece in self._pieces or ())

    @property
    def _is_judged(self) -> bool:
        return self._calls >= _CALLS_TO_JUDGE

    @property
    def _is_cheap(self) -> bool:
        return self._is_judged and self._quickest < CHEAP_SECONDS


class SharedCaller(ElementCaller):
    """An ElementCaller for several threads, and for several elements at once.

    What takes long and is Python for the most part, helpers do: threads would get into each other's
    way. Threads do the rest: for helpers, what goes in and comes out is copied four times.
    """

    __slots__ = ("_decide_at", "_has_helpers", "_interval", "_shared")

    def __init__(self, function: Function, captures: Sequence[Any]) -> None:
        super().__init__(function, captures)
        self._interval = _SECONDS_TO_DECIDE_AGAIN
        self._decide_at = 0.0
        self._shared: process_pool.Shared | None = None
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
        if self._is_judged and (now := time.monotonic()) >= self._decide_at:
            self._decide_at = now + self._interval
            self._interval *= 2
            self._decide(elements[0])
        if self._has_helpers and self._shared is not None:
            begin = time.perf_counter()
            answers = process_pool.helpers.each(self._shared, elements)
            if answers is not None:
                self._note((time.perf_counter() - begin) / len(elements))
                return answers
        return super().each(elements)

    def _decide(self, element: Element) -> None:
        """Who does it; asked again later, since kernels get quicker, too (``kernels/loops.py``)."""
        how = current()
        if self._shared is None and isinstance(how, Interpreter) and how.compile == "background":
            self._shared = process_pool.shared(self._function, self._captures)
        if self._shared is None or self._quickest < _HELPED_SECONDS:
            self._decide_at, self._has_helpers = math.inf, False
        elif self._has_programs:
            self._has_helpers = False
        else:
            held = held_part(lambda: self._function(*element, *self._captures))
            self._has_helpers = process_pool.cpus() * held > _MOST_HELD
