"""Identities, filling, reshaping, joining and splitting: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.registry import gradient
from flowray.client.ops import array_ops, slice_ops
from flowray.proto.types import shapes


def dense(grad: Any) -> Any:
    """Returns a gradient as a tensor: IndexedSlices are summed up."""
    return convert_to_tensor(grad) if isinstance(grad, IndexedSlices) else grad


def reshaped_to_input(op: Any, grad: Any) -> Any:
    """Reshapes ``grad`` to the shape of the op's first input."""
    return array_ops.reshape(dense(grad), array_ops.shape(op.inputs[0]))


# Identities ---------------------------------------------------------------------------------------


@gradient("Identity", "PlaceholderWithDefault", "Snapshot", "GuaranteeConst", "EnsureShape")
def identity(op: Any, grad: Any) -> Any:
    """Passes the gradient on."""
    return grad


@gradient("IdentityN")
def identity_n(op: Any, *grads: Any) -> Any:
    """Passes the gradients on."""
    return grads


@gradient("PreventGradient")
def prevent_gradient(op: Any, grad: Any) -> Any:
    """Raises LookupError with the op's message."""
    message = op.get_attr("message").decode()
    raise LookupError(f"Gradient explicitly disabled. Reason: {message}")


@gradient("CheckNumerics")
def check_numerics(op: Any, grad: Any) -> Any:
    """Checks the gradient as well."""
    message = (
        "Not a number (NaN) or infinity (Inf) values detected in gradient. "
        + op.get_attr("message").decode()
    )
    return array_ops.check_numerics(grad, message)


# Filling and reshaping ----------------------------------------------------------------------------


@gradient("Fill")
def fill(op: Any, grad: Any) -> Any:
    """Sums the gradient for the scalar value."""
    axes = apply_op("Range", 0, array_ops.rank(grad), 1)
    return None, apply_op("Sum", grad, axes)


@gradient("Reshape", "ExpandDims")
def reshape(op: Any, grad: Any) -> Any:
    """Reshapes the gradient to the input's shape."""
    return reshaped_to_input(op, grad), None


@gradient("Squeeze")
def squeeze(op: Any, grad: Any) -> Any:
    """Reshapes the gradient to the input's shape."""
    return reshaped_to_input(op, grad)


@gradient("Transpose")
def transpose(op: Any, grad: Any) -> Any:
    """Transposes the gradient by the inverse permutation."""
    return array_ops.transpose(grad, array_ops.invert_permutation(op.inputs[1])), None


@gradient("ConjugateTranspose")
def conjugate_transpose(op: Any, grad: Any) -> Any:
    """Transposes the gradient by the inverse permutation and conjugates it."""
    perm = array_ops.invert_permutation(op.inputs[1])
    return array_ops.transpose(grad, perm, conjugate=True), None


@gradient("BroadcastTo")
def broadcast_to(op: Any, grad: Any) -> Any:
    """Sums the gradient over the axes along which the input was broadcast."""
    before = array_ops.shape(op.inputs[0])
    after = array_ops.shape(op.outputs[0])
    _, axes = apply_op("BroadcastGradientArgs", after, before)
    return array_ops.reshape(apply_op("Sum", grad, axes, keep_dims=True), before), None


# Joining and splitting ----------------------------------------------------------------------------


@gradient("Pack")
def pack(op: Any, grad: Any) -> Any:
    """Splits the gradient along the new axis."""
    return array_ops.unstack(dense(grad), num=op.get_attr("N"), axis=op.get_attr("axis"))


@gradient("Unpack")
def unpack(op: Any, *grads: Any) -> Any:
    """Stacks the gradients."""
    return array_ops.stack(list(grads), axis=op.get_attr("axis"))


def _concat(grad: Any, values: list[Any], axis: Any) -> list[Any]:
    if len(values) == 1:
        return [grad]
    grad = dense(grad)
    if all(shapes.is_fully_defined(v.shape_tuple) for v in values):
        sizes = [array_ops.shape(v) for v in values]
    else:
        sizes = list(array_ops.shape_n(values))
    # ConcatOffset, and slicing, count the axis from the front.
    static = array_ops.static_axis(axis)
    if static is None or static < 0:
        axis = apply_op("FloorMod", axis, array_ops.rank(values[0]))
    offsets = apply_op("ConcatOffset", axis, sizes)
    return [slice_ops.slice(grad, begin, size) for begin, size in zip(offsets, sizes, strict=True)]


@gradient("ConcatV2")
def concat_v2(op: Any, grad: Any) -> Any:
    """Slices the gradient at the offsets of the inputs."""
    return [*_concat(grad, op.inputs[:-1], op.inputs[-1]), None]


@gradient("Concat")
def concat(op: Any, grad: Any) -> Any:
    """Slices the gradient at the offsets of the inputs."""
    return [None, *_concat(grad, op.inputs[1:], op.inputs[0])]


@gradient("Split")
def split(op: Any, *grads: Any) -> Any:
    """Concatenates the gradients."""
    return None, array_ops.concat(list(grads), op.inputs[0])


@gradient("SplitV")
def split_v(op: Any, *grads: Any) -> Any:
    """Concatenates the gradients."""
    return array_ops.concat(list(grads), op.inputs[2]), None, None
