"""Repeating, padding, reversing, diagonals and blocks: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.array_ops import dense
from flowray.client.gradients.registry import gradient
from flowray.client.ops import array_ops, layout_ops, slice_ops

# Repeating, padding, reversing --------------------------------------------------------------------


@gradient("Tile")
def tile(op: Any, grad: Any) -> Any:
    """Splits each dimension into (multiple, size) and sums over the multiples."""
    x, multiples = op.inputs
    shape = array_ops.shape(x, out_type=multiples.dtype)
    split = array_ops.reshape(array_ops.transpose(array_ops.stack([multiples, shape])), [-1])
    axes = apply_op("Range", 0, array_ops.size(split), 2)
    x_grad = apply_op("Sum", array_ops.reshape(dense(grad), split), axes)
    x_grad.set_shape(x.shape)
    return x_grad, None


@gradient("Pad", "PadV2")
def pad(op: Any, grad: Any) -> Any:
    """Slices the padding off the gradient."""
    x, paddings = op.inputs[:2]
    column = array_ops.stack([array_ops.rank(x), 1])
    before = slice_ops.slice(paddings, [0, 0], column)
    begin = array_ops.reshape(before, [-1])
    size = array_ops.shape(x, out_type=begin.dtype)
    return (slice_ops.slice(dense(grad), begin, size), *[None] * (len(op.inputs) - 1))


@gradient("MirrorPad")
def mirror_pad(op: Any, grad: Any) -> Any:
    """Adds the gradients in the padding to the mirrored elements."""
    return apply_op("MirrorPadGrad", grad, op.inputs[1], mode=op.get_attr("mode")), None


@gradient("MirrorPadGrad")
def mirror_pad_grad(op: Any, grad: Any) -> Any:
    """Mirrors the gradient."""
    return apply_op("MirrorPad", grad, op.inputs[1], mode=op.get_attr("mode")), None


@gradient("ReverseV2")
def reverse_v2(op: Any, grad: Any) -> Any:
    """Reverses the gradient."""
    return layout_ops.reverse(dense(grad), op.inputs[1]), None


@gradient("ReverseSequence")
def reverse_sequence(op: Any, grad: Any) -> Any:
    """Reverses the gradient's sequences."""
    seq_axis, batch_axis = op.get_attr("seq_dim"), op.get_attr("batch_dim")
    return layout_ops.reverse_sequence(dense(grad), op.inputs[1], seq_axis, batch_axis), None


@gradient("Roll")
def roll(op: Any, grad: Any) -> Any:
    """Rolls the gradient back."""
    _, shift, axis = op.inputs
    return layout_ops.roll(dense(grad), apply_op("Neg", shift), axis), None, None


# Diagonals ----------------------------------------------------------------------------------------


@gradient("Diag")
def diag(op: Any, grad: Any) -> Any:
    """Takes the diagonal of the gradient."""
    return layout_ops.diag_part(grad)


@gradient("DiagPart")
def diag_part(op: Any, grad: Any) -> Any:
    """Puts the gradient on a diagonal."""
    return layout_ops.diag(grad)


@gradient("MatrixDiag")
def matrix_diag(op: Any, grad: Any) -> Any:
    """Takes the diagonals of the gradient."""
    return layout_ops.matrix_diag_part(grad)


@gradient("MatrixDiagPart")
def matrix_diag_part(op: Any, grad: Any) -> Any:
    """Puts the gradient on the diagonals of zeros."""
    return layout_ops.matrix_set_diag(array_ops.zeros_like(op.inputs[0]), grad)


@gradient("MatrixSetDiag")
def matrix_set_diag(op: Any, grad: Any) -> Any:
    """Splits the gradient: its diagonals go to the diagonal, the rest to the input."""
    zeros = array_ops.zeros_like(op.inputs[1])
    return layout_ops.matrix_set_diag(grad, zeros), layout_ops.matrix_diag_part(grad)


@gradient("MatrixDiagV3")
def matrix_diag_v3(op: Any, grad: Any) -> Any:
    """Takes the diagonals of the gradient."""
    zero = array_ops.zeros([], grad.dtype)
    diagonal = apply_op("MatrixDiagPartV3", grad, op.inputs[1], zero, align=op.get_attr("align"))
    return diagonal, None, None, None, None


@gradient("MatrixDiagPartV3")
def matrix_diag_part_v3(op: Any, grad: Any) -> Any:
    """Puts the gradient on the diagonals of zeros."""
    x, k = op.inputs[:2]
    zeros = array_ops.zeros_like(x)
    return apply_op("MatrixSetDiagV3", zeros, grad, k, align=op.get_attr("align")), None, None


@gradient("MatrixSetDiagV3")
def matrix_set_diag_v3(op: Any, grad: Any) -> Any:
    """Splits the gradient: its diagonals go to the diagonal, the rest to the input."""
    _, diagonal, k = op.inputs
    align, zero = op.get_attr("align"), array_ops.zeros([], grad.dtype)
    kept = apply_op("MatrixSetDiagV3", grad, array_ops.zeros_like(diagonal), k, align=align)
    return kept, apply_op("MatrixDiagPartV3", grad, k, zero, align=align), None


@gradient("MatrixBandPart")
def matrix_band_part(op: Any, grad: Any) -> Any:
    """Keeps the same band of the gradient."""
    return layout_ops.matrix_band_part(grad, op.inputs[1], op.inputs[2]), None, None


# Blocks -------------------------------------------------------------------------------------------


@gradient("SpaceToDepth")
def space_to_depth(op: Any, grad: Any) -> Any:
    """Applies the inverse to the gradient."""
    data_format = op.get_attr("data_format")
    return layout_ops.depth_to_space(grad, op.get_attr("block_size"), data_format=data_format)


@gradient("DepthToSpace")
def depth_to_space(op: Any, grad: Any) -> Any:
    """Applies the inverse to the gradient."""
    data_format = op.get_attr("data_format")
    return layout_ops.space_to_depth(grad, op.get_attr("block_size"), data_format=data_format)


@gradient("SpaceToBatchND")
def space_to_batch_nd(op: Any, grad: Any) -> Any:
    """Applies the inverse to the gradient."""
    return layout_ops.batch_to_space_nd(grad, op.inputs[1], op.inputs[2]), None, None


@gradient("BatchToSpaceND")
def batch_to_space_nd(op: Any, grad: Any) -> Any:
    """Applies the inverse to the gradient."""
    return layout_ops.space_to_batch_nd(grad, op.inputs[1], op.inputs[2]), None, None
