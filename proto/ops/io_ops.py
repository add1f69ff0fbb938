"""Whole files: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import no_outputs
from flowray.proto.ops.op_registry import ShapeContext, op
from flowray.proto.types.shapes import Shape, with_rank, with_rank_at_most


def _read_shape(c: ShapeContext) -> Shape:
    return with_rank(c.inputs[0], 0)


# Not stateful, as in TensorFlow: two equal nodes may read a file once.
op("ReadFile", "filename: string -> contents: string", host_only=True, shape=_read_shape)


def _write_shape(c: ShapeContext) -> list[Shape]:
    for shape in c.inputs:
        with_rank(shape, 0)
    return no_outputs(c)


op(
    "WriteFile",
    "filename: string, contents: string ->",
    stateful=True,
    host_only=True,
    shape=_write_shape,
)


def _matching_shape(c: ShapeContext) -> Shape:
    with_rank_at_most(c.inputs[0], 1)
    return (None,)


op(
    "MatchingFiles",
    "pattern: string -> filenames: string",
    host_only=True,
    shape=_matching_shape,
)
