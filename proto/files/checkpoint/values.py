"""The values of a checkpoint's data files: the bytes as which a tensor is stored.

Numbers are stored as memory has them, little-endian. The strings of a tensor follow one another,
after their lengths (varints) and a checksum of these, which is taken over the lengths as 32-bit
integers (64-bit ones where a string is longer).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.files import crc32c
from flowray.proto.types import dtypes, varint
from flowray.proto.types.dtypes import DType

Array = np.ndarray[Any, Any]


def storable(array: Array, name: str) -> DType:
    """Returns the dtype of ``array``. UnimplementedError if checkpoints cannot hold it."""
    dtype = dtypes.as_dtype(array.dtype)
    if dtype is dtypes.string and not all(type(s) is bytes for s in array.ravel()):
        raise errors.unimplemented(
            f"Tensor {name} holds resources or variants, which flowray does not save"
        )
    return dtype


def as_bytes(array: Array) -> Array:
    """Returns the bytes of an array of numbers, flat; they share its memory where possible."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def encode_strings(array: Array) -> tuple[bytes, int]:
    """Returns the stored form of strings and the checksum for their entry."""
    strings = array.ravel().tolist()
    sizes = [len(s) for s in strings]
    checked = b"".join(map(_checked_size, sizes))
    checksum = struct.pack("<I", crc32c.masked(checked))
    content = b"".join(strings)
    crc = crc32c.extend(crc32c.value(checked), checksum + content)
    return varint.encode_all(sizes) + checksum + content, crc


def decode_strings(stored: bytes, count: int, crc: int, where: str) -> Array:
    """Returns the flat array of ``count`` strings.

    Raises:
        DataLossError: the checksums, ``crc`` among them, do not match.
    """
    sizes, position = varint.decode_all(stored, 0, count)
    checked = b"".join(map(_checked_size, sizes))
    expected = crc32c.value(checked)
    checksum = stored[position : position + 4]
    if checksum != struct.pack("<I", crc32c.mask(expected)):
        actual = crc32c.unmask(int.from_bytes(checksum, "little"))
        raise errors.data_loss(
            f"The length checksum does not match: expected {expected} but actual is {actual}"
        )
    check_crc(crc32c.extend(expected, stored[position:]), crc, where)
    position += 4
    if position + sum(sizes) != len(stored):
        raise errors.data_loss(f"{where}: the strings do not fill their {len(stored)} bytes")
    result = np.empty(count, np.object_)
    for i, size in enumerate(sizes):
        result[i] = stored[position : position + size]
        position += size
    return result


def check_crc(actual: int, stored: int, where: str) -> None:
    """Raises DataLossError if the checksums of a value differ; ``where`` names the value."""
    if actual != stored:
        raise errors.data_loss(
            f"{where}: Checksum does not match: stored {stored} vs. calculated on the restored "
            f"bytes {actual}"
        )


def _checked_size(size: int) -> bytes:
    return struct.pack("<I" if size <= 0xFFFFFFFF else "<Q", size)
