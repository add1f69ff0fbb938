"""Datasets, the values of variant tensors, and the iterators over them.

An iterator is pulled: ``get_next`` asks its source. It is used by one thread at a time. Its state
can be saved and given to a new iterator over an equal dataset, which then continues from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import Shape, format_shape, is_compatible

Array = np.ndarray[Any, Any]
Element = tuple[Array, ...]
"""The components of an element: numpy arrays, as kernels take and return them."""

Made = Element | errors.OpError | None
"""The result for an element: another element, an error, or None for the end of the dataset."""

INFINITE: Final = -1
UNKNOWN: Final = -2


class Dataset:
    """A sequence of elements that can be iterated any number of times.

    Args:
        types, shapes: those of the components of every element.
        iterate: makes an iterator that stands at the beginning.
        cardinality: the number of elements, ``INFINITE`` or ``UNKNOWN``.
    """

    __slots__ = ("_iterate", "cardinality", "shapes", "types")

    def __init__(
        self,
        types: Sequence[DType],
        shapes: Sequence[Shape],
        iterate: Callable[[], DatasetIterator],
        cardinality: int = UNKNOWN,
    ) -> None:
        self.types = tuple(types)
        self.shapes = tuple(shapes)
        self._iterate = iterate
        self.cardinality = cardinality

    def iterator(self) -> DatasetIterator:
        """Returns a new iterator that stands at the beginning."""
        return self._iterate()


def as_variant(value: Any) -> Array:
    """Returns the scalar variant tensor that holds ``value``."""
    result = np.empty((), object)
    result[()] = value
    return result


def dataset_of(variant: Any) -> Dataset:
    """Returns the dataset that a variant tensor holds.

    InvalidArgumentError if it holds another value.
    """
    value = variant[()] if isinstance(variant, np.ndarray) and variant.ndim == 0 else variant
    if not isinstance(value, Dataset):
        raise errors.invalid_argument("The given variant tensor holds no dataset.")
    return value


class DatasetIterator:
    """Iterates over a dataset. Subclasses define ``get_next``."""

    __slots__ = ()

    _saved: ClassVar[tuple[str, ...]] = ()
    """The attributes that make up the state, beside the iterators below."""

    def get_next(self) -> Element | None:
        """Returns the next element, None at the end.

        Raises:
            OpError: this element could not be made; the next call returns the one behind it.
        """
        raise NotImplementedError

    def get_several(self, most: int) -> list[Element]:
        """Returns up to ``most`` of the elements that ``get_next`` would return; none at the end.

        It waits for the first element only. Raises OpError if that one could not be made.
        """
        element = self.get_next()
        return [] if element is None else [element]

    def save(self) -> Any:
        """Returns the state for ``restore``. Later calls do not change what it holds."""
        return {name: getattr(self, name) for name in self._saved}

    def restore(self, state: Any) -> None:
        """Takes over a state, before the first ``get_next``."""
        for name in self._saved:
            setattr(self, name, state[name])

    def close(self) -> None:
        """Ends background work. No other method is called afterwards."""


class Derived(DatasetIterator):
    """An iterator that pulls from another one, its source, and drops it at its end."""

    __slots__ = ("_source",)

    def __init__(self, source: DatasetIterator) -> None:
        self._source: DatasetIterator | None = source

    def _pull(self) -> Element | None:
        """Returns the next element of the source; once that has ended, always None."""
        source = self._source
        if source is None:
            return None
        element = source.get_next()
        if element is None:
            self._drop_source()
        return element

    def _pull_several(self, most: int) -> list[Element]:
        """Returns up to ``most`` elements of the source, as its ``get_several`` does."""
        source = self._source
        if source is None:
            return []
        elements = source.get_several(most)
        if not elements:
            self._drop_source()
        return elements

    def _drop_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def save(self) -> Any:
        state = super().save()
        state["source"] = save(self._source)
        return state

    def restore(self, state: Any) -> None:
        super().restore(state)
        if state["source"] is None:
            self._drop_source()
        else:
            assert self._source is not None
            self._source.restore(state["source"])

    def close(self) -> None:
        self._drop_source()


def save(iterator: DatasetIterator | None) -> Any:
    """Returns the state of ``iterator``; None for None."""
    return None if iterator is None else iterator.save()


def check_types(wanted: Sequence[DType], given: Sequence[DType]) -> None:
    """Raises InvalidArgumentError with TensorFlow's text unless the types are equal."""
    if len(wanted) != len(given):
        raise errors.invalid_argument(
            f"Number of components does not match: expected {len(wanted)} types but got "
            f"{len(given)}."
        )
    for i, (a, b) in enumerate(zip(wanted, given, strict=True)):
        if a != b:
            raise errors.invalid_argument(
                f"Data type mismatch at component {i}: expected {type_name(a)} but got "
                f"{type_name(b)}."
            )


def check_shapes(wanted: Sequence[Shape], given: Sequence[Shape]) -> None:
    """Raises InvalidArgumentError with TensorFlow's text unless the shapes are compatible."""
    if len(wanted) != len(given):
        raise errors.invalid_argument(
            f"Number of components does not match: expected {len(wanted)} shapes but got "
            f"{len(given)}."
        )
    for i, (a, b) in enumerate(zip(wanted, given, strict=True)):
        if not is_compatible(a, b):
            raise errors.invalid_argument(
                f"Incompatible shapes at component {i}: expected {format_shape(a)} but got "
                f"{format_shape(b)}."
            )


def check_element(types: Sequence[DType], shapes: Sequence[Shape], element: Element) -> None:
    """Raises InvalidArgumentError unless ``element`` has these types and shapes."""
    given = [
        # Several dtypes are objects in numpy, so an object array counts as the wanted one.
        wanted if component.dtype == object else as_dtype(component.dtype)
        for component, wanted in zip(element, types, strict=False)
    ]
    check_types(types, given)
    check_shapes(shapes, [component.shape for component in element])


_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


def type_name(dtype: DType) -> str:
    """Returns the name of a dtype in the runtime's messages."""
    return _NAMES.get(dtype.name, dtype.name)
