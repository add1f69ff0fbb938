"""Stacks and tensor arrays inside an XLA program, which has no lists.

A stack is an array, whose capacity is the largest number of values that was ever seen on it, and a
count. A tensor array is one array of all its elements. So all values of a stack, and all elements
of an array, must have one shape. Loops carry them as they carry variables (``structured.py``). The
first write gives the shape: before it, the resource has no value.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape, is_compatible, is_fully_defined
from flowray.worker.execution import xla
from flowray.worker.execution.checks import ErrorFunction, RunAgainError, check
from flowray.worker.execution.structured import LazyState, NotCompilableError
from flowray.worker.program.executor import current
from flowray.worker.state.step_resources import (
    Done,
    StepResource,
    check_elements,
    check_part,
    check_split,
    is_empty,
    known_element,
    overflowed,
    read_beyond,
    read_twice,
    scatter_beyond,
    unwritten,
    write_beyond,
    written_already,
    wrong_element,
)
from flowray.worker.state.store import Resource

_UNSEEN_CAPACITY = 64
"""The capacity of a stack that no run has pushed to yet."""


class TracedResource(StepResource, LazyState):
    """A resource of a trace; ``_value`` is a pytree of arrays, or None before it is written."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._value: Any = None

    def assign(self, value: Any) -> None:
        """Sets the value: arrays or tracers, in one structure."""
        self._value = value


T = TypeVar("T", bound=TracedResource)


def adopt(resource: T) -> T:
    """Adds ``resource`` to the current trace, and returns it."""
    trace: Any = current()
    trace.proxies[id(resource)] = resource
    return resource


class _Pushed(NamedTuple):
    values: Any
    count: Any


class TracedStack(TracedResource):
    """A ``step_resources.Stack`` of a trace; a push beyond its capacity raises RunAgainError.

    If all values that are pushed are equal and known to the trace (a shape, for example), so are
    the values that are popped.
    """

    def __init__(self, name: str, elem_type: DType, max_size: int, seen: int) -> None:
        super().__init__(name)
        self.elem_type = elem_type
        self._max_size = max_size
        self._capacity = 1 << max(seen - 1, 0).bit_length() if seen else _UNSEEN_CAPACITY
        self._known: Any = None

    def push(self, value: Any) -> None:
        """Pushes a value; NotCompilableError if its shape differs from the other values'."""
        jnp = xla.numpy()
        if isinstance(value, Resource):
            raise NotCompilableError(f"stack {self.name} gets resources")
        known = isinstance(value, np.ndarray | np.generic)
        if self._value is None:
            self._known = value if known else None
            kept = () if known else jnp.zeros((self._capacity, *value.shape), value.dtype)
            self._value = _Pushed(kept, jnp.int32(0))
        values, count = self._value
        if self._known is not None:
            if not known or not np.array_equal(value, self._known):
                raise NotCompilableError(f"stack {self.name} gets a shape that changes")
        elif values.shape[1:] != value.shape:
            raise NotCompilableError(f"stack {self.name} gets values of different shapes")
        if self._max_size >= 0:
            check(count < self._max_size, lambda: overflowed(self.name, self._max_size))
        if self._known is None:
            check(count < self._capacity, lambda: RunAgainError(f"{self.name} is full"))
            values = xla.jax().lax.dynamic_update_index_in_dim(values, value, count, 0)
        self.assign(_Pushed(values, count + jnp.int32(1)))

    def pop(self) -> Any:
        """Removes the last value and returns it; a check finds an empty stack."""
        if self._value is None:
            raise NotCompilableError(f"nothing that is traced is on stack {self.name}")
        values, count = self._value
        check(count > 0, lambda: is_empty(self.name))
        count = count - xla.numpy().int32(1)
        self.assign(_Pushed(values, count))
        if self._known is not None:
            return self._known
        return xla.jax().lax.dynamic_index_in_dim(values, count, 0, keepdims=False)

    def close(self) -> None:
        """Raises NotCompilableError: a stack of a trace ends with it."""
        raise NotCompilableError(f"stack {self.name} is closed")


class _Elements(NamedTuple):
    values: Any
    done: Any
    """``Done`` of each, as uint8."""


