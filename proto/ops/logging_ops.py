"""Printing values and reading the clock: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import scalar, unchanged
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.shapes import Shape


def print_v2_shape(c: ShapeContext) -> list[Shape]:
    """Checks that the text is a scalar; there are no outputs."""
    text = c.inputs[0]
    if text:
        raise ValueError(f"input must be a scalar, but has rank: {len(text)}")
    return []


def string_format_shape(c: ShapeContext) -> Shape:
    """Returns a scalar; ValueError if the template has not a placeholder for each input."""
    placeholders = c.attr("template").count(c.attr("placeholder"))
    if placeholders != len(c.inputs):
        raise ValueError(
            f"num placeholders in template and num inputs must match: {placeholders} vs. "
            f"{len(c.inputs)}"
        )
    return ()


op(
    "Print",
    "input: T, data: [U] -> output: T",
    U=attr("list(type)", minimum=0),
    message="",
    first_n=-1,
    summarize=3,
    stateful=True,
    host_only=True,
    shape=unchanged,
)
op(
    "PrintV2",
    "input: string ->",
    output_stream="stderr",
    end="\n",
    stateful=True,
    host_only=True,
    shape=print_v2_shape,
)
op(
    "StringFormat",
    "inputs: [T] -> output: string",
    T=attr("list(type)", minimum=0),
    template="%s",
    placeholder="%s",
    summarize=3,
    host_only=True,
    shape=string_format_shape,
)
op("Timestamp", "-> ts: float64", stateful=True, host_only=True, differentiable=False, shape=scalar)
