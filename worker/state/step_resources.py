"""Resources that live as long as a step: stacks and tensor arrays, as interpreted ops use them.

(``execution/traced_resources.py`` has those of XLA programs.) A step's ops hold them by their
handles; if a handle leaves its stage, the runtime keeps the resource until the step ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import Any, Protocol

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType, type_name
from flowray.proto.types.shapes import Shape, format_shape, is_compatible, is_fully_defined
from flowray.worker.state.store import Resource

_numbers = itertools.count()


class StepResource(Resource):
    """A resource that lives as long as a step. Its name is unique in the process."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}_{next(_numbers)}", "__per_step")


class Stack(StepResource):
    """Values, of which the last one pushed is popped first.

    Args:
        max_size: the most values that it can have; any number if negative.
        note_size: called with the number of values whenever that is larger than ever before.
    """

    def __init__(
        self, name: str, elem_type: DType, max_size: int, note_size: Callable[[int], None]
    ) -> None:
        super().__init__(name)
        self.elem_type = elem_type
        self._max_size = max_size
        self._note_size = note_size
        self._most = 0
        self._values: list[Any] | None = []

    def push(self, value: Any) -> None:
        """Pushes a value; InvalidArgumentError if the stack is full or closed."""
        values = self._open()
        if 0 <= self._max_size <= len(values):
            raise overflowed(self.name, self._max_size)
        values.append(value)
        if len(values) > self._most:
            self._most = len(values)
            self._note_size(self._most)

    def pop(self) -> Any:
        """Removes the last value and returns it.

        InvalidArgumentError if the stack is empty or closed.
        """
        values = self._open()
        if not values:
            raise is_empty(self.name)
        return values.pop()

    def close(self) -> None:
        self._values = None

    def _open(self) -> list[Any]:
        if self._values is None:
            raise errors.invalid_argument(f"Stack[{self.name}] has already been closed.")
        return self._values


def overflowed(name: str, max_size: int) -> errors.OpError:
    """Returns TensorFlow's error for a push onto a full stack."""
    return errors.invalid_argument(f"Stack[{name}] overflowed its max_size ({max_size})")


def is_empty(name: str) -> errors.OpError:
    """Returns TensorFlow's error for a pop from an empty stack."""
    return errors.invalid_argument(f"Stack[{name}] is empty when calling Pop().")


class ArrayLike(Protocol):
    """The methods that the ops of tensor arrays call, of interpreted and of traced arrays."""

    name: str
    dtype: DType

    @property
    def size(self) -> int:
        """Returns the number of elements."""

    def write(self, index: Any, value: Any) -> None:
        """Writes one element; an array of gradients adds to it."""

    def read(self, index: Any) -> Any:
        """Reads one element; one that was not written is zeros if its shape is known."""

    def gather(self, indices: Any, element_shape: Shape) -> Any:
        """Stacks the elements at ``indices`` along a new first axis."""

    def scatter(self, indices: Any, value: Any) -> None:
        """Writes the rows of ``value`` at ``indices``."""

    def concat(self, rest: Shape) -> tuple[Any, Any]:
        """Concatenates all elements along their first axis.

        Args:
            rest: the shape of the elements without the first dimension, as far as it is known.

        Returns:
            The array, and the lengths of the elements, int64.
        """

    def split(self, value: Any, lengths: Any) -> None:
        """Writes consecutive parts of ``value``, with these lengths, as the elements."""

    def gradient(self, source: bytes, prepended: tuple[int, ...] = ()) -> ArrayLike:
        """Returns the array of gradients for ``source``, made at the first call.

        Args:
            prepended: dimensions that its elements have in front of those of this array.
        """


class Done(IntFlag):
    """The operations that an element has seen."""

    WRITTEN = 1
    READ = 2
    CLEARED = 4


