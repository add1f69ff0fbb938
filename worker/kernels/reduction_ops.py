"""Kernels of reductions, scans, segment reductions and counting.

Results keep the dtype of the input; numpy's own functions widen small integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.support.axes import extremum, reduced
from flowray.worker.kernels.support.elementwise import in_float32, is_complex, is_integer
from flowray.worker.kernels.support.precision import is_half, widened

# Reductions --------------------------------------------------------------------------------------


def _axes(x: Any, indices: Any) -> tuple[int, ...]:
    """Returns the axes to reduce, none of them negative."""
    rank = x.ndim
    axes = []
    for index in indices.reshape(-1).tolist():
        if not -rank <= index < rank:
            raise errors.invalid_argument(
                f"Invalid reduction dimension ({index} for input with {rank} dimension(s)"
            )
        axis = index % rank
        if axis in axes:
            raise errors.invalid_argument(
                f"Invalid reduction arguments: Axes contains duplicate dimension: {axis}"
            )
        axes.append(axis)
    return tuple(axes)


def _bounds(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Returns the least and the greatest value of ``dtype``: infinities if it has them."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return dtype.type(info.min), dtype.type(info.max)
    return dtype.type(-np.inf), dtype.type(np.inf)


def _sum(xp: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """Sums in the dtype of ``x`` (numpy's own sum widens small integers)."""
    if xp is not np:
        return _accumulated(xp, xp.sum, x, axes, keep)
    if is_half(x.dtype):
        return np.add.reduce(x, axes, np.float32, None, keep).astype(x.dtype)
    return np.add.reduce(x, axes, x.dtype, None, keep)


def _accumulated(xp: Any, function: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """Computes XLA's sum or product in the dtype of ``x``, rounded to 16 bits only once."""
    wide = widened(x)
    return reduced(xp, function, wide, axes, keep, dtype=wide.dtype).astype(x.dtype)


@kernel("Sum")
def _sum_kernel(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    return _sum(xp, x, _axes(x, indices), keep_dims)


@kernel("Mean")
@in_float32
def _mean(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    """Computes the mean; for integers the sum, which may overflow, divided towards zero."""
    axes = _axes(x, indices)
    total = _sum(xp, x, axes, keep_dims)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    if is_integer(x):
        wide = total.astype(np.uint64 if x.dtype.kind == "u" else np.int64)
        size = wide.dtype.type(max(count, 1))
        return ((wide - xp.fmod(wide, size)) // size).astype(x.dtype)
    return total / xp.asarray(count, x.dtype)


@kernel("Prod")
@in_float32
def _prod(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    axes = _axes(x, indices)
    if xp is np:
        return np.multiply.reduce(x, axes, x.dtype, None, keep_dims)
    return _accumulated(xp, xp.prod, x, axes, keep_dims)


@kernel("Max")
def _max(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    axes = _axes(x, indices)
    if x.size:
        return extremum(xp, xp.max, x, axes, keep_dims)
    return xp.max(x, axes, keepdims=keep_dims, initial=_bounds(x.dtype)[0])


@kernel("Min")
def _min(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    axes = _axes(x, indices)
    if x.size:
        return extremum(xp, xp.min, x, axes, keep_dims)
    return xp.min(x, axes, keepdims=keep_dims, initial=_bounds(x.dtype)[1])


@kernel("All")
def _all(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    return reduced(xp, xp.all, x, _axes(x, indices), keep_dims)


@kernel("Any")
def _any(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    return reduced(xp, xp.any, x, _axes(x, indices), keep_dims)


@kernel("EuclideanNorm")
@in_float32
def _euclidean_norm(xp: Any, x: Any, indices: Any, *, keep_dims: bool) -> Any:
    """Computes the root of the sum of squares; integers in their own dtype, rounded down."""
    square = x * xp.conj(x) if is_complex(x) else x * x
    total = _sum(xp, square, _axes(x, indices), keep_dims)
    return xp.sqrt(total).astype(x.dtype, copy=False)


# Positions and scans -----------------------------------------------------------------------------


def _axis(x: Any, dimension: Any, what: str, scalar: str) -> int:
    if dimension.ndim:
        raise errors.invalid_argument(scalar + format_shape(dimension.shape))
    axis, rank = int(dimension), int(x.ndim)
    if not -rank <= axis < rank:
        raise errors.invalid_argument(f"{what} in the range [{-rank}, {rank}), but got {axis}")
    return axis % rank


def _arg_kernel(name: str, worst: float) -> Callable[..., Any]:
    """Returns the kernel of ArgMax or ArgMin: the first of equals.

    NaN never wins, so it counts as ``worst``. (numpy's functions return the index of a NaN.)
    """

    def compute(xp: Any, x: Any, dimension: Any, *, output_type: DType) -> Any:
        scalar = "dim must be a scalar, but received tensor of shape: "
        axis = _axis(x, dimension, "Expected dimension", scalar)
        if x.shape[axis] == 0:
            raise errors.invalid_argument(
                f"Reduction axis {axis} is empty in shape {format_shape(x.shape)}"
            )
        if not (is_integer(x) or x.dtype == bool):
            nan = xp.isnan(x)
            if xp is not np or nan.any():
                x = xp.where(nan, x.dtype.type(worst), x)
        return getattr(xp, name)(x, axis).astype(output_type.as_numpy_dtype)

    return compute


add_kernel("ArgMax", _arg_kernel("argmax", -np.inf))
add_kernel("ArgMin", _arg_kernel("argmin", np.inf))


def _scan_kernel(name: str, neutral: int) -> Callable[..., Any]:
    """Returns the kernel of Cumsum or Cumprod; an exclusive scan starts with ``neutral``."""

    def compute(xp: Any, x: Any, axis: Any, *, exclusive: bool, reverse: bool) -> Any:
        at = _axis(x, axis, "ScanOp: Expected scan axis", "ScanOp: axis must be a scalar, not ")
        if reverse:
            x = xp.flip(x, at)
        if exclusive and x.shape[at]:
            first = np.full((*x.shape[:at], 1, *x.shape[at + 1 :]), neutral, x.dtype)
            body = x[(slice(None),) * at + (slice(None, -1),)]
            x = xp.concatenate([first, body], at)
        if xp is np:
            ufunc = np.add if name == "cumsum" else np.multiply
            result = ufunc.accumulate(x, at, x.dtype)
        else:
            result = getattr(xp, name)(x, at, dtype=x.dtype)
        return xp.flip(result, at) if reverse else result

    return compute


add_kernel("Cumsum", _scan_kernel("cumsum", 0))
add_kernel("Cumprod", _scan_kernel("cumprod", 1))

# Segments ----------------------------------------------------------------------------------------

_UFUNC = {"Sum": np.add, "Prod": np.multiply, "Max": np.maximum, "Min": np.minimum}
_AT = {"Sum": "add", "Prod": "multiply", "Max": "max", "Min": "min"}


def _float_info(dtype: np.dtype[Any]) -> Any:
    import ml_dtypes  # noqa: PLC0415 - slow, and most programs never get here

    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def _neutral(kind: str, dtype: np.dtype[Any]) -> Any:
    """Returns the value of an unsorted segment without elements.

    For Max and Min it is the lowest and the highest finite value.
    """
    if kind in ("Sum", "Prod"):
        return dtype.type(kind == "Prod")
    info: Any = np.iinfo(dtype) if dtype.kind in "iu" else _float_info(dtype)
    return dtype.type(info.min if kind == "Max" else info.max)


def _reduce_segments(kind: str, data: Any, ids: Any, count: int, empty: Any) -> Any:
    """Reduces each run of rows with the same id; ids ascend in [0, count)."""
    result = np.full((count, *data.shape[1:]), empty, data.dtype)
    if len(ids):
        starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
        result[ids[starts]] = _UFUNC[kind].reduceat(data, starts, axis=0, dtype=data.dtype)
    return result


def _unsorted_segment_kernel(kind: str) -> Callable[..., Any]:
    def compute(xp: Any, data: Any, segment_ids: Any, num_segments: Any) -> Any:
        if num_segments.ndim:
            raise errors.invalid_argument(
                f"num_segments should be a scalar, not shape {format_shape(num_segments.shape)}"
            )
        if data.shape[: segment_ids.ndim] != segment_ids.shape:
            raise errors.invalid_argument(
                f"data.shape = {format_shape(data.shape)} does not start with segment_ids.shape = "
                f"{format_shape(segment_ids.shape)}"
            )
        count = int(num_segments)
        if count < 0:
            raise errors.invalid_argument(f"Input num_segments == {count} must not be negative.")
        ids = segment_ids.reshape(-1)
        rows = data.reshape(len(ids), *data.shape[segment_ids.ndim :])
        check(xp.all(ids < count), lambda i: _out_of_range(i, count), segment_ids)
        empty = _neutral(kind, data.dtype)
        if xp is np:
            order = np.argsort(ids, kind="stable")
            order = order[np.searchsorted(ids, 0, sorter=order) :]  # negative ids are dropped
            return _reduce_segments(kind, rows[order], ids[order], count, empty)
        result = xp.full((count, *rows.shape[1:]), empty, data.dtype)
        where = xp.where(ids < 0, count, ids)
        return getattr(result.at[where], _AT[kind])(rows, mode="drop")

    return compute


def _out_of_range(ids: Any, count: int) -> errors.OpError:
    at = tuple(int(i[0]) for i in np.nonzero(ids >= count))
    where = f"[{','.join(map(str, at))}]" if at else ""
    return errors.invalid_argument(f"segment_ids{where} = {ids[at]} is out of range [0, {count})")


for _kind in ("Sum", "Prod", "Max", "Min"):
    add_kernel(f"UnsortedSegment{_kind}", _unsorted_segment_kernel(_kind))


def _check_sorted(ids: Any) -> None:
    """Raises TensorFlow's error for the first run of equal ids that is out of order or of range."""
    if not len(ids):
        return
    rows = int(ids[-1]) + 1
    if rows < 0:
        raise errors.invalid_argument("segment ids must be >= 0")
    if ids[0] >= 0 and (ids[1:] >= ids[:-1]).all():
        return
    ends = [*np.flatnonzero(ids[1:] != ids[:-1]), len(ids) - 1]
    for end, following in zip(ends, [*ids[1:][ends[:-1]], rows], strict=True):
        if following < ids[end]:
            raise errors.invalid_argument("segment ids are not increasing")
        if not 0 <= ids[end] < rows:
            raise errors.invalid_argument(
                f"Segment id {ids[end]} out of range [0, {rows}), possibly because 'segment_ids' "
                "input is not sorted."
            )


def _segment_counts(ids: Any, count: int, dtype: np.dtype[Any]) -> Any:
    """Counts the elements of each segment, at least 1."""
    return np.maximum(np.bincount(ids, minlength=count), 1).astype(dtype)


def _column(vector: Any, rank: int) -> Any:
    """Reshapes ``vector`` so that it broadcasts against the rows of a tensor."""
    return vector.reshape((-1,) + (1,) * (rank - 1))


def _segment_kernel(kind: str) -> Callable[..., Any]:
    """Returns a kernel whose result has ``last id + 1`` rows; missing ids give 0 (Prod: 1)."""

    def compute(xp: Any, data: Any, segment_ids: Any) -> Any:
        if segment_ids.ndim != 1:
            raise errors.invalid_argument("segment_ids should be a vector.")
        if data.ndim < 1 or len(data) != len(segment_ids):
            raise errors.invalid_argument(
                "segment_ids should be the same size as dimension 0 of input."
            )
        _check_sorted(segment_ids)
        count = int(segment_ids[-1]) + 1 if len(segment_ids) else 0
        if kind != "Mean":
            empty = data.dtype.type(kind == "Prod")
            return _reduce_segments(kind, data, segment_ids, count, empty)
        total = _reduce_segments("Sum", data, segment_ids, count, data.dtype.type(0))
        size = _column(_segment_counts(segment_ids, count, data.dtype), data.ndim)
        return (total - np.fmod(total, size)) // size if is_integer(data) else total / size

    return compute


for _kind in ("Sum", "Prod", "Max", "Min", "Mean"):
    add_kernel(f"Segment{_kind}", _segment_kernel(_kind))


# Segments of chosen rows -------------------------------------------------------------------------


def _check_chosen(xp: Any, data: Any, indices: Any, segment_ids: Any) -> None:
    if segment_ids.ndim != 1 or indices.ndim != 1:
        raise errors.invalid_argument("indices and segment_ids should be vectors.")
    if len(indices) != len(segment_ids):
        raise errors.invalid_argument("segment_ids and indices should have same size.")
    rows = len(data)

    def bad_index(values: Any) -> errors.OpError:
        at = int(np.flatnonzero((values < 0) | (values >= rows))[0])
        return errors.invalid_argument(
            f"Bad: indices[{at}] == {values[at]} out of range [0, {rows})"
        )

    check(xp.all((indices >= 0) & (indices < rows)), bad_index, indices)


def _segment_scale(xp: Any, kind: str, ids: Any, count: int, dtype: np.dtype[Any]) -> Any:
    """Returns the divisors of the segments' sums: the number of elements, or its root."""
    sizes = xp.maximum(xp.bincount(ids, minlength=count, **_length(xp, count)), 1)
    return sizes.astype(dtype) if kind == "Mean" else xp.sqrt(sizes.astype(dtype))


def _length(xp: Any, count: int) -> dict[str, int]:
    """Returns the argument that tells jax.numpy how long the result of ``bincount`` is."""
    return {} if xp is np else {"length": count}


def _sparse_segment(
    xp: Any, kind: str, data: Any, indices: Any, segment_ids: Any, count: int
) -> Any:
    if xp is np:
        rows = np.take(data, indices, 0)
        total = _reduce_segments("Sum", rows, segment_ids, count, data.dtype.type(0))
    else:
        total = xp.zeros((count, *data.shape[1:]), data.dtype)
        total = total.at[segment_ids].add(data[indices], mode="drop")
    if kind == "Sum":
        return total
    scale = _segment_scale(xp, kind, segment_ids, count, data.dtype)
    return total / _column(scale, data.ndim)


def _sparse_segment_kernel(kind: str) -> Callable[..., Any]:
    def compute(xp: Any, data: Any, indices: Any, segment_ids: Any) -> Any:
        _check_chosen(xp, data, indices, segment_ids)
        _check_sorted(segment_ids)
        count = int(segment_ids[-1]) + 1 if len(segment_ids) else 0
        return _sparse_segment(np, kind, data, indices, segment_ids, count)

    return compute


def _counted_sparse_segment_kernel(kind: str) -> Callable[..., Any]:
    def compute(xp: Any, data: Any, indices: Any, segment_ids: Any, num_segments: Any) -> Any:
        _check_chosen(xp, data, indices, segment_ids)
        count = int(num_segments)
        increasing = xp.all(segment_ids[1:] >= segment_ids[:-1])
        check(increasing, lambda: errors.invalid_argument("segment ids are not increasing"))
        check(
            xp.all((segment_ids >= 0) & (segment_ids < count)),
            lambda: errors.invalid_argument("segment ids must be < num_segments"),
        )
        return _sparse_segment(xp, kind, data, indices, segment_ids, count)

    return compute


for _kind in ("Sum", "Mean", "SqrtN"):
    add_kernel(f"SparseSegment{_kind}", _sparse_segment_kernel(_kind))
    add_kernel(f"SparseSegment{_kind}WithNumSegments", _counted_sparse_segment_kernel(_kind))


def _sparse_segment_grad_kernel(kind: str) -> Callable[..., Any]:
    """Returns a kernel that spreads each segment's gradient over the rows that it was made of."""

    def compute(xp: Any, grad: Any, indices: Any, segment_ids: Any, output_dim0: Any) -> Any:
        rows, segments = int(output_dim0), len(grad)
        _check_chosen(xp, np.empty((rows, 0)), indices, segment_ids)
        check(
            xp.all((segment_ids >= 0) & (segment_ids < segments)),
            lambda: errors.invalid_argument("Invalid number of segments"),
        )
        scale = _segment_scale(xp, kind, segment_ids, segments, grad.dtype)
        shares = (grad / _column(scale, grad.ndim))[segment_ids]
        if xp is np:
            order = np.argsort(indices, kind="stable")
            zero = grad.dtype.type(0)
            return _reduce_segments("Sum", shares[order], indices[order], rows, zero)
        result = xp.zeros((rows, *grad.shape[1:]), grad.dtype)
        return result.at[indices].add(shares, mode="drop")

    return compute


for _kind in ("Mean", "SqrtN"):
    add_kernel(f"SparseSegment{_kind}Grad", _sparse_segment_grad_kernel(_kind))

# Counting ----------------------------------------------------------------------------------------


def _count(xp: Any, values: Any, size: int, weights: Any, dtype: np.dtype[Any]) -> Any:
    """Sums the weights (1, if there are none) of each value in ``[0, size)``."""
    inside = values < size
    ones = weights.size == 0
    if xp is np:
        chosen = values[inside]
        if ones:
            return np.bincount(chosen, minlength=size)[:size].astype(dtype)
        result = np.zeros(size, dtype)
        np.add.at(result, chosen, weights[inside])
        return result
    increments = xp.ones(values.shape, dtype) if ones else weights
    where = xp.where(inside, values, size)
    return xp.zeros(size, dtype).at[where].add(increments, mode="drop")


def _check_countable(xp: Any, values: Any, size: Any, weights: Any) -> None:
    if size.ndim:
        raise errors.invalid_argument(
            f"Shape must be rank 0 but is rank {size.ndim} for 'bincount' op"
        )
    if int(size) < 0:
        raise errors.invalid_argument(f"size ({int(size)}) must be non-negative")
    if weights.size and weights.shape != values.shape:
        raise errors.invalid_argument(
            "weights must be the same shape as arr or a length-0 tensor, in which case it acts as "
            f"all weights equal to 1. arr: {format_shape(values.shape)}, weights: "
            f"{format_shape(weights.shape)}"
        )
    check(xp.all(values >= 0), lambda: errors.invalid_argument("Input arr must be non-negative!"))


@kernel("Bincount")
def _bincount(xp: Any, arr: Any, size: Any, weights: Any) -> Any:
    _check_countable(xp, arr, size, weights)
    return _count(xp, arr.reshape(-1), int(size), weights.reshape(-1), weights.dtype)


@kernel("DenseBincount")
def _dense_bincount(xp: Any, values: Any, size: Any, weights: Any, *, binary_output: bool) -> Any:
    """Counts a vector, or each row of a matrix; with ``binary_output`` each value counts once."""
    if values.ndim > 2:
        raise errors.invalid_argument("Shape must be at most rank 2 but is rank 3")
    _check_countable(xp, values, size, weights)
    bins = int(size)
    flat = values.reshape(-1)
    if values.ndim == 2:
        # Row r counts in its own range of bins; too large values go past the last one.
        rows = np.repeat(np.arange(len(values), dtype=values.dtype), values.shape[1])
        total = bins * len(values)
        flat = xp.where(flat < bins, flat + rows * bins, total)
    else:
        total = bins
    result = _count(xp, flat, total, weights.reshape(-1), weights.dtype)
    if binary_output:
        counted = _count(xp, flat, total, np.zeros(0, weights.dtype), weights.dtype)
        result = (counted > 0).astype(weights.dtype)
    return result.reshape(*values.shape[:-1], bins)


@kernel("HistogramFixedWidth")
def _histogram_fixed_width(
    xp: Any, values: Any, value_range: Any, nbins: Any, *, dtype: DType
) -> Any:
    """Counts in equal bins; values out of range count in the first or the last one."""
    if value_range.shape != (2,):
        raise errors.invalid_argument(
            f"value_range should be a vector of 2 elements, but got {value_range.size}"
        )
    bins = int(nbins)
    if nbins.ndim or bins <= 0:
        raise errors.invalid_argument(f"nbins should be a positive number, but got '{bins}'")
    low, high = value_range[0], value_range[1]
    check(
        low < high,
        lambda ends: errors.invalid_argument(
            "value_range should satisfy value_range[0] < value_range[1], but got "
            f"'[{ends[0]:g}, {ends[1]:g}]'"
        ),
        value_range,
    )
    if not is_integer(values):
        check(
            xp.logical_not(xp.any(xp.isnan(values))),
            lambda: errors.invalid_argument("Histogram values must not contain NaN"),
        )
    width = (high - low).astype(np.float64) / bins
    where = xp.floor((values.reshape(-1).astype(np.float64) - low) / width)
    where = xp.clip(where, 0, bins - 1).astype(np.int32)
    target = np.dtype(dtype.as_numpy_dtype)
    return _count(xp, where, bins, np.zeros(0, target), target)
