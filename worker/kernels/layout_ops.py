"""Kernels of padding, reversing, diagonals of matrices, and blocks moved into depth or batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.shapes import format_shape
from flowray.worker.execution import xla
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.array_ops import along, normalized_axis, zero

Array = np.ndarray[Any, Any]

# Repeating, padding, reversing --------------------------------------------------------------------


@kernel("Tile")
def tile(xp: Any, x: Any, multiples: Array) -> Any:
    """Repeats ``x`` along each dimension; ``multiples`` has one count for each, unlike numpy's."""
    times = multiples.tolist()
    if len(times) != x.ndim:
        raise errors.invalid_argument(
            f"Expected multiples argument to be a vector of length {x.ndim} but got length "
            f"{len(times)}"
        )
    for i, count in enumerate(times):
        if count < 0:
            raise errors.invalid_argument(f"Expected multiples[{i}] >= 0, but got {count}")
    return xp.tile(x, tuple(times))


def _check_paddings(x: Any, paddings: Array) -> list[list[int]]:
    if paddings.ndim != 2 or paddings.shape[1] != 2:
        raise errors.invalid_argument(
            f"paddings must be a matrix with 2 columns: {format_shape(paddings.shape)}"
        )
    if paddings.shape[0] != x.ndim:
        raise errors.invalid_argument(
            "The first dimension of paddings must be the rank of inputs"
            f"{format_shape(paddings.shape)} {format_shape(x.shape)}"
        )
    pairs: list[list[int]] = paddings.tolist()
    for before, after in pairs:
        if before < 0 or after < 0:
            raise errors.invalid_argument(f"Paddings must be non-negative: {before} {after}")
    return pairs


def pad_with(xp: Any, x: Any, pairs: Sequence[Sequence[int]], value: Any) -> Any:
    """Surrounds ``x`` with the scalar ``value``.

    Args:
        pairs: (before, after) for each dimension.
    """
    if xp is not np:
        return xla.jax().lax.pad(x, xp.asarray(value, x.dtype), [(b, a, 0) for b, a in pairs])
    result = np.full([d + b + a for d, (b, a) in zip(x.shape, pairs, strict=True)], value, x.dtype)
    result[tuple(slice(b, b + d) for d, (b, _) in zip(x.shape, pairs, strict=True))] = x
    return result


@kernel("Pad")
def pad(xp: Any, x: Any, paddings: Array) -> Any:
    """Pads with zeros (strings: empty ones); ``paddings`` is ``[rank, 2]``."""
    return pad_with(xp, x, _check_paddings(x, paddings), zero(x.dtype))


@kernel("PadV2")
def pad_v2(xp: Any, x: Any, paddings: Array, constant_values: Any) -> Any:
    """Pads with the scalar ``constant_values``."""
    if constant_values.shape:
        raise errors.invalid_argument(
            f"constant_values must be a scalar. Found: {format_shape(constant_values.shape)}"
        )
    return pad_with(xp, x, _check_paddings(x, paddings), constant_values)


@kernel("MirrorPad")
def mirror_pad(xp: Any, x: Any, paddings: Array, *, mode: bytes) -> Any:
    """Pads with mirrored elements: mode REFLECT leaves the edge out, SYMMETRIC repeats it.

    Unlike numpy's, a padding may not exceed the dimension (less one for REFLECT).
    """
    pairs = _check_paddings(x, paddings)
    for (before, after), dim in zip(pairs, x.shape, strict=True):
        if mode == b"SYMMETRIC" and max(before, after) > dim:
            raise errors.invalid_argument(
                "paddings must be no greater than the dimension size: "
                f"{before}, {after} greater than {dim}"
            )
        if mode == b"REFLECT" and max(before, after) >= dim:
            raise errors.invalid_argument(
                "paddings must be less than the dimension size: "
                f"{before}, {after} not less than {dim}"
            )
    return xp.pad(x, pairs, mode=mode.decode().lower())


