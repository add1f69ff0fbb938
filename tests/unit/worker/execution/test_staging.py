"""Arrays that XLA cannot read in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flowray.proto.types import dtypes
from flowray.worker.execution.staging import StagingBuffers


def array_at(offset: int, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Random values whose address is ``offset`` bytes above a multiple of 64."""
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    memory = np.empty(values.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    result = memory[start : start + values.nbytes].view(values.dtype).reshape(shape)
    result[...] = values
    return result


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, dtypes.bfloat16])
def test_an_array_at_another_address_is_copied(dtype: Any) -> None:
    numpy_dtype = dtype.as_numpy_dtype if dtype is dtypes.bfloat16 else dtype
    value = array_at(16, (300, 200), numpy_dtype)
    arguments = [value]
    buffers = StagingBuffers().stage(arguments)
    assert len(buffers) == 1
    assert arguments[0] is not value
    assert arguments[0].ctypes.data % 64 == 0
    assert arguments[0].dtype == value.dtype
    np.testing.assert_array_equal(arguments[0], value)


def test_a_transposed_array_keeps_its_shape() -> None:
    value = array_at(16, (300, 200)).T
    arguments = [value]
    StagingBuffers().stage(arguments)
    np.testing.assert_array_equal(arguments[0], value)


@pytest.mark.parametrize(
    "value",
    [array_at(0, (300, 200)), array_at(16, (10, 10)), "a string"],
    ids=["aligned", "small", "another object"],
)
def test_others_are_left_as_they_are(value: Any) -> None:
    arguments = [value]
    assert StagingBuffers().stage(arguments) == []
    assert arguments[0] is value


def test_a_buffer_is_used_again_only_when_it_is_released() -> None:
    staging = StagingBuffers()
    value = array_at(16, (300, 200))
    first = staging.stage([value])
    second = staging.stage([value])
    assert first[0] is not second[0]
    staging.release(first)
    assert staging.stage([value])[0] is first[0]
