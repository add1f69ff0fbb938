"""The iterator as a resource, which ``MakeIterator`` starts and ``IteratorGetNext`` reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator as PythonIterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from flowray.proto import errors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape
from flowray.worker.data.dataset import (
    Dataset,
    DatasetIterator,
    Element,
    check_element,
    check_shapes,
    check_types,
)
from flowray.worker.execution.interpreter import current_cancellation
from flowray.worker.state.store import Resource


class IteratorResource(Resource):
    """An iterator that steps share; they take turns.

    Args:
        types, shapes: those of the elements; a dataset of others is refused. Without types, any
            dataset is accepted.
    """

    __slots__ = ("_busy", "_dataset", "_has_ended", "_is_closed", "_iterator", "_turn", "shapes",
                 "types")  # fmt: skip

    def __init__(
        self, container: str, name: str, types: Sequence[DType], shapes: Sequence[Shape]
    ) -> None:
        super().__init__(name, container)
        self.types = tuple(types)
        self.shapes = tuple(shapes)
        self._dataset: Dataset | None = None
        self._iterator: DatasetIterator | None = None
        self._has_ended = False
        self._is_closed = False
        self._busy = False
        self._turn = threading.Condition()

    def check_signature(self, types: Sequence[DType], shapes: Sequence[Shape]) -> None:
        """Raises InvalidArgumentError unless its elements can have these types and shapes."""
        if self.types:
            check_types(self.types, types)
            check_shapes(self.shapes, shapes)

    def begin(self, dataset: Dataset) -> None:
        """Starts over at the beginning of ``dataset``, and closes the iterator that ran before.

        Raises:
            InvalidArgumentError: the dataset has other types or shapes.
            CancelledError: the resource is closed.
        """
        self.check_signature(dataset.types, dataset.shapes)
        iterator = dataset.iterator()
        with self._turn:
            if self._is_closed:
                iterator.close()
                raise errors.cancelled(f"Iterator {self.name} was closed.")
            old, self._iterator, self._dataset = self._iterator, iterator, dataset
            self._has_ended = False
        if old is not None:
            old.close()

    def begin_once(self, dataset: Dataset) -> None:
        """Calls ``begin``, unless that has been done."""
        with self._turn:
            if self._dataset is not None:
                return
        self.begin(dataset)

    @property
    def is_initialized(self) -> bool:
        """Tells whether the iterator has a dataset."""
        return self._dataset is not None

    def get_next(self, types: Sequence[DType], shapes: Sequence[Shape]) -> Element | None:
        """Returns the next element, None at the end.

        Raises:
            FailedPreconditionError: there is no dataset yet.
            InvalidArgumentError: the element does not have these types and shapes.
            CancelledError: the step was cancelled while it waited.
            OpError: the element could not be made; the next call returns the one behind it.
        """
        with self._taking_turns() as iterator:
            if self._has_ended:
                return None
            element = iterator.get_next()
            if element is None and iterator is self._iterator:
                self._has_ended = True
        if element is not None:
            check_element(types, shapes, element)
        return element

    @contextmanager
    def _taking_turns(self) -> PythonIterator[DatasetIterator]:
        with self._turn:
            current_cancellation().wait(self._turn, lambda: not self._busy)
            iterator = self._iterator
            if iterator is None:
                raise errors.failed_precondition(
                    "GetNext() failed because the iterator has not been initialized. Ensure that "
                    "you have run the initializer operation for this iterator before getting the "
                    f"next element. (The iterator is '{self.name}'; sess.run(iterator.initializer) "
                    "does it, in every new session: in a MonitoredSession, give it to "
                    "Scaffold(local_init_op=...).)"
                )
            self._busy = True
        try:
            yield iterator
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify()

    def save(self) -> Any:
        """Returns the state of the iterator, for ``restore``."""
        with self._taking_turns() as iterator:
            return None if self._has_ended else iterator.save()

    def restore(self, state: Any) -> None:
        """Continues where ``save`` was called, over the dataset that was started last."""
        with self._taking_turns():
            assert self._dataset is not None
            dataset = self._dataset
        self.begin(dataset)
        with self._taking_turns() as iterator:
            if state is None:
                self._has_ended = True
            else:
                iterator.restore(state)

    def close(self) -> None:
        with self._turn:
            self._is_closed = True
            iterator, self._iterator = self._iterator, None
        if iterator is not None:
            iterator.close()
