"""Reductions, scans, segment reductions and counting: gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Operation, Tensor
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.gradients.registry import gradient
from flowray.client.ops import math_ops as tf
from flowray.client.ops import reduction_ops
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import is_fully_defined


def _number(value: float, like: Tensor) -> Tensor:
    return constant(value, like.dtype.base_dtype)


def _gather(params: Tensor, indices: Tensor) -> Tensor:
    return output_of("GatherV2", params, indices, 0)


# Reductions --------------------------------------------------------------------------------------


def _shape_of(x: Tensor) -> Tensor:
    """Returns the shape as int32: a constant if it is known."""
    shape = x.shape_tuple
    if is_fully_defined(shape):
        return constant(np.array(shape, np.int32))
    return output_of("Shape", x)


def _kept_shape(x: Tensor, axes: Tensor) -> Tensor:
    """Returns the shape of ``x`` with its reduced dimensions set to 1."""
    shape, indices = x.shape_tuple, constant_value(axes)
    if shape is None or indices is None:
        rank = apply_op("Rank", x)
        positive = tf.floormod(tf.cast(axes, dtypes.int32), rank)
        column = apply_op("ExpandDims", tf.range(0, rank), 1)
        among = tf.equal(column, apply_op("Reshape", positive, [1, -1]))
        reduced = reduction_ops.reduce_any(among, 1)
        return output_of("SelectV2", reduced, constant(1), apply_op("Shape", x))
    mask = np.zeros(len(shape), bool)
    mask[indices.reshape(-1)] = True
    if all(m or n is not None for m, n in zip(mask, shape, strict=True)):
        dims = [1 if m else n for m, n in zip(mask, shape, strict=True)]
        return constant(np.array(dims, np.int32))
    return output_of("SelectV2", constant(mask), constant(1), apply_op("Shape", x))


def _with_kept_dims(op: Operation, value: Tensor) -> Tensor:
    """Reshapes ``value``, of the output's shape, to broadcast against the input."""
    if op.get_attr("keep_dims"):
        return value
    return output_of("Reshape", value, _kept_shape(*op.inputs))


def _spread(op: Operation, grad: Tensor) -> Tensor:
    """Passes the gradient of a sum to every element of the input."""
    x, axes = op.inputs[0], constant_value(op.inputs[1])
    rank = x.shape.rank
    if rank is not None and axes is not None and np.array_equal(axes, np.arange(rank)):
        return output_of("Tile", apply_op("Reshape", grad, [1] * rank), _shape_of(x))
    result: Tensor = apply_op("BroadcastTo", _with_kept_dims(op, grad), _shape_of(x))
    result.set_shape(x.shape)
    return result


@gradient("Sum")
def _sum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return [_spread(op, grad), None]