class TracedArray(TracedResource):
    """A ``step_resources.TensorArray`` of a trace. Its size is known while XLA traces."""

    def __init__(
        self,
        name: str,
        dtype: DType,
        size: int,
        element_shape: Shape,
        *,
        clear_after_read: bool = True,
        adds: bool = False,
        of: TracedArray | None = None,
    ) -> None:
        super().__init__(name)
        self.dtype = dtype
        self.size = size
        self.element_shape = element_shape
        self._clear_after_read = clear_after_read
        self._adds = adds
        self._gradients: dict[bytes, TracedArray] = {}
        self.belongs_to = of

    # Writing

    def write(self, index: Any, value: Any) -> None:
        """Writes one element; NotCompilableError if its shape differs from the others'."""
        jax = xla.jax()
        check(
            (index >= 0) & (index < self.size),
            lambda i: write_beyond(self.name, i, self.size),
            index,
        )
        values, done = self._elements(value.shape, index)
        before = jax.lax.dynamic_index_in_dim(done, index, 0, keepdims=False)
        self._check_unread(before, index)
        if self._adds:
            old = jax.lax.dynamic_index_in_dim(values, index, 0, keepdims=False)
            value = old + value
        else:
            check(before & Done.WRITTEN == 0, lambda i: written_already(self.name, i), index)
        self.assign(
            _Elements(
                jax.lax.dynamic_update_index_in_dim(values, value, index, 0),
                jax.lax.dynamic_update_index_in_dim(done, np.uint8(Done.WRITTEN), index, 0),
            )
        )

    def _check_unread(self, done: Any, index: Any) -> None:
        def read(i: Any) -> errors.OpError:
            return errors.invalid_argument(
                f"TensorArray {self.name}: Could not write to TensorArray index {int(i)} because "
                "it has already been read."
            )

        _check_all(done & Done.READ == 0, read, index)

    def scatter(self, indices: Any, value: Any) -> None:
        """Writes the rows of ``value``; NotCompilableError unless the trace knows ``indices``."""
        if not isinstance(indices, np.ndarray):
            raise NotCompilableError(f"tensor array {self.name} is written at computed indices")
        if not indices.size:
            return
        if indices.max() >= self.size:
            raise scatter_beyond(indices.max(), self.size)
        self._scatter(indices, value)

    def _scatter(self, indices: Any, value: Any) -> None:
        jnp = xla.numpy()
        if len(set(indices.tolist())) < len(indices) or (indices < 0).any():
            raise NotCompilableError(f"tensor array {self.name} is written twice, or before 0")
        values, done = self._elements(value.shape[1:], 0)
        self._check_unread(done[indices], indices)
        whole = np.array_equal(indices, np.arange(self.size))
        if self._adds:
            values = values + value if whole else values.at[indices].add(value)
        else:
            free = done[indices] & Done.WRITTEN == 0
            _check_all(free, lambda i: written_already(self.name, i), indices)
            values = jnp.asarray(value) if whole else values.at[indices].set(value)
        self.assign(_Elements(values, done.at[indices].set(np.uint8(Done.WRITTEN))))

    def split(self, value: Any, lengths: Any) -> None:
        """Writes consecutive parts; NotCompilableError unless they are equally long."""
        check_split(value, lengths, self.size, False)
        if len(set(lengths.tolist())) > 1:
            raise NotCompilableError(f"tensor array {self.name} gets parts of different lengths")
        if self.size:
            parts = value.reshape((self.size, int(lengths[0]), *value.shape[1:]))
            self._scatter(np.arange(self.size), parts)

    # Reading

    def read(self, index: Any) -> Any:
        """Reads one element; checks find an index, or an element, that cannot be read."""
        jax = xla.jax()
        check((index >= 0) & (index < self.size), lambda i: read_beyond(i, self.size), index)
        values, done = self._elements(None, index)
        before = jax.lax.dynamic_index_in_dim(done, index, 0, keepdims=False)
        check(before & Done.CLEARED == 0, lambda i: read_twice(self.name, i), index)
        self._check_written(before, index)
        after = jax.lax.dynamic_update_index_in_dim(done, before | self._after_read, index, 0)
        self.assign(_Elements(values, after))
        return jax.lax.dynamic_index_in_dim(values, index, 0, keepdims=False)

    @property
    def _after_read(self) -> Any:
        return np.uint8(Done.READ | Done.CLEARED if self._clear_after_read else Done.READ)

    def _check_written(self, done: Any, index: Any) -> None:
        """Checks that elements were written, unless unwritten ones are zeros.

        They are zeros if the shape of elements was given, and in arrays of gradients.
        """
        shape = self.element_shape
        if self.belongs_to is None and (shape is None or not is_fully_defined(shape)):
            written = done & Done.WRITTEN != 0
            _check_all(written, lambda i: unwritten(self.name, i, shape), index)

    def gather(self, indices: Any, element_shape: Shape) -> Any:
        """Stacks the elements at ``indices``.

        NotCompilableError if they might be read twice and reading clears them.
        """
        if not indices.shape[0]:
            shape = (0, *known_element(element_shape))
            return np.zeros(shape, self.dtype.np_dtype)
        values = self._all_read(indices)
        check_elements(values.shape[1:], element_shape)
        return values

    def _all_read(self, indices: Any) -> Any:
        known = isinstance(indices, np.ndarray)
        if self._clear_after_read and not (known and len(set(indices.tolist())) == len(indices)):
            raise NotCompilableError(f"tensor array {self.name} may be read twice")
        inside = (indices >= 0) & (indices < self.size)
        _check_all(inside, lambda i: read_beyond(i, self.size), indices)
        values, done = self._elements(None, 0)
        before = done[indices]
        _check_all(before & Done.CLEARED == 0, lambda i: read_twice(self.name, i), indices)
        self._check_written(before, indices)
        self.assign(_Elements(values, done.at[indices].set(before | self._after_read)))
        whole = known and np.array_equal(indices, np.arange(self.size))
        return values if whole else values[indices]

    def concat(self, rest: Shape) -> tuple[Any, Any]:
        """Concatenates all elements; returns the array and the lengths, int64, all equal."""
        if not self.size:
            shape = (0, *known_element(rest, "element_shape_except0", "concatenating"))
            return np.zeros(shape, self.dtype.np_dtype), np.zeros(0, np.int64)
        values = self._all_read(np.arange(self.size))
        check_part(0, values.shape[1:], rest)
        lengths = np.full(self.size, values.shape[1], np.int64)
        return values.reshape((-1, *values.shape[2:])), lengths

    def _elements(self, shape: tuple[int, ...] | None, index: Any) -> _Elements:
        """Returns the elements; before the first write, zeros of ``shape`` or the known shape."""
        jnp = xla.numpy()
        if shape is not None and not is_compatible(self.element_shape, shape):
            raise wrong_element(self.name, 0, shape, self.element_shape)
        if self._value is None:
            if shape is None:
                shape = self._known_shape()
            return _Elements(
                jnp.zeros((self.size, *shape), self.dtype.np_dtype),
                jnp.zeros(self.size, np.uint8),
            )
        if shape is not None and self._value.values.shape[1:] != shape:
            raise NotCompilableError(f"tensor array {self.name} gets elements of different shapes")
        return self._value  # type: ignore[no-any-return]

    def _known_shape(self) -> tuple[int, ...]:
        of = self.belongs_to
        if of is not None and of._value is not None:
            return tuple(of._value.values.shape[1:])
        if self.element_shape is None or not is_fully_defined(self.element_shape):
            raise NotCompilableError(f"nothing that is traced is in tensor array {self.name}")
        return self.element_shape

    # Gradients

    def gradient(self, source: bytes, prepended: tuple[int, ...] = ()) -> TracedArray:
        """Returns the array of gradients for ``source``, made at the first call.

        NotCompilableError if its elements have other dimensions than those of this array.
        """
        if prepended:
            raise NotCompilableError(f"tensor array {self.name} has gradients of another shape")
        found = self._gradients.get(source)
        if found is None:
            found = self._gradients[source] = TracedArray(
                f"{self.name}@{source.decode()}",
                self.dtype,
                self.size,
                self.element_shape,
                adds=True,
                of=self,
            )
            adopt(found)
        return found

    def close(self) -> None:
        """Raises NotCompilableError: an array of a trace ends with it."""
        raise NotCompilableError(f"tensor array {self.name} is closed")


def _check_all(ok: Any, make_error: ErrorFunction, index: Any) -> None:
    """Adds a check of each element that ``index`` names (one, or a vector of them)."""
    if ok.ndim:
        if isinstance(ok, np.ndarray):
            index = index[ok.argmin()]
        else:
            index = xla.numpy().asarray(index)[ok.argmin()]
        ok = ok.all()
    check(ok, make_error, index)
