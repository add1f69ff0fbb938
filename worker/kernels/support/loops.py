"""Loops over single elements, for what numpy has no quick way to do: numba compiles them.

That takes a second (a third of one where the result of an earlier process is found), so it is done
in the background, and the kernel computes the same with numpy until then: to the last bit, so that
nobody can tell which it was. Who keeps calling waits for it: a pipeline's threads would slow it
down.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

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
    """A function that loops call."""
    _parts.append(function)
    return function


@functools.cache
def _register_parts() -> None:
    from numba.extending import register_jitable

    for function in _parts:
        register_jitable(function)


@dataclass(slots=True)
class _Compiler:
    thread: threading.Thread
    calls: int = 0
    """Of the loop, since the thread was started."""


class Loop:
    """A function of arrays, compiled for each dtype of the first one.

    The others have the dtype that they always have, and all of them the number of dimensions; they
    are C-contiguous and aligned. The function writes into the last one. It is compiled as Python
    runs it: in that order, and without contracting products and sums.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._compiled: dict[np.dtype[Any], Compiled | None] = {}
        self._compilers: dict[np.dtype[Any], _Compiler] = {}
        self._lock = threading.Lock()

    def compiled(self, *arrays: Array) -> Compiled | None:
        """What is to be called with arrays like these; None as long as it is not compiled."""
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
        """The same, compiled now if it was not before. ImportError without numba."""
        types = [(array.dtype, array.ndim) for array in arrays]
        return self._compiled.get(arrays[0].dtype) or self._compile(types)

    def _start(self, arrays: Sequence[Array]) -> _Compiler:
        types = [(array.dtype, array.ndim) for array in arrays]
        name = f"flowray-{self._function.__name__}"
        # No daemon: a process that ends while LLVM is at work would crash.
        thread = threading.Thread(target=self._try_to_compile, args=(types,), name=name)
        thread.start()
        return _Compiler(thread)

    def _try_to_compile(self, types: Types) -> None:
        try:
            self._compile(types)
        except ImportError:
            logger.debug("numba is not there: %s stays with numpy", self._function.__name__)
        except Exception:
            logger.exception("numba cannot compile %s", self._function.__name__)
        self._compiled.setdefault(types[0][0], None)

    def _compile(self, types: Types) -> Compiled:
        import numba

        _register_parts()
        *inputs, result = (
            numba.types.Array(numba.from_dtype(dtype), ndim, "C", readonly=i < len(types) - 1)
            for i, (dtype, ndim) in enumerate(types)
        )
        signature = numba.void(*inputs, result)
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(self._function)
        except RuntimeError as no_folder:  # neither beside this file nor in the home directory
            logger.debug("%s", no_folder)
            compiled = numba.njit(signature, nogil=True)(self._function)
        self._compiled[types[0][0]] = compiled
        return compiled
