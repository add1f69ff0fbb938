"""How new files become a checkpoint: completely or not at all, whenever the process is killed.

A checkpoint exists by its index file, so the data files get their names first and the index last,
all of them written out to the disk before. That suffices for a new prefix. Where a checkpoint of
that prefix exists, no order is right: for a moment its index would belong to the new data. There
the new files first get names with the suffix ``.pending``. Once the index has its one, the new
checkpoint counts; whoever opens it after a crash (``settle``) finishes the renaming.
"""

from __future__ import annotations

import glob
import os
import random
from collections.abc import Mapping

PENDING = ".pending"


def index_path(prefix: str) -> str:
    return f"{prefix}.index"


def data_path(prefix: str, shard: int, shards: int) -> str:
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def temporary_path(path: str) -> str:
    """A name beside ``path`` that no other writer takes."""
    return f"{path}.tempstate{random.SystemRandom().getrandbits(64)}"


def commit(prefix: str, data: Mapping[str, str], index: bytes) -> None:
    """Makes the checkpoint ``prefix``, in place of the one that there may be.

    Args:
        data: from the final path of each data file to where it is now, in the same file system and
            on the disk (``sync``).
        index: the content of the index file.

    Raises:
        OSError: the disk is full, a file is missing and the like; an old checkpoint is unharmed.
    """
    final = index_path(prefix)
    index_file = _write(final, index)
    try:
        if not os.path.exists(final):
            for path, source in data.items():
                os.replace(source, path)
            sync_directory(final)
            os.replace(index_file, final)
        else:
            settle(prefix)
            for path, source in data.items():
                os.replace(source, path + PENDING)
            sync_directory(final)
            os.replace(index_file, final + PENDING)
            sync_directory(final)
            settle(prefix)
        sync_directory(final)
    except OSError:
        remove_if_exists(index_file)
        raise


def settle(prefix: str) -> None:
    """Finishes a commit that was interrupted after the new checkpoint came to count."""
    final = index_path(prefix)
    if not os.path.exists(final + PENDING):
        return
    for path in glob.glob(glob.escape(prefix) + ".data-?????-of-?????" + PENDING):
        _replace_if_exists(path, path.removesuffix(PENDING))
    sync_directory(final)
    _replace_if_exists(final + PENDING, final)


def sync(descriptor: int) -> None:
    """Returns once what was written to the file is on the disk."""
    os.fsync(descriptor)


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


def _write(path: str, content: bytes) -> str:
    """Writes a temporary file beside ``path``, out to the disk, and returns its name."""
    temporary = temporary_path(path)
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            sync(file.fileno())
    except OSError:
        remove_if_exists(temporary)
        raise
    return temporary


def _replace_if_exists(source: str, path: str) -> None:
    try:
        os.replace(source, path)
    except FileNotFoundError:
        return  # another process settles the same checkpoint