class TensorArray(StepResource, ArrayLike):
    """An array whose elements are written once, in any order, and read.

    All methods raise InvalidArgumentError with TensorFlow's texts, also if the array is closed.

    Args:
        element_shape: the elements' shape as far as it is known; if all of it is, an unwritten
            element is read as zeros.
        dynamic: whether a write beyond the end makes it longer.
        clear_after_read: whether an element can be read only once.
        identical: whether the first element's shape is that of all others.
        adds: whether an element can be written several times, and is the sum: the array of
            gradients of another one.
    """

    def __init__(
        self,
        name: str,
        dtype: DType,
        size: int,
        element_shape: Shape = None,
        *,
        dynamic: bool = False,
        clear_after_read: bool = True,
        identical: bool = False,
        adds: bool = False,
    ) -> None:
        super().__init__(name)
        self.dtype = dtype
        self.element_shape = element_shape
        self._dynamic = dynamic
        self._clear_after_read = clear_after_read
        self._identical = identical
        self._adds = adds
        self._values: list[Any] = [None] * size
        self._done = [Done(0)] * size
        self._shapes: list[Shape] = [None] * size
        """The shapes of written values; in an array of gradients, those of their elements."""
        self._gradients: dict[bytes, TensorArray] = {}
        self._closed = False

    @property
    def size(self) -> int:
        self.check_open()
        return len(self._values)

    def check_open(self) -> None:
        """Raises InvalidArgumentError if the array is closed."""
        if self._closed:
            raise errors.invalid_argument(f"TensorArray {self.name} has already been closed.")

    def close(self) -> None:
        self._closed = True
        self._values = []

    # Writing

    def write(self, index: int, value: Any) -> None:
        self._grow_to(int(index))
        self._write(int(index), value)

    def scatter(self, indices: Any, value: Any) -> None:
        largest = int(indices.max()) if indices.size else -1
        if not self._dynamic and largest >= self.size:
            raise scatter_beyond(largest, self.size)
        for index, element in zip(indices.tolist(), value, strict=True):
            self.write(index, np.asarray(element))

    def split(self, value: Any, lengths: Any) -> None:
        check_split(value, lengths, self.size, self._dynamic)
        ends = np.cumsum(lengths)
        for index, (length, end) in enumerate(zip(lengths, ends, strict=True)):
            self.write(index, value[end - length : end])

    def _grow_to(self, index: int) -> None:
        size = self.size
        if index < 0 or (index >= size and not self._dynamic):
            raise write_beyond(self.name, index, size)
        more = index + 1 - size
        if more > 0:
            self._values += [None] * more
            self._done += [Done(0)] * more
            self._shapes += [None] * more

    def _write(self, index: int, value: Any) -> None:
        if not is_compatible(self.element_shape, value.shape):
            raise wrong_element(self.name, index, value.shape, self.element_shape)
        if self._identical and not is_fully_defined(self.element_shape):
            self.element_shape = value.shape
        done = self._done[index]
        if done & Done.READ:
            raise errors.invalid_argument(
                f"TensorArray {self.name}: Could not write to TensorArray index {index} because it "
                "has already been read."
            )
        if done & Done.WRITTEN:
            if not self._adds:
                raise written_already(self.name, index)
            old = self._values[index]
            if old.shape != value.shape:
                raise errors.invalid_argument(
                    f"TensorArray {self.name}: Could not aggregate to TensorArray index {index} "
                    f"because the existing shape is {format_shape(old.shape)} but the new input "
                    f"shape is {format_shape(value.shape)}."
                )
            value = np.asarray(old + value)
        self._values[index] = value
        self._shapes[index] = value.shape
        self._done[index] = Done.WRITTEN

    # Reading

    def read(self, index: int) -> Any:
        index = int(index)
        if not 0 <= index < self.size:
            raise read_beyond(index, self.size)
        done = self._done[index]
        if done & Done.CLEARED:
            raise read_twice(self.name, index)
        value = self._values[index] if done & Done.WRITTEN else self._zeros(index)
        self._done[index] = done | Done.READ
        if self._clear_after_read:
            self._values[index] = None
            self._done[index] |= Done.CLEARED
        return value

    def gather(self, indices: Any, element_shape: Shape) -> Any:
        values = [self.read(index) for index in indices.tolist()]
        if not values:
            return np.zeros((0, *known_element(element_shape)), self._numpy_dtype)
        check_elements(values[0].shape, element_shape)
        for index, value in enumerate(values):
            if value.shape != values[0].shape:
                raise errors.invalid_argument(
                    "TensorArray has inconsistent shapes.  Index 0 has shape: "
                    f"{format_shape(values[0].shape)} but index {index} has shape: "
                    f"{format_shape(value.shape)}"
                )
        return np.stack(values)

    def concat(self, rest: Shape) -> tuple[Any, Any]:
        values = [self.read(index) for index in range(self.size)]
        if not values:
            shape = (0, *known_element(rest, "element_shape_except0", "concatenating"))
            return np.zeros(shape, self._numpy_dtype), np.zeros(0, np.int64)
        for index, value in enumerate(values):
            check_part(index, value.shape, rest)
            if value.shape[1:] != values[0].shape[1:]:
                raise errors.invalid_argument(
                    "TensorArray has inconsistent shapes.  Index 0 has (excepting dimension 0) "
                    f"shape: {format_shape(values[0].shape[1:])} but index {index} has (excepting "
                    f"dimension 0) shape: {format_shape(value.shape[1:])}"
                )
        return np.concatenate(values), np.array([len(value) for value in values], np.int64)

    def _zeros(self, index: int) -> Any:
        shape = self._shapes[index]
        if shape is None:
            shape = self.element_shape
        if shape is None or not is_fully_defined(shape):
            raise unwritten(self.name, index, shape)
        return np.zeros(shape, self._numpy_dtype)

    @property
    def _numpy_dtype(self) -> Any:
        return self.dtype.np_dtype or object

    # Gradients

    def gradient(self, source: bytes, prepended: tuple[int, ...] = ()) -> TensorArray:
        """Returns the array of gradients for ``source``, which names a call of tf.gradients.

        Each call has an array of its own. From now on this array keeps its size.
        """
        self.check_open()
        self._dynamic = False
        found = self._gradients.get(source)
        if found is None:
            found = self._gradients[source] = TensorArray(
                f"{self.name}@{source.decode()}",
                self.dtype,
                self.size,
                None if self.element_shape is None else (*prepended, *self.element_shape),
                identical=self._identical,
                adds=True,
            )
            found._shapes = [None if s is None else (*prepended, *s) for s in self._shapes]
        return found


