"""Iterators that combine elements into batches, and split batches."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.proto.types.shapes import Shape, format_shape
from flowray.worker.data.dataset import Array, DatasetIterator, Derived, Element
from flowray.worker.execution.interpreter import current_cancellation


class Spares:
    """Arrays for batches, each used again when nobody refers to it any more.

    Touching the pages of a new array of this size takes longer than copying the elements into them.
    A user of an array, of a view of it or of its memory holds a reference to it.
    """

    __slots__ = ("_arrays",)

    _SMALLEST: Final = 1 << 20
    _MOST: Final = 8
    _NOBODY: Final = 3  # references: of our list, of the variable, of the call that counts them

    def __init__(self) -> None:
        self._arrays: list[Array] = []

    def take(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Returns an array of any content."""
        for array in self._arrays:
            if (
                sys.getrefcount(array) == self._NOBODY
                and array.shape == shape
                and array.dtype == dtype
                and array.flags.writeable
            ):
                return array
        array = np.empty(shape, dtype)
        if array.nbytes >= self._SMALLEST and not array.dtype.hasobject:
            self._arrays = [*self._arrays[1 - self._MOST :], array]
        return array


class Collecting(Derived):
    """Collects up to ``size`` elements for each of its own.

    With ``keep_step`` a failing element costs its whole batch, and the next batch begins where it
    would have begun otherwise. Without, the next batch begins behind the failing element.
    """

    __slots__ = ("_drop_remainder", "_keep_step", "_size", "_spares")

    def __init__(
        self, source: DatasetIterator, size: int, drop_remainder: bool, keep_step: bool = False
    ) -> None:
        super().__init__(source)
        self._size = size
        self._drop_remainder = drop_remainder
        self._keep_step = keep_step
        self._spares = Spares()

    def _collect(self) -> list[Element]:
        """Returns the elements of a batch; none at the end."""
        elements: list[Element] = []
        failures: list[errors.OpError] = []
        cancellation = current_cancellation()
        while missing := self._size - len(elements) - len(failures):
            try:
                pulled = self._pull_several(missing)
            except errors.OpError as error:
                if not self._keep_step:
                    raise
                failures.append(error)
            else:
                if not pulled:
                    break
                elements += pulled
            if cancellation.cancelled:
                cancellation.check()
        if failures:
            raise failures[0]
        if len(elements) < self._size and self._drop_remainder:
            return []
        return elements


class BatchIterator(Collecting):
    """Stacks elements of equal shapes."""

    __slots__ = ()

    def get_next(self) -> Element | None:
        elements = self._collect()
        if not elements:
            return None
        columns = zip(*elements, strict=True)
        return tuple([stack(i, column, self._spares) for i, column in enumerate(columns)])


def stack(component: int, values: Sequence[Array], spares: Spares) -> Array:
    """Stacks the values along a new first axis; InvalidArgumentError if their shapes differ."""
    first = values[0]
    shape = first.shape
    for i, value in enumerate(values):
        if value.shape != shape:
            raise errors.invalid_argument(
                f"Cannot batch tensors with different shapes in component {component}. First "
                f"element had shape {format_shape(shape)} and element {i} had shape "
                f"{format_shape(value.shape)}."
            )
    result = spares.take((len(values), *shape), first.dtype)
    if shape and result.size:
        # Copying row by row takes 1.5 times as long.
        np.concatenate(values, out=result.reshape(-1, *shape[1:]))
    elif not result.dtype.hasobject:
        result[...] = values
    else:
        for i, value in enumerate(values):
            result[i, ...] = value
    return result


class PaddedBatchIterator(Collecting):
    """Pads elements to equal shapes and stacks them.

    Args:
        shapes: the shape to pad each component to; None in one means the largest of the batch.
        padding: the scalar to pad each component with.
    """

    __slots__ = ("_padding", "_shapes")

    def __init__(
        self,
        source: DatasetIterator,
        size: int,
        drop_remainder: bool,
        shapes: Sequence[Shape],
        padding: Sequence[Array],
    ) -> None:
        super().__init__(source, size, drop_remainder)
        self._shapes = shapes
        self._padding = padding

    def get_next(self) -> Element | None:
        elements = self._collect()
        if not elements:
            return None
        return tuple(
            pad_and_stack(i, column, shape, padding, self._spares)
            for i, (column, shape, padding) in enumerate(
                zip(zip(*elements, strict=True), self._shapes, self._padding, strict=True)
            )
        )


def pad_and_stack(
    component: int, values: Sequence[Array], shape: Shape, padding: Array, spares: Spares
) -> Array:
    """Pads the values at their ends to ``shape`` and stacks them along a new first axis.

    Raises:
        InvalidArgumentError: a value has another rank.
        DataLossError: a value is too large.
    """
    assert shape is not None
    for value in values:
        if value.ndim != len(shape):
            raise errors.invalid_argument(
                f"All elements in a batch must have the same rank as the padded shape for "
                f"component{component}: expected rank {len(shape)} but got element with rank "
                f"{value.ndim}"
            )
        for size, limit in zip(value.shape, shape, strict=True):
            if limit is not None and size > limit:
                raise errors.data_loss("Attempted to pad to a smaller size than the input element.")
    sizes = [
        max(value.shape[i] for value in values) if limit is None else limit
        for i, limit in enumerate(shape)
    ]
    full = (len(values), *sizes)
    result = spares.take(full, values[0].dtype)
    if any(list(value.shape) != sizes for value in values):
        result[...] = padding[()]
    for i, value in enumerate(values):
        place: Any = (i, *(slice(size) for size in value.shape), ...)
        result[place] = value
    return result


class UnbatchIterator(Derived):
    """Gives the rows of each element, one after the other."""

    __slots__ = ("_batch", "_row")

    _saved = ("_batch", "_row")

    def __init__(self, source: DatasetIterator) -> None:
        super().__init__(source)
        self._batch: Element | None = None
        self._row = 0

    def get_next(self) -> Element | None:
        cancellation = current_cancellation()
        while self._batch is None or self._row >= len(self._batch[0]):
            self._batch = None
            batch = self._pull()
            if batch is None:
                return None
            _check_rows(batch)
            self._batch, self._row = batch, 0
            cancellation.check()
        row = self._row
        self._row += 1
        return tuple([slice_row(component, row) for component in self._batch])


def slice_row(component: Array, row: int) -> Array:
    """Returns ``component[row]``, as an array even if it is a scalar."""
    return component[row] if component.ndim > 1 else component[row : row + 1].reshape(())


def _check_rows(batch: Element) -> None:
    if any(component.ndim == 0 for component in batch):
        raise errors.invalid_argument(
            "Input element must have a non-scalar value in each component."
        )
    rows = len(batch[0])
    for i, component in enumerate(batch):
        if len(component) != rows:
            raise errors.invalid_argument(
                "Input element must have the same batch size in each component. Component 0 had "
                f"size {rows} but component {i} had size, {len(component)}."
            )


def row_count(components: Sequence[Array]) -> int:
    """Returns the common size of the first axes; InvalidArgumentError if there is none."""
    if len({component.shape[:1] for component in components}) != 1 or components[0].ndim == 0:
        raise errors.invalid_argument("All components must have the same size in the 0th dimension")
    return len(components[0])
