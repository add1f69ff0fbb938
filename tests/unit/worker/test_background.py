"""Elements made in advance: who gets how many of them, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from flowray.proto import errors
from flowray.worker.data import background
from flowray.worker.data.background import BackgroundIterator
from flowray.worker.data.dataset import Element
from flowray.worker.data.sources import RangeIterator


def numbers(elements: Sequence[Element]) -> list[int]:
    return [int(element[0]) for element in elements]


def iterator(count: int, make: Any, at_once: int, **options: Any) -> BackgroundIterator:
    source = RangeIterator(0, count, 1, np.int64)
    return BackgroundIterator(source, make, lambda: at_once, **options)


@pytest.mark.parametrize("in_order", [True, False])
def test_several_at_once_are_all_there_are(in_order: bool) -> None:
    made = iterator(100, lambda x: x, 8, threads=2, capacity=2, in_order=in_order)
    got: list[int] = []
    while elements := made.get_several(30):
        assert len(elements) <= 30
        got += numbers(elements)
    assert (got if in_order else sorted(got)) == list(range(100))
    assert made.get_several(30) == []
    assert made.get_next() is None


def test_an_error_comes_in_its_place_and_alone() -> None:
    def make(elements: Sequence[Element]) -> list[Any]:
        return [errors.invalid_argument("3") if e[0] == 3 else e for e in elements]

    made = iterator(6, make, 6, capacity=1)
    assert numbers(made.get_several(10)) == [0, 1, 2]
    with pytest.raises(errors.InvalidArgumentError, match="3"):
        made.get_several(10)
    assert numbers(made.get_several(10)) == [4, 5]
    assert made.get_several(10) == []


def test_the_function_says_where_the_end_is() -> None:
    made = iterator(6, lambda x: [e if e[0] < 4 else None for e in x], 6, capacity=1)
    assert numbers(made.get_several(10)) == [0, 1, 2, 3]
    assert made.get_several(10) == []


def test_groups_are_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that may read several elements at once waits until all of them may be in work."""
    monkeypatch.setattr(background, "_READ_SECONDS", 60)
    groups: list[int] = []

    def make(elements: Sequence[Element]) -> Sequence[Element]:
        groups.append(len(elements))
        return elements

    made = iterator(64, make, 8, capacity=2)
    assert [int(element[0]) for element in iter(made.get_next, None)] == list(range(64))
    assert groups == [8] * 8
