"""Constants, placeholders, identities, shapes, and reshaping, joining, splitting and padding."""

from __future__ import annotations

from typing import Final

import numpy as np

from flowray.proto.ops.common_shapes import from_shape_attr, scalar, unchanged
from flowray.proto.ops.op_registry import OpKind, ShapeContext, attr, op
from flowray.proto.types import shapes
from flowray.proto.types.dtypes import FLOATING, INDEX, NUMERIC, bool, int8, int32, int64, uint8
from flowray.proto.types.shapes import (
    Shape,
    merge_all,
    merge_dims,
    num_elements,
    with_rank,
    with_rank_at_least,
)

INDEX_TYPE = attr("type", int32, allowed=INDEX)
"""The type of an index or a shape: int32 by default."""


def normalize_axis(axis: int, rank: int) -> int:
    """Returns ``axis`` counted from the front; ValueError if there is no such axis."""
    if not -rank <= axis < rank:
        raise ValueError(
            f"Shape must be at least rank {axis + 1 if axis >= 0 else -axis} but is rank {rank}"
        )
    return axis % rank


def constant_int(c: ShapeContext, index: int) -> int | None:
    """Returns the value of a scalar input; None if it is not known."""
    value = c.constant(index)
    return None if value is None else int(value.reshape(-1)[0])


def constant_size(c: ShapeContext, index: int) -> int | None:
    """Returns a scalar input that is the size of a dimension; None if it is not known.

    Raises:
        ValueError: it is negative.
    """
    size = constant_int(c, index)
    if size is not None and size < 0:
        raise ValueError(
            f"Dimension size, given by scalar input {index}, must be non-negative but is {size}"
        )
    return size


def vector_length(c: ShapeContext, index: int) -> int | None:
    """Returns the length of a vector input; None if it is not known."""
    return with_rank(c.inputs[index], 1)[0]


def unknown_dims(rank: int | None) -> Shape:
    """Returns a shape of ``rank`` unknown dimensions; unknown if the rank is."""
    return None if rank is None else (None,) * rank


# Constants and placeholders -----------------------------------------------------------------------


def const_shape(c: ShapeContext) -> Shape:
    """Returns the shape of the value."""
    value = c.attr("value")
    if isinstance(value, np.ndarray):
        return value.shape
    return shapes.from_proto(value.tensor_shape)


def placeholder_with_default_shape(c: ShapeContext) -> Shape:
    """Returns the stated shape; ValueError if the default does not fit it."""
    shape = from_shape_attr(c)
    merge_all([c.inputs[0], shape])
    return shape


op(
    "Const",
    "-> output: dtype",
    value=attr("tensor"),
    kind=OpKind.CONST,
    differentiable=False,
    shape=const_shape,
)
SCALAR_PLACEHOLDERS_VERSION: Final = 22
"""The version of graphs since which the shape of a Placeholder may be that of a scalar. In older
ones (and those without a version) a scalar shape means an unknown one."""

op(
    "Placeholder",
    "-> output: dtype",
    shape_=attr("shape", None),
    kind=OpKind.PLACEHOLDER,
    differentiable=False,
    shape=from_shape_attr,
)
op(
    "PlaceholderV2",
    "-> output: dtype",
    shape_=attr("shape"),
    kind=OpKind.PLACEHOLDER,
    differentiable=False,
    shape=from_shape_attr,
)
op(
    "PlaceholderWithDefault",
    "input: dtype -> output: dtype",
    shape_=attr("shape"),
    shape=placeholder_with_default_shape,
)


# Identities ---------------------------------------------------------------------------------------

op(
    "Identity",
    "input: T -> output: T",
    kind=OpKind.IDENTITY,
    forwards_resource=True,
    shape=unchanged,
)
op("Snapshot", "input: T -> output: T", forwards_resource=True, shape=unchanged)
op(
    "StopGradient",
    "input: T -> output: T",
    forwards_resource=True,
    differentiable=False,
    shape=unchanged,
)
op(
    "GuaranteeConst",
    "input: T -> output: T",
    forwards_resource=True,
    shape=unchanged,
    stateful=True,
)
op(
    "PreventGradient",
    "input: T -> output: T",
    message="",
    hints=["message"],
    forwards_resource=True,
    shape=unchanged,
)
op(
    "IdentityN",
    "input: [T] -> output: [T]",
    T=attr("list(type)", minimum=1),
    multi_device=True,
    shape=lambda c: list(c.inputs),
)
op(
    "CheckNumerics",
    "tensor: T -> output: T",
    T=FLOATING,
    message=attr("string"),
    stateful=True,
    shape=unchanged,
)
op(
    "EnsureShape",
    "input: T -> output: T",
    shape_=attr("shape"),
    shape=lambda c: merge_all([from_shape_attr(c), c.inputs[0]]),
)


