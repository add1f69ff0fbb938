"""Commits new files as a checkpoint: completely or not at all, whenever the process is killed.

A checkpoint exists by its index file, so the data files get their names first and the index last,
all of them written out to the disk before. That suffices for a new prefix. If a checkpoint of that
prefix exists, no order of the two is safe: for a moment the old index would belong to the new data.
The new files then first get names with the suffix ``.pending``. Once the index has such a name, the
new checkpoint counts, and whoever opens it after a crash finishes the renaming (``settle``).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping

from flowray.proto.files.durable_files import sync, sync_directory, temporary

PENDING = ".pending"


def index_path(prefix: str) -> str:
    """Returns the path of the index file of the checkpoint ``prefix``."""
    return f"{prefix}.index"


def data_path(prefix: str, shard: int, shards: int) -> str:
    """Returns the path of data file ``shard`` of ``shards`` of the checkpoint ``prefix``."""
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def commit(prefix: str, data: Mapping[str, str], index: bytes) -> None:
    """Makes the checkpoint ``prefix``; it replaces an existing one.

    Args:
        data: from the final path of each data file to where it is now: in the same file system,
            and on the disk.
        index: the content of the index file.

    Raises:
        OSError: the disk is full, a file is missing and the like; an old checkpoint is unharmed.
    """
    final = index_path(prefix)
    with temporary(final) as file:
        file.write(index)
        sync(file)
        if not os.path.exists(final):
            for path, source in data.items():
                os.replace(source, path)
            sync_directory(final)
            os.replace(file.name, final)
        else:
            settle(prefix)
            for path, source in data.items():
                os.replace(source, path + PENDING)
            sync_directory(final)
            os.replace(file.name, final + PENDING)
            sync_directory(final)
            settle(prefix)
        sync_directory(final)


def settle(prefix: str) -> None:
    """Finishes a commit that was interrupted after its index got the suffix ``.pending``."""
    final = index_path(prefix)
    if not os.path.exists(final + PENDING):
        return
    for path in glob.glob(glob.escape(prefix) + ".data-?????-of-?????" + PENDING):
        _replace_if_exists(path, path.removesuffix(PENDING))
    sync_directory(final)
    _replace_if_exists(final + PENDING, final)


def _replace_if_exists(source: str, path: str) -> None:
    try:
        os.replace(source, path)
    except FileNotFoundError:
        return  # another process settles the same checkpoint
