"""Arrays and windows for the tests of convolutions and pools."""

from typing import Any

import numpy as np

ARRAY = np.ndarray[Any, Any]


def numbers(*shape: int, seed: int = 0) -> ARRAY:
    """Small integers, so that sums are exact and maxima have ties."""
    return np.random.RandomState(seed).randint(-4, 5, shape).astype(np.float32)


def places(size: int, extent: int, stride: int, padding: Any, dilation: int = 1) -> list[list[int]]:
    """The elements of each window of one dimension; those outside ``range(size)`` are padding."""
    effective = (extent - 1) * dilation + 1
    if padding == "SAME":
        count = -(-size // stride)
        before = max((count - 1) * stride + effective - size, 0) // 2
    else:
        before, after = (0, 0) if padding == "VALID" else padding
        count = (size + before + after - effective) // stride + 1
    return [
        [i * stride - before + k * dilation for k in range(extent)] for i in range(max(count, 0))
    ]


def to_first(x: ARRAY) -> ARRAY:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def four(pair: Any, first: bool = False) -> list[int]:
    return [1, 1, *pair] if first else [1, *pair, 1]
