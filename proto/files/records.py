"""TFRecord files: records with checksums, plain or compressed.

A record is its length (8 bytes, little-endian), the masked CRC-32C of those, the data, and the
masked CRC-32C of the data.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from typing import IO, Any, Final

from flowray.proto import errors
from flowray.proto.files import crc32c
from flowray.proto.files.file_errors import translated

COMPRESSION_TYPES: Final = ("", "ZLIB", "GZIP")

_HEADER: Final = struct.Struct("<QI")
_FOOTER: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<Q")
DEFAULT_BUFFER: Final = 256 << 10


def check_compression(compression: str) -> None:
    """Raises TensorFlow's InvalidArgumentError for an unknown type of compression."""
    if compression not in COMPRESSION_TYPES:
        raise errors.invalid_argument("Unsupported compression_type.")


def open_input(path: str, compression: str = "", buffer: int = DEFAULT_BUFFER) -> IO[bytes]:
    """Opens the decompressed content of a file. Read from it inside ``reading``, for its errors."""
    check_compression(compression)
    with translated(path):
        file = open(path, "rb", buffering=max(buffer, 2))  # noqa: SIM115 - the caller closes
        if compression == "GZIP":
            return io.BufferedReader(gzip.GzipFile(fileobj=_Owned(file)), max(buffer, 2))
        if compression == "ZLIB":
            return io.BufferedReader(_ZlibInput(file), max(buffer, 2))
        return file


class _Owned(io.RawIOBase):
    """A file that is closed when nobody holds it: a GzipFile does not close what it is given."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def __del__(self) -> None:
        self._file.close()


class _ZlibInput(io.RawIOBase):
    """The decompressed content of a zlib stream."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._decompressor = zlib.decompressobj()
        self._pending = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves forward by reading, backward by starting again; not beyond the end."""
        target = offset if whence == 0 else self._position + offset
        if target < self._position:
            self._restart()
        while self._position < target and self.read(min(target - self._position, 64 << 10)):
            continue
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while True:
            data = self._decompressor.decompress(self._pending, len(view))
            self._pending = self._decompressor.unconsumed_tail
            if data:
                view[: len(data)] = data
                self._position += len(data)
                return len(data)
            if not self._pending:
                self._pending = self._file.read(64 << 10)
                if not self._pending:
                    return 0

    def close(self) -> None:
        self._file.close()
        super().close()


class reading:  # noqa: N801 - reads as a statement
    """Turns the errors of a block that reads ``path`` into TensorFlow's errors."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, (zlib.error, gzip.BadGzipFile)):
            raise errors.data_loss(f"inflate() failed with error -3: {error}") from None
        if isinstance(error, EOFError):
            raise errors.data_loss(f"{self._path} ends in the middle of its compressed data")
        if isinstance(error, OSError):
            with translated(self._path):
                raise error


class RecordReader:
    """The records of a file, one after the other.

    Args:
        path: the file.
        compression: "", "ZLIB" or "GZIP".
        buffer: the number of bytes to read at once.

    Raises:
        OpError: the file cannot be opened (with TensorFlow's code).
    """

    def __init__(self, path: str, compression: str = "", buffer: int = DEFAULT_BUFFER) -> None:
        self._path = path
        self._file = open_input(path, compression, buffer)
        self.offset = 0
        """The position of the next record in the decompressed content."""

    def read(self) -> bytes | None:
        """Returns the next record; None at the end. A record that is cut off counts as the end.

        Raises:
            DataLossError: a checksum is wrong.
        """
        with reading(self._path):
            header = self._file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return None
            length, length_crc = _HEADER.unpack(header)
            if crc32c.masked(header[: _LENGTH.size]) != length_crc:
                hint = " (Is this even a TFRecord file?)" if self.offset == 0 else ""
                raise errors.data_loss(f"corrupted record at {self.offset}{hint}")
            data = self._file.read(length)
            footer = self._file.read(_FOOTER.size)
        if len(footer) < _FOOTER.size:
            return None
        if crc32c.masked(data) != _FOOTER.unpack(footer)[0]:
            raise errors.data_loss(f"corrupted record at {self.offset + _HEADER.size}")
        self.offset += _HEADER.size + length + _FOOTER.size
        return data

    def seek(self, offset: int) -> None:
        """Moves to the record that begins at ``offset``."""
        with reading(self._path):
            self._file.seek(offset)
        self.offset = offset

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class RecordWriter:
    """Writes records to a new file.

    Args:
        path: the file; its old content is lost.
        compression: "", "ZLIB" or "GZIP".
        level: the level of compression, -1 for the default.
    """

    def __init__(self, path: str, compression: str = "", level: int = -1) -> None:
        check_compression(compression)
        self._path = path
        with translated(path):
            self._file: IO[bytes] = open(path, "wb", buffering=DEFAULT_BUFFER)  # noqa: SIM115
        self._compressor = (
            zlib.compressobj(level, wbits=31 if compression == "GZIP" else 15)
            if compression
            else None
        )

    def write(self, record: bytes) -> None:
        """Appends a record."""
        length = _LENGTH.pack(len(record))
        parts = (
            length,
            _FOOTER.pack(crc32c.masked(length)),
            record,
            _FOOTER.pack(crc32c.masked(record)),
        )
        with translated(self._path):
            for part in parts:
                self._file.write(part if self._compressor is None else self._compress(part))

    def _compress(self, data: bytes) -> bytes:
        assert self._compressor is not None
        return self._compressor.compress(data)

    def flush(self) -> None:
        """Passes all that was written to the operating system."""
        with translated(self._path):
            if self._compressor is not None:
                self._file.write(self._compressor.flush(zlib.Z_SYNC_FLUSH))
            self._file.flush()

    def close(self) -> None:
        """Completes and closes the file. Closing again does nothing."""
        if self._file.closed:
            return
        with translated(self._path):
            if self._compressor is not None:
                self._file.write(self._compressor.flush())
            self._file.close()
