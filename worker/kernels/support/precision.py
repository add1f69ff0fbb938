"""Computing 16-bit floats in 32 bits, for kernels whose rounding errors would add up."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_half(dtype: np.dtype[Any]) -> bool:
    """Returns True for float16 and bfloat16, whose longer computations are done in float32.

    numpy's dtypes are told apart by their characters, so that no bfloat16 has to be loaded.
    """
    return dtype.itemsize == 2 and dtype.char in "eE"


def widened(array: Any) -> Any:
    """Returns a float16 or bfloat16 array as float32, and any other array as it is."""
    return array.astype(np.float32) if is_half(array.dtype) else array
