"""User functions for repeating, padding and reversing tensors, for diagonals and for blocks."""

from __future__ import annotations

import numbers
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.array_ops import _one_of, concat, ones, zeros
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import as_shape

# Repeating, padding, reversing --------------------------------------------------------------------


@tf_export("tile", "manip.tile")
def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """Repeats ``input`` ``multiples[i]`` times along each dimension i."""
    return output_of("Tile", input, multiples, name=name)


@tf_export("pad")
def pad(
    tensor: Any,
    paddings: Any,
    mode: str = "CONSTANT",
    name: str | None = None,
    constant_values: Any = 0,
) -> Tensor:
    """Pads ``tensor``.

    Args:
        paddings: integer [rank, 2]: how much goes before and after each dimension.
        mode: ``CONSTANT``, ``REFLECT`` (mirrored without the edge) or ``SYMMETRIC`` (with it).
        constant_values: the scalar that ``CONSTANT`` pads with.

    Raises:
        ValueError: an unknown mode.
    """
    mode = mode.upper()
    if mode == "CONSTANT":
        if not isinstance(constant_values, Tensor) and constant_values == 0:
            return output_of("Pad", tensor, paddings, name=name)
        return output_of("PadV2", tensor, paddings, constant_values, name=name)
    if mode in ("REFLECT", "SYMMETRIC"):
        return output_of("MirrorPad", tensor, paddings, mode=mode, name=name)
    raise ValueError(f"Unknown padding mode: {mode}")


@tf_export("reverse", "reverse_v2", "manip.reverse")
def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """Reverses ``tensor`` along the axes in the vector ``axis``."""
    return output_of("ReverseV2", tensor, axis, name=name)


reverse_v2 = reverse


@tf_export("reverse_sequence")
def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: int | None = None,
    batch_axis: int | None = None,
    name: str | None = None,
    seq_dim: int | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """Reverses the first ``seq_lengths[i]`` elements of each batch entry i.

    Args:
        seq_lengths: integer vector, as long as the batch axis.
        seq_axis: the axis to reverse (once called ``seq_dim``).
        batch_axis: the batch axis (once called ``batch_dim``), 0 if None.
    """
    seq_axis = _one_of("seq_axis", seq_axis, "seq_dim", seq_dim)
    batch_axis = _one_of("batch_axis", batch_axis, "batch_dim", batch_dim)
    if seq_axis is None:
        raise ValueError("seq_axis must be given")
    return output_of(
        "ReverseSequence",
        input,
        seq_lengths,
        seq_dim=seq_axis,
        batch_dim=batch_axis or 0,
        name=name,
    )


@tf_export("roll", "manip.roll")
def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """Shifts ``input`` along axes; elements that leave one end come in at the other."""
    return output_of("Roll", input, shift, axis, name=name)


# Diagonals ----------------------------------------------------------------------------------------


@tf_export("diag", "linalg.tensor_diag")
def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """Makes a tensor of twice the rank with ``diagonal`` on its diagonal and zeros elsewhere."""
    return output_of("Diag", diagonal, name=name)


@tf_export("diag_part")
def diag_part(input: Any, name: str | None = None) -> Tensor:
    """Returns the diagonal of a tensor whose shape is some shape twice."""
    return output_of("DiagPart", input, name=name)


def _is_main(k: Any) -> bool:
    return isinstance(k, numbers.Integral) and k == 0


@tf_export("matrix_diag", "linalg.diag")
def matrix_diag(
    diagonal: Any,
    name: str = "diag",
    k: Any = 0,
    num_rows: Any = -1,
    num_cols: Any = -1,
    padding_value: Any = 0,
    align: str = "RIGHT_LEFT",
) -> Tensor:
    """Makes matrices with the given diagonals.

    Args:
        diagonal: [..., n], or [..., diagonals, n] for several.
        k: which diagonal (0 the main, positive above it), or ``[lowest, highest]``.
        num_rows, num_cols: the size of the matrices; -1 for the least.
        padding_value: the value elsewhere.
        align: where the shorter of several diagonals are padded, above and below the main one.
    """
    if _is_main(k) and (num_rows, num_cols, padding_value) == (-1, -1, 0):
        return output_of("MatrixDiag", diagonal, name=name)
    return output_of(
        "MatrixDiagV3", diagonal, k, num_rows, num_cols, padding_value, align=align, name=name
    )


@tf_export("matrix_diag_part", "linalg.diag_part")
def matrix_diag_part(
    input: Any,
    name: str = "diag_part",
    k: Any = 0,
    padding_value: Any = 0,
    align: str = "RIGHT_LEFT",
) -> Tensor:
    """Returns the diagonals of matrices; the arguments are those of ``matrix_diag``."""
    if _is_main(k):
        return output_of("MatrixDiagPart", input, name=name)
    return output_of("MatrixDiagPartV3", input, k, padding_value, align=align, name=name)


