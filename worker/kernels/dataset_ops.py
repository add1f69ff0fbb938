"""Kernels that make datasets. Each returns a ``Dataset``; its iterators are in ``worker/data``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.worker.data import batching, sequences
from flowray.worker.data.dataset import (
    INFINITE,
    UNKNOWN,
    Dataset,
    dataset_of,
)
from flowray.worker.data.elementwise import as_element
from flowray.worker.data.kernels import (
    AUTOTUNE,
    Array,
    Shapes,
    Types,
    bound,
    dataset_kernel,
    prefetched,
)
from flowray.worker.data.shuffle import RandomIterator, Seeds, ShuffleIterator
from flowray.worker.data.sources import GeneratorIterator, RangeIterator, SliceIterator
from flowray.worker.execution.interpreter import current_cancellation
from flowray.worker.kernel_registry import kernel
from flowray.worker.program.function import Function

_AUTOTUNED_PREFETCH: Final = 4


# Sources ------------------------------------------------------------------------------------------


@dataset_kernel("TensorDataset")
def tensor_dataset(
    xp: Any, components: list[Any], *, Toutput_types: Types, output_shapes: Shapes
) -> Dataset:
    """Makes a dataset of one element."""
    element = as_element(components)
    return Dataset(
        Toutput_types, output_shapes, lambda: sequences.ListIterator([element]), cardinality=1
    )


@dataset_kernel("TensorSliceDataset")
def tensor_slice_dataset(
    xp: Any, components: list[Any], *, Toutput_types: Types, output_shapes: Shapes
) -> Dataset:
    """Makes an element of each row of the components, which must have equally many."""
    element = as_element(components)
    rows = batching.row_count(element)
    return Dataset(Toutput_types, output_shapes, lambda: SliceIterator(element), rows)


@dataset_kernel("RangeDataset")
def range_dataset(
    xp: Any, start: Array, stop: Array, step: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Makes the integers ``range(start, stop, step)`` as scalars of the output type.

    Raises:
        InvalidArgumentError: ``step`` is 0.
    """
    values = range(int(start), int(stop), _nonzero(int(step)))
    dtype = output_types[0].as_numpy_dtype
    return Dataset(
        output_types,
        output_shapes,
        lambda: RangeIterator(values.start, values.stop, values.step, dtype),
        len(values),
    )


def _nonzero(step: int) -> int:
    if step == 0:
        raise errors.invalid_argument("step must be a non-zero integer.")
    return step