@kernel("MirrorPadGrad")
def mirror_pad_grad(xp: Any, grad: Any, paddings: Array, *, mode: bytes) -> Any:
    """Adds the gradients in the padding to the elements that it mirrored, axis by axis."""
    pairs = _check_paddings(grad, paddings)
    edge = 1 if mode == b"REFLECT" else 0
    for axis, (before, after) in enumerate(pairs):
        length = grad.shape[axis]
        size = length - before - after
        if size < 0 or max(before, after) > max(size - edge, 0):
            raise errors.invalid_argument(
                f"paddings {before}, {after} do not fit a dimension of size {length}"
            )

        def part(start: int, stop: int, grad: Any = grad, axis: int = axis) -> Any:
            return grad[along(grad.ndim, axis, slice(start, stop))]

        def placed(edges: Any, start: int, size: int = size, axis: int = axis) -> Any:
            margins = [(0, 0)] * edges.ndim
            margins[axis] = (start, size - start - edges.shape[axis])
            return pad_with(xp, xp.flip(edges, axis), margins, zero(edges.dtype))

        total = part(before, before + size)
        if before:
            total = total + placed(part(0, before), edge)
        if after:
            total = total + placed(part(length - after, length), size - edge - after)
        grad = total
    return grad


@kernel("ReverseV2")
def reverse_v2(xp: Any, x: Any, axis: Array) -> Any:
    """Reverses along the axes of the vector ``axis``.

    Raises:
        InvalidArgumentError: an axis is out of range or named twice.
    """
    axes = [
        normalized_axis(
            a, x.ndim, f"'axis'[{i}] = {{axis}} is out of valid range [0, {x.ndim - 1}]"
        )
        for i, a in enumerate(axis.tolist())
    ]
    if len(set(axes)) != len(axes):
        again = next(a for i, a in enumerate(axes) if a in axes[:i])
        raise errors.invalid_argument(f"axis {again} specified more than once.")
    return xp.flip(x, axes)


@kernel("ReverseSequence")
def reverse_sequence(xp: Any, x: Any, seq_lengths: Any, *, seq_dim: int, batch_dim: int) -> Any:
    """Reverses the first ``seq_lengths[i]`` elements along ``seq_dim`` in batch entry ``i``."""
    if seq_dim == batch_dim:
        raise errors.invalid_argument(f"batch_dim == seq_dim == {seq_dim}")
    for name, dim in (("seq_dim", seq_dim), ("batch_dim", batch_dim)):
        if not 0 <= dim < x.ndim:
            raise errors.invalid_argument(f"{name} must be < input rank ( {dim} vs. {x.ndim})")
    batch, steps = x.shape[batch_dim], x.shape[seq_dim]
    if seq_lengths.shape != (batch,):
        raise errors.invalid_argument(
            f"Length of seq_lengths != input.dims({batch_dim}), ({seq_lengths.size} vs. {batch})"
        )

    def bad_length(lengths: Array) -> errors.OpError:
        at = int(np.flatnonzero((lengths < 0) | (lengths > steps))[0])
        what = "< 0" if lengths[at] < 0 else f"> input.dims({seq_dim})"
        return errors.invalid_argument(f"seq_lens({at}) {what}")

    check(((seq_lengths >= 0) & (seq_lengths <= steps)).all(), bad_length, seq_lengths)
    lengths = seq_lengths.reshape([-1 if i == batch_dim else 1 for i in range(x.ndim)])
    step = np.arange(steps).reshape([-1 if i == seq_dim else 1 for i in range(x.ndim)])
    source = xp.where(step < lengths, lengths - 1 - step, step)
    return xp.take_along_axis(x, source, axis=seq_dim)


@kernel("Roll")
def roll(xp: Any, x: Any, shift: Any, axis: Array) -> Any:
    """Rolls along axes, one after the other; an axis that is named twice rolls twice."""
    if x.ndim < 1:
        raise errors.invalid_argument("input must be 1-D or higher")
    if shift.shape != axis.shape or axis.ndim > 1:
        raise errors.invalid_argument("shift and axis must have the same size")
    shifts, axes = shift.reshape(-1), axis.reshape(-1).tolist()
    for i, at in enumerate(axes):
        x = xp.roll(x, shifts[i], normalized_axis(at, x.ndim, "axis {axis} is out of range"))
    return x


