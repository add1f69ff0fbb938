"""Ops that order and check others, or let them run under a condition."""

from __future__ import annotations

from typing import Any

from flowray.proto.ops.common_shapes import no_outputs, unchanged
from flowray.proto.ops.op_registry import OpKind, ShapeContext, attr, op
from flowray.proto.types.shapes import Shape, most_specific_compatible, with_rank

op("NoOp", "->", shape=no_outputs)
op("ControlTrigger", "->", kind=OpKind.CONTROL_TRIGGER, shape=no_outputs)
op(
    "Assert",
    "condition: bool, data: [T] ->",
    T=attr("list(type)", minimum=1),
    summarize=3,
    stateful=True,
    host_only=True,
    shape=no_outputs,
)


def _switch_shapes(c: ShapeContext) -> list[Shape]:
    if c.inputs[1] not in (None, ()):
        raise ValueError("Shape must be rank 0 but is rank " + str(len(c.inputs[1])))
    return [c.inputs[0], c.inputs[0]]


def _merge_shapes(c: ShapeContext) -> list[Shape]:
    shape = c.inputs[0]
    for other in c.inputs[1:]:
        shape = most_specific_compatible(shape, other)
    return [shape, ()]


# ``flowray.proto.graph.deadness`` says what they mean for the nodes around them.
op(
    "Switch",
    "data: T, pred: bool -> output_false: T, output_true: T",
    kind=OpKind.SWITCH,
    forwards_resource=True,
    shape=_switch_shapes,
)
op(
    "RefSwitch",
    "data: Ref(T), pred: bool -> output_false: Ref(T), output_true: Ref(T)",
    reads_only=True,
    allows_uninitialized_input=True,
    kind=OpKind.SWITCH,
    forwards_resource=True,
    shape=_switch_shapes,
)
op("Merge", "inputs: N*T -> output: T, value_index: int32", kind=OpKind.MERGE, shape=_merge_shapes)
op(
    "RefMerge",
    "inputs: Ref(N*T) -> output: Ref(T), value_index: int32",
    reads_only=True,
    kind=OpKind.MERGE,
    shape=_merge_shapes,
)


def _loop_condition_shape(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 0)
    return ()


# The frames of loops; ``flowray.master.passes.loops`` makes functions of them.
_FRAME: dict[str, Any] = {
    "frame_name": attr("string"),
    "is_constant": False,
    "parallel_iterations": 10,
}
op(
    "Enter",
    "data: T -> output: T",
    **_FRAME,
    kind=OpKind.ENTER,
    forwards_resource=True,
    shape=unchanged,
)
op(
    "RefEnter",
    "data: Ref(T) -> output: Ref(T)",
    **_FRAME,
    reads_only=True,
    kind=OpKind.ENTER,
    forwards_resource=True,
    shape=unchanged,
)
for _name, _kind in (("Exit", OpKind.EXIT), ("NextIteration", OpKind.NEXT_ITERATION)):
    op(_name, "data: T -> output: T", kind=_kind, forwards_resource=True, shape=unchanged)
    op(
        f"Ref{_name}",
        "data: Ref(T) -> output: Ref(T)",
        reads_only=True,
        kind=_kind,
        forwards_resource=True,
        shape=unchanged,
    )
op("LoopCond", "input: bool -> output: bool", kind=OpKind.LOOP_COND, shape=_loop_condition_shape)
