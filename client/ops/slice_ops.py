"""User functions for slicing, gathering, scattering, and selecting by data."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope, override_operator
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.array_ops import (
    concat,
    ones_like,
    reshape,
    shape,
    squeeze,
    stack,
    static_axis,
)
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import Dimension

newaxis = tf_export("newaxis")(None)
"""An index that adds a dimension of size 1, as numpy's."""

_PythonSlice = slice


# Slices -------------------------------------------------------------------------------------------


@tf_export("slice")
def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """Takes ``size`` elements from ``begin`` on in each dimension; size -1 takes the rest."""
    return output_of("Slice", input_, begin, size, name=name)


@tf_export("strided_slice")
def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Any:
    """Takes ``input_[begin:end:strides]`` for index vectors; bit i of a mask is for entry i.

    Args:
        begin, end, strides: integer vectors of one length; strides are 1 if None.
        begin_mask, end_mask: entries that start at the very start, stop at the very end.
        ellipsis_mask: the entry that stands for all dimensions that are left.
        new_axis_mask: entries that add a dimension of size 1.
        shrink_axis_mask: entries that are one index, whose dimension goes away.
        var: a variable whose value ``input_`` is: the result has a method ``assign``, which writes
            to that slice of it.
    """
    if strides is None:
        strides = ones_like(begin)
    result = apply_op(
        "StridedSlice",
        input_,
        begin,
        end,
        strides,
        begin_mask=begin_mask,
        end_mask=end_mask,
        ellipsis_mask=ellipsis_mask,
        new_axis_mask=new_axis_mask,
        shrink_axis_mask=shrink_axis_mask,
        name=name,
    )
    if var is not None:
        result.assign = functools.partial(var._assign_slice, result.op)
    return result


_INDEX_ERROR = (
    "Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar "
    "tf.int32/tf.int64 tensors are valid indices"
)


def _checked_index(index: Any) -> Any:
    """Returns an index as an int or a scalar integer tensor. TypeError for anything else."""
    if isinstance(index, int | np.integer) and not isinstance(index, bool):
        return int(index)
    if isinstance(index, Dimension):
        return int(index)
    tensor = getattr(index, "_as_graph_element", lambda: index)()
    if (
        isinstance(tensor, Tensor)
        and tensor.dtype.base_dtype
        in (
            dtypes.uint8,
            dtypes.int8,
            dtypes.uint16,
            dtypes.int16,
            dtypes.int32,
            dtypes.int64,
        )
        and not tensor.shape_tuple
    ):
        return index
    raise TypeError(f"{_INDEX_ERROR}, got {index!r}")


def _is_mask(index: Any) -> bool:
    if isinstance(index, bool | np.bool_):
        return True
    dtype = getattr(index, "dtype", None)
    return isinstance(index, Tensor | np.ndarray) and dtypes.as_dtype(dtype) == dtypes.bool


def slice_helper(tensor: Any, slice_spec: Any, var: Any = None) -> Tensor:
    """Takes ``tensor[slice_spec]``: ``Tensor.__getitem__``, and that of variables.

    Takes integers, slices, ``...``, ``tf.newaxis``, scalar integer tensors, tuples of these, and a
    boolean mask.

    Raises:
        TypeError: the index is not one of these.
    """
    if _is_mask(slice_spec):
        return boolean_mask(tensor, slice_spec)
    if not isinstance(slice_spec, list | tuple):
        slice_spec = [slice_spec]
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = dict.fromkeys(("begin", "end", "ellipsis", "new_axis", "shrink_axis"), 0)

    def bound(value: Any, mask: str, bit: int) -> Any:
        if value is None or (not isinstance(value, Tensor) and value == sys.maxsize):
            masks[mask] |= bit
            return 0
        return _checked_index(value)

    for i, item in enumerate(slice_spec):
        bit = 1 << i
        if isinstance(item, _PythonSlice):
            begin.append(bound(item.start, "begin", bit))
            end.append(bound(item.stop, "end", bit))
            strides.append(1 if item.step is None else _checked_index(item.step))
        elif item is Ellipsis or item is newaxis:
            begin.append(0)
            end.append(0)
            strides.append(1)
            masks["ellipsis" if item is Ellipsis else "new_axis"] |= bit
        else:
            index = _checked_index(item)
            begin.append(index)
            end.append(index + 1)
            strides.append(1)
            masks["shrink_axis"] |= bit
    with name_scope(None, "strided_slice", [tensor, *begin, *end, *strides]) as scope:
        if begin:
            vectors = [stack(v) for v in (begin, end, strides)]
            if any(v.dtype == dtypes.int64 for v in vectors):
                vectors = [
                    v if v.dtype == dtypes.int64 else apply_op("Cast", v, DstT=dtypes.int64)
                    for v in vectors
                ]
        else:
            vectors = [constant([], dtypes.int32)] * 3
        options: dict[str, Any] = {f"{name}_mask": bits for name, bits in masks.items()}
        options.update(var=var, name=scope)
        result: Tensor = strided_slice(tensor, *vectors, **options)
        return result


override_operator("__getitem__", slice_helper)


# Gathering ----------------------------------------------------------------------------------------


