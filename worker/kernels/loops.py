"""Loops over single elements, for what numpy has no quick way to do: numba compiles them.

That takes a second (a third of one where the result of an earlier process is found), so it is done
in the background, and the kernel computes the same with numpy until then: to the last bit, so that
nobody can tell which it was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]
Key = tuple[np.dtype[Any], ...]
Compiled = Callable[..., None]

logger = logging.getLogger("flowray.worker")

TYPES: Final = frozenset(
    np.dtype(t) for t in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
)
"""The dtypes that numba has."""


class Loop:
    """A function of arrays, compiled for each combination of their dtypes.

    The arrays are C-contiguous, each of the number of dimensions that it always has; the function
    writes into the last one. It is compiled as Python runs it, in that order and without
    contracting products and sums.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._compiled: dict[Key, Compiled | None] = {}
        self._lock = threading.Lock()

    def compiled(self, *arrays: Array) -> Compiled | None:
        """What is to be called with arrays like these; None as long as it is not compiled."""
        key = tuple([array.dtype for array in arrays])
        try:
            return self._compiled[key]
        except KeyError:
            pass
        with self._lock:
            if key in self._compiled:
                return self._compiled[key]
            self._compiled[key] = None
        dimensions = [array.ndim for array in arrays]
        name = f"flowray-{self._function.__name__}"
        # No daemon: a process that ends while LLVM is at work would crash.
        threading.Thread(target=self._try_to_compile, args=(key, dimensions), name=name).start()
        return None

    def compile(self, *arrays: Array) -> Compiled:
        """The same, compiled now if it was not before. ImportError without numba."""
        key = tuple([array.dtype for array in arrays])
        return self._compiled.get(key) or self._compile(key, [array.ndim for array in arrays])

    def _try_to_compile(self, key: Key, dimensions: list[int]) -> None:
        try:
            self._compile(key, dimensions)
        except ImportError:
            logger.debug("numba is not there: %s stays with numpy", self._function.__name__)
        except Exception:
            logger.exception("numba cannot compile %s", self._function.__name__)

    def _compile(self, key: Key, dimensions: list[int]) -> Compiled:
        import numba

        *inputs, result = (
            numba.types.Array(numba.from_dtype(dtype), ndim, "C", readonly=i < len(key) - 1)
            for i, (dtype, ndim) in enumerate(zip(key, dimensions, strict=True))
        )
        signature = numba.void(*inputs, result)
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(self._function)
        except RuntimeError as no_folder:  # neither beside this file nor in the home directory
            logger.debug("%s", no_folder)
            compiled = numba.njit(signature, nogil=True)(self._function)
        self._compiled[key] = compiled
        return compiled
