"""How the instructions of a program run: one by one on numpy here, by tracing in ``segment.py``.

A kernel whose attribute is a function (``function.py``) runs that function's instructions the way
that it is itself run, so the way is kept per thread: ``current()``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.worker.state.store import Resource

if TYPE_CHECKING:
    from flowray.worker.program.instruction import Guard, Instruction
    from flowray.worker.program.loader import Program

logger = logging.getLogger("flowray.worker")

CompileMode = Literal["background", "eager", "never"]


class Executor(Protocol):
    """A way to run instructions."""

    def slots(self, program: Program) -> list[Any]:
        """The program's slots as they are before a run."""

    def run(self, instructions: Sequence[Instruction], slots: Any) -> None:
        """Runs the instructions in order; OpError of the first that fails, with its node's tag."""


class Recorder(Protocol):
    """Is told of the instructions that an interpreter has run."""

    def add(self, instruction: Instruction, slots: Sequence[Any], begin: float, end: float) -> None:
        """Notes one that ran from ``begin`` to ``end`` (seconds since the epoch)."""


class Cancellation:
    """Whether what runs shall stop, and what wakes it where it waits."""

    __slots__ = ("_lock", "_waiting", "cancelled")

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.RLock()  # a forgotten iterator may be collected under it
        self._waiting: list[threading.Condition] = []

    def cancel(self) -> None:
        """Says so, and wakes everybody in ``wait``."""
        with self._lock:
            self.cancelled = True
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()

    def check(self) -> None:
        """CancelledError if it shall."""
        if self.cancelled:
            raise errors.cancelled("Step was cancelled.")

    def wait(self, condition: threading.Condition, ready: Callable[[], bool]) -> None:
        """Waits on ``condition``, which the caller holds, until ``ready()``.

        Raises:
            CancelledError: it shall stop; ``ready`` may hold all the same.
        """
        if ready() and not self.cancelled:
            return
        with self._lock:
            self._waiting.append(condition)
        try:
            condition.wait_for(lambda: self.cancelled or ready())
        finally:
            with self._lock:
                self._waiting.remove(condition)
        self.check()


class Interpreter:
    """Runs instructions one by one on numpy arrays.

    Args:
        cancellation: looked at before every instruction.
        recorder: gets the times of each instruction, if given.
        compile: how what is called over and over is run: ``RuntimeOptions.compile``.
    """

    __slots__ = ("cancellation", "compile", "recorder")

    def __init__(
        self,
        cancellation: Cancellation | None = None,
        recorder: Recorder | None = None,
        compile: CompileMode = "never",
    ) -> None:
        self.cancellation = cancellation or Cancellation()
        self.recorder = recorder
        self.compile = compile

    def slots(self, program: Program) -> list[Any]:
        return program.base.copy()

    def run(self, instructions: Sequence[Instruction], slots: Any) -> None:
        cancellation = self.cancellation
        for instruction in instructions:
            if cancellation.cancelled:
                cancellation.check()
            self._run_one(instruction, slots)

    def run_together(
        self, instructions: Sequence[Instruction], runs: Sequence[Any]
    ) -> dict[int, errors.OpError]:
        """Runs instructions without effects for the slots of each of ``runs``.

        Each instruction runs for all of them before the next one, so that its code is in the
        processor's cache: where an instruction takes some microseconds, this makes it half of that.

        Returns:
            The errors of the runs that failed, by index; the others go on. CancelledError is
            raised.
        """
        failed: dict[int, errors.OpError] = {}
        going = list(enumerate(runs))
        for instruction in instructions:
            self.cancellation.check()
            for index, slots in going:
                try:
                    self._run_one(instruction, slots)
                except errors.OpError as error:
                    failed[index] = error
            if failed:
                going = [(index, slots) for index, slots in going if index not in failed]
        return failed

    def _run_one(self, instruction: Instruction, slots: Any) -> None:
        if instruction.guards and not hold(instruction.guards, slots):
            for slot in instruction.outputs:
                slots[slot] = DEAD
            return
        recorder = self.recorder
        begin = time.time() if recorder is not None else 0.0
        try:
            instruction.run(slots)
        except errors.OpError as error:
            raise at_node(error, instruction.node) from None
        except Exception as error:
            logger.exception("kernel of %s '%s' failed", instruction.op.name, instruction.node)
            raise errors.internal(
                f"{instruction.op.name} '{instruction.node}': {type(error).__name__}: {error}",
                node=instruction.node,
            ) from error
        if recorder is not None:
            recorder.add(instruction, slots, begin, time.time())


def at_node(error: errors.OpError, node: str) -> errors.OpError:
    """``error`` with the node's tag at its end, where TensorFlow's clients look for it."""
    return errors.from_code(error.error_code, errors.with_node(error.message, node))


def as_host_value(value: Any) -> Any:
    """What interpreted kernels take: a numpy array, a resource, or a dead value."""
    if value is DEAD or isinstance(value, np.ndarray | Resource | np.generic):
        return value
    return np.asarray(value)


def hold(guards: Iterable[Guard], slots: Sequence[Any]) -> bool:
    """Whether all of ``guards`` do. A dead predicate has no value."""
    for slot, value in guards:
        predicate = slots[slot]
        if predicate is DEAD or bool(predicate) is not value:
            return False
    return True


class _Current(threading.local):
    executor: Executor | None = None


_current = _Current()


def current() -> Executor:
    """How the calling thread runs instructions now; threads of a kernel's own interpret."""
    return _current.executor or Interpreter()


def current_cancellation() -> Cancellation:
    """What ends the work of the calling thread; kernels that wait or loop look at it."""
    executor = _current.executor
    return executor.cancellation if isinstance(executor, Interpreter) else Cancellation()


@contextmanager
def running(executor: Executor) -> Iterator[None]:
    """Makes ``executor`` the current one of this thread in the scope."""
    outer, _current.executor = _current.executor, executor
    try:
        yield
    finally:
        _current.executor = outer