@dataset_kernel("RandomDataset")
def random_dataset(
    xp: Any, seed: Array, seed2: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Makes an endless sequence of random int64 scalars; both seeds 0 give a random seed."""
    first = Seeds(int(seed), int(seed2), fresh=False)
    return Dataset(output_types, output_shapes, lambda: RandomIterator(first.next()), INFINITE)


@dataset_kernel("GeneratorDataset")
def generator_dataset(
    xp: Any,
    init_func_other_args: list[Any],
    next_func_other_args: list[Any],
    finalize_func_other_args: list[Any],
    *,
    init_func: Function,
    next_func: Function,
    finalize_func: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Makes elements with ``next_func`` until it raises OutOfRangeError.

    ``init_func`` runs at the first element and gives the state that the other functions get;
    ``finalize_func`` runs once at the end.
    """
    return Dataset(
        output_types,
        output_shapes,
        lambda: GeneratorIterator(
            bound(init_func, init_func_other_args),
            bound(next_func, next_func_other_args),
            bound(finalize_func, finalize_func_other_args),
        ),
    )


# Sequences ----------------------------------------------------------------------------------------


@dataset_kernel("RepeatDataset")
def repeat_dataset(
    xp: Any, input_dataset: Array, count: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Repeats the input ``count`` times; for ever if it is negative."""
    source, times = dataset_of(input_dataset), int(count)
    return Dataset(
        output_types,
        output_shapes,
        lambda: sequences.RepeatIterator(source, times),
        _repeated(source.cardinality, times),
    )


def _repeated(count: int, times: int) -> int:
    if times == 0 or count == 0:
        return 0
    if times < 0:
        return INFINITE if count != UNKNOWN else UNKNOWN
    return count * times if count > 0 else count


@dataset_kernel("TakeDataset")
def take_dataset(
    xp: Any, input_dataset: Array, count: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Takes the first ``count`` elements; all if it is negative."""
    source, limit = dataset_of(input_dataset), int(count)
    size = source.cardinality
    if limit >= 0 and size != UNKNOWN:
        size = limit if size == INFINITE else min(size, limit)
    return Dataset(
        output_types, output_shapes, lambda: sequences.TakeIterator(source.iterator(), limit), size
    )


@dataset_kernel("SkipDataset")
def skip_dataset(
    xp: Any, input_dataset: Array, count: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Skips the first ``count`` elements; all if it is negative."""
    source, skipped = dataset_of(input_dataset), int(count)
    size = source.cardinality
    if skipped < 0:
        size = 0
    elif size >= 0:
        size = max(0, size - skipped)
    return Dataset(
        output_types,
        output_shapes,
        lambda: sequences.SkipIterator(source.iterator(), skipped),
        size,
    )


@dataset_kernel("ConcatenateDataset")
def concatenate_dataset(
    xp: Any,
    input_dataset: Array,
    another_dataset: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Makes the elements of one dataset, then those of another."""
    parts = [dataset_of(input_dataset), dataset_of(another_dataset)]
    sizes = [part.cardinality for part in parts]
    size = sum(sizes) if min(sizes) >= 0 else INFINITE if INFINITE in sizes else UNKNOWN
    return Dataset(output_types, output_shapes, lambda: sequences.ConcatenateIterator(parts), size)


@dataset_kernel("ZipDataset")
def zip_dataset(
    xp: Any, input_datasets: list[Array], *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Makes elements of the components of one element of each input; ends with the shortest."""
    parts = [dataset_of(part) for part in input_datasets]
    sizes = [part.cardinality for part in parts]
    known = [size for size in sizes if size != INFINITE]
    size = INFINITE if not known else UNKNOWN if UNKNOWN in known else min(known)
    return Dataset(
        output_types,
        output_shapes,
        lambda: sequences.ZipIterator([part.iterator() for part in parts]),
        size,
    )


@dataset_kernel("DirectedInterleaveDataset")
def directed_interleave_dataset(
    xp: Any,
    selector_input_dataset: Array,
    data_input_datasets: list[Array],
    *,
    stop_on_empty_dataset: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Takes each element from the input whose index the selector gives.

    Args:
        stop_on_empty_dataset: whether it ends with the first input that ends; otherwise such an
            input is skipped.
    """
    selector = dataset_of(selector_input_dataset)
    parts = [dataset_of(part) for part in data_input_datasets]
    return Dataset(
        output_types,
        output_shapes,
        lambda: sequences.DirectedInterleaveIterator(
            selector.iterator(), [part.iterator() for part in parts], stop_on_empty_dataset
        ),
    )


@dataset_kernel("ExperimentalDirectedInterleaveDataset")
def experimental_directed_interleave_dataset(
    xp: Any,
    selector_input_dataset: Array,
    data_input_datasets: list[Array],
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Takes each element from the input whose index the selector gives.

    Ended inputs are skipped.
    """
    return directed_interleave_dataset(
        xp,
        selector_input_dataset,
        data_input_datasets,
        stop_on_empty_dataset=False,
        output_types=output_types,
        output_shapes=output_shapes,
    )


@dataset_kernel("ShardDataset")
def shard_dataset(
    xp: Any,
    input_dataset: Array,
    num_shards: Array,
    index: Array,
    *,
    require_non_empty: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Takes the elements ``index``, ``index + num_shards``, and so on."""
    source, count, mine = dataset_of(input_dataset), int(num_shards), int(index)
    if count < 1:
        raise errors.invalid_argument(
            f"Number of shards must be greater than zero (currently num_shards = {count})."
        )
    if not 0 <= mine < count:
        raise errors.invalid_argument(
            f"Index must be between 0 and {count - 1} (currently index = {mine})."
        )
    size = source.cardinality
    return Dataset(
        output_types,
        output_shapes,
        lambda: sequences.ShardIterator(source.iterator(), count, mine, require_non_empty),
        len(range(mine, size, count)) if size >= 0 else size,
    )


def _shuffled(
    source: Dataset, size: Any, seeds: Seeds, times: int, types: Types, shapes: Shapes
) -> Dataset:
    buffer = int(size)
    if buffer <= 0:
        raise errors.invalid_argument(
            "buffer_size must be greater than zero or UNKNOWN_CARDINALITY"
        )
    return Dataset(
        types,
        shapes,
        lambda: ShuffleIterator(source, buffer, seeds.next(), times),
        _repeated(source.cardinality, times),
    )


@dataset_kernel("ShuffleDataset")
def shuffle_dataset(
    xp: Any,
    input_dataset: Array,
    buffer_size: Array,
    seed: Array,
    seed2: Array,
    *,
    reshuffle_each_iteration: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Shuffles with a buffer of ``buffer_size`` elements.

    The order is TensorFlow's for the same seeds.
    """
    return _shuffled(
        dataset_of(input_dataset),
        buffer_size,
        Seeds(int(seed), int(seed2), reshuffle_each_iteration),
        1,
        output_types,
        output_shapes,
    )


@dataset_kernel("ShuffleAndRepeatDataset")
def shuffle_and_repeat_dataset(
    xp: Any,
    input_dataset: Array,
    buffer_size: Array,
    seed: Array,
    seed2: Array,
    count: Array,
    *,
    reshuffle_each_iteration: bool,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Shuffles and repeats; the buffer also spans the end of a repetition."""
    times = int(count)
    if times == 0 or times < -1:
        raise errors.invalid_argument("count must be greater than zero or equal to -1.")
    return _shuffled(
        dataset_of(input_dataset),
        buffer_size,
        Seeds(int(seed), int(seed2), reshuffle_each_iteration),
        times,
        output_types,
        output_shapes,
    )


@dataset_kernel("PrefetchDataset")
def prefetch_dataset(
    xp: Any,
    input_dataset: Array,
    buffer_size: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Computes up to ``buffer_size`` elements ahead in a thread.

    With 0 it returns the input, and with -1 flowray chooses the size.
    """
    source, size = dataset_of(input_dataset), int(buffer_size)
    if size < AUTOTUNE:
        raise errors.invalid_argument(
            "buffer_size must be >= 0 or set buffer_size to be -1 for auto-tuning"
        )
    if size == 0:
        return source
    size = _AUTOTUNED_PREFETCH if size == AUTOTUNE else size
    return prefetched(source, size, output_types, output_shapes)


# Hints for TensorFlow's runtime, which change no element -----------------------------------------


@dataset_kernel("ModelDataset", "OptionsDataset", "FinalizeDataset")
def same_dataset(
    xp: Any, input_dataset: Array, *, output_types: Types, output_shapes: Shapes
) -> Dataset:
    """Returns the input: the op tunes TensorFlow's runtime, and flowray has its own."""
    return dataset_of(input_dataset)


@dataset_kernel("OptimizeDataset")
def optimize_dataset(
    xp: Any,
    input_dataset: Array,
    optimizations: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Returns the input: TensorFlow's optimizations of a pipeline do not change its elements."""
    return dataset_of(input_dataset)


@dataset_kernel("RewriteDataset")
def rewrite_dataset(
    xp: Any,
    input_dataset: Array,
    rewrite_name: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Returns the input: the rewrite does not change its elements."""
    return dataset_of(input_dataset)


@dataset_kernel("OptimizeDatasetV2")
def optimize_dataset_v2(
    xp: Any,
    input_dataset: Array,
    optimizations_enabled: Array,
    optimizations_disabled: Array,
    optimizations_default: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Returns the input: TensorFlow's optimizations of a pipeline do not change its elements."""
    return dataset_of(input_dataset)


@dataset_kernel("MaxIntraOpParallelismDataset", "ExperimentalMaxIntraOpParallelismDataset")
def max_intra_op_parallelism_dataset(
    xp: Any,
    input_dataset: Array,
    max_intra_op_parallelism: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Returns the input: flowray chooses the number of threads of a kernel itself."""
    return dataset_of(input_dataset)


@dataset_kernel("PrivateThreadPoolDataset", "ExperimentalPrivateThreadPoolDataset")
def private_thread_pool_dataset(
    xp: Any,
    input_dataset: Array,
    num_threads: Array,
    *,
    output_types: Types,
    output_shapes: Shapes,
) -> Dataset:
    """Returns the input: flowray chooses the threads of a pipeline itself."""
    return dataset_of(input_dataset)


# Values of a whole dataset ------------------------------------------------------------------------


@kernel("ReduceDataset")
def reduce_dataset(
    xp: Any,
    input_dataset: Array,
    initial_state: list[Any],
    other_arguments: list[Any],
    *,
    f: Function,
    output_types: Types,
    output_shapes: Shapes,
) -> list[Array]:
    """Folds ``f(*state, *element)`` over all elements and returns the last state.

    It can be cancelled between elements.
    """
    function, state = bound(f, other_arguments), as_element(initial_state)
    cancellation = current_cancellation()
    iterator = dataset_of(input_dataset).iterator()
    try:
        while (element := iterator.get_next()) is not None:
            state = as_element(function(*state, *element))
            cancellation.check()
    finally:
        iterator.close()
    return list(state)


@kernel("DatasetToSingleElement")
def dataset_to_single_element(
    xp: Any, dataset: Array, *, output_types: Types, output_shapes: Shapes
) -> list[Array]:
    """Returns the only element; InvalidArgumentError if there is no element, or more than one."""
    iterator = dataset_of(dataset).iterator()
    try:
        element = iterator.get_next()
        if element is None:
            raise errors.invalid_argument("Dataset was empty.")
        if iterator.get_next() is not None:
            raise errors.invalid_argument("Dataset had more than one element.")
    finally:
        iterator.close()
    return list(element)


@kernel("DatasetCardinality", "ExperimentalDatasetCardinality")
def dataset_cardinality(xp: Any, input_dataset: Array) -> Array:
    """Returns the number of elements as int64: -1 if infinite, -2 if unknown."""
    return np.array(dataset_of(input_dataset).cardinality, np.int64)
