"""``tf.summary.FileWriter``: writes summaries and events into files for TensorBoard.

Event files are written by the ``tensorboard`` package, which is imported when a writer is made.
"""

from __future__ import annotations

import threading
import time
import warnings
from typing import Any

from flowray.client.framework.graph import Graph, get_default_graph
from flowray.client.session.session import Session
from flowray.client.summary.event_writers import (
    EventWriter,
    LocalEventWriter,
    SessionEventWriter,
)
from flowray.client.tf_export import tf_export
from flowray.proto.messages import config_pb2, event_pb2, graph_pb2, meta_graph_pb2


@tf_export("summary.FileWriter")
class FileWriter:
    """Writes events into a file of ``logdir``.

    Args:
        logdir: a directory; made if it is missing.
        graph: a graph to show in TensorBoard.
        graph_def: the same as a GraphDef.
        max_queue: events that may wait to be written.
        flush_secs: how often they are flushed to disk, in seconds.
        filename_suffix: ends the file's name.

        session: a session whose default task is to write the file, in its own ``logdir``, instead
            of this process.
    """

    def __init__(
        self,
        logdir: str,
        graph: Graph | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: graph_pb2.GraphDef | None = None,
        filename_suffix: str | None = None,
        session: Session | None = None,
    ) -> None:
        self._logdir = str(logdir)
        arguments = (self._logdir, max_queue, flush_secs, filename_suffix or "")
        self._writer: EventWriter = (
            LocalEventWriter(*arguments)
            if session is None
            else SessionEventWriter(session, *arguments)
        )
        self._writer.open()
        self._closed = False
        self._run_tags: set[str] = set()
        self._described: set[str] = set()
        """Tags whose metadata is in the file: TensorBoard reads it from the first value only."""
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)

    def get_logdir(self) -> str:
        """Returns the directory of the file."""
        return self._logdir

    def add_summary(
        self, summary: event_pb2.Summary | bytes, global_step: int | None = None
    ) -> None:
        """Adds a Summary (or its serialized form, as a summary op gives it)."""
        event = event_pb2.Event()
        if isinstance(summary, bytes):
            event.summary.MergeFromString(summary)
        else:
            event.summary.CopyFrom(summary)
        for value in event.summary.value:
            if value.HasField("metadata"):
                if value.tag in self._described:
                    value.ClearField("metadata")
                self._described.add(value.tag)
        self._add(event, global_step)

    def add_graph(
        self,
        graph: Graph | None,
        global_step: int | None = None,
        graph_def: graph_pb2.GraphDef | None = None,
    ) -> None:
        """Adds a graph, for TensorBoard's graph tab."""
        if graph is not None:
            graph_def = graph.as_graph_def(add_shapes=True)
        if graph_def is None:
            raise ValueError("The argument graph must be given")
        self._add(event_pb2.Event(graph_def=graph_def.SerializeToString()), global_step)

    def add_meta_graph(
        self, meta_graph_def: meta_graph_pb2.MetaGraphDef, global_step: int | None = None
    ) -> None:
        """Adds a MetaGraphDef; TypeError for other values."""
        if not isinstance(meta_graph_def, meta_graph_pb2.MetaGraphDef):
            raise TypeError(
                f"meta_graph_def must be type MetaGraphDef, saw type: {type(meta_graph_def)}"
            )
        event = event_pb2.Event(meta_graph_def=meta_graph_def.SerializeToString())
        self._add(event, global_step)

    def add_session_log(
        self, session_log: event_pb2.SessionLog, global_step: int | None = None
    ) -> None:
        """Adds a SessionLog at ``global_step``."""
        self._add(event_pb2.Event(session_log=session_log), global_step)

    def add_run_metadata(
        self, run_metadata: config_pb2.RunMetadata, tag: str, global_step: int | None = None
    ) -> None:
        """Adds the RunMetadata of one run; ValueError if ``tag`` has been used before."""
        if tag in self._run_tags:
            raise ValueError("The provided tag was already used for this event type")
        self._run_tags.add(tag)
        tagged = event_pb2.TaggedRunMetadata(tag=tag, run_metadata=run_metadata.SerializeToString())
        self._add(event_pb2.Event(tagged_run_metadata=tagged), global_step)

    def add_event(self, event: event_pb2.Event) -> None:
        """Adds an Event as it is. A closed writer drops it, with a warning."""
        if self._closed:
            warnings.warn(
                "Attempting to use a closed FileWriter. The operation will be a noop unless the "
                "FileWriter is explicitly reopened.",
                stacklevel=2,
            )
            return
        self._writer.add_event(event)

    def _add(self, event: event_pb2.Event, global_step: int | None) -> None:
        event.wall_time = time.time()
        if global_step is not None:
            event.step = int(global_step)
        self.add_event(event)

    def flush(self) -> None:
        """Writes all records so far to disk."""
        if not self._closed:
            self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        if not self._closed:
            self._writer.close()
            self._closed = True

    def reopen(self) -> None:
        """Opens a new file after ``close``, for more events."""
        if self._closed:
            self._writer.open()
            self._closed = False

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


@tf_export("summary.FileWriterCache")
class FileWriterCache:
    """The writers that parts of a program share: one for each directory."""

    _cache: dict[str, FileWriter] = {}  # noqa: RUF012 - one for the whole process, on purpose
    _lock = threading.RLock()

    @staticmethod
    def clear() -> None:
        """Closes all writers and forgets them."""
        with FileWriterCache._lock:
            for writer in FileWriterCache._cache.values():
                writer.close()
            FileWriterCache._cache.clear()

    @staticmethod
    def get(logdir: str) -> FileWriter:
        """Returns the writer for ``logdir``; made for the default graph if there is none."""
        with FileWriterCache._lock:
            writer = FileWriterCache._cache.get(logdir)
            if writer is None:
                writer = FileWriter(logdir, graph=get_default_graph())
                FileWriterCache._cache[logdir] = writer
            return writer


@tf_export("summary.get_summary_description")
def get_summary_description(node_def: graph_pb2.NodeDef) -> event_pb2.SummaryDescription:
    """Returns the description in the node of a ``TensorSummary`` op; ValueError for other ops."""
    if node_def.op != "TensorSummary":
        raise ValueError(f"Can't get_summary_description on {node_def.op}")
    from google.protobuf import json_format  # noqa: PLC0415 - slow, and hardly ever needed

    text = node_def.attr["description"].s.decode()
    return json_format.Parse(text, event_pb2.SummaryDescription())
