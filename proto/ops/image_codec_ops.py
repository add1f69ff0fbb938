"""Image files to and from pixels: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import Shape, with_rank, with_rank_at_least

_DEPTH = frozenset({dtypes.uint8, dtypes.uint16})

# Decoding ----------------------------------------------------------------------------------------


def _channels(c: ShapeContext) -> int | None:
    with_rank(c.inputs[0], 0)
    channels: int = c.attr("channels")
    if channels < 0:
        raise ValueError(f"channels must be non-negative, got {channels}")
    return channels or None


def _decoded(c: ShapeContext) -> Shape:
    return (None, None, _channels(c))


_JPEG = {
    "channels": 0,
    "ratio": 1,
    "fancy_upscaling": True,
    "try_recover_truncated": False,
    "acceptable_fraction": 1.0,
    "dct_method": "",
}
# TensorFlow rejects a file of which less than the acceptable fraction can be read. libjpeg always
# gives all lines when it recovers a truncated file, so this never happens.
_JPEG_HINTS = ("acceptable_fraction",)

op(
    "DecodeJpeg",
    "contents: string -> image: uint8",
    **_JPEG,
    hints=_JPEG_HINTS,
    host_only=True,
    shape=_decoded,
)


def _cropped(c: ShapeContext) -> Shape:
    window = with_rank(c.inputs[1], 1)
    if window[0] not in (None, 4):
        raise ValueError(f"Dimension must be 4 but is {window[0]}")
    value = c.constant(1)
    height, width = (None, None) if value is None else value.tolist()[2:]
    return (height, width, _channels(c))


op(
    "DecodeAndCropJpeg",
    "contents: string, crop_window: int32 -> image: uint8",
    **_JPEG,
    hints=_JPEG_HINTS,
    host_only=True,
    shape=_cropped,
)
op(
    "DecodePng",
    "contents: string -> image: dtype",
    channels=0,
    dtype=attr("type", dtypes.uint8, allowed=_DEPTH),
    host_only=True,
    shape=_decoded,
)
op("DecodeBmp", "contents: string -> image: uint8", channels=0, host_only=True, shape=_decoded)


def _frames(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 0)
    return (None, None, None, 3)


op("DecodeGif", "contents: string -> image: uint8", host_only=True, shape=_frames)


def _any_image(c: ShapeContext) -> Shape:
    channels = _channels(c)
    return None if c.attr("expand_animations") else (None, None, channels)


op(
    "DecodeImage",
    "contents: string -> image: dtype",
    channels=0,
    dtype=attr("type", dtypes.uint8, allowed=_DEPTH | {dtypes.float32}),
    expand_animations=True,
    host_only=True,
    differentiable=False,
    shape=_any_image,
)


def _extracted(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 0)
    return (3,)


op(
    "ExtractJpegShape",
    "contents: string -> image_shape: output_type",
    output_type=attr("type", dtypes.int32, allowed=dtypes.INDEX),
    host_only=True,
    shape=_extracted,
)

# Encoding ----------------------------------------------------------------------------------------


def _one_file(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 3)
    return ()


op(
    "EncodeJpeg",
    "image: uint8 -> contents: string",
    format=attr("string", b"", allowed=[b"", b"grayscale", b"rgb"]),
    quality=95,
    progressive=False,
    optimize_size=False,
    chroma_downsampling=True,
    density_unit=attr("string", b"in", allowed=[b"in", b"cm"]),
    x_density=300,
    y_density=300,
    xmp_metadata="",
    host_only=True,
    shape=_one_file,
)


def _one_file_of_quality(c: ShapeContext) -> Shape:
    with_rank(c.inputs[1], 0)
    return _one_file(c)


op(
    "EncodeJpegVariableQuality",
    "images: uint8, quality: int32 -> contents: string",
    host_only=True,
    shape=_one_file_of_quality,
)


def _files(c: ShapeContext) -> Shape:
    """Returns the dimensions before the last three: each index of them is an image."""
    images = with_rank_at_least(c.inputs[0], 3)
    return None if images is None else images[:-3]


op(
    "EncodePng",
    "image: T -> contents: string",
    compression=-1,
    T=attr("type", dtypes.uint8, allowed=_DEPTH),
    host_only=True,
    shape=_files,
)
