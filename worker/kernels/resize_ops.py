"""Kernels that resize images.

Each axis is resized by itself. The positions of output pixels among input pixels are computed in
float32 with TensorFlow's operations in TensorFlow's order, so that the same pixels are chosen; they
depend on static sizes only, so that XLA sees constants. The gradients, and the averaging of areas,
are products with one matrix for each axis.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.execution import blas
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support import loops

Array = np.ndarray[Any, Any]
_F32 = np.float32


def _check_centers(align_corners: bool, half_pixel_centers: bool) -> None:
    if align_corners and half_pixel_centers:
        raise errors.invalid_argument("If half_pixel_centers is True, align_corners must be False.")


def _check_image(x: Any, name: str = "input") -> None:
    if x.ndim != 4:
        raise errors.invalid_argument(f"{name} must be 4-dimensional{format_shape(x.shape)}")


def _check_size(size: Array) -> tuple[int, int]:
    if size.ndim != 1:
        raise errors.invalid_argument(f"shape_t must be 1-dimensional{format_shape(size.shape)}")
    if len(size) != 2:
        raise errors.invalid_argument(f"shape_t must have two elements{format_shape(size.shape)}")
    height, width = size.tolist()
    return height, width


def _output_size(x: Any, size: Array) -> tuple[int, int]:
    _check_image(x)
    height, width = _check_size(size)
    if height <= 0 or width <= 0:
        raise errors.invalid_argument("output dimensions must be positive")
    if 0 in x.shape[1:3]:
        raise errors.invalid_argument("input image must be of non-zero size")
    if x.shape[3] == 0:
        raise errors.invalid_argument("image must have at least one channel")
    return height, width


def _scale(in_size: int, out_size: int, align_corners: bool) -> np.float32:
    """Returns the number of input pixels that an output pixel stands for."""
    if align_corners and out_size > 1:
        return _F32(in_size - 1) / _F32(out_size - 1)
    return _F32(in_size) / _F32(out_size)


def _places(in_size: int, out_size: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Returns the positions of the output pixels among the input pixels."""
    scale = _scale(in_size, out_size, align_corners)
    pixels = np.arange(out_size, dtype=np.float32)
    if half_pixel_centers:
        return (pixels + _F32(0.5)) * scale - _F32(0.5)
    return pixels * scale


def _matrix(taps: list[tuple[Array, Array]], in_size: int, dtype: Any) -> Array:
    """Returns [out, in]: the weights with which input pixels make output pixels."""
    rows = np.arange(len(taps[0][0]))
    matrix = np.zeros((len(rows), in_size), dtype)
    for indices, weights in taps:
        np.add.at(matrix, (rows, indices), weights)
    return matrix


def _apply(xp: Any, x: Any, rows: Array, columns: Array) -> Any:
    """Combines the rows and the columns of ``x`` by the matrices, [out, in] each."""
    batch, height, width, channels = x.shape
    x = _product(xp, rows, x.reshape(batch, height, width * channels))
    x = x.reshape(batch * len(rows), width, channels)
    return _product(xp, columns, x).reshape(batch, len(rows), len(columns), channels)


def _product(xp: Any, a: Any, b: Any) -> Any:
    # A GPU may multiply float32 with mantissas of ten bits, which would be visible in images.
    return blas.matmul(a, b) if xp is np else xp.matmul(a, b, precision="highest")