# Errors with TensorFlow's texts -----------------------------------------------------------------


def write_beyond(name: str, index: Any, size: int) -> errors.OpError:
    """Returns TensorFlow's error for a write beyond the end of a static array."""
    return errors.invalid_argument(
        f"TensorArray {name}: Tried to write to index {int(index)} but array is not resizeable and "
        f"size is: {size}"
    )


def read_beyond(index: Any, size: int) -> errors.OpError:
    """Returns TensorFlow's error for a read beyond the end."""
    return errors.invalid_argument(
        f"Tried to read from index {int(index)} but array size is: {size}"
    )


def scatter_beyond(index: Any, size: int) -> errors.OpError:
    """Returns TensorFlow's error for a scatter beyond the end."""
    return errors.invalid_argument(
        f"Max scatter index must be < array size ({int(index)} vs. {size})"
    )


def written_already(name: str, index: Any) -> errors.OpError:
    """Returns TensorFlow's error for a second write of an element."""
    return errors.invalid_argument(
        f"TensorArray {name}: Could not write to TensorArray index {int(index)} because it has "
        "already been written to."
    )


def read_twice(name: str, index: Any) -> errors.OpError:
    """Returns TensorFlow's error for a second read of an element that was cleared."""
    return errors.invalid_argument(
        f"TensorArray {name}: Could not read index {int(index)} twice because it was cleared after "
        "a previous read (perhaps try setting clear_after_read = false?)."
    )


