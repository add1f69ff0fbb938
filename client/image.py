"""``tf.image``: pictures, in files and as tensors."""

from __future__ import annotations  # noqa: I001

from flowray.client.ops.image_codec_ops import (
    adjust_jpeg_quality,
    decode_and_crop_jpeg,
    decode_bmp,
    decode_gif,
    decode_image,
    decode_jpeg,
    decode_png,
    encode_jpeg,
    encode_png,
    extract_jpeg_shape,
    is_jpeg,
)
from flowray.client.ops.image_ops import (
    convert_image_dtype,
)
from flowray.client.ops.resize_ops import (
    ResizeMethod,
    crop_and_resize,
    resize_area,
    resize_bicubic,
    resize_bilinear,
    resize_images,
    resize_images as resize,
    resize_nearest_neighbor,
)

__all__ = [
    "ResizeMethod",
    "adjust_jpeg_quality",
    "convert_image_dtype",
    "crop_and_resize",
    "decode_and_crop_jpeg",
    "decode_bmp",
    "decode_gif",
    "decode_image",
    "decode_jpeg",
    "decode_png",
    "encode_jpeg",
    "encode_png",
    "extract_jpeg_shape",
    "is_jpeg",
    "resize",
    "resize_area",
    "resize_bicubic",
    "resize_bilinear",
    "resize_images",
    "resize_nearest_neighbor",
]
