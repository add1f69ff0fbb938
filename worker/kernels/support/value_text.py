"""Values as text in TensorFlow's two styles: that of Print and Assert, and that of tf.print."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def summarize_value(value: Array, limit: int) -> str:
    """Formats the first ``limit`` elements (all if negative) as Print and Assert do.

    Dimensions after the first are in brackets, and "..." stands for elements left out.
    """
    count = value.size if limit < 0 else min(limit, value.size)
    more = "..." if count < value.size else ""
    shown = [_element_text(v) for v in value.reshape(-1)[:count]]
    if value.ndim <= 1:
        return " ".join(shown) + more
    return _nested(shown, value.shape[1:], value.size) + more


def _nested(shown: list[str], inner: tuple[int, ...], size: int) -> str:
    """Formats ``shown`` in groups of the shape ``inner``, as far as the elements go."""
    length = int(np.prod(inner, dtype=np.int64))
    groups = []
    for start in range(0, len(shown), max(length, 1)):
        part = shown[start : start + length]
        if len(inner) > 1:
            groups.append(f"[{_nested(part, inner[1:], length)}]")
        else:
            groups.append(f"[{' '.join(part)}{'...' if len(part) < length else ''}]")
    return "".join(groups)


def summarize_nested(value: Array, limit: int) -> bytes:
    """Formats a value as tf.print does: all dimensions in brackets.

    Of each dimension the first and last ``limit`` elements are shown (all if negative). Strings are
    quoted; their bytes above ASCII stay as they are.
    """
    edge = value.size if limit < 0 else min(limit, value.size)
    return _dimension(value if value.ndim else value[()], 0, edge).encode("latin-1")


def _dimension(value: Any, depth: int, edge: int) -> str:
    """Formats a part of the tensor, ``depth`` dimensions inside it; one character for each byte."""
    if isinstance(value, bytes):
        return f'"{_escaped(value, keep_high=True)}"'
    if not isinstance(value, np.ndarray):
        return _element_text(value)
    inside = value.ndim - 1
    gap = "\n" * inside + " " * (depth + 1) if inside else " "
    parts = [_dimension(item, depth + 1, edge) for item in value[:edge]]
    text = gap.join(parts)
    if len(value) > 2 * edge:
        text += f"{gap}..."
    for item in value[max(edge, len(value) - edge) :]:
        text += gap + _dimension(item, depth + 1, edge)
    return f"[{text}]"


_ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("'"): "\\'",
            ord("\\"): "\\\\"}  # fmt: skip


def _element_text(value: Any) -> str:
    if isinstance(value, bytes):
        return _escaped(value, keep_high=False)
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, np.integer):
        return str(value)
    if isinstance(value, np.complexfloating):
        return f"({value.real:g},{value.imag:g})"
    if isinstance(value, np.float64):
        return _shortest(value, 15)
    return _shortest(value, 6)


def _escaped(value: bytes, keep_high: bool) -> str:
    """Replaces bytes that are not printable ASCII by C escapes; bytes above ASCII may stay."""
    return "".join(
        _ESCAPES.get(b) or (chr(b) if 32 <= b < 127 or (keep_high and b > 127) else f"\\{b:03o}")
        for b in value
    )


def _shortest(value: Any, digits: int) -> str:
    """Formats as C's %g with at least ``digits`` digits, more if it takes more to read it back."""
    if np.isnan(value) or np.isinf(value):
        return str(float(value))
    short = f"{float(value):.{digits}g}"
    if type(value)(short) == value:
        return short
    return f"{float(value):.{digits + (2 if digits == 15 else 3)}g}"
