"""``tf.data.Dataset``: a sequence of elements, and what can be made of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from flowray.client.data import nest, structure
from flowray.client.data.function import StructuredFunction
from flowray.client.data.generator import generator_dataset
from flowray.client.data.iterator import (
    Iterator,
    make_initializable_iterator,
    make_one_shot_iterator,
)
from flowray.client.data.options import Options
from flowray.client.data.structure import (
    SparseTensorStructure,
    TensorStructure,
    VariantStructure,
)
from flowray.client.framework import random_seed
from flowray.client.framework.constant_value import constant_value, constant_value_as_shape
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, control_dependencies, name_scope
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops.array_ops import identity, shape
from flowray.client.ops.control_flow_ops import Assert
from flowray.client.ops.io_ops import matching_files
from flowray.client.ops.math_ops import equal, greater, maximum
from flowray.client.ops.slice_ops import where
from flowray.client.ops.string_ops import reduce_join, string_join
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import TensorShape, as_shape, merge

AUTOTUNE: Final = tf_export("contrib.data.AUTOTUNE", "data.experimental.AUTOTUNE")(-1)
"""For sizes and numbers of threads that flowray is to choose."""

_INT64_MAX: Final = 2**63 - 1


class DatasetStructure(VariantStructure):
    """A component of another dataset's elements that is a dataset."""

    def from_tensor(self, tensor: Tensor) -> Dataset:
        return Dataset(tensor, self.inner)


