"""Elements that threads compute in advance: prefetching and parallel map.

The threads belong to an iterator. They end when it is closed or garbage-collected, and when there
is nothing left to do; so does all that they wait for.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.worker.data.dataset import DatasetIterator, Element, Made
from flowray.worker.execution.interpreter import Cancellation, Interpreter, current_cancellation
from flowray.worker.execution.tiering import CompileMode
from flowray.worker.program.executor import current, running

Make = Callable[[Sequence[Element]], Sequence[Made]]
"""Makes a result of each of some elements."""


class BackgroundIterator(DatasetIterator):
    """Makes results of the elements of a source in threads, some of them in advance.

    Args:
        source: is read by one thread at a time.
        make: makes results of elements, in several threads; None gives the elements as they are.
        at_once: returns the number of elements to pass to one call of ``make``, if so many are
            available; None means one.
        threads: the number of threads; the first call of ``get_next`` starts them.
        capacity: the most elements that may be in work or wait to be fetched. If ``make`` gets
            several at once: the number of such groups, beside one more for each thread.
        in_order: whether results come in the source's order, or as they get ready.
    """

    __slots__ = ("_work",)

    def __init__(
        self,
        source: DatasetIterator,
        make: Make | None = None,
        at_once: Callable[[], int] | None = None,
        *,
        threads: int = 1,
        capacity: int,
        in_order: bool = True,
    ) -> None:
        self._work = _Work(source, make, at_once or _one, threads, capacity, in_order)

    def start(self) -> None:
        """Starts the threads before the first element is asked for."""
        self._work.start()

    def get_next(self) -> Element | None:
        elements = self._work.get_several(1)
        return elements[0] if elements else None

    def get_several(self, most: int) -> list[Element]:
        return self._work.get_several(most)

    def save(self) -> Any:
        return self._work.save()

    def restore(self, state: Any) -> None:
        self._work.restore(state)

    def close(self) -> None:
        self._work.close()

    def __del__(self) -> None:
        # The threads refer to the work only, so they end with a garbage-collected iterator.
        work = getattr(self, "_work", None)
        if work is not None:
            work.close()


def _one() -> int:
    return 1


_READ_SECONDS: Final = 1e-3
"""The longest time that a thread reads on to get more elements at once, while the first wait."""

_EXIT_SECONDS: Final = 0.3
"""The longest time that the end of the process waits for an element in work."""


class _Slot:
    """An element in work, then its result or its error."""

    __slots__ = ("element", "error", "is_ready")

    def __init__(self, element: Element | None = None, error: errors.OpError | None = None) -> None:
        self.element = element
        self.error = error
        self.is_ready = False


class _Work:
    """The state that an iterator and its threads share, under one lock."""

    def __init__(
        self,
        source: DatasetIterator,
        make: Make | None,
        at_once: Callable[[], int],
        threads: int,
        capacity: int,
        in_order: bool,
    ) -> None:
        self._source = source
        self._make = make
        self._at_once = at_once
        self._threads = threads
        self._capacity = capacity
        self._in_order = in_order
        self._cancellation = Cancellation()
        # Reentrant: the garbage collector may close an iterator wherever memory is allocated.
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
            executor = current()
            self._compile = executor.compile if isinstance(executor, Interpreter) else "never"
            for _ in range(self._threads):
                thread = threading.Thread(target=self._run, name="flowray-data", daemon=True)
                _running_threads[thread] = self
                thread.start()

    def get_several(self, most: int) -> list[Element]:
        self.start()
        elements: list[Element] = []
        slot: _Slot | None = None
        with self._may_fetch:
            slots = self._slots
            if not (slots and slots[0].is_ready):
                current_cancellation().wait(self._may_fetch, self._can_fetch)
            while len(elements) < most and (index := self._ready_index()) is not None:
                slot = slots[index]
                if slot.element is None and elements:
                    break  # an error or the end, which the next call reports
                del slots[index]
                if slot.element is None:
                    break
                elements.append(slot.element)
            if self._may_read():
                self._may_work.notify()
        if elements or slot is None:
            return elements
        if slot.error is not None:
            raise slot.error
        self.close()  # the function reported the end
        return []

    def _can_fetch(self) -> bool:
        if not self._slots:
            return self._has_ended or self._cancellation.cancelled
        return self._ready_index() is not None

    def _ready_index(self) -> int | None:
        slots = self._slots
        if slots and slots[0].is_ready:
            return 0
        if self._in_order:
            return None
        return next((i for i, slot in enumerate(slots) if slot.is_ready), None)

    def close(self) -> None:
        self._cancellation.cancel()
        with self._lock:
            self._has_ended = True
            self._slots.clear()
            self._may_work.notify_all()
            self._may_fetch.notify_all()
            is_mine = not self._is_started
            self._is_started = True
        if is_mine:  # otherwise the last thread closes it
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
            slot = _Slot(element, error)
            slot.is_ready = True
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
                while slots := self._next_slots():
                    self._fill(slots)
        finally:
            with self._lock:
                self._running -= 1
                is_last = self._running == 0
            if is_last:
                self._source.close()

    def _next_slots(self) -> list[_Slot]:
        """Puts slots into the queue, each with an element or an error; returns none at the end."""
        with self._may_work:
            while not (self._has_ended or self._may_read()):
                self._may_work.wait()
            if self._has_ended:
                return []
            self._is_reading = True
            count = min(self._at_once(), self._free_capacity())
        slots, has_ended = self._read(count)
        with self._lock:
            self._is_reading = False
            if self._has_ended:
                return []
            self._slots.extend(slots)
            if has_ended:
                self._has_ended = True
                self._may_work.notify_all()
                self._may_fetch.notify_all()
            else:
                self._may_work.notify()
        return slots

    def _read(self, count: int) -> tuple[list[_Slot], bool]:
        """Reads up to ``count`` elements of the source; tells whether it has ended."""
        slots: list[_Slot] = []
        until = time.monotonic() + _READ_SECONDS
        while len(slots) < count and not (slots and time.monotonic() > until):
            try:
                elements = self._source.get_several(count - len(slots))
            except Exception as failure:
                slots.append(_Slot(error=_as_op_error(failure)))
                continue
            if not elements:
                return slots, True
            slots.extend(map(_Slot, elements))
        return slots, False

    def _may_read(self) -> bool:
        return (
            not self._is_reading
            and not self._is_paused
            and self._free_capacity() >= self._at_once()
        )

    def _free_capacity(self) -> int:
        at_once = self._at_once()
        # The elements of a group get ready at the same time; while they wait, the next are in work.
        groups = self._capacity + (self._threads if at_once > 1 else 0)
        return at_once * groups - len(self._slots)

    def _fill(self, slots: Sequence[_Slot]) -> None:
        for slot, made in self._made(slots):
            if isinstance(made, errors.OpError):
                slot.element, slot.error = None, made
            else:
                slot.element = made
        with self._lock:
            for slot in slots:
                slot.is_ready = True
                if slot.element is None and slot.error is None:
                    self._has_ended = True  # the rest of the source is not needed
                    self._may_work.notify_all()
            self._may_fetch.notify_all()

    def _made(self, slots: Sequence[_Slot]) -> Iterable[tuple[_Slot, Made]]:
        """Makes results of those slots that have an element."""
        if self._make is None:
            return ()
        full = [slot for slot in slots if slot.error is None]
        try:
            made = self._make([slot.element for slot in full if slot.element is not None])
        except Exception as failure:
            return [(slot, _as_op_error(failure)) for slot in full]
        return zip(full, made, strict=True)


_running_threads: weakref.WeakKeyDictionary[threading.Thread, _Work] = weakref.WeakKeyDictionary()


@atexit.register
def _end_threads() -> None:
    """Ends all threads that can end before the interpreter does; the process leaves the others be.

    See ``native_threads``.
    """
    threads = list(_running_threads.items())
    for _, work in threads:
        work.close()
    deadline = time.monotonic() + _EXIT_SECONDS
    for thread, _ in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _as_op_error(failure: Exception) -> errors.OpError:
    """Returns the error for the reader; without it an exception would end a thread silently."""
    if isinstance(failure, errors.OpError):
        return failure
    return errors.internal(f"{type(failure).__name__}: {failure}")
