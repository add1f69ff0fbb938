"""Matrix products on numpy, with as many BLAS threads as help.

A BLAS library spreads a product over all cores and waits, spinning, for every one of them. When
another thread has a core (XLA's compiler, another step, another process), a product of 20
microseconds takes 20 milliseconds (docs/decisions/0012). So only large products use several
threads, and none does while XLA compiles.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import numpy as np
import threadpoolctl

Array = np.ndarray[Any, np.dtype[Any]]

_LEAST_SPREAD: Final = 1 << 18
"""Multiplications of a product below which BLAS libraries use one thread by themselves."""
_LEAST_THREADED: Final = 1 << 28
"""Multiplications from which on threads are worth the wait: some 5 ms of one core."""


class _Library(Protocol):
    """A loaded BLAS library, as threadpoolctl gives it."""

    num_threads: int

    def set_num_threads(self, num_threads: int) -> Any: ...


class ThreadLimit:
    """Limits BLAS libraries to one thread while at least one caller asks for it. Thread-safe."""

    def __init__(self, libraries: Sequence[_Library]) -> None:
        self._libraries = libraries
        self._lock = threading.Lock()
        self._holders = 0
        self._threads: list[int] = []

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Keeps the libraries at one thread in the scope; then gives back what they had."""
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._threads = [library.num_threads for library in self._libraries]
                for library in self._libraries:
                    library.set_num_threads(1)
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    for library, threads in zip(self._libraries, self._threads, strict=True):
                        library.set_num_threads(threads)


@functools.cache
def limit() -> ThreadLimit:
    """Returns the limit of the BLAS libraries that this process has loaded."""
    return ThreadLimit(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)


def matmul(a: Array, b: Array) -> Array:
    """Returns ``np.matmul(a, b)``, computed by one thread unless the product is large."""
    multiplications = a.shape[-1] * b.shape[-1] * (a.shape[-2] if a.ndim > 1 else 1)
    if _LEAST_SPREAD <= multiplications < _LEAST_THREADED:
        with limit().one_thread():
            return np.matmul(a, b)  # type: ignore[no-any-return]
    return np.matmul(a, b)  # type: ignore[no-any-return]
