"""Elements packed for the way between processes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from flowray.proto import errors
from flowray.worker.data.batching import Spares
from flowray.worker.data.columns import Columns, packed, unpacked


def text(value: bytes) -> Any:
    return np.array(value, object)


ALIKE: list[list[list[Any]]] = [
    [[np.full((2, 3), i, np.float32), np.array(i, np.int64)] for i in range(4)],
    [[text(b"a"), np.array([b"b", b"c"], object)], [text(b"dd"), np.array([b"", b"e"], object)]],
    [[np.float32(1.5)], [np.float32(2.5)]],
    [[np.zeros((0, 2))], [np.zeros((0, 2))]],
    [[], [], []],
]
DIFFERENT: list[list[Any]] = [
    [],
    [[np.arange(3)]],
    [[np.zeros((2, 3))], [np.zeros((3, 2))]],
    [[np.arange(3)], errors.invalid_argument("no"), [np.arange(3)]],
]


@pytest.mark.parametrize("elements", ALIKE)
def test_alike_elements_travel_as_columns(elements: list[list[Any]]) -> None:
    message = packed(elements, Spares())
    assert isinstance(message, Columns)
    check(unpacked(pickle.loads(pickle.dumps(message))), elements)


@pytest.mark.parametrize("elements", DIFFERENT)
def test_all_others_travel_as_they_are(elements: list[Any]) -> None:
    message = packed(elements, Spares())
    assert message is elements
    check(unpacked(message), elements)


def check(results: Any, elements: list[Any]) -> None:
    assert len(results) == len(elements)
    for result, element in zip(results, elements, strict=True):
        if isinstance(element, errors.OpError):
            assert result is element
            continue
        for got, expected in zip(result, element, strict=True):
            assert isinstance(got, np.ndarray)
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(got, expected)