# Shapes as values ---------------------------------------------------------------------------------


def shape_of(shape: Shape) -> Shape:
    """Returns the shape of the vector that holds ``shape``."""
    return (None if shape is None else len(shape),)


def broadcast_args_shape(c: ShapeContext) -> Shape:
    """Returns the shape of a shape vector: as long as the longer input."""
    lengths = vector_length(c, 0), vector_length(c, 1)
    return (None if None in lengths else max(n for n in lengths if n is not None),)


op(
    "Shape",
    "input: T -> output: out_type",
    out_type=INDEX_TYPE,
    shape_only=True,
    shape=lambda c: shape_of(c.inputs[0]),
)
op(
    "ShapeN",
    "input: N*T -> output: N*out_type",
    out_type=INDEX_TYPE,
    shape_only=True,
    shape=lambda c: [shape_of(s) for s in c.inputs],
)
op("Size", "input: T -> output: out_type", out_type=INDEX_TYPE, shape_only=True, shape=scalar)
op("Rank", "input: T -> output: int32", shape_only=True, shape=scalar)
op(
    "ConcatOffset",
    "concat_dim: int32, shape: N*shape_type -> offset: N*shape_type",
    N=attr("int", minimum=2),
    shape_type=INDEX_TYPE,
    static_inputs=[0],
    shape=lambda c: [merge_all(c.inputs[1:])] * (len(c.inputs) - 1),
)
op("BroadcastArgs", "s0: T, s1: T -> r0: T", T=INDEX_TYPE, shape=broadcast_args_shape)
op("InvertPermutation", "x: T -> y: T", T=INDEX_TYPE, shape=lambda c: with_rank(c.inputs[0], 1))


# Filling ------------------------------------------------------------------------------------------

op("ZerosLike", "x: T -> y: T", differentiable=False, shape=unchanged)
op("OnesLike", "x: T -> y: T", T=NUMERIC | {bool}, differentiable=False, shape=unchanged)


def fill_shape(c: ShapeContext) -> Shape:
    """Returns the shape that input 0 holds; ValueError for a negative dimension."""
    dims = c.constant(0)
    if dims is not None and (dims < 0).any():
        raise ValueError("Fill dimensions must be >= 0")
    with_rank(c.inputs[1], 0)
    return c.constant_shape(0)


op(
    "Fill",
    "dims: index_type, value: T -> output: T",
    index_type=INDEX_TYPE,
    static_inputs=[0],
    shape=fill_shape,
)


def one_hot_shape(c: ShapeContext) -> Shape:
    """Returns the shape of the indices with the depth inserted at ``axis``."""
    indices, axis = c.inputs[0], c.attr("axis")
    if axis < -1:
        raise ValueError(f"axis must be >= -1 but is {axis}")
    if indices is None:
        return None
    if axis > len(indices):
        raise ValueError(f"axis must be <= {len(indices)} but is {axis}")
    depth = constant_size(c, 1)
    at = len(indices) if axis == -1 else axis
    return (*indices[:at], depth, *indices[at:])


op(
    "OneHot",
    "indices: TI, depth: int32, on_value: T, off_value: T -> output: T",
    axis=-1,
    TI=attr("type", int64, allowed=INDEX | {int8, uint8}),
    static_inputs=[1],
    differentiable=False,
    shape=one_hot_shape,
)


# Reshaping ----------------------------------------------------------------------------------------


