"""Iterators over datasets that a function returns for each element."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from flowray.proto import errors
from flowray.worker.data.background import BackgroundIterator
from flowray.worker.data.dataset import DatasetIterator, Derived, Element, dataset_of
from flowray.worker.data.elementwise import ElementFunction
from flowray.worker.execution.interpreter import current_cancellation


class _Inner:
    """The dataset that the function returned for one element, with its iterator."""

    __slots__ = ("element", "iterator")

    def __init__(self, element: Element, iterator: DatasetIterator) -> None:
        self.element = element
        self.iterator = iterator

    def save(self) -> Any:
        return self.element, self.iterator.save()


Open = Callable[[Element], DatasetIterator]
"""Returns an iterator over the inner dataset of an element."""


def opener(function: ElementFunction, name: str) -> Open:
    """Returns a function that calls ``function`` and iterates over the dataset that it returns."""

    def open_(element: Element) -> DatasetIterator:
        result = function(*element)
        if len(result) != 1:
            raise errors.invalid_argument(f"`f` of {name} must return a single dataset.")
        return dataset_of(result[0]).iterator()

    return open_


def read_ahead(open_: Open, capacity: int) -> Open:
    """Returns ``open_`` with iterators that compute up to ``capacity`` elements in advance."""

    def open_ahead(element: Element) -> DatasetIterator:
        iterator = BackgroundIterator(open_(element), capacity=capacity)
        iterator.start()
        return iterator

    return open_ahead


class FlatMapIterator(Derived):
    """Gives the elements of each inner dataset, one dataset after the other."""

    __slots__ = ("_inner", "_open")

    def __init__(self, source: DatasetIterator, open_: Open) -> None:
        super().__init__(source)
        self._open = open_
        self._inner: _Inner | None = None

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while True:
            if self._inner is None:
                outer = self._pull()
                if outer is None:
                    return None
                self._inner = _Inner(outer, self._open(outer))
            element = self._inner.iterator.get_next()
            if element is not None:
                return element
            self._inner.iterator.close()
            self._inner = None
            cancellation.check()

    def save(self) -> Any:
        state = super().save()
        state["inner"] = None if self._inner is None else self._inner.save()
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        if state["inner"] is not None:
            self._inner = _reopen(self._open, state["inner"])

    def close(self) -> None:
        super().close()
        if self._inner is not None:
            self._inner.iterator.close()


def _reopen(open_: Open, saved: Any) -> _Inner:
    element, state = saved
    inner = _Inner(element, open_(element))
    inner.iterator.restore(state)
    return inner


class InterleaveIterator(Derived):
    """Gives ``block`` elements of each of ``cycle`` inner datasets by turns.

    Args:
        ahead: the number of inner datasets to open before their turn.
    """

    __slots__ = ("_ahead", "_at", "_block", "_given", "_inners", "_open", "_waiting")

    _saved = ("_at", "_given")

    def __init__(
        self,
        source: DatasetIterator,
        open_: Open,
        cycle: int,
        block: int,
        ahead: int = 0,
    ) -> None:
        super().__init__(source)
        self._open = open_
        self._block = block
        self._ahead = ahead
        self._inners: list[_Inner | None] = [None] * cycle
        self._waiting: deque[_Inner] = deque()
        self._at = 0
        self._given = 0
        """The number of elements of the current block that have been given."""

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while True:
            inner = self._inners[self._at]
            if inner is not None:
                element = inner.iterator.get_next()
                if element is not None:
                    self._given += 1
                    if self._given == self._block:
                        self._advance()
                    return element
                inner.iterator.close()
                self._inners[self._at] = None
                self._advance()
            elif not self._fill():
                if all(i is None for i in self._inners):
                    return None
                self._advance()
            cancellation.check()

    def _advance(self) -> None:
        self._at = (self._at + 1) % len(self._inners)
        self._given = 0

    def _fill(self) -> bool:
        """Puts the next inner dataset, if there is one, at the place whose turn it is."""
        waiting = self._waiting
        while len(waiting) <= self._ahead and (outer := self._pull()) is not None:
            waiting.append(_Inner(outer, self._open(outer)))
        if not waiting:
            return False
        self._inners[self._at] = waiting.popleft()
        return True

    def save(self) -> Any:
        state = super().save()
        state["inners"] = [None if i is None else i.save() for i in self._inners]
        state["waiting"] = [i.save() for i in self._waiting]
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        self._inners = [None if i is None else _reopen(self._open, i) for i in state["inners"]]
        self._waiting = deque(_reopen(self._open, i) for i in state["waiting"])

    def close(self) -> None:
        super().close()
        for inner in (*self._inners, *self._waiting):
            if inner is not None:
                inner.iterator.close()
