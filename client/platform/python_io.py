"""``tf.python_io``: TFRecord files, read and written by this process itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from flowray.client.tf_export import tf_export
from flowray.proto.files.records import RecordReader, RecordWriter


@tf_export("io.TFRecordCompressionType", "python_io.TFRecordCompressionType")
class TFRecordCompressionType:
    """The compression of a file."""

    NONE = 0
    ZLIB = 1
    GZIP = 2


_NAMES = {
    TFRecordCompressionType.NONE: "",
    TFRecordCompressionType.ZLIB: "ZLIB",
    TFRecordCompressionType.GZIP: "GZIP",
    None: "",
}


@tf_export("io.TFRecordOptions", "python_io.TFRecordOptions")
class TFRecordOptions:
    """Options for TFRecord files.

    Args:
        compression_type: a ``TFRecordCompressionType``, or "", "ZLIB", "GZIP".
        compression_level: from 0 (none) to 9 (best).

    Raises:
        ValueError: there is no such compression.
    """

    compression_type_map = _NAMES

    def __init__(
        self, compression_type: Any = None, *_: Any, compression_level: int | None = None, **__: Any
    ) -> None:
        self.get_compression_type_string(compression_type)
        self.compression_type = compression_type
        self.compression_level = compression_level

    @classmethod
    def get_compression_type_string(cls, options: Any) -> str:
        """Returns the name of a compression, given as options, a type, a name or None."""
        if isinstance(options, TFRecordOptions):
            options = options.compression_type
        if isinstance(options, str):
            if options not in _NAMES.values():
                raise ValueError(f'Not a valid compression_type: "{options}"')
            return options
        if options not in _NAMES:
            raise ValueError(f'Not a valid compression_type: "{options}"')
        return _NAMES[options]


@tf_export("io.TFRecordWriter", "python_io.TFRecordWriter")
class TFRecordWriter:
    """Writes records to a file; a context manager that closes it.

    Args:
        path: the file, which is overwritten.
        options: TFRecordOptions, or a compression type.
    """

    def __init__(self, path: Any, options: Any = None) -> None:
        level = options.compression_level if isinstance(options, TFRecordOptions) else None
        self._writer = RecordWriter(
            os.fsdecode(path),
            TFRecordOptions.get_compression_type_string(options),
            -1 if level is None else level,
        )

    def __enter__(self) -> TFRecordWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, record: bytes) -> None:
        """Adds a record."""
        self._writer.write(record)

    def flush(self) -> None:
        """Gives all that was written to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()


@tf_export("io.tf_record_iterator", "python_io.tf_record_iterator")
def tf_record_iterator(path: Any, options: Any = None) -> Iterator[bytes]:
    """Returns the records of a file.

    Raises:
        OpError: it cannot be read (DataLossError for a wrong checksum).
    """
    reader = RecordReader(os.fsdecode(path), TFRecordOptions.get_compression_type_string(options))
    try:
        while (record := reader.read()) is not None:
            yield record
    finally:
        reader.close()