def reshape_shape(c: ShapeContext) -> Shape:
    """Returns the wanted shape. Its -1 is computed where the number of elements is known.

    Raises:
        ValueError: the numbers of elements differ (TensorFlow's text).
    """
    before, after = c.inputs[0], c.constant_shape(1)
    if after is None:
        return None
    elements = num_elements(before)
    if elements is None:
        return after
    known = int(np.prod([d for d in after if d is not None], dtype=np.int64))
    unknown = after.count(None)
    if unknown == 0 and known != elements:
        raise ValueError(
            f"Cannot reshape a tensor with {elements} elements to shape "
            f"{shapes.format_shape(after)} ({known} elements)"
        )
    if unknown == 1 and known > 0:
        if elements % known:
            raise ValueError(
                f"Dimension size must be evenly divisible by {known} but is {elements}"
            )
        return tuple(elements // known if d is None else d for d in after)
    return after


def expand_dims_shape(c: ShapeContext) -> Shape:
    """Returns the shape with a dimension of 1 inserted where input 1 says."""
    shape, axis = c.inputs[0], constant_int(c, 1)
    if shape is None:
        return None
    rank = len(shape)
    if axis is None:
        return (None,) * (rank + 1)
    if not -rank - 1 <= axis <= rank:
        raise ValueError(f"dim {axis} not in the interval [{-rank - 1}, {rank}].")
    axis %= rank + 1
    return (*shape[:axis], 1, *shape[axis:])


def squeeze_shape(c: ShapeContext) -> Shape:
    """Returns the shape without the named dimensions of 1, or without all of them.

    Raises:
        ValueError: a named dimension is not 1.
    """
    shape, dims = c.inputs[0], c.attr("squeeze_dims")
    if shape is None:
        return None
    rank = len(shape)
    for dim in dims:
        if not -rank <= dim < rank:
            raise ValueError(f"squeeze_dims[{list(dims).index(dim)}] not in [{-rank},{rank}).")
    axes = {d % rank for d in dims}
    for i in axes:
        if shape[i] not in (None, 1):
            raise ValueError(f"Can not squeeze dim[{i}], expected a dimension of 1, got {shape[i]}")
    if axes:
        return tuple(d for i, d in enumerate(shape) if i not in axes)
    # Without dims, an unknown dimension may or may not be dropped.
    return None if None in shape else tuple(d for d in shape if d != 1)


def transpose_shape(c: ShapeContext) -> Shape:
    """Returns the dimensions in the order of input 1."""
    shape, perm = c.inputs[0], c.constant(1)
    rank = len(shape) if shape is not None else with_rank(c.inputs[1], 1)[0]
    if rank is None:
        return None
    with_rank(c.inputs[1], 1)
    if with_rank(c.inputs[1], 1)[0] not in (None, rank):
        raise ValueError(f"Dimension must be {rank} but is {vector_length(c, 1)}")
    if perm is None:
        return shape if rank <= 1 and shape is not None else (None,) * rank
    for axis in perm:
        if not -rank <= axis < rank:
            raise ValueError(f"perm dim {axis} is out of range of input rank {rank}")
    known = unknown_dims(rank) if shape is None else shape
    assert known is not None
    return tuple(known[axis] for axis in perm)


def broadcast_to_shape(c: ShapeContext) -> Shape:
    """Returns the shape that input 1 holds; ValueError if input 0 does not broadcast to it."""
    shape, target = c.inputs[0], c.constant_shape(1)
    if shape is None or target is None:
        return target
    if len(target) < len(shape):
        raise ValueError(f"Shape must be at least rank {len(shape)} but is rank {len(target)}")
    for a, b in zip(reversed(shape), reversed(target), strict=False):
        if a != 1:
            merge_dims(a, b)
    return target


def bitcast_shape(c: ShapeContext) -> Shape:
    """Returns the shape with a dimension added or removed where the sizes of the dtypes differ."""
    shape = c.inputs[0]
    before, after = c.attr("T").size, c.attr("type").size
    if shape is None or before == after:
        return shape
    if before > after:
        return (*shape, before // after)
    if not shape or shape[-1] not in (None, after // before):
        raise ValueError(
            f"Cannot bitcast from {c.attr('T').as_datatype_enum} to "
            f"{c.attr('type').as_datatype_enum} due to shape. {shape[-1] if shape else 0} does "
            f"not match {after // before}"
        )
    return shape[:-1]


op(
    "Reshape",
    "tensor: T, shape: Tshape -> output: T",
    Tshape=INDEX_TYPE,
    static_inputs=[1],
    shape=reshape_shape,
)
op(
    "ExpandDims",
    "input: T, dim: Tdim -> output: T",
    Tdim=INDEX_TYPE,
    static_inputs=[1],
    shape=expand_dims_shape,
)
op(
    "Squeeze",
    "input: T -> output: T",
    squeeze_dims=attr("list(int)", [], minimum=0),
    shape=squeeze_shape,
)
for _name in ("Transpose", "ConjugateTranspose"):
    op(
        _name,
        "x: T, perm: Tperm -> y: T",
        Tperm=INDEX_TYPE,
        static_inputs=[1],
        shape=transpose_shape,
    )
op(
    "BroadcastTo",
    "input: T, shape: Tidx -> output: T",
    Tidx=INDEX_TYPE,
    static_inputs=[1],
    shape=broadcast_to_shape,
)
op(
    "Bitcast",
    "input: T -> output: type",
    T=NUMERIC,
    type=NUMERIC,
    differentiable=False,
    shape=bitcast_shape,
)


# Joining and splitting ----------------------------------------------------------------------------


def pack_shape(c: ShapeContext) -> Shape:
    """Returns the common shape of the inputs with their number inserted at ``axis``."""
    try:
        item = merge_all(c.inputs)
    except ValueError as error:
        raise ValueError(f"{error}\n\tFrom merging shape 0 with other shapes.") from None
    if item is None:
        return None
    axis, rank = c.attr("axis"), len(item) + 1
    if not -rank <= axis < rank:
        raise ValueError(f"Invalid axis: {axis}; must be in [{-rank},{rank})")
    axis %= rank
    return (*item[:axis], len(c.inputs), *item[axis:])


def unpack_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shape without ``axis``, for each output; ValueError if there are not ``num``."""
    shape, axis, num = c.inputs[0], c.attr("axis"), c.attr("num")
    if shape is None:
        return [None] * num
    rank = len(shape)
    if not -rank <= axis < rank:
        raise ValueError(f"Invalid axis: {axis}; must be in [{-rank},{rank})")
    axis %= rank
    if shape[axis] not in (None, num):
        raise ValueError(f"Dimension must be {num} but is {shape[axis]}")
    return [shape[:axis] + shape[axis + 1 :]] * num


def concat_shape(values: list[Shape], axis: int | None) -> Shape:
    """Returns the shape of the joined inputs, whose other dimensions must be equal."""
    parts = [s for s in values if s is not None]
    if not parts:
        return None
    rank = len(parts[0])
    for part in parts:
        with_rank(part, rank)
    if axis is None or len(parts) < len(values):
        return (None,) * rank
    with_rank_at_least(parts[0], axis + 1 if axis >= 0 else -axis)
    at = axis % rank
    before, after = merge_all(p[:at] for p in parts), merge_all(p[at + 1 :] for p in parts)
    sizes = [p[at] for p in parts]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    assert before is not None
    assert after is not None
    return (*before, total, *after)


def split_axis(axis: int, rank: int) -> int:
    """Returns ``axis`` counted from the front; ValueError if there is no such axis."""
    if not -rank <= axis < rank:
        raise ValueError(
            f"Dimension size, given by scalar input {axis} must be in range [-{rank}, {rank})"
        )
    return axis % rank


def split_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shape of the equal parts; ValueError if the dimension does not divide."""
    axis, shape, num = constant_int(c, 0), c.inputs[1], c.attr("num_split")
    if shape is None or axis is None:
        return [unknown_dims(None if shape is None else len(shape))] * num
    axis = split_axis(axis, len(shape))
    dim = shape[axis]
    if dim is not None and dim % num:
        raise ValueError(
            f"Dimension size must be evenly divisible by {num} but is {dim}\n"
            "\tNumber of ways to split should evenly divide the split dimension"
        )
    part = None if dim is None else dim // num
    return [(*shape[:axis], part, *shape[axis + 1 :])] * num


def split_v_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes of the parts, whose sizes are an input; a -1 takes the rest."""
    shape, sizes, axis, num = c.inputs[0], c.constant(1), constant_int(c, 2), c.attr("num_split")
    if shape is None or axis is None:
        return [unknown_dims(None if shape is None else len(shape))] * num
    axis = split_axis(axis, len(shape))
    dim = shape[axis]
    parts: list[int | None] = [None] * num
    if sizes is not None:
        if len(sizes) != num:
            raise ValueError(f"Length of size_splits should be equal to num_split: {num}")
        parts = [int(s) if s >= 0 else None for s in sizes]
        if parts.count(None) > 1:
            raise ValueError("size_splits can only have one -1")
        known = sum(p for p in parts if p is not None)
        if dim is not None:
            if None in parts:
                rest, at = dim - known, parts.index(None)
                if rest < 0:
                    raise ValueError(f"Split size at index {at} must be >= 0. Got: {rest}")
                parts[at] = rest
            elif known != dim:
                raise ValueError(
                    "can't split axis of size "
                    f"{dim} into pieces of size [{','.join(str(s) for s in sizes)}]"
                )
    elif num == 1:
        parts = [dim]
    return [(*shape[:axis], p, *shape[axis + 1 :]) for p in parts]


op("Pack", "values: N*T -> output: T", axis=0, shape=pack_shape)
op("Unpack", "value: T -> output: num*T", num=attr("int", minimum=0), axis=0, shape=unpack_shape)
op(
    "ConcatV2",
    "values: N*T, axis: Tidx -> output: T",
    N=attr("int", minimum=2),
    Tidx=INDEX_TYPE,
    static_inputs=[1],
    shape=lambda c: concat_shape(list(c.inputs[:-1]), constant_int(c, len(c.inputs) - 1)),
)
op(
    "Concat",
    "concat_dim: int32, values: N*T -> output: T",
    N=attr("int", minimum=2),
    static_inputs=[0],
    shape=lambda c: concat_shape(list(c.inputs[1:]), constant_int(c, 0)),
)
op(
    "Split",
    "split_dim: int32, value: T -> output: num_split*T",
    static_inputs=[0],
    shape=split_shape,
)
op(
    "SplitV",
    "value: T, size_splits: Tlen, split_dim: int32 -> output: num_split*T",
    Tlen=attr("type", int64, allowed=INDEX | {int8}),
    static_inputs=[1, 2],
    shape=split_v_shape,
)
