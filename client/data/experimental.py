"""``tf.data.experimental``: transformations for ``Dataset.apply``, and other things of datasets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.data import nest, structure
from flowray.client.data.dataset import (
    AUTOTUNE as AUTOTUNE,
)
from flowray.client.data.dataset import (
    Dataset,
    DatasetStructure,
    _int64,
    _known_rows,
    inner_structure,
    seeds,
)
from flowray.client.data.function import StructuredFunction
from flowray.client.data.optional import Optional as Optional
from flowray.client.data.optional import get_next_as_optional as get_next_as_optional
from flowray.client.data.options import Options
from flowray.client.data.structure import TensorStructure
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Operation, Tensor, control_dependencies
from flowray.client.framework.op_builder import apply_op, make_op, output_of
from flowray.client.ops.control_flow_ops import Assert
from flowray.client.ops.math_ops import cast, less, less_equal
from flowray.client.ops.reduction_ops import cumsum, reduce_sum
from flowray.client.ops.slice_ops import gather
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import as_shape

Transformation = Callable[[Dataset], Dataset]

INFINITE_CARDINALITY = tf_export("data.experimental.INFINITE_CARDINALITY")(-1)
UNKNOWN_CARDINALITY = tf_export("data.experimental.UNKNOWN_CARDINALITY")(-2)


# Transformations ----------------------------------------------------------------------------------


@tf_export("contrib.data.shuffle_and_repeat", "data.experimental.shuffle_and_repeat")
def shuffle_and_repeat(buffer_size: Any, count: Any = None, seed: Any = None) -> Transformation:
    """Shuffles and repeats in one: ``shuffle(buffer_size, seed)``, ``repeat(count)``.

    The buffer stays full from one repetition to the next.
    """

    def apply(dataset: Dataset) -> Dataset:
        return dataset._derived(
            "ShuffleAndRepeatDataset",
            _int64(buffer_size, "buffer_size"),
            *seeds(seed),
            _int64(-1 if count is None else count, "count"),
        )

    return apply


@tf_export(
    "contrib.data.map_and_batch",
    "data.experimental.map_and_batch",
    "data.experimental.map_and_batch_with_legacy_function",
)
def map_and_batch(
    map_func: Callable[..., Any],
    batch_size: Any,
    num_parallel_batches: Any = None,
    drop_remainder: Any = False,
    num_parallel_calls: Any = None,
) -> Transformation:
    """Maps and batches in one: ``map(map_func)``, ``batch(batch_size, drop_remainder)``.

    Args:
        num_parallel_batches: how many batches are in work at the same time.
        num_parallel_calls: how many elements are, instead.

    Raises:
        ValueError: both are given.
    """
    if num_parallel_batches is not None and num_parallel_calls is not None:
        raise ValueError(
            "The `num_parallel_batches` and `num_parallel_calls` arguments are mutually exclusive."
        )
    calls = num_parallel_calls
    if calls is None:
        calls = batch_size if num_parallel_batches is None else batch_size * num_parallel_batches

    def apply(dataset: Dataset) -> Dataset:
        function = dataset._function(map_func, "tf.data.experimental.map_and_batch()")
        size = _int64(batch_size, "batch_size")
        drop = convert_to_tensor(drop_remainder, dtypes.bool, name="drop_remainder")
        rows = _known_rows(size, drop)
        element = nest.map_structure(lambda leaf: leaf.batched(rows), function.result)
        return dataset._derived(
            "MapAndBatchDataset",
            function.captures,
            size,
            _int64(calls, "num_parallel_calls"),
            drop,
            f=function.traced,
            element=element,
            preserve_cardinality=True,
        )

    return apply


map_and_batch_with_legacy_function = map_and_batch


@tf_export("contrib.data.parallel_interleave", "data.experimental.parallel_interleave")
def parallel_interleave(
    map_func: Callable[..., Any],
    cycle_length: Any,
    block_length: Any = 1,
    sloppy: Any = False,
    buffer_output_elements: Any = None,
    prefetch_input_elements: Any = None,
) -> Transformation:
    """Interleaves inner datasets that are read ahead, each in a thread.

    Args:
        sloppy: whether elements may come in another order where that is quicker (flowray keeps the
            order all the same).
        buffer_output_elements: how many elements are made in advance of each inner dataset.
        prefetch_input_elements: how many inner datasets are opened before their turn.
    """

    def apply(dataset: Dataset) -> Dataset:
        function = dataset._function(map_func, "tf.data.experimental.parallel_interleave()")
        buffered = 2 * block_length if buffer_output_elements is None else buffer_output_elements
        ahead = 2 * cycle_length if prefetch_input_elements is None else prefetch_input_elements
        return dataset._derived(
            "ParallelInterleaveDataset",
            function.captures,
            _int64(cycle_length, "cycle_length"),
            _int64(block_length, "block_length"),
            convert_to_tensor(sloppy, dtypes.bool, name="sloppy"),
            _int64(buffered, "buffer_output_elements"),
            _int64(ahead, "prefetch_input_elements"),
            f=function.traced,
            element=inner_structure(function, "tf.data.experimental.parallel_interleave()"),
        )

    return apply


@tf_export("contrib.data.unbatch", "data.experimental.unbatch")
def unbatch() -> Transformation:
    """Returns a function for ``Dataset.apply``: ``Dataset.unbatch``."""
    return lambda dataset: dataset.unbatch()


@tf_export("contrib.data.ignore_errors", "data.experimental.ignore_errors")
def ignore_errors() -> Transformation:
    """Leaves out the elements that cannot be made."""
    return lambda dataset: dataset._derived("IgnoreErrorsDataset")


@tf_export("data.experimental.take_while")
def take_while(predicate: Callable[..., Any]) -> Transformation:
    """Takes the elements before the first one for which ``predicate`` is false."""

    def apply(dataset: Dataset) -> Dataset:
        function = dataset._function(predicate, "tf.data.experimental.take_while()")
        if not TensorStructure(dtypes.bool, []).is_compatible_with(function.result):
            raise ValueError("`predicate` must return a scalar boolean tensor.")
        return dataset._derived("TakeWhileDataset", function.captures, predicate=function.traced)

    return apply


@tf_export("contrib.data.scan", "data.experimental.scan")
def scan(initial_state: Any, scan_func: Callable[..., Any]) -> Transformation:
    """Calls ``scan_func(state, element)``, which returns the next state and a new element.

    Raises:
        TypeError: it gives no such pair, or the state changes its structure or dtypes.
    """

    def apply(dataset: Dataset) -> Dataset:
        state = structure.normalized(initial_state)
        states = structure.structure_of(state)
        while True:
            function = StructuredFunction(
                lambda s, e: scan_func(s, e),
                (states, dataset._structure),
                "tf.data.experimental.scan()",
            )
            result = function.result
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(
                    "The scan function must return a pair comprising the new state and the output "
                    "value."
                )
            if structure.legacy_types(states) != structure.legacy_types(result[0]):
                raise TypeError(
                    "The element types for the new state must match the initial state. Expected "
                    f"{structure.legacy_types(states)}; got {structure.legacy_types(result[0])}."
                )
            general = structure.most_specific_compatible(states, result[0])
            if structure.flat_attrs(general) == structure.flat_attrs(states):
                break
            states = general
        return dataset._derived(
            "ScanDataset",
            structure.to_tensors(state),
            function.captures,
            f=function.traced,
            element=result[1],
            preserve_cardinality=True,
        )

    return apply


@tf_export("contrib.data.enumerate_dataset", "data.experimental.enumerate_dataset")
def enumerate_dataset(start: Any = 0) -> Transformation:
    """Returns a function for ``Dataset.apply``: ``Dataset.enumerate``."""
    return lambda dataset: dataset.enumerate(start)


@tf_export("contrib.data.group_by_window", "data.experimental.group_by_window")
def group_by_window(
    key_func: Callable[..., Any],
    reduce_func: Callable[..., Any],
    window_size: Any = None,
    window_size_func: Callable[..., Any] | None = None,
) -> Transformation:
    """Collects the elements of each key, and gives ``reduce_func`` of windows of them.

    Args:
        key_func: the key (int64 scalar) of an element.
        reduce_func: a dataset of the key and the window, itself a dataset.
        window_size: how many elements make a window;
        window_size_func: or a function of the key that gives it.

    Raises:
        ValueError: not just one of the two is given.
    """
    if (window_size is None) == (window_size_func is None):
        raise ValueError("Must pass either window_size or window_size_func, but not both.")
    size_of = window_size_func
    if size_of is None:
        size_of = lambda _: _int64(window_size, "window_size")  # noqa: E731

    def apply(dataset: Dataset) -> Dataset:
        name = "tf.data.experimental.group_by_window()"
        key = TensorStructure(dtypes.int64, [])
        keys = dataset._function(lambda *e: _as_int64(key_func(*e)), name)
        sizes = StructuredFunction(lambda k: _as_int64(size_of(k)), key, name)
        for function, what in ((keys, "key_func"), (sizes, "window_size_func")):
            if not key.is_compatible_with(function.result):
                raise ValueError(f"`{what}` must return a single tf.int64 scalar tensor.")
        window = DatasetStructure(dataset._structure)
        reduced = StructuredFunction(lambda k, w: reduce_func(k, w), (key, window), name)
        if not isinstance(reduced.result, DatasetStructure):
            raise TypeError("`reduce_func` must return a `Dataset` object.")
        return dataset._derived(
            "GroupByWindowDataset",
            keys.captures,
            reduced.captures,
            sizes.captures,
            key_func=keys.traced,
            reduce_func=reduced.traced,
            window_size_func=sizes.traced,
            element=reduced.result.inner,
        )

    return apply


def _as_int64(value: Any) -> Tensor:
    return convert_to_tensor(value, preferred_dtype=dtypes.int64)


@tf_export("contrib.data.bucket_by_sequence_length", "data.experimental.bucket_by_sequence_length")
def bucket_by_sequence_length(
    element_length_func: Callable[..., Any],
    bucket_boundaries: Sequence[int],
    bucket_batch_sizes: Sequence[int],
    padded_shapes: Any = None,
    padding_values: Any = None,
    pad_to_bucket_boundary: bool = False,
    no_padding: bool = False,
    drop_remainder: bool = False,
) -> Transformation:
    """Batches of elements of similar lengths, padded.

    Args:
        element_length_func: the length (int32 scalar) of an element.
        bucket_boundaries: the lengths at which another bucket begins, ascending.
        bucket_batch_sizes: the batch size of each bucket, one more than there are boundaries.
        padded_shapes, padding_values: as of ``padded_batch``.
        pad_to_bucket_boundary: whether unknown dimensions are padded to the bucket's boundary less
            one; an element beyond the last boundary is an error then.
        no_padding: whether elements are not padded at all.
        drop_remainder: whether incomplete batches are left out.

    Raises:
        ValueError: there is not one batch size more than there are boundaries.
    """
    if len(bucket_batch_sizes) != len(bucket_boundaries) + 1:
        raise ValueError("len(bucket_batch_sizes) must equal len(bucket_boundaries) + 1")
    sizes = list(bucket_batch_sizes)

    def bucket(*element: Any) -> Tensor:
        length = convert_to_tensor(element_length_func(*element), dtypes.int32)
        reached = apply_op("LessEqual", [int(b) for b in bucket_boundaries], length)
        return reduce_sum(cast(reached, dtypes.int64))

    def window_size(key: Tensor) -> Tensor:
        return gather(_int64(sizes, "batch_sizes"), key)

    def batch(key: Tensor, window: Dataset) -> Dataset:
        size = window_size(key)
        if no_padding:
            return window.batch(size, drop_remainder=drop_remainder)
        shapes = window.output_shapes if padded_shapes is None else padded_shapes
        if pad_to_bucket_boundary:
            last = len(bucket_boundaries)
            fits = less(key, _int64(last, "last"))
            check = Assert(
                fits,
                [
                    "When pad_to_bucket_boundary=True, elements must have length < "
                    "max(bucket_boundaries)."
                ],
            )
            with control_dependencies([check]):
                boundary = gather(_int64(list(bucket_boundaries), "boundaries"), key) - _int64(
                    1, "one"
                )
            shapes = nest.pack_sequence_as(
                window._structure,
                [
                    _filled(shape, boundary)
                    for shape in nest.flatten_up_to(window._structure, shapes)
                ],
            )
        return window.padded_batch(size, shapes, padding_values, drop_remainder)

    return group_by_window(bucket, batch, window_size_func=window_size)


def _filled(shape: Any, boundary: Tensor) -> Tensor:
    """Returns ``shape`` with ``boundary`` for unknown dimensions."""
    dims = as_shape(shape).as_list()
    parts = [boundary if d is None else _int64(d, "dim") for d in dims]
    if not parts:
        return _int64([], "shape")
    return output_of("Pack", parts, axis=0)


@tf_export("contrib.data.unique", "data.experimental.unique")
def unique() -> Transformation:
    """Skips elements that came before: scalars of int32, int64 or string."""
    return lambda dataset: dataset._derived("UniqueDataset")


@tf_export("contrib.data.prefetch_to_device", "data.experimental.prefetch_to_device")
def prefetch_to_device(device: str, buffer_size: Any = None) -> Transformation:
    """Prefetches; values that a step on ``device`` reads are copied there automatically."""
    return lambda dataset: dataset.prefetch(1 if buffer_size is None else buffer_size)


@tf_export("contrib.data.copy_to_device", "data.experimental.copy_to_device")
def copy_to_device(target_device: str, source_device: str = "/cpu:0") -> Transformation:
    """Returns the same dataset; values that a step reads are copied to its device."""
    return lambda dataset: dataset


# Datasets -----------------------------------------------------------------------------------------


@tf_export("contrib.data.Counter", "data.experimental.Counter")
def Counter(start: Any = 0, step: Any = 1, dtype: Any = dtypes.int64) -> Dataset:
    """Makes the numbers ``start``, ``start + step``, and so on without end."""
    first, distance = convert_to_tensor(start, dtype), convert_to_tensor(step, dtype)
    numbers = Dataset.range(2**63 - 1)
    return numbers.map(lambda i: first + cast(i, dtype) * distance)


@tf_export("contrib.data.RandomDataset", "data.experimental.RandomDataset")
class RandomDataset(Dataset):
    """Random int64 scalars below 2**32, without end."""

    def __init__(self, seed: Any = None) -> None:
        element = TensorStructure(dtypes.int64, [])
        variant = apply_op("RandomDataset", *seeds(seed), **structure.flat_attrs(element))
        super().__init__(variant, element)


@tf_export("contrib.data.sample_from_datasets", "data.experimental.sample_from_datasets")
def sample_from_datasets(
    datasets: Sequence[Dataset], weights: Any = None, seed: Any = None
) -> Dataset:
    """Takes each element from one of ``datasets`` drawn at random.

    Args:
        weights: how often each is drawn, evenly if None: a sequence of numbers, or a dataset of
            such vectors.

    Raises:
        ValueError: there is not one weight for each dataset.
    """
    if weights is None:
        weights = [1.0] * len(datasets)
    if not isinstance(weights, Dataset):
        if not isinstance(weights, Tensor) and len(weights) != len(datasets):
            raise ValueError(
                "`weights` must be a vector of length `len(datasets)`, or a Dataset of such"
            )
        weights = Dataset.from_tensors(convert_to_tensor(weights, dtypes.float64)).repeat()

    def choose(weight: Tensor, number: Tensor) -> Tensor:
        bounds: Any = cumsum(cast(weight, dtypes.float64))
        drawn = cast(number, dtypes.float64) / 2.0**32 * bounds[-1]
        return reduce_sum(cast(less_equal(bounds, drawn), dtypes.int64))

    chosen = Dataset.zip((weights, RandomDataset(seed))).map(choose)
    return _directed(chosen, datasets)


@tf_export("contrib.data.choose_from_datasets", "data.experimental.choose_from_datasets")
def choose_from_datasets(datasets: Sequence[Dataset], choice_dataset: Dataset) -> Dataset:
    """Takes each element from the dataset whose number (int64) is the next choice.

    Raises:
        TypeError: the choices are not int64 scalars.
    """
    if not TensorStructure(dtypes.int64, []).is_compatible_with(choice_dataset._structure):
        raise TypeError("`choice_dataset` must be a dataset of scalar `tf.int64` tensors.")
    return _directed(choice_dataset, datasets)


def _directed(choices: Dataset, datasets: Sequence[Dataset]) -> Dataset:
    if not datasets:
        raise ValueError("`datasets` must be a non-empty list of datasets.")
    for dataset in datasets[1:]:
        if dataset.output_types != datasets[0].output_types:
            raise TypeError(
                "All datasets must have the same type: "
                f"{datasets[0].output_types} and {dataset.output_types}"
            )
    element = functools.reduce(
        structure.most_specific_compatible, [dataset._structure for dataset in datasets]
    )
    variant = apply_op(
        "DirectedInterleaveDataset",
        choices._variant_tensor,
        [dataset._variant_tensor for dataset in datasets],
        **structure.flat_attrs(element),
    )
    options = functools.reduce(Options.merge, [dataset._options for dataset in datasets])
    return Dataset(variant, element, options)


# What comes out of a dataset ----------------------------------------------------------------------


@tf_export("contrib.data.get_single_element", "data.experimental.get_single_element")
def get_single_element(dataset: Dataset) -> Any:
    """Returns the only element of ``dataset``; InvalidArgumentError if there are others."""
    if not isinstance(dataset, Dataset):
        raise TypeError("`dataset` must be a `tf.data.Dataset` object.")
    tensors = apply_op(
        "DatasetToSingleElement",
        dataset._variant_tensor,
        **structure.flat_attrs(dataset._structure),
    )
    return structure.from_tensors(dataset._structure, tensors)


@tf_export("data.experimental.cardinality")
def cardinality(dataset: Dataset) -> Tensor:
    """Returns the number of elements, an int64 scalar, or one of two constants.

    These are INFINITE_CARDINALITY and UNKNOWN_CARDINALITY.
    """
    return output_of("DatasetCardinality", dataset._variant_tensor)


@tf_export("data.experimental.get_structure")
def get_structure(dataset_or_iterator: Any) -> Any:
    """Returns the nested structure of an element."""
    return dataset_or_iterator._structure


@tf_export("contrib.data.TFRecordWriter", "data.experimental.TFRecordWriter")
class TFRecordWriter:
    """Writes datasets of string scalars to a TFRecord file."""

    def __init__(self, filename: Any, compression_type: Any = None) -> None:
        self._filename = convert_to_tensor(filename, dtypes.string, name="filename")
        self._compression = convert_to_tensor(
            compression_type or "", dtypes.string, name="compression_type"
        )

    def write(self, dataset: Dataset) -> Operation:
        """Makes an op that writes all of ``dataset``.

        Raises:
            TypeError: it is not a dataset of string scalars.
        """
        if not isinstance(dataset, Dataset):
            raise TypeError("`dataset` must be a `tf.data.Dataset` object.")
        if not TensorStructure(dtypes.string, []).is_compatible_with(dataset._structure):
            raise TypeError(
                "`dataset` must produce scalar `DT_STRING` tensors whereas it produces shape "
                f"{dataset.output_shapes} and types {dataset.output_types}"
            )
        return make_op(
            "DatasetToTFRecord", dataset._variant_tensor, self._filename, self._compression
        )
