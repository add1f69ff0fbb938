"""Ops that only order or check others. (Switch, Merge and loops are a pass of the master.)"""

from __future__ import annotations

from flowray.proto.op_registry import attr, op
from flowray.proto.ops.common_shapes import no_outputs

op("NoOp", "->", shape=no_outputs)
op("ControlTrigger", "->", shape=no_outputs)
op(
    "Assert", "condition: bool, data: [T] ->", T=attr("list(type)", minimum=1), summarize=3,
    stateful=True, host_only=True, shape=no_outputs,
)  # fmt: skip