@tf_export("data.Dataset")
class Dataset:
    """A sequence of elements, each a nested structure of tensors.

    Made by its static methods; every other method gives a new dataset. The graph reads it through
    an ``Iterator``.
    """

    def __init__(
        self, variant_tensor: Tensor, element: Any, options: Options | None = None
    ) -> None:
        self._variant_tensor = variant_tensor
        self._structure = element
        self._options = options or Options()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} shapes: {self.output_shapes}, types: {self.output_types}>"

    def __iter__(self) -> Any:
        raise RuntimeError(
            "__iter__() is only supported inside of tf.function or when eager execution is enabled."
        )

    @property
    def _component_structure(self) -> DatasetStructure:
        return DatasetStructure(self._structure)

    @property
    def output_types(self) -> Any:
        """The nested dtypes of an element."""
        return structure.legacy_types(self._structure)

    @property
    def output_shapes(self) -> Any:
        """The nested shapes of an element."""
        return structure.legacy_shapes(self._structure)

    @property
    def output_classes(self) -> Any:
        """The nested Python classes of an element."""
        return structure.legacy_classes(self._structure)

    def make_one_shot_iterator(self) -> Iterator:
        """Makes an iterator that needs no initializer."""
        return make_one_shot_iterator(self)

    def make_initializable_iterator(self, shared_name: str | None = None) -> Iterator:
        """Makes an iterator that starts whenever its ``initializer`` runs."""
        return make_initializable_iterator(self, shared_name)

    # Making others --------------------------------------------------------------------------

    def _derived(self, op: str, *inputs: Any, element: Any = None, **attrs: Any) -> Dataset:
        """Makes the dataset of op ``op`` on this one; its elements are like these unless given."""
        element = self._structure if element is None else element
        variant = apply_op(
            op, self._variant_tensor, *inputs, **structure.flat_attrs(element), **attrs
        )
        return Dataset(variant, element, self._options)

    def _function(self, function: Callable[..., Any], name: str) -> StructuredFunction:
        return StructuredFunction(function, self._structure, name)

    @staticmethod
    def from_tensors(tensors: Any) -> Dataset:
        """Makes a dataset with one element, ``tensors``."""
        value = structure.normalized(tensors)
        element = structure.structure_of(value)
        variant = apply_op(
            "TensorDataset",
            structure.to_tensors(value),
            output_shapes=structure.flat_attrs(element)["output_shapes"],
        )
        return Dataset(variant, element)

    @staticmethod
    def from_tensor_slices(tensors: Any) -> Dataset:
        """Makes a dataset of the rows of ``tensors``.

        Raises:
            ValueError: a tensor is a scalar, or their numbers of rows differ.
        """
        value = structure.normalized(tensors)
        batched = structure.structure_of(value)
        rows: Any = TensorShape([None])
        for leaf in nest.flatten(batched):
            rows = rows.merge_with(leaf.shape.with_rank_at_least(1)[:1])
        element = nest.map_structure(lambda leaf: leaf.unbatched(), batched)
        variant = apply_op(
            "TensorSliceDataset",
            structure.to_rows(value),
            output_shapes=structure.flat_attrs(element)["output_shapes"],
        )
        return Dataset(variant, element)

    @staticmethod
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        output_types: Any,
        output_shapes: Any = None,
        args: Sequence[Any] | None = None,
    ) -> Dataset:
        """Makes a dataset of the values of a Python generator; see ``generator_dataset``."""
        return Dataset(*generator_dataset(generator, output_types, output_shapes, args))

    @staticmethod
    def range(*args: Any) -> Dataset:
        """Makes a dataset of the int64 scalars of ``range(*args)``."""
        if not 1 <= len(args) <= 3:
            raise ValueError(f"Invalid arguments to RangeDataset: {args}")
        start, stop, step = (0, args[0], 1) if len(args) == 1 else (*args, 1)[:3]
        element = TensorStructure(dtypes.int64, [])
        with name_scope("range"):
            numbers = [
                _int64(value, name)
                for value, name in ((start, "start"), (stop, "stop"), (step, "step"))
            ]
            variant = apply_op("RangeDataset", *numbers, **structure.flat_attrs(element))
        return Dataset(variant, element)

    @staticmethod
    def zip(datasets: Any) -> Dataset:
        """Makes elements nested like ``datasets``, of one element of each; ends with the shortest.

        It ends with the shortest one.
        """
        parts = nest.flatten(datasets)
        for part in parts:
            if not isinstance(part, Dataset):
                if isinstance(part, list):
                    raise TypeError(
                        "The argument to `Dataset.zip()` must be a nested structure of datasets. "
                        "Nested structures do not support Python lists; please use a tuple instead."
                    )
                raise TypeError(
                    "The argument to `Dataset.zip()` must be a nested structure of "
                    f"datasets, got {type(part)}."
                )
        element = nest.pack_sequence_as(datasets, [part._structure for part in parts])
        variant = apply_op(
            "ZipDataset", [part._variant_tensor for part in parts], **structure.flat_attrs(element)
        )
        options = functools.reduce(Options.merge, (part._options for part in parts))
        return Dataset(variant, element, options)

    @staticmethod
    def list_files(
        file_pattern: Any, shuffle: bool | None = None, seed: int | None = None
    ) -> Dataset:
        """Makes a dataset of the names of files that match a glob pattern (or several).

        Args:
            file_pattern: string, scalar or vector. The patterns hold on the machine that runs the
                dataset.
            shuffle: whether they come in a random order, another one every time. True if None;
                otherwise they are sorted.
            seed: of the shuffling.

        Where no file matches, iterators fail with InvalidArgumentError: when they are initialized,
        or, for a one-shot iterator, when the first element is asked for.
        """
        with name_scope("list_files"):
            pattern = convert_to_tensor(file_pattern, dtypes.string, name="file_pattern")
            files = matching_files(pattern)
            found = greater(shape(files)[0], 0, name="match_not_empty")
            message = string_join(
                ["No files matched pattern: ", reduce_join(pattern, separator=", ")], name="message"
            )
            with control_dependencies(
                [Assert(found, [message], summarize=1, name="assert_not_empty")]
            ):
                files = identity(files)
            dataset = Dataset.from_tensor_slices(files)
            if shuffle is None or shuffle:
                # The buffer must not be empty, though the list may.
                count = maximum(shape(files, out_type=dtypes.int64)[0], _int64(1, "one"))
                dataset = dataset.shuffle(count, seed=seed)
            return dataset

    # One after the other ---------------------------------------------------------------------

    def concatenate(self, dataset: Dataset) -> Dataset:
        """Appends the elements of ``dataset``, which must have the same types."""
        for what in ("types", "classes"):
            mine, theirs = getattr(self, f"output_{what}"), getattr(dataset, f"output_{what}")
            if mine != theirs:
                raise TypeError(
                    f"Two datasets to concatenate have different {what} {mine} and {theirs}"
                )
        element = structure.most_specific_compatible(self._structure, dataset._structure)
        result = self._derived("ConcatenateDataset", dataset._variant_tensor, element=element)
        result._options = self._options.merge(dataset._options)
        return result

    def repeat(self, count: Any = None) -> Dataset:
        """Repeats the elements ``count`` times; for ever if it is None or -1."""
        return self._derived("RepeatDataset", _int64(-1 if count is None else count, "count"))

    def take(self, count: Any) -> Dataset:
        """Takes the first ``count`` elements; all if it is -1."""
        return self._derived("TakeDataset", _int64(count, "count"))

    def skip(self, count: Any) -> Dataset:
        """Skips the first ``count`` elements; all if it is -1."""
        return self._derived("SkipDataset", _int64(count, "count"))

    def shard(self, num_shards: Any, index: Any) -> Dataset:
        """Takes every ``num_shards``-th element, beginning with the one at ``index``."""
        return self._derived(
            "ShardDataset", _int64(num_shards, "num_shards"), _int64(index, "index")
        )

    def enumerate(self, start: Any = 0) -> Dataset:
        """Adds its number to each element: ``(number, element)``."""
        return Dataset.zip((Dataset.range(start, _INT64_MAX), self))

    def shuffle(
        self, buffer_size: Any, seed: Any = None, reshuffle_each_iteration: bool | None = None
    ) -> Dataset:
        """Shuffles the elements.

        Args:
            buffer_size: how many elements each one is drawn from; for an even mix as many as
                there are.
            seed: makes the order the same in every session.
            reshuffle_each_iteration: whether every repetition has another order; True if None.
        """
        return self._derived(
            "ShuffleDataset",
            _int64(buffer_size, "buffer_size"),
            *seeds(seed),
            reshuffle_each_iteration=reshuffle_each_iteration is None or reshuffle_each_iteration,
        )

    def cache(self, filename: Any = "") -> Dataset:
        """Keeps the elements of the first complete iteration.

        ``filename`` is where; in memory if it is empty.
        """
        return self._derived(
            "CacheDataset", convert_to_tensor(filename, dtypes.string, name="filename")
        )

    def prefetch(self, buffer_size: Any) -> Dataset:
        """Computes up to ``buffer_size`` elements ahead in a thread."""
        size = AUTOTUNE if buffer_size is None else buffer_size
        return self._derived("PrefetchDataset", _int64(size, "buffer_size"))

    # Batches --------------------------------------------------------------------------------

    def batch(self, batch_size: Any, drop_remainder: Any = False) -> Dataset:
        """Stacks ``batch_size`` elements each; the last batch may be smaller.

        With ``drop_remainder`` those are left out, and the batch size is known statically.
        """
        size = _int64(batch_size, "batch_size")
        drop = convert_to_tensor(drop_remainder, dtypes.bool, name="drop_remainder")
        rows = _known_rows(size, drop)
        element = nest.map_structure(lambda leaf: leaf.batched(rows), self._structure)
        return self._derived("BatchDatasetV2", size, drop, element=element)

    def padded_batch(
        self,
        batch_size: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: Any = False,
    ) -> Dataset:
        """Pads ``batch_size`` elements each to one shape and stacks them.

        Args:
            padded_shapes: nested like an element, the shape to pad each component to; None or -1
                in one means as much as the largest of the batch needs. By default the static
                shapes.
            padding_values: nested likewise, scalars; by default zeros and empty strings.

        Raises:
            ValueError: a padded shape has another rank than its component, or is too small.
            TypeError: a padding value has another dtype than its component.
        """
        size = _int64(batch_size, "batch_size")
        drop = convert_to_tensor(drop_remainder, dtypes.bool, name="drop_remainder")
        leaves = nest.flatten(self._structure)
        for leaf in leaves:
            if not isinstance(leaf, TensorStructure):
                raise TypeError(
                    "Padded batching of elements that are not tensors is not supported."
                )
        shapes = [leaf.shape for leaf in leaves]
        if padded_shapes is not None:
            shapes = nest.flatten_up_to(self._structure, padded_shapes)
        values = [None] * len(leaves)
        if padding_values is not None:
            values = nest.flatten_up_to(self._structure, padding_values)
        tensors = [_padded_shape(s, leaf) for s, leaf in zip(shapes, leaves, strict=True)]
        padding = [_padding_value(v, leaf) for v, leaf in zip(values, leaves, strict=True)]
        rows = _known_rows(size, drop)
        batched = [
            TensorStructure(leaf.dtype, as_shape([rows]).concatenate(constant_value_as_shape(t)))
            for leaf, t in zip(leaves, tensors, strict=True)
        ]
        element = nest.pack_sequence_as(self._structure, batched)
        variant = apply_op(
            "PaddedBatchDatasetV2",
            self._variant_tensor,
            size,
            tensors,
            padding,
            drop,
            output_shapes=structure.flat_attrs(element)["output_shapes"],
        )
        return Dataset(variant, element, self._options)

    def unbatch(self) -> Dataset:
        """Splits each element into its rows."""
        element = nest.map_structure(lambda leaf: leaf.unbatched(), self._structure)
        dataset = self
        if any(isinstance(leaf, SparseTensorStructure) for leaf in nest.flatten(self._structure)):
            dataset = self.map(
                lambda *parts: tuple(structure.to_rows(parts[0] if len(parts) == 1 else parts))
            )
        return dataset._derived("UnbatchDataset", element=element)

    def window(
        self, size: Any, shift: Any = None, stride: Any = 1, drop_remainder: Any = False
    ) -> Dataset:
        """Makes datasets of ``size`` elements that are ``stride`` apart.

        Each begins ``shift`` elements after the one before (``size`` if None). Of an element with
        several components, every component becomes a dataset of its own.
        """
        size = _int64(size, "size")
        shift = size if shift is None else _int64(shift, "shift")
        drop = convert_to_tensor(drop_remainder, dtypes.bool, name="drop_remainder")
        element = nest.map_structure(DatasetStructure, self._structure)
        return self._derived(
            "WindowDataset", size, shift, _int64(stride, "stride"), drop, element=element
        )

    # Functions ------------------------------------------------------------------------------

    def map(self, map_func: Callable[..., Any], num_parallel_calls: Any = None) -> Dataset:
        """Applies ``map_func`` to each element, in the same order.

        With ``num_parallel_calls`` that many elements are worked on at the same time.
        """
        function = self._function(map_func, "Dataset.map()")
        attrs: dict[str, Any] = {
            "element": function.result, "f": function.traced, "preserve_cardinality": False
        }  # fmt: skip
        if num_parallel_calls is None:
            return self._derived("MapDataset", function.captures, **attrs)
        calls = convert_to_tensor(num_parallel_calls, dtypes.int32, name="num_parallel_calls")
        return self._derived("ParallelMapDataset", function.captures, calls, **attrs)

    map_with_legacy_function = map

    def flat_map(self, map_func: Callable[..., Any]) -> Dataset:
        """Joins the datasets that ``map_func`` returns for the elements."""
        function = self._function(map_func, "Dataset.flat_map()")
        return self._derived(
            "FlatMapDataset",
            function.captures,
            f=function.traced,
            element=inner_structure(function, "Dataset.flat_map()"),
        )

    def interleave(
        self,
        map_func: Callable[..., Any],
        cycle_length: Any = AUTOTUNE,
        block_length: Any = 1,
        num_parallel_calls: Any = None,
    ) -> Dataset:
        """Takes elements by turns from the datasets that ``map_func`` returns.

        Args:
            cycle_length: how many of those datasets take turns.
            block_length: how many elements each gives in its turn.
            num_parallel_calls: if given, the datasets whose turn is to come are read ahead.
        """
        function = self._function(map_func, "Dataset.interleave()")
        attrs: dict[str, Any] = {
            "f": function.traced,
            "element": inner_structure(function, "Dataset.interleave()"),
        }
        lengths = _int64(cycle_length, "cycle_length"), _int64(block_length, "block_length")
        if num_parallel_calls is None:
            return self._derived("InterleaveDataset", function.captures, *lengths, **attrs)
        calls = _int64(num_parallel_calls, "num_parallel_calls")
        return self._derived(
            "ParallelInterleaveDatasetV2", function.captures, *lengths, calls, **attrs
        )

    def filter(self, predicate: Callable[..., Any]) -> Dataset:
        """Keeps the elements for which ``predicate`` (a bool scalar) is true."""
        function = self._function(predicate, "Dataset.filter()")
        if function.result != TensorStructure(dtypes.bool, []) and not (
            isinstance(function.result, TensorStructure)
            and function.result.is_compatible_with(TensorStructure(dtypes.bool, []))
        ):
            raise ValueError(
                "`predicate` return type must be convertible to a scalar boolean tensor. Was "
                f"{function.result}."
            )
        return self._derived("FilterDataset", function.captures, predicate=function.traced)

    filter_with_legacy_function = filter

    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """Calls ``transformation_func`` on this dataset and returns the dataset that it returns."""
        result = transformation_func(self)
        if not isinstance(result, Dataset):
            raise TypeError(
                f"`transformation_func` must return a Dataset. Got {type(result).__name__}."
            )
        return result

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any]) -> Any:
        """Returns the state after ``state = reduce_func(state, element)`` of every element.

        Raises:
            TypeError: ``reduce_func`` gives another structure or other dtypes than the state has.
        """
        with name_scope("initial_state"):
            state = structure.normalized(initial_state)
        element = structure.structure_of(state)
        while True:
            function = StructuredFunction(
                lambda s, e: reduce_func(s, e), (element, self._structure), "reduce()"
            )
            if structure.legacy_types(element) != structure.legacy_types(function.result):
                raise TypeError(
                    "The element types for the new state must match the initial state. Expected "
                    f"{structure.legacy_types(element)}; got "
                    f"{structure.legacy_types(function.result)}."
                )
            general = structure.most_specific_compatible(element, function.result)
            if structure.flat_attrs(general) == structure.flat_attrs(element):
                break
            element = general  # the state's shape changes: try again without what changes
        results = apply_op(
            "ReduceDataset",
            self._variant_tensor,
            structure.to_tensors(state),
            function.captures,
            f=function.traced,
            **structure.flat_attrs(element),
        )
        return structure.from_tensors(element, results)

    # Options --------------------------------------------------------------------------------

    def options(self) -> Options:
        """Returns the options of this dataset and of those that it was made of."""
        return self._options

    def with_options(self, options: Options) -> Dataset:
        """Adds ``options`` to those of this dataset."""
        return Dataset(self._variant_tensor, self._structure, self._options.merge(options))


