"""Repeating, padding, reversing, diagonals of matrices, blocks to depth or batch: definitions."""

from __future__ import annotations

from flowray.proto.ops.array_ops import (
    INDEX_TYPE,
    constant_int,
    unknown_dims,
    vector_length,
)
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.dtypes import (
    FLOATING_OR_COMPLEX,
    INDEX,
    NUMERIC,
    bool,
    int32,
    int64,
    string,
)
from flowray.proto.types.shapes import (
    Shape,
    format_shape,
    merge_all,
    merge_dims,
    with_rank,
    with_rank_at_least,
    with_rank_at_most,
    with_value,
)

# Repeating, padding, reversing --------------------------------------------------------------------


def tile_shape(c: ShapeContext) -> Shape:
    """Returns the dimensions times the multiples of input 1."""
    shape, multiples = c.inputs[0], c.constant_shape(1)
    if shape is None or multiples is None:
        rank = len(shape) if shape is not None else vector_length(c, 1)
        return unknown_dims(rank)
    multiples = with_rank(multiples, len(shape))
    return tuple(
        0 if 0 in (d, m) else None if d is None or m is None else d * m
        for d, m in zip(shape, multiples, strict=True)
    )


def padded(c: ShapeContext, sign: int = 1) -> Shape:
    """Returns the shape of input 0 plus ``sign`` times the paddings of input 1."""
    shape, paddings = c.inputs[0], c.constant(1)
    pairs = with_rank(c.inputs[1], 2)
    with_value(pairs[1], 2)
    if shape is None:
        return unknown_dims(pairs[0])
    if pairs[0] not in (None, len(shape)):
        raise ValueError(f"Shape must be rank {pairs[0]} but is rank {len(shape)}")
    if paddings is None:
        return (None,) * len(shape)
    if (paddings < 0).any():
        raise ValueError("Paddings must be non-negative")
    totals = paddings.sum(1).tolist()
    return tuple(None if d is None else d + sign * p for d, p in zip(shape, totals, strict=True))


def reverse_shape(c: ShapeContext) -> Shape:
    """Returns the shape of input 0; ValueError if an axis is out of range or named twice."""
    with_rank(c.inputs[1], 1)
    shape, axes = c.inputs[0], c.constant(1)
    if shape is None or axes is None:
        return shape
    rank, seen = len(shape), set()
    for i, axis in enumerate(axes.tolist()):
        if not -rank <= axis < rank:
            raise ValueError(f"'axis'[{i}] = {axis} is out of valid range [0, {rank - 1}]")
        if axis % rank in seen:
            raise ValueError(f"axis {axis % rank} specified more than once.")
        seen.add(axis % rank)
    return shape


def reverse_sequence_shape(c: ShapeContext) -> Shape:
    """Returns the shape of input 0; ValueError if an axis or the lengths do not fit it."""
    shape, (count,) = c.inputs[0], with_rank(c.inputs[1], 1)
    if shape is None:
        return None
    batch_dim, seq_dim = c.attr("batch_dim"), c.attr("seq_dim")
    for name, dim in (("batch_dim", batch_dim), ("seq_dim", seq_dim)):
        if dim >= len(shape):
            raise ValueError(f"{name} must be < input rank: {dim} vs. {len(shape)}")
    batch = merge_dims(shape[batch_dim], count)
    return (*shape[:batch_dim], batch, *shape[batch_dim + 1 :])


def roll_shape(c: ShapeContext) -> Shape:
    """Returns the shape of input 0; ValueError if the shifts and axes do not fit."""
    with_rank_at_most(c.inputs[1], 1)
    with_rank_at_most(c.inputs[2], 1)
    merge_all(c.inputs[1:])
    return with_rank_at_least(c.inputs[0], 1)


for _name, _inputs in (
    ("Pad", "input: T, paddings: Tpaddings"),
    ("PadV2", "input: T, paddings: Tpaddings, constant_values: T"),
):
    op(_name, f"{_inputs} -> output: T", Tpaddings=INDEX_TYPE, static_inputs=[1], shape=padded)
_MODE = attr("string", allowed=[b"REFLECT", b"SYMMETRIC"])
op(
    "MirrorPad",
    "input: T, paddings: Tpaddings -> output: T",
    Tpaddings=INDEX_TYPE,
    mode=_MODE,
    static_inputs=[1],
    shape=padded,
)
op(
    "MirrorPadGrad",
    "input: T, paddings: Tpaddings -> output: T",
    Tpaddings=INDEX_TYPE,
    mode=_MODE,
    static_inputs=[1],
    shape=lambda c: padded(c, -1),
)
op(
    "Tile",
    "input: T, multiples: Tmultiples -> output: T",
    Tmultiples=INDEX_TYPE,
    static_inputs=[1],
    shape=tile_shape,
)
op(
    "ReverseV2",
    "tensor: T, axis: Tidx -> output: T",
    Tidx=INDEX_TYPE,
    T=NUMERIC | {bool, string},
    static_inputs=[1],
    shape=reverse_shape,
)
op(
    "ReverseSequence",
    "input: T, seq_lengths: Tlen -> output: T",
    seq_dim=attr("int"),
    batch_dim=0,
    Tlen=attr("type", int64, allowed=INDEX),
    shape=reverse_sequence_shape,
)
op(
    "Roll",
    "input: T, shift: Tshift, axis: Taxis -> output: T",
    Tshift=INDEX,
    Taxis=INDEX,
    static_inputs=[2],
    shape=roll_shape,
)


