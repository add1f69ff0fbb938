"""Matrix products on numpy, with as many BLAS threads as help.

A BLAS library spreads a product over all cores and waits, spinning, for every one of them. When
another thread has a core (XLA's compiler, another step, another process), a product of 20
microseconds takes 20 milliseconds (docs/decisions/0012). So only large products use several
threads, and none does while XLA compiles.
"""

from __future__ import annotations

import ctypes
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


class Library(Protocol):
    """A loaded BLAS library whose threads all threads of this process share."""

    def get_num_threads(self) -> int:
        """Returns the number of threads that a product may use."""
        ...

    def set_num_threads(self, number: int) -> None:
        """Sets it."""
        ...


class OpenBlas:
    """An OpenBLAS library that this process has loaded.

    threadpoolctl finds it but would let only one thread set the number.
    """

    _NAMES: Final = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self.get_num_threads = self._function(library, "get_num_threads")
        self.set_num_threads = self._function(library, "set_num_threads")

    def _function(self, library: ctypes.CDLL, name: str) -> Any:
        for pattern in self._NAMES:
            if hasattr(library, pattern.format(name)):
                return getattr(library, pattern.format(name))
        raise AttributeError(f"{library._name} has no function {name}")


class ThreadLimit:
    """Limits BLAS libraries to one thread while at least one caller asks for it. Thread-safe."""

    def __init__(self, libraries: Sequence[Library]) -> None:
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
                self._threads = [library.get_num_threads() for library in self._libraries]
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
    """Returns the limit of numpy's OpenBLAS; other BLAS libraries are left as they are."""
    found = threadpoolctl.threadpool_info()
    return ThreadLimit([OpenBlas(x["filepath"]) for x in found if x["internal_api"] == "openblas"])


def matmul(a: Array, b: Array) -> Array:
    """Returns ``np.matmul(a, b)``, computed by one thread unless the product is large."""
    multiplications = a.shape[-1] * b.shape[-1] * (a.shape[-2] if a.ndim > 1 else 1)
    if _LEAST_SPREAD <= multiplications < _LEAST_THREADED:
        with limit().one_thread():
            return np.matmul(a, b)  # type: ignore[no-any-return]
    return np.matmul(a, b)  # type: ignore[no-any-return]
