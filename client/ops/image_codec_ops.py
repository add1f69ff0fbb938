"""User functions that decode and encode image files."""

from __future__ import annotations

import numbers
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import string_ops
from flowray.client.ops.image_ops import convert_image_dtype
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes

# Decoding -----------------------------------------------------------------------------------------


@tf_export("image.decode_jpeg", "io.decode_jpeg")
def decode_jpeg(
    contents: Any,
    channels: int = 0,
    ratio: int = 1,
    fancy_upscaling: bool = True,
    try_recover_truncated: bool = False,
    acceptable_fraction: float = 1,
    dct_method: str = "",
    name: str | None = None,
) -> Tensor:
    """Decodes a JPEG file (or PNG or GIF) to uint8 [height, width, channels].

    Args:
        contents: the file, a scalar string.
        channels: 1 for gray, 3 for RGB, 0 for as many as the file has.
        ratio: 1, 2, 4 or 8: by how much to shrink the image while decoding.
        fancy_upscaling: whether to interpolate the colors, which files store more coarsely.
        try_recover_truncated: whether a file that ends too early gives as much as there is.
        acceptable_fraction: how much must be there at least.
        dct_method: ``INTEGER_FAST`` (the default) or ``INTEGER_ACCURATE``.
    """
    return output_of(
        "DecodeJpeg",
        contents,
        channels=channels,
        ratio=ratio,
        fancy_upscaling=fancy_upscaling,
        try_recover_truncated=try_recover_truncated,
        acceptable_fraction=acceptable_fraction,
        dct_method=dct_method,
        name=name,
    )


@tf_export("image.decode_and_crop_jpeg", "io.decode_and_crop_jpeg")
def decode_and_crop_jpeg(
    contents: Any,
    crop_window: Any,
    channels: int = 0,
    ratio: int = 1,
    fancy_upscaling: bool = True,
    try_recover_truncated: bool = False,
    acceptable_fraction: float = 1,
    dct_method: str = "",
    name: str | None = None,
) -> Tensor:
    """Decodes a part of a JPEG file: ``crop_window`` is int32 [y, x, height, width].

    The other arguments are those of ``decode_jpeg``.
    """
    return output_of(
        "DecodeAndCropJpeg",
        contents,
        crop_window,
        channels=channels,
        ratio=ratio,
        fancy_upscaling=fancy_upscaling,
        try_recover_truncated=try_recover_truncated,
        acceptable_fraction=acceptable_fraction,
        dct_method=dct_method,
        name=name,
    )


@tf_export("image.decode_png", "io.decode_png")
def decode_png(
    contents: Any, channels: int = 0, dtype: Any = dtypes.uint8, name: str | None = None
) -> Tensor:
    """Decodes a PNG file (or JPEG or GIF) to [height, width, channels].

    Args:
        channels: 1 for gray, 3 for RGB, 4 for RGBA, 0 for as many as the file has.
        dtype: uint8 or uint16.
    """
    return output_of("DecodePng", contents, channels=channels, dtype=dtype, name=name)


@tf_export("image.decode_gif", "io.decode_gif")
def decode_gif(contents: Any, name: str | None = None) -> Tensor:
    """Decodes the frames of a GIF file to uint8 [frames, height, width, 3]."""
    return output_of("DecodeGif", contents, name=name)


@tf_export("image.decode_bmp", "io.decode_bmp")
def decode_bmp(contents: Any, channels: int = 0, name: str | None = None) -> Tensor:
    """Decodes a BMP file to uint8 [height, width, channels]; ``channels`` is 0, 3 or 4."""
    return output_of("DecodeBmp", contents, channels=channels, name=name)


