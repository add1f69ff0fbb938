"""Kernels of slicing, gathering, scattering, and selecting by data."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flowray.proto import errors
from flowray.proto.ops import strided_slice
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.execution import xla
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.array_ops import as_array, normalized_axis, zero

Array = np.ndarray[Any, Any]

IGNORE = b"IGNORE"
"""The ``bad_indices_policy`` that drops indices out of range; with all others they are an error."""


# Slices -------------------------------------------------------------------------------------------


class Selected(NamedTuple):
    """The part of an array that a StridedSlice takes."""

    selections: Sequence[strided_slice.Selection]
    """One for each dimension."""
    index: tuple[slice, ...]
    """The same as an index for numpy."""
    shape: tuple[int, ...]
    """The shape of the result: with new axes, without those that shrink."""


def resolve_slice(
    shape: tuple[int, ...], begin: Array, end: Array, strides: Array, masks: strided_slice.Masks
) -> Selected:
    """Resolves a StridedSlice of an array of ``shape``; InvalidArgumentError for bad bounds."""
    if not begin.shape == end.shape == strides.shape or begin.ndim != 1:
        raise errors.invalid_argument(
            "Expected begin, end, and strides to be 1D equal size tensors, but got shapes "
            f"{format_shape(begin.shape)}, {format_shape(end.shape)}, and "
            f"{format_shape(strides.shape)} instead."
        )
    try:
        bounds = tuple(begin.tolist()), tuple(end.tolist()), tuple(strides.tolist())
        return _resolved(shape, *bounds, masks)
    except ValueError as error:
        raise errors.invalid_argument(str(error)) from None


@functools.lru_cache(maxsize=1024)
def _resolved(
    shape: tuple[int, ...],
    begin: tuple[int, ...],
    end: tuple[int, ...],
    strides: tuple[int, ...],
    masks: strided_slice.Masks,
) -> Selected:
    selections, selected = strided_slice.resolve(shape, begin, end, strides, masks)
    return Selected(selections, tuple(s.as_slice for s in selections), selected)


@kernel("StridedSlice")
def strided_slice_(
    xp: Any,
    x: Any,
    begin: Array,
    end: Array,
    strides: Array,
    *,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Any:
    """Takes ``x[begin:end:strides]`` as Python does, with the masks of StridedSlice."""
    masks = strided_slice.Masks(
        begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask
    )
    selected = resolve_slice(x.shape, begin, end, strides, masks)
    return x[selected.index].reshape(selected.shape)


@kernel("StridedSliceGrad")
def strided_slice_grad(
    xp: Any,
    shape: Array,
    begin: Array,
    end: Array,
    strides: Array,
    dy: Any,
    *,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Any:
    """Puts ``dy`` at its places in zeros of ``shape``: the gradient of StridedSlice."""
    masks = strided_slice.Masks(
        begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask
    )
    target = tuple(shape.tolist())
    selections, index, selected = resolve_slice(target, begin, end, strides, masks)
    if dy.shape != selected:
        raise errors.invalid_argument(
            f"shape of dy was {format_shape(dy.shape)} instead of {format_shape(selected)}"
        )
    dy = dy.reshape(tuple(s.size for s in selections))
    if xp is np:
        result = np.full(target, zero(dy.dtype), dy.dtype)
        result[index] = dy
        return result
    # Padding, which XLA fuses, instead of a scatter, which would be slow.
    backward = [i for i, s in enumerate(selections) if s.stride is not None and s.stride < 0]
    padding = []
    for dim, s in zip(target, selections, strict=True):
        if not s.size:
            padding.append((0, dim, 0))
            continue
        step, reach = abs(s.stride or 1), (s.size - 1) * (s.stride or 1)
        first = min(s.start or 0, (s.start or 0) + reach)
        padding.append((first, dim - first - abs(reach) - 1, step - 1))
    return xla.jax().lax.pad(xp.flip(dy, backward), xp.zeros((), dy.dtype), padding)


@kernel("Slice")
def slice_(xp: Any, x: Any, begin: Array, size: Array) -> Any:
    """Takes ``size`` elements from ``begin`` on along each dimension; a size of -1 takes the rest.

    Unlike Python's slices, bounds out of range are an InvalidArgumentError.
    """
    if begin.shape != (x.ndim,) or size.shape != (x.ndim,):
        raise errors.invalid_argument(
            "Expected begin and size arguments to be 1-D tensors of size "
            f"{x.ndim}, but got shapes {format_shape(begin.shape)} and "
            f"{format_shape(size.shape)} instead."
        )
    index = []
    for i, (start, count, dim) in enumerate(
        zip(begin.tolist(), size.tolist(), x.shape, strict=True)
    ):
        if not 0 <= start <= dim:
            raise errors.invalid_argument(f"Expected begin[{i}] in [0, {dim}], but got {start}")
        if count == -1:
            count = dim - start
        if not 0 <= count <= dim - start:
            raise errors.invalid_argument(
                f"Expected size[{i}] in [0, {dim - start}], but got {count}"
            )
        index.append(slice(start, start + count))
    return x[(*index, ...)]


# Gathering ----------------------------------------------------------------------------------------


def _index_error(limit: int) -> Any:
    def make(indices: Array) -> errors.OpError:
        at = tuple(np.argwhere((indices < 0) | (indices >= limit))[0].tolist())
        where = f"indices[{','.join(map(str, at))}]" if at else "indices"
        return errors.invalid_argument(f"{where} = {indices[at]} is not in [0, {limit})")

    return make


def check_indices(xp: Any, indices: Any, limit: int) -> None:
    """Raises InvalidArgumentError with TensorFlow's text unless all indices are in [0, limit)."""
    check(((indices >= 0) & (indices < limit)).all(), _index_error(limit), indices)


