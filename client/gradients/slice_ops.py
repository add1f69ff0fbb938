"""Slicing, gathering, scattering, partitions: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Tensor, colocate_with
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.gradients.array_ops import dense
from flowray.client.gradients.registry import gradient
from flowray.client.ops import array_ops, slice_ops

# Slices -------------------------------------------------------------------------------------------


@gradient("Slice")
def slice_(op: Any, grad: Any) -> Any:
    """Pads the gradient with zeros."""
    x, begin = op.inputs[0], op.inputs[1]
    column = array_ops.stack([array_ops.rank(x), 1])
    size = array_ops.shape(op.outputs[0], out_type=begin.dtype)
    before = array_ops.reshape(begin, column)
    after = array_ops.reshape(array_ops.shape(x, out_type=begin.dtype) - size - begin, column)
    return apply_op("Pad", dense(grad), array_ops.concat([before, after], 1)), None, None


def _masks(op: Any) -> dict[str, Any]:
    return {
        f"{name}_mask": op.get_attr(f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }


@gradient("StridedSlice")
def strided_slice(op: Any, grad: Any) -> Any:
    """Puts the gradient at its places in zeros."""
    x, begin, end, strides = op.inputs
    shape = array_ops.shape(x, out_type=begin.dtype)
    x_grad = apply_op("StridedSliceGrad", shape, begin, end, strides, dense(grad), **_masks(op))
    return x_grad, None, None, None


@gradient("StridedSliceGrad")
def strided_slice_grad(op: Any, grad: Any) -> Any:
    """Slices the gradient."""
    _, begin, end, strides, _ = op.inputs
    return (
        *[None] * 4,
        slice_ops.strided_slice(grad, begin, end, strides, **_masks(op)),
    )


# Gathering ----------------------------------------------------------------------------------------


def _rows(params: Any, indices: Any, grad: Any) -> IndexedSlices:
    """Returns the gradient of a gather along the first axis: one row for each index."""
    with colocate_with(params):
        shape = array_ops.shape(params)
    count = array_ops.expand_dims(array_ops.size(indices), 0)
    values = array_ops.reshape(dense(grad), array_ops.concat([count, shape[1:]], 0))
    return IndexedSlices(values, array_ops.reshape(indices, count), shape)


@gradient("Gather")
def gather(op: Any, grad: Any) -> Any:
    """Returns one row for each index."""
    return _rows(op.inputs[0], op.inputs[1], grad), None


@gradient("GatherV2")
def gather_v2(op: Any, grad: Any) -> Any:
    """Returns one row for each index, or sums slices into zeros along other axes."""
    params, indices, axis = op.inputs
    at = array_ops.static_axis(axis)
    if at == 0:
        return _rows(params, indices, grad), None, None
    if at is None or at < 0:
        rank = array_ops.rank(params)
        at = apply_op("FloorMod", axis if at is None else at, rank)
    batch_dims = op.get_attr("batch_dims")
    if batch_dims < 0:
        batch_dims = array_ops.rank(indices) + batch_dims
    return _gather_along(params, indices, dense(grad), at, batch_dims), None, None


def _gather_along(params: Any, indices: Any, grad: Any, at: Any, batch_dims: Any) -> Any:
    """Sums the slices of ``grad`` into zeros shaped as ``params``.

    Whatever the ranks, ``params`` is seen as [batch, before, size, after] and ``grad`` as
    [batch, before, indices per batch, after]; ``at`` and ``batch_dims`` are not negative.
    """

    def product(dims: Any) -> Tensor:
        return output_of("Prod", dims, [0])

    shape = array_ops.shape(params)
    batch, before = product(shape[:batch_dims]), product(shape[batch_dims:at])
    size, after = shape[at], product(shape[at + 1 :])
    count = product(array_ops.shape(indices)[batch_dims:])
    slices = array_ops.transpose(
        array_ops.reshape(grad, [batch, before, count, after]), [0, 2, 1, 3]
    )
    offsets = apply_op("Cast", apply_op("Range", 0, batch, 1) * size, DstT=indices.dtype)
    rows = array_ops.reshape(indices, [batch, count]) + array_ops.expand_dims(offsets, 1)
    summed = apply_op("UnsortedSegmentSum", slices, rows, batch * size)
    by_row = array_ops.reshape(summed, [batch, size, before, after])
    return array_ops.reshape(array_ops.transpose(by_row, [0, 2, 1, 3]), shape)


@gradient("GatherNd")
def gather_nd(op: Any, grad: Any) -> Any:
    """Returns one row for each index vector of length 1, else scatters into zeros."""
    params, indices = op.inputs
    shape = array_ops.shape(params, out_type=indices.dtype)
    grad = dense(grad)
    if indices.shape.rank == 2 and indices.shape_tuple[1] == 1:
        return IndexedSlices(grad, array_ops.squeeze(indices, axis=-1), shape), None
    return slice_ops.scatter_nd(indices, grad, shape), None


# Scattering ---------------------------------------------------------------------------------------


@gradient("ScatterNd")
def scatter_nd(op: Any, grad: Any) -> Any:
    """Gathers the gradient at the indices."""
    return None, slice_ops.gather_nd(grad, op.inputs[0]), None


@gradient("TensorScatterUpdate")
def tensor_scatter_update(op: Any, grad: Any) -> Any:
    """Gathers the gradient at the indices; there it is 0 for the tensor."""
    _, indices, updates = op.inputs
    kept = slice_ops.tensor_scatter_update(grad, indices, array_ops.zeros_like(updates))
    return kept, None, slice_ops.gather_nd(grad, indices)


@gradient("TensorScatterAdd")
def tensor_scatter_add(op: Any, grad: Any) -> Any:
    """Passes the gradient on, and gathers it at the indices for the updates."""
    return array_ops.identity(grad), None, slice_ops.gather_nd(grad, op.inputs[1])


@gradient("TensorScatterSub")
def tensor_scatter_sub(op: Any, grad: Any) -> Any:
    """Passes the gradient on, and gathers its negative at the indices."""
    return array_ops.identity(grad), None, apply_op("Neg", slice_ops.gather_nd(grad, op.inputs[1]))


@gradient("TensorScatterMin", "TensorScatterMax")
def tensor_scatter_extreme(op: Any, grad: Any) -> Any:
    """Divides the gradient among the elements that have the extreme value."""
    tensor, indices, updates = op.inputs
    result = op.outputs[0]
    from_tensor = apply_op("Cast", apply_op("Equal", tensor, result), DstT=grad.dtype)
    from_updates = apply_op(
        "Cast", apply_op("Equal", updates, slice_ops.gather_nd(result, indices)), DstT=grad.dtype
    )
    count = slice_ops.tensor_scatter_add(from_tensor, indices, from_updates)
    share = grad / count
    return share * from_tensor, None, slice_ops.gather_nd(share, indices) * from_updates


# Partitions ---------------------------------------------------------------------------------------


@gradient("DynamicPartition")
def dynamic_partition(op: Any, *grads: Any) -> Any:
    """Partitions the places as well, and stitches the gradients together by them."""
    data, partitions = op.inputs
    shape = array_ops.shape(partitions)
    places = array_ops.reshape(apply_op("Range", 0, apply_op("Prod", shape, [0]), 1), shape)
    parts = slice_ops.dynamic_partition(places, partitions, op.get_attr("num_partitions"))
    whole = slice_ops.dynamic_stitch(parts, list(grads))
    return array_ops.reshape(whole, array_ops.shape(data)), None


@gradient("DynamicStitch", "ParallelDynamicStitch")
def dynamic_stitch(op: Any, grad: Any) -> Any:
    """Gathers the gradient at the indices."""
    count = len(op.inputs) // 2
    grad = dense(grad)
    return [*[None] * count, *(slice_ops.gather(grad, i) for i in op.inputs[:count])]
