"""Ops that call functions of the graph's library."""

from __future__ import annotations

from flowray.proto.op_registry import ShapeContext, attr, op
from flowray.proto.shapes import Shape

_TYPES = attr("list(type)", minimum=0)


def _called_shapes(context: ShapeContext) -> list[Shape]:
    """Who makes the node knows the function, and sets what its results' shapes are."""
    return [None] * len(context.attr("Tout"))


for _name, _stateful in (("PartitionedCall", False), ("StatefulPartitionedCall", True)):
    op(
        _name, "args: [Tin] -> output: [Tout]", Tin=_TYPES, Tout=_TYPES, f=attr("func"), config="",
        config_proto="", executor_type="", stateful=_stateful, shape=_called_shapes,
        hints=("Tout", "config", "config_proto", "executor_type"),
    )  # fmt: skip