# Diagonals ----------------------------------------------------------------------------------------

DIAG = FLOATING_OR_COMPLEX | {int32, int64}


def diag_shape(c: ShapeContext) -> Shape:
    """Returns the shape twice over."""
    shape = with_rank_at_least(c.inputs[0], 1)
    return None if shape is None else shape + shape


def diag_part_shape(c: ShapeContext) -> Shape:
    """Returns the first half of the dimensions, which must be those of the second half."""
    shape = c.inputs[0]
    if shape is None:
        return None
    if len(shape) % 2 or not shape:
        raise ValueError(f"Input must have even and non-zero rank, input rank is {len(shape)}")
    half = len(shape) // 2
    return tuple(merge_dims(a, b) for a, b in zip(shape[:half], shape[half:], strict=True))


def _smaller(a: int | None, b: int | None) -> int | None:
    if a == 0 or b == 0:
        return 0
    return None if a is None or b is None else min(a, b)


def matrix_diag_shape(c: ShapeContext) -> Shape:
    """Returns the shape with its last dimension repeated."""
    shape = with_rank_at_least(c.inputs[0], 1)
    return None if shape is None else (*shape, shape[-1])


def matrix_diag_part_shape(c: ShapeContext) -> Shape:
    """Returns the batch dimensions and the length of the diagonal."""
    shape = with_rank_at_least(c.inputs[0], 2)
    return None if shape is None else (*shape[:-2], _smaller(shape[-2], shape[-1]))


def matrix_set_diag_shape(c: ShapeContext) -> Shape:
    """Returns the shape of input 0; ValueError if the diagonal does not fit it."""
    shape, diagonal = with_rank_at_least(c.inputs[0], 2), with_rank_at_least(c.inputs[1], 1)
    if shape is not None and diagonal is not None:
        merge_all([shape[:-2], diagonal[:-1]])
        merge_dims(_smaller(shape[-2], shape[-1]), diagonal[-1])
    return shape


op("Diag", "diagonal: T -> output: T", T=DIAG, shape=diag_shape)
op("DiagPart", "input: T -> diagonal: T", T=DIAG, shape=diag_part_shape)
op("MatrixDiag", "diagonal: T -> output: T", shape=matrix_diag_shape)
op("MatrixDiagPart", "input: T -> diagonal: T", shape=matrix_diag_part_shape)
op("MatrixSetDiag", "input: T, diagonal: T -> output: T", shape=matrix_set_diag_shape)
op(
    "MatrixBandPart",
    "input: T, num_lower: Tindex, num_upper: Tindex -> band: T",
    Tindex=attr("type", int64, allowed=INDEX),
    shape=lambda c: with_rank_at_least(c.inputs[0], 2),
)


# Many diagonals at once (k = [lower, upper]) ------------------------------------------------------

ALIGN = attr(
    "string",
    b"RIGHT_LEFT",
    allowed=[b"LEFT_RIGHT", b"RIGHT_LEFT", b"LEFT_LEFT", b"RIGHT_RIGHT"],
)


def _diagonals(c: ShapeContext, index: int) -> tuple[int, int] | None:
    """Returns the lowest and the highest diagonal that input ``index`` names; None if unknown."""
    k = c.constant(index)
    if k is None:
        return None
    k = k.reshape(-1)
    if len(k) not in (1, 2):
        raise ValueError(f"diag_index must be a vector with one or two elements, not {len(k)}")
    lower, upper = int(k[0]), int(k[-1])
    if lower > upper:
        raise ValueError(f"lower_diag_index is greater than upper_diag_index: {lower} > {upper}")
    return lower, upper


def matrix_diag_v3_shape(c: ShapeContext) -> Shape:
    """Returns the batch dimensions and the size of the matrix, as far as the inputs tell it."""
    diagonal, k = with_rank_at_least(c.inputs[0], 1), _diagonals(c, 1)
    if diagonal is None or k is None:
        return None
    lower, upper = k
    rows, cols = constant_int(c, 2), constant_int(c, 3)
    batch = diagonal[:-1] if lower == upper else diagonal[:-2]
    longest = diagonal[-1]
    if rows is None or cols is None or longest is None:
        return (*batch, None, None)
    least_rows, least_cols = longest - min(upper, 0), longest + max(lower, 0)
    if rows == -1 and cols == -1:
        rows = cols = max(least_rows, least_cols)
    rows = least_rows if rows == -1 else rows
    cols = least_cols if cols == -1 else cols
    if rows < least_rows:
        raise ValueError("num_rows is too small")
    if cols < least_cols:
        raise ValueError("num_cols is too small")
    return (*batch, rows, cols)


