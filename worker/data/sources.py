"""Iterators over tensors, ranges and generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.worker.data.batching import slice_row
from flowray.worker.data.dataset import DatasetIterator, Element
from flowray.worker.data.elementwise import ElementFunction, as_element
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.program.executor import current, running


class SliceIterator(DatasetIterator):
    """Gives the rows of the components."""

    __slots__ = ("_at", "_components", "_count")

    _saved = ("_at",)

    def __init__(self, components: Element) -> None:
        self._components = components
        self._count = len(components[0])
        self._at = 0

    def get_next(self) -> Element | None:
        at = self._at
        if at >= self._count:
            return None
        self._at = at + 1
        return tuple([slice_row(component, at) for component in self._components])


class RangeIterator(DatasetIterator):
    """Gives the numbers from ``start`` to before ``stop``, as scalars of ``dtype``."""

    __slots__ = ("_dtype", "_next", "_step", "_stop")

    _saved = ("_next",)

    def __init__(self, start: int, stop: int, step: int, dtype: Any) -> None:
        self._next = start
        self._stop = stop
        self._step = step
        self._dtype = dtype

    def get_next(self) -> Element | None:
        value = self._next
        if value >= self._stop if self._step > 0 else value <= self._stop:
            return None
        self._next = value + self._step
        return (np.array(value, self._dtype),)


class GeneratorIterator(DatasetIterator):
    """Gives ``produce`` of the state that ``begin`` returns, until it raises OutOfRangeError.

    ``finish`` gets the state at the end, or when the iterator is closed.
    """

    __slots__ = ("_begin", "_finish", "_produce", "_state")

    def __init__(
        self,
        begin: Callable[[], Sequence[Any]],
        produce: ElementFunction,
        finish: ElementFunction,
    ) -> None:
        self._begin = begin
        self._produce = produce
        self._finish = finish
        self._state: Element | None = None

    def get_next(self) -> Element | None:
        if self._state is None:
            self._state = as_element(self._begin())
        try:
            return as_element(self._produce(*self._state))
        except errors.OutOfRangeError:
            self.close()
            return None

    def save(self) -> Any:
        raise errors.unimplemented(
            "flowray cannot save an iterator over a Python generator, which has no position"
        )

    def restore(self, state: Any) -> None:
        raise errors.unimplemented("flowray cannot restore an iterator over a generator")

    def close(self) -> None:
        state, self._state = self._state, None
        if state is None:
            return
        if current() is not None:
            self._finish(*state)
            return
        with running(Interpreter()):  # the session ends, or the garbage collector is at work
            self._finish(*state)

    def __del__(self) -> None:
        self.close()
