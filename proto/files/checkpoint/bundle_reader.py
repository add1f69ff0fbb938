"""Reading checkpoints."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.files import crc32c
from flowray.proto.files.checkpoint import commit, values
from flowray.proto.files.checkpoint.slices import Bounds, TensorSlice, covers, overlap
from flowray.proto.files.checkpoint.table import Table
from flowray.proto.files.file_errors import translated
from flowray.proto.messages.checkpoint_pb2 import BundleEntryProto, BundleHeaderProto
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape

Array = np.ndarray[Any, Any]

HEADER_KEY: Final = b""
VERSION: Final = 1
_SLICE_KEYS: Final = b"\0"
"""The first byte of the keys of slices."""


class BundleReader:
    """The checkpoint ``prefix``; a context manager that closes its files.

    Methods raise OpErrors with TensorFlow's codes and texts: NOT_FOUND for a missing file or key,
    DATA_LOSS for a wrong checksum or a damaged index, OUT_OF_RANGE for a data file that is too
    short.

    Raises:
        NotFoundError: there is no such checkpoint.
        DataLossError: its index is damaged.
        UnimplementedError: it is in TensorFlow's V1 format or big-endian.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._files: dict[int, IO[bytes]] = {}
        path = commit.index_path(prefix)
        with translated(path):
            commit.settle(prefix)
            if not os.path.exists(path):
                raise _no_checkpoint(prefix)
            with open(path, "rb") as file:
                rows = iter(Table(file.read()))
        header = self._read_header(rows)
        self.shards = header.num_shards
        self._rows = dict(rows)

    def _read_header(self, rows: Iterator[tuple[bytes, bytes]]) -> BundleHeaderProto:
        try:
            key, content = next(rows, (None, b""))
            if key != HEADER_KEY:
                raise errors.data_loss("it has none")
            header = BundleHeaderProto.FromString(content)
        except (errors.DataLossError, DecodeError) as error:
            text = error.message if isinstance(error, errors.OpError) else str(error)
            raise errors.data_loss(
                f"Unable to read file ({commit.index_path(self.prefix)}). Perhaps the file is "
                "corrupt or was produced by a newer version of TensorFlow with format changes "
                f"(failed to seek to header entry): {text}"
            ) from None
        if header.endianness != BundleHeaderProto.LITTLE:
            raise errors.unimplemented(f"Checkpoint {self.prefix} is big-endian")
        if header.version.min_consumer > VERSION:
            raise errors.invalid_argument(
                f"Checkpoint min consumer version {header.version.min_consumer} above current "
                f"version {VERSION}"
            )
        return header

    def __enter__(self) -> BundleReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    # What is in it ----------------------------------------------------------------------------

    def entries(self) -> Iterator[tuple[bytes, BundleEntryProto]]:
        """All entries by their keys, those of slices included."""
        for key, content in self._rows.items():
            yield key, self._parse(key, content)

    def names(self) -> list[bytes]:
        """The names of the tensors, sorted."""
        return [key for key in self._rows if not key.startswith(_SLICE_KEYS)]

    def __contains__(self, name: bytes) -> bool:
        return name in self._rows and name != HEADER_KEY

    def entry(self, name: bytes) -> BundleEntryProto:
        """Returns the entry of a tensor; NotFoundError if there is no such tensor."""
        content = self._rows.get(name)
        if content is None:
            raise errors.not_found(f"Key {name.decode(errors='replace')} not found in checkpoint")
        return self._parse(name, content)

    def shape(self, name: bytes) -> tuple[int, ...]:
        """Returns the shape of a tensor; NotFoundError if there is no such tensor."""
        return _shape(self.entry(name))

    def dtype(self, name: bytes) -> DType:
        """Returns the dtype of a tensor; NotFoundError if there is no such tensor."""
        return _dtype(self.entry(name))

    def _parse(self, name: bytes, content: bytes) -> BundleEntryProto:
        try:
            return BundleEntryProto.FromString(content)
        except DecodeError:
            raise errors.data_loss(
                f"Entry for key {name.decode(errors='replace')} not parseable"
            ) from None

    # Values -----------------------------------------------------------------------------------

    def read(self, name: bytes) -> Array:
        """Returns a tensor. A partitioned one is assembled from its slices."""
        entry = self.entry(name)
        if not entry.slices:
            return self._value(entry)
        return self._compose(name, entry, TensorSlice.whole(len(entry.shape.dim)))

    def read_slice(self, name: bytes, full_shape: tuple[int, ...], piece: TensorSlice) -> Array:
        """Returns a slice of a tensor, whatever slices of it the checkpoint has.

        Raises:
            InvalidArgumentError: the tensor's shape is not ``full_shape``, or not all of the slice
                was saved.
        """
        entry = self.entry(name)
        if _shape(entry) != full_shape:
            raise errors.invalid_argument(
                f"tensor_name = {name.decode(errors='replace')}; shape in shape_and_slice spec "
                f"{format_shape(full_shape)} does not match the shape stored in checkpoint: "
                f"{format_shape(_shape(entry))}"
            )
        if not entry.slices:
            return self._value(entry)[_index(piece.bounds(full_shape))]
        return self._compose(name, entry, piece)

    def _compose(self, name: bytes, entry: BundleEntryProto, piece: TensorSlice) -> Array:
        full = _shape(entry)
        wanted = piece.bounds(full)
        result = np.empty([n for _, n in wanted], _dtype(entry).np_dtype)
        found = []
        for stored in map(TensorSlice.from_proto, entry.slices):
            bounds = stored.bounds(full)
            common = overlap(wanted, bounds)
            if common is None:
                continue
            value = self._value(self.entry(stored.key(name)))
            if bounds == wanted:
                return value
            result[_index(_relative(common, wanted))] = value[_index(_relative(common, bounds))]
            found.append(common)
        if not covers(found, wanted):
            raise errors.invalid_argument(
                f"Does not have sufficient slices for partitioned tensor "
                f"{name.decode(errors='replace')} to restore in slice_spec: {piece}"
            )
        return result

    def _value(self, entry: BundleEntryProto) -> Array:
        dtype, shape = _dtype(entry), _shape(entry)
        where = f"TensorBundle at {self.prefix} shard {entry.shard_id} ({entry.size} bytes)"
        stored_crc = crc32c.unmask(entry.crc32c)
        count = math.prod(shape)
        if dtype is dtypes.string:
            stored = np.empty(entry.size, np.uint8)
            self._fill(stored, entry)
            return values.decode_strings(stored.tobytes(), count, stored_crc, where).reshape(shape)
        if dtype.np_dtype is None:
            raise errors.unimplemented(f"flowray does not restore tensors of dtype {dtype.name}")
        expected = count * dtype.np_dtype.itemsize
        if entry.size != expected:
            raise errors.data_loss(
                f"Invalid size in bundle entry: stored size {entry.size}; expected size {expected}"
            )
        flat = np.empty(count, dtype.np_dtype)
        content = flat.view(np.uint8)
        self._fill(content, entry)
        values.check_crc(crc32c.value(content), stored_crc, where)
        return flat.reshape(shape)

    def _fill(self, content: Array, entry: BundleEntryProto) -> None:
        """Reads the bytes of ``entry`` into ``content``."""
        path = commit.data_path(self.prefix, entry.shard_id, self.shards)
        with translated(path):
            file = self._files.get(entry.shard_id)
            if file is None:
                file = self._files[entry.shard_id] = open(path, "rb")  # noqa: SIM115
            file.seek(entry.offset)
            done, view = 0, content.data
            while done < len(view):
                count = file.readinto(view[done:])  # type: ignore[attr-defined]
                if not count:
                    raise errors.out_of_range("Read less bytes than requested")
                done += count


def _no_checkpoint(prefix: str) -> errors.OpError:
    if os.path.isfile(prefix):
        return errors.unimplemented(f"flowray does not read checkpoints in the V1 format: {prefix}")
    return errors.not_found(
        "Unsuccessful TensorSliceReader constructor: Failed to find any matching files for "
        f"{prefix}"
    )


def _shape(entry: BundleEntryProto) -> tuple[int, ...]:
    return tuple(dim.size for dim in entry.shape.dim)


def _dtype(entry: BundleEntryProto) -> DType:
    return dtypes.as_dtype(int(entry.dtype))


def _index(bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(start, start + length) for start, length in bounds)


def _relative(inner: Bounds, outer: Bounds) -> Bounds:
    """Returns ``inner`` relative to the start of ``outer``."""
    return tuple((start - origin, n) for (start, n), (origin, _) in zip(inner, outer, strict=True))
