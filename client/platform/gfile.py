"""``tf.gfile``: files of the client's machine, with TensorFlow's names and errors.

Paths may be ``str``, ``bytes`` or ``os.PathLike``, with ``file://`` before them or not; those of
other file systems raise UnimplementedError.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from flowray.client.tf_export import tf_export
from flowray.proto import errors
from flowray.proto.files import filesystem
from flowray.proto.files.file_errors import translated

Path = str | bytes | os.PathLike[str]

_MODES = frozenset({"r", "w", "a", "r+", "w+", "a+"})


@tf_export("gfile.GFile", "gfile.Open", "io.gfile.GFile")
class GFile:
    """A file, opened when it is first read or written.

    Text is UTF-8; positions and sizes count bytes.

    Args:
        name: its path.
        mode: "r", "w", "a", "r+", "w+" or "a+", with "b" for reading bytes.

    Raises:
        InvalidArgumentError: the mode is not one of these.
    """

    def __init__(self, name: Path, mode: str = "r") -> None:
        plain = mode.replace("b", "")
        if plain not in _MODES:
            raise errors.invalid_argument("mode is not 'r' or 'w' or 'a' or 'r+' or 'w+' or 'a+'")
        self._name = name
        self._mode = mode
        self._binary = "b" in mode
        self._reads = plain != "w" and plain != "a"
        self._writes = plain != "r"
        self._file: IO[bytes] | None = None
        self._path = _local(name)

    @property
    def name(self) -> Path:
        """The path as it was given."""
        return self._name

    @property
    def mode(self) -> str:
        """The mode as it was given: "r", "wb", ..."""
        return self._mode

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            with translated(self._path):
                self._file = open(self._path, self._mode.replace("b", "") + "b")  # noqa: SIM115
        return self._file

    def _for_reading(self) -> IO[bytes]:
        if not self._reads:
            raise errors.permission_denied("File isn't open for reading")
        return self._opened()

    def _for_writing(self) -> IO[bytes]:
        if not self._writes:
            raise errors.permission_denied("File isn't open for writing")
        return self._opened()

    def _shown(self, content: bytes) -> Any:
        return content if self._binary else content.decode()

    def size(self) -> int:
        """Returns the bytes that are in the file."""
        return Stat(self._name).length

    def read(self, n: int = -1) -> Any:
        """Reads the next ``n`` bytes (all that is left if negative); in text mode as a ``str``."""
        with translated(self._path):
            return self._shown(self._for_reading().read(n))

    def readline(self) -> Any:
        """Reads the next line with its end, "" at the end of the file; drops carriage returns."""
        with translated(self._path):
            return self._shown(self._for_reading().readline().replace(b"\r", b""))

    def readlines(self) -> list[Any]:
        """Returns all lines that are left."""
        return list(self)

    def write(self, file_content: str | bytes) -> None:
        """Writes text (as UTF-8) or bytes."""
        file = self._for_writing()
        with translated(self._path):
            file.write(_bytes(file_content))

    def seek(self, offset: int | None = None, whence: int = 0, position: int | None = None) -> None:
        """Moves to a byte, counted from the start (0), from here (1) or from the end (2).

        Args:
            position: the older name of ``offset``.

        Raises:
            TypeError: no offset is given.
            InvalidArgumentError: it lies before the start, or ``whence`` is not such a number.
            OutOfRangeError: it lies behind the end.
        """
        if offset is None:
            if position is None:
                raise TypeError("seek(): offset argument required")
            offset = position
        file = self._for_reading()
        if whence == 1:
            offset += self.tell()
        elif whence == 2:
            offset += self.size()
        elif whence != 0:
            raise errors.invalid_argument(
                f"Invalid whence argument: {whence}. Valid values are 0, 1, or 2."
            )
        if offset < 0:
            raise errors.invalid_argument(f"Seeking to a negative position: {offset}")
        self.flush()
        if offset > self.size():
            raise errors.out_of_range("reached end of file")
        file.seek(offset)

    def tell(self) -> int:
        """Returns the position in bytes."""
        return self._opened().tell()

    def seekable(self) -> bool:
        """Returns True: all files are."""
        return True

    def flush(self) -> None:
        """Hands all written bytes to the system."""
        if self._file is not None and self._writes:
            with translated(self._path):
                self._file.flush()

    def close(self) -> None:
        """Closes the file; reading or writing opens it again."""
        if self._file is not None:
            file, self._file = self._file, None
            with translated(self._path):
                file.close()

    def __enter__(self) -> GFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def next(self) -> Any:
        """Returns the next line; StopIteration at the end."""
        return next(self)


@tf_export("gfile.FastGFile")
class FastGFile(GFile):
    """The older name of ``GFile``."""


Open = GFile


@dataclass(frozen=True, slots=True)
class FileStatistics:
    """The statistics of a file; ``length`` is in bytes, ``mtime_nsec`` in ns since 1970."""

    length: int
    mtime_nsec: int
    is_directory: bool


@tf_export("gfile.Exists")
def Exists(filename: Path) -> bool:
    """Returns True if there is a file or directory of this name."""
    return os.path.exists(_local(filename))


@tf_export("gfile.IsDirectory")
def IsDirectory(dirname: Path) -> bool:
    """Returns True if there is a directory of this name."""
    return os.path.isdir(_local(dirname))


@tf_export("gfile.Stat")
def Stat(filename: Path) -> FileStatistics:
    """Returns the statistics of a file. NotFoundError if there is none."""
    path = _local(filename)
    with translated(path):
        found = os.stat(path)
    return FileStatistics(found.st_size, found.st_mtime_ns, stat.S_ISDIR(found.st_mode))


@tf_export("gfile.Glob")
def Glob(filename: Path | Sequence[Path]) -> list[str]:
    """Returns the paths that fit a pattern, or any of several.

    ``*`` and ``?`` stand for characters but ``/``, ``[ab]`` for one of those listed.
    """
    patterns = [filename] if isinstance(filename, str | bytes | os.PathLike) else filename
    found = [path for pattern in patterns for path in filesystem.matching(_bytes(pattern))]
    return [os.fsdecode(path) for path in found]


@tf_export("gfile.ListDirectory")
def ListDirectory(dirname: Path) -> list[str]:
    """Returns the names in a directory, in no particular order, without "." and "..".

    Raises:
        NotFoundError: there is no such directory.
    """
    if not IsDirectory(dirname):
        raise errors.not_found(f"Could not find directory {os.fsdecode(dirname)}")
    path = _local(dirname)
    with translated(path):
        return os.listdir(path)


@tf_export("gfile.MkDir")
def MkDir(dirname: Path) -> None:
    """Makes a directory, whose parent must exist; what is there already is let be."""
    path = _local(dirname)
    if os.path.exists(path):
        return
    with translated(path):
        os.mkdir(path)


@tf_export("gfile.MakeDirs")
def MakeDirs(dirname: Path) -> None:
    """Makes a directory and those above it. FailedPreconditionError if there is a file instead."""
    path = _local(dirname)
    with translated(path):
        try:
            os.makedirs(path, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            while not os.path.exists(path):
                path = os.path.dirname(path)
            raise errors.failed_precondition(f"{path} is not a directory") from None


@tf_export("gfile.Remove")
def Remove(filename: Path) -> None:
    """Removes a file. NotFoundError if there is none."""
    path = _local(filename)
    with translated(path):
        os.remove(path)


@tf_export("gfile.DeleteRecursively")
def DeleteRecursively(dirname: Path) -> None:
    """Removes a directory with all that is in it. NotFoundError if there is none."""
    path = _local(dirname)
    if not os.path.lexists(path):
        raise errors.not_found(f"{path} not found")
    with translated(path):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


@tf_export("gfile.Copy")
def Copy(oldpath: Path, newpath: Path, overwrite: bool = False) -> None:
    """Copies a file.

    Raises:
        NotFoundError: there is none.
        AlreadyExistsError: there is a file at ``newpath``, which ``overwrite`` does not allow.
    """
    source, target = _local(oldpath), _local(newpath)
    _check_free(target, overwrite)
    with translated(target):
        shutil.copyfile(source, target)


@tf_export("gfile.Rename")
def Rename(oldname: Path, newname: Path, overwrite: bool = False) -> None:
    """Renames a file or directory.

    Raises:
        NotFoundError: there is none.
        AlreadyExistsError: there is something at ``newname``, which ``overwrite`` does not allow.
    """
    source, target = _local(oldname), _local(newname)
    _check_free(target, overwrite)
    with translated(source):
        os.replace(source, target)


@tf_export("gfile.Walk")
def Walk(top: Path, in_order: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields (path, names of directories, names of files) of each directory of a tree.

    Args:
        in_order: whether a directory comes before those in it.
    """
    yield from os.walk(_local(top), topdown=in_order)


def _check_free(path: str, overwrite: bool) -> None:
    if not overwrite and os.path.exists(path):
        raise errors.already_exists("file already exists")


def _bytes(value: Any) -> bytes:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    if isinstance(value, bytes):
        return value
    raise TypeError(f"Expected binary or unicode string, got {value!r}")


def _local(path: Path) -> str:
    return os.fsdecode(filesystem.local_path(_bytes(path)))
