"""Ops that call functions of the graph's library."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.shapes import Shape

_TYPES = attr("list(type)", minimum=0)


_SHAPES = attr("list(shape)", [])


def _stated(context: ShapeContext, types: str) -> list[Shape]:
    count = len(context.attr(types))
    shapes: list[Shape] = context.attr("output_shapes")
    return shapes if len(shapes) == count else [None] * count


def _branch_shapes(context: ShapeContext) -> list[Shape]:
    return _stated(context, "Tout")


def _loop_shapes(context: ShapeContext) -> list[Shape]:
    return _stated(context, "T")


def _called_shapes(context: ShapeContext) -> list[Shape]:
    """Returns unknown shapes. The client knows the function and sets the shapes of its results."""
    return [None] * len(context.attr("Tout"))


for _name, _stateful in (("PartitionedCall", False), ("StatefulPartitionedCall", True)):
    op(
        _name,
        "args: [Tin] -> output: [Tout]",
        Tin=_TYPES,
        Tout=_TYPES,
        f=attr("func"),
        config="",
        config_proto="",
        executor_type="",
        stateful=_stateful,
        multi_device=True,
        expensive=True,
        shape=_called_shapes,
        hints=("Tout", "config", "config_proto", "executor_type"),
    )

for _prefix, _stateful in (("Stateless", False), ("", True)):
    op(
        f"{_prefix}If",
        "cond: Tcond, input: [Tin] -> output: [Tout]",
        Tin=_TYPES,
        Tout=_TYPES,
        then_branch=attr("func"),
        else_branch=attr("func"),
        output_shapes=_SHAPES,
        stateful=_stateful,
        shape=_branch_shapes,
        hints=("Tout", "output_shapes"),
    )
    op(
        f"{_prefix}Case",
        "branch_index: int32, input: [Tin] -> output: [Tout]",
        Tin=_TYPES,
        Tout=_TYPES,
        branches=attr("list(func)", minimum=1),
        output_shapes=_SHAPES,
        stateful=_stateful,
        shape=_branch_shapes,
        hints=("Tout", "output_shapes"),
    )
    op(
        f"{_prefix}While",
        "input: [T] -> output: [T]",
        T=_TYPES,
        cond=attr("func"),
        body=attr("func"),
        output_shapes=_SHAPES,
        parallel_iterations=10,
        stateful=_stateful,
        expensive=True,
        shape=_loop_shapes,
        hints=("output_shapes", "parallel_iterations"),
    )
