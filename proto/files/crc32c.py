"""CRC-32C (Castagnoli), the checksum of checkpoints, records and event files.

With the package google-crc32c (extra ``server``) the processor's own instruction computes it;
without, numpy does. A light client needs no more: it only reads checkpoints.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np

Buffer = bytes | bytearray | memoryview | np.ndarray[Any, Any]

_MASK_DELTA: Final = 0xA282EAD8
_POLYNOMIAL: Final = 0x82F63B78  # bits reversed


def value(data: Buffer) -> int:
    """The checksum of ``data`` (a contiguous buffer)."""
    return extend(0, data)


def extend(crc: int, data: Buffer) -> int:
    """The checksum of the bytes that ``crc`` is of, followed by ``data``."""
    flat = np.frombuffer(data, np.uint8)
    native = _native()
    if native is None:
        return _extend_numpy(crc, flat)
    # The package takes no writable buffer; the view is one that is not, and costs no copy.
    flat.flags.writeable = False
    return int(native.extend(crc, flat))


def mask(crc: int) -> int:
    """The form in which files hold a checksum: data that holds plain ones makes bad checksums."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """The checksum that ``mask`` made into ``masked``."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def masked(data: Buffer) -> int:
    """``mask(value(data))``."""
    return mask(value(data))


@functools.cache
def _native() -> Any:
    try:
        import google_crc32c  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return google_crc32c if google_crc32c.implementation == "c" else None


# With numpy ---------------------------------------------------------------------------------------
#
# Without its initial value and final inversion, the checksum is linear: that of two pieces is the
# first one's, advanced over as many zero bytes as the second one has, XOR the second one's. So the
# data is cut into rows of equal length, all of them are worked on at once, and then neighbours are
# combined until one value is left. Zeros in front change nothing, so rows can be filled up there.

_ROW: Final = 64  # bytes
_MAX_ROWS: Final = 1 << 16


def _extend_numpy(crc: int, data: np.ndarray[Any, Any]) -> int:
    step = _ROW * _MAX_ROWS
    for start in range(0, len(data), step):
        crc = _extend_rows(crc, data[start : start + step])
    return crc


def _extend_rows(crc: int, data: np.ndarray[Any, Any]) -> int:
    size = data.size
    levels = max(0, -(-size // _ROW) - 1).bit_length()
    padded = np.zeros(_ROW << levels, np.uint8)
    padded[padded.size - size :] = data
    words = padded.reshape(-1, _ROW).view("<u4").T.astype(np.uint32)
    rows = np.zeros(1 << levels, np.uint32)
    for word in words:
        rows = _advance(rows ^ word, 2)
    for level in range(levels):
        rows = _advance(rows[0::2], _ROW_POWER + level) ^ rows[1::2]
    # The initial value, all ones, and the final inversion make one with the former crc's.
    register = np.full(1, crc ^ 0xFFFFFFFF, np.uint32)
    for power in range(size.bit_length()):
        if size >> power & 1:
            register = _advance(register, power)
    return int(register[0] ^ rows[0]) ^ 0xFFFFFFFF


_ROW_POWER: Final = _ROW.bit_length() - 1


def _advance(registers: np.ndarray[Any, Any], power: int) -> np.ndarray[Any, Any]:
    """What the registers become over ``2**power`` zero bytes."""
    tables = _zero_tables(power)
    result = tables[0][registers & 0xFF]
    for i in range(1, 4):
        result ^= tables[i][registers >> np.uint32(8 * i) & 0xFF]
    return result  # type: ignore[no-any-return]


@functools.cache
def _zero_tables(power: int) -> np.ndarray[Any, Any]:
    """[4, 256]: what byte ``i`` of a register, having that value, becomes over the zeros."""
    values = np.arange(256, dtype=np.uint32)
    if power:
        single = np.stack([values << np.uint32(8 * i) for i in range(4)])
        return _advance(_advance(single.ravel(), power - 1), power - 1).reshape(4, 256)
    last = values
    for _ in range(8):
        last = (last >> np.uint32(1)) ^ np.where(last & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    # Over one byte, all but the last one (that leaves the register) just move down.
    return np.stack([last, *(values << np.uint32(8 * i) for i in range(3))])
