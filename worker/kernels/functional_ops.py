"""Ops that call functions: kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.worker.execution import structured
from flowray.worker.kernel_registry import kernel
from flowray.worker.program.function import Function


@kernel("PartitionedCall", "StatefulPartitionedCall")
def partitioned_call(xp: Any, args: list[Any], *, f: Function) -> list[Any]:
    return f(*args)


@kernel("If", "StatelessIf")
def if_(
    xp: Any, cond: Any, inputs: list[Any], *, then_branch: Function, else_branch: Function
) -> list[Any]:
    if _is_known(cond):
        return (then_branch if _truth(cond) else else_branch)(*inputs)
    taken = xp.logical_not(_truth(cond)).astype(np.int32)
    return structured.choose(taken, [then_branch, else_branch], inputs)


@kernel("Case", "StatelessCase")
def case(xp: Any, branch_index: Any, inputs: list[Any], *, branches: list[Function]) -> list[Any]:
    """The last branch stands for every index that there is none for."""
    if _is_known(branch_index):
        index = int(branch_index)
        return branches[index if 0 <= index < len(branches) else -1](*inputs)
    known = (branch_index >= 0) & (branch_index < len(branches))
    return structured.choose(xp.where(known, branch_index, len(branches) - 1), branches, inputs)


@kernel("While", "StatelessWhile")
def while_(xp: Any, inputs: list[Any], *, cond: Function, body: Function) -> list[Any]:
    if xp is not np and not all(map(_is_known, inputs)):
        return structured.while_loop(cond, body, inputs)
    values = inputs
    while True:
        (holds,) = cond(*values)
        if not _is_known(holds):  # it depends on a variable that is being traced
            return structured.while_loop(cond, body, inputs)
        if not _truth(holds):
            return values
        values = body(*values)


_KNOWN = (np.ndarray, np.generic)  # a tuple: this is looked at in every call of every condition


def _is_known(value: Any) -> bool:
    return isinstance(value, _KNOWN)


def _truth(value: Any) -> Any:
    """As TensorFlow takes it: a scalar by its value, all else by whether it has elements."""
    if value.shape:
        return np.bool_(value.size > 0)
    if value.dtype == object:
        return np.bool_(len(value[()]) > 0)
    return value != 0
