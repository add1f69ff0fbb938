"""Kernels of datasets that batch elements or make windows of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.worker.data import batching, sequences
from flowray.worker.data.dataset import (
    Dataset,
    Element,
    as_variant,
    dataset_of,
)
from flowray.worker.data.kernels import (
    Array,
    Shapes,
    Types,
    batch_count,
    batched,
    dataset_kernel,
)


@dataset_kernel("BatchDataset")
def batch_dataset(
    xp: Any,
    input_dataset: Array,
    batch_size: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Batches ``batch_size`` elements each; the last batch may be smaller."""
    return batched(dataset_of(input_dataset), batch_size, False, output_types, output_shapes)


@dataset_kernel("BatchDatasetV2")
def batch_dataset_v2(
    xp: Any,
    input_dataset: Array,
    batch_size: Array,
    drop_remainder: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Batches ``batch_size`` elements each.

    A smaller last batch is dropped if ``drop_remainder``.
    """
    return batched(
        dataset_of(input_dataset), batch_size, bool(drop_remainder), output_types, output_shapes
    )


@dataset_kernel("PaddedBatchDatasetV2")
def padded_batch_dataset_v2(
    xp: Any,
    input_dataset: Array,
    batch_size: Array,
    padded_shapes: list[Array],
    padding_values: list[Array],
    drop_remainder: Array,
    *,
    Toutput_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Batches elements padded to a common shape.

    Args:
        padded_shapes: a vector for each component; -1 pads to the largest size in the batch.
        padding_values: a scalar for each component.
    """
    source, rows, drop = dataset_of(input_dataset), int(batch_size), bool(drop_remainder)
    if rows <= 0:
        raise errors.invalid_argument("Batch size must be greater than zero.")
    if any(value.ndim for value in padding_values):
        raise errors.invalid_argument("All padding values must be scalars")
    shapes: Shapes = [
        tuple(None if size < 0 else size for size in shape.tolist()) for shape in padded_shapes
    ]
    return Dataset(
        Toutput_types,
        output_shapes,
        lambda: batching.PaddedBatchIterator(source.iterator(), rows, drop, shapes, padding_values),
        batch_count(source.cardinality, rows, drop),
    )


@dataset_kernel("PaddedBatchDataset")
def padded_batch_dataset(
    xp: Any,
    input_dataset: Array,
    batch_size: Array,
    padded_shapes: list[Array],
    padding_values: list[Array],
    *,
    Toutput_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Batches elements padded to a common shape; the last batch may be smaller."""
    return padded_batch_dataset_v2(
        xp,
        input_dataset,
        batch_size,
        padded_shapes,
        padding_values,
        np.array(False),
        Toutput_types=Toutput_types,
        output_shapes=output_shapes,
    )


@dataset_kernel("UnbatchDataset", "ExperimentalUnbatchDataset")
def unbatch_dataset(
    xp: Any, input_dataset: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Splits each element along its first axis into elements."""
    source = dataset_of(input_dataset)
    return Dataset(output_types, output_shapes, lambda: batching.UnbatchIterator(source.iterator()))


@dataset_kernel("WindowDataset")
def window_dataset(
    xp: Any,
    input_dataset: Array,
    size: Array,
    shift: Array,
    stride: Array,
    drop_remainder: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Makes windows of elements; each component of a window is a dataset."""
    source, drop = dataset_of(input_dataset), bool(drop_remainder)
    sizes = _window_sizes(size, shift, stride)

    def window(elements: Sequence[Element]) -> Element:
        """A dataset for each component."""
        return tuple(
            as_variant(
                Dataset(
                    source.types[i : i + 1],
                    source.shapes[i : i + 1],
                    functools.partial(sequences.ListIterator, [e[i : i + 1] for e in elements]),
                    len(elements),
                )
            )
            for i in range(len(source.types))
        )

    return Dataset(
        output_types,
        output_shapes,
        lambda: sequences.WindowIterator(source.iterator(), *sizes, drop, window),
    )


def _window_sizes(size: Any, shift: Any, stride: Any) -> tuple[int, int, int]:
    for name, value in (("size", size), ("shift", shift), ("stride", stride)):
        if value <= 0:
            raise errors.invalid_argument(f"Window {name} must be greater than zero.")
    return int(size), int(shift), int(stride)


def _sliding(
    input_dataset: Array,
    size: Array,
    shift: Array,
    stride: Array,
    drop_remainder: bool,
    types: Types,
    shapes: Shapes,
) -> Dataset:
    source = dataset_of(input_dataset)
    sizes = _window_sizes(size, shift, stride)

    def window(elements: Sequence[Element]) -> Element:
        columns = zip(*elements, strict=True)
        spares = batching.Spares()
        return tuple(batching.stack(i, column, spares) for i, column in enumerate(columns))

    return Dataset(
        types,
        shapes,
        lambda: sequences.WindowIterator(source.iterator(), *sizes, drop_remainder, window),
    )


@dataset_kernel("SlidingWindowDataset")
def sliding_window_dataset(
    xp: Any,
    input_dataset: Array,
    window_size: Array,
    window_shift: Array,
    window_stride: Array,
    *,
    drop_remainder: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Makes windows of elements, each stacked to a batch."""
    return _sliding(
        input_dataset,
        window_size,
        window_shift,
        window_stride,
        drop_remainder,
        output_types,
        output_shapes,
    )


@dataset_kernel("ExperimentalSlidingWindowDataset")
def experimental_sliding_window_dataset(
    xp: Any,
    input_dataset: Array,
    window_size: Array,
    window_shift: Array,
    window_stride: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Makes windows of elements, each stacked to a batch; a smaller last window is dropped."""
    return _sliding(
        input_dataset, window_size, window_shift, window_stride, True, output_types, output_shapes
    )
