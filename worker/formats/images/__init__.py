"""Image files: JPEG, PNG, GIF and BMP, to and from arrays, with TensorFlow's pixels.

Decoders raise ``ImageError`` for bytes that are not such a file. They let other threads run while
they work, since the libraries release the GIL.
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
    """The bytes are not an image of this format; the text has the reason, if it is known."""


@functools.cache
def library(name: str) -> Any:
    """Imports a module that comes with the extra ``server``, when the first file needs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise errors.unimplemented(
            f"image files need the package {name.partition('.')[0]}, which comes with "
            "flowray[server]"
        ) from None


@contextmanager
def opened_by_pillow(data: bytes, file_format: str) -> Iterator[Any]:
    """Opens the file as Pillow's Image.

    Any error about the file in the block becomes an ImageError.
    """
    Image = library("PIL.Image")
    # Of broken files its parsers may raise any of these.
    broken = (EOFError, IndexError, OSError, SyntaxError, ValueError, struct.error)
    try:
        with Image.open(io.BytesIO(data), formats=[file_format]) as image:
            yield image
    except (*broken, Image.DecompressionBombError) as error:
        raise ImageError(str(error)) from None
