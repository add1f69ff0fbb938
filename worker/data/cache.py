"""Datasets that keep the elements of their first iteration, in memory or in a file.

A file cache is a checkpoint whose keys number elements and components, as in TensorFlow.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from flowray.proto import errors
from flowray.proto.files.checkpoint import commit
from flowray.proto.files.checkpoint.bundle_reader import BundleReader
from flowray.proto.files.checkpoint.bundle_writer import BundleWriter, make_directory_of
from flowray.proto.files.file_errors import translated
from flowray.worker.data.dataset import Dataset, DatasetIterator, Derived, Element
from flowray.worker.data.sequences import ListIterator


class Cache:
    """The elements of a dataset, once all of them have been seen."""

    __slots__ = ("elements",)

    def __init__(self) -> None:
        self.elements: list[Element] | None = None


class MemoryCacheIterator(DatasetIterator):
    """Gives the elements of ``cache``.

    If it is empty, those of ``dataset``, which fill it at the end.
    """

    __slots__ = ("_cache", "_dataset", "_reader", "_writer", "_written")

    def __init__(self, dataset: Dataset, cache: Cache) -> None:
        self._dataset = dataset
        self._cache = cache
        self._written: list[Element] = []
        self._writer: DatasetIterator | None = None
        self._reader = ListIterator(self._written)
        if cache.elements is None:
            self._writer = dataset.iterator()
        else:
            self._reader = ListIterator(cache.elements)

    def get_next(self) -> Element | None:
        if self._writer is None:
            return self._reader.get_next()
        element = self._writer.get_next()
        if element is not None:
            self._written.append(element)
            return element
        self.close()
        self._writer = None
        if self._cache.elements is None:
            self._cache.elements = self._written
        self._written = []
        return None

    def save(self) -> Any:
        return {
            "cache": self._cache.elements,
            "reader": self._reader.save(),
            "written": list(self._written),
            "writer": None if self._writer is None else self._writer.save(),
        }

    def restore(self, state: Any) -> None:
        self.close()
        if state["cache"] is not None:
            self._cache.elements = state["cache"]
        self._written = list(state["written"])
        self._writer = None
        self._reader = ListIterator(self._cache.elements or [])
        self._reader.restore(state["reader"])
        if state["writer"] is not None:
            self._writer = self._dataset.iterator()
            self._writer.restore(state["writer"])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def file_cache_iterator(dataset: Dataset, path: str) -> DatasetIterator:
    """Reads the file cache ``path``.

    If it does not exist, iterates over ``dataset`` and writes it.
    """
    if os.path.exists(commit.index_path(path)):
        return FileCacheReader(dataset, path)
    return FileCacheWriter(dataset, path)


def _key(dataset: Dataset, element: int, component: int) -> bytes:
    width = len(str(len(dataset.types)))
    return f"{element:7d}_{component:{width}d}".encode()


class FileCacheReader(DatasetIterator):
    """Reads the elements of a file cache, which have the types of ``dataset``."""

    __slots__ = ("_at", "_dataset", "_reader")

    _saved = ("_at",)

    def __init__(self, dataset: Dataset, path: str) -> None:
        self._dataset = dataset
        self._reader = BundleReader(path)
        self._at = 0

    def get_next(self) -> Element | None:
        if _key(self._dataset, self._at, 0) not in self._reader:
            return None
        keys = [_key(self._dataset, self._at, i) for i in range(len(self._dataset.types))]
        self._at += 1
        return tuple([self._reader.read(key) for key in keys])

    def close(self) -> None:
        self._reader.close()


class FileCacheWriter(Derived):
    """Gives the elements of ``dataset`` and has written them to ``path`` when they end.

    A lock file keeps two of them from writing at the same time.
    """

    __slots__ = ("_count", "_dataset", "_lock", "_path", "_writer")

    def __init__(self, dataset: Dataset, path: str) -> None:
        super().__init__(dataset.iterator())
        self._dataset = dataset
        self._path = path
        self._lock = f"{path}_0.lockfile"
        self._writer: BundleWriter | None = None
        self._count = 0

    def get_next(self) -> Element | None:
        if self._source is None:
            return None
        writer = self._open()
        element = self._pull()
        if element is None:
            writer.finish()
            self._writer = None
            self._unlock()
            return None
        for i, component in enumerate(element):
            writer.add(_key(self._dataset, self._count, i), component)
        self._count += 1
        return element

    def _open(self) -> BundleWriter:
        if self._writer is None:
            self._make_lock()
            try:
                self._writer = BundleWriter(self._path)
            except errors.OpError:
                self._unlock()
                raise
        return self._writer

    def _make_lock(self) -> None:
        make_directory_of(self._path)
        try:
            with translated(self._lock), open(self._lock, "x") as file:
                file.write(f"Created at process {os.getpid()}")
        except errors.AlreadyExistsError:
            raise errors.already_exists(
                "There appears to be a concurrent caching iterator running - cache lockfile "
                f"already exists ('{self._lock}'). If you are sure no other running TF "
                "computations are using this cache prefix, delete the lockfile and re-initialize "
                "the iterator."
            ) from None

    def _unlock(self) -> None:
        with suppress(FileNotFoundError), translated(self._lock):
            os.unlink(self._lock)

    def save(self) -> Any:
        raise errors.unimplemented(
            "flowray cannot save an iterator while it writes a file cache: what it has written "
            "so far is not a cache"
        )

    def restore(self, state: Any) -> None:
        raise errors.unimplemented("flowray cannot restore an iterator that writes a file cache")

    def close(self) -> None:
        super().close()
        if self._writer is not None:
            self._writer.discard()
            self._writer = None
            self._unlock()
