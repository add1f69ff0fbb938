"""Stacks, which live as long as a step: definitions. Gradients of loops keep values in them."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import no_outputs
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.shapes import Shape


def _made(c: ShapeContext) -> Shape:
    return (2,)


def _pushed(c: ShapeContext) -> Shape:
    return c.inputs[1]


def _popped(c: ShapeContext) -> Shape:
    """Returns an unknown shape: the graph does not tell what was pushed."""
    return None


op(
    "StackV2",
    "max_size: int32 -> handle: resource",
    elem_type=attr("type"),
    stack_name="",
    stateful=True,
    static_inputs=(0,),
    step_state=True,
    differentiable=False,
    shape=_made,
)
op(
    "StackPushV2",
    "handle: resource, elem: T -> output: T",
    swap_memory=False,
    stateful=True,
    step_state=True,
    differentiable=False,
    shape=_pushed,
    hints=("swap_memory",),
)
op(
    "StackPopV2",
    "handle: resource -> elem: elem_type",
    elem_type=attr("type"),
    stateful=True,
    step_state=True,
    differentiable=False,
    shape=_popped,
)
op("StackCloseV2", "handle: resource ->", stateful=True, step_state=True, shape=no_outputs)
