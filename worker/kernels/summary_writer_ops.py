"""Kernels that write event files on a worker."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.files.file_errors import translated
from flowray.proto.files.records import RecordWriter
from flowray.proto.messages import event_pb2
from flowray.worker.kernel_registry import kernel
from flowray.worker.state.store import KernelContext, Resource

Array = np.ndarray[Any, Any]

_FILE_VERSION = "brain.Event:2"
_numbers = itertools.count()


class EventFile(Resource):
    """A writer of event files, which does nothing until it is opened and after it is closed.

    Events wait in a queue. They are written when there are more than ``max_queue`` of them, when
    ``flush_seconds`` have passed since the last write, and by ``flush``.
    """

    __slots__ = ("_file", "_flush_seconds", "_flushed", "_lock", "_max_queue", "_queue")

    def __init__(self, container: str, name: str) -> None:
        super().__init__(name, container)
        self._lock = threading.Lock()
        self._file: RecordWriter | None = None
        self._queue: list[bytes] = []
        self._max_queue = 0
        self._flush_seconds = 0.0
        self._flushed = 0.0

    def open(self, logdir: str, max_queue: int, flush_seconds: float, suffix: str) -> None:
        """Begins a file in ``logdir``, which is created if it is missing.

        If the file is open already, nothing changes.
        """
        with self._lock:
            if self._file is not None:
                return
            with translated(logdir):
                os.makedirs(logdir, exist_ok=True)
            now = time.time()
            name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}"
            unique = f"{name}.{os.getpid()}.{next(_numbers)}{suffix}"
            self._file = RecordWriter(os.path.join(logdir, unique))
            self._max_queue, self._flush_seconds = max_queue, flush_seconds
            first = event_pb2.Event(wall_time=now, file_version=_FILE_VERSION)
            self._queue = [first.SerializeToString()]
            self._write(self._file)

    def add(self, event: bytes) -> None:
        """Adds a serialized Event; FailedPreconditionError if the file is not open."""
        with self._lock:
            file = self._opened()
            self._queue.append(event)
            late = time.monotonic() - self._flushed > self._flush_seconds
            if len(self._queue) > self._max_queue or late:
                self._write(file)

    def flush(self) -> None:
        """Writes the waiting events; FailedPreconditionError if the file is not open."""
        with self._lock:
            self._write(self._opened())

    def close(self) -> None:
        """Writes the waiting events and ends the file."""
        with self._lock:
            if self._file is not None:
                self._write(self._file)
                self._file.close()
                self._file = None

    def __del__(self) -> None:
        # The task ends and the file was not closed: the waiting events must not be lost.
        self.close()

    def _opened(self) -> RecordWriter:
        if self._file is None:
            raise errors.failed_precondition(f"The summary writer {self.name} is not open.")
        return self._file

    def _write(self, file: RecordWriter) -> None:
        for event in self._queue:
            file.write(event)
        self._queue.clear()
        file.flush()
        self._flushed = time.monotonic()


@kernel("SummaryWriter")
def summary_writer(
    xp: Any, *, shared_name: bytes, container: bytes, context: KernelContext
) -> EventFile:
    """Looks the writer up in the state store, or makes one there that is not open."""
    return context.resource(container, shared_name, EventFile, EventFile)


def _event_file(writer: Resource) -> EventFile:
    if not isinstance(writer, EventFile):
        raise errors.invalid_argument(
            f"Trying to access resource {writer.name} located in container {writer.container} as "
            f"a summary writer, but it is a {type(writer).__name__}"
        )
    return writer


@kernel("CreateSummaryFileWriter")
def create_summary_file_writer(
    xp: Any,
    writer: Resource,
    logdir: Array,
    max_queue: Array,
    flush_millis: Array,
    filename_suffix: Array,
) -> None:
    """Opens the writer with a file in ``logdir``; nothing changes if it is open."""
    _event_file(writer).open(
        os.fsdecode(logdir.item()),
        int(max_queue.item()),
        flush_millis.item() / 1000,
        os.fsdecode(filename_suffix.item()),
    )


@kernel("ImportEvent")
def import_event(xp: Any, writer: Resource, event: Array) -> None:
    """Adds a serialized Event; InvalidArgumentError if it cannot be parsed."""
    serialized = event.item()
    try:
        event_pb2.Event.FromString(serialized)
    except DecodeError:
        raise errors.invalid_argument("Bad tf.Event binary proto tensor string") from None
    _event_file(writer).add(serialized)


@kernel("FlushSummaryWriter")
def flush_summary_writer(xp: Any, writer: Resource) -> None:
    """Writes the waiting events to the file."""
    _event_file(writer).flush()


@kernel("CloseSummaryWriter")
def close_summary_writer(xp: Any, writer: Resource) -> None:
    """Writes the waiting events and ends the file; the writer can be opened again."""
    _event_file(writer).close()
