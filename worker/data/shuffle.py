"""Iterators over shuffled datasets and over random values."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np

from flowray.worker.data.dataset import Dataset, DatasetIterator, Element, save
from flowray.worker.execution.interpreter import current_cancellation


class Seeds:
    """The source of a seed for each iteration over a random dataset.

    Args:
        seed, seed2: the attributes of the op; two zeros mean a random seed.
        fresh: whether every iteration gets another one.
    """

    __slots__ = ("_fixed", "_random")

    def __init__(self, seed: int, seed2: int, fresh: bool) -> None:
        self._random = random.Random(None if seed == seed2 == 0 else f"{seed},{seed2}")
        self._fixed = None if fresh else self._random.getrandbits(64)

    def next(self) -> int:
        """Returns the seed of the next iteration."""
        return self._random.getrandbits(64) if self._fixed is None else self._fixed


class ShuffleIterator(DatasetIterator):
    """Repeats a dataset ``count`` times (for ever if negative), shuffled each time.

    Elements are drawn from a buffer of ``size``, which fills up with those of the next repetition
    while it empties. All elements of a repetition come before the first one of the next.
    """

    __slots__ = (
        "_count", "_current", "_dataset", "_epochs", "_held", "_is_fresh", "_random", "_size",
        "_started",
    )  # fmt: skip

    _saved = ("_count", "_held", "_is_fresh", "_started")

    def __init__(self, dataset: Dataset, size: int, seed: int, count: int = 1) -> None:
        self._dataset = dataset
        self._size = size
        self._count = count
        self._random = random.Random(seed)
        self._current: DatasetIterator | None = None
        self._started = 0
        self._is_fresh = True
        """True until the repetition that is read gives an element."""
        self._epochs: deque[list[Element]] = deque()
        """The elements in the buffer, by repetition; the last repetition is still read."""
        self._held = 0

    def get_next(self) -> Element | None:
        self._fill()
        epochs = self._epochs
        while epochs and not epochs[0]:
            epochs.popleft()
        if not epochs:
            return None
        buffer = epochs[0]
        index = int(self._random.random() * len(buffer))
        element, last = buffer[index], buffer.pop()
        if index < len(buffer):
            buffer[index] = last
        self._held -= 1
        return element

    def _fill(self) -> None:
        cancellation = current_cancellation() if self._held < self._size - 1 else None
        while self._held < self._size:
            if self._current is None:
                if self._started == self._count:
                    return
                self._current = self._dataset.iterator()
                self._started += 1
                self._is_fresh = True
                self._epochs.append([])
            element = self._current.get_next()
            if element is not None:
                self._is_fresh = False
                self._epochs[-1].append(element)
                self._held += 1
            else:
                self._current.close()
                self._current = None
                if self._is_fresh and self._count < 0:
                    self._count = self._started  # an empty dataset: every repetition would be
            if cancellation is not None:  # not if only one element was missing
                cancellation.check()

    def save(self) -> Any:
        state = super().save()
        state["epochs"] = [list(epoch) for epoch in self._epochs]
        state["random"] = self._random.getstate()
        state["current"] = save(self._current)
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        self._epochs = deque(list(epoch) for epoch in state["epochs"])
        self._random.setstate(state["random"])
        if state["current"] is not None:
            self._current = self._dataset.iterator()
            self._current.restore(state["current"])

    def close(self) -> None:
        if self._current is not None:
            self._current.close()


class RandomIterator(DatasetIterator):
    """Gives random int64 scalars below 2**32, without end."""

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def get_next(self) -> Element:
        return (np.array(self._random.getrandbits(32), np.int64),)

    def save(self) -> Any:
        return self._random.getstate()

    def restore(self, state: Any) -> None:
        self._random.setstate(state)