def matrix_diag_part_v3_shape(c: ShapeContext) -> Shape:
    """Returns the batch dimensions, the number of diagonals if several, and their length."""
    shape, k = with_rank_at_least(c.inputs[0], 2), _diagonals(c, 1)
    if shape is None or k is None:
        return None
    lower, upper = k
    rows, cols = shape[-2:]
    for name, index in (("lower", lower), ("upper", upper)):
        below, above = rows is not None and index <= -rows, cols is not None and index >= cols
        if index and (below or above):
            raise ValueError(f"{name}_diag_index is out of bound.")
    longest = (
        None if rows is None or cols is None else min(rows + min(upper, 0), cols - max(lower, 0))
    )
    count = () if lower == upper else (upper - lower + 1,)
    return (*shape[:-2], *count, longest)


op(
    "MatrixDiagV3",
    "diagonal: T, k: int32, num_rows: int32, num_cols: int32, padding_value: T -> output: T",
    align=ALIGN,
    static_inputs=[1, 2, 3],
    shape=matrix_diag_v3_shape,
)
op(
    "MatrixDiagPartV3",
    "input: T, k: int32, padding_value: T -> diagonal: T",
    align=ALIGN,
    static_inputs=[1],
    shape=matrix_diag_part_v3_shape,
)
op(
    "MatrixSetDiagV3",
    "input: T, diagonal: T, k: int32 -> output: T",
    align=ALIGN,
    static_inputs=[2],
    shape=lambda c: with_rank_at_least(c.inputs[0], 2),
)


# Blocks -------------------------------------------------------------------------------------------


def _times(dim: int | None, factor: int) -> int | None:
    return None if dim is None else dim * factor


def _divided(dim: int | None, divisor: int) -> int | None:
    if dim is None:
        return None
    if dim % divisor:
        raise ValueError(f"Dimension size must be evenly divisible by {divisor} but is {dim}")
    return dim // divisor


def _depth_shape(c: ShapeContext, *, into_depth: bool) -> Shape:
    shape, block = with_rank(c.inputs[0], 4), c.attr("block_size")
    channels_last = c.attr("data_format") == b"NHWC"
    batch, height, width, depth = shape if channels_last else (shape[0], *shape[2:], shape[1])
    if into_depth:
        height, width = _divided(height, block), _divided(width, block)
        depth = _times(depth, block * block)
    else:
        height, width = _times(height, block), _times(width, block)
        depth = _divided(depth, block * block)
    return (batch, height, width, depth) if channels_last else (batch, depth, height, width)


def _batch_shape(c: ShapeContext, *, into_batch: bool) -> Shape:
    shape, block, margins = c.inputs[0], c.constant(1), c.constant(2)
    count = with_rank(c.inputs[1], 1)[0]
    pairs = with_rank(c.inputs[2], 2)
    with_value(pairs[1], 2)
    merge_dims(pairs[0], count)
    if count is None:
        return None
    with_rank_at_least(shape, count + 1)
    if shape is None:
        return None
    if block is None:
        return (None,) * (count + 1) + shape[count + 1 :]
    if (block < 1).any():
        raise ValueError(f"block_shape must be positive, got {format_shape(tuple(block.tolist()))}")
    first = shape[0]
    for size in block.tolist():
        first = _times(first, size) if into_batch else _divided(first, size)
    dims: list[int | None] = [first]
    for i, size in enumerate(block.tolist()):
        dim = shape[1 + i]
        if margins is None or dim is None:
            dims.append(None)
        elif into_batch:
            dims.append(_divided(dim + int(margins[i].sum()), size))
        else:
            dims.append(dim * size - int(margins[i].sum()))
    return (*dims, *shape[count + 1 :])


_FORMAT = attr("string", b"NHWC", allowed=[b"NHWC", b"NCHW"])
op(
    "SpaceToDepth",
    "input: T -> output: T",
    block_size=attr("int", minimum=2),
    data_format=_FORMAT,
    shape=lambda c: _depth_shape(c, into_depth=True),
)
op(
    "DepthToSpace",
    "input: T -> output: T",
    block_size=attr("int", minimum=2),
    data_format=_FORMAT,
    shape=lambda c: _depth_shape(c, into_depth=False),
)
op(
    "SpaceToBatchND",
    "input: T, block_shape: Tblock_shape, paddings: Tpaddings -> output: T",
    Tblock_shape=INDEX_TYPE,
    Tpaddings=INDEX_TYPE,
    static_inputs=[1, 2],
    shape=lambda c: _batch_shape(c, into_batch=True),
)
op(
    "BatchToSpaceND",
    "input: T, block_shape: Tblock_shape, crops: Tcrops -> output: T",
    Tblock_shape=INDEX_TYPE,
    Tcrops=INDEX_TYPE,
    static_inputs=[1, 2],
    shape=lambda c: _batch_shape(c, into_batch=False),
)