# Bilinear ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Between:
    """The two neighbors of each output pixel of an axis, and its distance from the lower one."""

    lower: Array
    upper: Array
    distance: Array

    @classmethod
    @functools.lru_cache(maxsize=256)
    def of(cls, in_size: int, out_size: int, align: bool, half: bool) -> _Between:
        places = _places(in_size, out_size, align, half)
        below = np.floor(places)
        lower = np.maximum(below, 0).astype(np.uint32)
        upper = np.minimum(np.ceil(places), in_size - 1).astype(np.uint32)
        return cls(lower, upper, places - below)

    def interpolate(self, xp: Any, x: Any, axis: int) -> Any:
        first = xp.take(x, self.lower, axis=axis)
        distance = self.distance.reshape(-1, *[1] * (x.ndim - axis - 1))
        return first + (xp.take(x, self.upper, axis=axis) - first) * distance

    @functools.lru_cache(maxsize=256)  # noqa: B019 (these live as long as the cache of ``of``)
    def of_channels(self, channels: int) -> _Between:
        """Returns the same for an axis on which the channels of a pixel lie one after the other."""
        offsets = np.arange(channels, dtype=np.uint32)
        lower, upper = (
            (places[:, None] * np.uint32(channels) + offsets).ravel()
            for places in (self.lower, self.upper)
        )
        return _Between(lower, upper, np.repeat(self.distance, channels))

    def matrix(self, in_size: int, dtype: Any) -> Array:
        taps = [(self.lower, 1 - self.distance), (self.upper, self.distance)]
        return _matrix(taps, in_size, dtype)


@kernel("ResizeBilinear")
def resize_bilinear(
    xp: Any, x: Any, size: Array, *, align_corners: bool, half_pixel_centers: bool
) -> Any:
    """Resizes ``[batch, height, width, channels]`` by bilinear interpolation.

    The result is float32.

    If rows get fewer, they are interpolated before columns, which saves work; TensorFlow takes
    columns first, so the last bit may differ.
    """
    _check_centers(align_corners, half_pixel_centers)
    height, width = _output_size(x, size)
    if (height, width) == x.shape[1:3]:
        return x.astype(np.float32)
    rows = _Between.of(x.shape[1], height, align_corners, half_pixel_centers)
    columns = _Between.of(x.shape[2], width, align_corners, half_pixel_centers)
    if xp is np:
        return _interpolate_on_host(x, rows, columns)
    return _interpolate(xp, x, rows, columns)


def _rows_first(in_height: int, out_height: int) -> bool:
    """Tells whether rows are interpolated before columns: the axis that gets shorter saves work.

    TensorFlow takes columns first; the results differ in the last bit.
    """
    return out_height < in_height


def _interpolate(xp: Any, x: Any, rows: _Between, columns: _Between) -> Any:
    x = x.astype(np.float32)
    if _rows_first(x.shape[1], len(rows.lower)):
        return columns.interpolate(xp, rows.interpolate(xp, x, axis=1), axis=2)
    return rows.interpolate(xp, columns.interpolate(xp, x, axis=2), axis=1)


def _interpolate_on_host(x: Array, rows: _Between, columns: _Between) -> Array:
    if x.dtype not in loops.TYPES:
        x = x.astype(np.float32)
    if not (x.flags.c_contiguous and x.flags.aligned):  # an array that came in a message
        x = np.require(x, requirements="CA")
    batch, height, width, channels = x.shape
    lines = x.reshape(batch, height, width * channels)
    result = np.empty((batch, len(rows.lower), len(columns.lower) * channels), np.float32)
    arrays = (
        lines, rows.lower, rows.upper, rows.distance,
        columns.lower, columns.upper, columns.distance, result,
    )  # fmt: skip
    is_rows_first = _rows_first(height, len(rows.lower))
    loop = _interpolate_rows_first if is_rows_first else _interpolate_columns_first
    interpolate = loop.compiled(*arrays)
    if interpolate is not None:
        interpolate(*arrays)
    else:  # channels as columns: numpy takes scalars ten times as fast as groups of them
        result = _interpolate(np, lines[..., None], rows, columns.of_channels(channels))
    return result.reshape(batch, len(rows.lower), len(columns.lower), channels)


@loops.part
def _resize_line(
    line: Array, lower: Array, upper: Array, distance: Array, channels: int, result: Array
) -> None:
    """Interpolates the columns of one row of an image, [columns x channels]."""
    # A constant number of channels is twice as fast, and less so as an argument of a function.
    if channels == 3:
        for column in range(len(lower)):
            for channel in range(3):
                first = line[3 * lower[column] + channel]
                second = line[3 * upper[column] + channel]
                result[3 * column + channel] = first + (second - first) * distance[column]
    else:
        for column in range(len(lower)):
            for channel in range(channels):
                first = line[channels * lower[column] + channel]
                second = line[channels * upper[column] + channel]
                result[channels * column + channel] = first + (second - first) * distance[column]


