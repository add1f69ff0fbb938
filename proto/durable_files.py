"""Files that are there completely or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import os
import random


def temporary_path(path: str) -> str:
    """A name beside ``path`` that no other writer takes."""
    return f"{path}.tempstate{random.SystemRandom().getrandbits(64)}"


def replace(path: str, content: bytes) -> None:
    """Makes ``content`` all that is in the file; until it is on the disk, the old content stays.

    Raises:
        OSError: the disk is full and the like; the old file is unharmed.
    """
    temporary = write_temporary(path, content)
    try:
        os.replace(temporary, path)
    except OSError:
        remove_if_exists(temporary)
        raise
    sync_directory(path)


def write_temporary(path: str, content: bytes) -> str:
    """Writes a temporary file beside ``path``, out to the disk, and returns its name."""
    temporary = temporary_path(path)
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        remove_if_exists(temporary)
        raise
    return temporary


def sync_directory(path: str) -> None:
    """Returns once the names in the directory of ``path`` are on the disk."""
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