@tf_export("matrix_set_diag", "linalg.set_diag")
def matrix_set_diag(
    input: Any, diagonal: Any, name: str = "set_diag", k: Any = 0, align: str = "RIGHT_LEFT"
) -> Tensor:
    """Replaces the diagonals of matrices; the arguments are those of ``matrix_diag``."""
    if _is_main(k):
        return output_of("MatrixSetDiag", input, diagonal, name=name)
    return output_of("MatrixSetDiagV3", input, diagonal, k, align=align, name=name)


@tf_export("eye", "linalg.eye")
def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = dtypes.float32,
    name: str | None = None,
) -> Any:
    """Makes identity matrices.

    Args:
        num_rows: integer scalar.
        num_columns: integer scalar; ``num_rows`` if None.
        batch_shape: how many to make: integers or an int32 vector; one matrix if None.

    Returns:
        ``batch_shape + [num_rows, num_columns]``.
    """
    with name_scope(name, "eye", [num_rows, num_columns, batch_shape]):
        square = num_columns is None
        columns = num_rows if square else num_columns
        batch = [] if batch_shape is None else batch_shape
        shape: Any
        diagonal_shape: Any
        if isinstance(num_rows, Tensor) or isinstance(columns, Tensor):
            diagonal = apply_op("Minimum", num_rows, columns)
        else:
            square, diagonal = num_rows == columns, min(num_rows, columns)
        if isinstance(batch, Tensor) or isinstance(diagonal, Tensor):
            batch = convert_to_tensor(batch, dtypes.int32, name="shape")
            diagonal_shape = concat([batch, [diagonal]], 0)
            shape = diagonal_shape if square else concat([batch, [num_rows, columns]], 0)
        else:
            batch = as_shape(batch).as_list()
            diagonal_shape, shape = [*batch, diagonal], [*batch, num_rows, columns]
        diagonals = ones(diagonal_shape, dtype)
        if square:
            return matrix_diag(diagonals)
        return matrix_set_diag(zeros(shape, dtype), diagonals)


@tf_export("matrix_band_part", "linalg.band_part")
def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """Sets elements outside a band of diagonals around the main one to zero.

    A negative number keeps the whole triangle.
    """
    return output_of("MatrixBandPart", input, num_lower, num_upper, name=name)


# Blocks -------------------------------------------------------------------------------------------


@tf_export("space_to_depth", "nn.space_to_depth")
def space_to_depth(
    input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Moves blocks of ``block_size`` squared pixels into the channels of one pixel."""
    return output_of(
        "SpaceToDepth", input, block_size=block_size, data_format=data_format, name=name
    )


@tf_export("depth_to_space", "nn.depth_to_space")
def depth_to_space(
    input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Moves channels into blocks of pixels: the inverse of ``space_to_depth``."""
    return output_of(
        "DepthToSpace", input, block_size=block_size, data_format=data_format, name=name
    )


@tf_export("space_to_batch_nd", "manip.space_to_batch_nd")
def space_to_batch_nd(
    input: Any, block_shape: Any, paddings: Any, name: str | None = None
) -> Tensor:
    """Pads ``input`` and moves the positions within blocks into the batch."""
    return output_of("SpaceToBatchND", input, block_shape, paddings, name=name)


@tf_export("batch_to_space_nd", "manip.batch_to_space_nd")
def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """Moves the batch into blocks and crops: the inverse of ``space_to_batch_nd``."""
    return output_of("BatchToSpaceND", input, block_shape, crops, name=name)


@tf_export("space_to_batch", "nn.space_to_batch")
def space_to_batch(
    input: Any,
    paddings: Any,
    block_size: int | None = None,
    name: str | None = None,
    block_shape: Any = None,
) -> Any:
    """Computes ``space_to_batch_nd`` with square blocks, or with ``block_shape``."""
    with name_scope(name, "SpaceToBatch", [input, paddings]) as scope:
        block = _square(block_size, block_shape)
        return space_to_batch_nd(convert_to_tensor(input), block, paddings, name=scope)


@tf_export("batch_to_space")
def batch_to_space(
    input: Any,
    crops: Any,
    block_size: int | None = None,
    name: str | None = None,
    block_shape: Any = None,
) -> Any:
    """Computes ``batch_to_space_nd`` with square blocks, or with ``block_shape``."""
    with name_scope(name, "BatchToSpace", [input, crops]) as scope:
        block = _square(block_size, block_shape)
        return batch_to_space_nd(convert_to_tensor(input), block, crops, name=scope)


def _square(block_size: int | None, block_shape: Any) -> Any:
    block = _one_of("block_shape", block_shape, "block_size", block_size)
    return [block, block] if isinstance(block, numbers.Integral) else block
