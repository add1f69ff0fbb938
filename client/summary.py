"""``tf.summary``: event files for TensorBoard.

The files are written by the ``tensorboard`` package, which is imported when a writer is made.
"""

from __future__ import annotations

import time
from typing import Any

from flowray.client.framework.graph import Graph
from flowray.proto import config_pb2, event_pb2, graph_pb2

Summary = event_pb2.Summary
Event = event_pb2.Event
SessionLog = event_pb2.SessionLog


class FileWriter:
    """Writes events into a file of ``logdir``, from a thread of its own.

    Args:
        logdir: a folder; made if it is missing.
        graph: a graph to show in TensorBoard.
        max_queue: events that may wait to be written.
        flush_secs: how often they are flushed to disk, in seconds.
        filename_suffix: ends the file's name.
    """

    def __init__(
        self,
        logdir: str,
        graph: Graph | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: graph_pb2.GraphDef | None = None,
        filename_suffix: str | None = None,
        session: Any = None,
    ) -> None:
        if session is not None:
            raise NotImplementedError("FileWriter(session=...): summaries are not run as ops yet")
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError(
                "tf.summary.FileWriter needs the tensorboard package: pip install tensorboard"
            ) from error
        self._arguments = (str(logdir), max_queue, flush_secs, filename_suffix or "")
        self._make_writer = EventFileWriter
        self._writer: Any = EventFileWriter(*self._arguments)
        self._closed = False
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)

    def get_logdir(self) -> str:
        return self._arguments[0]

    def add_summary(
        self, summary: event_pb2.Summary | bytes, global_step: int | None = None
    ) -> None:
        """Adds a Summary (or its serialized form, as a summary op gives it)."""
        if isinstance(summary, bytes):
            summary = event_pb2.Summary.FromString(summary)
        self._add(event_pb2.Event(summary=summary), global_step)

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

    def add_session_log(
        self, session_log: event_pb2.SessionLog, global_step: int | None = None
    ) -> None:
        self._add(event_pb2.Event(session_log=session_log), global_step)

    def add_run_metadata(
        self, run_metadata: config_pb2.RunMetadata, tag: str, global_step: int | None = None
    ) -> None:
        """Adds the RunMetadata of one run, under a tag of its own."""
        tagged = event_pb2.TaggedRunMetadata(tag=tag, run_metadata=run_metadata.SerializeToString())
        self._add(event_pb2.Event(tagged_run_metadata=tagged), global_step)

    def add_event(self, event: event_pb2.Event) -> None:
        """Adds an Event as it is."""
        from tensorboard.compat.proto.event_pb2 import Event as TensorBoardEvent

        if self._closed:
            self.reopen()
        self._writer.add_event(TensorBoardEvent.FromString(event.SerializeToString()))

    def _add(self, event: event_pb2.Event, global_step: int | None) -> None:
        event.wall_time = time.time()
        if global_step is not None:
            event.step = int(global_step)
        self.add_event(event)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file; a later event opens a new one."""
        if not self._closed:
            self._writer.close()
            self._closed = True

    def reopen(self) -> None:
        if self._closed:
            self._writer = self._make_writer(*self._arguments)
            self._closed = False

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


__all__ = ["Event", "FileWriter", "SessionLog", "Summary"]
