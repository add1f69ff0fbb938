"""Shape functions that several families share."""

from __future__ import annotations

from flowray.proto.op_registry import ShapeContext
from flowray.proto.shapes import Shape, broadcast, merge


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
    shape = c.inputs[0]
    for other in c.inputs[1:]:
        shape = merge(shape, other)
    return shape


def from_shape_attr(c: ShapeContext) -> Shape:
    """The shape that attribute ``shape`` states."""
    shape: Shape = c.attr("shape")
    return shape
