"""Datasets that read files: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import no_outputs
from flowray.proto.ops.dataset_ops import define_dataset
from flowray.proto.ops.op_registry import op

for _name in ("TextLineDataset", "TFRecordDataset"):
    define_dataset(
        _name,
        "filenames: string, compression_type: string, buffer_size: int64",
        typed=False,
        stateful=True,
    )
define_dataset(
    "FixedLengthRecordDataset",
    "filenames: string, header_bytes: int64, record_bytes: int64, footer_bytes: int64, "
    "buffer_size: int64",
    typed=False,
    stateful=True,
)
define_dataset(
    "FixedLengthRecordDatasetV2",
    "filenames: string, header_bytes: int64, record_bytes: int64, footer_bytes: int64, "
    "buffer_size: int64, compression_type: string",
    typed=False,
    stateful=True,
)
for _name in ("MatchingFilesDataset", "ExperimentalMatchingFilesDataset"):
    define_dataset(_name, "patterns: string", typed=False, stateful=True, metadata=False)
define_dataset("CacheDataset", "input_dataset: variant, filename: string")
for _name in ("DatasetToTFRecord", "ExperimentalDatasetToTFRecord"):
    op(
        _name,
        "input_dataset: variant, filename: string, compression_type: string ->",
        stateful=True,
        blocks=True,
        host_only=True,
        shape=no_outputs,
    )
