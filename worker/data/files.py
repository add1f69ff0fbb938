"""Iterators over what is in files: lines, records, and the names of files themselves."""

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
    """The element whose one component is this string."""
    result = np.empty((), object)
    result[()] = value
    return (result,)


class FileIterator(DatasetIterator):
    """The pieces of each of several files in turn, as string scalars.

    A file that cannot be opened fails every time; a piece that cannot be read ends its file.
    """

    __slots__ = ("_at", "_open", "_paths", "_piece", "_reader")

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
                piece = self._reader.read()
            except errors.OpError:
                self._go_on()
                raise
            if piece is not None:
                return string_element(piece)
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
    """Reads a file piece by piece."""

    def read(self) -> bytes | None:
        """The next piece, None at the end."""
        raise NotImplementedError

    def position(self) -> int:
        """Where it stands, for ``go_to``."""
        raise NotImplementedError

    def go_to(self, position: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Records(FileReader):
    """The records of a TFRecord file."""

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
    """The lines of a file, without their ends and (as in TensorFlow) without any "\\r"."""

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
    """Pieces of one length between a header and a footer.

    Raises:
        InvalidArgumentError: the file's length is none that this gives.
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
