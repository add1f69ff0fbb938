"""Shape functions that several families share."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext
from flowray.proto.types.shapes import (
    Shape,
    broadcast,
    merge_all,
    merge_dims,
    with_rank_at_least,
)


def no_outputs(c: ShapeContext) -> list[Shape]:
    """For ops without outputs."""
    return []


def scalar(c: ShapeContext) -> Shape:
    return ()


def unknown(c: ShapeContext) -> Shape:
    return None


def unchanged(c: ShapeContext) -> Shape:
    """The shape of the first input."""
    return c.inputs[0]


def broadcast_binary(c: ShapeContext) -> Shape:
    """The broadcast of two inputs; ValueError with TensorFlow's text if they do not go together."""
    return broadcast(c.inputs[0], c.inputs[1])


def merged(c: ShapeContext) -> Shape:
    """The common shape of inputs that must all have the same."""
    return merge_all(c.inputs)


def merge_prefix(shape: Shape, prefix: Shape) -> Shape:
    """``shape``, whose first dimensions are those of ``prefix``; None if either is unknown."""
    if shape is None or prefix is None:
        return None
    with_rank_at_least(shape, len(prefix))
    merged = [merge_dims(a, b) for a, b in zip(shape, prefix, strict=False)]
    return (*merged, *shape[len(prefix) :])


def from_shape_attr(c: ShapeContext) -> Shape:
    """The shape that attribute ``shape`` states."""
    shape: Shape = c.attr("shape")
    return shape
