"""Computing 16-bit floats in 32 bits, for kernels whose rounding errors would add up."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto.types import dtypes

HALVES = (np.dtype(np.float16), np.dtype(dtypes.bfloat16.as_numpy_dtype))
"""The dtypes whose longer computations are done in float32, as TensorFlow does."""


def widened(array: Any) -> Any:
    """A float16 or bfloat16 array as float32; any other array as it is."""
    return array.astype(np.float32) if array.dtype in HALVES else array
