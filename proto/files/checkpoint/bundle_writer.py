"""Writing checkpoints, and merging several into one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.proto.files import crc32c
from flowray.proto.files.checkpoint import commit, table, values
from flowray.proto.files.checkpoint.bundle_reader import HEADER_KEY, VERSION, BundleReader
from flowray.proto.files.checkpoint.slices import TensorSlice
from flowray.proto.files.durable_files import create_temporary, discard, remove_if_exists, sync
from flowray.proto.files.file_errors import translated
from flowray.proto.messages.checkpoint_pb2 import BundleEntryProto, BundleHeaderProto
from flowray.proto.types import shapes
from flowray.proto.types.shapes import format_shape

Array = np.ndarray[Any, Any]

_CHUNK: Final = 8 << 20
"""The bytes of one write. Their checksum is taken while they are in the processor's cache."""


class BundleWriter:
    """Writes a checkpoint of one data file; a context manager that ends with ``finish``.

        with BundleWriter("dir/model.ckpt-7") as writer:
            writer.add(b"w", array)

    Nothing is at ``prefix`` before ``finish``; if the block fails, what was written is removed and
    an older checkpoint of this prefix stays as it was. The directory is made if its parent exists.

    Raises:
        OpError: of the file system, with TensorFlow's code: NOT_FOUND without the parent directory,
            RESOURCE_EXHAUSTED for a full disk.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._entries: dict[bytes, BundleEntryProto] = {}
        self._offset = 0
        self._final = commit.data_path(prefix, 0, 1)
        make_directory_of(prefix)
        with translated(self._final):
            self._file = create_temporary(self._final)

    def add(self, name: bytes, array: Array) -> None:
        """Adds a tensor; strings are object arrays of bytes.

        Raises:
            InvalidArgumentError: there is a tensor of this name, or the name is empty.
            UnimplementedError: the dtype cannot be stored.
        """
        if name == HEADER_KEY:
            raise errors.invalid_argument("A tensor of a checkpoint needs a name")
        if name in self._entries:
            raise errors.invalid_argument(f"Adding duplicate key: {name.decode(errors='replace')}")
        dtype = values.storable(array, name.decode(errors="replace"))
        entry = BundleEntryProto(
            dtype=dtype.as_datatype_enum,
            shape=shapes.to_proto(array.shape),
            offset=self._offset,
        )
        with translated(self._file.name):
            if array.dtype == object:
                content, crc = values.encode_strings(array)
                self._file.write(content)
                self._offset += len(content)
            else:
                crc = self._write_numbers(values.as_bytes(array))
        entry.size = self._offset - entry.offset
        entry.crc32c = crc32c.mask(crc)
        self._entries[name] = entry

    def add_slice(
        self, name: bytes, full_shape: tuple[int, ...], piece: TensorSlice, array: Array
    ) -> None:
        """Adds ``array`` as a slice of the tensor ``name``, which has the shape ``full_shape``.

        Raises:
            InvalidArgumentError: the slice is there already, or other slices of the tensor have
                another dtype or whole shape.
            InternalError: the slice does not lie within the shape.
        """
        if piece.shape(full_shape) == full_shape:
            self.add(name, array)
            return
        whole = BundleEntryProto(
            dtype=values.storable(array, name.decode(errors="replace")).as_datatype_enum,
            shape=shapes.to_proto(full_shape),
        )
        known = self._entries.get(name)
        if known is not None:
            check_same_tensor(name, known, whole)
        self.add(piece.key(name), array)
        self._entries.setdefault(name, whole).slices.append(piece.to_proto())

    def finish(self) -> None:
        """Commits the checkpoint with all that was added."""
        index = index_of(self._entries)
        try:
            with translated(self._file.name):
                sync(self._file)
                commit.commit(self._prefix, {self._final: self._file.name}, index)
        finally:
            self.discard()

    def discard(self) -> None:
        """Removes what was written, unless it is finished. May be called at any time."""
        discard(self._file)

    def _write_numbers(self, content: Array) -> int:
        crc = 0
        for start in range(0, content.size, _CHUNK):
            chunk = content[start : start + _CHUNK]
            crc = crc32c.extend(crc, chunk)
            self._file.write(chunk.data)
        self._offset += content.size
        return crc

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.discard()


def index_of(entries: Mapping[bytes, BundleEntryProto], shards: int = 1) -> bytes:
    """Returns the content of the index file."""
    header = BundleHeaderProto(num_shards=shards)
    header.version.producer = VERSION
    rows = [(HEADER_KEY, header.SerializeToString())]
    rows += [(key, entries[key].SerializeToString()) for key in sorted(entries)]
    return table.build(rows)


def merge(
    prefixes: Sequence[str],
    destination: str,
    *,
    delete_old_dirs: bool = True,
    allow_missing_files: bool = False,
) -> None:
    """Merges the checkpoints ``prefixes`` into ``destination``; their data files move there.

    Their tensors are disjoint, but for slices of the same tensor. ``delete_old_dirs`` removes the
    directories that the checkpoints leave empty.

    Raises:
        InvalidArgumentError: two have the same tensor, a checkpoint is missing and
            ``allow_missing_files`` is not given, or all of them are.
        OpError: of the file system.
    """
    if allow_missing_files:
        prefixes = [p for p in prefixes if os.path.exists(commit.index_path(p))]
        if not prefixes:
            raise errors.invalid_argument(
                "At least one prefix checkpoint file must exist, but none existed."
            )
    readers = [_reader_to_merge(prefix) for prefix in prefixes]
    shards = sum(reader.shards for reader in readers)
    entries: dict[bytes, BundleEntryProto] = {}
    files: dict[str, str] = {}
    for reader in readers:
        first = len(files)
        for shard in range(reader.shards):
            source = commit.data_path(reader.prefix, shard, reader.shards)
            files[commit.data_path(destination, first + shard, shards)] = source
        _merge_entries(entries, reader, first)
    make_directory_of(destination)
    with translated(commit.index_path(destination)):
        commit.commit(destination, files, index_of(entries, shards))
        for prefix in prefixes:
            remove_if_exists(commit.index_path(prefix))
    if delete_old_dirs:
        kept = os.path.dirname(destination)
        for directory in {os.path.dirname(prefix) for prefix in prefixes} - {kept}:
            _remove_directory_if_empty(directory)


def _reader_to_merge(prefix: str) -> BundleReader:
    if not os.path.exists(commit.index_path(prefix)):
        raise errors.invalid_argument(
            f"allow_missing_files was set to false and {prefix} did not exist."
        )
    return BundleReader(prefix)


def _merge_entries(
    entries: dict[bytes, BundleEntryProto], reader: BundleReader, first_shard: int
) -> None:
    for key, new in reader.entries():
        known = entries.get(key)
        if not new.slices:
            new.shard_id += first_shard
        if known is None:
            entries[key] = new
            continue
        if not (known.slices and new.slices):
            raise errors.invalid_argument(
                f"Duplicate tensor keyed by {key.decode(errors='replace')} encountered, when "
                f"merging prefix: {reader.prefix}"
            )
        check_same_tensor(key, known, new)
        known.slices.extend(new.slices)


def check_same_tensor(name: bytes, known: BundleEntryProto, new: BundleEntryProto) -> None:
    """Raises InvalidArgumentError unless the slices of two entries can belong to one tensor."""
    if known.dtype == new.dtype and known.shape == new.shape and known.slices:
        return
    described = [
        f"{format_shape(shapes.from_proto(e.shape))} of type {e.dtype}" for e in (known, new)
    ]
    raise errors.invalid_argument(
        f"Slices of tensor {name.decode(errors='replace')} disagree: {described[0]}, {described[1]}"
    )


def make_directory_of(prefix: str) -> None:
    """Makes the directory of ``prefix``, if the parent of that exists."""
    directory = os.path.dirname(prefix)
    if directory and not os.path.exists(directory):
        with translated(directory), suppress(FileExistsError):
            os.mkdir(directory)


def _remove_directory_if_empty(directory: str) -> None:
    # Another task's shard may be in it, or another task may have removed it.
    with suppress(OSError):
        os.rmdir(directory)
