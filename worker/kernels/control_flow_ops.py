"""Ops that only order or check others: kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.shapes import format_shape
from flowray.worker.kernels.registry import kernel
from flowray.worker.kernels.value_text import summarize_value

Array = np.ndarray[Any, Any]


@kernel("NoOp", "ControlTrigger")
def no_op(xp: Any) -> None:
    return None


@kernel("Assert")
def assert_(xp: Any, condition: Array, data: list[Array], *, summarize: int) -> None:
    if condition.shape:
        raise errors.invalid_argument(f"In[0] should be a scalar: {format_shape(condition.shape)}")
    if not condition:
        text = " ".join(f"[{summarize_value(np.asarray(d), summarize)}]" for d in data)
        raise errors.invalid_argument(f"assertion failed: {text}")
