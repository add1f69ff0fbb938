"""The seam between programs and what runs them.

A kernel whose attribute is a function runs that function's instructions the way that it is itself
run: one by one on numpy, or on the tracers of an XLA program. So every thread that runs
instructions has a current executor, and ``Function`` asks for it. The executors themselves are in
``worker/execution/``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from flowray.worker.program.program import Program


class Executor(Protocol):
    """A way to run programs."""

    def slots(self, program: Program) -> list[Any]:
        """Returns the program's slots as they are before a run."""

    def run_program(self, program: Program, slots: list[Any]) -> None:
        """Runs all instructions in order.

        Raises:
            OpError: of the first instruction that failed, with its node's tag.
        """


class _Current(threading.local):
    executor: Executor | None = None


_current = _Current()


def current() -> Executor | None:
    """Returns the executor of the calling thread; None if it runs no instructions now."""
    return _current.executor


class running:  # noqa: N801 - it is used like a function
    """Makes ``executor`` the current one of this thread in the scope.

    A class, since a generator's context manager takes three times as long, in every stage.
    """

    __slots__ = ("_executor", "_outer")

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __enter__(self) -> None:
        self._outer, _current.executor = _current.executor, self._executor

    def __exit__(self, *exc_info: object) -> None:
        _current.executor = self._outer
