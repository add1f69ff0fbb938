"""User functions that resize images."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.constant_value import constant_value_as_shape
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops
from flowray.client.ops.array_ops import _one_of
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


@tf_export("image.ResizeMethod")
class ResizeMethod:
    """The interpolations of ``tf.image.resize_images``."""

    BILINEAR = 0
    NEAREST_NEIGHBOR = 1
    BICUBIC = 2
    AREA = 3


@tf_export("image.resize_bilinear")
def resize_bilinear(
    images: Any,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resizes images [batch, height, width, channels] by linear interpolation; float32.

    Args:
        size: the new height and width, an int32 vector.
        align_corners: whether the centers of the corner pixels stay where they are.
        half_pixel_centers: whether a pixel's place is its center and not its upper left corner.
    """
    return output_of(
        "ResizeBilinear",
        images,
        size,
        align_corners=align_corners,
        half_pixel_centers=half_pixel_centers,
        name=name,
    )


@tf_export("image.resize_nearest_neighbor")
def resize_nearest_neighbor(
    images: Any,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resizes as ``resize_bilinear`` to the nearest old pixels; the dtype stays."""
    return output_of(
        "ResizeNearestNeighbor",
        images,
        size,
        align_corners=align_corners,
        half_pixel_centers=half_pixel_centers,
        name=name,
    )


@tf_export("image.resize_bicubic")
def resize_bicubic(
    images: Any,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resizes as ``resize_bilinear`` by cubic splines of four neighbors an axis."""
    return output_of(
        "ResizeBicubic",
        images,
        size,
        align_corners=align_corners,
        half_pixel_centers=half_pixel_centers,
        name=name,
    )


@tf_export("image.resize_area")
def resize_area(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None
) -> Tensor:
    """Resizes as ``resize_bilinear`` to the mean of the area that a new pixel covers."""
    return output_of("ResizeArea", images, size, align_corners=align_corners, name=name)


_METHODS = {
    ResizeMethod.BILINEAR: resize_bilinear,
    ResizeMethod.NEAREST_NEIGHBOR: resize_nearest_neighbor,
    ResizeMethod.BICUBIC: resize_bicubic,
    ResizeMethod.AREA: resize_area,
}


@tf_export("image.resize", "image.resize_images")
def resize_images(
    images: Any,
    size: Any,
    method: int = ResizeMethod.BILINEAR,
    align_corners: bool = False,
    preserve_aspect_ratio: bool = False,
    name: str | None = None,
) -> Any:
    """Resizes an image or a batch of images.

    Args:
        images: [height, width, channels] or [batch, height, width, channels].
        size: the new height and width, an int32 vector.
        method: a ``tf.image.ResizeMethod``.
        align_corners: whether the centers of the corner pixels stay where they are.
        preserve_aspect_ratio: whether the images become as large as they can within ``size``
            without being distorted.

    Returns:
        float32; the dtype of ``images`` with ``NEAREST_NEIGHBOR``, or where the graph tells that
        the size does not change.

    Raises:
        ValueError: the rank is unknown or neither 3 nor 4, ``size`` is not a vector of two, or the
            method is unknown.
    """
    with name_scope(name, "resize", [images, size]):
        images = convert_to_tensor(images, name="images")
        rank = images.shape.ndims
        if rank is None:
            raise ValueError("'images' contains no shape.")
        if rank not in (3, 4):
            raise ValueError("'images' must have either 3 or 4 dimensions.")
        batch = images if rank == 4 else array_ops.expand_dims(images, 0)
        size = convert_to_tensor(size, dtypes.int32, name="size")
        if not size.shape.is_compatible_with([2]):
            raise ValueError("'size' must be a 1-D Tensor of 2 elements: new_height, new_width")
        if preserve_aspect_ratio:
            size = _size_within(batch, size)
        new_size = constant_value_as_shape(size)
        old_size = batch.shape[1:3].as_tuple()
        if new_size is None or None in new_size or new_size != old_size:
            if method not in _METHODS:
                raise ValueError(f"Resize method is not implemented: {method}")
            batch = _METHODS[method](batch, size, align_corners=align_corners)
            batch.set_shape([None, *(new_size or (None, None)), None])
        return batch if rank == 4 else array_ops.squeeze(batch, axis=[0])


def _size_within(images: Tensor, size: Tensor) -> Tensor:
    """Returns the largest size within ``size`` that does not distort the images."""
    current = image_size(images)
    limits = array_ops.unstack(apply_op("Cast", size, DstT=dtypes.float32), 2)
    lengths = [apply_op("Cast", n, DstT=dtypes.float32) for n in current]
    factors = [
        apply_op("RealDiv", limit, length) for limit, length in zip(limits, lengths, strict=True)
    ]
    factor = apply_op("Minimum", *factors)
    scaled = [
        apply_op("Cast", apply_op("Round", apply_op("Mul", factor, n)), DstT=dtypes.int32)
        for n in lengths
    ]
    result: Tensor = array_ops.stack(scaled)
    return result


def image_size(images: Tensor) -> list[Any]:
    """Returns height and width: ints if the graph tells them, else int32 scalars."""
    shape = images.shape_tuple
    assert shape is not None
    if None not in shape[-3:-1]:
        return list(shape[-3:-1])
    dynamic = array_ops.unstack(array_ops.shape(images), len(shape))
    return [
        known if known is not None else there
        for known, there in zip(shape[-3:-1], dynamic[-3:-1], strict=True)
    ]


@tf_export("image.crop_and_resize")
def crop_and_resize(
    image: Any,
    boxes: Any,
    box_ind: Any = None,
    crop_size: Any = None,
    method: str = "bilinear",
    extrapolation_value: float = 0,
    name: str | None = None,
    box_indices: Any = None,
) -> Tensor:
    """Crops boxes from images and resizes them to ``crop_size``; float32.

    Args:
        image: [batch, height, width, channels].
        boxes: float32 [boxes, 4]: y and x of a corner and of the opposite one, of which 0 and 1
            are the centers of the image's first and last pixels.
        box_ind: int32 [boxes], the image of each box; also called ``box_indices``.
        crop_size: height and width, an int32 vector.
        method: ``bilinear`` or ``nearest``.
        extrapolation_value: the value of pixels that lie outside the image.
    """
    box_ind = _one_of("box_indices", box_indices, "box_ind", box_ind)
    return output_of(
        "CropAndResize",
        image,
        boxes,
        box_ind,
        crop_size,
        method=method,
        extrapolation_value=extrapolation_value,
        name=name,
    )
