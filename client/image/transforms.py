"""Flipping, turning, cropping and padding images: the user's functions.

Images are [height, width, channels] or [batch, height, width, channels]; one of unknown rank counts
as the former. That a crop lies in its image is checked while the graph is built where the sizes are
known, else by the ops that cut and pad.
"""

from __future__ import annotations

from typing import Any

from flowray.client.control_flow.cond import case, cond
from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.ops import array_ops, layout_ops, math_ops, random_ops, slice_ops
from flowray.client.ops.image_ops import check_image
from flowray.client.ops.resize_ops import ResizeMethod, image_size, resize_images
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes

_Int = Any
"""An int, or an int32 scalar that only a run knows."""


def _rank(image: Tensor) -> int:
    """Returns the rank, 3 or 4."""
    rank = image.shape.ndims
    if rank not in (None, 3, 4):
        raise ValueError("'image' must have either 3 or 4 dimensions.")
    return rank or 3


# Flipping and turning -----------------------------------------------------------------------------


def _flip(image: Any, axis: int, scope: str) -> Any:
    with name_scope(None, scope, [image]):
        image = check_image(image)
        flipped = layout_ops.reverse(image, [axis + _rank(image) - 3])
        flipped.set_shape(image.shape if image.shape.ndims is not None else [None] * 3)
        return flipped


@tf_export("image.flip_left_right")
def flip_left_right(image: Any) -> Any:
    """Mirrors ``image``, left for right."""
    return _flip(image, 1, "flip_left_right")


@tf_export("image.flip_up_down")
def flip_up_down(image: Any) -> Any:
    """Turns ``image`` upside down."""
    return _flip(image, 0, "flip_up_down")


def _random_flip(image: Any, axis: int, seed: int | None, scope: str) -> Any:
    with name_scope(None, scope, [image]) as name:
        image = check_image(image)
        if _rank(image) == 3:
            draw = random_ops.random_uniform([], 0, 1.0, seed=seed)
            result = cond(
                math_ops.less(draw, 0.5),
                lambda: layout_ops.reverse(image, [axis]),
                lambda: image,
                name=name,
            )
            result.set_shape(image.shape if image.shape.ndims is not None else [None] * 3)
            return result
        batch = array_ops.shape(image)[0]
        draws = random_ops.random_uniform([batch], 0, 1.0, seed=seed)
        chosen = math_ops.round(array_ops.reshape(draws, [batch, 1, 1, 1]))
        chosen = math_ops.cast(chosen, image.dtype)
        flipped = layout_ops.reverse(image, [axis + 1])
        return math_ops.add(
            math_ops.multiply(chosen, flipped),
            math_ops.multiply(math_ops.subtract(1, chosen), image),
        )


@tf_export("image.random_flip_left_right")
def random_flip_left_right(image: Any, seed: int | None = None) -> Any:
    """Mirrors left for right with probability 1/2 (for each image of a batch)."""
    return _random_flip(image, 1, seed, "random_flip_left_right")


@tf_export("image.random_flip_up_down")
def random_flip_up_down(image: Any, seed: int | None = None) -> Any:
    """Turns upside down with probability 1/2 (for each image of a batch)."""
    return _random_flip(image, 0, seed, "random_flip_up_down")


@tf_export("image.transpose", "image.transpose_image")
def transpose_image(image: Any, name: str | None = None) -> Any:
    """Exchanges rows and columns of ``image``."""
    with name_scope(name, "transpose_image", [image]):
        image = check_image(image)
        if _rank(image) == 3:
            return array_ops.transpose(image, [1, 0, 2], name="transpose_image")
        return array_ops.transpose(image, [0, 2, 1, 3], name="transpose_image")


