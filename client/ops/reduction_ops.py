"""User functions for reductions, scans, segment reductions and contractions."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops, math_ops
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import is_fully_defined


def deprecated_argument(new_name: str, new: Any, old_name: str, old: Any) -> Any:
    """Returns the value of a renamed argument; ValueError if both names are given."""
    if old is None:
        return new
    if new is not None:
        raise ValueError(f"Cannot specify both '{new_name}' and '{old_name}'")
    return old


# Reductions --------------------------------------------------------------------------------------


def _all_axes(x: Any) -> Any:
    """Returns every axis of ``x``: a constant if it is a tensor whose rank is known."""
    rank = x.get_shape().rank if hasattr(x, "get_shape") else None
    if rank is None:
        return math_ops.range(0, array_ops.rank(x))
    return constant(np.arange(rank, dtype=np.int32))


def _reduce(op_type: str, x: Any, axis: Any, keepdims: bool | None, name: str | None) -> Tensor:
    indices = _all_axes(x) if axis is None else axis
    result: Tensor = apply_op(op_type, x, indices, keep_dims=bool(keepdims), name=name)
    if axis is None and not keepdims:
        result.set_shape(())
    return result


class Reduction(Protocol):
    """The type of functions that reduce along axes."""

    def __call__(
        self,
        input_tensor: Any,
        axis: Any = None,
        keepdims: bool | None = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: bool | None = None,
    ) -> Tensor: ...


def _reduction(op_type: str, python_name: str, what: str) -> Reduction:
    def function(
        input_tensor: Any,
        axis: Any = None,
        keepdims: bool | None = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: bool | None = None,
    ) -> Tensor:
        axis = deprecated_argument("axis", axis, "reduction_indices", reduction_indices)
        keepdims = deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims)
        return _reduce(op_type, input_tensor, axis, keepdims, name)

    function.__name__ = function.__qualname__ = python_name
    function.__doc__ = f"""{what} the elements along ``axis``.

    Args:
        input_tensor: the tensor to reduce.
        axis: a dimension or several, negative ones counted from the end; None: all of them.
        keepdims: whether the reduced dimensions stay, with size 1.
        name: the name of the op.
        reduction_indices, keep_dims: older names of ``axis`` and ``keepdims``.
    """
    return function


reduce_sum = tf_export("reduce_sum", "math.reduce_sum")(
    _reduction("Sum", "reduce_sum", "The sum of")
)
reduce_mean = tf_export("reduce_mean", "math.reduce_mean")(
    _reduction("Mean", "reduce_mean", "The mean (integers: truncated) of")
)
reduce_prod = tf_export("reduce_prod", "math.reduce_prod")(
    _reduction("Prod", "reduce_prod", "The product of")
)
reduce_max = tf_export("reduce_max", "math.reduce_max")(
    _reduction("Max", "reduce_max", "The greatest of")
)
reduce_min = tf_export("reduce_min", "math.reduce_min")(
    _reduction("Min", "reduce_min", "The least of")
)
reduce_all = tf_export("reduce_all", "math.reduce_all")(
    _reduction("All", "reduce_all", "Whether all are true of")
)
reduce_any = tf_export("reduce_any", "math.reduce_any")(
    _reduction("Any", "reduce_any", "Whether any is true of")
)


@tf_export("math.reduce_euclidean_norm")
def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Computes the root of the sum of squares along ``axis`` (None: of all)."""
    return _reduce("EuclideanNorm", input_tensor, axis, keepdims, name)


@tf_export("reduce_logsumexp", "math.reduce_logsumexp")
def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Computes log(sum(exp(x))) along ``axis`` without overflow. Arguments as ``reduce_sum``."""
    axis = deprecated_argument("axis", axis, "reduction_indices", reduction_indices)
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "ReduceLogSumExp", [input_tensor]) as scope:
        x = convert_to_tensor(input_tensor, name="input")
        greatest = reduce_max(x, axis, keepdims=True)
        finite = math_ops.is_finite(greatest)
        offset = apply_op("StopGradient", apply_op("SelectV2", finite, greatest, 0))
        total = reduce_sum(math_ops.exp(math_ops.subtract(x, offset)), axis, keepdims=keepdims)
        result = math_ops.log(total)
        if not keepdims:
            offset = apply_op("Reshape", offset, apply_op("Shape", result))
        return math_ops.add(result, offset, name=scope)


@tf_export("math.reduce_variance")
def reduce_variance(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Computes the mean squared distance from the mean along ``axis`` (None: of all).

    Raises:
        TypeError: the input is of integers.
    """
    with name_scope(name or "reduce_variance"):
        x = convert_to_tensor(input_tensor)
        if x.dtype.is_integer:
            raise TypeError(
                f"Input must be either real or complex. Received integer type {x.dtype}."
            )
        difference = x - reduce_mean(x, axis, keepdims=True)
        if x.dtype.is_complex:
            squared = math_ops.real(difference * math_ops.conj(difference))
        else:
            squared = math_ops.square(difference)
        return reduce_mean(squared, axis, keepdims=keepdims)


