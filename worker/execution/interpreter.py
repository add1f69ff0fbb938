"""The interpreter: runs the instructions of a program one by one, on numpy.

(``xla_segment.py`` has the executor that runs them on tracers, to compile them.)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.worker.execution.tiering import CompileMode
from flowray.worker.failures import as_op_error
from flowray.worker.program.executor import current
from flowray.worker.program.instruction import hold
from flowray.worker.state.store import Resource

if TYPE_CHECKING:
    from flowray.worker.program.instruction import Instruction
    from flowray.worker.program.program import Program

logger = logging.getLogger("flowray.worker")


class Recorder(Protocol):
    """Records the instructions that an interpreter has run."""

    def add(self, instruction: Instruction, slots: Sequence[Any], begin: float, end: float) -> None:
        """Records an instruction that ran from ``begin`` to ``end`` (seconds since the epoch)."""


class Cancellation:
    """Cancels a step: its instructions stop, and its waits end."""

    __slots__ = ("_lock", "_waiting", "cancelled")

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.RLock()  # a forgotten iterator may be collected under it
        self._waiting: list[threading.Condition] = []

    def cancel(self) -> None:
        """Cancels the step, and wakes the threads in ``wait``."""
        with self._lock:
            self.cancelled = True
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()

    def check(self) -> None:
        """Raises CancelledError if the step is cancelled."""
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
        """Returns the program's slots as they are before a run."""
        return program.slots()

    def run_program(self, program: Program, slots: list[Any]) -> None:
        """Runs all instructions; see ``Executor.run_program``."""
        self.run(program.instructions, slots)

    def run(self, instructions: Sequence[Instruction], slots: list[Any]) -> None:
        """Runs instructions in order, each if its conditions hold; raises as ``run_program``."""
        cancellation = self.cancellation
        for instruction in instructions:
            if cancellation.cancelled:
                cancellation.check()
            self._run_one(instruction, slots)

    def run_batch(
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
        if instruction.conditions and not hold(instruction.conditions, slots):
            for slot in instruction.outputs:
                slots[slot] = DEAD
            return
        recorder = self.recorder
        begin = time.time() if recorder is not None else 0.0
        try:
            instruction.run(slots)
        except errors.OpError as error:
            raise errors.at_node(error, instruction.node) from None
        except Exception as failure:
            what = f"{instruction.op.name} '{instruction.node}'"
            logger.exception("the kernel of %s failed", what)
            raise as_op_error(failure, what, instruction.node) from failure
        if recorder is not None:
            recorder.add(instruction, slots, begin, time.time())


def as_host_value(value: Any) -> Any:
    """Returns ``value`` as interpreted kernels take it: a numpy array, a resource, or dead."""
    if value is DEAD or isinstance(value, np.ndarray | Resource | np.generic):
        return value
    return np.asarray(value)


def current_cancellation() -> Cancellation:
    """Returns the cancellation of the calling thread's step; kernels that wait or loop check it."""
    executor = current()
    return executor.cancellation if isinstance(executor, Interpreter) else Cancellation()