# Diagonals ----------------------------------------------------------------------------------------


@kernel("Diag")
def diag(xp: Any, diagonal: Any) -> Any:
    """Makes the diagonal matrix of a vector; of rank n, an array of rank 2n."""
    if diagonal.ndim < 1:
        raise errors.invalid_argument("Input must be at least rank 1, got 0")
    return xp.diag(diagonal.reshape(-1)).reshape(diagonal.shape * 2)


@kernel("DiagPart")
def diag_part(xp: Any, x: Any) -> Any:
    """Returns the diagonal of an array of rank 2n as one of rank n."""
    half = x.ndim // 2
    if x.ndim % 2 or not half:
        raise errors.invalid_argument(
            f"The rank of the tensor should be even and positive, got shape {format_shape(x.shape)}"
        )
    for i in range(half):
        if x.shape[i] != x.shape[i + half]:
            raise errors.invalid_argument(
                f"Invalid shape {format_shape(x.shape)}: dimensions {i} and {i + half} do not "
                "match."
            )
    count = int(np.prod(x.shape[:half], dtype=np.int64))
    return xp.diagonal(x.reshape(count, count)).reshape(x.shape[:half])


@kernel("MatrixBandPart")
def matrix_band_part(xp: Any, x: Any, num_lower: Any, num_upper: Any) -> Any:
    """Sets all elements outside a band around the diagonal of each matrix to 0.

    A negative ``num_lower`` or ``num_upper`` keeps the whole triangle.
    """
    if x.ndim < 2:
        raise errors.invalid_argument(
            f"input must be at least 2-dim, received shape: {format_shape(x.shape)}"
        )
    rows, cols = x.shape[-2:]
    for name, bound, limit in (("num_lower", num_lower, rows), ("num_upper", num_upper, cols)):
        if bound.shape:
            raise errors.invalid_argument(
                f"{name} must be scalar, got shape {format_shape(bound.shape)}"
            )
        check(
            bound <= limit,
            lambda b, name=name, limit=limit: errors.invalid_argument(
                f"{name} must be negative or less or equal to number of "
                f"{'rows' if name == 'num_lower' else 'cols'} ({limit}) got: {b}"
            ),
            bound,
        )
    below = np.arange(rows)[:, None] - np.arange(cols)
    kept = ((num_lower < 0) | (below <= num_lower)) & ((num_upper < 0) | (-below <= num_upper))
    return xp.where(kept, x, zero(x.dtype))


@kernel("MatrixDiag")
def matrix_diag(xp: Any, diagonal: Any) -> Any:
    """Makes a diagonal matrix of each vector along the last axis."""
    if diagonal.ndim < 1:
        raise errors.invalid_argument(
            f"diagonal must be at least 1-dim, received shape: {format_shape(diagonal.shape)}"
        )
    on = np.eye(diagonal.shape[-1], dtype=bool)
    return xp.where(on, diagonal[..., None], zero(diagonal.dtype))


@kernel("MatrixDiagPart")
def matrix_diag_part(xp: Any, x: Any) -> Any:
    """Returns the diagonal of each matrix."""
    if x.ndim < 2:
        raise errors.invalid_argument(
            f"input must be at least 2-dim, received shape: {format_shape(x.shape)}"
        )
    return xp.diagonal(x, axis1=-2, axis2=-1)


@kernel("MatrixSetDiag")
def matrix_set_diag(xp: Any, x: Any, diagonal: Any) -> Any:
    """Replaces the diagonal of each matrix."""
    return _set_diagonals(xp, x, diagonal, 0, 0, b"LEFT_LEFT")