def inner_structure(function: StructuredFunction, name: str) -> Any:
    """Returns the structure of the dataset that ``function`` returns; TypeError for others."""
    if not isinstance(function.result, DatasetStructure):
        raise TypeError(
            f"`map_func` of {name} must return a `Dataset` object. Got {function.result}"
        )
    return function.result.inner


def _int64(value: Any, name: str) -> Tensor:
    return convert_to_tensor(value, dtypes.int64, name=name)


def seeds(seed: Any) -> tuple[Tensor, Tensor]:
    """Returns the inputs ``seed`` and ``seed2`` of a dataset op for the user's seed."""
    if isinstance(seed, Tensor):
        graph_seed, _ = random_seed.get_seed(0)
        zero, largest = _int64(0, "zero"), _int64(2**31 - 1, "largest")
        second = convert_to_tensor(seed, dtypes.int64)
        both_zero = equal(second, zero) if graph_seed == 0 else equal(zero, largest)
        return _int64(graph_seed, "seed"), where(both_zero, largest, second)
    chosen = random_seed.get_seed(seed)
    return _int64(chosen[0] or 0, "seed"), _int64(chosen[1] or 0, "seed2")


def _known_rows(size: Tensor, drop_remainder: Tensor) -> int | None:
    """Returns the batch size, if every batch has it and it is known."""
    drop, rows = constant_value(drop_remainder), constant_value(size)
    return int(rows) if rows is not None and drop is not None and drop else None


