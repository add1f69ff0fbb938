"""Iterators that make one element from another: map, filter, scan and similar ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.worker.data.dataset import (
    Array,
    DatasetIterator,
    Derived,
    Element,
    dataset_of,
)
from flowray.worker.execution.interpreter import current_cancellation

logger = logging.getLogger("flowray.worker")

ElementFunction = Callable[..., Sequence[Any]]
"""A function of the graph with its captures bound: components in, components out."""


def as_element(values: Sequence[Any]) -> Element:
    """Makes an element of the values that a function returned."""
    return tuple([v if type(v) is np.ndarray else np.asarray(v) for v in values])


def call(function: ElementFunction, element: Element, keep_count: bool = False) -> Element | None:
    """Calls ``function`` on ``element``; None if the function reports the end.

    It does so with OutOfRangeError. With ``keep_count`` that is an error of the function.
    """
    try:
        return as_element(function(*element))
    except errors.OutOfRangeError as error:
        if keep_count:
            raise _mistake(error) from None
        return None


def made(
    answer: Sequence[Any] | errors.OpError, keep_count: bool
) -> Element | errors.OpError | None:
    """Converts what a function returned or failed with, as ``call`` does; an error is returned."""
    if isinstance(answer, errors.OutOfRangeError):
        return _mistake(answer) if keep_count else None
    return answer if isinstance(answer, errors.OpError) else as_element(answer)


def _mistake(error: errors.OutOfRangeError) -> errors.OpError:
    return errors.invalid_argument(f"Function invocation produced OutOfRangeError: {error.message}")


class MapIterator(Derived):
    """Gives ``function`` of each element."""

    __slots__ = ("_function", "_keep_count")

    def __init__(
        self, source: DatasetIterator, function: ElementFunction, keep_count: bool = False
    ) -> None:
        super().__init__(source)
        self._function = function
        self._keep_count = keep_count

    def get_next(self) -> Element | None:
        element = self._pull()
        return None if element is None else call(self._function, element, self._keep_count)


def is_true(result: Sequence[Any]) -> bool:
    """Returns the result of a predicate; InvalidArgumentError unless it is one scalar bool."""
    if len(result) != 1 or np.shape(result[0]) != () or np.asarray(result[0]).dtype != bool:
        raise errors.invalid_argument("Filter predicate `f` must return a scalar bool.")
    return bool(result[0])


class FilterIterator(Derived):
    """Gives the elements for which ``predicate`` is true."""

    __slots__ = ("_predicate",)

    def __init__(self, source: DatasetIterator, predicate: ElementFunction) -> None:
        super().__init__(source)
        self._predicate = predicate

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while (element := self._pull()) is not None:
            if is_true(self._predicate(*element)):
                return element
            cancellation.check()
        return None


class LastComponentFilterIterator(Derived):
    """Gives the elements whose last component, a bool, is true, without that component."""

    __slots__ = ()

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while (element := self._pull()) is not None:
            if is_true(element[-1:]):
                return element[:-1]
            cancellation.check()
        return None


class TakeWhileIterator(Derived):
    """Gives the elements before the first one for which ``predicate`` is false."""

    __slots__ = ("_predicate",)

    def __init__(self, source: DatasetIterator, predicate: ElementFunction) -> None:
        super().__init__(source)
        self._predicate = predicate

    def get_next(self) -> Element | None:
        element = self._pull()
        if element is not None and not is_true(self._predicate(*element)):
            self._drop_source()
            return None
        return element


class ScanIterator(Derived):
    """Calls ``function(*state, *element)``, which returns the next state and a new element."""

    __slots__ = ("_function", "_keep_count", "_state")

    _saved = ("_state",)

    def __init__(
        self,
        source: DatasetIterator,
        initial_state: Element,
        function: ElementFunction,
        keep_count: bool,
    ) -> None:
        super().__init__(source)
        self._state = initial_state
        self._function = function
        self._keep_count = keep_count

    def get_next(self) -> Element | None:
        element = self._pull()
        if element is None:
            return None
        result = call(self._function, self._state + element, self._keep_count)
        if result is None:
            return None
        count = len(self._state)
        self._state = result[:count]
        return result[count:]


class IgnoreErrorsIterator(Derived):
    """Skips the elements that cannot be made."""

    __slots__ = ("_log",)

    def __init__(self, source: DatasetIterator, log: bool) -> None:
        super().__init__(source)
        self._log = log

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while True:
            try:
                return self._pull()
            except errors.OpError as error:
                cancellation.check()
                if self._log:
                    logger.warning("IgnoreErrorsDataset skips an element: %s", error.message)


class UniqueIterator(Derived):
    """Skips the elements, scalars, that came before."""

    __slots__ = ("_seen",)

    def __init__(self, source: DatasetIterator) -> None:
        super().__init__(source)
        self._seen: set[Any] = set()

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while (element := self._pull()) is not None:
            value = element[0][()]
            if value not in self._seen:
                self._seen.add(value)
                return element
            cancellation.check()
        return None

    def save(self) -> Any:
        return {**super().save(), "seen": set(self._seen)}

    def restore(self, state: Any) -> None:
        super().restore(state)
        self._seen = set(state["seen"])


class GroupByWindowIterator(Derived):
    """Collects the elements of each key, and gives the elements of ``reduce`` of full windows.

    Args:
        key: returns the key (a scalar int64) of an element.
        reduce: returns a dataset for a window; its arguments are the key and the window's dataset.
        window_size: returns the number of elements in a window; its argument is the key.
        window: returns the variant tensor of a dataset of some elements.
    """

    __slots__ = ("_current", "_groups", "_key", "_reduce", "_sizes", "_window", "_window_size")

    def __init__(
        self,
        source: DatasetIterator,
        key: ElementFunction,
        reduce: ElementFunction,
        window_size: ElementFunction,
        window: Callable[[Sequence[Element]], Array],
    ) -> None:
        super().__init__(source)
        self._key = key
        self._reduce = reduce
        self._window_size = window_size
        self._window = window
        self._groups: dict[int, list[Element]] = {}
        self._sizes: dict[int, int] = {}
        self._current: tuple[int, list[Element], DatasetIterator] | None = None

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while True:
            if self._current is not None:
                element = self._current[2].get_next()
                if element is not None:
                    return element
                self._current[2].close()
                self._current = None
            element = self._pull()
            cancellation.check()
            if element is not None:
                key = _scalar_int64(self._key(*element), "`key_func`")
                group = self._groups.setdefault(key, [])
                if not group:
                    self._sizes[key] = self._size_of(key)
                group.append(element)
                if len(group) < self._sizes[key]:
                    continue
            elif self._groups:
                key = min(self._groups)
            else:
                return None
            self._start(key, self._groups.pop(key))

    def _size_of(self, key: int) -> int:
        size = _scalar_int64(self._window_size(np.array(key, np.int64)), "`window_size_func`")
        if size <= 0:
            raise errors.invalid_argument(f"Window size must be greater than zero, but got {size}.")
        return size

    def _start(self, key: int, group: list[Element]) -> None:
        result = self._reduce(np.array(key, np.int64), self._window(group))
        if len(result) != 1:
            raise errors.invalid_argument("`reduce_func` must return a single dataset.")
        self._current = key, group, dataset_of(result[0]).iterator()

    def save(self) -> Any:
        state = super().save()
        state["groups"] = {key: list(group) for key, group in self._groups.items()}
        state["sizes"] = dict(self._sizes)
        if self._current is not None:
            key, group, iterator = self._current
            state["current"] = key, group, iterator.save()
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        self._groups = {key: list(group) for key, group in state["groups"].items()}
        self._sizes = dict(state["sizes"])
        if "current" in state:
            key, group, inner = state["current"]
            self._start(key, group)
            assert self._current is not None
            self._current[2].restore(inner)

    def close(self) -> None:
        super().close()
        if self._current is not None:
            self._current[2].close()


def _scalar_int64(result: Sequence[Any], what: str) -> int:
    if len(result) != 1 or np.shape(result[0]) != () or np.asarray(result[0]).dtype != np.int64:
        raise errors.invalid_argument(f"{what} must return a scalar int64.")
    return int(result[0])
