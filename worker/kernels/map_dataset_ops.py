"""Kernels of datasets that apply functions to the elements of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.proto import errors
from flowray.worker.data import elementwise, interleave, sequences
from flowray.worker.data.background import BackgroundIterator
from flowray.worker.data.dataset import (
    UNKNOWN,
    Dataset,
    DatasetIterator,
    Element,
    Made,
    as_variant,
    dataset_of,
)
from flowray.worker.data.elementwise import ElementFunction, as_element
from flowray.worker.data.functions import SharedCaller
from flowray.worker.data.kernels import (
    AUTOTUNE,
    Array,
    Shapes,
    Types,
    batched,
    bound,
    dataset_kernel,
    parallelism,
    positive,
    prefetched,
    threads,
)
from flowray.worker.data.process_pool import cpus
from flowray.worker.program.function import Function

# Element by element -------------------------------------------------------------------------------


def mapped(
    source: Dataset, function: ElementFunction, types: Types, shapes: Shapes, keep_count: bool
) -> Dataset:
    """Makes a dataset of ``function`` of each element, called when the element is asked for.

    Args:
        keep_count: whether an OutOfRangeError of the function is an error instead of the end.
    """
    return Dataset(
        types,
        shapes,
        lambda: elementwise.MapIterator(source.iterator(), function, keep_count),
        source.cardinality if keep_count else UNKNOWN,
    )


def mapped_in_parallel(
    source: Dataset,
    f: Function,
    captures: Sequence[Any],
    types: Types,
    shapes: Shapes,
    keep_count: bool,
    calls: int,
    in_order: bool,
) -> Dataset:
    """Makes a dataset of ``f`` of each element, computed ahead in up to ``calls`` parallel calls.

    Args:
        in_order: whether the results come in the order of the elements.
    """
    caller = SharedCaller(f, captures)

    def make(elements: Sequence[Element]) -> Sequence[Made]:
        return [elementwise.made(answer, keep_count) for answer in caller.each(elements)]

    return Dataset(
        types,
        shapes,
        lambda: BackgroundIterator(
            source.iterator(),
            make,
            lambda: caller.at_once,
            threads=threads(calls),
            capacity=calls,
            in_order=in_order,
        ),
        source.cardinality if keep_count else UNKNOWN,
    )


@dataset_kernel("MapDataset", "ExperimentalMapDataset")
def map_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    *,
    f: Function,
    preserve_cardinality: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Applies ``f`` to each element."""
    return mapped(
        dataset_of(input_dataset),
        bound(f, other_arguments),
        output_types,
        output_shapes,
        preserve_cardinality,
    )


@dataset_kernel("ParallelMapDataset")
def parallel_map_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    num_parallel_calls: Array,
    *,
    f: Function,
    sloppy: bool,
    preserve_cardinality: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Applies ``f`` to elements in parallel; ``sloppy`` lets results come in any order."""
    return mapped_in_parallel(
        dataset_of(input_dataset),
        f,
        other_arguments,
        output_types,
        output_shapes,
        preserve_cardinality,
        parallelism(num_parallel_calls),
        not sloppy,
    )


@dataset_kernel("ParallelMapDatasetV2")
def parallel_map_dataset_v2(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    num_parallel_calls: Array,
    *,
    f: Function,
    deterministic: bytes,
    preserve_cardinality: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Applies ``f`` to elements in parallel; in any order if ``deterministic`` is "false"."""
    return mapped_in_parallel(
        dataset_of(input_dataset),
        f,
        other_arguments,
        output_types,
        output_shapes,
        preserve_cardinality,
        parallelism(num_parallel_calls),
        deterministic != b"false",
    )


@dataset_kernel("MapAndBatchDataset", "ExperimentalMapAndBatchDataset")
def map_and_batch_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    batch_size: Array,
    num_parallel_calls: Array,
    drop_remainder: Array,
    *,
    f: Function,
    preserve_cardinality: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Applies ``f`` to elements in parallel and batches the results, one batch ahead."""
    # The source of the batches has no types of its own, since only the batches see its elements.
    rows = mapped_in_parallel(
        dataset_of(input_dataset),
        f,
        other_arguments,
        [],
        [],
        preserve_cardinality,
        parallelism(num_parallel_calls),
        in_order=True,
    )
    batches = batched(
        rows, batch_size, bool(drop_remainder), output_types, output_shapes, keep_step=True
    )
    return prefetched(batches, 1, output_types, output_shapes)


@dataset_kernel("FilterDataset")
def filter_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    *,
    predicate: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Keeps the elements for which ``predicate`` is True."""
    source, condition = dataset_of(input_dataset), bound(predicate, other_arguments)
    return Dataset(
        output_types,
        output_shapes,
        lambda: elementwise.FilterIterator(source.iterator(), condition),
    )


