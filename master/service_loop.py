"""The event loop and the threads that the handlers of a service share."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from flowray.master.step import Done, Step, StepResult
from flowray.proto import errors

_log = logging.getLogger(__name__)

T = TypeVar("T")

Start = Callable[[Done], "Step | None"]
"""Starts a step whose result goes to the given function."""


class ServiceLoop:
    """The running event loop, and a few threads for what would hold it up.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.threads = ThreadPoolExecutor(threads, "flowray-service")
        self._thread = threading.get_ident()

    def close(self) -> None:
        """Takes no more work for the threads; they finish the work that they have."""
        self.threads.shutdown(wait=False)

    def in_thread(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Calls ``function`` in one of the threads."""
        return self.loop.run_in_executor(self.threads, function, *arguments)

    def in_loop(self, done: Done) -> Done:
        """Returns ``done``, to be called from any thread: it runs in the loop's thread."""

        def call(result: StepResult) -> None:
            if threading.get_ident() == self._thread:
                done(result)
            else:
                try:
                    self.loop.call_soon_threadsafe(done, result)
                except RuntimeError:  # the loop stopped meanwhile
                    _log.debug("a step ended after its server")

        return call


def start_safely(start: Start, done: Done) -> Step | None:
    """Starts a step. Whatever goes wrong is answered, a bug as INTERNAL."""
    try:
        return start(done)
    except Exception as failure:
        _log.exception("a step could not be started; its client gets an INTERNAL error")
        done(StepResult(error=errors.internal(f"{type(failure).__name__}: {failure}")))
        return None
