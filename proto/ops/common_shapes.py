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
    """Returns no shapes: the op has no outputs."""
    return []


def scalar(c: ShapeContext) -> Shape:
    """Returns the shape of a scalar, whatever the inputs are."""
    return ()


def unknown(c: ShapeContext) -> Shape:
    """Returns an unknown shape."""
    return None


def unchanged(c: ShapeContext) -> Shape:
    """Returns the shape of the first input."""
    return c.inputs[0]


def broadcast_binary(c: ShapeContext) -> Shape:
    """Returns the broadcast shape of two inputs; ValueError if they do not broadcast."""
    return broadcast(c.inputs[0], c.inputs[1])


def merged(c: ShapeContext) -> Shape:
    """Returns the common shape of all inputs; ValueError if they differ."""
    return merge_all(c.inputs)


def merge_prefix(shape: Shape, prefix: Shape) -> Shape:
    """Returns ``shape`` merged with ``prefix`` in its first dimensions; None if one is unknown."""
    if shape is None or prefix is None:
        return None
    with_rank_at_least(shape, len(prefix))
    merged = [merge_dims(a, b) for a, b in zip(shape, prefix, strict=False)]
    return (*merged, *shape[len(prefix) :])


def from_shape_attr(c: ShapeContext) -> Shape:
    """Returns the shape that attribute ``shape`` states."""
    shape: Shape = c.attr("shape")
    return shape
