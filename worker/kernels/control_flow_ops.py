"""Kernels of ops that order others, check them, or run them under a condition."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support.value_text import summarize_value

Array = np.ndarray[Any, Any]


@kernel("NoOp", "ControlTrigger")
def no_op(xp: Any) -> None:
    """Does nothing; its control inputs and outputs order other ops."""


@kernel("Assert")
def assert_(xp: Any, condition: Array, data: list[Array], *, summarize: int) -> None:
    """Raises InvalidArgumentError with parts of ``data`` if ``condition``, a scalar, is False."""
    if condition.shape:
        raise errors.invalid_argument(f"In[0] should be a scalar: {format_shape(condition.shape)}")
    if not condition:
        text = " ".join(f"[{summarize_value(np.asarray(d), summarize)}]" for d in data)
        raise errors.invalid_argument(f"assertion failed: {text}")


@kernel("Switch", "RefSwitch")
def switch(xp: Any, data: Any, pred: Any) -> tuple[Any, Any]:
    """Returns (data, dead) or (dead, data) as ``pred`` is False or True.

    In a trace, where the predicate has no value yet, both outputs are live, and the segment selects
    between the branches at the Merge.
    """
    if pred.shape:
        raise errors.invalid_argument(
            f"The second input must be a scalar, but it has shape {format_shape(pred.shape)}"
        )
    if not isinstance(pred, np.ndarray | np.generic):
        return data, data
    return (DEAD, data) if pred else (data, DEAD)


@kernel("Merge", "RefMerge")
def merge(xp: Any, inputs: list[Any]) -> tuple[Any, Any]:
    """Returns the first live input and its index (int32).

    In a trace that does not know which input is live, the segment selects the value instead of
    calling this.
    """
    for index, value in enumerate(inputs):
        if value is not DEAD:
            return value, np.int32(index)
    return DEAD, DEAD
