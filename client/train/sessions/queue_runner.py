"""``tf.train.QueueRunner``: threads of the client that keep the queues of a graph filled."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from flowray.client.framework.default_session import get_default_session
from flowray.client.framework.graph import (
    Graph,
    GraphKeys,
    Operation,
    add_to_collection,
    get_default_graph,
)
from flowray.client.platform import logging
from flowray.client.session.session import Session
from flowray.client.tf_export import tf_export
from flowray.client.train.sessions.coordinator import Coordinator
from flowray.proto import errors
from flowray.proto.messages import error_pb2, meta_graph_pb2


@tf_export("train.QueueRunner", "train.queue_runner.QueueRunner")
class QueueRunner:
    """Runs enqueue ops, each in a thread of its own, until one says that the input is at its end.

    Args:
        queue: the queue.
        enqueue_ops: the ops to run again and again.
        close_op, cancel_op: close the queue, the second also cancels what waits; made if None.
        queue_closed_exception_types: exceptions that mean the end; ``OutOfRangeError`` if None.
        queue_runner_def: a ``QueueRunnerDef`` to read all that from, with ``import_scope``.
    """

    def __init__(
        self,
        queue: Any = None,
        enqueue_ops: Sequence[Any] | None = None,
        close_op: Operation | None = None,
        cancel_op: Operation | None = None,
        queue_closed_exception_types: tuple[type[errors.OpError], ...] | None = None,
        queue_runner_def: meta_graph_pb2.QueueRunnerDef | None = None,
        import_scope: str | None = None,
    ) -> None:
        if queue_runner_def is not None:
            if queue is not None or enqueue_ops is not None:
                raise ValueError("queue_runner_def and queue are mutually exclusive.")
            self._from_def(queue_runner_def, import_scope)
        else:
            if queue is None or not enqueue_ops:
                raise ValueError("Must provide queue and enqueue_ops.")
            self._queue = queue
            self._name: str = queue.name
            self._enqueue_ops = list(enqueue_ops)
            self._close_op = close_op if close_op is not None else queue.close()
            self._cancel_op = (
                cancel_op if cancel_op is not None else queue.close(cancel_pending_enqueues=True)
            )
            self._closed_types = queue_closed_exception_types or (errors.OutOfRangeError,)
        self._lock = threading.Lock()
        self._running: dict[Session, int] = {}
        self._exceptions: list[BaseException] = []

    def _from_def(
        self, definition: meta_graph_pb2.QueueRunnerDef, import_scope: str | None
    ) -> None:
        graph = get_default_graph()

        def element(name: str) -> Any:
            return graph.as_graph_element(f"{import_scope}/{name}" if import_scope else name)

        self._queue = element(definition.queue_name)
        self._name = definition.queue_name
        self._enqueue_ops = [element(name) for name in definition.enqueue_op_name]
        self._close_op = element(definition.close_op_name)
        self._cancel_op = element(definition.cancel_op_name)
        codes = definition.queue_closed_exception_types
        self._closed_types = tuple(
            errors.exception_type_from_error_code(code) for code in codes
        ) or (errors.OutOfRangeError,)

    @property
    def queue(self) -> Any:
        """The queue."""
        return self._queue

    @property
    def enqueue_ops(self) -> list[Any]:
        """The ops that fill the queue, each in a thread."""
        return self._enqueue_ops

    @property
    def close_op(self) -> Any:
        """The op that closes the queue."""
        return self._close_op

    @property
    def cancel_op(self) -> Any:
        """The op that closes the queue and cancels waiting enqueue ops."""
        return self._cancel_op

    @property
    def queue_closed_exception_types(self) -> tuple[type[errors.OpError], ...]:
        """The errors that mean that the queue was closed."""
        return self._closed_types

    @property
    def exceptions_raised(self) -> list[BaseException]:
        """The exceptions of threads that have no coordinator."""
        return self._exceptions

    @property
    def name(self) -> str:
        """The name of the queue's op."""
        return self._name

    def create_threads(
        self,
        sess: Session,
        coord: Coordinator | None = None,
        daemon: bool = False,
        start: bool = False,
    ) -> list[threading.Thread]:
        """Makes a thread for each enqueue op; none if this runs in ``sess`` already.

        With a coordinator there is one more, which cancels what waits when it stops.
        """
        with self._lock:
            if self._running.get(sess, 0) > 0:
                return []
            self._running[sess] = len(self._enqueue_ops)
            self._exceptions = []
        name = f"QueueRunnerThread-{self.name}"
        threads = [
            threading.Thread(target=self._run, args=(sess, op, coord), name=f"{name}-{op.name}")
            for op in self._enqueue_ops
        ]
        if coord is not None:
            threads.append(
                threading.Thread(
                    target=self._close_on_stop, args=(sess, coord), name=f"{name}-close_on_stop"
                )
            )
        for thread in threads:
            if coord is not None:
                coord.register_thread(thread)
            thread.daemon = daemon
            if start:
                thread.start()
        return threads

    def _run(self, sess: Session, enqueue_op: Any, coord: Coordinator | None) -> None:
        counted = True
        try:
            enqueue = sess.make_callable(enqueue_op)
            while coord is None or not coord.should_stop():
                try:
                    enqueue()
                except self._closed_types:
                    with self._lock:
                        self._running[sess] -= 1
                        counted = False
                        if self._running[sess] == 0:
                            try:
                                sess.run(self._close_op)
                            except Exception as error:
                                logging.vlog(1, "Ignored exception: %s", error)
                    return
        except Exception as error:
            if coord is not None:
                coord.request_stop(error)
            else:
                logging.error("Exception in QueueRunner: %s", error)
                with self._lock:
                    self._exceptions.append(error)
                raise
        finally:
            if counted:
                with self._lock:
                    self._running[sess] -= 1

    def _close_on_stop(self, sess: Session, coord: Coordinator) -> None:
        coord.wait_for_stop()
        try:
            sess.run(self._cancel_op)
        except Exception as error:  # the session may be closed, with all that waited in it
            logging.vlog(1, "Ignored exception: %s", error)

    def to_proto(self, export_scope: str | None = None) -> meta_graph_pb2.QueueRunnerDef | None:
        """Returns the names of queue and ops; None if they are outside ``export_scope``."""
        if export_scope is not None and not self._name.startswith(export_scope + "/"):
            return None

        def stripped(name: str) -> str:
            return name.removeprefix(export_scope + "/") if export_scope else name

        return meta_graph_pb2.QueueRunnerDef(
            queue_name=stripped(self._name),
            enqueue_op_name=[stripped(op.name) for op in self._enqueue_ops],
            close_op_name=stripped(self._close_op.name),
            cancel_op_name=stripped(self._cancel_op.name),
            queue_closed_exception_types=map(
                error_pb2.Code.Name, map(errors.error_code_from_exception_type, self._closed_types)
            ),
        )

    @staticmethod
    def from_proto(
        queue_runner_def: meta_graph_pb2.QueueRunnerDef, import_scope: str | None = None
    ) -> QueueRunner:
        """Makes the runner of a ``QueueRunnerDef``, over the default graph's ops."""
        return QueueRunner(queue_runner_def=queue_runner_def, import_scope=import_scope)


@tf_export("train.add_queue_runner", "train.queue_runner.add_queue_runner")
def add_queue_runner(qr: QueueRunner, collection: str = GraphKeys.QUEUE_RUNNERS) -> None:
    """Adds a runner to those that ``start_queue_runners`` starts."""
    add_to_collection(collection, qr)


@tf_export("train.start_queue_runners", "train.queue_runner.start_queue_runners")
def start_queue_runners(
    sess: Session | None = None,
    coord: Coordinator | None = None,
    daemon: bool = True,
    start: bool = True,
    collection: str = GraphKeys.QUEUE_RUNNERS,
    graph: Graph | None = None,
) -> list[threading.Thread]:
    """Starts all runners of a collection; gives their threads.

    Raises:
        ValueError: there is neither ``sess`` nor a default session.
    """
    sess = sess or get_default_session()
    if sess is None:
        raise ValueError(
            "Cannot start queue runners: No default session is registered. Use `with "
            "sess.as_default()` or pass an explicit session to tf.start_queue_runners(sess=sess)"
        )
    with sess.graph.as_default():
        runners = (graph or sess.graph).get_collection(collection)
        return [
            thread
            for runner in runners
            for thread in runner.create_threads(sess, coord, daemon, start)
        ]
