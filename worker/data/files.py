"""Iterators over the content of files: lines, records of TFRecord, and records of one length."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np

from flowray.proto import errors
from flowray.proto.files.records import RecordReader, open_input, reading
from flowray.worker.data.dataset import DatasetIterator, Element


def string_element(value: bytes) -> Element:
    """Returns the element whose one component is this string."""
    result = np.empty((), object)
    result[()] = value
    return (result,)


class FileIterator(DatasetIterator):
    """Gives the records of several files, one file after the other, as string scalars.

    If a file cannot be opened, every call fails; a record that cannot be read ends its file.
    """

    __slots__ = ("_at", "_open", "_paths", "_reader")

    def __init__(self, paths: Sequence[str], open_: Callable[[str], FileReader]) -> None:
        self._paths = paths
        self._open = open_
        self._at = 0
        self._reader: FileReader | None = None

    def get_next(self) -> Element | None:
        while self._at < len(self._paths):
            if self._reader is None:
                self._reader = self._open(self._paths[self._at])
            try:
                record = self._reader.read()
            except errors.OpError:
                self._go_on()
                raise
            if record is not None:
                return string_element(record)
            self._go_on()
        return None

    def _go_on(self) -> None:
        self.close()
        self._reader = None
        self._at += 1

    def save(self) -> Any:
        return self._at, None if self._reader is None else self._reader.position()

    def restore(self, state: Any) -> None:
        self._at, position = state
        if position is not None:
            self._reader = self._open(self._paths[self._at])
            self._reader.go_to(position)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


class FileReader:
    """Reads a file record by record."""

    def read(self) -> bytes | None:
        """Returns the next record, None at the end."""
        raise NotImplementedError

    def position(self) -> int:
        """Returns the position, for ``go_to``."""
        raise NotImplementedError

    def go_to(self, position: int) -> None:
        """Continues at a position that ``position`` returned for an equal reader."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the file."""
        raise NotImplementedError


class Records(FileReader):
    """Reads the records of a TFRecord file."""

    def __init__(self, path: str, compression: str, buffer: int) -> None:
        self._reader = RecordReader(path, compression, buffer)

    def read(self) -> bytes | None:
        return self._reader.read()

    def position(self) -> int:
        return self._reader.offset

    def go_to(self, position: int) -> None:
        self._reader.seek(position)

    def close(self) -> None:
        self._reader.close()


class Lines(FileReader):
    """Reads the lines of a file, without their ends and (as in TensorFlow) without any "\\r"."""

    def __init__(self, path: str, compression: str, buffer: int) -> None:
        self._path = path
        self._file: IO[bytes] = open_input(path, compression, buffer)
        self._position = 0

    def read(self) -> bytes | None:
        with reading(self._path):
            line = self._file.readline()
        self._position += len(line)
        return line.rstrip(b"\n").replace(b"\r", b"") if line else None

    def position(self) -> int:
        return self._position

    def go_to(self, position: int) -> None:
        with reading(self._path):
            self._file.seek(position)
        self._position = position

    def close(self) -> None:
        self._file.close()


class FixedLength(FileReader):
    """Reads records of one length between a header and a footer.

    Raises:
        InvalidArgumentError: the length of the file without both is not a multiple of the record's.
    """

    def __init__(
        self, path: str, header: int, size: int, footer: int, compression: str, buffer: int
    ) -> None:
        self._path = path
        self._size = size
        if compression:
            with open_input(path, compression, buffer) as file, reading(path):
                content = file.read()
            self._file: IO[bytes] = io.BytesIO(content)
            length = len(content)
        else:
            self._file = open_input(path, "", buffer)
            length = os.fstat(self._file.fileno()).st_size
        body = length - header - footer
        if body % size:
            self._file.close()
            raise errors.invalid_argument(
                f"Excluding the header ({header} bytes) and footer ({footer} bytes), input file "
                f'"{path}" has body length {body} bytes, which is not an exact multiple of the '
                f"record length ({size} bytes)."
            )
        self._file.seek(header)
        self._left = body // size

    def read(self) -> bytes | None:
        if self._left <= 0:
            return None
        self._left -= 1
        with reading(self._path):
            return self._file.read(self._size)

    def position(self) -> int:
        return self._left

    def go_to(self, position: int) -> None:
        self._file.seek((self._left - position) * self._size, os.SEEK_CUR)
        self._left = position

    def close(self) -> None:
        self._file.close()
