"""``tf.train.Coordinator``: threads that stop together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from flowray.client.platform import logging
from flowray.client.tf_export import tf_export
from flowray.proto import errors


@tf_export("train.Coordinator")
class Coordinator:
    """Lets any of several threads ask all to stop, and collects the first exception.

    Args:
        clean_stop_exception_types: exceptions that mean a normal end; ``OutOfRangeError`` if None.
    """

    def __init__(
        self, clean_stop_exception_types: tuple[type[BaseException], ...] | None = None
    ) -> None:
        self._clean = clean_stop_exception_types or (errors.OutOfRangeError,)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._exception: BaseException | None = None
        self._joined = False
        self._threads: set[threading.Thread] = set()

    @property
    def joined(self) -> bool:
        """True if all threads were joined."""
        return self._joined

    def request_stop(self, ex: Any = None) -> None:
        """Asks all threads to stop.

        Args:
            ex: the exception (or ``sys.exc_info()``) that is the reason; ``join`` raises it.
        """
        exception = ex[1] if isinstance(ex, tuple) else ex
        with self._lock:
            if isinstance(exception, self._clean):
                exception = None
            if self._joined and exception is not None:
                raise exception
            if not self._stop.is_set():
                if exception is not None:
                    logging.info(
                        "Error reported to Coordinator: %s, %s", type(exception), exception
                    )
                    self._exception = exception
                self._stop.set()

    def clear_stop(self) -> None:
        """Clears the request to stop, and its reason."""
        with self._lock:
            self._joined = False
            self._exception = None
            self._stop.clear()

    def should_stop(self) -> bool:
        """Tells whether a stop was asked for."""
        return self._stop.is_set()

    @contextlib.contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """Asks all to stop if the block raises; the exception goes to ``join``."""
        try:
            yield
        except BaseException as error:
            self.request_stop(ex=error)

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Waits until a stop is asked for, at most ``timeout`` seconds; whether it was."""
        return self._stop.wait(timeout)

    def register_thread(self, thread: threading.Thread) -> None:
        """Makes ``join`` wait for ``thread``, too."""
        with self._lock:
            self._threads.add(thread)

    def join(
        self,
        threads: Iterable[threading.Thread] | None = None,
        stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:
        """Waits for the threads, which get ``stop_grace_period_secs`` from the request to stop.

        Raises:
            RuntimeError: some are still alive then (unless ``ignore_live_threads``).
            Exception: the one that a thread reported.
        """
        with self._lock:
            waited = self._threads | set(threads or ())
        while any(t.is_alive() for t in waited) and not self._stop.wait(1.0):
            pass
        deadline = time.monotonic() + stop_grace_period_secs
        for thread in waited:
            thread.join(max(0.0, deadline - time.monotonic()))
        alive = [t.name for t in waited if t.is_alive()]
        with self._lock:
            self._joined = True
            self._threads.clear()
            if self._exception is not None:
                raise self._exception
            if alive and not ignore_live_threads:
                raise RuntimeError(
                    "Coordinator stopped with threads still running: " + " ".join(alive)
                )
            if alive:
                logging.info("Coordinator stopped with threads still running: %s", alive)

    def raise_requested_exception(self) -> None:
        """Raises the exception that a thread reported, if one did."""
        with self._lock:
            if self._exception is not None:
                raise self._exception


@tf_export("train.LooperThread")
class LooperThread(threading.Thread):
    """Calls a function again and again until its coordinator stops.

    Args:
        coord: the coordinator.
        timer_interval_secs: the time from one call to the next; None for no pause.
        target, args, kwargs: the function to call; ``run_loop`` is called if it is not overridden.
    """

    def __init__(
        self,
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any] | None = None,
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(coord, Coordinator):
            raise ValueError(f"'coord' argument must be a Coordinator: {coord}")
        super().__init__(daemon=True)
        self._coord = coord
        self._interval = timer_interval_secs
        self._function = target
        self._arguments = tuple(args or ())
        self._keywords = dict(kwargs or {})
        coord.register_thread(self)

    @staticmethod
    def loop(
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> LooperThread:
        """Makes a thread of the given arguments and starts it."""
        looper = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        """Calls ``run_loop`` until the coordinator stops."""
        with self._coord.stop_on_exception():
            self.start_loop()
            if self._interval is None:
                while not self._coord.should_stop():
                    self.run_loop()
            else:
                next_time = time.monotonic()
                while not self._coord.wait_for_stop(max(0.0, next_time - time.monotonic())):
                    next_time += self._interval
                    self.run_loop()
            self.stop_loop()

    def start_loop(self) -> None:
        """Is called when the thread starts."""

    def stop_loop(self) -> None:
        """Is called when the thread ends."""

    def run_loop(self) -> None:
        """Calls the target once."""
        if self._function is not None:
            self._function(*self._arguments, **self._keywords)
