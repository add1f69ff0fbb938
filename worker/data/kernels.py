"""Parts that the kernels of dataset ops share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape
from flowray.worker.data import batching
from flowray.worker.data.background import BackgroundIterator
from flowray.worker.data.dataset import (
    Dataset,
    as_variant,
)
from flowray.worker.data.elementwise import ElementFunction
from flowray.worker.data.functions import ElementCaller
from flowray.worker.data.process_pool import cpus
from flowray.worker.kernel_registry import add_kernel
from flowray.worker.program.function import Function

Array = np.ndarray[Any, Any]
Types = list[DType]
Shapes = list[Shape]
F = TypeVar("F", bound=Callable[..., Dataset])

AUTOTUNE: Final = -1
AUTOTUNED_PREFETCH: Final = 4


def dataset_kernel(*op_names: str) -> Callable[[F], F]:
    """Registers a function that returns a Dataset as a kernel that returns it as a tensor."""

    def register(make: F) -> F:
        @functools.wraps(make)
        def compute(*args: Any, **attrs: Any) -> Array:
            return as_variant(make(*args, **attrs))

        for name in op_names:
            add_kernel(name, compute)
        return make

    return register


def bound(function: Function, captures: Sequence[Any]) -> ElementFunction:
    """Binds the captures of ``function``; the result takes the components of an element."""
    return ElementCaller(function, captures)


def positive(name: str, value: Any) -> int:
    """Converts a scalar argument; InvalidArgumentError unless it is greater than zero."""
    number = int(value)
    if number <= 0:
        raise errors.invalid_argument(f"{name} must be greater than zero.")
    return number


def parallelism(value: Any) -> int:
    """Converts ``num_parallel_calls``; AUTOTUNE becomes the number of cores."""
    number = int(value)
    if number == AUTOTUNE:
        return cpus()
    return positive("num_parallel_calls", number)


def threads(calls: int) -> int:
    """Returns the number of threads for ``calls`` calls at a time: as in TensorFlow, at most the
    cores.
    """
    return min(calls, max(cpus(), 2))


def prefetched(source: Dataset, size: int, types: Types, shapes: Shapes) -> Dataset:
    """Makes a dataset that computes up to ``size`` elements of ``source`` in advance."""
    return Dataset(
        types,
        shapes,
        lambda: BackgroundIterator(source.iterator(), capacity=size),
        source.cardinality,
    )


def batched(
    source: Dataset,
    batch_size: Any,
    drop_remainder: bool,
    types: Types,
    shapes: Shapes,
    keep_step: bool = False,
) -> Dataset:
    """Makes a dataset of batches of ``batch_size`` elements.

    Args:
        keep_step: see ``batching.Collecting``.
    """
    rows = int(batch_size)
    if rows <= 0:
        raise errors.invalid_argument("Batch size must be greater than zero.")
    return Dataset(
        types,
        shapes,
        lambda: batching.BatchIterator(source.iterator(), rows, drop_remainder, keep_step),
        batch_count(source.cardinality, rows, drop_remainder),
    )


def batch_count(count: int, rows: int, drop_remainder: bool) -> int:
    """Returns the number of batches of ``count`` elements; INFINITE and UNKNOWN stay."""
    if count < 0:
        return count
    return count // rows if drop_remainder else -(-count // rows)
