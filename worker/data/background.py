"""Elements made in advance, by threads: prefetching, and parallel map.

The threads belong to an iterator. They end when it is closed or forgotten, and when there is
nothing left to do; whatever they wait for ends then, too.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.worker.data.dataset import DatasetIterator, Element
from flowray.worker.executor import (
    Cancellation,
    CompileMode,
    Interpreter,
    current,
    current_cancellation,
    running,
)

Make = Callable[[Element], Element | None]
"""What is made of an element of the source; None says that the end is reached."""


class BackgroundIterator(DatasetIterator):
    """What ``make`` makes of the elements of a source, up to ``capacity`` of them in advance.

    Args:
        source: is read by one thread at a time.
        make: is called by several; None gives the elements as they are.
        threads: how many there are; the first call of ``get_next`` starts them.
        capacity: how many elements may be in work or wait to be fetched.
        in_order: whether they come in the source's order, or as they get ready.
    """

    __slots__ = ("_work",)

    def __init__(
        self,
        source: DatasetIterator,
        make: Make | None = None,
        *,
        threads: int = 1,
        capacity: int,
        in_order: bool = True,
    ) -> None:
        self._work = _Work(source, make, threads, capacity, in_order)

    def start(self) -> None:
        """Starts the threads, before anybody asks for an element."""
        self._work.start()

    def get_next(self) -> Element | None:
        return self._work.get_next()

    def save(self) -> Any:
        return self._work.save()

    def restore(self, state: Any) -> None:
        self._work.restore(state)

    def close(self) -> None:
        self._work.close()

    def __del__(self) -> None:
        # The threads know the work only, so an iterator that is forgotten takes them along.
        work = getattr(self, "_work", None)
        if work is not None:
            work.close()


_EXIT_SECONDS: Final = 5.0
"""How long the end of the process waits for an element that is being made."""


class _Slot:
    """An element in work, then made: what it became, or how that failed."""

    __slots__ = ("element", "error", "is_ready")

    def __init__(self) -> None:
        self.element: Element | None = None
        self.error: errors.OpError | None = None
        self.is_ready = False


class _Work:
    """What an iterator and its threads share; all of it under one lock."""

    def __init__(
        self,
        source: DatasetIterator,
        make: Make | None,
        threads: int,
        capacity: int,
        in_order: bool,
    ) -> None:
        self._source = source
        self._make = make
        self._threads = threads
        self._capacity = capacity
        self._in_order = in_order
        self._cancellation = Cancellation()
        # Reentrant: a forgotten iterator may be collected, and so closed, wherever memory is taken.
        lock = threading.RLock()
        self._may_work = threading.Condition(lock)
        self._may_fetch = threading.Condition(lock)
        self._lock = lock
        self._slots: deque[_Slot] = deque()
        self._is_started = False
        self._running = 0
        self._is_reading = False
        self._is_paused = False
        self._has_ended = False
        self._compile: CompileMode = "never"

    # The iterator's side

    def start(self) -> None:
        with self._lock:
            if self._is_started or self._cancellation.cancelled or self._has_ended:
                return
            self._is_started = True
            self._running = self._threads
            how = current()
            self._compile = how.compile if isinstance(how, Interpreter) else "never"
            for _ in range(self._threads):
                thread = threading.Thread(target=self._run, name="flowray-data", daemon=True)
                _running_threads[thread] = self
                thread.start()

    def get_next(self) -> Element | None:
        self.start()
        with self._may_fetch:
            slots = self._slots
            if not (slots and slots[0].is_ready):
                current_cancellation().wait(self._may_fetch, self._can_fetch)
            slot = self._take()
            if slot is None:
                return None
            self._may_work.notify()
        if slot.error is not None:
            raise slot.error
        if slot.element is None:  # the function said that the end is reached
            self.close()
        return slot.element

    def _can_fetch(self) -> bool:
        if not self._slots:
            return self._has_ended or self._cancellation.cancelled
        return self._ready_index() is not None

    def _ready_index(self) -> int | None:
        if self._in_order:
            return 0 if self._slots and self._slots[0].is_ready else None
        return next((i for i, slot in enumerate(self._slots) if slot.is_ready), None)

    def _take(self) -> _Slot | None:
        index = self._ready_index()
        if index is None:
            return None
        slot = self._slots[index]
        del self._slots[index]
        return slot

    def close(self) -> None:
        self._cancellation.cancel()
        with self._lock:
            self._has_ended = True
            self._slots.clear()
            self._may_work.notify_all()
            self._may_fetch.notify_all()
            is_mine = not self._is_started
            self._is_started = True
        if is_mine:  # otherwise the last thread does it
            self._source.close()

    def save(self) -> Any:
        """Waits until nothing is in work; the threads go on afterwards."""
        with self._may_fetch:
            self._is_paused = True
            try:
                current_cancellation().wait(self._may_fetch, self._is_idle)
                return {
                    "slots": [(slot.element, slot.error) for slot in self._slots],
                    "source": None if self._has_ended else self._source.save(),
                }
            finally:
                self._is_paused = False
                self._may_work.notify_all()

    def _is_idle(self) -> bool:
        return not self._is_reading and all(slot.is_ready for slot in self._slots)

    def restore(self, state: Any) -> None:
        for element, error in state["slots"]:
            slot = _Slot()
            slot.element, slot.error, slot.is_ready = element, error, True
            self._slots.append(slot)
        if state["source"] is None:
            self._has_ended = True
            self._source.close()
            self._is_started = True
        else:
            self._source.restore(state["source"])

    # The threads' side

    def _run(self) -> None:
        try:
            interpreter = Interpreter(self._cancellation, compile=self._compile)
            with running(interpreter), np.errstate(all="ignore"):
                while (slot := self._next_slot()) is not None:
                    self._fill(*slot)
        finally:
            with self._lock:
                self._running -= 1
                is_last = self._running == 0
            if is_last:
                self._source.close()

    def _next_slot(self) -> tuple[_Slot, Element | None, errors.OpError | None] | None:
        """A place in the queue, and the element of the source that it is for; None at the end."""
        with self._may_work:
            while not (self._has_ended or self._may_read()):
                self._may_work.wait()
            if self._has_ended:
                return None
            self._is_reading = True
        element, error, has_ended = None, None, False
        try:
            element = self._source.get_next()
            has_ended = element is None
        except Exception as failure:
            error = _as_op_error(failure)
        with self._lock:
            self._is_reading = False
            if has_ended or self._has_ended:
                self._has_ended = True
                self._may_work.notify_all()
                self._may_fetch.notify_all()
                return None
            slot = _Slot()
            self._slots.append(slot)
            self._may_work.notify()
            return slot, element, error

    def _may_read(self) -> bool:
        return not self._is_reading and not self._is_paused and len(self._slots) < self._capacity

    def _fill(self, slot: _Slot, element: Element | None, error: errors.OpError | None) -> None:
        if error is None and self._make is not None:
            assert element is not None
            try:
                element = self._make(element)
            except Exception as failure:
                element, error = None, _as_op_error(failure)
        with self._lock:
            slot.element, slot.error, slot.is_ready = element, error, True
            if element is None and error is None:
                self._has_ended = True  # no more need be read
                self._may_work.notify_all()
            self._may_fetch.notify_all()


_running_threads: weakref.WeakKeyDictionary[threading.Thread, _Work] = weakref.WeakKeyDictionary()


@atexit.register
def _end_threads() -> None:
    """Ends all threads before the interpreter does: that kills the process if one is within XLA."""
    threads = list(_running_threads.items())
    for _, work in threads:
        work.close()
    deadline = time.monotonic() + _EXIT_SECONDS
    for thread, _ in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _as_op_error(failure: Exception) -> errors.OpError:
    """What the one who fetches gets to see: nothing else may end a thread silently."""
    if isinstance(failure, errors.OpError):
        return failure
    return errors.internal(f"{type(failure).__name__}: {failure}")