@tf_export("image.decode_image", "io.decode_image")
def decode_image(
    contents: Any,
    channels: int | None = None,
    dtype: Any = dtypes.uint8,
    name: str | None = None,
    expand_animations: bool = True,
) -> Any:
    """Decodes a JPEG, PNG, GIF or BMP file, by its content.

    Args:
        channels: 1, 3 or 4 if the format has it; 0 or None for as many as the file has.
        dtype: of the result; floats are from 0 to 1.
        expand_animations: whether a GIF file gives [frames, height, width, 3]; its first frame
            if not. The static shape is unknown if it does.
    """
    wanted = dtypes.as_dtype(dtype)
    native = wanted in (dtypes.uint8, dtypes.uint16, dtypes.float32)
    image = apply_op(
        "DecodeImage",
        contents,
        channels=channels or 0,
        name=name,
        dtype=wanted if native else dtypes.uint16,
        expand_animations=expand_animations,
    )
    return image if native else convert_image_dtype(image, wanted)


@tf_export("image.extract_jpeg_shape", "io.extract_jpeg_shape")
def extract_jpeg_shape(
    contents: Any, output_type: Any = dtypes.int32, name: str | None = None
) -> Tensor:
    """Reads [height, width, channels] from the header of a JPEG file."""
    return output_of("ExtractJpegShape", contents, output_type=output_type, name=name)


@tf_export("image.is_jpeg", "io.is_jpeg")
def is_jpeg(contents: Any, name: str | None = None) -> Tensor:
    """Tells whether a file begins as JPEG files do."""
    return output_of("Equal", string_ops.substr(contents, 0, 3), b"\xff\xd8\xff", name=name)


# Encoding -----------------------------------------------------------------------------------------


@tf_export("image.encode_jpeg", "io.encode_jpeg")
def encode_jpeg(
    image: Any,
    format: str = "",
    quality: int = 95,
    progressive: bool = False,
    optimize_size: bool = False,
    chroma_downsampling: bool = True,
    density_unit: str = "in",
    x_density: int = 300,
    y_density: int = 300,
    xmp_metadata: str = "",
    name: str | None = None,
) -> Tensor:
    """Encodes a uint8 image [height, width, 1 or 3] as a JPEG file, a scalar string.

    Args:
        format: ``grayscale`` or ``rgb``, which the channels must fit; they decide if it is empty.
        quality: 0 to 100.
        progressive: whether the image comes in passes that become sharper.
        optimize_size: whether to take time for a smaller file.
        chroma_downsampling: whether to store colors with half the resolution.
        density_unit, x_density, y_density: how many pixels are an inch (``in``) or a ``cm``.
        xmp_metadata: an XMP document to put into the file.
    """
    return output_of(
        "EncodeJpeg",
        image,
        format=format,
        quality=quality,
        progressive=progressive,
        optimize_size=optimize_size,
        chroma_downsampling=chroma_downsampling,
        density_unit=density_unit,
        x_density=x_density,
        y_density=y_density,
        xmp_metadata=xmp_metadata,
        name=name,
    )


@tf_export("image.encode_png", "io.encode_png")
def encode_png(image: Any, compression: int = -1, name: str | None = None) -> Tensor:
    """Encodes a uint8 or uint16 image [height, width, 1 to 4] as a PNG file, a scalar string.

    ``compression`` is from 0 (fast) to 9 (small), or -1 for the default.
    """
    return output_of("EncodePng", image, compression=compression, name=name)


@tf_export("image.adjust_jpeg_quality")
def adjust_jpeg_quality(
    image: Any, jpeg_quality: Any, dct_method: str = "", name: str | None = None
) -> Any:
    """Encodes ``image`` as a JPEG file of ``jpeg_quality``, 0 to 100, and decodes it.

    Args:
        image: an image of any dtype, [height, width, 1 or 3].
        jpeg_quality: an int, or a scalar int32 tensor.
        dct_method: that of ``decode_jpeg``.
    """
    with name_scope(name, "adjust_jpeg_quality", [image]):
        image = convert_to_tensor(image, name="image")
        channels = image.shape_tuple[-1] if image.shape_tuple else None
        original = image.dtype
        pixels = convert_image_dtype(image, dtypes.uint8, saturate=True)
        if isinstance(jpeg_quality, numbers.Integral):
            stored = encode_jpeg(pixels, quality=int(jpeg_quality))
        else:
            stored = apply_op("EncodeJpegVariableQuality", pixels, jpeg_quality)
        decoded = decode_jpeg(stored, channels=channels or 0, dct_method=dct_method)
        return convert_image_dtype(decoded, original, saturate=True)
