"""Batches, and windows of elements: definitions."""

from __future__ import annotations

from flowray.proto.ops.dataset_ops import (
    COMPONENTS,
    define_dataset,
)

_COPY = {"parallel_copy": False}
define_dataset("BatchDataset", "input_dataset: variant, batch_size: int64")
define_dataset(
    "BatchDatasetV2", "input_dataset: variant, batch_size: int64, drop_remainder: bool", hints=_COPY
)
_PADDED = (
    "input_dataset: variant, batch_size: int64, padded_shapes: N*int64, "
    "padding_values: [Toutput_types]"
)
define_dataset("PaddedBatchDataset", _PADDED, typed=False, **COMPONENTS)
define_dataset(
    "PaddedBatchDatasetV2",
    f"{_PADDED}, drop_remainder: bool",
    typed=False,
    **COMPONENTS,
    hints=_COPY,
)
for _name in ("UnbatchDataset", "ExperimentalUnbatchDataset"):
    define_dataset(_name, "input_dataset: variant")
define_dataset(
    "WindowDataset",
    "input_dataset: variant, size: int64, shift: int64, stride: int64, drop_remainder: bool",
)
for _name in ("SlidingWindowDataset", "ExperimentalSlidingWindowDataset"):
    _drop = {"drop_remainder": True} if _name.startswith("S") else {}
    define_dataset(
        _name,
        "input_dataset: variant, window_size: int64, window_shift: int64, window_stride: int64",
        **_drop,
        metadata=False,
    )