@gradient("Mean")
def _mean(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs[0], op.outputs[0]
    spread = _spread(op, grad)
    if is_fully_defined(x.shape_tuple) and is_fully_defined(y.shape_tuple):
        assert x.shape_tuple is not None
        assert y.shape_tuple is not None
        sizes = [math.prod(t.shape_tuple) for t in (x, y)]  # type: ignore[arg-type]
        factor = _number(sizes[0] // max(sizes[1], 1), grad)
    else:
        elements, results = apply_op("Size", x), apply_op("Size", y)
        count = tf.floor_div(elements, tf.maximum(results, constant(1)))
        factor = tf.cast(count, grad.dtype.base_dtype)
    return [tf.truediv(spread, factor), None]


@gradient("Max", "Min")
def _extremum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    """Divides the gradient among the elements that tie."""
    x, axes = op.inputs
    y, grad = _with_kept_dims(op, op.outputs[0]), _with_kept_dims(op, grad)
    chosen = tf.cast(tf.equal(y, x), grad.dtype.base_dtype)
    number = reduction_ops.reduce_sum(chosen, axes, keepdims=True)
    return [tf.multiply(tf.truediv(chosen, number), grad), None]


def _axes_first(x: Tensor, axes: Tensor) -> tuple[Any, Any, Any]:
    """Returns reduced axes, the others, and the inverse of their concatenation."""
    indices = constant_value(axes)
    if x.shape_tuple is not None and indices is not None:
        rank = len(x.shape_tuple)
        first = [int(i) % rank for i in indices.reshape(-1)]
        others = [i for i in range(rank) if i not in first]
        vectors = (first, others, np.argsort([*first, *others]))
        return tuple(constant(np.array(v, np.int32)) for v in vectors)  # type: ignore[return-value]
    rank = apply_op("Rank", x)
    reduced = tf.floormod(apply_op("Reshape", tf.cast(axes, dtypes.int32), [-1]), rank)
    other = apply_op("ListDiff", tf.range(0, rank), reduced)[0]
    permutation = apply_op("ConcatV2", [reduced, other], 0)
    return reduced, other, apply_op("InvertPermutation", permutation)


@gradient("Prod")
def _prod(op: Operation, grad: Tensor) -> list[Tensor | None]:
    """Multiplies the gradient by the product of all other elements.

    That is the product of the elements before times that of the elements after, which works
    for zeros, too.
    """
    x = op.inputs[0]
    reduced, other, inverse = _axes_first(*op.inputs)
    permuted = apply_op("Transpose", x, apply_op("ConcatV2", [reduced, other], 0))
    dims = apply_op("Shape", x)
    sizes = [reduction_ops.reduce_prod(_gather(dims, part), 0) for part in (reduced, other)]
    rows = apply_op("Reshape", permuted, apply_op("Pack", sizes))
    before = reduction_ops.cumprod(rows, 0, exclusive=True)
    after = reduction_ops.cumprod(rows, 0, exclusive=True, reverse=True)
    product = tf.multiply(tf.conj(before), tf.conj(after))
    others = apply_op("Reshape", product, apply_op("Shape", permuted))
    result = tf.multiply(_spread(op, grad), apply_op("Transpose", others, inverse))
    result.set_shape(x.shape)
    return [result, None]


@gradient("EuclideanNorm")
def _euclidean_norm(op: Operation, grad: Tensor) -> list[Tensor | None]:
    y, grad = _with_kept_dims(op, op.outputs[0]), _with_kept_dims(op, grad)
    return [tf.multiply(op.inputs[0], tf.div_no_nan(grad, y)), None]


# Scans -------------------------------------------------------------------------------------------


def _scan_attrs(op: Operation) -> dict[str, Any]:
    """Returns the attributes of a scan in the other direction."""
    return {"exclusive": op.get_attr("exclusive"), "reverse": not op.get_attr("reverse")}


@gradient("Cumsum")
def _cumsum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return [reduction_ops.cumsum(grad, op.inputs[1], **_scan_attrs(op)), None]


@gradient("Cumprod")
def _cumprod(op: Operation, grad: Tensor) -> list[Tensor | None]:
    """Does not hold for elements that are 0, as TensorFlow's."""
    x, axis = op.inputs
    scaled = tf.multiply(op.outputs[0], grad)
    return [tf.div_no_nan(reduction_ops.cumsum(scaled, axis, **_scan_attrs(op)), x), None]


# Segments ----------------------------------------------------------------------------------------


def _ones_like(x: Tensor, dtype: Any) -> Tensor:
    return output_of("Fill", apply_op("Shape", x), constant(1, dtype))


def _expand_to(x: Tensor, like: Tensor) -> Tensor:
    """Adds trailing dimensions of size 1 to ``x``, so that it broadcasts against ``like``."""
    inner = tf.subtract(apply_op("Rank", like), apply_op("Rank", x))
    tail = apply_op("Fill", apply_op("Reshape", inner, [1]), constant(1))
    shape = apply_op("ConcatV2", [apply_op("Shape", x), tail], 0)
    return output_of("Reshape", x, shape)


@gradient("SegmentSum")
def _segment_sum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return [_gather(grad, op.inputs[1]), None]


@gradient("SegmentMean")
def _segment_mean(op: Operation, grad: Tensor) -> list[Tensor | None]:
    ids = op.inputs[1]
    sizes = reduction_ops.segment_sum(_ones_like(ids, grad.dtype.base_dtype), ids)
    return [_gather(tf.truediv(grad, _expand_to(sizes, grad)), ids), None]


@gradient("SegmentMax", "SegmentMin")
def _segment_extremum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, ids = op.inputs
    chosen = tf.equal(x, _gather(op.outputs[0], ids))
    number = reduction_ops.segment_sum(tf.cast(chosen, grad.dtype.base_dtype), ids)
    shared = _gather(tf.truediv(grad, number), ids)
    return [apply_op("SelectV2", chosen, shared, _number(0, grad)), None]


def _gather_or_zero(params: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns ``params`` at ids, 0 where an id is negative, and where it is not."""
    gathered = _gather(params, tf.maximum(ids, _number(0, ids)))
    inside = _expand_to(tf.greater_equal(ids, _number(0, ids)), gathered)
    return apply_op("SelectV2", inside, gathered, _number(0, params)), inside


@gradient("UnsortedSegmentSum")
def _unsorted_segment_sum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return [_gather_or_zero(grad, op.inputs[1])[0], None, None]


@gradient("UnsortedSegmentMax", "UnsortedSegmentMin")
def _unsorted_segment_extremum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, ids, count = op.inputs
    best, inside = _gather_or_zero(op.outputs[0], ids)
    chosen = tf.logical_and(tf.equal(x, best), inside)
    number = reduction_ops.unsorted_segment_sum(tf.cast(chosen, grad.dtype.base_dtype), ids, count)
    shared = _gather_or_zero(tf.div_no_nan(grad, number), ids)[0]
    return [apply_op("SelectV2", chosen, shared, _number(0, grad)), None, None]


def _product_grad(op: Operation, grad: Tensor, reduce: Callable[[str, Tensor], Tensor]) -> Tensor:
    """Divides each segment's product by the element.

    With one 0 in the segment, that element's factor is the product of the others; with more, all
    are 0.

    Args:
        reduce: ``reduce(kind, data)`` gives the segments of ``data``, "Sum" or "Prod".
    """
    x, ids = op.inputs[:2]
    one, zero = _number(1, x), _number(0, x)
    is_zero = tf.equal(x, zero)
    zeros = reduce("Sum", tf.cast(is_zero, dtypes.int32))
    single = tf.greater(zeros, constant(1))
    grad = apply_op("SelectV2", single, zero, grad)
    others = reduce("Prod", apply_op("SelectV2", is_zero, one, x))
    without_zeros, inside = _gather_or_zero(others, ids)
    product = _gather_or_zero(op.outputs[0], ids)[0]
    quotient = tf.truediv(product, apply_op("SelectV2", is_zero, one, x))
    partial = apply_op("SelectV2", is_zero, without_zeros, quotient)
    partial = apply_op("SelectV2", inside, partial, zero)
    return tf.multiply(_gather_or_zero(grad, ids)[0], partial)


@gradient("SegmentProd")
def _segment_prod(op: Operation, grad: Tensor) -> list[Tensor | None]:
    def reduce(kind: str, data: Tensor) -> Tensor:
        return output_of(f"Segment{kind}", data, op.inputs[1])

    return [_product_grad(op, grad, reduce), None]


@gradient("UnsortedSegmentProd")
def _unsorted_segment_prod(op: Operation, grad: Tensor) -> list[Tensor | None]:
    def reduce(kind: str, data: Tensor) -> Tensor:
        return output_of(f"UnsortedSegment{kind}", data, *op.inputs[1:])

    return [_product_grad(op, grad, reduce), None, None]


# Segments of chosen rows -------------------------------------------------------------------------


def _rows(x: Tensor) -> Tensor:
    return output_of("StridedSlice", apply_op("Shape", x), [0], [1], [1], shrink_axis_mask=1)


def _without_count(op: Operation, *gradients: Tensor | None) -> list[Tensor | None]:
    """Returns the gradients, and None for the number of segments, if the op has it."""
    return [*gradients, *[None] * (len(op.inputs) - len(gradients))]


@gradient("SparseSegmentSum", "SparseSegmentSumWithNumSegments")
def _sparse_segment_sum(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, indices, ids = op.inputs[:3]
    spread = _gather(grad, ids)
    total = reduction_ops.unsorted_segment_sum(spread, indices, _rows(x))
    return _without_count(op, total)


def _sparse_segment_by_op(grad_op: str) -> Callable[..., list[Tensor | None]]:
    def function(op: Operation, grad: Tensor) -> list[Tensor | None]:
        x, indices, ids = op.inputs[:3]
        return _without_count(op, apply_op(grad_op, grad, indices, ids, _rows(x)))

    return function


for _kind in ("Mean", "SqrtN"):
    gradient(f"SparseSegment{_kind}", f"SparseSegment{_kind}WithNumSegments")(
        _sparse_segment_by_op(f"SparseSegment{_kind}Grad")
    )


@gradient("SparseSegmentMeanGrad")
def _sparse_segment_mean_grad(op: Operation, grad: Tensor) -> list[Tensor | None]:
    """Applies the transpose of the op, which is linear in its first input."""
    return _transposed(op, grad, "Mean")


@gradient("SparseSegmentSqrtNGrad")
def _sparse_segment_sqrt_n_grad(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return _transposed(op, grad, "SqrtN")


def _transposed(op: Operation, grad: Tensor, kind: str) -> list[Tensor | None]:
    inputs, indices, ids = op.inputs[:3]
    result = apply_op(f"SparseSegment{kind}WithNumSegments", grad, indices, ids, _rows(inputs))
    return [result, None, None, None]
