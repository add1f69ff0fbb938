"""Datasets of what Python generators give."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flowray.client.data import nest, structure
from flowray.client.data.structure import TensorStructure
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.function import trace
from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops.script_ops import py_func
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType


def generator_dataset(
    generator: Callable[..., Iterable[Any]],
    output_types: Any,
    output_shapes: Any = None,
    args: Sequence[Any] | None = None,
) -> tuple[Tensor, Any]:
    """Makes the dataset of what ``generator`` gives; it is called anew for every pass.

    As ``tf.py_func``, it works in a ``Session`` without a target only.

    Args:
        generator: called with the values of ``args``; what it returns is iterated over.
        output_types: nested dtypes of the elements.
        output_shapes: their shapes; unknown if None.
        args: tensors.

    Returns:
        The variant tensor of the dataset and the structure of its elements.

    Raises:
        TypeError: ``generator`` is not callable, or ``args`` is not a sequence.
    """
    if not callable(generator):
        raise TypeError("`generator` must be callable.")
    element = structure.from_legacy(output_types, output_shapes)
    inputs = [convert_to_tensor(arg, name="args") for arg in args or ()]
    running = _Running(generator, output_types, nest.flatten(element))
    flat_types = [leaf.dtype for leaf in nest.flatten(element)]

    def begin() -> Tensor:
        key: Tensor = py_func(running.begin, inputs, dtypes.int64)
        return key

    def produce(key: Tensor) -> list[Tensor]:
        values: list[Tensor] = py_func(running.produce, [key], flat_types)
        for tensor, leaf in zip(values, nest.flatten(element), strict=True):
            tensor.set_shape(leaf.shape)
        return values

    def finish(key: Tensor) -> Tensor:
        done: Tensor = py_func(running.finish, [key], dtypes.int64)
        return done

    functions = [
        trace(begin, [], "generator_init"),
        trace(produce, [(dtypes.int64, [])], "generator_next"),
        trace(finish, [(dtypes.int64, [])], "generator_finalize"),
    ]
    variant = apply_op(
        "GeneratorDataset",
        *[function.captures for function in functions],
        init_func=functions[0],
        next_func=functions[1],
        finalize_func=functions[2],
        **structure.flat_attrs(element),
    )
    return variant, element


class _Running:
    """The passes over a generator that are under way, by a number that the graph carries."""

    def __init__(
        self,
        generator: Callable[..., Iterable[Any]],
        types: Any,
        leaves: Sequence[TensorStructure],
    ) -> None:
        self._generator = generator
        self._types = types
        self._leaves = leaves
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._iterators: dict[int, Iterator[Any]] = {}

    def begin(self, *args: Any) -> np.int64:
        iterator = iter(self._generator(*args))
        with self._lock:
            number = next(self._numbers)
            self._iterators[number] = iterator
        return np.int64(number)

    def produce(self, number: np.int64) -> list[np.ndarray]:
        """Returns the components of the next element.

        StopIteration at the end; TypeError or ValueError if they are not as promised.
        """
        value = next(self._iterators[int(number)])
        try:
            parts = nest.flatten_up_to(self._types, value)
        except (TypeError, ValueError):
            raise TypeError(
                "`generator` yielded an element that did not match the expected structure. The "
                f"expected structure was {self._types}, but the yielded element was {value}."
            ) from None
        return [_converted(part, leaf) for part, leaf in zip(parts, self._leaves, strict=True)]

    def finish(self, number: np.int64) -> np.int64:
        with self._lock:
            iterator = self._iterators.pop(int(number), None)
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        return np.int64(0)


def _converted(value: Any, leaf: TensorStructure) -> np.ndarray:
    dtype: DType = leaf.dtype
    try:
        array = np.asarray(value, dtype.as_numpy_dtype)
    except (TypeError, ValueError):
        raise TypeError(
            "`generator` yielded an element that could not be converted to the expected type. The "
            f"expected type was {dtype.name}, but the yielded element was {value}."
        ) from None
    if not leaf.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"`generator` yielded an element of shape {array.shape} where an element of shape "
            f"{leaf.shape} was expected."
        )
    return array