@tf_export("image.rot90")
def rot90(image: Any, k: Any = 1, name: str | None = None) -> Any:
    """Turns ``image`` counterclockwise by ``k`` times 90 degrees, an int or an int32 scalar."""
    with name_scope(name, "rot90", [image, k]) as scope:
        image = check_image(image)
        k = math_ops.mod(convert_to_tensor(k, dtypes.int32, name="k"), 4)
        y = _rank(image) - 3
        swap = [1, 0, 2] if y == 0 else [0, 2, 1, 3]

        def turned(times: int) -> Tensor:
            if times == 1:
                return array_ops.transpose(layout_ops.reverse(image, [y + 1]), swap)
            if times == 2:
                return layout_ops.reverse(image, [y, y + 1])
            return layout_ops.reverse(array_ops.transpose(image, swap), [y + 1])

        known = constant_value(k)
        if known is not None:
            return turned(int(known)) if known else array_ops.identity(image)
        cases = [(math_ops.equal(k, n), lambda n=n: turned(n)) for n in (1, 2, 3)]
        result = case(cases, default=lambda: image, exclusive=True, name=scope)
        outer, channels = (image.shape_tuple or (None,) * 3)[:y], (image.shape_tuple or (None,))[-1]
        result.set_shape([*outer, None, None, channels])
        return result


# Cropping and padding -----------------------------------------------------------------------------


def _require(condition: Any, message: str) -> None:
    """Raises ValueError if ``condition`` is known to be false."""
    if not isinstance(condition, Tensor) and not condition:
        raise ValueError(message)


def _batched(image: Any) -> tuple[Tensor, bool]:
    """Returns a batch with the image, or the batch that it is already."""
    image = check_image(image)
    if _rank(image) == 3:
        if image.shape.ndims is None:
            image.set_shape([None] * 3)
        return array_ops.expand_dims(image, 0), False
    return image, True


def _unbatched(batch: Any, was_batch: bool) -> Any:
    return batch if was_batch else array_ops.squeeze(batch, axis=[0])


def _static(value: _Int) -> int | None:
    if isinstance(value, Tensor):
        known = constant_value(value)
        return None if known is None else int(known)
    return int(value)


def _set_size(batch: Any, like: Tensor, height: _Int, width: _Int) -> None:
    shape = like.shape_tuple
    assert shape is not None
    batch.set_shape([shape[0], _static(height), _static(width), shape[3]])


@tf_export("image.crop_to_bounding_box")
def crop_to_bounding_box(
    image: Any, offset_height: _Int, offset_width: _Int, target_height: _Int, target_width: _Int
) -> Any:
    """Returns the part of ``image`` whose upper left corner and size are given.

    Raises:
        ValueError: the graph tells that it does not lie in the image.
    """
    with name_scope(None, "crop_to_bounding_box", [image]):
        batch, was_batch = _batched(image)
        height, width = image_size(batch)
        _require(offset_width >= 0, "offset_width must be >= 0.")
        _require(offset_height >= 0, "offset_height must be >= 0.")
        _require(target_width > 0, "target_width must be > 0.")
        _require(target_height > 0, "target_height must be > 0.")
        _require(width >= target_width + offset_width, "width must be >= target + offset.")
        _require(height >= target_height + offset_height, "height must be >= target + offset.")
        cropped = slice_ops.slice(
            batch,
            array_ops.stack([0, offset_height, offset_width, 0]),
            array_ops.stack([-1, target_height, target_width, -1]),
        )
        _set_size(cropped, batch, target_height, target_width)
        return _unbatched(cropped, was_batch)


@tf_export("image.pad_to_bounding_box")
def pad_to_bounding_box(
    image: Any, offset_height: _Int, offset_width: _Int, target_height: _Int, target_width: _Int
) -> Any:
    """Returns an image of zeros of the target size, with ``image`` in it at the offset.

    Raises:
        ValueError: the graph tells that it does not fit.
    """
    with name_scope(None, "pad_to_bounding_box", [image]):
        batch, was_batch = _batched(image)
        height, width = image_size(batch)
        _require(offset_height >= 0, "offset_height must be >= 0")
        _require(offset_width >= 0, "offset_width must be >= 0")
        below = target_height - offset_height - height
        right = target_width - offset_width - width
        _require(right >= 0, "width must be <= target - offset")
        _require(below >= 0, "height must be <= target - offset")
        paddings = array_ops.reshape(
            array_ops.stack([0, 0, offset_height, below, offset_width, right, 0, 0]), [4, 2]
        )
        padded = layout_ops.pad(batch, paddings)
        _set_size(padded, batch, target_height, target_width)
        return _unbatched(padded, was_batch)


