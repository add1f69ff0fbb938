"""Reductions, scans, segment reductions and counting: definitions."""

from __future__ import annotations

from flowray.proto.ops.array_ops import constant_size
from flowray.proto.ops.common_shapes import merge_prefix, unchanged
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import FLOATING, INDEX, NUMERIC, REAL
from flowray.proto.types.shapes import (
    Shape,
    concatenate,
    merge_dims,
    with_rank,
    with_rank_at_least,
    with_rank_at_most,
    with_value,
)

_index_type = attr("type", dtypes.int32, allowed=INDEX)


def reduced_shape(c: ShapeContext) -> Shape:
    """Returns the first input's shape without the dimensions that the second one names."""
    shape, keep_dims = c.inputs[0], c.attr("keep_dims")
    indices = c.constant(1)
    if shape is None:
        return None
    if indices is None:
        return (None,) * len(shape) if keep_dims else (() if not shape else None)
    rank, axes = len(shape), set()
    for index in indices.reshape(-1).tolist():
        if not -rank <= index < rank:
            raise ValueError(
                f"Invalid reduction dimension {index} for input with {rank} dimensions."
            )
        axes.add(index % rank)
    if keep_dims:
        return tuple(1 if i in axes else dim for i, dim in enumerate(shape))
    return tuple(dim for i, dim in enumerate(shape) if i not in axes)


_REDUCTIONS = {"Sum Mean Prod EuclideanNorm": NUMERIC, "Max Min": REAL}
for _names, _types in _REDUCTIONS.items():
    for _name in _names.split():
        op(
            _name,
            "input: T, reduction_indices: Tidx -> output: T",
            T=_types,
            Tidx=_index_type,
            keep_dims=False,
            static_inputs=(1,),
            shape=reduced_shape,
        )

for _name in ("All", "Any"):
    op(
        _name,
        "input: bool, reduction_indices: Tidx -> output: bool",
        Tidx=_index_type,
        keep_dims=False,
        static_inputs=(1,),
        shape=reduced_shape,
    )


def _arg_shape(c: ShapeContext) -> Shape:
    shape = c.inputs[0]
    with_rank(c.inputs[1], 0)
    dimension = c.constant(1)
    if shape is None:
        return None
    rank = len(shape)
    if dimension is None or rank < 2:
        return (None,) * max(0, rank - 1)
    if not -rank <= dimension < rank:
        raise ValueError(
            f"Dimension ({dimension}) must be in the range [{-rank}, {rank}), where {rank} is the "
            "number of dimensions in the input."
        )
    axis = int(dimension) % rank
    return shape[:axis] + shape[axis + 1 :]


for _name, _axis, _result in (
    ("ArgMax", INDEX | {dtypes.int16}, INDEX | {dtypes.int16, dtypes.uint16}),
    ("ArgMin", INDEX, INDEX),
):
    op(
        _name,
        "input: T, dimension: Tidx -> output: output_type",
        T=REAL | {dtypes.bool},
        Tidx=attr("type", dtypes.int32, allowed=_axis),
        output_type=attr("type", dtypes.int64, allowed=_result),
        static_inputs=(1,),
        shape=_arg_shape,
    )

for _name in ("Cumsum", "Cumprod"):
    op(
        _name,
        "x: T, axis: Tidx -> out: T",
        T=NUMERIC,
        Tidx=_index_type,
        exclusive=False,
        reverse=False,
        static_inputs=(1,),
        shape=unchanged,
    )

# Segments ----------------------------------------------------------------------------------------


def _segment_shape(c: ShapeContext) -> Shape:
    with_rank(c.inputs[1], 1)
    data = with_rank_at_least(c.inputs[0], 1)
    return None if data is None else (None, *data[1:])


def unsorted_segment_shape(c: ShapeContext) -> Shape:
    """Returns ``[num_segments]`` followed by the dimensions of the data after those of the ids."""
    data, ids, count = c.inputs
    with_rank(count, 0)
    if data is None or ids is None:
        return None
    merge_prefix(data, ids)
    return (constant_size(c, 2), *data[len(ids) :])


for _names, _types in {"Sum Mean Prod": NUMERIC, "Max Min": REAL}.items():
    for _name in _names.split():
        op(
            f"Segment{_name}",
            "data: T, segment_ids: Tindices -> output: T",
            T=_types,
            Tindices=INDEX,
            dynamic_shape=True,
            shape=_segment_shape,
        )

