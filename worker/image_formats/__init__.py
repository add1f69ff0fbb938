"""Image files: JPEG, PNG, GIF and BMP, to and from arrays, with TensorFlow's pixels.

Decoders raise ``ImageError`` for what is no such file. All of them let other threads run while they
work: the libraries release Python's lock.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class ImageError(Exception):
    """The bytes are no image of this format; the text says what is wrong, if that is known."""


@contextmanager
def opened_by_pillow(data: bytes, file_format: str) -> Iterator[Any]:
    """The file as Pillow's Image; whatever goes wrong with it in the block is an ImageError."""
    from PIL import Image

    # Of broken files its parsers may raise any of these.
    broken = (EOFError, IndexError, OSError, SyntaxError, ValueError, struct.error)
    try:
        with Image.open(io.BytesIO(data), formats=[file_format]) as image:
            yield image
    except (*broken, Image.DecompressionBombError) as error:
        raise ImageError(str(error)) from None
