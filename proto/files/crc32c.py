"""CRC-32C (Castagnoli), the checksum of checkpoints, records and event files.

The package google-crc32c computes it with the processor's own instruction.
"""

from __future__ import annotations

from typing import Any, Final

import google_crc32c
import numpy as np

Buffer = bytes | bytearray | memoryview | np.ndarray[Any, Any]

_MASK_DELTA: Final = 0xA282EAD8


def value(data: Buffer) -> int:
    """Returns the checksum of ``data``, a contiguous buffer."""
    return extend(0, data)


def extend(crc: int, data: Buffer) -> int:
    """Returns the checksum of the bytes that ``crc`` is the checksum of, followed by ``data``."""
    if not isinstance(data, bytes):
        # The package takes no writable buffer; this view is read-only, and costs no copy.
        data = np.frombuffer(data, np.uint8)
        data.flags.writeable = False
    return int(google_crc32c.extend(crc, data))


def mask(crc: int) -> int:
    """Returns the form in which files hold a checksum.

    The checksum of data that holds checksums in their plain form would be a bad one.
    """
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """Returns the checksum whose masked form is ``masked``."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def masked(data: Buffer) -> int:
    """Returns the masked checksum of ``data``."""
    return mask(value(data))
