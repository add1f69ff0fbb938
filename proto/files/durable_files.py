"""Files that exist completely or not at all, whenever the process or the machine stops.

A file is written under a temporary name and gets its own name when all of it is on the disk. The
process that writes it holds a lock on it. A temporary file without a lock was left by a process
that was killed; the next process that writes into the directory removes it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

try:
    import fcntl as _fcntl
except ImportError:  # Windows has no such locks; what was left stays there
    _fcntl: Any = None  # type: ignore[no-redef]

_SUFFIX = ".unfinished-"


def replace(path: str, content: bytes) -> None:
    """Replaces the content of the file; the old content stays until the new one is on the disk.

    Raises:
        OSError: the disk is full and the like; the old file is unharmed.
    """
    with temporary(path) as file:
        file.write(content)
        sync(file)
        os.replace(file.name, path)
        sync_directory(path)


@contextmanager
def temporary(path: str) -> Iterator[IO[bytes]]:
    """Opens a new file beside ``path`` for the block to rename; else removes it."""
    file = create_temporary(path)
    try:
        yield file
    finally:
        discard(file)


def create_temporary(path: str) -> IO[bytes]:
    """Opens a new file beside ``path`` that is locked as long as it is open.

    Removes the files that killed processes left in the directory.
    """
    remove_abandoned(os.path.dirname(path))
    while True:
        file = open(f"{path}{_SUFFIX}{random.SystemRandom().getrandbits(64)}", "xb")  # noqa: SIM115
        _lock(file, wait=True)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # before it was locked, another process took it for abandoned


def discard(file: IO[bytes]) -> None:
    """Closes a temporary file, and removes it unless it was renamed."""
    remove_if_exists(file.name)
    # A full disk does not take what is buffered, but that belongs to the removed file.
    with suppress(OSError):
        file.close()


def remove_abandoned(directory: str) -> None:
    """Removes the temporary files that nobody writes any more."""
    if _fcntl is None:
        return
    paths = []
    with suppress(OSError), os.scandir(directory or ".") as entries:  # what is wrong with it shows
        paths = [entry.path for entry in entries if _SUFFIX in entry.name]
    for path in paths:
        with suppress(OSError), open(path, "rb") as file:  # gone meanwhile, or we may not touch it
            if _lock(file, wait=False):
                os.remove(path)


def _lock(file: IO[bytes], *, wait: bool) -> bool:
    """Locks the file; returns whether it is locked now. Some file systems have no locks."""
    if _fcntl is None:
        return False
    try:
        _fcntl.flock(file, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def sync(file: IO[bytes]) -> None:
    """Waits until all that was written to the file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: str) -> None:
    """Waits until the names in the directory of ``path`` are on the disk."""
    if os.name == "nt":
        return  # directories cannot be opened there
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_if_exists(path: str) -> None:
    """Removes a file; it is not an error if there is no such file."""
    try:
        os.remove(path)
    except FileNotFoundError:
        return
