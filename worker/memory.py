"""Settings of malloc that let a process keep memory that it has freed."""

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
"""The environment of a process that starts threads before it calls ``keep_freed_memory``."""

_KEPT: Final = 512 << 20
_ALL: Final = 2**31 - 1


@functools.cache
def keep_freed_memory() -> None:
    """Lets malloc keep freed blocks of up to 32 MB (512 MB at most), once per process.

    By default glibc returns large blocks to the system at once, so that every new array consists of
    fresh pages: getting those costs several times as much as the computation in them. It also
    returns blocks that do not fit into the 64 MB of a thread's own heap, so this makes all threads
    share the main heap, except those that have a heap already.
    """
    _mallopt(
        (_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_TRIM_THRESHOLD, _KEPT),
        (_TOP_PAD, 16 << 20),
        (_ARENA_MAX, 1),
    )


@functools.cache
def keep_all_freed_memory() -> None:
    """Lets malloc keep all freed memory, for a process that runs XLA programs.

    XLA allocates a program's temporary buffers in every run. Getting fresh pages for them took
    a quarter of a small network's training step, and a third of that of examples/dogs_vs_cats.py.
    """
    _mallopt((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _ALL))


def _mallopt(*settings: tuple[int, int]) -> None:
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without it
        logger.debug("this C library has no mallopt, so freed memory is not kept")
        return
    for parameter, value in settings:
        if not mallopt(parameter, value):
            logger.debug("mallopt refuses the value %d for parameter %d", value, parameter)