@loops.Loop
def _interpolate_rows_first(
    lines: Array,
    row_lower: Array,
    row_upper: Array,
    row_distance: Array,
    lower: Array,
    upper: Array,
    distance: Array,
    result: Array,
) -> None:
    """Computes ``_interpolate`` of [batch, rows, columns x channels], row by row of the result."""
    channels = result.shape[2] // len(lower)
    line = np.empty(lines.shape[2], np.float32)
    for image in range(len(lines)):
        for row in range(len(row_lower)):
            above, below = lines[image, row_lower[row]], lines[image, row_upper[row]]
            for i in range(len(line)):
                first = np.float32(above[i])
                line[i] = first + (np.float32(below[i]) - first) * row_distance[row]
            _resize_line(line, lower, upper, distance, channels, result[image, row])


@loops.Loop
def _interpolate_columns_first(
    lines: Array,
    row_lower: Array,
    row_upper: Array,
    row_distance: Array,
    lower: Array,
    upper: Array,
    distance: Array,
    result: Array,
) -> None:
    """Computes ``_interpolate`` and keeps the two last resized rows, as results share them."""
    channels = result.shape[2] // len(lower)
    line = np.empty(lines.shape[2], np.float32)
    # The resized input rows around the last row of the result: the even one and the odd one.
    resized = np.empty((2, result.shape[2]), np.float32)
    for image in range(len(lines)):
        held = [-1, -1]
        for row in range(len(row_lower)):
            for place in (row_lower[row], row_upper[row]):
                if held[place % 2] != place:
                    held[place % 2] = place
                    for i in range(len(line)):
                        line[i] = np.float32(lines[image, place, i])
                    _resize_line(line, lower, upper, distance, channels, resized[place % 2])
            above, below = resized[row_lower[row] % 2], resized[row_upper[row] % 2]
            for i in range(result.shape[2]):
                result[image, row, i] = above[i] + (below[i] - above[i]) * row_distance[row]


@kernel("ResizeBilinearGrad")
def resize_bilinear_grad(
    xp: Any, grads: Any, original: Any, *, align_corners: bool, half_pixel_centers: bool
) -> Any:
    """Computes the gradient of ResizeBilinear for an input like ``original``."""

    def matrix(in_size: int, out_size: int, dtype: Any) -> Array:
        between = _Between.of(in_size, out_size, align_corners, half_pixel_centers)
        return between.matrix(in_size, dtype)

    return _resize_grad(xp, grads, original, align_corners, half_pixel_centers, matrix)


def _resize_grad(
    xp: Any, grads: Any, original: Any, align_corners: bool, half_pixel_centers: bool, matrix: Any
) -> Any:
    """Multiplies the gradient by the transposed matrices.

    Args:
        matrix: a function of (in size, out size, dtype) that returns [out, in].
    """
    _check_centers(align_corners, half_pixel_centers)
    _check_image(grads, "input_grad")
    _check_image(original, "original_image")
    wide = np.float64 if original.dtype == np.float64 else np.float32
    rows = matrix(original.shape[1], grads.shape[1], wide)
    columns = matrix(original.shape[2], grads.shape[2], wide)
    return _apply(xp, grads.astype(wide), rows.T, columns.T).astype(original.dtype)


# Nearest neighbor --------------------------------------------------------------------------------


