"""PNG files.

They are written with zlib here, which takes half the time of Pillow and a few lines. Pillow reads
files of up to 8 bits per channel. It cannot read 16 bits, so that is done here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from flowray.worker.formats.images import ImageError, opened_by_pillow

Array = np.ndarray[Any, Any]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_CHANNELS = {color_type: channels for channels, color_type in _COLOR_TYPE.items()}
_SUBTRACT_LEFT = 1  # the filter of each row: pixels as differences from their left neighbors
_END = b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))

# Encoding ----------------------------------------------------------------------------------------


def encode(pixels: Array, compression: int = -1) -> bytes:
    """Encodes an image as a PNG file.

    Args:
        pixels: uint8 or uint16 [height, width, channels], none of them 0; gray, gray and alpha, RGB
            or RGBA.
        compression: from 0 (fast) to 9 (small); -1 for zlib's own choice.
    """
    height, width, channels = pixels.shape
    size = channels * pixels.dtype.itemsize
    row = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8)
    row = row.reshape(height, width * size)
    filtered = np.empty((height, 1 + width * size), np.uint8)
    filtered[:, 0] = _SUBTRACT_LEFT
    filtered[:, 1 : 1 + size] = row[:, :size]
    np.subtract(row[:, size:], row[:, :-size], out=filtered[:, 1 + size :])
    bits = 8 * pixels.dtype.itemsize
    header = struct.pack(">2I5B", width, height, bits, _COLOR_TYPE[channels], 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(filtered.data, compression)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


# Decoding ----------------------------------------------------------------------------------------


def decode(data: bytes, channels: int = 0, bits: int = 8) -> Array:
    """Decodes to uint8 or uint16 [height, width, channels].

    Args:
        channels: 1 (gray), 3 (RGB), 4 (RGBA), or 0: as many as the file has.
        bits: 8 or 16; the file's bits are repeated or cut off.
    """
    if len(data) < 33 or not data.startswith(_SIGNATURE) or _END not in data:
        raise ImageError("the file is truncated")
    pixels = _read_16_bits(data, channels) if data[24] == 16 else _read_8_bits(data, channels)
    if channels in (1, 3) and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    if channels == 1 and pixels.shape[2] == 3:
        pixels = _gray(pixels)
    elif channels in (3, 4) and pixels.shape[2] in (1, 2):
        pixels = np.concatenate([np.repeat(pixels[..., :1], 3, axis=2), pixels[..., 1:]], axis=2)
    if channels == 4 and pixels.shape[2] == 3:
        alpha = np.full((*pixels.shape[:2], 1), np.iinfo(pixels.dtype).max, pixels.dtype)
        pixels = np.concatenate([pixels, alpha], axis=2)
    if bits == 16 and pixels.dtype == np.uint8:
        return pixels * np.uint16(257)
    if bits == 8 and pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def _gray(pixels: Array) -> Array:
    """Converts to gray as libpng: weights in 15 bits, 16-bit values rounded, 8-bit ones cut off."""
    red, green, blue = (pixels[..., i : i + 1].astype(np.uint32) for i in range(3))
    rounding = 1 << 14 if pixels.dtype == np.uint16 else 0
    return ((9797 * red + 19234 * green + 3737 * blue + rounding) >> 15).astype(pixels.dtype)


def _read_8_bits(data: bytes, channels: int) -> Array:
    with opened_by_pillow(data, "PNG") as image:
        has_alpha = "transparency" in image.info
        if image.mode == "P":
            image = image.convert("RGBA" if has_alpha else "RGB")
        elif image.mode == "1":
            image = image.convert("L")
        elif has_alpha and channels == 4:  # one gray or color that is transparent
            image = image.convert("RGBA")
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def _read_16_bits(data: bytes, channels: int) -> Array:
    width, height, _, color_type, _, _, interlaced = struct.unpack_from(">2I5B", data, 16)
    if color_type not in _CHANNELS or not width or not height:
        raise ImageError("bad header")
    stored = _CHANNELS[color_type]
    chunks = list(_chunks(data))
    try:
        rows = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    except zlib.error as error:
        raise ImageError(str(error)) from None
    pixels = np.empty((height, width, stored), np.uint16)
    position = 0
    for target in _passes(pixels) if interlaced else [pixels]:
        if target.size:
            size = target.shape[0] * (1 + 2 * stored * target.shape[1])
            if position + size > len(rows):
                raise ImageError("too few pixels")
            target[...] = _unfiltered(rows[position : position + size], target.shape)
            position += size
    transparent = next((content for kind, content in chunks if kind == b"tRNS"), None)
    if channels == 4 and transparent is not None:
        color = np.frombuffer(transparent[: 2 * stored], ">u2")
        alpha = np.where((pixels == color).all(axis=2, keepdims=True), 0, 0xFFFF)
        pixels = np.concatenate([pixels, alpha.astype(np.uint16)], axis=2)
    return pixels


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]) != struct.unpack_from(
            ">I", data, end
        )[0]:  # fmt: skip
            raise ImageError("broken chunk")
        yield data[position + 4 : position + 8], data[position + 8 : end]
        position = end + 4


def _passes(pixels: Array) -> list[Array]:
    """Returns the pixels of Adam7's seven passes, as views."""
    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1))  # fmt: skip
    return [pixels[y::down, x::across] for y, x, down, across in starts]


def _unfiltered(rows: bytes, shape: tuple[int, ...]) -> Array:
    """Undoes the filters of the rows: uint16 pixels of ``shape``.

    Each row holds the index of its filter and the filtered bytes. A byte needs its left, upper and
    upper left neighbors, so all bytes of one diagonal are computed at once.
    """
    height, width, channels = shape
    lines = np.frombuffer(rows, np.uint8).reshape(height, 1 + 2 * channels * width)
    filters, left_over = lines[:, :1].astype(np.int64), lines[:, 1:].astype(np.int64)
    if filters.max() > 4:
        raise ImageError("unknown filter")
    left_over = left_over.reshape(height, width, 2 * channels)
    result = np.zeros((height + 1, width + 1, 2 * channels), np.int64)  # with a border of zeros
    for step in range(height + width - 1):
        y = np.arange(max(0, step - width + 1), min(height, step + 1))
        x = step - y
        left, up, corner = result[y + 1, x], result[y, x + 1], result[y, x]
        guess = left + up - corner
        to_left, to_up, to_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
        paeth = np.where(
            (to_left <= to_up) & (to_left <= to_corner),
            left,
            np.where(to_up <= to_corner, up, corner),
        )
        choices = [np.zeros_like(left), left, up, (left + up) >> 1, paeth]
        result[y + 1, x + 1] = (left_over[y, x] + np.choose(filters[y], choices)) & 0xFF
    pixels = result[1:, 1:].astype(np.uint8)
    return np.ascontiguousarray(pixels).view(">u2").reshape(shape)