def take(xp: Any, params: Any, indices: Any, axis: int) -> Any:
    """Takes the slices of ``params`` along ``axis`` at ``indices``, after checking these."""
    check_indices(xp, indices, params.shape[axis])
    shape = params.shape[:axis] + indices.shape + params.shape[axis + 1 :]
    if 0 in shape or not params.shape[axis]:
        return xp.zeros(shape, params.dtype)
    if xp is np:
        return as_array(np.take(params, indices, axis=axis), params.dtype)
    return xp.take(params, indices, axis=axis, mode="clip")


@kernel("Gather")
def gather(xp: Any, params: Any, indices: Any) -> Any:
    """Takes the rows of ``params`` at ``indices``; negative indices are out of range."""
    if params.ndim < 1:
        raise errors.invalid_argument("params must be at least 1 dimensional")
    return take(xp, params, indices, 0)


@kernel("GatherV2")
def gather_v2(xp: Any, params: Any, indices: Any, axis: Array, *, batch_dims: int) -> Any:
    """Takes slices along ``axis``, separately for each entry of the first ``batch_dims`` axes."""
    if axis.shape:
        raise errors.invalid_argument("axis must be scalar")
    ndim = params.ndim
    at = normalized_axis(
        int(axis),
        ndim,
        f"Shape must be at least rank {int(axis) + 1 if axis >= 0 else -int(axis)} but is rank "
        f"{ndim}",
    )
    if batch_dims < 0:
        batch_dims += indices.ndim
    if not batch_dims:
        return take(xp, params, indices, at)
    if not 0 <= batch_dims <= min(at, indices.ndim):
        raise errors.invalid_argument(
            f"batch_dims ({batch_dims}) must be less than or equal to axis ({at})"
        )
    batch = params.shape[:batch_dims]
    if indices.shape[:batch_dims] != batch:
        raise errors.invalid_argument(
            f"params.shape[{0}]: {batch} should be equal to indices.shape: "
            f"{indices.shape[:batch_dims]}"
        )
    # With the gathered axis next to one flat batch axis, each batch entry is a range of rows.
    rows = xp.moveaxis(params, at, batch_dims)
    count, rest = rows.shape[batch_dims], rows.shape[batch_dims + 1 :]
    check_indices(xp, indices, count)
    batches = math.prod(batch)
    offsets = (np.arange(batches) * count).reshape(batch + (1,) * (indices.ndim - batch_dims))
    result = take(xp, rows.reshape((batches * count, *rest)), offsets + indices, 0)
    inner = indices.ndim - batch_dims
    before = at - batch_dims
    # The axes are: batch, indices, those before ``axis``, those after it. The indices move to
    # between the last two.
    order = [
        *range(batch_dims),
        *range(batch_dims + inner, batch_dims + inner + before),
        *range(batch_dims, batch_dims + inner),
        *range(batch_dims + inner + before, result.ndim),
    ]
    return xp.transpose(result, order)


