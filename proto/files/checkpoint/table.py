"""Sorted tables of byte strings, in the file format of LevelDB.

A file is blocks of entries in the order of their keys, an index block that says where they are, and
a footer that says where the index is. Within a block, a key is stored as its difference from the
key before; at every 16th entry, a restart, it is stored in full. A block is followed by a byte that
tells its compression, and by a checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from flowray.proto import errors
from flowray.proto.files import crc32c
from flowray.proto.types import varint

_MAGIC: Final = 0xDB4775248B80FB57
_FOOTER_BYTES: Final = 48
_TRAILER_BYTES: Final = 5
_BLOCK_BYTES: Final = 256 * 1024
_RESTART_INTERVAL: Final = 16
_UNCOMPRESSED, _SNAPPY = 0, 1

Entry = tuple[bytes, bytes]


# Writing ------------------------------------------------------------------------------------------


def build(entries: Iterable[Entry]) -> bytes:
    """Returns the file of ``entries``, which come in ascending order of their keys.

    The bytes are those that TensorFlow's table builder makes of the same entries.
    """
    file = bytearray()
    index = _BlockBuilder(restart_interval=1)
    block = _BlockBuilder(_RESTART_INTERVAL)
    finished: bytes | None = None
    """The handle of the last block, whose index key depends on the next block's first key."""
    for key, value in entries:
        assert block.last_key < key or (not file and block.is_empty), "keys must ascend"
        if finished is not None:
            index.add(_separator(block.last_key, key), finished)
            finished = None
            block.clear()
        block.add(key, value)
        if block.size >= _BLOCK_BYTES:
            finished = _append_block(file, block)
    if finished is None and not block.is_empty:
        finished = _append_block(file, block)
    meta = _append_block(file, _BlockBuilder(_RESTART_INTERVAL))
    if finished is not None:
        index.add(_successor(block.last_key), finished)
    handles = meta + _append_block(file, index)
    file += handles.ljust(_FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", _MAGIC)
    return bytes(file)


class _BlockBuilder:
    def __init__(self, restart_interval: int) -> None:
        self._interval = restart_interval
        self.last_key = b""
        self.clear()

    def clear(self) -> None:
        """Starts the next block."""
        self._buffer = bytearray()
        self._restarts = [0]
        self._since_restart = 0

    @property
    def is_empty(self) -> bool:
        return not self._buffer

    @property
    def size(self) -> int:
        """The number of bytes that the block has now."""
        return len(self._buffer) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        if self._since_restart < self._interval:
            shared = _shared_prefix(self.last_key, key) if self._buffer else 0
        else:
            self._restarts.append(len(self._buffer))
            self._since_restart = shared = 0
        self._buffer += varint.encode(shared, len(key) - shared, len(value))
        self._buffer += key[shared:] + value
        self.last_key = key
        self._since_restart += 1

    def finish(self) -> bytes:
        count = len(self._restarts)
        return bytes(self._buffer) + struct.pack(f"<{count + 1}I", *self._restarts, count)


def _append_block(file: bytearray, block: _BlockBuilder) -> bytes:
    """Adds the block to the file and returns its handle."""
    content = block.finish()
    handle = varint.encode(len(file), len(content))
    checked = content + bytes([_UNCOMPRESSED])
    file += checked + struct.pack("<I", crc32c.masked(checked))
    return handle


def _shared_prefix(a: bytes, b: bytes) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _separator(low: bytes, high: bytes) -> bytes:
    """Returns a short key k with ``low <= k < high``."""
    at = _shared_prefix(low, high)
    if at < min(len(low), len(high)) and low[at] < 0xFF and low[at] + 1 < high[at]:
        return low[:at] + bytes([low[at] + 1])
    return low


def _successor(key: bytes) -> bytes:
    """Returns a short key that is not below ``key``."""
    for i, byte in enumerate(key):
        if byte != 0xFF:
            return key[:i] + bytes([byte + 1])
    return key


# Reading ------------------------------------------------------------------------------------------


class Table:
    """The table that a file's bytes hold. Iteration gives its entries in the order of their keys.

    Raises, when it is made and while iterating:
        DataLossError: the file is truncated or damaged.
        UnimplementedError: a block is compressed.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        if len(data) < _FOOTER_BYTES:
            raise errors.data_loss("file is too short to be an sstable")
        footer = self._data[-_FOOTER_BYTES:]
        if struct.unpack("<Q", footer[-8:]) != (_MAGIC,):
            raise errors.data_loss("not an sstable (bad magic number)")
        self._block(footer)  # the metaindex, which is empty: read for its checksum
        _, position = varint.decode(footer, 0)
        _, position = varint.decode(footer, position)
        self._index = self._block(footer, position)

    def __iter__(self) -> Iterator[Entry]:
        for _, handle in _entries(self._index):
            yield from _entries(self._block(handle))

    def _block(self, handle: bytes | memoryview, position: int = 0) -> memoryview:
        """Returns the content of the block whose handle is at ``position``."""
        start, position = varint.decode(handle, position)
        size, _ = varint.decode(handle, position)
        end = start + size
        if end + _TRAILER_BYTES > len(self._data):
            raise errors.data_loss("truncated block read")
        (stored,) = struct.unpack("<I", self._data[end + 1 : end + _TRAILER_BYTES])
        if crc32c.masked(self._data[start : end + 1]) != stored:
            raise errors.data_loss("block checksum mismatch")
        compression = self._data[end]
        if compression == _SNAPPY:
            raise errors.unimplemented("flowray does not read tables compressed with Snappy")
        if compression != _UNCOMPRESSED:
            raise errors.data_loss("bad block type")
        return self._data[start:end]


def _entries(block: memoryview) -> Iterator[Entry]:
    if len(block) < 4:
        raise errors.data_loss("bad block contents")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = varint.decode(block, position)
        unshared, position = varint.decode(block, position)
        size, position = varint.decode(block, position)
        if shared > len(key) or position + unshared + size > end:
            raise errors.data_loss("bad entry in block")
        key = key[:shared] + bytes(block[position : position + unshared])
        position += unshared
        yield key, bytes(block[position : position + size])
        position += size
