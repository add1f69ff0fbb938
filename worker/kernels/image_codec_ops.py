"""Kernels that decode and encode image files, over ``flowray.worker.formats.images``."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.formats.images import ImageError, bmp, gif, jpeg, png
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.string_ops import strings

Array = np.ndarray[Any, Any]

_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}

# Decoding ----------------------------------------------------------------------------------------


def _contents(contents: Array) -> bytes:
    if contents.ndim:
        raise errors.invalid_argument(
            f"`contents` must be scalar but got shape{format_shape(contents.shape)}"
        )
    return contents.item()


def _format(data: bytes) -> str:
    if not data:
        raise errors.invalid_argument("Input is empty.")
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    raise errors.invalid_argument("Unknown image file format. One of JPEG, PNG, GIF, BMP required.")


def _check_channels(channels: int) -> None:
    if channels not in (0, 1, 3, 4):
        raise errors.invalid_argument(f"`channels` must be 0, 1, 3 or 4 but got {channels}")


def _jpeg_options(
    ratio: int, fancy_upscaling: bool, try_recover_truncated: bool, dct_method: bytes
) -> dict[str, Any]:
    if ratio not in (1, 2, 4, 8):
        raise errors.invalid_argument(f"ratio must be 1, 2, 4, or 8, got {ratio}")
    if dct_method not in (b"", b"INTEGER_FAST", b"INTEGER_ACCURATE"):
        raise errors.invalid_argument(
            "dct_method must be one of {'', 'INTEGER_FAST', 'INTEGER_ACCURATE'}"
        )
    return {
        "ratio": ratio,
        "fancy_upscaling": fancy_upscaling,
        "recover_truncated": try_recover_truncated,
        "fast_dct": dct_method != b"INTEGER_ACCURATE",
    }


def _decode_jpeg(data: bytes, channels: int, options: dict[str, Any]) -> Array:
    if channels == 4:
        raise errors.invalid_argument("JPEG does not support 4 channels")
    try:
        return jpeg.decode(data, channels, **options)
    except ImageError:
        raise errors.invalid_argument(
            "jpeg::Uncompress failed. Invalid JPEG data or crop window."
        ) from None


def _decode_png(data: bytes, channels: int, bits: int) -> Array:
    try:
        return png.decode(data, channels, bits)
    except ImageError:
        raise errors.invalid_argument(f"Invalid PNG data, size {len(data)}") from None


def _decode_gif(data: bytes, channels: int) -> Array:
    if channels not in (0, 3):
        raise errors.invalid_argument(f"channels must be 0 or 3 for GIF, got {channels}")
    try:
        return gif.decode(data)
    except ImageError as error:
        raise errors.invalid_argument(f"Invalid GIF data (size {len(data)}), {error}") from None


def _decode_bmp(data: bytes, channels: int) -> Array:
    if channels == 1:
        raise errors.invalid_argument("`channels` must be 0, 3 or 4 for BMP, but got 1")
    try:
        return bmp.decode(data, channels)
    except ImageError as error:
        raise errors.invalid_argument(str(error)) from None


def _decode(
    contents: Array,
    op_name: str,
    channels: int,
    dtype: DType,
    jpeg_options: dict[str, Any] | None = None,
) -> Array:
    """Decodes an image of any format: ``[height, width, channels]``, or the frames of a GIF."""
    _check_channels(channels)
    data = _contents(contents)
    kind = _format(data)
    if kind == "BMP" and op_name not in ("DecodeBmp", "DecodeImage"):
        raise errors.invalid_argument(
            "Trying to decode BMP format using a wrong op. Use `decode_bmp` or `decode_image` "
            f"instead. Op used: {op_name}"
        )
    if kind != "BMP" and op_name == "DecodeBmp":
        raise errors.invalid_argument(
            f"Trying to decode {kind} format using DecodeBmp op. Use `decode_{kind.lower()}` or "
            "`decode_image` instead."
        )
    if kind == "PNG":
        pixels = _decode_png(data, channels, 8 if dtype == dtypes.uint8 else 16)
        if dtype == dtypes.float32:
            return pixels.astype(np.float32) * np.float32(1 / 65535)
        return pixels
    if kind == "JPEG":
        pixels = _decode_jpeg(data, channels, jpeg_options or {})
    elif kind == "GIF":
        pixels = _decode_gif(data, channels)
    else:
        pixels = _decode_bmp(data, channels)
    if dtype == dtypes.uint16:
        return pixels * np.uint16(256)
    if dtype == dtypes.float32:
        return pixels.astype(np.float32) * np.float32(1 / 255)
    return pixels


def _one_frame(pixels: Array) -> Array:
    if pixels.ndim == 4:
        if len(pixels) > 1:
            raise errors.invalid_argument(
                f"Got {len(pixels)} frames, but animated gifs can only be decoded by "
                "tf.io.decode_gif or tf.io.decode_image"
            )
        return pixels[0]
    return pixels


@kernel("DecodeJpeg")
def decode_jpeg(
    xp: Any,
    contents: Array,
    *,
    channels: int,
    ratio: int,
    fancy_upscaling: bool,
    try_recover_truncated: bool,
    dct_method: bytes,
) -> Array:
    """Decodes a JPEG, or a PNG or GIF with one frame, to uint8 ``[height, width, channels]``.

    Raises:
        InvalidArgumentError: the file is damaged or of another format, or an attribute is not
            allowed.
    """
    options = _jpeg_options(ratio, fancy_upscaling, try_recover_truncated, dct_method)
    return _one_frame(_decode(contents, "DecodeJpeg", channels, dtypes.uint8, options))


@kernel("DecodeAndCropJpeg")
def decode_and_crop_jpeg(
    xp: Any,
    contents: Array,
    crop_window: Array,
    *,
    channels: int,
    ratio: int,
    fancy_upscaling: bool,
    try_recover_truncated: bool,
    dct_method: bytes,
) -> Array:
    """Decodes a part of a JPEG.

    Args:
        crop_window: y, x, height and width; it must lie in the image.
    """
    options = _jpeg_options(ratio, fancy_upscaling, try_recover_truncated, dct_method)
    _check_channels(channels)
    data = _contents(contents)
    kind = _format(data)
    if kind != "JPEG":
        raise errors.invalid_argument(
            f"DecodeAndCropJpeg operation can run on JPEG only, but detected {kind}."
        )
    if crop_window.ndim != 1:
        raise errors.invalid_argument(
            f"crop_window must be 1-D, got shape {format_shape(crop_window.shape)}"
        )
    if len(crop_window) != 4:
        raise errors.invalid_argument(
            f"crop_size must have four elements {format_shape(crop_window.shape)}"
        )
    y, x, height, width = crop_window.tolist()
    pixels = _decode_jpeg(data, channels, options)
    if min(y, x) < 0 or min(height, width) <= 0 or (
        y + height > pixels.shape[0] or x + width > pixels.shape[1]
    ):  # fmt: skip
        raise errors.invalid_argument("jpeg::Uncompress failed. Invalid JPEG data or crop window.")
    return pixels[y : y + height, x : x + width]


@kernel("DecodePng")
def decode_png(xp: Any, contents: Array, *, channels: int, dtype: DType) -> Array:
    """Decodes a PNG, or a JPEG or GIF with one frame, to uint8 or uint16."""
    return _one_frame(_decode(contents, "DecodePng", channels, dtype))


@kernel("DecodeBmp")
def decode_bmp(xp: Any, contents: Array, *, channels: int) -> Array:
    """Decodes a BMP to uint8 ``[height, width, channels]``; other formats are an error."""
    return _decode(contents, "DecodeBmp", channels, dtypes.uint8)


@kernel("DecodeGif")
def decode_gif(xp: Any, contents: Array) -> Array:
    """Decodes the frames of a GIF to uint8 ``[frames, height, width, 3]``.

    A JPEG or PNG gives one frame.
    """
    pixels = _decode(contents, "DecodeGif", 3, dtypes.uint8)
    return pixels if pixels.ndim == 4 else pixels[None]


@kernel("DecodeImage")
def decode_image(
    xp: Any, contents: Array, *, channels: int, dtype: DType, expand_animations: bool
) -> Array:
    """Decodes a JPEG, PNG, GIF or BMP to uint8, uint16 or float32 in [0, 1].

    A GIF gives ``[frames, height, width, 3]``, or its first frame without ``expand_animations``.
    """
    pixels = _decode(contents, "DecodeImage", channels, dtype)
    return pixels[0] if pixels.ndim == 4 and not expand_animations else pixels


@kernel("ExtractJpegShape")
def extract_jpeg_shape(xp: Any, contents: Array, *, output_type: DType) -> Array:
    """Reads height, width and channels from a JPEG's header, without decoding."""
    if contents.ndim:
        raise errors.invalid_argument(
            f"contents must be scalar, got shape {format_shape(contents.shape)}"
        )
    data = contents.item()
    try:
        return np.array(jpeg.shape(data), output_type.as_numpy_dtype)
    except ImageError:
        raise errors.invalid_argument(f"Invalid JPEG data, size {len(data)}") from None


