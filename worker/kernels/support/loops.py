"""Loops over single elements, which numpy has no quick way for: numba compiles them.

Compiling takes a second (a third of one if an earlier process left its result in numba's cache), so
a background thread does it. Until then the kernel computes the same with numpy, to the last bit, so
that the switch cannot be seen in the results. A caller that keeps calling waits for the compiler in
the end: the threads of a pipeline would only slow it down.

This is not a tier of a segment (``execution/tiering.py``). A loop is a part of one kernel, is
faster than numpy for every shape and is compiled once per dtype and machine, so that there is
nothing to measure, to compare or to give up. The only decision is how many calls do without it.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from flowray.worker.execution import native_threads

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray[Any, Any]
Types = Sequence[tuple[np.dtype[Any], int]]
"""The dtype and the number of dimensions of each array."""
Compiled = Callable[..., None]

logger = logging.getLogger("flowray.worker")

TYPES: Final = frozenset(
    np.dtype(t) for t in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
)
"""The dtypes that numba has."""


_CALLS_WITHOUT: Final = 4

_parts: list[Callable[..., Any]] = []


def part(function: F) -> F:
    """Marks a function that loops call, so that numba compiles it with them."""
    _parts.append(function)
    return function


@functools.cache
def _register_parts() -> None:
    from numba.extending import register_jitable  # noqa: PLC0415 - slow, and few pipelines need it

    for function in _parts:
        register_jitable(function)


@dataclass(slots=True)
class _Compiler:
    thread: threading.Thread
    calls: int = 0
    """The calls of the loop since the thread was started."""


class Loop:
    """A function of arrays, compiled for each dtype of the first array.

    The other arrays always have the same dtypes, and all arrays the same numbers of dimensions;
    they are C-contiguous and aligned. The function writes its result into the last one. The
    compiled function computes what Python does: in the same order, without contracting products and
    sums.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._compiled: dict[np.dtype[Any], Compiled | None] = {}
        self._compilers: dict[np.dtype[Any], _Compiler] = {}
        self._lock = threading.Lock()

    def compiled(self, *arrays: Array) -> Compiled | None:
        """Returns the compiled function for arrays like these; None until it is compiled.

        The first call starts the compiler in a thread; a call after the fourth waits for it.
        """
        key = arrays[0].dtype
        try:
            return self._compiled[key]
        except KeyError:
            pass
        with self._lock:
            compiler = self._compilers.get(key)
            if compiler is None:
                compiler = self._compilers[key] = self._start(arrays)
            compiler.calls += 1
        if compiler.calls > _CALLS_WITHOUT:
            compiler.thread.join()
        return self._compiled.get(key)

    def compile(self, *arrays: Array) -> Compiled:
        """Returns the compiled function, compiling it now if needed. ImportError without numba."""
        types = [(array.dtype, array.ndim) for array in arrays]
        return self._compiled.get(arrays[0].dtype) or self._compile(types)

    def _start(self, arrays: Sequence[Array]) -> _Compiler:
        types = [(array.dtype, array.ndim) for array in arrays]
        name = f"flowray-{self._function.__name__}"
        return _Compiler(native_threads.start(lambda: self._try_to_compile(types), name))

    def _try_to_compile(self, types: Types) -> None:
        try:
            self._compile(types)
        except ImportError:
            logger.debug("numba is not installed: %s runs with numpy", self._function.__name__)
        except Exception:
            logger.exception(
                "numba cannot compile %s, which goes on with numpy", self._function.__name__
            )
        self._compiled.setdefault(types[0][0], None)

    def _compile(self, types: Types) -> Compiled:
        import numba  # noqa: PLC0415 - slow, and few pipelines need it

        _register_parts()
        *inputs, result = (
            numba.types.Array(numba.from_dtype(dtype), ndim, "C", readonly=i < len(types) - 1)
            for i, (dtype, ndim) in enumerate(types)
        )
        signature = numba.void(*inputs, result)
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(self._function)
        except RuntimeError as no_directory:  # neither beside this file nor in the home directory
            logger.debug("numba has no directory for its cache: %s", no_directory)
            compiled = numba.njit(signature, nogil=True)(self._function)
        self._compiled[types[0][0]] = compiled
        return compiled
