"""Iterators over datasets that are joined, cut, repeated or kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.proto import errors
from flowray.worker.data.dataset import Dataset, DatasetIterator, Derived, Element, save
from flowray.worker.execution.interpreter import current_cancellation


class TakeIterator(Derived):
    """Gives the first ``count`` elements; all if it is negative."""

    __slots__ = ("_left",)

    _saved = ("_left",)

    def __init__(self, source: DatasetIterator, count: int) -> None:
        super().__init__(source)
        self._left = count

    def get_next(self) -> Element | None:
        if self._left == 0:
            self._drop_source()
            return None
        element = self._pull()
        self._left -= 1  # an element that fails does not count
        return element


class SkipIterator(Derived):
    """Skips the first ``count`` elements; all if it is negative."""

    __slots__ = ("_left",)

    _saved = ("_left",)

    def __init__(self, source: DatasetIterator, count: int) -> None:
        super().__init__(source)
        self._left = count
        if count < 0:
            self._drop_source()

    def get_next(self) -> Element | None:
        if self._left > 0:
            cancellation = current_cancellation()
            while self._left > 0 and self._pull() is not None:
                self._left -= 1
                cancellation.check()
        return self._pull()


class ShardIterator(Derived):
    """Gives every ``count``-th element, beginning with the one at ``index``.

    With ``require`` it is an error if there are fewer elements than shards.
    """

    __slots__ = ("_count", "_index", "_position", "_require")

    _saved = ("_position",)

    def __init__(self, source: DatasetIterator, count: int, index: int, require: bool) -> None:
        super().__init__(source)
        self._count = count
        self._index = index
        self._require = require
        self._position = 0

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while (element := self._pull()) is not None:
            mine = self._position % self._count == self._index
            self._position += 1
            if mine:
                return element
            cancellation.check()
        if self._require and self._position < self._count:
            raise errors.invalid_argument(
                f"Could not shard {self._position} elements among {self._count} shards, each of "
                "which must get one"
            )
        return None


class RepeatIterator(DatasetIterator):
    """Repeats the dataset ``count`` times; for ever if negative, unless the dataset is empty."""

    __slots__ = ("_count", "_current", "_dataset", "_done", "_is_fresh")

    _saved = ("_count", "_done", "_is_fresh")

    def __init__(self, dataset: Dataset, count: int) -> None:
        self._dataset = dataset
        self._count = count
        self._done = 0
        self._is_fresh = True
        """True until this repetition gives an element."""
        self._current: DatasetIterator | None = None

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while self._done != self._count:
            if self._current is None:
                self._current = self._dataset.iterator()
                self._is_fresh = True
            element = self._current.get_next()
            if element is not None:
                self._is_fresh = False
                return element
            self._current.close()
            self._current = None
            self._done += 1
            if self._is_fresh and self._count < 0:
                self._count = self._done  # the dataset is empty, so every repetition would be
            cancellation.check()
        return None

    def save(self) -> Any:
        state = super().save()
        state["current"] = save(self._current)
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        if state["current"] is not None:
            self._current = self._dataset.iterator()
            self._current.restore(state["current"])

    def close(self) -> None:
        if self._current is not None:
            self._current.close()


class ConcatenateIterator(DatasetIterator):
    """Gives the elements of each of ``datasets``, one dataset after the other."""

    __slots__ = ("_at", "_current", "_datasets")

    _saved = ("_at",)

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._datasets = datasets
        self._go_to(0)

    def get_next(self) -> Element | None:
        while self._current is not None:
            element = self._current.get_next()
            if element is not None:
                return element
            self._current.close()
            self._go_to(self._at + 1)
        return None

    def _go_to(self, at: int) -> None:
        self._at = at
        self._current = self._datasets[at].iterator() if at < len(self._datasets) else None

    def save(self) -> Any:
        state = super().save()
        state["current"] = save(self._current)
        return state

    def restore(self, state: Any) -> None:
        self.close()
        self._go_to(state["_at"])
        if self._current is not None:
            self._current.restore(state["current"])

    def close(self) -> None:
        if self._current is not None:
            self._current.close()


class ZipIterator(DatasetIterator):
    """Gives the components of one element of each source; ends with the shortest."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Sequence[DatasetIterator]) -> None:
        self._sources = list(sources)

    def get_next(self) -> Element | None:
        components: list[Any] = []
        failed: errors.OpError | None = None
        for source in self._sources:
            try:
                element = source.get_next()
            except errors.OpError as error:  # the others advance as well, to stay in step
                failed = failed or error
                continue
            if element is None:
                self.close()
                self._sources = []
                return None
            components.extend(element)
        if failed is not None:
            raise failed
        return tuple(components) if self._sources else None

    def save(self) -> Any:
        return [source.save() for source in self._sources]

    def restore(self, state: Any) -> None:
        if not state:
            self.close()
            self._sources = []
        for source, saved in zip(self._sources, state, strict=True):
            source.restore(saved)

    def close(self) -> None:
        for source in self._sources:
            source.close()