def unwritten(name: str, index: Any, shape: Shape) -> errors.OpError:
    """Returns TensorFlow's error for a read of an unwritten element of unknown shape."""
    return errors.invalid_argument(
        f"TensorArray {name}: Could not read from TensorArray index {int(index)}.  Furthermore, "
        f"the element shape is not fully defined: {format_shape(shape)}.  It is possible you are "
        "working with a resizeable TensorArray and stop_gradients is not allowing the gradients to "
        "be written.  If you set the full element_shape property on the forward TensorArray, the "
        "proper all-zeros tensor will be returned instead of incurring this error."
    )


def wrong_element(name: str, index: Any, shape: Shape, wanted: Shape) -> errors.OpError:
    """Returns TensorFlow's error for a value that does not fit the element shape."""
    return errors.invalid_argument(
        f"TensorArray {name}: Could not write to TensorArray index {int(index)} because the value "
        f"shape is {format_shape(shape)} which is incompatible with the TensorArray's inferred "
        f"element shape: {format_shape(wanted)} (consider setting infer_shape=False)."
    )


def check_dtype(given: DType, dtype: DType, what: str) -> None:
    """Raises InvalidArgumentError if the dtype of an op differs from the array's."""
    if given != dtype:
        raise errors.invalid_argument(
            f"TensorArray dtype is {type_name(given)} but Op {what} dtype {type_name(dtype)}."
        )


def check_elements(shape: tuple[int, ...], wanted: Shape) -> None:
    """Raises InvalidArgumentError if the elements do not have the shape that an op states."""
    if not is_compatible(shape, wanted):
        raise errors.invalid_argument(
            f"TensorArray was passed element_shape {format_shape(wanted)} which does not match the "
            f"Tensor at index 0: {format_shape(shape)}"
        )


def check_part(index: int, shape: tuple[int, ...], rest: Shape) -> None:
    """Raises InvalidArgumentError if an element cannot be concatenated with others."""
    if not shape:
        raise errors.invalid_argument(
            f"Concat saw a scalar shape at index {index} but requires at least vectors.  Did you "
            "mean to call pack?"
        )
    if not is_compatible(shape[1:], rest):
        raise errors.invalid_argument(
            f"TensorArray was passed element_shape_except0 {format_shape(rest)} but index {index} "
            f"has (excepting dimension 0) shape: {format_shape(shape[1:])} which does not match."
        )


def check_split(value: Any, lengths: Any, size: int, dynamic: bool) -> None:
    """Raises InvalidArgumentError if ``value`` cannot be split into parts of these lengths."""
    if not value.shape:
        raise errors.invalid_argument(
            f"Expected value to be at least a vector, but received shape: {format_shape(())}"
        )
    if lengths.sum() != value.shape[0]:
        raise errors.invalid_argument(
            "Expected sum of lengths to be equal to values.shape[0], but sum of lengths is "
            f"{lengths.sum()} and value's shape is: {format_shape(value.shape)}"
        )
    if len(lengths) != size and not (dynamic and len(lengths) > size):
        raise errors.invalid_argument(
            f"TensorArray's size is not equal to the size of lengths ({size} vs. {len(lengths)}), "
            "and the TensorArray is not marked as dynamically resizeable"
        )


def known_element(
    shape: Shape, what: str = "element shape", doing: str = "packing"
) -> Sequence[int | None]:
    """Returns ``shape``; UnimplementedError if an empty result needs it and it is not known."""
    if shape is None or not is_fully_defined(shape):
        raise errors.unimplemented(
            f"TensorArray has size zero, but {what} {format_shape(shape)} is not fully defined. "
            f"Currently only static shapes are supported when {doing} zero-size TensorArrays."
        )
    return shape