def _linear(
    xp: Any, indices: Any, shape: tuple[int, ...], policy: bytes, what: str
) -> tuple[Any, Any]:
    """Returns the flat row of each index vector, and whether it lies in ``shape``.

    Bad ones are an InvalidArgumentError or, with the policy ``IGNORE``, get the row after the last.
    """
    depth = indices.shape[-1]
    limits = np.array(shape[:depth], np.int64)
    strides = np.array([math.prod(shape[i + 1 : depth]) for i in range(depth)], np.int64)
    wide = indices.astype(np.int64)
    fits = ((wide >= 0) & (wide < limits)).all(axis=-1)

    def bad(values: Array) -> errors.OpError:
        outside = ((values < 0) | (values >= limits)).any(axis=-1)
        at = tuple(np.argwhere(outside)[0].tolist())
        return errors.invalid_argument(
            f"indices[{','.join(map(str, at))}] = [{', '.join(map(str, values[at]))}] does not "
            f"index into {what}{format_shape(shape)}"
        )

    if policy != IGNORE:
        check(fits.all(), bad, indices)
    return xp.where(fits, (wide * strides).sum(axis=-1), math.prod(shape[:depth])), fits


@kernel("GatherNd")
def gather_nd(xp: Any, params: Any, indices: Any, *, bad_indices_policy: bytes) -> Any:
    """Takes the slices of ``params`` at the index vectors along the last axis of ``indices``.

    With the policy ``IGNORE``, indices out of range give zeros.
    """
    if params.ndim < 1:
        raise errors.invalid_argument("params must be at least a vector")
    if indices.ndim < 1:
        raise errors.invalid_argument("indices must be at least a vector")
    depth = indices.shape[-1]
    if depth > params.ndim:
        raise errors.invalid_argument(
            f"index innermost dimension length must be <= params rank; saw: {depth} vs. "
            f"{params.ndim}"
        )
    shape = indices.shape[:-1] + params.shape[depth:]
    count = math.prod(params.shape[:depth])
    if not count and math.prod(shape):
        raise errors.invalid_argument("Requested more than 0 entries, but params is empty.")
    if 0 in shape:
        return xp.zeros(shape, params.dtype)
    rows, fits = _linear(xp, indices, params.shape, bad_indices_policy, "param shape ")
    flat = params.reshape((count, *params.shape[depth:]))
    if bad_indices_policy != IGNORE:
        return as_array(
            flat[rows] if xp is np else xp.take(flat, rows, axis=0, mode="clip"), params.dtype
        )
    found = xp.take(flat, rows, axis=0, mode="clip")
    fits = fits.reshape(fits.shape + (1,) * (found.ndim - fits.ndim))
    return xp.where(fits, found, zero(params.dtype))


# Scattering ---------------------------------------------------------------------------------------

_NUMPY_SCATTER = {
    "add": np.add.at, "subtract": np.subtract.at, "min": np.minimum.at, "max": np.maximum.at,
}  # fmt: skip


