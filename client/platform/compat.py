"""``tf.compat``: text and bytes."""

from __future__ import annotations

import numbers
import os
from typing import Any

import numpy as np

from flowray.client.tf_export import tf_export

bytes_or_text_types = tf_export("compat.bytes_or_text_types")((bytes, str))
complex_types = tf_export("compat.complex_types")((numbers.Complex, np.number))
integral_types = tf_export("compat.integral_types")((numbers.Integral, np.integer))
real_types = tf_export("compat.real_types")((numbers.Real, np.integer, np.floating))


@tf_export("compat.as_bytes")
def as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """Encodes text and returns bytes as they are. TypeError for anything else."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, bytes | bytearray):
        return bytes(bytes_or_text)
    raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


@tf_export("compat.as_str", "compat.as_text")
def as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """Decodes bytes and returns text as it is. TypeError for anything else."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


as_str = as_text


@tf_export("compat.as_str_any")
def as_str_any(value: Any) -> str:
    """Returns ``str(value)``, but decodes bytes."""
    return as_str(value) if isinstance(value, bytes) else str(value)


@tf_export("compat.path_to_str")
def path_to_str(path: Any) -> Any:
    """Returns the text of a path object; anything else as it is."""
    return os.fspath(path) if hasattr(path, "__fspath__") else path


@tf_export("compat.forward_compatible")
def forward_compatible(year: int, month: int, day: int) -> bool:
    """Returns True: every server knows the ops that TensorFlow had by that day."""
    return True
