"""Ops that only order or check others: kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.shapes import format_shape
from flowray.worker.kernels.registry import kernel

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


def summarize_value(value: Array, limit: int) -> str:
    """The first ``limit`` elements (all if negative), with inner dimensions in brackets."""
    count = value.size if limit < 0 else min(limit, value.size)
    more = "..." if count < value.size else ""
    shown = [_element_text(v) for v in value.reshape(-1)[:count]]
    if value.ndim <= 1:
        return " ".join(shown) + more
    return _nested(shown, value.shape[1:], value.size) + more


def _nested(shown: list[str], inner: tuple[int, ...], size: int) -> str:
    """``shown`` in groups of the shape ``inner``, as far as it goes."""
    length = int(np.prod(inner, dtype=np.int64))
    groups = []
    for start in range(0, len(shown), max(length, 1)):
        part = shown[start : start + length]
        if len(inner) > 1:
            groups.append(f"[{_nested(part, inner[1:], length)}]")
        else:
            groups.append(f"[{' '.join(part)}{'...' if len(part) < length else ''}]")
    return "".join(groups)


_ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("'"): "\\'",
            ord("\\"): "\\\\"}  # fmt: skip


def _element_text(value: Any) -> str:
    if isinstance(value, bytes):
        return "".join(
            _ESCAPES.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in value
        )
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, np.integer):
        return str(value)
    if isinstance(value, np.complexfloating):
        return f"({value.real:g},{value.imag:g})"
    if isinstance(value, np.float64):
        return _shortest(value, 15)
    return _shortest(value, 6)


def _shortest(value: Any, digits: int) -> str:
    """C's %g with as few digits as give the value back, at least ``digits``."""
    if np.isnan(value) or np.isinf(value):
        return str(float(value))
    short = f"{float(value):.{digits}g}"
    if type(value)(short) == value:
        return short
    return f"{float(value):.{digits + (2 if digits == 15 else 3)}g}"
