"""Timers for the deadlines of steps, all on one thread."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)


@dataclass(order=True, slots=True)
class _Timer:
    time: float
    number: int
    action: Callable[[], None] | None = field(compare=False)
    """None once it has run or was cancelled."""


class DeadlineTimers:
    """Calls functions at given times, from one thread that starts with the first timer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._timers: list[_Timer] = []
        self._numbers = itertools.count()
        self._cancelled = 0
        """The number of cancelled timers in the list."""
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Calls ``action`` once, ``seconds`` from now. Returns a function that cancels that."""
        timer = _Timer(time.monotonic() + seconds, next(self._numbers), action)
        with self._changed:
            heapq.heappush(self._timers, timer)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="flowray-deadlines", daemon=True
                )
                self._thread.start()
            elif self._timers[0] is timer:
                self._changed.notify()

        def cancel() -> None:
            with self._changed:
                if timer.action is not None:
                    timer.action = None
                    self._cancelled += 1
                    if 2 * self._cancelled > len(self._timers) + 100:
                        self._drop_cancelled()

        return cancel

    def _drop_cancelled(self) -> None:
        self._timers = [timer for timer in self._timers if timer.action is not None]
        heapq.heapify(self._timers)
        self._cancelled = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._timers:
                    self._changed.wait()
                timer = self._timers[0]
                left = timer.time - time.monotonic()
                if left > 0 and timer.action is not None:
                    self._changed.wait(left)
                    continue
                heapq.heappop(self._timers)
                action, timer.action = timer.action, None
                if action is None:
                    self._cancelled -= 1
                    continue
            try:
                action()
            except Exception:
                _log.exception("a deadline's action failed; the other deadlines still hold")