@dataset_kernel("FilterByLastComponentDataset")
def filter_by_last_component_dataset(
    xp: Any, input_dataset: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Keeps the elements whose last component, a bool scalar, is True, without that component."""
    source = dataset_of(input_dataset)
    return Dataset(
        output_types,
        output_shapes,
        lambda: elementwise.LastComponentFilterIterator(source.iterator()),
    )


@dataset_kernel("TakeWhileDataset", "ExperimentalTakeWhileDataset")
def take_while_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    *,
    predicate: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Takes elements until ``predicate`` is False."""
    source, condition = dataset_of(input_dataset), bound(predicate, other_arguments)
    return Dataset(
        output_types,
        output_shapes,
        lambda: elementwise.TakeWhileIterator(source.iterator(), condition),
    )


@dataset_kernel("ScanDataset", "ExperimentalScanDataset")
def scan_dataset(
    xp: Any,
    input_dataset: Array,
    initial_state: list[Any],
    other_arguments: list[Any],
    *,
    f: Function,
    preserve_cardinality: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Applies ``f(state, element) -> (state, output)`` and makes the outputs."""
    source, function = dataset_of(input_dataset), bound(f, other_arguments)
    state = as_element(initial_state)
    return Dataset(
        output_types,
        output_shapes,
        lambda: elementwise.ScanIterator(source.iterator(), state, function, preserve_cardinality),
    )


@dataset_kernel("IgnoreErrorsDataset", "ExperimentalIgnoreErrorsDataset")
def ignore_errors_dataset(
    xp: Any, input_dataset: Array, *, log_warning: bool, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Skips elements whose computation fails; logs them if ``log_warning``."""
    source = dataset_of(input_dataset)
    return Dataset(
        output_types,
        output_shapes,
        lambda: elementwise.IgnoreErrorsIterator(source.iterator(), log_warning),
    )


@dataset_kernel("UniqueDataset", "ExperimentalUniqueDataset")
def unique_dataset(
    xp: Any, input_dataset: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Skips elements that came before; elements are scalars of an integer type or strings."""
    source = dataset_of(input_dataset)
    return Dataset(
        output_types, output_shapes, lambda: elementwise.UniqueIterator(source.iterator())
    )


@dataset_kernel("GroupByWindowDataset", "ExperimentalGroupByWindowDataset")
def group_by_window_dataset(
    xp: Any,
    input_dataset: Array,
    key_func_other_arguments: list[Any],
    reduce_func_other_arguments: list[Any],
    window_size_func_other_arguments: list[Any],
    *,
    key_func: Function,
    reduce_func: Function,
    window_size_func: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Groups elements by ``key_func`` and makes a dataset of each full window."""
    source = dataset_of(input_dataset)
    return Dataset(
        output_types,
        output_shapes,
        lambda: elementwise.GroupByWindowIterator(
            source.iterator(),
            bound(key_func, key_func_other_arguments),
            bound(reduce_func, reduce_func_other_arguments),
            bound(window_size_func, window_size_func_other_arguments),
            lambda elements: as_variant(sequences.list_dataset(source, elements)),
        ),
    )


# Datasets of datasets -----------------------------------------------------------------------------


@dataset_kernel("FlatMapDataset")
def flat_map_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    *,
    f: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Makes the elements of the dataset that ``f`` returns for each element."""
    source = dataset_of(input_dataset)
    open_ = interleave.opener(bound(f, other_arguments), "FlatMapDataset")
    return Dataset(
        output_types,
        output_shapes,
        lambda: interleave.FlatMapIterator(source.iterator(), open_),
    )


def interleaved(
    source: Any,
    f: Function,
    captures: list[Any],
    types: Types,
    shapes: Shapes,
    cycle_length: Any,
    block_length: Any,
    *,
    ahead: int = 0,
    buffer: int = 0,
) -> Dataset:
    """Makes a dataset that takes elements by turns from the datasets that ``f`` returns.

    Args:
        cycle_length: how many inner datasets take turns; -1 for the number of cores.
        block_length: how many elements each gives at its turn.
        ahead: how many inner datasets after those of the cycle are opened in advance.
        buffer: how many elements of each open one are computed in advance; 0 for none.
    """
    dataset = dataset_of(source)
    cycle = cpus() if int(cycle_length) == AUTOTUNE else positive("cycle_length", cycle_length)
    block = positive("block_length", block_length)
    open_ = interleave.opener(bound(f, captures), "InterleaveDataset")
    if buffer:
        open_ = interleave.read_ahead(open_, max(buffer, block))

    def iterate() -> DatasetIterator:
        return interleave.InterleaveIterator(dataset.iterator(), open_, cycle, block, ahead)

    return Dataset(types, shapes, iterate)


@dataset_kernel("InterleaveDataset")
def interleave_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    cycle_length: Array,
    block_length: Array,
    *,
    f: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Takes elements by turns from the datasets that ``f`` returns; see ``interleaved``."""
    return interleaved(
        input_dataset, f, other_arguments, output_types, output_shapes, cycle_length, block_length
    )


@dataset_kernel("ParallelInterleaveDatasetV2")
def parallel_interleave_dataset_v2(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    cycle_length: Array,
    block_length: Array,
    num_parallel_calls: Array,
    *,
    f: Function,
    sloppy: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Interleaves datasets whose elements are computed in advance; always in order."""
    parallelism(num_parallel_calls)
    return interleaved(
        input_dataset,
        f,
        other_arguments,
        output_types,
        output_shapes,
        cycle_length,
        block_length,
        buffer=1,
    )


@dataset_kernel("ParallelInterleaveDatasetV3")
def parallel_interleave_dataset_v3(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    cycle_length: Array,
    block_length: Array,
    num_parallel_calls: Array,
    *,
    f: Function,
    deterministic: bytes,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Interleaves datasets whose elements are computed in advance; always in order."""
    parallelism(num_parallel_calls)
    return interleaved(
        input_dataset,
        f,
        other_arguments,
        output_types,
        output_shapes,
        cycle_length,
        block_length,
        buffer=1,
    )


@dataset_kernel("ParallelInterleaveDatasetV4")
def parallel_interleave_dataset_v4(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    cycle_length: Array,
    block_length: Array,
    buffer_output_elements: Array,
    prefetch_input_elements: Array,
    num_parallel_calls: Array,
    *,
    f: Function,
    deterministic: bytes,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Interleaves datasets with given numbers of elements and inputs to compute in advance."""
    parallelism(num_parallel_calls)
    return interleaved(
        input_dataset,
        f,
        other_arguments,
        output_types,
        output_shapes,
        cycle_length,
        block_length,
        ahead=max(0, int(prefetch_input_elements)),
        buffer=max(1, int(buffer_output_elements)),
    )


def _legacy_interleaved(
    input_dataset: Array,
    f: Function,
    captures: list[Any],
    types: Types,
    shapes: Shapes,
    cycle_length: Array,
    block_length: Array,
    buffer_output_elements: Array,
    prefetch_input_elements: Array,
) -> Dataset:
    buffer, ahead = int(buffer_output_elements), int(prefetch_input_elements)
    if buffer == AUTOTUNE:
        buffer = 2 * int(block_length)
    if ahead == AUTOTUNE:
        ahead = 2 * int(cycle_length)
    if ahead < 0:
        raise errors.invalid_argument(f"prefetch_input_elements must be >= 0 but is {ahead}")
    return interleaved(
        input_dataset,
        f,
        captures,
        types,
        shapes,
        cycle_length,
        block_length,
        ahead=ahead,
        buffer=positive("buffer_output_elements", buffer),
    )


# With ``sloppy`` any order is right, so the elements come in order here, too.
@dataset_kernel("ParallelInterleaveDataset", "ExperimentalParallelInterleaveDataset")
def parallel_interleave_dataset(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    cycle_length: Array,
    block_length: Array,
    sloppy: Array,
    buffer_output_elements: Array,
    prefetch_input_elements: Array,
    *,
    f: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Interleaves datasets whose elements are computed in advance; always in order."""
    return _legacy_interleaved(
        input_dataset,
        f,
        other_arguments,
        output_types,
        output_shapes,
        cycle_length,
        block_length,
        buffer_output_elements,
        prefetch_input_elements,
    )


@dataset_kernel("LegacyParallelInterleaveDatasetV2")
def legacy_parallel_interleave_dataset_v2(
    xp: Any,
    input_dataset: Array,
    other_arguments: list[Any],
    cycle_length: Array,
    block_length: Array,
    buffer_output_elements: Array,
    prefetch_input_elements: Array,
    *,
    f: Function,
    deterministic: bytes,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Interleaves datasets whose elements are computed in advance; always in order."""
    return _legacy_interleaved(
        input_dataset,
        f,
        other_arguments,
        output_types,
        output_shapes,
        cycle_length,
        block_length,
        buffer_output_elements,
        prefetch_input_elements,
    )
