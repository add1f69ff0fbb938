"""Arrays of tensors, which live as long as a step: definitions.

A *flow* orders the ops of an array: a float scalar without a meaning that each op takes from the op
before. Shape functions do not know what was written; the client sets the shapes that it knows.
"""

from __future__ import annotations

from flowray.proto.ops.common_shapes import no_outputs, scalar
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.shapes import Shape, merge_dims, with_rank, with_rank_at_least

_HANDLE = (2,)  # handles were vectors of two strings once


def _made(c: ShapeContext) -> list[Shape]:
    with_rank(c.inputs[0], 0)
    return [_HANDLE, ()]


def _gradient(c: ShapeContext) -> list[Shape]:
    return [_HANDLE, ()]


def _flow_after_write(c: ShapeContext) -> Shape:
    with_rank(c.inputs[1], 0)
    return ()


def _read(c: ShapeContext) -> Shape:
    with_rank(c.inputs[1], 0)
    return None


def _gathered(c: ShapeContext) -> Shape:
    """Returns the stated element shape behind the number of indices."""
    indices = with_rank(c.inputs[1], 1)
    element: Shape = c.attr("element_shape")
    if element is None:
        return None
    return (None if indices is None else indices[0], *element)


def _scattered(c: ShapeContext) -> Shape:
    indices, value = with_rank(c.inputs[1], 1), with_rank_at_least(c.inputs[2], 1)
    if indices is not None and value is not None:
        merge_dims(indices[0], value[0])
    return ()


def _concatenated(c: ShapeContext) -> list[Shape]:
    rest: Shape = c.attr("element_shape_except0")
    return [None if rest is None else (None, *rest), (None,)]


def _split(c: ShapeContext) -> Shape:
    with_rank(c.inputs[2], 1)
    return ()


op(
    "TensorArrayV3",
    "size: int32 -> handle: resource, flow: float32",
    dtype=attr("type"),
    element_shape=attr("shape", None),
    dynamic_size=False,
    clear_after_read=True,
    identical_element_shapes=False,
    tensor_array_name="",
    stateful=True,
    static_inputs=(0,),
    step_state=True,
    differentiable=False,
    shape=_made,
)
op(
    "TensorArrayGradV3",
    "handle: resource, flow_in: float32 -> grad_handle: resource, flow_out: float32",
    source=attr("string"),
    stateful=True,
    step_state=True,
    differentiable=False,
    shape=_gradient,
)
op(
    "TensorArrayGradWithShape",
    "handle: resource, flow_in: float32, shape_to_prepend: int32 "
    "-> grad_handle: resource, flow_out: float32",
    source=attr("string"),
    stateful=True,
    static_inputs=(2,),
    step_state=True,
    differentiable=False,
    shape=_gradient,
)
op(
    "TensorArrayWriteV3",
    "handle: resource, index: int32, value: T, flow_in: float32 -> flow_out: float32",
    stateful=True,
    step_state=True,
    shape=_flow_after_write,
)
op(
    "TensorArrayReadV3",
    "handle: resource, index: int32, flow_in: float32 -> value: dtype",
    dtype=attr("type"),
    stateful=True,
    step_state=True,
    shape=_read,
)
op(
    "TensorArrayGatherV3",
    "handle: resource, indices: int32, flow_in: float32 -> value: dtype",
    dtype=attr("type"),
    element_shape=attr("shape", None),
    stateful=True,
    step_state=True,
    shape=_gathered,
)
op(
    "TensorArrayScatterV3",
    "handle: resource, indices: int32, value: T, flow_in: float32 -> flow_out: float32",
    stateful=True,
    step_state=True,
    shape=_scattered,
)
op(
    "TensorArrayConcatV3",
    "handle: resource, flow_in: float32 -> value: dtype, lengths: int64",
    dtype=attr("type"),
    element_shape_except0=attr("shape", None),
    stateful=True,
    step_state=True,
    shape=_concatenated,
)
op(
    "TensorArraySplitV3",
    "handle: resource, value: T, lengths: int64, flow_in: float32 -> flow_out: float32",
    stateful=True,
    static_inputs=(2,),
    step_state=True,
    shape=_split,
)
op(
    "TensorArraySizeV3",
    "handle: resource, flow_in: float32 -> size: int32",
    stateful=True,
    step_state=True,
    shape=scalar,
)
op("TensorArrayCloseV3", "handle: resource ->", stateful=True, step_state=True, shape=no_outputs)
