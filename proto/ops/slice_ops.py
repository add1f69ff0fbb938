"""Slicing, gathering, scattering, and selecting by data: definitions."""

from __future__ import annotations

from flowray.proto.ops import strided_slice
from flowray.proto.ops.array_ops import (
    INDEX_TYPE,
    constant_int,
    normalize_axis,
    unknown_dims,
    vector_length,
)
from flowray.proto.ops.common_shapes import merge_prefix
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.dtypes import (
    ALL,
    INDEX,
    bool,
    int16,
    resource,
    string,
    uint16,
    variant,
)
from flowray.proto.types.shapes import (
    Shape,
    concatenate,
    format_shape,
    merge_all,
    merge_dims,
    with_rank,
    with_rank_at_least,
)

MASKS = {
    "begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0,
}  # fmt: skip


# Slices -------------------------------------------------------------------------------------------


def masks_of(c: ShapeContext) -> strided_slice.Masks:
    """Returns the masks of a StridedSlice, of its gradient or of an assignment to it."""
    return strided_slice.Masks(*(c.attr(name) for name in MASKS))


def _entries(c: ShapeContext, index: int, length: int) -> list[int | None]:
    """Returns the entries of an index vector as far as they are known."""
    value = c.constant(index)
    if value is not None:
        return [int(v) for v in value]
    partial = c.constant_shape(index)
    return [None] * length if partial is None else list(partial)


def strided_slice_shape(c: ShapeContext) -> Shape:
    """Returns the shape of the selected elements, as far as begin, end and strides are known."""
    shape = c.inputs[0]
    length: int | None = None
    for index in (1, 2, 3):
        length = merge_dims(length, vector_length(c, index))
    if shape is None or length is None:
        return None
    begin, end, strides = (_entries(c, i, length) for i in (1, 2, 3))
    return strided_slice.resolve(shape, begin, end, strides, masks_of(c))[1]


def slice_shape(c: ShapeContext) -> Shape:
    """Returns the shape that ``size`` holds; a -1 means all elements from ``begin`` on."""
    shape = c.inputs[0]
    length = merge_dims(vector_length(c, 1), vector_length(c, 2))
    if shape is None:
        return unknown_dims(length)
    if length is not None and length != len(shape):
        raise ValueError(f"Shape must be rank {length} but is rank {len(shape)}")
    begin, size = c.constant(1), c.constant(2)
    if size is None:
        return c.constant_shape(2) if c.constant_shape(2) is not None else (None,) * len(shape)
    dims: list[int | None] = []
    for i, (dim, count) in enumerate(zip(shape, size.tolist(), strict=True)):
        start = None if begin is None else int(begin[i])
        if count == -1:
            dims.append(None if dim is None or start is None else dim - start)
            continue
        if dim is not None and start is not None and not 0 <= start + count <= dim:
            raise ValueError(
                f"slice bounds [{start}, {start + count}) of dimension {i} exceed its size {dim}"
            )
        dims.append(count)
    return tuple(dims)


op(
    "StridedSlice",
    "input: T, begin: Index, end: Index, strides: Index -> output: T",
    Index=INDEX | {int16},
    **MASKS,
    static_inputs=[1, 2, 3],
    shape=strided_slice_shape,
)
op(
    "StridedSliceGrad",
    "shape: Index, begin: Index, end: Index, strides: Index, dy: T -> output: T",
    Index=INDEX,
    **MASKS,
    static_inputs=[0, 1, 2, 3],
    shape=lambda c: c.constant_shape(0),
)
op(
    "Slice",
    "input: T, begin: Index, size: Index -> output: T",
    Index=INDEX,
    static_inputs=[1, 2],
    shape=slice_shape,
)


# Gathering ----------------------------------------------------------------------------------------


def gather_shape(c: ShapeContext) -> Shape:
    """Returns the indices' shape followed by the dimensions behind the first one."""
    params = with_rank_at_least(c.inputs[0], 1)
    return concatenate(c.inputs[1], None if params is None else params[1:])


def gather_v2_shape(c: ShapeContext) -> Shape:
    """Returns the shape with ``axis`` replaced by the indices' dimensions."""
    params, indices, axis = c.inputs[0], c.inputs[1], constant_int(c, 2)
    batch_dims = c.attr("batch_dims")
    if params is None or indices is None:
        return None
    with_rank_at_least(params, 1)
    if batch_dims < 0:
        batch_dims += len(indices)
    if axis is None:
        return (None,) * (len(params) - 1 + len(indices) - batch_dims)
    axis = normalize_axis(axis, len(params))
    if not 0 <= batch_dims <= min(axis, len(indices)):
        raise ValueError(f"batch_dims {batch_dims} must be at most axis {axis}")
    batch = merge_all([params[:batch_dims], indices[:batch_dims]])
    assert batch is not None
    return (*batch, *params[batch_dims:axis], *indices[batch_dims:], *params[axis + 1 :])


def gathered_nd(params: Shape, indices: Shape) -> Shape:
    """Returns the shape of the slices of ``params`` at the index vectors of ``indices``."""
    indices = with_rank_at_least(indices, 1)
    if params is None or indices is None or indices[-1] is None:
        return None
    depth = indices[-1]
    if depth > len(params):
        raise ValueError(
            f"indices.shape[-1] must be <= params.rank, but saw indices shape: "
            f"{format_shape(indices)} and params shape: {format_shape(params)}"
        )
    return indices[:-1] + params[depth:]