def _padded_shape(shape: Any, leaf: TensorStructure) -> Tensor:
    """Converts the shape to pad a component to, as the op takes it: -1 for the largest size."""
    if isinstance(shape, Tensor):
        result = convert_to_tensor(shape, name="padded_shape")
        if result.dtype != dtypes.int64:
            raise TypeError(
                f"Padded shape {shape} must be a 1-D tensor of tf.int64 values, but its element "
                f"type was {result.dtype.name}."
            )
        return result
    dims = as_shape(
        [None if d == -1 else d for d in shape] if isinstance(shape, list | tuple) else shape
    )
    if dims.rank is None:
        raise ValueError("A padded shape needs a known rank.")
    if leaf.shape.rank is not None and leaf.shape.rank != dims.rank:
        raise ValueError(
            f"The padded shape {dims} is not compatible with the corresponding input component "
            f"shape {leaf.shape}."
        )
    for padded, given in zip(dims.as_tuple() or (), leaf.flat_shape or (), strict=False):
        if padded is not None and given is not None and given > padded:
            raise ValueError(
                f"The padded shape {dims} is not compatible with the corresponding input component "
                f"shape {leaf.shape}."
            )
    return _int64([-1 if d is None else d for d in dims.as_list()], "padded_shape")


def _padding_value(value: Any, leaf: TensorStructure) -> Tensor:
    if value is None:
        value = "" if leaf.dtype == dtypes.string else 0
        if leaf.dtype == dtypes.bool:
            value = False
    result = convert_to_tensor(
        value, None if isinstance(value, Tensor) else leaf.dtype, name="padding_value"
    )
    if result.dtype != leaf.dtype:
        raise TypeError(
            f"Padding value type ({result.dtype}) does not match output type ({leaf.dtype})"
        )
    try:
        merge(result.shape_tuple, ())
    except ValueError:
        raise ValueError(f"padding_value should be a scalar, but it is not: {result}") from None
    return result


@tf_export("data.get_output_types")
def get_legacy_output_types(dataset_or_iterator: Any) -> Any:
    """Returns the nested dtypes of the elements of a dataset or iterator."""
    return dataset_or_iterator.output_types


@tf_export("data.get_output_shapes")
def get_legacy_output_shapes(dataset_or_iterator: Any) -> Any:
    """Returns the nested shapes of the elements of a dataset or iterator."""
    return dataset_or_iterator.output_shapes


@tf_export("data.get_output_classes")
def get_legacy_output_classes(dataset_or_iterator: Any) -> Any:
    """Returns the nested Python classes of the elements of a dataset or iterator."""
    return dataset_or_iterator.output_classes
