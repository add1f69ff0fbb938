"""Image files: JPEG, PNG, GIF and BMP, to and from arrays, with TensorFlow's pixels.

Decoders raise ``ImageError`` for what is no such file. All of them let other threads run while they
work: the libraries release Python's lock.
"""

from __future__ import annotations

import functools
import importlib
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowray.proto import errors


class ImageError(Exception):
    """The bytes are no image of this format; the text says what is wrong, if that is known."""


@functools.cache
def library(name: str) -> Any:
    """A module that comes with the extra ``server``; imported when the first file needs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise errors.unimplemented(
            f"image files need the package {name.partition('.')[0]}, which comes with "
            "flowray[server]"
        ) from None


@contextmanager
def opened_by_pillow(data: bytes, file_format: str) -> Iterator[Any]:
    """The file as Pillow's Image; whatever goes wrong with it in the block is an ImageError."""
    Image = library("PIL.Image")
    # Of broken files its parsers may raise any of these.
    broken = (EOFError, IndexError, OSError, SyntaxError, ValueError, struct.error)
    try:
        with Image.open(io.BytesIO(data), formats=[file_format]) as image:
            yield image
    except (*broken, Image.DecompressionBombError) as error:
        raise ImageError(str(error)) from None
