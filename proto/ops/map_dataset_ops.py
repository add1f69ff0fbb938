"""Datasets that apply functions to the elements of others: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import scalar
from flowray.proto.ops.dataset_ops import (
    ARGUMENTS,
    ELEMENTS,
    FUNCTION,
    INTER_OP,
    define_dataset,
)
from flowray.proto.ops.op_registry import attr, op

_MAPPED = {"f": FUNCTION, "Targuments": ARGUMENTS}
_MAP_INPUTS = "input_dataset: variant, other_arguments: [Targuments]"

for _name in ("MapDataset", "ExperimentalMapDataset"):
    define_dataset(
        _name,
        _MAP_INPUTS,
        **_MAPPED,
        preserve_cardinality=False,
        hints={**INTER_OP, "force_synchronous": False},
    )
define_dataset(
    "ParallelMapDataset",
    f"{_MAP_INPUTS}, num_parallel_calls: int32",
    **_MAPPED,
    sloppy=False,
    preserve_cardinality=False,
    hints=INTER_OP,
)
define_dataset(
    "ParallelMapDatasetV2",
    f"{_MAP_INPUTS}, num_parallel_calls: int64",
    **_MAPPED,
    deterministic="default",
    preserve_cardinality=False,
    hints={**INTER_OP, "use_unbounded_threadpool": False},
)
for _name in ("MapAndBatchDataset", "ExperimentalMapAndBatchDataset"):
    define_dataset(
        _name,
        f"{_MAP_INPUTS}, batch_size: int64, num_parallel_calls: int64, drop_remainder: bool",
        **_MAPPED,
        preserve_cardinality=False,
    )
define_dataset("FlatMapDataset", _MAP_INPUTS, **_MAPPED)
define_dataset(
    "InterleaveDataset", f"{_MAP_INPUTS}, cycle_length: int64, block_length: int64", **_MAPPED
)
define_dataset(
    "ParallelInterleaveDatasetV2",
    f"{_MAP_INPUTS}, cycle_length: int64, block_length: int64, num_parallel_calls: int64",
    **_MAPPED,
    sloppy=False,
)
define_dataset(
    "ParallelInterleaveDatasetV3",
    f"{_MAP_INPUTS}, cycle_length: int64, block_length: int64, num_parallel_calls: int64",
    **_MAPPED,
    deterministic="default",
)
define_dataset(
    "ParallelInterleaveDatasetV4",
    f"{_MAP_INPUTS}, cycle_length: int64, block_length: int64, buffer_output_elements: int64, "
    "prefetch_input_elements: int64, num_parallel_calls: int64",
    **_MAPPED,
    deterministic="default",
)
for _name in ("ParallelInterleaveDataset", "ExperimentalParallelInterleaveDataset"):
    define_dataset(
        _name,
        f"{_MAP_INPUTS}, cycle_length: int64, block_length: int64, sloppy: bool, "
        "buffer_output_elements: int64, prefetch_input_elements: int64",
        **_MAPPED,
    )
define_dataset(
    "LegacyParallelInterleaveDatasetV2",
    f"{_MAP_INPUTS}, cycle_length: int64, block_length: int64, buffer_output_elements: int64, "
    "prefetch_input_elements: int64",
    **_MAPPED,
    deterministic="default",
)
for _name in ("FilterDataset", "TakeWhileDataset", "ExperimentalTakeWhileDataset"):
    define_dataset(_name, _MAP_INPUTS, predicate=FUNCTION, Targuments=ARGUMENTS)
op(
    "FilterByLastComponentDataset",
    "input_dataset: variant -> output: variant",
    **ELEMENTS,
    host_only=True,
    differentiable=False,
    shape=scalar,
)
for _name in ("ScanDataset", "ExperimentalScanDataset"):
    define_dataset(
        _name,
        "input_dataset: variant, initial_state: [Tstate], other_arguments: [Targuments]",
        f=FUNCTION,
        Tstate=attr("list(type)", minimum=1),
        Targuments=ARGUMENTS,
        preserve_cardinality=False,
        hints={"use_default_device": True} if _name.startswith("S") else {},
    )
_GROUP = "input_dataset: variant, key_func_other_arguments: [Tkey_func_other_arguments]"
for _name in ("GroupByWindowDataset", "ExperimentalGroupByWindowDataset"):
    define_dataset(
        _name,
        f"{_GROUP}, reduce_func_other_arguments: [Treduce_func_other_arguments], "
        "window_size_func_other_arguments: [Twindow_size_func_other_arguments]",
        key_func=FUNCTION,
        reduce_func=FUNCTION,
        window_size_func=FUNCTION,
        Tkey_func_other_arguments=ARGUMENTS,
        Treduce_func_other_arguments=ARGUMENTS,
        Twindow_size_func_other_arguments=ARGUMENTS,
    )
for _name in ("UniqueDataset", "ExperimentalUniqueDataset"):
    define_dataset(_name, "input_dataset: variant")
for _name in ("IgnoreErrorsDataset", "ExperimentalIgnoreErrorsDataset"):
    define_dataset(_name, "input_dataset: variant", log_warning=False, metadata=False)