for _name, _types, _ids in (
    ("Sum", NUMERIC, INDEX | {dtypes.int16}), ("Prod", NUMERIC, INDEX),
    ("Max", REAL, INDEX), ("Min", REAL, INDEX),
):  # fmt: skip
    op(
        f"UnsortedSegment{_name}",
        "data: T, segment_ids: Tindices, num_segments: Tnumsegments -> output: T",
        T=_types,
        Tindices=_ids,
        Tnumsegments=_index_type,
        static_inputs=(2,),
        shape=unsorted_segment_shape,
    )


def _sparse_segment_shape(c: ShapeContext) -> Shape:
    data, indices, ids = c.inputs
    data = with_rank_at_least(data, 1)
    merge_dims(with_rank(indices, 1)[0], with_rank(ids, 1)[0])
    return None if data is None else (None, *data[1:])


def _counted_sparse_segment_shape(c: ShapeContext) -> Shape:
    """Returns ``_sparse_segment_shape`` with the number of rows that the last input gives."""
    data, indices, ids, count = c.inputs
    with_rank(count, 0)
    data = with_rank_at_least(data, 1)
    merge_dims(with_rank(indices, 1)[0], with_rank(ids, 1)[0])
    number = c.constant(3)
    rows = None if number is None else int(number)
    return None if data is None else concatenate((rows,), data[1:])


for _name, _types in {"Sum": REAL, "Mean": FLOATING, "SqrtN": FLOATING}.items():
    op(
        f"SparseSegment{_name}",
        "data: T, indices: Tidx, segment_ids: Tsegmentids -> output: T",
        T=_types,
        Tidx=_index_type,
        Tsegmentids=_index_type,
        sparse_gradient=False,
        dynamic_shape=True,
        hints=["sparse_gradient"],
        shape=_sparse_segment_shape,
    )
    op(
        f"SparseSegment{_name}WithNumSegments",
        "data: T, indices: Tidx, segment_ids: Tsegmentids, num_segments: Tnumsegments -> output: T",
        T=_types,
        Tidx=_index_type,
        Tsegmentids=_index_type,
        Tnumsegments=_index_type,
        sparse_gradient=False,
        static_inputs=(3,),
        hints=["sparse_gradient"],
        shape=_counted_sparse_segment_shape,
    )

for _name in ("Mean", "SqrtN"):
    op(
        f"SparseSegment{_name}Grad",
        "grad: T, indices: Tidx, segment_ids: Tsegmentids, output_dim0: int32 -> output: T",
        T=FLOATING,
        Tidx=_index_type,
        Tsegmentids=_index_type,
        static_inputs=(3,),
        shape=_counted_sparse_segment_shape,
    )

# Counting ----------------------------------------------------------------------------------------


def _bincount_shape(c: ShapeContext) -> Shape:
    with_rank(c.inputs[1], 0)
    size = c.constant(1)
    if size is not None and size < 0:
        raise ValueError(f"size ({size}) must be non-negative")
    return (None if size is None else int(size),)


def _histogram_shape(c: ShapeContext) -> Shape:
    with_value(with_rank(c.inputs[1], 1)[0], 2)
    with_rank(c.inputs[2], 0)
    bins = c.constant(2)
    if bins is not None and bins <= 0:
        raise ValueError(f"Requires nbins > 0: {bins}")
    return (None if bins is None else int(bins),)


_COUNTED = INDEX | {dtypes.float32, dtypes.float64}

op(
    "Bincount",
    "arr: int32, size: int32, weights: T -> bins: T",
    T=_COUNTED,
    static_inputs=(1,),
    differentiable=False,
    shape=_bincount_shape,
)


def _dense_bincount_shape(c: ShapeContext) -> Shape:
    """Returns ``[size]``, or ``[rows, size]`` for a matrix."""
    with_rank(c.inputs[1], 0)
    counted, size = with_rank_at_most(c.inputs[0], 2), c.constant(1)
    if size is not None and size < 0:
        raise ValueError(f"size ({size}) must be non-negative")
    if counted is None:
        return None
    return (*counted[: max(0, len(counted) - 1)], None if size is None else int(size))


op(
    "DenseBincount",
    "input: Tidx, size: Tidx, weights: T -> output: T",
    Tidx=INDEX,
    T=_COUNTED,
    binary_output=False,
    static_inputs=(1,),
    differentiable=False,
    shape=_dense_bincount_shape,
)
op(
    "HistogramFixedWidth",
    "values: T, value_range: T, nbins: int32 -> out: dtype",
    T=_COUNTED,
    dtype=_index_type,
    static_inputs=(2,),
    shape=_histogram_shape,
)