op(
    "Gather",
    "params: Tparams, indices: Tindices -> output: Tparams",
    Tindices=INDEX,
    validate_indices=True,
    hints=["validate_indices"],
    shape=gather_shape,
)
op(
    "GatherV2",
    "params: Tparams, indices: Tindices, axis: Taxis -> output: Tparams",
    Tindices=INDEX | {int16},
    Taxis=INDEX,
    batch_dims=0,
    static_inputs=[2],
    shape=gather_v2_shape,
)
op(
    "GatherNd",
    "params: Tparams, indices: Tindices -> output: Tparams",
    Tindices=INDEX | {int16},
    bad_indices_policy="",
    shape=lambda c: gathered_nd(*c.inputs),
)


# Scattering ---------------------------------------------------------------------------------------


def check_scatter_nd(ref: Shape, indices: Shape, updates: Shape) -> None:
    """Checks that updates are shaped ``indices.shape[:-1] + ref.shape[indices.shape[-1]:]``."""
    indices = with_rank_at_least(indices, 1)
    if ref is None or indices is None or updates is None:
        return
    outer, depth = len(indices) - 1, indices[-1]
    _check_same(indices, updates, 0, 0, outer, outer, "indices")
    if depth is not None:
        _check_same(ref, updates, min(depth, len(ref)), outer, len(ref), len(updates), "input")


def _check_same(
    a: tuple[int | None, ...],
    b: tuple[int | None, ...],
    a_start: int,
    b_start: int,
    a_end: int,
    b_end: int,
    what: str,
) -> None:
    """Raises ValueError unless a part of ``a`` fits a part of the updates."""
    try:
        merge_all([a[a_start:a_end], b[b_start:b_end]])
    except ValueError as error:
        raise ValueError(
            f"Dimensions [{a_start},{a_end}) of {what}[shape={format_shape(a)}] = "
            f"{format_shape(a[a_start:a_end])} must match dimensions [{b_start},{b_end}) of "
            f"updates[shape={format_shape(b)}] = {format_shape(b[b_start:b_end])}: {error}"
        ) from None


def scatter_nd_shape(c: ShapeContext) -> Shape:
    """Returns the shape that input 2 holds; ValueError if the updates do not fit it."""
    output = c.constant_shape(2)
    check_scatter_nd(output, c.inputs[0], c.inputs[1])
    return output


def tensor_scatter_shape(c: ShapeContext) -> Shape:
    """Returns the shape of input 0; ValueError if the updates do not fit it."""
    check_scatter_nd(*c.inputs)
    return c.inputs[0]


op(
    "ScatterNd",
    "indices: Tindices, updates: T, shape: Tindices -> output: T",
    Tindices=INDEX | {int16},
    bad_indices_policy="",
    static_inputs=[2],
    shape=scatter_nd_shape,
)
_wide = INDEX | {int16, uint16}
for _name in ("Update", "Add", "Sub", "Min", "Max"):
    op(
        f"TensorScatter{_name}",
        "tensor: T, indices: Tindices, updates: T -> output: T",
        Tindices=_wide if _name == "Update" else INDEX,
        bad_indices_policy="",
        shape=tensor_scatter_shape,
    )


# Partitions ---------------------------------------------------------------------------------------


def dynamic_partition_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shape of an unknown number of rows, for each partition."""
    data, partitions = c.inputs
    rest: Shape = None
    merge_prefix(data, partitions)
    if data is not None and partitions is not None:
        rest = (None, *data[len(partitions) :])
    return [rest] * c.attr("num_partitions")


def dynamic_stitch_shape(c: ShapeContext) -> Shape:
    """Returns ``[largest index + 1]``, None if that is not known, followed by a row's shape."""
    count = c.attr("N")
    rest: Shape = None
    largest: int | None = -1
    for i in range(count):
        indices, data = c.inputs[i], c.inputs[count + i]
        value = c.constant(i)
        if value is None or largest is None:
            largest = None
        elif value.size:
            largest = max(largest, int(value.max()))
        merge_prefix(data, indices)
        if indices is not None and data is not None:
            rest = merge_all([rest, data[len(indices) :]])
    return concatenate((None if largest is None else largest + 1,), rest)


op(
    "DynamicPartition",
    "data: T, partitions: int32 -> outputs: num_partitions*T",
    dynamic_shape=True,
    shape=dynamic_partition_shape,
)
for _name in ("DynamicStitch", "ParallelDynamicStitch"):
    op(
        _name,
        "indices: N*int32, data: N*T -> merged: T",
        dynamic_shape=True,
        shape=dynamic_stitch_shape,
    )


# Selecting by data --------------------------------------------------------------------------------


def where_shape(c: ShapeContext) -> Shape:
    """Returns ``[count, rank]``; the count depends on the data."""
    return (None, None if c.inputs[0] is None else len(c.inputs[0]))


def unique_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes of values, indices and counts; their number depends on the data."""
    x = with_rank(c.inputs[0], 1)
    return [(None,), x, (None,)]


def list_diff_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes of values and indices; their number depends on the data."""
    for values in c.inputs:
        with_rank(values, 1)
    return [(None,), (None,)]


op(
    "Where",
    "input: T -> index: int64",
    dynamic_shape=True,
    shape=where_shape,
    T=attr("type", bool, allowed=ALL - {string, resource, variant}),
)
op(
    "Unique",
    "x: T -> y: T, idx: out_idx",
    out_idx=INDEX_TYPE,
    dynamic_shape=True,
    differentiable=False,
    shape=lambda c: unique_shape(c)[:2],
)
op(
    "UniqueWithCounts",
    "x: T -> y: T, idx: out_idx, count: out_idx",
    out_idx=INDEX_TYPE,
    dynamic_shape=True,
    differentiable=False,
    shape=unique_shape,
)
op(
    "ListDiff",
    "x: T, y: T -> out: T, idx: out_idx",
    out_idx=INDEX_TYPE,
    dynamic_shape=True,
    differentiable=False,
    shape=list_diff_shape,
)