def _bounds(k: Array, rows: int, cols: int) -> tuple[int, int]:
    """Returns the lowest and the highest of the diagonals that input ``k`` names."""
    if k.ndim > 1 or k.size not in (1, 2):
        raise errors.invalid_argument(
            "diag_index must be a scalar or vector, received shape: " + format_shape(k.shape)
        )
    lower, upper = int(k.reshape(-1)[0]), int(k.reshape(-1)[-1])
    for name, index in (("lower", lower), ("upper", upper)):
        if not (-rows < index < cols or index == 0):
            raise errors.invalid_argument(
                f"{name}_diag_index is out of bound: {index}. It must be between {-rows} and {cols}"
            )
    if lower > upper:
        raise errors.invalid_argument(
            f"lower_diag_index must not be larger than upper_diag_index: {lower} > {upper}"
        )
    return lower, upper


def _places(
    rows: int, cols: int, lower: int, upper: int, longest: int, align: bytes
) -> tuple[Array, Array, Array]:
    """Computes where each element of a matrix lies in its packed diagonals.

    Returns:
        ``on``: whether it lies on one of the diagonals; ``band``, ``offset``: its place there. All
            are of shape [rows, cols].
    """
    i, j = np.arange(rows)[:, None], np.arange(cols)[None, :]
    d = j - i
    length = np.minimum(rows + np.minimum(d, 0), cols - np.maximum(d, 0))
    superdiagonals, subdiagonals = align.split(b"_")
    left = ((d >= 0) & (superdiagonals == b"LEFT")) | ((d <= 0) & (subdiagonals == b"LEFT"))
    offset = np.minimum(i, j) + np.where(left, 0, longest - length)
    on = (lower <= d) & (d <= upper)
    return on, np.where(on, upper - d, 0), np.where(on, offset, 0)


def _set_diagonals(xp: Any, x: Any, diagonal: Any, lower: int, upper: int, align: bytes) -> Any:
    if x.ndim < 2:
        raise errors.invalid_argument(
            f"input must be at least 2-dim, received shape: {format_shape(x.shape)}"
        )
    rows, cols = x.shape[-2:]
    longest = min(rows + min(upper, 0), cols - max(lower, 0))
    count = () if lower == upper else (upper - lower + 1,)
    expected = (*x.shape[:-2], *count, longest)
    if diagonal.shape != expected:
        raise errors.invalid_argument(
            "Either first dimensions of diagonal don't match input.shape[:-2], or "
            "diagonal.shape[:-1] is not equal to the longests diagonal in range "
            "[lower_diag_index:upper_diag_index].\n"
            f"Input shape: {format_shape(x.shape)}\n"
            f"Diagonal shape: {format_shape(diagonal.shape)}\n"
            f"Expected diagonal shape: {format_shape(expected)}"
        )
    if not longest:
        return x
    on, band, offset = _places(rows, cols, lower, upper, longest, align)
    packed = diagonal if count else diagonal[..., None, :]
    return xp.where(on, packed[..., band, offset], x)


@kernel("MatrixSetDiagV3")
def matrix_set_diag_v3(xp: Any, x: Any, diagonal: Any, k: Array, *, align: bytes) -> Any:
    """Replaces the diagonals ``k`` (one, or a lowest and a highest) of each matrix.

    Args:
        align: how shorter diagonals are aligned in ``diagonal``, such as ``RIGHT_LEFT``.
    """
    return _set_diagonals(xp, x, diagonal, *_bounds(k, *x.shape[-2:]), align)


