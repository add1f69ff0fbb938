"""Calls of functions as ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.function import TracedFunction
from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import make_op


def call(
    function: TracedFunction, arguments: Sequence[Any], name: str | None = None
) -> list[Tensor]:
    """Calls ``function`` with ``arguments`` and its captures, and returns its results."""
    op = make_op(
        "StatefulPartitionedCall" if function.is_stateful else "PartitionedCall",
        [*arguments, *function.captures],
        Tin=function.input_types,
        Tout=function.output_types,
        f=function,
        name=name,
    )
    for result, inner in zip(op._outputs, function.outputs, strict=True):
        result.set_shape(inner.get_shape())
    return op.outputs
