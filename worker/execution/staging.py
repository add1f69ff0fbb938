"""Copies of arrays at addresses from which XLA reads in place.

XLA's programs on CPUs read an argument where numpy has it if its address is a multiple of 64 bytes.
numpy promises 16, so most feeds miss that, and then XLA copies them into memory that it allocates
for the run: a feed of 314 KB adds 90 us to a step of 190 us. A copy into a buffer that is kept
between the runs adds 15 us.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_ALIGNMENT: Final = 64
_LEAST_BYTES: Final = 1 << 14
"""XLA copies smaller arrays as quickly as Python would."""
_KEPT: Final = 2
"""The number of free buffers that are kept of one size; more runs at a time get new ones."""


class StagingBuffers:
    """The buffers of one segment. Any number of threads may use them at the same time."""

    __slots__ = ("_free",)

    def __init__(self) -> None:
        self._free: dict[int, list[Array]] = {}

    def stage(self, arguments: list[Any]) -> list[Array]:
        """Replaces the arrays at other addresses among ``arguments`` by copies in buffers.

        Returns:
            The buffers, for ``release`` when no program reads them any more.
        """
        taken: list[Array] = []
        for i, value in enumerate(arguments):
            if (
                type(value) is np.ndarray
                and value.nbytes >= _LEAST_BYTES
                and value.__array_interface__["data"][0] % _ALIGNMENT
            ):
                buffer = self._take(value.nbytes)
                copy = buffer.view(value.dtype).reshape(value.shape)
                np.copyto(copy, value)
                arguments[i] = copy
                taken.append(buffer)
        return taken

    def _take(self, size: int) -> Array:
        free = self._free.get(size)
        if free:
            try:
                return free.pop()
            except IndexError:  # another thread was faster
                pass
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.__array_interface__["data"][0] % _ALIGNMENT
        return memory[start : start + size]

    def release(self, buffers: list[Array]) -> None:
        """Takes back what ``stage`` returned."""
        for buffer in buffers:
            free = self._free.setdefault(buffer.nbytes, [])
            if len(free) < _KEPT:
                free.append(buffer)