@tf_export("gather")
def gather(
    params: Any,
    indices: Any,
    validate_indices: bool | None = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """Gathers the slices of ``params`` along ``axis`` at ``indices``.

    Args:
        params: a tensor or variable; a resource variable is read only where it is needed.
        indices: integer tensor. InvalidArgumentError in a run where one is out of range.
        validate_indices: has no effect (they are always checked).
        axis: ``batch_dims`` if None.
        batch_dims: how many leading dimensions params and indices share.
    """
    del validate_indices
    axis = batch_dims if axis is None else axis
    if static_axis(axis) == 0 and batch_dims == 0 and hasattr(params, "sparse_read"):
        rows: Tensor = params.sparse_read(indices, name=name)
        return rows
    return output_of("GatherV2", params, indices, axis, batch_dims=batch_dims, name=name)


@tf_export("batch_gather")
def batch_gather(params: Any, indices: Any, name: str | None = None) -> Any:
    """Gathers with all dimensions of ``indices`` but the last as batch dimensions."""
    with name_scope(name, "BatchGather", [params, indices]):
        indices = convert_to_tensor(indices, name="indices")
        params = convert_to_tensor(params, name="params")
        if indices.shape.rank is None:
            raise ValueError("batch_gather does not allow indices with unknown shape.")
        batch_dims = indices.shape.rank - 1
        return gather(params, indices, axis=batch_dims, batch_dims=batch_dims)


@tf_export("gather_nd", "manip.gather_nd")
def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Any:
    """Gathers the slices of ``params`` at index vectors, the last dimension of ``indices``.

    Args:
        batch_dims: how many leading dimensions params and indices share.
    """
    if batch_dims == 0:
        if hasattr(params, "gather_nd"):
            return params.gather_nd(indices, name=name)
        return apply_op("GatherNd", params, indices, name=name)
    with name_scope(name, "BatchGatherNd", [params, indices]):
        params = convert_to_tensor(params, name="params")
        indices = convert_to_tensor(indices, name="indices")
        known = indices.shape.rank
        if known is None or not 0 <= batch_dims < known:
            raise ValueError(
                f"batch_dims = {batch_dims} must be less than the rank of indices, which is {known}"
            )
        # Each index vector is led by the place of its batch.
        dims = shape(indices)
        column = concat([dims[:-1], [1]], 0)
        leading = []
        for i in range(batch_dims):
            places = apply_op("Range", 0, dims[i], 1)
            places = apply_op("Cast", places, DstT=indices.dtype)
            along = reshape(places, [-1 if j == i else 1 for j in range(known)])
            leading.append(apply_op("BroadcastTo", along, column))
        return apply_op("GatherNd", params, concat([*leading, indices], -1))


# Scattering ---------------------------------------------------------------------------------------


@tf_export("scatter_nd", "manip.scatter_nd")
def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Adds ``updates`` at the index vectors ``indices`` to zeros of ``shape``."""
    return output_of("ScatterNd", indices, updates, shape, name=name)


@tf_export("tensor_scatter_nd_update", "tensor_scatter_update")
def tensor_scatter_update(
    tensor: Any, indices: Any, updates: Any, name: str | None = None
) -> Tensor:
    """Replaces the slices of ``tensor`` at the index vectors ``indices`` by ``updates``."""
    return output_of("TensorScatterUpdate", tensor, indices, updates, name=name)


@tf_export("tensor_scatter_add", "tensor_scatter_nd_add")
def tensor_scatter_add(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """Adds ``updates`` to ``tensor`` at the index vectors ``indices``."""
    return output_of("TensorScatterAdd", tensor, indices, updates, name=name)


@tf_export("tensor_scatter_nd_sub", "tensor_scatter_sub")
def tensor_scatter_sub(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """Subtracts ``updates`` from ``tensor`` at the index vectors ``indices``."""
    return output_of("TensorScatterSub", tensor, indices, updates, name=name)


def tensor_scatter_min(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """Takes the minimum of ``tensor`` and ``updates`` at ``indices``."""
    return output_of("TensorScatterMin", tensor, indices, updates, name=name)


def tensor_scatter_max(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """Takes the maximum of ``tensor`` and ``updates`` at ``indices``."""
    return output_of("TensorScatterMax", tensor, indices, updates, name=name)


# Partitions ---------------------------------------------------------------------------------------


@tf_export("dynamic_partition")
def dynamic_partition(
    data: Any, partitions: Any, num_partitions: int, name: str | None = None
) -> Any:
    """Splits ``data`` into ``num_partitions`` tensors by the values of ``partitions``."""
    return apply_op("DynamicPartition", data, partitions, num_partitions=num_partitions, name=name)


@tf_export("dynamic_stitch")
def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """Merges slices: slice ``indices[m][i]`` is ``data[m][i]``; of equal indices the last."""
    return output_of("DynamicStitch", indices, data, name=name)


def parallel_dynamic_stitch(
    indices: Sequence[Any], data: Sequence[Any], name: str | None = None
) -> Tensor:
    """Merges slices as ``dynamic_stitch``; of equal indices any may win."""
    return output_of("ParallelDynamicStitch", indices, data, name=name)


# Selecting by data --------------------------------------------------------------------------------


@tf_export("where")
def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """Returns the index vectors of true elements or, with x and y, elements of one or the other.

    Args:
        condition: of the shape of x, a vector as long as its first dimension, or a scalar.
        x, y: tensors of one shape and dtype; both or none.
    """
    if x is None and y is None:
        with name_scope(name, "Where", [condition]) as scope:
            condition = convert_to_tensor(condition, preferred_dtype=dtypes.bool, name="condition")
            return output_of("Where", condition, name=scope)
    if x is None or y is None:
        raise ValueError("x and y must both be non-None or both be None.")
    return output_of("Select", condition, x, y, name=name)


@tf_export("where_v2")
def where_v2(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """Computes ``where`` with broadcasting of condition, x and y."""
    if x is None and y is None:
        return where(condition, name=name)
    if x is None or y is None:
        raise ValueError("x and y must both be non-None or both be None.")
    return apply_op("SelectV2", condition, x, y, name=name)


@tf_export("boolean_mask")
def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: Any = None) -> Tensor:
    """Takes the slices of ``tensor`` for which ``mask`` is true.

    Args:
        mask: its shape is that of ``tensor`` from ``axis`` on, over as many dimensions as it has.
        axis: where the masked dimensions begin; 0 if None.
    """
    with name_scope(name, None, [tensor, mask]):
        tensor = convert_to_tensor(tensor, name="tensor")
        mask = convert_to_tensor(mask, name="mask")
        count = mask.shape.rank
        if count == 0:
            raise ValueError("mask cannot be scalar.")
        if count is None:
            raise ValueError(
                "Number of mask dimensions must be specified, even if some dimensions are None.  "
                "E.g. shape=[None] is ok, but shape=None is not."
            )
        at = 0 if axis is None else static_axis(axis)
        if at is None:
            raise ValueError("axis must be known when the graph is built")
        static = tensor.shape
        if at < 0 and static.rank is not None:
            at += static.rank
        masked = static[at : at + count]
        masked.assert_is_compatible_with(mask.shape)
        leading = apply_op("Prod", shape(tensor)[at : at + count], [0])
        dims = [shape(tensor)[:at], [leading], shape(tensor)[at + count :]]
        tensor = reshape(tensor, concat(dims, 0))
        if static.rank is not None:
            tensor.set_shape(
                static[:at].concatenate([masked.num_elements()]).concatenate(static[at + count :])
            )
        indices = squeeze(where(reshape(mask, [-1])), axis=[1])
        return gather(tensor, indices, axis=at)


@tf_export("unique")
def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> Any:
    """Returns ``(y, idx)``: the distinct elements of a vector as they come, and ``x = y[idx]``."""
    return apply_op("Unique", x, out_idx=out_idx, name=name)


@tf_export("unique_with_counts")
def unique_with_counts(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> Any:
    """Returns ``(y, idx, count)``: as ``unique``, and how often each element occurs."""
    return apply_op("UniqueWithCounts", x, out_idx=out_idx, name=name)


@tf_export("setdiff1d")
def setdiff1d(x: Any, y: Any, index_dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """Returns ``(out, idx)``: the elements of ``x`` that are not in ``y``, and ``out = x[idx]``."""
    return apply_op("ListDiff", x, y, out_idx=index_dtype, name=name)


listdiff = setdiff1d


@tf_export("required_space_to_batch_paddings")
def required_space_to_batch_paddings(
    input_shape: Any, block_shape: Any, base_paddings: Any = None, name: str | None = None
) -> tuple[Any, Any]:
    """Returns ``(paddings, crops)`` that make dimensions divisible by their blocks.

    Args:
        input_shape, block_shape: integer vectors of length N.
        base_paddings: [N, 2], the least paddings; 0 if None.
    """
    with name_scope(name, "required_space_to_batch_paddings", [input_shape, block_shape]):
        input_shape = convert_to_tensor(input_shape, dtypes.int32, name="input_shape")
        block_shape = convert_to_tensor(block_shape, dtypes.int32, name="block_shape")
        block_shape.shape.assert_is_fully_defined()
        count = block_shape.shape_tuple[0]
        if count == 0:
            return (constant(np.zeros((0, 2), np.int32)),) * 2
        if base_paddings is None:
            base_paddings = np.zeros((count, 2), np.int32)
        base_paddings = convert_to_tensor(base_paddings, dtypes.int32, name="base_paddings")
        known = [constant_value(t) for t in (input_shape, block_shape, base_paddings)]
        dims, block, base = input_shape, block_shape, base_paddings
        if all(v is not None for v in known):
            dims, block, base = known
        start, least_end = base[:, 0], base[:, 1]
        extra = (block - (dims + start + least_end) % block) % block
        columns = [start, least_end + extra], [0 * start, extra]
        paddings, crops = (
            np.stack(pair, axis=1) if isinstance(dims, np.ndarray) else stack(pair, axis=1)
            for pair in columns
        )
        return (
            convert_to_tensor(paddings, name="paddings"),
            convert_to_tensor(crops, name="crops"),
        )