# Encoding ----------------------------------------------------------------------------------------


def _encode_jpeg(image: Array, format: bytes = b"", **options: Any) -> Array:
    if image.ndim != 3:
        raise errors.invalid_argument(f"image must be 3-dimensional{format_shape(image.shape)}")
    shown = format_shape(image.shape)
    expected = {b"grayscale": 1, b"rgb": 3}.get(format)
    if expected is not None and image.shape[2] != expected:
        raise errors.invalid_argument(
            f"format {format.decode()} expects {expected} channels, got {shown}"
        )
    if image.shape[2] not in (1, 3):
        raise errors.invalid_argument(f"image must have 1 or 3 channels, got {shown}")
    if not 0 <= options["quality"] <= 100:
        raise errors.invalid_argument(f"quality must be in [0,100], got {options['quality']}")
    try:
        return strings([jpeg.encode(image, **options)], ())
    except ImageError:
        raise errors.internal("JPEG encoding failed") from None


@kernel("EncodeJpeg")
def encode_jpeg(
    xp: Any,
    image: Array,
    *,
    format: bytes,
    quality: int,
    progressive: bool,
    optimize_size: bool,
    chroma_downsampling: bool,
    density_unit: bytes,
    x_density: int,
    y_density: int,
    xmp_metadata: bytes,
) -> Array:
    """Encodes uint8 ``[height, width, 1 or 3]`` as a JPEG."""
    return _encode_jpeg(
        image,
        format,
        quality=quality,
        progressive=progressive,
        optimize_size=optimize_size,
        chroma_downsampling=chroma_downsampling,
        density_unit=density_unit.decode(),
        x_density=x_density,
        y_density=y_density,
        xmp_metadata=xmp_metadata,
    )


