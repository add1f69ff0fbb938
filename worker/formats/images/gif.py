"""GIF files, by Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.worker.formats.images import ImageError, opened_by_pillow

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_DISPOSAL = 0b00011100
_KEEP = 0b00000100


def decode(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decodes the frames to RGB: [frames, height, width, 3].

    As in TensorFlow, each frame is painted over the one before, whatever the file says about
    disposing of it, and a file that ends too early gives the frames that are complete.
    """
    frames: list[Any] = []
    try:
        with opened_by_pillow(_keeping_frames(data), "GIF") as image:
            while True:
                frames.append(np.asarray(image.convert("RGB")))
                image.seek(len(frames))
    except ImageError as error:  # after the last frame, too
        if not frames:
            raise ImageError(f"failed to open gif file: {error}") from None
    return np.stack(frames)


def _keeping_frames(data: bytes) -> bytes:
    """Returns ``data`` with every frame marked to stay when the next one comes."""
    result = bytearray(data)
    position = 13 + _table_size(data, 10)
    while position < len(data) and data[position] != _TRAILER:
        if data[position] == _EXTENSION:
            if data[position + 1 : position + 3] == bytes((_GRAPHIC_CONTROL, 4)):
                flags = position + 3
                if flags < len(data):
                    result[flags] = data[flags] & ~_DISPOSAL | _KEEP
            position = _after_blocks(data, position + 2)
        elif data[position] == _IMAGE:
            position = _after_blocks(data, position + 11 + _table_size(data, position + 9))
        else:
            break  # an unknown block, which Pillow accepts or refuses
    return bytes(result)


def _table_size(data: bytes, position: int) -> int:
    """Returns the size of the color table that the flags at ``position`` announce."""
    flags = data[position] if position < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> int:
    """Returns the end of a series of blocks, each after its length, that an empty one ends."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1
