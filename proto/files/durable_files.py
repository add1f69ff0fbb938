"""Files that are there completely or not at all, whenever the process or the machine stops.

A file is written under a temporary name and gets its own one when all of it is on the disk. Who
writes it holds a lock on it. A temporary file without a lock was left by a process that was killed;
the next one that writes into the directory removes it.
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
    """Makes ``content`` all that is in the file; until it is on the disk, the old content stays.

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
    """A new file beside ``path``, which the block renames; if it does not, the file is removed."""
    file = create_temporary(path)
    try:
        yield file
    finally:
        discard(file)


def create_temporary(path: str) -> IO[bytes]:
    """Opens a new file beside ``path`` that is locked as long as it is open.

    The files in its directory that killed processes left are removed.
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
        with suppress(OSError), open(path, "rb") as file:  # gone meanwhile, or not ours to touch
            if _lock(file, wait=False):
                os.remove(path)


def _lock(file: IO[bytes], *, wait: bool) -> bool:
    """Whether the file is locked now; some file systems have no locks."""
    if _fcntl is None:
        return False
    try:
        _fcntl.flock(file, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def sync(file: IO[bytes]) -> None:
    """Returns once what was written to the file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: str) -> None:
    """Returns once the names in the directory of ``path`` are on the disk."""
    if os.name == "nt":
        return  # directories cannot be opened there
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_if_exists(path: str) -> None:
    try:
        os.remove(path)
    except FileNotFoundError:
        return