@tf_export("image.central_crop")
def central_crop(image: Any, central_fraction: float) -> Any:
    """Returns the middle of ``image``, of that part of its height and width.

    Raises:
        ValueError: the fraction is not in (0, 1].
    """
    with name_scope(None, "central_crop", [image]):
        image = convert_to_tensor(image, name="image")
        if central_fraction <= 0.0 or central_fraction > 1.0:
            raise ValueError("central_fraction must be within (0, 1]")
        if central_fraction == 1.0:
            return image
        batch, was_batch = _batched(image)
        height, width = image_size(batch)
        top, left = (_central_start(size, central_fraction) for size in (height, width))
        new_height, new_width = height - top * 2, width - left * 2
        cropped = slice_ops.slice(
            batch,
            array_ops.stack([0, top, left, 0]),
            array_ops.stack([-1, new_height, new_width, -1]),
        )
        _set_size(cropped, batch, new_height, new_width)
        return _unbatched(cropped, was_batch)


def _central_start(size: _Int, fraction: float) -> _Int:
    if not isinstance(size, Tensor):
        return int((float(size) - float(size) * fraction) / 2)
    length = math_ops.cast(size, dtypes.float64)
    start = math_ops.divide(math_ops.subtract(length, math_ops.multiply(length, fraction)), 2)
    return math_ops.cast(start, dtypes.int32)


def _at_least_zero(x: _Int) -> _Int:
    return math_ops.maximum(x, 0) if isinstance(x, Tensor) else max(x, 0)


def _smaller(x: _Int, y: _Int) -> _Int:
    known = not isinstance(x, Tensor) and not isinstance(y, Tensor)
    return min(x, y) if known else math_ops.minimum(x, y)


@tf_export("image.resize_image_with_crop_or_pad", "image.resize_with_crop_or_pad")
def resize_image_with_crop_or_pad(image: Any, target_height: _Int, target_width: _Int) -> Any:
    """Cuts ``image``, or pads it with zeros, on both sides evenly, to the target size."""
    with name_scope(None, "resize_image_with_crop_or_pad", [image]):
        batch, was_batch = _batched(image)
        _require(target_width > 0, "target_width must be > 0.")
        _require(target_height > 0, "target_height must be > 0.")
        height, width = image_size(batch)
        wider, higher = target_width - width, target_height - height
        cropped = crop_to_bounding_box(
            batch,
            _at_least_zero(-higher // 2),
            _at_least_zero(-wider // 2),
            _smaller(target_height, height),
            _smaller(target_width, width),
        )
        resized = pad_to_bounding_box(
            cropped,
            _at_least_zero(higher // 2),
            _at_least_zero(wider // 2),
            target_height,
            target_width,
        )
        return _unbatched(resized, was_batch)


@tf_export("image.resize_image_with_pad")
def resize_image_with_pad(
    image: Any,
    target_height: _Int,
    target_width: _Int,
    method: int = ResizeMethod.BILINEAR,
    align_corners: bool = False,
) -> Any:
    """Resizes ``image`` undistorted to fit the target size, with zeros around it."""
    with name_scope(None, "resize_image_with_pad", [image]):
        batch, was_batch = _batched(image)
        _require(target_width > 0, "target_width must be > 0.")
        _require(target_height > 0, "target_height must be > 0.")
        height, width = image_size(batch)
        tall, wide, target_tall, target_wide = (
            math_ops.cast(n, dtypes.float32) for n in (height, width, target_height, target_width)
        )
        ratio = math_ops.maximum(
            math_ops.divide(wide, target_wide), math_ops.divide(tall, target_tall)
        )
        tall, wide = math_ops.divide(tall, ratio), math_ops.divide(wide, ratio)
        new_size = array_ops.stack(
            [math_ops.cast(math_ops.floor(n), dtypes.int32) for n in (tall, wide)]
        )
        resized = resize_images(batch, new_size, method, align_corners=align_corners)
        above, left = (
            math_ops.maximum(
                math_ops.cast(
                    math_ops.floor(math_ops.divide(math_ops.subtract(target, length), 2)),
                    dtypes.int32,
                ),
                0,
            )
            for target, length in ((target_tall, tall), (target_wide, wide))
        )
        padded = pad_to_bounding_box(resized, above, left, target_height, target_width)
        return _unbatched(padded, was_batch)
