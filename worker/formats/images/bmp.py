"""BMP files without compression and with 8, 24 or 32 bits per pixel; TensorFlow reads no others."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from flowray.worker.formats.images import ImageError

_HEADER_SIZE = 32


def decode(data: bytes, channels: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decodes to [height, width, channels]: gray (8 bits, palettes are ignored), RGB or RGBA.

    ``channels`` may ask for 3 or 4; gray is repeated, and alpha is 255 if the file has none.
    """
    if len(data) < _HEADER_SIZE:
        raise ImageError(
            f"Incomplete bmp content, requires at least {_HEADER_SIZE} bytes to find the header "
            f"size, width, height, and bpp, got {len(data)} bytes"
        )
    (offset,) = struct.unpack_from("<i", data, 10)
    width, height = struct.unpack_from("<ii", data, 18)
    (bits,) = struct.unpack_from("<H", data, 28)
    stored = bits // 8
    if stored not in (1, 3, 4):
        raise ImageError(
            f"Number of channels inherent in the image must be 1, 3 or 4, was {stored}"
        )
    if width <= 0 or height == 0 or offset < 0:
        raise ImageError("Width, height and header size must be positive")
    row_size = (width * stored + 3) // 4 * 4
    difference = len(data) - offset - row_size * abs(height)
    if difference:
        raise ImageError(
            "Input size should match (header_size + row_size * abs_height) but they differ by "
            f"{difference}"
        )
    rows = np.frombuffer(data, np.uint8, row_size * abs(height), offset)
    pixels = rows.reshape(abs(height), row_size)[:, : width * stored]
    pixels = pixels.reshape(abs(height), width, stored)
    if height > 0:
        pixels = pixels[::-1]  # the file starts at the bottom
    wanted = channels or stored
    result = np.full((abs(height), width, wanted), 255, np.uint8)
    result[..., : min(wanted, 3)] = pixels if stored == 1 else pixels[..., 2::-1]
    if wanted == stored == 4:
        result[..., 3] = pixels[..., 3]
    return result