def scatter_slices(
    xp: Any, target: Any, indices: Any, updates: Any, policy: bytes, function: str
) -> Any:
    """Returns a copy of ``target`` with each slice of ``updates`` brought in at its index vector.

    Args:
        policy: ``IGNORE`` drops indices out of range; they are an error otherwise.
        function: "set", "add", "subtract", "min" or "max".
    """
    if indices.ndim < 1:
        raise errors.invalid_argument("Indices shape must have rank at least one. Found: []")
    depth = indices.shape[-1]
    if depth > target.ndim or updates.shape != indices.shape[:-1] + target.shape[depth:]:
        raise errors.invalid_argument(
            f"Dimensions [0,{indices.ndim - 1}) of indices[shape={format_shape(indices.shape)}] "
            f"must match dimensions [0,{indices.ndim - 1}) of "
            f"updates[shape={format_shape(updates.shape)}]"
        )
    if not math.prod(target.shape):
        if math.prod(updates.shape) or math.prod(indices.shape):
            raise errors.invalid_argument("Indices and updates specified for empty output tensor")
        return target
    rows, fits = _linear(xp, indices, target.shape, policy, "shape ")
    count, rest = math.prod(target.shape[:depth]), target.shape[depth:]
    flat, rows = target.reshape((count, *rest)), rows.reshape(-1)
    slices = updates.reshape((math.prod(rows.shape), *rest))
    if xp is np:
        flat = flat.copy()
        fits = fits.reshape(-1)
        if function == "set":
            flat[rows[fits]] = slices[fits]
        else:
            _NUMPY_SCATTER[function](flat, rows[fits], slices[fits])
    elif flat.dtype == bool and function == "add":
        flat = flat.at[rows].max(slices, mode="drop")
    else:
        flat = getattr(flat.at[rows], function)(slices, mode="drop")
    return flat.reshape(target.shape)


@kernel("ScatterNd")
def scatter_nd(
    xp: Any, indices: Any, updates: Any, shape: Array, *, bad_indices_policy: bytes
) -> Any:
    """Adds ``updates`` into zeros of ``shape`` at the index vectors ``indices``."""
    target = xp.full(tuple(shape.tolist()), zero(updates.dtype), updates.dtype)
    return scatter_slices(xp, target, indices, updates, bad_indices_policy, "add")


def _tensor_scatter(function: str) -> Any:
    def scatter(
        xp: Any, tensor: Any, indices: Any, updates: Any, *, bad_indices_policy: bytes
    ) -> Any:
        return scatter_slices(xp, tensor, indices, updates, bad_indices_policy, function)

    return scatter


for _name, _function in (
    ("Update", "set"), ("Add", "add"), ("Sub", "subtract"), ("Min", "min"), ("Max", "max"),
):  # fmt: skip
    add_kernel(f"TensorScatter{_name}", _tensor_scatter(_function))


# Partitions ---------------------------------------------------------------------------------------


@kernel("DynamicPartition")
def dynamic_partition(
    xp: Any, data: Array, partitions: Array, *, num_partitions: int
) -> list[Array]:
    """Splits the rows of ``data`` into ``num_partitions`` arrays by their partition."""
    if data.shape[: partitions.ndim] != partitions.shape:
        raise errors.invalid_argument(
            "data.shape must start with partitions.shape, got data.shape = "
            f"{format_shape(data.shape)}, partitions.shape = {format_shape(partitions.shape)}"
        )
    outside = np.argwhere((partitions < 0) | (partitions >= num_partitions))
    if len(outside):
        at = tuple(outside[0].tolist())
        raise errors.invalid_argument(
            f"partitions[{','.join(map(str, at))}] = {partitions[at]} is not in "
            f"[0, {num_partitions})"
        )
    return [data[partitions == i] for i in range(num_partitions)]


