"""User functions for the colors of images and for images as numbers.

Images are [height, width, channels], or batches of these with more dimensions in front. Floats are
meant to be from 0 to 1; functions that compute with them convert integers there and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops, math_ops, random_ops, reduction_ops
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import is_compatible

_COMPUTED = (dtypes.float16, dtypes.float32)


@tf_export("image.convert_image_dtype")
def convert_image_dtype(
    image: Any, dtype: Any, saturate: bool = False, name: str | None = None
) -> Any:
    """Converts ``image`` to another dtype and scales it to the range of that dtype.

    Floats range from 0 to 1, integers from 0 to the largest.

    Args:
        saturate: whether values out of the range become its ends, instead of overflowing.
    """
    image = convert_to_tensor(image, name="image")
    wanted, given = dtypes.as_dtype(dtype), image.dtype.base_dtype
    if wanted == given:
        return array_ops.identity(image, name=name)
    cast = math_ops.saturate_cast if saturate else math_ops.cast
    with name_scope(name, "convert_image", [image]) as name:
        if given.is_integer and wanted.is_integer:
            if given.max > wanted.max:
                scale = (given.max + 1) // (wanted.max + 1)
                return cast(math_ops.floordiv(image, scale), wanted, name=name)
            scale = (wanted.max + 1) // (given.max + 1)
            return math_ops.multiply(cast(image, wanted), scale, name=name)
        if given.is_floating and wanted.is_floating:
            return math_ops.cast(image, wanted, name=name)
        if given.is_integer:
            scaled = math_ops.cast(image, wanted)
            return math_ops.multiply(scaled, 1.0 / given.max, name=name)
        # Not quite the largest plus one, which a float could round to.
        return cast(math_ops.multiply(image, wanted.max + 0.5), wanted, name=name)


def _as_float(image: Any) -> tuple[Tensor, DType]:
    """Returns ``image`` as float16 or float32, and its own dtype."""
    image = convert_to_tensor(image, name="image")
    original = image.dtype.base_dtype
    if original not in _COMPUTED:
        image = convert_image_dtype(image, dtypes.float32)
    return image, original


def check_image(image: Any, rank: int | None = None) -> Tensor:
    """Converts ``image`` to a tensor and checks its shape as far as it is known.

    ValueError if its rank is below 3 or not ``rank``, or if it is empty.

    ``rank`` is the one that it must have.
    """
    tensor = convert_to_tensor(image, name="image")
    shape = tensor.shape_tuple
    if shape is None:
        return tensor
    if rank is not None and len(shape) != rank:
        raise ValueError(f"'image' (shape {tensor.shape}) must be three-dimensional.")
    if len(shape) < 3:
        raise ValueError(f"'image' (shape {tensor.shape}) must be at least three-dimensional.")
    if 0 in shape[-3:]:
        raise ValueError(f"inner 3 dims of 'image.shape' must be > 0: {tensor.shape}")
    return tensor


# Adjusting ----------------------------------------------------------------------------------------


@tf_export("image.adjust_brightness")
def adjust_brightness(image: Any, delta: Any) -> Any:
    """Adds ``delta``, from -1 to 1, to all of ``image``."""
    with name_scope(None, "adjust_brightness", [image, delta]) as name:
        bright, original = _as_float(image)
        adjusted = math_ops.add(bright, math_ops.cast(delta, bright.dtype), name=name)
        return convert_image_dtype(adjusted, original, saturate=True)


@tf_export("image.adjust_contrast")
def adjust_contrast(images: Any, contrast_factor: Any) -> Any:
    """Multiplies the distance of each channel from its mean by ``contrast_factor``."""
    with name_scope(None, "adjust_contrast", [images, contrast_factor]) as name:
        floats, original = _as_float(images)
        adjusted = apply_op("AdjustContrastv2", floats, contrast_factor, name=name)
        return convert_image_dtype(adjusted, original, saturate=True)


@tf_export("image.adjust_gamma")
def adjust_gamma(image: Any, gamma: Any = 1, gain: Any = 1) -> Any:
    """Computes ``gain * image ** gamma``: darker if ``gamma`` is above 1, else brighter.

    Raises:
        ValueError: ``gamma`` is a negative number.
    """
    if not isinstance(gamma, Tensor) and gamma < 0:
        raise ValueError("Gamma should be a non-negative real number.")
    with name_scope(None, "adjust_gamma", [image, gamma, gain]):
        floats, original = _as_float(image)
        adjusted = math_ops.multiply(gain, math_ops.pow(floats, gamma))
        return convert_image_dtype(adjusted, original, saturate=True)


@tf_export("image.adjust_hue")
def adjust_hue(image: Any, delta: Any, name: str | None = None) -> Any:
    """Adds ``delta`` turns of the color wheel, from -1 to 1, to the hue of an RGB image."""
    with name_scope(name, "adjust_hue", [image]):
        floats, original = _as_float(image)
        return convert_image_dtype(apply_op("AdjustHue", floats, delta), original)


@tf_export("image.adjust_saturation")
def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Any:
    """Multiplies the saturation of an RGB image, which never exceeds 1."""
    with name_scope(name, "adjust_saturation", [image]):
        floats, original = _as_float(image)
        adjusted = apply_op("AdjustSaturation", floats, saturation_factor)
        return convert_image_dtype(adjusted, original)


@tf_export("image.random_brightness")
def random_brightness(image: Any, max_delta: float, seed: int | None = None) -> Any:
    """Adjusts the brightness by a number from [-max_delta, max_delta)."""
    if max_delta < 0:
        raise ValueError("max_delta must be non-negative.")
    delta = random_ops.random_uniform([], -max_delta, max_delta, seed=seed)
    return adjust_brightness(image, delta)


def _random_factor(lower: float, upper: float, seed: int | None) -> Tensor:
    if upper <= lower:
        raise ValueError("upper must be > lower.")
    if lower < 0:
        raise ValueError("lower must be non-negative.")
    return random_ops.random_uniform([], lower, upper, seed=seed)


@tf_export("image.random_contrast")
def random_contrast(image: Any, lower: float, upper: float, seed: int | None = None) -> Any:
    """Adjusts the contrast by a factor from [lower, upper)."""
    return adjust_contrast(image, _random_factor(lower, upper, seed))


@tf_export("image.random_hue")
def random_hue(image: Any, max_delta: float, seed: int | None = None) -> Any:
    """Adjusts the hue by a number of turns from [-max_delta, max_delta), at most 0.5."""
    if max_delta > 0.5:
        raise ValueError("max_delta must be <= 0.5.")
    if max_delta < 0:
        raise ValueError("max_delta must be non-negative.")
    return adjust_hue(image, random_ops.random_uniform([], -max_delta, max_delta, seed=seed))


@tf_export("image.random_saturation")
def random_saturation(image: Any, lower: float, upper: float, seed: int | None = None) -> Any:
    """Adjusts the saturation by a factor from [lower, upper)."""
    return adjust_saturation(image, _random_factor(lower, upper, seed))


@tf_export("image.per_image_standardization")
def per_image_standardization(image: Any) -> Any:
    """Scales each image to mean 0 and variance 1; the result is float.

    The standard deviation counts as at least ``1 / sqrt(number of pixels and channels)``.
    """
    with name_scope(None, "per_image_standardization", [image]) as name:
        image, _ = _as_float(check_image(image))
        count = reduction_ops.reduce_prod(array_ops.shape(image)[-3:])
        axes = [-1, -2, -3]
        mean = reduction_ops.reduce_mean(image, axis=axes, keepdims=True)
        deviation = reduction_ops.reduce_std(image, axis=axes, keepdims=True)
        least = math_ops.rsqrt(math_ops.cast(count, image.dtype))
        scale = math_ops.maximum(deviation, least)
        return math_ops.divide(math_ops.subtract(image, mean), scale, name=name)


# Kinds of color -----------------------------------------------------------------------------------


@tf_export("image.rgb_to_grayscale")
def rgb_to_grayscale(images: Any, name: str | None = None) -> Any:
    """Converts RGB images to one channel of perceived brightness."""
    with name_scope(name, "rgb_to_grayscale", [images]) as name:
        colors, original = _as_float(images)
        gray = reduction_ops.tensordot(colors, [0.2989, 0.5870, 0.1140], [-1, -1])
        return convert_image_dtype(array_ops.expand_dims(gray, -1), original, name=name)


@tf_export("image.grayscale_to_rgb")
def grayscale_to_rgb(images: Any, name: str | None = None) -> Any:
    """Repeats the one channel of images three times."""
    with name_scope(name, "grayscale_to_rgb", [images]) as name:
        images = convert_to_tensor(images, name="images")
        rank = array_ops.expand_dims(math_ops.subtract(array_ops.rank(images), 1), 0)
        ones = array_ops.ones(rank, dtypes.int32)
        rgb = apply_op("Tile", images, array_ops.concat([ones, [3]], 0), name=name)
        rgb.set_shape(images.shape[:-1].concatenate([3]))
        return rgb


@tf_export("image.rgb_to_hsv")
def rgb_to_hsv(images: Any, name: str | None = None) -> Tensor:
    """Converts RGB images of floats to hue, saturation and value, all from 0 to 1."""
    return output_of("RGBToHSV", images, name=name)


@tf_export("image.hsv_to_rgb")
def hsv_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """Converts images of hue, saturation and value, from 0 to 1, to RGB."""
    return output_of("HSVToRGB", images, name=name)


_Matrix = list[list[float]]

_YIQ: _Matrix = [
    [0.299, 0.59590059, 0.2115], [0.587, -0.27455667, -0.52273617],
    [0.114, -0.32134392, 0.31119955],
]  # fmt: skip
_RGB_OF_YIQ: _Matrix = [
    [1, 1, 1], [0.95598634, -0.27201283, -1.10674021], [0.6208248, -0.64720424, 1.70423049],
]  # fmt: skip
_YUV: _Matrix = [
    [0.299, -0.14714119, 0.61497538], [0.587, -0.28886916, -0.51496512],
    [0.114, 0.43601035, -0.10001026],
]  # fmt: skip
_RGB_OF_YUV: _Matrix = [[1, 1, 1], [0, -0.394642334, 2.03206185], [1.13988303, -0.58062185, 0]]


def _converter(name: str, matrix: _Matrix, doc: str) -> Callable[[Any], Any]:
    def convert(images: Any) -> Any:
        images = convert_to_tensor(images, name="images")
        kernel = convert_to_tensor(matrix, images.dtype, name="kernel")
        rank = images.shape.ndims
        return reduction_ops.tensordot(images, kernel, [[rank - 1], [0]])

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = doc
    return convert


rgb_to_yiq = tf_export("image.rgb_to_yiq")(
    _converter("rgb_to_yiq", _YIQ, "YIQ of RGB images of floats.")
)
yiq_to_rgb = tf_export("image.yiq_to_rgb")(
    _converter("yiq_to_rgb", _RGB_OF_YIQ, "RGB of YIQ images of floats.")
)
rgb_to_yuv = tf_export("image.rgb_to_yuv")(
    _converter("rgb_to_yuv", _YUV, "YUV of RGB images of floats.")
)
yuv_to_rgb = tf_export("image.yuv_to_rgb")(
    _converter("yuv_to_rgb", _RGB_OF_YUV, "RGB of YUV images of floats.")
)

# Measuring ----------------------------------------------------------------------------------------


@tf_export("image.total_variation")
def total_variation(images: Any, name: str | None = None) -> Any:
    """Sums the absolute differences between neighboring pixels, for each image of a batch.

    Raises:
        ValueError: the rank is neither 3 nor 4.
    """
    with name_scope(name, "total_variation"):
        images = convert_to_tensor(images, name="images")
        rank = images.shape.ndims
        if rank not in (3, 4):
            raise ValueError("'images' must be either 3 or 4-dimensional.")
        axes = None if rank == 3 else [1, 2, 3]
        down = math_ops.subtract(images[..., 1:, :, :], images[..., :-1, :, :])
        right = math_ops.subtract(images[..., :, 1:, :], images[..., :, :-1, :])
        return math_ops.add(
            reduction_ops.reduce_sum(math_ops.abs(down), axis=axes),
            reduction_ops.reduce_sum(math_ops.abs(right), axis=axes),
        )


@tf_export("image.psnr")
def psnr(a: Any, b: Any, max_val: float, name: str | None = None) -> Any:
    """Computes the peak signal-to-noise ratio of two images (or pairs of a batch) in decibels.

    Args:
        max_val: the largest value that a pixel can have, in their dtype.

    Raises:
        ValueError: the shapes do not go together, or are of a rank below 3.
    """
    with name_scope(name, "PSNR", [a, b]):
        a, b = convert_to_tensor(a, name="a"), convert_to_tensor(b, name="b")
        for image in (a, b):
            if image.shape.ndims is not None and image.shape.ndims < 3:
                raise ValueError(f"Shape {image.shape} must have rank at least 3")
        if a.shape.ndims is not None and b.shape.ndims is not None:
            for x, y in ((a.shape_tuple[-3:], b.shape_tuple[-3:]), (a.shape_tuple, b.shape_tuple)):
                if not is_compatible(x, y):
                    raise ValueError(f"Two images are not compatible: {a.shape} and {b.shape}")
        most = convert_image_dtype(math_ops.cast(max_val, a.dtype), dtypes.float32)
        a, b = (convert_image_dtype(x, dtypes.float32) for x in (a, b))
        error = reduction_ops.reduce_mean(math_ops.squared_difference(a, b), [-3, -2, -1])
        return math_ops.subtract(
            math_ops.multiply(20 / math.log(10), math_ops.log(most)),
            math_ops.multiply(10 / math.log(10), math_ops.log(error)),
            name="psnr",
        )


@tf_export("image.image_gradients")
def image_gradients(image: Any) -> tuple[Any, Any]:
    """Returns dy and dx of a batch of images: differences to the next pixel, 0 at the last.

    Raises:
        ValueError: the rank is not 4.
    """
    image = convert_to_tensor(image, name="image")
    if image.shape.ndims != 4:
        raise ValueError(
            f"image_gradients expects a 4D tensor [batch_size, h, w, d], not {image.shape}."
        )
    down = math_ops.subtract(image[:, 1:], image[:, :-1])
    right = math_ops.subtract(image[:, :, 1:], image[:, :, :-1])
    dy = array_ops.concat([down, array_ops.zeros_like(image[:, :1])], 1)
    dx = array_ops.concat([right, array_ops.zeros_like(image[:, :, :1])], 2)
    shape = array_ops.shape(image)
    return array_ops.reshape(dy, shape), array_ops.reshape(dx, shape)
