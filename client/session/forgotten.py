"""Closes sessions that their program forgot: once they are garbage, and at interpreter exit.

A destructor must not block. The garbage collector runs it in any thread, which may hold any lock,
and at interpreter exit after all other threads have stopped: a call that waits for one of gRPC's
threads would then wait for ever. Hence a destructor only puts its transport into a queue, which a
thread of this module empties; and whatever is open when the interpreter exits is closed by
``atexit``, while gRPC's threads still run.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
import weakref
from typing import Protocol

_SECONDS = 0.4
"""How long the masters have to answer, all together, before their connections are closed."""


class Closable(Protocol):
    """A transport, as far as this module needs it."""

    def close_all(self, seconds: float) -> None:
        """Closes its sessions and then itself, if that was not done; waits at most ``seconds``.

        Raises nothing.
        """


class _Forgotten:
    """The transports that are open, and those to be closed."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[Closable] = weakref.WeakSet()
        self._garbage: queue.SimpleQueue[Closable] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.is_exiting = False

    def watch(self, transport: Closable) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._close_garbage, name="flowray-close", daemon=True
                )
                self._thread.start()
            self._open.add(transport)

    def abandon(self, transport: Closable) -> None:
        self._garbage.put(transport)

    def close_open(self) -> None:
        """Closes all open sessions.

        The masters share the time: one that hangs may use up all of it, and then those after it
        learn from the end of the connection that the client is gone.
        """
        self.is_exiting = True
        with self._lock:
            transports = list(self._open)
        deadline = time.monotonic() + _SECONDS
        for transport in transports:
            transport.close_all(max(deadline - time.monotonic(), 0.01))

    def _close_garbage(self) -> None:
        while True:
            self._garbage.get().close_all(_SECONDS)


_forgotten = _Forgotten()


def watch(transport: Closable) -> None:
    """Notes that ``transport`` is open, so that it is closed when the interpreter exits."""
    _forgotten.watch(transport)


def abandon(transport: Closable) -> None:
    """Closes ``transport`` soon, in another thread. Never blocks: for destructors."""
    _forgotten.abandon(transport)


def stop_at_exit() -> None:
    """Never returns in a daemon thread if the interpreter exits.

    A thread calls this when a step of it failed: its session was closed because the interpreter
    exits, which ends the thread next. Nobody wants to read a traceback about that.
    """
    if _forgotten.is_exiting and threading.current_thread().daemon:
        threading.Event().wait()


def _after_fork() -> None:
    """Forgets everything: the sessions are those of the parent process, and so is the thread."""
    global _forgotten
    _forgotten = _Forgotten()


atexit.register(lambda: _forgotten.close_open())
os.register_at_fork(after_in_child=_after_fork)