@tf_export("math.reduce_std")
def reduce_std(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """Computes the root of ``reduce_variance``."""
    with name_scope(name or "reduce_std"):
        return math_ops.sqrt(reduce_variance(input_tensor, axis, keepdims))


@tf_export("count_nonzero", "math.count_nonzero")
def count_nonzero(
    input_tensor: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
    dtype: Any = dtypes.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
    input: Any = None,
) -> Tensor:
    """Counts the elements along ``axis`` that are not 0 (strings: not empty).

    Arguments as for ``reduce_sum``, and ``dtype``, the result's; ``input`` is another name of
    ``input_tensor``.
    """
    keepdims = deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims)
    input_tensor = deprecated_argument("input", input, "input_tensor", input_tensor)
    axis = deprecated_argument("axis", axis, "reduction_indices", reduction_indices)
    with name_scope(name, "count_nonzero", [input_tensor]):
        x = convert_to_tensor(input_tensor, name="input")
        base = x.dtype.base_dtype
        zero = constant("" if base == dtypes.string else 0, base, name="zeros")
        some = math_ops.cast(math_ops.not_equal(x, zero), dtypes.int64)
        count: Tensor = math_ops.cast(reduce_sum(some, axis, keepdims=keepdims), dtype)
        return count


@tf_export("norm", "linalg.norm")
def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Computes the norm of vectors or matrices.

    Args:
        tensor: of real or complex numbers.
        ord: "euclidean" (2), "fro" for matrices, 1, 2, inf or any positive number.
        axis: the dimension of the vectors, or the pair of dimensions of the matrices; None: the
            tensor as one vector.
        keepdims: whether these dimensions stay, with size 1.
        name: the name of the op.
        keep_dims: an older name of ``keepdims``.

    Raises:
        ValueError: ``ord`` or ``axis`` is not one of these.
    """
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    matrix = isinstance(axis, list | tuple) and len(axis) == 2
    supported = ["euclidean", "fro", 1, np.inf] if matrix else ["euclidean", 1, 2, np.inf]
    if isinstance(axis, list | tuple) and len(axis) != 2:
        raise ValueError(
            f"'axis' must be None, an integer, or a tuple of 2 unique integers, got {axis}"
        )
    positive = not matrix and not isinstance(ord, str) and np.isreal(ord) and ord > 0
    if not positive and ord not in supported:
        kind = "matrix" if matrix else "vector"
        raise ValueError(f"'ord' must be a supported {kind} norm in {supported}, got {ord}")
    with name_scope(name, "norm", [tensor]):
        x = convert_to_tensor(tensor)
        if ord in ("fro", "euclidean", 2):
            squares = x * math_ops.conj(x)
            result = math_ops.sqrt(reduce_sum(squares, axis, keepdims=True))
        else:
            result = math_ops.abs(x)
            if ord == np.inf and matrix:
                result = reduce_max(reduce_sum(result, axis[1], keepdims=True), axis[0], True)
            elif ord == np.inf:
                result = reduce_max(result, axis, keepdims=True)
            elif matrix:
                result = reduce_max(reduce_sum(result, axis[0], keepdims=True), axis[1], True)
            else:
                result = reduce_sum(result if ord == 1 else result**ord, axis, keepdims=True)
                if ord != 1:
                    result = result ** (1.0 / ord)
        if keepdims:
            return result
        axes = [] if axis is None else list(axis) if matrix else [axis]
        return output_of("Squeeze", result, squeeze_dims=axes)


# Positions and scans -----------------------------------------------------------------------------


@tf_export("argmax", "math.argmax")
def argmax(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = dtypes.int64,
) -> Tensor:
    """Returns the index of the first of the greatest elements along ``axis`` (0 by default)."""
    axis = deprecated_argument("axis", axis, "dimension", dimension)
    return output_of(
        "ArgMax", input, 0 if axis is None else axis, output_type=output_type, name=name
    )


@tf_export("argmin", "math.argmin")
def argmin(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = dtypes.int64,
) -> Tensor:
    """Returns the index of the first of the least elements along ``axis`` (0 by default)."""
    axis = deprecated_argument("axis", axis, "dimension", dimension)
    return output_of(
        "ArgMin", input, 0 if axis is None else axis, output_type=output_type, name=name
    )


@tf_export("arg_max")
def arg_max(
    input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None
) -> Tensor:
    """Computes ``tf.argmax`` with a required dimension."""
    return argmax(input, dimension, name=name, output_type=output_type)


@tf_export("arg_min")
def arg_min(
    input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None
) -> Tensor:
    """Computes ``tf.argmin`` with a required dimension."""
    return argmin(input, dimension, name=name, output_type=output_type)


@tf_export("cumsum", "math.cumsum")
def cumsum(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Computes the running sum along ``axis``.

    Args:
        x: of numbers.
        axis: a scalar.
        exclusive: whether an element is left out of its own sum, so that the first is 0.
        reverse: whether to run from the end.
        name: the name of the op.
    """
    return output_of("Cumsum", x, axis, exclusive=exclusive, reverse=reverse, name=name)


