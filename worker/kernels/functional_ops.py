"""Kernels of ops that call functions.

In a trace they become ``lax.switch`` and ``lax.while_loop``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.worker.execution import structured
from flowray.worker.kernel_registry import kernel
from flowray.worker.program.function import Function


@kernel("PartitionedCall", "StatefulPartitionedCall")
def partitioned_call(xp: Any, args: list[Any], *, f: Function) -> list[Any]:
    """Calls ``f``; the body runs as its caller does, interpreted or traced."""
    return f(*args)


@kernel("If", "StatelessIf")
def if_(
    xp: Any, cond: Any, inputs: list[Any], *, then_branch: Function, else_branch: Function
) -> list[Any]:
    """Calls ``then_branch`` or ``else_branch``; only the taken branch runs if ``cond`` is known."""
    if _is_known(cond):
        return (then_branch if _truth(cond) else else_branch)(*inputs)
    taken = xp.logical_not(_truth(cond)).astype(np.int32)
    return structured.choose(taken, [then_branch, else_branch], inputs)


@kernel("Case", "StatelessCase")
def case(xp: Any, branch_index: Any, inputs: list[Any], *, branches: list[Function]) -> list[Any]:
    """Calls the branch ``branch_index``; the last one for every index out of range."""
    if _is_known(branch_index):
        index = int(branch_index)
        return branches[index if 0 <= index < len(branches) else -1](*inputs)
    known = (branch_index >= 0) & (branch_index < len(branches))
    return structured.choose(xp.where(known, branch_index, len(branches) - 1), branches, inputs)


@kernel("While", "StatelessWhile")
def while_(xp: Any, inputs: list[Any], *, cond: Function, body: Function) -> list[Any]:
    """Calls ``body`` as long as ``cond`` holds, and returns the last values.

    In a trace the loop runs while XLA compiles if all values are known, and becomes a
    ``lax.while_loop`` otherwise.
    """
    if xp is not np and not all(map(_is_known, inputs)):
        return structured.while_loop(cond, body, inputs)
    values = inputs
    while True:
        (holds,) = cond(*values)
        if not _is_known(holds):  # the condition depends on a variable that is being traced
            return structured.while_loop(cond, body, inputs)
        if not _truth(holds):
            return values
        values = body(*values)


_KNOWN = (np.ndarray, np.generic)  # a tuple: isinstance is quicker with it than with a union


def _is_known(value: Any) -> bool:
    return isinstance(value, _KNOWN)


def _truth(value: Any) -> Any:
    """Converts a condition as TensorFlow does: a scalar by its value, an array by its size."""
    if value.shape:
        return np.bool_(value.size > 0)
    if value.dtype == object:
        return np.bool_(len(value[()]) > 0)
    return value != 0
