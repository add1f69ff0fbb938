"""Writers of the event file of a ``FileWriter``: this process, or a session's worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import name_scope
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops.array_ops import placeholder_with_default
from flowray.client.session.session import Session
from flowray.proto.files.file_errors import translated
from flowray.proto.messages import event_pb2
from flowray.proto.types import dtypes


class EventWriter(Protocol):
    """Writes events into a file, a new one each time that it is opened."""

    def open(self) -> None:
        """Opens the file, if it is not open."""
        ...

    def add_event(self, event: event_pb2.Event) -> None:
        """Adds an Event to the queue."""
        ...

    def flush(self) -> None:
        """Writes the queue to the file."""
        ...

    def close(self) -> None:
        """Writes the queue and closes the file."""
        ...


class LocalEventWriter(EventWriter):
    """Writes with the ``tensorboard`` package, from a thread of its own.

    When the disk is full or the like, the event that finds that out raises, and the next one begins
    a new file.

    Raises:
        ImportError: the package is not installed.
        OpError: the file cannot be written, with TensorFlow's code.
    """

    def __init__(
        self, logdir: str, max_queue: int, flush_secs: float, filename_suffix: str
    ) -> None:
        # Where this module of its own exists, tensorboard does not import a TensorFlow that is
        # installed (which takes seconds), or what "flowray run" calls so, to write a local file.
        no_tensorflow = "tensorboard.compat.notf"
        sys.modules.setdefault(no_tensorflow, ModuleType(no_tensorflow))
        try:
            from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - optional
            from tensorboard.summary.writer.event_file_writer import (  # noqa: PLC0415 - optional
                EventFileWriter,
            )
        except ImportError as error:
            raise ImportError(
                "tf.summary.FileWriter needs the tensorboard package: pip install tensorboard"
            ) from error
        self._logdir = logdir
        self._arguments = (logdir, max_queue, flush_secs, filename_suffix)
        self._make_writer = EventFileWriter
        self._event_type = Event
        self._writer: Any = None

    def open(self) -> None:
        with translated(self._logdir):
            self._writer = self._make_writer(*self._arguments)

    def add_event(self, event: event_pb2.Event) -> None:
        if self._writer is None:
            self.open()
        with self._writing() as writer:
            writer.add_event(self._event_type.FromString(event.SerializeToString()))

    def flush(self) -> None:
        if self._writer is not None:
            with self._writing() as writer:
                writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            with self._writing() as writer:
                writer.close()

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """The writer, which is given up if it fails: it could only repeat the same error."""
        with translated(self._logdir):
            try:
                yield self._writer
            except OSError:
                self._writer = None
                raise


class SessionEventWriter(EventWriter):
    """Lets the session's default task write; writers of one directory there share a file.

    It adds its operations to the session's graph, under ``filewriter``.
    """

    def __init__(
        self,
        session: Session,
        logdir: str,
        max_queue: int,
        flush_secs: float,
        filename_suffix: str,
    ) -> None:
        self._session = session
        with session.graph.as_default(), name_scope("filewriter"):
            writer = apply_op("SummaryWriter", shared_name=f"logdir:{logdir}")
            self._open = apply_op(
                "CreateSummaryFileWriter",
                writer,
                logdir,
                max_queue,
                int(flush_secs * 1000),
                filename_suffix,
            )
            unused = constant("unused", dtypes.string)
            self._event = placeholder_with_default(unused, shape=[])
            self._add = apply_op("ImportEvent", writer, self._event)
            self._flush = apply_op("FlushSummaryWriter", writer)
            self._close = apply_op("CloseSummaryWriter", writer)

    def open(self) -> None:
        self._session.run(self._open)

    def add_event(self, event: event_pb2.Event) -> None:
        self._session.run(self._add, {self._event: event.SerializeToString()})

    def flush(self) -> None:
        self._session.run(self._flush)

    def close(self) -> None:
        self._session.run(self._close)