@kernel("DynamicStitch", "ParallelDynamicStitch")
def dynamic_stitch(xp: Any, indices: list[Any], data: list[Any]) -> Any:
    """Merges rows: row ``indices[i]`` of the result is ``data[i]``.

    Of a repeated index the last one stays. Rows that no index names are zeros (strings: empty),
    where TensorFlow leaves them undefined.
    """
    rest = data[0].shape[indices[0].ndim :]
    for i, (index, values) in enumerate(zip(indices, data, strict=True)):
        if values.shape[: index.ndim] != index.shape:
            raise errors.invalid_argument(
                f"data[{i}].shape = {format_shape(values.shape)} does not start with "
                f"indices[{i}].shape = {format_shape(index.shape)}"
            )
        if values.shape[index.ndim :] != rest:
            raise errors.invalid_argument(
                f"Need data[0].shape[{indices[0].ndim}:] = data[{i}].shape[{index.ndim}:], got "
                f"data[0].shape = {format_shape(data[0].shape)}, data[{i}].shape = "
                f"{format_shape(values.shape)}"
            )
        if index.size and (index < 0).any():
            raise errors.invalid_argument(f"indices[{i}] is out of range")
    rows = 1 + max((int(i.max()) for i in indices if i.size), default=-1)
    dtype = data[0].dtype
    flat_indices = np.concatenate([i.reshape(-1) for i in indices])
    flat_data = xp.concatenate(
        [
            d.reshape((-1, *rest)) if d.size else d.reshape((math.prod(i.shape), *rest))
            for i, d in zip(indices, data, strict=True)
        ]
    )
    if xp is np:
        merged = np.full((rows, *rest), zero(dtype), dtype)
        merged[flat_indices] = flat_data  # of a repeated index, the last one stays
        return merged
    # Of a repeated index, XLA's scatter keeps any.
    last = np.full(rows, -1)
    last[flat_indices] = np.arange(len(flat_indices))
    kept = np.flatnonzero(last >= 0)
    return xp.zeros((rows, *rest), dtype).at[kept].set(flat_data[last[kept]])


# Selecting by data --------------------------------------------------------------------------------


@kernel("Where")
def where(xp: Any, x: Array) -> Array:
    """Returns the index vectors of the elements that are not zero: int64 [n, rank].

    They are in row-major order.
    """
    if not x.ndim:
        raise errors.invalid_argument("WhereOp : Unhandled input dimensions: 0")
    return np.argwhere(x).astype(np.int64, copy=False)


def _unique(x: Array, out_idx: DType) -> tuple[Array, Array, Array]:
    """Returns the distinct elements in the order of their first occurrence, indices and counts."""
    if x.ndim != 1:
        raise errors.invalid_argument("unique expects a 1D vector.")
    values, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), out_idx.as_numpy_dtype)
    rank[order] = np.arange(len(order))
    return values[order], rank[inverse], counts[order].astype(rank.dtype)


@kernel("Unique")
def unique(xp: Any, x: Array, *, out_idx: DType) -> tuple[Array, Array]:
    """Returns the distinct elements of a vector by first occurrence, and the index of each element.

    Each NaN is distinct, unlike in ``np.unique``.
    """
    return _unique(x, out_idx)[:2]


@kernel("UniqueWithCounts")
def unique_with_counts(xp: Any, x: Array, *, out_idx: DType) -> tuple[Array, Array, Array]:
    """Returns what Unique does, and function often each distinct element occurs."""
    return _unique(x, out_idx)


@kernel("ListDiff")
def list_diff(xp: Any, x: Array, y: Array, *, out_idx: DType) -> tuple[Array, Array]:
    """Returns the elements of vector ``x`` that are not in ``y``, and their indices."""
    for name, values in (("x", x), ("y", y)):
        if values.ndim != 1:
            raise errors.invalid_argument(f"{name} should be a 1D vector.")
    kept = np.flatnonzero(~np.isin(x, y))
    return x[kept], kept.astype(out_idx.as_numpy_dtype)
