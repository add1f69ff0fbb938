"""Functions of the graph as datasets call them: over and over, from several threads.

They are interpreted. XLA compiles their slow segments (``execution/tiering.py``), and worker
processes call functions that mostly hold the GIL (``process_pool.py``).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.worker.data import process_pool
from flowray.worker.data.columns import Answer
from flowray.worker.data.dataset import Element
from flowray.worker.data.gil import gil_fraction
from flowray.worker.execution.host_segment import HostSegmentRunner, SegmentRunner
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.execution.tiering import PIPELINES, CompileMode
from flowray.worker.execution.xla_segment import XlaSegmentRunner
from flowray.worker.program.executor import Executor, current, running
from flowray.worker.program.function import Function
from flowray.worker.program.program import Program
from flowray.worker.program.segment import XlaSegment
from flowray.worker.state.store import StateStore

_CALLS_TO_JUDGE: Final = 16
"""After so many calls, the quickest one tells the time of a call."""
_LARGEST_BATCH: Final = 16
_BATCH_SECONDS: Final = 6e-3
_REMOTE_SECONDS: Final = 75e-6
"""A call that is quicker takes less time than its message to another process."""
_SECONDS_TO_DECIDE_AGAIN: Final = 0.25
_MOST_GIL: Final = 0.6
"""The fraction of the time for which all threads together may hold the GIL; with more, they wait
for each other."""


class ElementCaller:
    """Calls ``function`` with an element's components, followed by the captured arguments."""

    __slots__ = (
        "_calls", "_captures", "_function", "_lock", "_may_compile", "_quickest", "_runners",
        "_xla_runners",
    )  # fmt: skip

    def __init__(self, function: Function, captures: Sequence[Any]) -> None:
        self._function = function
        self._captures = tuple(captures)
        self._lock = threading.Lock()
        self._runners: Sequence[SegmentRunner] | None = None
        """Of the body's segments; made for the first call that may compile."""
        self._xla_runners: Sequence[XlaSegmentRunner] = ()
        """Those of them that may compile."""
        self._may_compile = True
        """False once all segments stay interpreted, whatever their inputs."""
        self._calls = 0
        self._quickest = math.inf

    def __call__(self, *components: Any) -> Sequence[Any]:
        """Returns the results, as arrays. Raises as ``Function.__call__`` does."""
        executor = current()
        if executor is None:  # an iterator is closed by a thread that runs no step
            with running(Interpreter()):
                return self(*components)
        begin = time.perf_counter()
        if self._runs_segments(executor):
            assert isinstance(executor, Interpreter)
            outputs = self._run_segments(executor, components)
        else:
            outputs = self._function(*components, *self._captures)
        self._calls += 1
        self._note(time.perf_counter() - begin)
        return outputs

    def each(self, elements: Sequence[Element]) -> Sequence[Answer]:
        """Returns the results of a call for each element, or the OpError that it raised.

        Each instruction may run for all elements before the next instruction runs, so a function
        with effects takes one element at a time.
        """
        executor = current()
        if (
            len(elements) == 1
            or not isinstance(executor, Interpreter)
            or self._runs_segments(executor)
        ):
            return [self._answer(element) for element in elements]
        begin = time.perf_counter()
        answers = self._interpret_batch(executor, elements)
        self._calls += len(elements)
        self._note((time.perf_counter() - begin) / len(elements))
        return answers

    def _answer(self, element: Element) -> Answer:
        try:
            return self(*element)
        except errors.OpError as error:
            return error

    def _interpret_batch(
        self, interpreter: Interpreter, elements: Sequence[Element]
    ) -> list[Answer]:
        program = self._function.program
        runs = [
            self._function.slots(interpreter, (*element, *self._captures)) for element in elements
        ]
        failed = interpreter.run_batch(program.instructions, runs)
        return [
            failed[i] if i in failed else [slots[slot] for slot in program.outputs]
            for i, slots in enumerate(runs)
        ]

    def _note(self, seconds: float) -> None:
        """Notes the time of a call. Only the quickest counts, as first calls are slow."""
        self._quickest = min(self._quickest, seconds)

    def _run_segments(self, interpreter: Interpreter, components: Sequence[Any]) -> Sequence[Any]:
        program = self._function.program
        slots = self._function.slots(interpreter, (*components, *self._captures))
        for runner in self._runners or self._make_runners(program, interpreter.compile):
            runner.run(interpreter, slots)
        return [np.asarray(slots[slot]) for slot in program.outputs]

    def _make_runners(self, program: Program, mode: CompileMode) -> Sequence[SegmentRunner]:
        options = replace(PIPELINES, mode=mode)
        store = StateStore("")  # the segments that may be compiled here touch no state
        with self._lock:
            if self._runners is not None:
                return self._runners
            runners: list[SegmentRunner] = [
                XlaSegmentRunner(segment, program.base, store, options)
                if isinstance(segment, XlaSegment) and _is_pure(segment)
                else HostSegmentRunner(segment)
                for segment in program.segments
            ]
            self._xla_runners = [r for r in runners if isinstance(r, XlaSegmentRunner)]
            self._runners = runners
            return runners

    def _runs_segments(self, executor: Executor | None) -> bool:
        """Returns whether a call runs segment by segment, each of which may be compiled."""
        if (
            not self._may_compile
            or not isinstance(executor, Interpreter)
            or executor.compile == "never"
            or executor.recorder is not None
        ):
            return False
        if self._runners is not None and all(r.history.is_settled for r in self._xla_runners):
            self._may_compile = False
        return self._may_compile

    @property
    def _has_programs(self) -> bool:
        """Tells whether segments have programs that are faster than the interpreter, or may be."""
        return any(runner.history.has_programs for runner in self._xla_runners)

    @property
    def _is_judged(self) -> bool:
        return self._calls >= _CALLS_TO_JUDGE


