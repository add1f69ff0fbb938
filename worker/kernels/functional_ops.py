"""Ops that call functions: kernels."""

from __future__ import annotations

from typing import Any

from flowray.worker.function import Function
from flowray.worker.kernels.registry import kernel


@kernel("PartitionedCall", "StatefulPartitionedCall")
def partitioned_call(xp: Any, args: list[Any], *, f: Function) -> list[Any]:
    return f(*args)