@kernel("MatrixDiagV3")
def matrix_diag_v3(
    xp: Any,
    diagonal: Any,
    k: Array,
    num_rows: Array,
    num_cols: Array,
    padding: Any,
    *,
    align: bytes,
) -> Any:
    """Makes matrices of the diagonals ``k``; -1 infers ``num_rows`` or ``num_cols``.

    All other elements are ``padding``.
    """
    lower, upper = int(k.reshape(-1)[0]), int(k.reshape(-1)[-1])
    if lower > upper:
        raise errors.invalid_argument(
            f"lower_diag_index must not be larger than upper_diag_index: {lower} > {upper}"
        )
    packed = diagonal if lower < upper else diagonal[..., None, :]
    if packed.shape[-2] != upper - lower + 1:
        raise errors.invalid_argument(
            "The number of diagonals provided in the input does not match the lower_diag_index and "
            "upper_diag_index range."
        )
    longest = packed.shape[-1]
    least_rows, least_cols = longest - min(upper, 0), longest + max(lower, 0)
    rows, cols = int(num_rows.reshape(())), int(num_cols.reshape(()))
    if rows == -1 and cols == -1:
        rows = cols = max(least_rows, least_cols)
    rows = least_rows if rows == -1 else rows
    cols = least_cols if cols == -1 else cols
    if rows < least_rows:
        raise errors.invalid_argument("The number of rows is too small.")
    if cols < least_cols:
        raise errors.invalid_argument("The number of columns is too small.")
    if rows != least_rows and cols != least_cols:
        raise errors.invalid_argument(
            "The number of rows or columns is not consistent with the specified d_lower, d_upper, "
            "and diagonal."
        )
    on, band, offset = _places(rows, cols, lower, upper, longest, align)
    return xp.where(on, packed[..., band, offset], padding)


@kernel("MatrixDiagPartV3")
def matrix_diag_part_v3(xp: Any, x: Any, k: Array, padding: Any, *, align: bytes) -> Any:
    """Returns the diagonals ``k`` of each matrix; shorter ones are filled with ``padding``."""
    if x.ndim < 2:
        raise errors.invalid_argument(
            f"input must be at least 2-dim, received shape: {format_shape(x.shape)}"
        )
    rows, cols = x.shape[-2:]
    lower, upper = _bounds(k, rows, cols)
    longest = min(rows + min(upper, 0), cols - max(lower, 0))
    on, band, offset = _places(rows, cols, lower, upper, longest, align)
    # The inverse of _places: the element of the matrix for each place.
    source = np.zeros((upper - lower + 1, longest), np.int64)
    filled = np.zeros(source.shape, bool)
    i, j = np.nonzero(on)
    source[band[i, j], offset[i, j]] = i * cols + j
    filled[band[i, j], offset[i, j]] = True
    if not filled.any():
        result = xp.broadcast_to(padding, (*x.shape[:-2], *source.shape))
    else:
        flat = x.reshape((*x.shape[:-2], rows * cols))
        result = xp.where(filled, flat[..., source], padding)
    return result if lower < upper else result[..., 0, :]


# Blocks -------------------------------------------------------------------------------------------


def _channels_last(xp: Any, x: Any, data_format: bytes) -> Any:
    if x.ndim != 4:
        raise errors.invalid_argument(f"Input rank should be: 4 instead of: {x.ndim}")
    return x if data_format == b"NHWC" else xp.transpose(x, (0, 2, 3, 1))


def _in_format(xp: Any, x: Any, data_format: bytes) -> Any:
    return x if data_format == b"NHWC" else xp.transpose(x, (0, 3, 1, 2))


@kernel("SpaceToDepth")
def space_to_depth(xp: Any, x: Any, *, block_size: int, data_format: bytes) -> Any:
    """Moves blocks of ``block_size`` squared pixels into the channels (NHWC or NCHW)."""
    x = _channels_last(xp, x, data_format)
    batch, height, width, depth = x.shape
    if height % block_size or width % block_size:
        raise errors.invalid_argument(
            f"Image width {width} and height {height} should be divisible by block_size: "
            f"{block_size}"
        )
    rows, cols = height // block_size, width // block_size
    x = x.reshape(batch, rows, block_size, cols, block_size, depth)
    x = xp.transpose(x, (0, 1, 3, 2, 4, 5)).reshape(batch, rows, cols, block_size**2 * depth)
    return _in_format(xp, x, data_format)