class SharedCaller(ElementCaller):
    """An ElementCaller for several threads, and for batches of elements.

    The process pool calls functions that take long and mostly hold the GIL, for which threads would
    wait for each other. Threads call all others, since elements for the pool are copied four times.
    """

    __slots__ = ("_decide_at", "_interval", "_shared", "_uses_pool")

    def __init__(self, function: Function, captures: Sequence[Any]) -> None:
        super().__init__(function, captures)
        self._interval = _SECONDS_TO_DECIDE_AGAIN
        self._decide_at = 0.0
        self._shared: process_pool.Shared | None = None
        self._uses_pool = False

    @property
    def at_once(self) -> int:
        """The best number of elements for ``each``, as each call of it takes time itself.

        It is one for functions with effects, so that these are not ahead of their elements.
        """
        if self._shared is None:
            return 1
        return max(1, min(_LARGEST_BATCH, int(_BATCH_SECONDS / self._quickest)))

    def each(self, elements: Sequence[Element]) -> Sequence[Answer]:
        """As ``ElementCaller.each``; the process pool may do it."""
        if self._is_judged and (now := time.monotonic()) >= self._decide_at:
            self._decide_at = now + self._interval
            self._interval *= 2
            self._decide(elements[0])
        if self._uses_pool and self._shared is not None:
            begin = time.perf_counter()
            answers = process_pool.pool.each(self._shared, elements)
            if answers is not None:
                self._note((time.perf_counter() - begin) / len(elements))
                return answers
        return super().each(elements)

    def _decide(self, element: Element) -> None:
        """Decides between threads and the process pool.

        This is repeated at growing intervals, since kernels get faster (``support/loops.py``).
        """
        executor = current()
        is_background = isinstance(executor, Interpreter) and executor.compile == "background"
        if self._shared is None and is_background:
            self._shared = process_pool.shared(self._function, self._captures)
        if self._shared is None or self._quickest < _REMOTE_SECONDS:
            self._decide_at, self._uses_pool = math.inf, False
        elif self._has_programs:
            self._uses_pool = False
        else:
            fraction = gil_fraction(lambda: self._function(*element, *self._captures))
            self._uses_pool = process_pool.cpus() * fraction > _MOST_GIL


def _is_pure(segment: XlaSegment) -> bool:
    """Returns whether the segment computes its outputs of its inputs and does nothing else."""
    return not (segment.conditions or segment.selects) and not any(
        i.op.stateful or any(True for _ in i.own_resources()) for i in segment.instructions
    )
