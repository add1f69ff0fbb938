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
from collections.abc import Mapping

from flowray.proto.files.durable_files import sync, sync_directory, temporary

PENDING = ".pending"


def index_path(prefix: str) -> str:
    return f"{prefix}.index"


def data_path(prefix: str, shard: int, shards: int) -> str:
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def commit(prefix: str, data: Mapping[str, str], index: bytes) -> None:
    """Makes the checkpoint ``prefix``, in place of the one that there may be.

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
    """Finishes a commit that was interrupted after the new checkpoint came to count."""
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