@kernel("DepthToSpace")
def depth_to_space(xp: Any, x: Any, *, block_size: int, data_format: bytes) -> Any:
    """Moves channels into blocks of pixels: the inverse of SpaceToDepth."""
    x = _channels_last(xp, x, data_format)
    batch, rows, cols, depth = x.shape
    if depth % block_size**2:
        raise errors.invalid_argument(
            f"Input depth dimension {depth} should be divisible by: {block_size**2}"
        )
    depth //= block_size**2
    x = x.reshape(batch, rows, cols, block_size, block_size, depth)
    x = xp.transpose(x, (0, 1, 3, 2, 4, 5))
    x = x.reshape(batch, rows * block_size, cols * block_size, depth)
    return _in_format(xp, x, data_format)


def _blocks(x: Any, block_shape: Array, margins: Array, name: str) -> tuple[list[int], list[Any]]:
    if block_shape.ndim != 1:
        raise errors.invalid_argument(f"block_shape rank should be 1 instead of {block_shape.ndim}")
    count = len(block_shape)
    if x.ndim <= count:
        raise errors.invalid_argument(f"input rank should be >= {1 + count} instead of {x.ndim}")
    if margins.shape != (count, 2):
        raise errors.invalid_argument(
            f"{name} should have shape [{count}, 2] instead of {format_shape(margins.shape)}"
        )
    blocks: list[int] = block_shape.tolist()
    for size in blocks:
        if size < 1:
            raise errors.invalid_argument(f"All values in block_shape must be positive, got {size}")
    pairs = margins.tolist()
    if (margins < 0).any():
        raise errors.invalid_argument(f"All {name} must be non-negative")
    return blocks, pairs


@kernel("SpaceToBatchND")
def space_to_batch_nd(xp: Any, x: Any, block_shape: Array, paddings: Array) -> Any:
    """Pads, then moves blocks of the dimensions after the first into the batch."""
    blocks, pairs = _blocks(x, block_shape, paddings, "paddings")
    count = len(blocks)
    rest = x.ndim - 1 - count
    x = pad_with(xp, x, [(0, 0), *pairs, *[(0, 0)] * rest], zero(x.dtype))
    split = [x.shape[0]]
    for i, size in enumerate(blocks):
        dim = x.shape[1 + i]
        if dim % size:
            raise errors.invalid_argument(
                f"padded_shape[{i}]={dim} is not divisible by block_shape[{i}]={size}"
            )
        split += [dim // size, size]
    inner, outer = [2 + 2 * i for i in range(count)], [1 + 2 * i for i in range(count)]
    kept = range(1 + 2 * count, 1 + 2 * count + rest)
    tail = x.shape[1 + count :]
    x = xp.transpose(x.reshape(*split, *tail), [*inner, 0, *outer, *kept])
    return x.reshape(-1 if x.size else int(np.prod(x.shape[: count + 1])), *x.shape[count + 1 :])


@kernel("BatchToSpaceND")
def batch_to_space_nd(xp: Any, x: Any, block_shape: Array, crops: Array) -> Any:
    """Moves the batch into blocks, then crops: the inverse of SpaceToBatchND."""
    blocks, pairs = _blocks(x, block_shape, crops, "crops")
    count = len(blocks)
    total = int(np.prod(blocks, dtype=np.int64))
    if x.shape[0] % total:
        raise errors.invalid_argument(
            f"Input batch dimension ({x.shape[0]}) is not divisible by product of block sizes "
            f"({total})"
        )
    batch, space, tail = x.shape[0] // total, x.shape[1 : 1 + count], x.shape[1 + count :]
    x = x.reshape(*blocks, batch, *space, *tail)
    order = [count]
    for i in range(count):
        order += [count + 1 + i, i]
    x = xp.transpose(x, [*order, *range(2 * count + 1, x.ndim)])
    sizes = [s * b for s, b in zip(space, blocks, strict=True)]
    x = x.reshape(batch, *sizes, *tail)
    index = [slice(None)]
    for i, ((before, after), dim) in enumerate(zip(pairs, sizes, strict=True)):
        if before + after > dim:
            raise errors.invalid_argument(
                f"cropped_shape[{i}]={dim - before - after} must be non-negative"
            )
        index.append(slice(before, dim - after))
    return x[tuple(index)]
