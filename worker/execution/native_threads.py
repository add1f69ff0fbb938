"""Threads that work in native code for long, and do not hold the end of the process.

XLA and LLVM cannot be interrupted while they compile, which may take half a minute. A process that
waited for them (as ``concurrent.futures`` does) would stay alive with nothing left to do, and a
plain daemon thread would crash it, for two reasons:

* A daemon thread that comes back to Python while the interpreter is being finalized is ended by
  ``pthread_exit``. (Python 3.14 lets it hang instead.) That unwinds the stack, and the C++ frames
  in it forbid this: ``std::terminate`` aborts the process.
* ``exit`` runs the destructors of the libraries' static objects, which such a thread still uses.

Hence, when the interpreter exits and threads are left, ``std::terminate`` lets its thread hang, and
``exit`` leaves out the destructors. The process keeps its exit status.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

_log = logging.getLogger("flowray.worker")

_SECONDS: Final = 0.1
"""The time that threads have to end at interpreter exit; those at work do not end."""

P = ParamSpec("P")
T = TypeVar("T")

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_executors: weakref.WeakSet[BackgroundExecutor] = weakref.WeakSet()


def start(target: Callable[[], None], name: str) -> threading.Thread:
    """Starts a daemon thread whose work the end of the process cuts short."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    _threads.add(thread)
    thread.start()
    return thread


class BackgroundExecutor(Executor):
    """One thread that runs what is submitted, in order.

    At interpreter exit an idle thread ends, and what has not begun is never run.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        _executors.add(self)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        with self._lock:
            self._work.put(run)
            if self._thread is None:
                self._thread = start(self._run, self._name)
        return future

    def close(self) -> None:
        """Ends the thread after its present work, without waiting for that."""
        self._is_closed = True
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None and not self._is_closed:
            work()


@atexit.register
def _leave_threads() -> None:
    """Ends the threads that are idle, and makes the others harmless."""
    threads = [thread for thread in _threads if thread.is_alive()]
    for executor in _executors:
        executor.close()
    deadline = time.monotonic() + _SECONDS
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    # Others than these may be within XLA, too: threads of the program that run steps.
    if threading.active_count() > 1 and ("jaxlib" in sys.modules or threads):
        _let_native_threads_be()


def _let_native_threads_be() -> None:
    """Lets the process end while other threads are in native code."""
    try:
        libc = ctypes.CDLL(None)
        cxx = ctypes.CDLL("libstdc++.so.6")
        on_exit, exit_now, pause = libc.on_exit, libc._exit, libc.pause
        set_terminate: Any = cxx._ZSt13set_terminatePFvvE
    except (OSError, AttributeError) as error:  # not Linux with glibc
        _log.debug("threads in native code may crash the process as it ends: %s", error)
        return
    for task in os.listdir("/proc/self/task"):
        if int(task) != threading.get_native_id():
            # The end of the process goes before work that nobody waits for.
            with contextlib.suppress(OSError):  # the thread has just ended
                os.setpriority(os.PRIO_PROCESS, int(task), 19)
    set_terminate.restype = None
    set_terminate(pause)
    sys.stdout.flush()
    libc.fflush(None)  # what the native libraries have written
    on_exit(exit_now, None)
