"""Ops that call Python: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.shapes import Shape


def _unknown_shapes(c: ShapeContext) -> list[Shape]:
    return [None] * len(c.attr("Tout"))


for _name, _stateful in (("PyFunc", True), ("PyFuncStateless", False)):
    op(
        _name,
        "input: [Tin] -> output: [Tout]",
        token=attr("string"),
        Tin=attr("list(type)", minimum=0),
        Tout=attr("list(type)", minimum=0),
        stateful=_stateful,
        host_only=True,
        differentiable=False,
        shape=_unknown_shapes,
    )