@kernel("EncodeJpegVariableQuality")
def encode_jpeg_variable_quality(xp: Any, images: Array, quality: Array) -> Array:
    """Encodes uint8 ``[height, width, 1 or 3]`` as a JPEG; the quality is an input."""
    if quality.ndim:
        raise errors.invalid_argument(f"quality must be scalar: {format_shape(quality.shape)}")
    return _encode_jpeg(images, quality=quality.item())


@kernel("EncodePng")
def encode_png(xp: Any, image: Array, *, compression: int) -> Array:
    """Encodes an image as a PNG, or one for each index of the dimensions before the last three."""
    if not -1 <= compression <= 9:
        raise errors.invalid_argument(f"compression should be in [-1,9], got {compression}")
    if image.ndim < 3:
        raise errors.invalid_argument(f"images must be at least rank 3{format_shape(image.shape)}")
    *outer, height, width, channels = image.shape
    if not 1 <= channels <= 4:
        raise errors.invalid_argument(f"image must have 1, 2, 3, or 4 channels, got {channels}")
    count = int(np.prod(outer, dtype=np.int64))
    if count and not (height and width):
        failed = ", ".join(map(str, range(count)))
        raise errors.internal(
            f"PNG encoding failed at the following flattened batch indices: {failed}"
        )
    images = image.reshape(count, height, width, channels)
    return strings((png.encode(pixels, compression) for pixels in images), tuple(outer))
