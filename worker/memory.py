"""How this process keeps memory that it has freed."""

from __future__ import annotations

import ctypes
import functools
import logging
import sys
from typing import Final

logger = logging.getLogger("flowray.worker")

# Parameters of mallopt in malloc.h, and the largest threshold that glibc takes.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
_MMAP_MAX: Final = -4
_ARENA_MAX: Final = -8
_LARGEST_MMAP_THRESHOLD: Final = 32 << 20

ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "1"}
"""What a process has to be started with if it has other threads before ``keep_freed_memory``."""

_KEPT: Final = 512 << 20
_ALL: Final = 2**31 - 1


@functools.cache
def keep_freed_memory() -> None:
    """Lets malloc keep what arrays of up to 32 MB leave behind (512 MB at most), once per process.

    By itself glibc gives large blocks back to the system at once, so that every new array is made
    of fresh pages: getting those costs several times what is then computed in them. So it does
    with whatever does not fit into the 64 MB of a thread's own heap; all threads share the main
    one, then, but for those whose heap is there already.
    """
    _mallopt(
        (_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_TRIM_THRESHOLD, _KEPT),
        (_TOP_PAD, 16 << 20),
        (_ARENA_MAX, 1),
    )


@functools.cache
def keep_all_freed_memory() -> None:
    """The same without limits, for a process that runs XLA programs.

    These allocate their temporary buffers in every run, however large; fresh pages for them were a
    quarter of a small network's training step, a third of the one in examples/dogs_vs_cats.py.
    """
    _mallopt((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _ALL))


def _mallopt(*settings: tuple[int, int]) -> None:
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, which has its own ways
        logger.debug("this C library has no mallopt")
        return
    for parameter, value in settings:
        if not mallopt(parameter, value):
            logger.debug("mallopt does not take %d for %d", value, parameter)