def _nearest(in_size: int, out_size: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Returns the input pixel of each output pixel."""
    scale = _scale(in_size, out_size, align_corners)
    pixels = np.arange(out_size, dtype=np.float32)
    places = (pixels + _F32(0.5) if half_pixel_centers else pixels) * scale
    # Halves are rounded up.
    chosen = np.floor(places + _F32(0.5)) if align_corners else np.floor(places)
    return np.clip(chosen, 0, in_size - 1).astype(np.int64)


@kernel("ResizeNearestNeighbor")
def resize_nearest_neighbor(
    xp: Any, x: Any, size: Array, *, align_corners: bool, half_pixel_centers: bool
) -> Any:
    """Resizes by choosing the nearest pixel; the dtype stays."""
    _check_centers(align_corners, half_pixel_centers)
    height, width = _output_size(x, size)
    rows = _nearest(x.shape[1], height, align_corners, half_pixel_centers)
    columns = _nearest(x.shape[2], width, align_corners, half_pixel_centers)
    return xp.take(xp.take(x, rows, axis=1), columns, axis=2)


@kernel("ResizeNearestNeighborGrad")
def resize_nearest_neighbor_grad(
    xp: Any, grads: Any, size: Array, *, align_corners: bool, half_pixel_centers: bool
) -> Any:
    """Sums the gradients of the output pixels that took each input pixel."""
    _check_centers(align_corners, half_pixel_centers)
    _check_image(grads)
    height, width = _check_size(size)
    if height <= 0 or width <= 0:
        raise errors.invalid_argument("shape_t's elements must be positive")
    wide = grads.dtype if grads.dtype.kind in "iu" or grads.dtype.itemsize > 4 else _F32

    def matrix(in_size: int, out_size: int) -> Array:
        indices = _nearest(in_size, out_size, align_corners, half_pixel_centers)
        return _matrix([(indices, np.ones(out_size, wide))], in_size, wide)

    rows, columns = matrix(height, grads.shape[1]), matrix(width, grads.shape[2])
    return _apply(xp, grads.astype(wide), rows.T, columns.T).astype(grads.dtype)


# Bicubic -----------------------------------------------------------------------------------------

_STEPS = 1024


def _cubic_table(a: float) -> Array:
    """Tabulates Keys's kernel: row i has its values at distances i / 1024 and 1 + i / 1024.

    Args:
        a: the kernel's parameter.
    """
    x = np.arange(_STEPS + 1) / _STEPS
    y = x + 1
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * y - 5 * a) * y + 8 * a) * y - 4 * a
    return np.stack([near, far], axis=1).astype(np.float32)


_CUBIC = _cubic_table(-0.75)
_KEYS_CUBIC = _cubic_table(-0.5)
"""The table for half pixel centers."""


def _cubic_taps(
    in_size: int, out_size: int, align_corners: bool, half_pixel_centers: bool
) -> list[tuple[Array, Array]]:
    """Returns indices and weights of the four neighbors of each output pixel."""
    places = _places(in_size, out_size, align_corners, half_pixel_centers)
    base = np.floor(places)
    steps = np.rint((places - base) * _F32(_STEPS)).astype(np.int64)
    base = base.astype(np.int64)
    table = _KEYS_CUBIC if half_pixel_centers else _CUBIC
    weights = np.stack(
        [table[steps, 1], table[steps, 0], table[_STEPS - steps, 0], table[_STEPS - steps, 1]]
    )
    wanted = base + np.arange(-1, 3)[:, None]
    indices = np.clip(wanted, 0, in_size - 1)
    if half_pixel_centers:
        # Neighbors outside the image do not count, and the weights of the others are scaled up.
        weights = np.where(indices == wanted, weights, _F32(0))
        total = weights[0] + weights[1] + weights[2] + weights[3]
        large = np.abs(total) >= _F32(1000) * np.finfo(np.float32).tiny
        weights = np.where(large, weights * (_F32(1) / np.where(large, total, _F32(1))), weights)
    return list(zip(indices, weights, strict=True))


def _combine(xp: Any, x: Any, axis: int, taps: list[tuple[Array, Array]]) -> Any:
    shape = (-1, *[1] * (x.ndim - axis - 1))
    parts = [xp.take(x, i, axis=axis).astype(np.float32) * w.reshape(shape) for i, w in taps]
    return parts[0] + parts[1] + parts[2] + parts[3]


@kernel("ResizeBicubic")
def resize_bicubic(
    xp: Any, x: Any, size: Array, *, align_corners: bool, half_pixel_centers: bool
) -> Any:
    """Resizes by bicubic interpolation with TensorFlow's table of 1,024 steps.

    The result is float32.
    """
    _check_centers(align_corners, half_pixel_centers)
    height, width = _output_size(x, size)
    rows = _cubic_taps(x.shape[1], height, align_corners, half_pixel_centers)
    columns = _cubic_taps(x.shape[2], width, align_corners, half_pixel_centers)
    return _combine(xp, _combine(xp, x, 1, rows), 2, columns)


@kernel("ResizeBicubicGrad")
def resize_bicubic_grad(
    xp: Any, grads: Any, original: Any, *, align_corners: bool, half_pixel_centers: bool
) -> Any:
    """Computes the gradient of ResizeBicubic for an input like ``original``."""

    def matrix(in_size: int, out_size: int, dtype: Any) -> Array:
        taps = _cubic_taps(in_size, out_size, align_corners, half_pixel_centers)
        return _matrix(taps, in_size, dtype)

    return _resize_grad(xp, grads, original, align_corners, half_pixel_centers, matrix)


# Area --------------------------------------------------------------------------------------------


def _area_matrix(in_size: int, out_size: int, align_corners: bool) -> Array:
    """Returns [out, in]: the share of each input pixel that an output pixel covers."""
    scale = _scale(in_size, out_size, align_corners)
    start = np.arange(out_size, dtype=np.float32) * scale
    end = np.arange(1, out_size + 1, dtype=np.float32) * scale
    start, end = start[:, None], end[:, None]
    pixels = np.arange(in_size)
    covered = np.maximum(np.minimum(pixels + 1, end) - np.maximum(pixels, start), 0)
    # With aligned corners the last area reaches beyond the edge; the edge's pixel fills the rest.
    covered[:, -1:] += np.maximum(end - np.maximum(start, in_size), 0)
    return (covered / scale).astype(np.float32)


@kernel("ResizeArea")
def resize_area(xp: Any, x: Any, size: Array, *, align_corners: bool) -> Any:
    """Resizes by averaging the area that each output pixel covers; the result is float32."""
    height, width = _output_size(x, size)
    rows = _area_matrix(x.shape[1], height, align_corners)
    columns = _area_matrix(x.shape[2], width, align_corners)
    return _apply(xp, x.astype(np.float32), rows, columns)


# Parts of images, resized ------------------------------------------------------------------------


def _check_crop(image_name: str, image: Any, boxes: Any, box_ind: Any) -> None:
    if image.ndim != 4:
        raise errors.invalid_argument(f"{image_name} must be 4-D{format_shape(image.shape)}")
    if boxes.ndim != 2:
        raise errors.invalid_argument(f"boxes must be 2-D, got: {format_shape(boxes.shape)}")
    if boxes.shape[1] != 4:
        raise errors.invalid_argument("boxes must have 4 columns")
    if box_ind.ndim != 1:
        raise errors.invalid_argument(
            f"box_indices must be rank 1 but is shape {format_shape(box_ind.shape)}"
        )
    if box_ind.shape[0] != boxes.shape[0]:
        raise errors.invalid_argument("box_index has incompatible shape")


def _check_vector(vector: Array, name: str, length: int, in_words: str) -> None:
    if vector.ndim != 1:
        raise errors.invalid_argument(f"{name} must be 1-D{format_shape(vector.shape)}")
    if len(vector) != length:
        raise errors.invalid_argument(
            f"{name} must have {in_words} elements{format_shape(vector.shape)}"
        )


def _check_box_values(xp: Any, boxes: Any, box_ind: Any, image: tuple[int, ...]) -> None:
    if image[1] <= 0 or image[2] <= 0:
        raise errors.invalid_argument("image dimensions must be positive")
    check(xp.all((box_ind >= 0) & (box_ind < image[0])), _outside)
    check(xp.all(xp.isfinite(boxes)), _infinite)


def _outside() -> errors.OpError:
    return errors.out_of_range("box_index has values outside [0, batch_size)")


def _infinite() -> errors.OpError:
    return errors.invalid_argument("Boxes contains at least one element that is not finite")


@dataclass(frozen=True)
class _Samples:
    """The positions of the pixels of crops in the images, per axis; the first axis is for boxes."""

    y: Any
    x: Any
    inside: Any
    """bool [boxes, crop height, crop width]: True for pixels in the image."""

    @classmethod
    def of(cls, xp: Any, boxes: Any, image_size: tuple[int, int], size: tuple[int, int]) -> Any:
        y = cls._axis(xp, boxes[:, 0], boxes[:, 2], image_size[0], size[0])
        x = cls._axis(xp, boxes[:, 1], boxes[:, 3], image_size[1], size[1])
        inside = [(p >= 0) & (p <= n - 1) for p, n in ((y, image_size[0]), (x, image_size[1]))]
        return cls(y, x, inside[0][:, :, None] & inside[1][:, None, :])

    @staticmethod
    def _axis(xp: Any, start: Any, end: Any, in_size: int, out_size: int) -> Any:
        last = _F32(in_size - 1)
        if out_size == 1:
            return (_F32(0.5) * (start + end) * last)[:, None]
        step = (end - start) * last / _F32(out_size - 1)
        return (start * last)[:, None] + np.arange(out_size, dtype=np.float32) * step[:, None]


def _neighbors(xp: Any, places: Any, in_size: int) -> tuple[Any, Any, Any]:
    """Returns the pixels before and after each position, and the distances from the first."""
    low = xp.floor(places)
    lower, upper = (xp.clip(p, 0, in_size - 1).astype(np.int32) for p in (low, xp.ceil(places)))
    return lower, upper, places - low


def _pixels(image: Any, box_ind: Any, rows: Any, columns: Any) -> Any:
    """Takes [boxes, rows, columns, channels] of the images that the boxes lie in."""
    return image[box_ind[:, None, None], rows[:, :, None], columns[:, None, :]]


@kernel("CropAndResize")
def crop_and_resize(
    xp: Any,
    image: Any,
    boxes: Any,
    box_ind: Any,
    crop_size: Array,
    *,
    method: bytes,
    extrapolation_value: float,
) -> Any:
    """Crops boxes from images and resizes them to ``crop_size``; float32.

    Args:
        boxes: ``[boxes, 4]`` in parts of the image: y1, x1, y2, x2. They may reach beyond it; the
            pixels there are ``extrapolation_value``. With y1 > y2 the crop is flipped.
        box_ind: the image of each box.
    """
    _check_crop("input image", image, boxes, box_ind)
    _check_vector(crop_size, "crop_size", 2, "two")
    height, width = crop_size.tolist()
    if height <= 0 or width <= 0:
        raise errors.invalid_argument("crop dimensions must be positive")
    _check_box_values(xp, boxes, box_ind, image.shape)
    samples = _Samples.of(xp, boxes, image.shape[1:3], (height, width))
    if method == b"nearest":
        rows, columns = (
            xp.clip(_rounded(xp, places), 0, size - 1).astype(np.int32)
            for places, size in ((samples.y, image.shape[1]), (samples.x, image.shape[2]))
        )
        crops = _pixels(image, box_ind, rows, columns).astype(np.float32)
    else:
        top, bottom, dy = _neighbors(xp, samples.y, image.shape[1])
        left, right, dx = _neighbors(xp, samples.x, image.shape[2])
        dx, dy = dx[:, None, :, None], dy[:, :, None, None]

        def row(y: Any) -> Any:
            first = _pixels(image, box_ind, y, left).astype(np.float32)
            return first + (_pixels(image, box_ind, y, right).astype(np.float32) - first) * dx

        upper = row(top)
        crops = upper + (row(bottom) - upper) * dy
    return xp.where(samples.inside[..., None], crops, _F32(extrapolation_value))


def _rounded(xp: Any, places: Any) -> Any:
    """Rounds halves away from zero, as C's round; positions in the image are not negative."""
    return xp.floor(places + _F32(0.5))


def _check_crop_grads(grads: Any, boxes: Any, box_ind: Any) -> None:
    _check_crop("grads image", grads, boxes, box_ind)
    if grads.shape[0] != boxes.shape[0]:
        raise errors.invalid_argument("boxes and grads have incompatible shape")


@kernel("CropAndResizeGradImage")
def crop_and_resize_grad_image(
    xp: Any, grads: Any, boxes: Any, box_ind: Any, image_size: Array, *, T: DType, method: bytes
) -> Any:
    """Computes the gradient of CropAndResize with respect to the images."""
    _check_crop_grads(grads, boxes, box_ind)
    _check_vector(image_size, "image_size", 4, "4")
    shape = tuple(image_size.tolist())
    if shape[3] != grads.shape[3]:
        raise errors.invalid_argument("image_size and grads are incompatible")
    _check_box_values(xp, boxes, box_ind, shape)
    samples = _Samples.of(xp, boxes, shape[1:3], grads.shape[1:3])
    wide = np.dtype(np.float64 if T.as_numpy_dtype == np.float64 else np.float32)
    grads = xp.where(samples.inside[..., None], grads, _F32(0)).astype(wide)
    if method == b"nearest":
        rows = xp.clip(_rounded(xp, samples.y), 0, shape[1] - 1).astype(np.int32)
        columns = xp.clip(_rounded(xp, samples.x), 0, shape[2] - 1).astype(np.int32)
        shares = [(rows, columns, grads)]
    else:
        top, bottom, dy = _neighbors(xp, samples.y, shape[1])
        left, right, dx = _neighbors(xp, samples.x, shape[2])
        dx, dy = dx[:, None, :, None], dy[:, :, None, None]
        shares = [
            (rows, columns, grads * weight)
            for rows, columns, weight in (
                (top, left, (1 - dy) * (1 - dx)),
                (top, right, (1 - dy) * dx),
                (bottom, left, dy * (1 - dx)),
                (bottom, right, dy * dx),
            )
        ]
    result = xp.zeros(shape, wide)
    for rows, columns, share in shares:
        where = (box_ind[:, None, None], rows[:, :, None], columns[:, None, :])
        if xp is np:
            np.add.at(result, where, share)
        else:
            result = result.at[where].add(share.astype(wide))
    return result.astype(T.as_numpy_dtype)


@kernel("CropAndResizeGradBoxes")
def crop_and_resize_grad_boxes(
    xp: Any, grads: Any, image: Any, boxes: Any, box_ind: Any, *, method: bytes
) -> Any:
    """Computes the gradient of CropAndResize with respect to the boxes; bilinear only."""
    if method != b"bilinear":
        raise errors.invalid_argument("method must be 'bilinear'")
    _check_crop_grads(grads, boxes, box_ind)
    _check_crop("input image", image, boxes, box_ind)
    if image.shape[3] != grads.shape[3]:
        raise errors.invalid_argument("image, grads depth differ")
    _check_box_values(xp, boxes, box_ind, image.shape)
    height, width = image.shape[1:3]
    crop_height, crop_width = grads.shape[1:3]
    samples = _Samples.of(xp, boxes, (height, width), (crop_height, crop_width))
    top, bottom, dy = _neighbors(xp, samples.y, height)
    left, right, dx = _neighbors(xp, samples.x, width)
    dx, dy = dx[:, None, :, None], dy[:, :, None, None]
    corners = {
        (rows, columns): _pixels(image, box_ind, y, x).astype(np.float32)
        for rows, y in (("top", top), ("bottom", bottom))
        for columns, x in (("left", left), ("right", right))
    }
    by_y = (1 - dx) * (corners["bottom", "left"] - corners["top", "left"]) + dx * (
        corners["bottom", "right"] - corners["top", "right"]
    )
    by_x = (1 - dy) * (corners["top", "right"] - corners["top", "left"]) + dy * (
        corners["bottom", "right"] - corners["bottom", "left"]
    )
    grads = xp.where(samples.inside[..., None], grads, _F32(0))
    # The derivatives of a pixel's position with respect to the box's start and end.
    parts = []
    for by, size, in_size, axis in ((by_y, crop_height, height, 1), (by_x, crop_width, width, 2)):
        ratio = np.arange(size, dtype=np.float32) / _F32(max(size - 1, 1))
        ends = ratio if size > 1 else np.full(1, 0.5, np.float32)
        along = xp.sum(grads * by, axis=(3 - axis, 3)) * _F32(in_size - 1)
        parts.append((xp.sum(along * (1 - ends), axis=1), xp.sum(along * ends, axis=1)))
    (y1, y2), (x1, x2) = parts
    return xp.stack([y1, x1, y2, x2], axis=1)
