"""Datasets of what is in files: lines, records."""

from __future__ import annotations

from typing import Any

from flowray.client.data.dataset import Dataset
from flowray.client.data.structure import TensorStructure
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes

_STRINGS = TensorStructure(dtypes.string, [])


def _optional(value: Any, default: Any, dtype: Any, name: str) -> Tensor:
    return convert_to_tensor(default if value is None else value, dtype, name=name)


@tf_export("data.TextLineDataset")
class TextLineDataset(Dataset):
    """The lines of text files, without their ends.

    Args:
        filenames: string, scalar or vector (or, as everywhere here, a dataset of such scalars).
        compression_type: "", "ZLIB" or "GZIP".
        buffer_size: how many bytes are read at once.
        num_parallel_reads: how many files are read at the same time, their lines taking turns.
    """

    def __init__(
        self,
        filenames: Any,
        compression_type: Any = None,
        buffer_size: Any = None,
        num_parallel_reads: Any = None,
    ) -> None:
        compression = _optional(compression_type, "", dtypes.string, "compression_type")
        size = _optional(buffer_size, 256 << 10, dtypes.int64, "buffer_size")
        _init_from_files(
            self,
            filenames,
            num_parallel_reads,
            lambda names: apply_op("TextLineDataset", names, compression, size),
        )


@tf_export("data.TFRecordDataset")
class TFRecordDataset(Dataset):
    """The records of TFRecord files; arguments as of ``TextLineDataset``."""

    def __init__(
        self,
        filenames: Any,
        compression_type: Any = None,
        buffer_size: Any = None,
        num_parallel_reads: Any = None,
    ) -> None:
        compression = _optional(compression_type, "", dtypes.string, "compression_type")
        size = _optional(buffer_size, 256 << 10, dtypes.int64, "buffer_size")
        _init_from_files(
            self,
            filenames,
            num_parallel_reads,
            lambda names: apply_op("TFRecordDataset", names, compression, size),
        )


@tf_export("data.FixedLengthRecordDataset")
class FixedLengthRecordDataset(Dataset):
    """Pieces of ``record_bytes`` bytes of files, between a header and a footer.

    Other arguments as of ``TextLineDataset``.
    """

    def __init__(
        self,
        filenames: Any,
        record_bytes: Any,
        header_bytes: Any = None,
        footer_bytes: Any = None,
        buffer_size: Any = None,
        compression_type: Any = None,
        num_parallel_reads: Any = None,
    ) -> None:
        record = convert_to_tensor(record_bytes, dtypes.int64, name="record_bytes")
        header = _optional(header_bytes, 0, dtypes.int64, "header_bytes")
        footer = _optional(footer_bytes, 0, dtypes.int64, "footer_bytes")
        size = _optional(buffer_size, 256 << 10, dtypes.int64, "buffer_size")
        compression = _optional(compression_type, "", dtypes.string, "compression_type")
        _init_from_files(
            self,
            filenames,
            num_parallel_reads,
            lambda names: apply_op(
                "FixedLengthRecordDatasetV2", names, header, record, footer, size, compression
            ),
        )


def _init_from_files(dataset: Dataset, filenames: Any, parallel: Any, read: Any) -> None:
    """Initializes ``dataset`` as what ``read`` gives of the named files."""
    if parallel is None and not isinstance(filenames, Dataset):
        names = convert_to_tensor(filenames, dtypes.string, name="filenames")
        Dataset.__init__(dataset, read(names), _STRINGS)
        return
    if not isinstance(filenames, Dataset):
        names = convert_to_tensor(filenames, dtypes.string, name="filenames")
        filenames = Dataset.from_tensor_slices(_as_vector(names))

    def open_file(name: Tensor) -> Dataset:
        return Dataset(read(name), _STRINGS)

    if parallel is None:
        files = filenames.flat_map(open_file)
    else:
        files = filenames.interleave(open_file, parallel, 1, parallel)
    Dataset.__init__(dataset, files._variant_tensor, files._structure, files._options)


def _as_vector(names: Tensor) -> Tensor:
    return output_of("Reshape", names, [-1], name="flat_filenames")