class DirectedInterleaveIterator(Derived):
    """Gives elements of ``sources`` in the order of the indices that a selector gives."""

    __slots__ = ("_sources", "_stop_on_empty")

    def __init__(
        self, selector: DatasetIterator, sources: Sequence[DatasetIterator], stop_on_empty: bool
    ) -> None:
        super().__init__(selector)
        self._sources: list[DatasetIterator | None] = list(sources)
        self._stop_on_empty = stop_on_empty

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while (selected := self._pull()) is not None:
            index = int(selected[0])
            if not 0 <= index < len(self._sources):
                raise errors.invalid_argument(
                    f"Selector index out of range: {index} >= {len(self._sources)}"
                )
            source = self._sources[index]
            if source is not None:
                element = source.get_next()
                if element is not None:
                    return element
                source.close()
                self._sources[index] = None
                if self._stop_on_empty or all(s is None for s in self._sources):
                    self._drop_source()
            cancellation.check()
        return None

    def save(self) -> Any:
        state = super().save()
        state["sources"] = [save(source) for source in self._sources]
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        for i, (source, saved) in enumerate(zip(self._sources, state["sources"], strict=True)):
            assert source is not None
            if saved is None:
                source.close()
                self._sources[i] = None
            else:
                source.restore(saved)

    def close(self) -> None:
        super().close()
        for source in self._sources:
            if source is not None:
                source.close()


class ListIterator(DatasetIterator):
    """Gives the elements of a sequence."""

    __slots__ = ("_at", "_elements")

    _saved = ("_at",)

    def __init__(self, elements: Sequence[Element]) -> None:
        self._elements = elements
        self._at = 0

    def get_next(self) -> Element | None:
        if self._at >= len(self._elements):
            return None
        self._at += 1
        return self._elements[self._at - 1]


def list_dataset(like: Dataset, elements: Sequence[Element]) -> Dataset:
    """Makes a dataset of these elements, with the types and shapes of ``like``."""
    return Dataset(like.types, like.shapes, lambda: ListIterator(elements), len(elements))


class WindowIterator(Derived):
    """Gives windows of ``size`` elements that are ``stride`` apart, each as one element.

    Windows begin every ``shift`` elements; with ``drop_remainder`` an incomplete one is dropped.

    Args:
        make: makes the element of a window's elements.
    """

    __slots__ = ("_buffer", "_drop_remainder", "_make", "_shift", "_size", "_skip", "_stride")

    def __init__(
        self,
        source: DatasetIterator,
        size: int,
        shift: int,
        stride: int,
        drop_remainder: bool,
        make: Callable[[Sequence[Element]], Element],
    ) -> None:
        super().__init__(source)
        self._size = size
        self._shift = shift
        self._stride = stride
        self._drop_remainder = drop_remainder
        self._make = make
        self._buffer: list[Element] = []
        self._skip = 0
        """The number of elements before the next window."""

    def get_next(self) -> Element | None:
        span = (self._size - 1) * self._stride + 1
        buffer = self._buffer
        cancellation = current_cancellation()
        while len(buffer) < span and (element := self._pull()) is not None:
            if self._skip:
                self._skip -= 1
            else:
                buffer.append(element)
            cancellation.check()
        if not buffer or (len(buffer) < span and self._drop_remainder):
            buffer.clear()
            return None
        window = buffer[: span : self._stride]
        self._skip = max(0, self._shift - len(buffer))
        del buffer[: self._shift]
        return self._make(window)

    def save(self) -> Any:
        state = super().save()
        state["buffer"], state["skip"] = list(self._buffer), self._skip
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        self._buffer, self._skip = list(state["buffer"]), state["skip"]