@tf_export("cumprod", "math.cumprod")
def cumprod(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Computes the running product along ``axis``; arguments as ``cumsum``."""
    return output_of("Cumprod", x, axis, exclusive=exclusive, reverse=reverse, name=name)


# Segments ----------------------------------------------------------------------------------------


class Segment(Protocol):
    """The type of functions that reduce sorted segments."""

    def __call__(self, data: Any, segment_ids: Any, name: str | None = None) -> Tensor: ...


class UnsortedSegment(Protocol):
    """The type of functions that reduce segments in any order."""

    def __call__(
        self, data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
    ) -> Tensor: ...


def _segment(kind: str, what: str) -> Segment:
    def function(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
        return output_of(f"Segment{kind}", data, segment_ids, name=name)

    function.__name__ = function.__qualname__ = f"segment_{kind.lower()}"
    function.__doc__ = (
        f"{what} of the rows of ``data`` with the same id; ids ascend, one for each row."
    )
    return function


def _unsorted_segment(kind: str, what: str) -> UnsortedSegment:
    def function(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
        return output_of(f"UnsortedSegment{kind}", data, segment_ids, num_segments, name=name)

    function.__name__ = function.__qualname__ = f"unsorted_segment_{kind.lower()}"
    function.__doc__ = (
        f"{what} of the slices of ``data`` with the same id, in ``num_segments`` rows.\n\n"
        "    ``segment_ids`` has the shape of ``data`` or its first dimensions; slices with a\n"
        "    negative id are left out.\n"
    )
    return function


segment_sum = tf_export("segment_sum", "math.segment_sum")(_segment("Sum", "The sum"))
segment_mean = tf_export("segment_mean", "math.segment_mean")(_segment("Mean", "The mean"))
segment_prod = tf_export("segment_prod", "math.segment_prod")(_segment("Prod", "The product"))
segment_max = tf_export("segment_max", "math.segment_max")(_segment("Max", "The greatest"))
segment_min = tf_export("segment_min", "math.segment_min")(_segment("Min", "The least"))
unsorted_segment_sum = tf_export("unsorted_segment_sum", "math.unsorted_segment_sum")(
    _unsorted_segment("Sum", "The sum")
)
unsorted_segment_prod = tf_export("unsorted_segment_prod", "math.unsorted_segment_prod")(
    _unsorted_segment("Prod", "The product")
)
unsorted_segment_max = tf_export("unsorted_segment_max", "math.unsorted_segment_max")(
    _unsorted_segment("Max", "The greatest")
)
unsorted_segment_min = tf_export("unsorted_segment_min", "math.unsorted_segment_min")(
    _unsorted_segment("Min", "The least")
)


def _segment_sizes(data: Tensor, segment_ids: Tensor, num_segments: Tensor) -> Tensor:
    """Counts the slices of each segment, at least 1, so that it broadcasts against the result."""
    ones = array_ops.ones(array_ops.shape(segment_ids), data.dtype.base_dtype)
    sizes = unsorted_segment_sum(ones, segment_ids, num_segments)
    count: Any = num_segments
    rows = count[None]
    inner: Any = array_ops.rank(data) - array_ops.rank(segment_ids)
    tail = array_ops.ones([inner], count.dtype.base_dtype)
    shape = array_ops.concat([rows, tail], 0)
    return math_ops.maximum(array_ops.reshape(sizes, shape), 1)


@tf_export("unsorted_segment_mean", "math.unsorted_segment_mean")
def unsorted_segment_mean(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """Computes the mean of the slices with the same id; see ``unsorted_segment_sum``."""
    with name_scope(name, "UnsortedSegmentMean"):
        x, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        sizes = _segment_sizes(x, ids, convert_to_tensor(num_segments))
        return math_ops.truediv(unsorted_segment_sum(x, ids, num_segments), sizes)


@tf_export("unsorted_segment_sqrt_n", "math.unsorted_segment_sqrt_n")
def unsorted_segment_sqrt_n(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """Sums the slices with the same id and divides by the root of their number."""
    with name_scope(name, "UnsortedSegmentSqrtN"):
        x, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        sizes = _segment_sizes(x, ids, convert_to_tensor(num_segments))
        total = unsorted_segment_sum(x, ids, num_segments)
        return math_ops.truediv(total, math_ops.sqrt(sizes))


def _sparse_segment(
    kind: str, data: Any, indices: Any, segment_ids: Any, name: str | None, num_segments: Any
) -> Tensor:
    op_type = f"SparseSegment{kind}"
    if num_segments is None:
        return output_of(op_type, data, indices, segment_ids, name=name)
    return output_of(
        op_type + "WithNumSegments", data, indices, segment_ids, num_segments, name=name
    )


@tf_export("sparse_segment_sum", "sparse.segment_sum")
def sparse_segment_sum(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """Computes the segment sums of the rows of ``data`` that ``indices`` name.

    ``segment_ids`` ascend, one for each index; ``num_segments``, if given, is the number of rows.
    """
    return _sparse_segment("Sum", data, indices, segment_ids, name, num_segments)


@tf_export("sparse_segment_mean", "sparse.segment_mean")
def sparse_segment_mean(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """Computes ``sparse_segment_sum`` divided by the number of rows in the segment."""
    return _sparse_segment("Mean", data, indices, segment_ids, name, num_segments)


@tf_export("sparse_segment_sqrt_n", "sparse.segment_sqrt_n")
def sparse_segment_sqrt_n(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """Computes ``sparse_segment_sum`` divided by the root of the number of rows."""
    return _sparse_segment("SqrtN", data, indices, segment_ids, name, num_segments)


# Counting ----------------------------------------------------------------------------------------


@tf_export("bincount", "math.bincount")
def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = dtypes.int32,
) -> Tensor:
    """Counts how often each of 0, 1, 2... occurs in ``arr``, or sums its weights.

    Args:
        arr: int32, none negative.
        weights: of the shape of ``arr``; they give the result's dtype.
        minlength, maxlength: the least and greatest length of the result; values from ``maxlength``
            on are not counted.
        dtype: the result's, without weights.
    """
    with name_scope("bincount"):
        x = convert_to_tensor(arr, dtypes.int32, name="arr")
        some = math_ops.cast(math_ops.greater(apply_op("Size", x), 0), dtypes.int32)
        size = math_ops.multiply(some, math_ops.add(reduce_max(x), 1))
        if minlength is not None:
            size = math_ops.maximum(convert_to_tensor(minlength, dtypes.int32), size)
        if maxlength is not None:
            size = math_ops.minimum(convert_to_tensor(maxlength, dtypes.int32), size)
        if weights is None:
            weights = constant(np.zeros(0, dtypes.as_dtype(dtype).as_numpy_dtype))
        return output_of("Bincount", x, size, weights)


@tf_export("histogram_fixed_width")
def histogram_fixed_width(
    values: Any,
    value_range: Any,
    nbins: Any = 100,
    dtype: Any = dtypes.int32,
    name: str | None = None,
) -> Tensor:
    """Counts ``values`` in ``nbins`` equal bins of ``value_range``; the end bins take the rest."""
    return output_of(
        "HistogramFixedWidth",
        values,
        value_range,
        nbins,
        dtype=dtype,
        name=name or "histogram_fixed_width",
    )


# Contractions ------------------------------------------------------------------------------------


@tf_export("tensordot", "linalg.tensordot")
def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Sums products over the given axes of two tensors.

    Args:
        a, b: tensors of one dtype.
        axes: a number n (the last n axes of ``a`` against the first n of ``b``) or a pair of axis
            lists, one for each tensor.
        name: the name of the op.

    Returns:
        A tensor whose shape is the other axes of ``a``, then those of ``b``.

    Raises:
        ValueError: the axes do not fit the tensors.
    """
    with name_scope(name, "Tensordot", [a, b, axes]) as scope:
        a = convert_to_tensor(a, name="a")
        b = convert_to_tensor(b, dtype=a.dtype.base_dtype, name="b")
        axes_a, axes_b = _contracted_axes(a, axes)
        matrix_a, free_a, known_a = _as_matrix(a, axes_a, contracted_first=False)
        matrix_b, free_b, known_b = _as_matrix(b, axes_b, contracted_first=True)
        product = math_ops.matmul(matrix_a, matrix_b)
        known = None if known_a is None or known_b is None else known_a + known_b
        if known is not None and is_fully_defined(known):
            if product.shape_tuple == known:
                return product
            return output_of("Reshape", product, constant(known, dtypes.int32), name=scope)
        shape = array_ops.concat([free_a, free_b], 0)
        result: Tensor = apply_op("Reshape", product, shape, name=scope)
        result.set_shape(known)
        return result


def _contracted_axes(a: Tensor, axes: Any) -> tuple[Any, Any]:
    """Returns the axes of each tensor: lists of ints, or int32 tensors for an unknown rank."""
    if isinstance(axes, int | np.integer):
        if axes < 0:
            raise ValueError(f"`axes` must be at least 0. Received: {axes}.")
        last = list(range(-int(axes), 0))
        if a.shape_tuple is not None and axes > len(a.shape_tuple):
            raise ValueError(
                f"`axes` must not be larger than the number of dimensions of tensor {a}. "
                f"Received {axes}, vs tensor dimensions {len(a.shape_tuple)}."
            )
        return last, list(range(int(axes)))
    if isinstance(axes, Tensor):
        value = constant_value(axes)
        if value is None:
            pair = convert_to_tensor(axes, dtypes.int32)
            first, second = (
                apply_op("StridedSlice", pair, [i], [i + 1], [1], shrink_axis_mask=1)
                for i in (0, 1)
            )
            return first, second
        axes = value.tolist()
    if len(axes) != 2:
        raise ValueError(f"`axes` must be an integer or have length 2. Received {axes}.")
    first, second = ([int(i)] if np.ndim(i) == 0 else [int(j) for j in i] for i in axes)
    if len(first) != len(second):
        raise ValueError(
            f"Different number of contraction axes `a` and `b`, {len(first)} != {len(second)}."
        )
    return first, second


def _as_matrix(
    x: Tensor, axes: Any, *, contracted_first: bool
) -> tuple[Tensor, Any, tuple[int | None, ...] | None]:
    """Returns ``x`` as a matrix of its free and its contracted axes, and the free dimensions.

    The free dimensions are returned as a shape, and as far as they are known statically.
    """
    shape = x.shape_tuple
    if shape is None or isinstance(axes, Tensor):
        return (*_as_matrix_unknown(x, axes, contracted_first), None)
    axes = [i % len(shape) if -len(shape) <= i < len(shape) else i for i in axes]
    if any(i >= len(shape) or i < 0 for i in axes) or len(set(axes)) < len(axes):
        raise ValueError(f"axes {axes} do not fit a tensor with {len(shape)} dimensions")
    free = [i for i in range(len(shape)) if i not in axes]
    known = tuple(shape[i] for i in free)
    permutation = axes + free if contracted_first else free + axes
    if permutation != list(range(len(shape))):
        x = apply_op("Transpose", x, permutation)
    if is_fully_defined(shape):
        rows, columns = math.prod(shape[i] for i in free), math.prod(shape[i] for i in axes)
        target = (columns, rows) if contracted_first else (rows, columns)
        if x.shape_tuple != target:
            x = apply_op("Reshape", x, constant(target, dtypes.int32))
        return x, np.array(known, np.int32), known
    dims = apply_op("Shape", x)
    split = len(axes) if contracted_first else len(free)
    first, second = _slice(dims, 0, split), _slice(dims, split, len(shape))
    x = apply_op("Reshape", x, apply_op("Pack", [_product(first), _product(second)]))
    return x, second if contracted_first else first, known


def _as_matrix_unknown(x: Tensor, axes: Any, contracted_first: bool) -> tuple[Tensor, Tensor]:
    rank = apply_op("Rank", x)
    axes = convert_to_tensor(axes, dtypes.int32)
    axes = apply_op("FloorMod", axes, rank)
    free = apply_op("ListDiff", math_ops.range(0, rank), axes)[0]
    order = [axes, free] if contracted_first else [free, axes]
    dims = apply_op("Shape", x)
    x = apply_op("Transpose", x, apply_op("ConcatV2", order, 0))
    sizes = [_product(apply_op("GatherV2", dims, part, 0)) for part in order]
    return apply_op("Reshape", x, apply_op("Pack", sizes)), apply_op("GatherV2", dims, free, 0)


def _slice(vector: Tensor, begin: int, end: int) -> Tensor:
    return output_of("StridedSlice", vector, [begin], [end], [1])


def _product(vector: Tensor) -> Tensor:
    return reduce_prod(vector, 0)
