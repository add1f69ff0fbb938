"""JPEG files: simplejpeg decodes and Pillow encodes.

simplejpeg decodes with libjpeg-turbo, as TensorFlow does, to the same pixels; Pillow encodes to the
same bytes. docs/decisions/0006-image-decoding.md has the measurements.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from flowray.worker.formats.images import ImageError, library

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_START_OF_SCAN = 0xDA
_APP14 = 0xEE
_END = b"\xff\xd9"
_GRAY, _COLOR, _INK = 1, 3, 4
_COMPONENTS = {"Gray": _GRAY, "RGB": _COLOR, "YCbCr": _COLOR, "CMYK": _INK, "YCCK": _INK}


def shape(data: bytes) -> tuple[int, int, int]:
    """Returns height, width and number of components. ImageError if there is no valid header."""
    simplejpeg = library("simplejpeg")
    try:
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise ImageError(str(error)) from None
    return height, width, _COMPONENTS[color_space]


def decode(
    data: bytes,
    channels: int = 0,
    ratio: int = 1,
    fancy_upscaling: bool = True,
    recover_truncated: bool = False,
    fast_dct: bool = True,
) -> Pixels:
    """Decodes to [height, width, channels].

    Args:
        channels: 1 (gray), 3 (RGB), or 0: as many as the file has; of CMYK 3.
        ratio: 1, 2, 4 or 8: by how much to shrink while decoding.
        fancy_upscaling: whether to interpolate the colors of subsampled files.
        recover_truncated: whether a file that ends too early gives an image with gray below.
        fast_dct: whether to take the faster, less exact of the two integer transforms.
    """
    simplejpeg = library("simplejpeg")
    height, width, components = shape(data)
    if components == _INK and channels == _GRAY:
        raise ImageError("CMYK does not become gray")
    wanted = channels or min(components, _COLOR)
    options: dict[str, Any] = {
        "colorspace": "CMYK" if components == _INK else "GRAY" if wanted == _GRAY else "RGB",
        "fastdct": fast_dct,
        "fastupsample": not fancy_upscaling,
    }
    if ratio == 1:
        # Without a buffer it makes a bytearray, and zeroing that takes half as long as decoding.
        depth = {"CMYK": 4, "GRAY": 1, "RGB": 3}[options["colorspace"]]
        options["buffer"] = np.empty(height * width * depth, np.uint8)
    else:
        options |= {
            "min_height": -(-height // ratio),
            "min_width": -(-width // ratio),
            "min_factor": ratio,
        }
    try:
        pixels = simplejpeg.decode_jpeg(data, **options)
    except ValueError:
        # A damaged file. TensorFlow accepts all damage but a missing end.
        if not recover_truncated and not _has_end(data):
            raise ImageError("the file is truncated") from None
        try:
            pixels = simplejpeg.decode_jpeg(data, **options, strict=False)
        except ValueError as error:
            raise ImageError(str(error)) from None
    return _rgb_of_inks(pixels, _is_adobe(data)) if components == _INK else pixels


def _rgb_of_inks(pixels: Pixels, is_inverted: bool) -> Pixels:
    """Converts CMYK to RGB; Adobe's files store the light that is left, others the ink."""
    light = pixels.astype(np.uint16) if is_inverted else 255 - pixels.astype(np.uint16)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of each segment up to the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # filling
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        yield marker, position + 4, position + 2 + length
        if marker == _START_OF_SCAN:
            return
        position += 2 + length


def _is_adobe(data: bytes) -> bool:
    return any(
        marker == _APP14 and data.startswith(b"Adobe", start)
        for marker, start, _ in _segments(data)
    )


def _has_end(data: bytes) -> bool:
    """Tells whether an end marker follows the start of the first scan.

    It cannot occur in a scan.
    """
    return any(
        marker == _START_OF_SCAN and data.find(_END, end) >= 0 for marker, _, end in _segments(data)
    )


def encode(
    pixels: Pixels,
    quality: int = 95,
    progressive: bool = False,
    optimize_size: bool = False,
    chroma_downsampling: bool = True,
    density_unit: str = "in",
    x_density: int = 300,
    y_density: int = 300,
    xmp_metadata: bytes = b"",
) -> bytes:
    """Encodes uint8 [height, width, 1 or 3].

    Args:
        quality: 0 to 100.
        progressive: whether the image comes in passes that become sharper.
        optimize_size: whether to spend time on a smaller file.
        chroma_downsampling: whether to store colors with half the resolution.
        density_unit: ``in`` or ``cm``, that of the densities, which do not change the pixels.
        xmp_metadata: an XMP document to put into the file.

    Raises:
        ImageError: the image is empty, or larger than a JPEG file can be.
    """
    Image = library("PIL.Image")
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    options: dict[str, Any] = {"xmp": xmp_metadata} if xmp_metadata else {}
    file = io.BytesIO()
    try:
        image.save(
            file,
            "JPEG",
            quality=max(quality, 1),
            progressive=progressive,
            optimize=optimize_size,
            subsampling=2 if chroma_downsampling and image.mode == "RGB" else 0,
            **options,
        )
    except (OSError, ValueError, SystemError) as error:
        raise ImageError(str(error)) from None
    # The JFIF header comes first; its unit and its densities follow name and version.
    data = bytearray(file.getvalue())
    unit = {"in": 1, "cm": 2}[density_unit]
    struct.pack_into(">BHH", data, 13, unit, x_density & 0xFFFF, y_density & 0xFFFF)
    return bytes(data)
