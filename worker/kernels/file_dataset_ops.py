"""Kernels of datasets of the content of files. Paths are those of the machine that runs the op."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.files import filesystem
from flowray.proto.files.records import RecordWriter, check_compression
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape
from flowray.worker.data.cache import Cache, MemoryCacheIterator, file_cache_iterator
from flowray.worker.data.dataset import UNKNOWN, Dataset, dataset_of
from flowray.worker.data.files import (
    FileIterator,
    FileReader,
    FixedLength,
    Lines,
    Records,
    string_element,
)
from flowray.worker.data.kernels import dataset_kernel
from flowray.worker.data.sequences import ListIterator
from flowray.worker.execution.interpreter import current_cancellation
from flowray.worker.kernel_registry import kernel

Array = np.ndarray[Any, Any]

_DEFAULT_BUFFER = 256 << 10


def _strings(iterate: Callable[[], Any], cardinality: int = UNKNOWN) -> Dataset:
    return Dataset([dtypes.string], [()], iterate, cardinality)


def _file_dataset(filenames: Array, open_: Callable[[str], FileReader]) -> Dataset:
    if filenames.ndim > 1:
        raise errors.invalid_argument("`filenames` must be a scalar or a vector.")
    paths = [os.fsdecode(filesystem.local_path(path)) for path in filenames.reshape(-1)]
    return _strings(lambda: FileIterator(paths, open_))


def _buffer(size: Array) -> int:
    if size < -1:
        raise errors.invalid_argument("`buffer_size` must be >= 0 (0 == no buffering)")
    # 0 asks for no buffer, but a reader of single records needs one; -1 is TensorFlow 2's "any".
    return int(size) if size > 0 else _DEFAULT_BUFFER


def _compression(value: Array) -> str:
    content: Any = value[()]
    name: str = content.decode(errors="replace")
    check_compression(name)
    return name


@dataset_kernel("TextLineDataset")
def text_line_dataset(
    xp: Any, filenames: Array, compression_type: Array, buffer_size: Array
) -> Dataset:
    """Reads the lines of text files, without their ends, as string scalars.

    Args:
        compression_type: "", "ZLIB" or "GZIP".
        buffer_size: bytes to read at a time; 0 or -1 for 256 KiB.
    """
    compression, buffer = _compression(compression_type), _buffer(buffer_size)
    return _file_dataset(filenames, lambda path: Lines(path, compression, buffer))


@dataset_kernel("TFRecordDataset")
def tf_record_dataset(
    xp: Any, filenames: Array, compression_type: Array, buffer_size: Array
) -> Dataset:
    """Reads the records of TFRecord files as string scalars; see ``text_line_dataset``."""
    compression, buffer = _compression(compression_type), _buffer(buffer_size)
    return _file_dataset(filenames, lambda path: Records(path, compression, buffer))


@dataset_kernel("FixedLengthRecordDatasetV2")
def fixed_length_record_dataset_v2(
    xp: Any,
    filenames: Array,
    header_bytes: Array,
    record_bytes: Array,
    footer_bytes: Array,
    buffer_size: Array,
    compression_type: Array,
) -> Dataset:
    """Reads records of ``record_bytes`` bytes between a header and a footer."""
    header, size, footer = int(header_bytes), int(record_bytes), int(footer_bytes)
    for name, number, minimum in (
        ("header_bytes", header, 0), ("record_bytes", size, 1), ("footer_bytes", footer, 0),
    ):  # fmt: skip
        if number < minimum:
            raise errors.invalid_argument(f"`{name}` must be {'> 0' if minimum else '>= 0'}")
    compression, buffer = _compression(compression_type), _buffer(buffer_size)
    return _file_dataset(
        filenames, lambda path: FixedLength(path, header, size, footer, compression, buffer)
    )


@dataset_kernel("FixedLengthRecordDataset")
def fixed_length_record_dataset(
    xp: Any,
    filenames: Array,
    header_bytes: Array,
    record_bytes: Array,
    footer_bytes: Array,
    buffer_size: Array,
) -> Dataset:
    """Reads records of ``record_bytes`` bytes from files without compression."""
    return fixed_length_record_dataset_v2(
        xp, filenames, header_bytes, record_bytes, footer_bytes, buffer_size, np.array(b"", object)
    )


@dataset_kernel("MatchingFilesDataset", "ExperimentalMatchingFilesDataset")
def matching_files_dataset(xp: Any, patterns: Array) -> Dataset:
    """Makes the sorted paths that match any of the patterns, looked up when an iterator begins."""
    wanted = patterns.reshape(-1).tolist()

    def iterate() -> ListIterator:
        # The files are looked up when an iteration begins, not when the dataset is made.
        found = sorted(path for pattern in wanted for path in filesystem.matching(pattern))
        return ListIterator([string_element(path) for path in found])

    return _strings(iterate)


@dataset_kernel("CacheDataset")
def cache_dataset(
    xp: Any,
    input_dataset: Array,
    filename: Array,
    *,
    output_types: list[DType],
    output_shapes: list[Shape],
) -> Dataset:
    """Keeps the elements of the first complete iteration in memory, or in the file ``filename``."""
    source, path = dataset_of(input_dataset), filename[()]
    cache = Cache()

    def iterate() -> Any:
        if path:
            return file_cache_iterator(source, os.fsdecode(filesystem.local_path(path)))
        return MemoryCacheIterator(source, cache)

    return Dataset(output_types, output_shapes, iterate, source.cardinality)


@kernel("DatasetToTFRecord", "ExperimentalDatasetToTFRecord")
def dataset_to_tf_record(
    xp: Any, input_dataset: Array, filename: Array, compression_type: Array
) -> None:
    """Writes the elements, string scalars, as the records of a file. It can be cancelled."""
    path = os.fsdecode(filesystem.local_path(filename[()]))
    cancellation = current_cancellation()
    writer = RecordWriter(path, _compression(compression_type))
    iterator = dataset_of(input_dataset).iterator()
    try:
        while (element := iterator.get_next()) is not None:
            writer.write(element[0][()])
            cancellation.check()
    finally:
        iterator.close()
        writer.close()
