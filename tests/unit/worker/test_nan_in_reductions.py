"""Maxima and minima of arrays with NaNs: programs of XLA give NaN, as numpy and TensorFlow do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flowray.proto.types import dtypes
from flowray.worker import kernel_registry, kernels  # noqa: F401 - registers the kernels
from flowray.worker.execution import xla

POOL = {"padding": b"VALID", "explicit_paddings": [], "data_format": b"NHWC"}


def with_nan(*shape: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """Large enough for the library that XLA gives reductions to; the NaNs are few."""
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    x.reshape(-1)[1234] = np.nan
    return x


def check(op: str, x: np.ndarray[Any, Any], *static: Any, **attrs: Any) -> None:
    """Compares the kernel on numpy with the program that XLA makes of it."""
    function = kernel_registry.lookup(op).function
    expected = function(np, x, *static, **attrs)
    assert np.isnan(expected).any()
    program = xla.jax().jit(lambda x: function(xla.numpy(), x, *static, **attrs)).lower(x)
    actual = program.compile(compiler_options=xla.compiler_options())(x)
    np.testing.assert_array_equal(np.asarray(actual), expected)


@pytest.mark.parametrize("axes", [[0], [1], [0, 1], [2], [0, 2], [0, 1, 2]])
@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, dtypes.bfloat16])
def test_reductions(op: str, axes: list[int], dtype: Any) -> None:
    numpy_dtype = dtype.as_numpy_dtype if dtype is dtypes.bfloat16 else dtype
    x = with_nan(50, 200, 60, dtype=numpy_dtype)
    check(op, x, np.array(axes, np.int32), keep_dims=False)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), (7, 7), (8, 8), (7, 2)])
def test_max_pools(size: int, stride: int) -> None:
    x = with_nan(8, 56, 56, 32)
    check("MaxPool", x, ksize=[1, size, size, 1], strides=[1, stride, stride, 1], **POOL)


def test_max_pool_over_channels() -> None:
    check("MaxPool", with_nan(8, 56, 56, 32), ksize=[1, 1, 1, 4], strides=[1, 1, 1, 4], **POOL)
