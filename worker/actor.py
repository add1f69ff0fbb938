"""The Ray actor around a runtime, and the server of the lane between master and worker.

A lane is a stream of messages ``(request, method, *arguments)``. A request number other than 0 is
answered by ``(request, outputs, error, stats)``. The messages of one connection are served in
order, except for runs of stages that may block: each of those gets a thread, and is answered when
it is done.
"""

from __future__ import annotations

import hmac
import logging
import os
import socket
import threading
import uuid
from collections.abc import Sequence
from typing import Any, Final

from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.wire import lane
from flowray.worker.failures import as_op_error
from flowray.worker.runtime import Runtime, RuntimeOptions

logger = logging.getLogger("flowray.worker")

Reply = tuple[Sequence[Any], errors.OpError | None, Sequence[config_pb2.DeviceStepStats]]

_ACCEPT_SECONDS = 30.0

_COMMANDS: Final = frozenset({"register", "cancel", "end_step", "end_session", "reset"})
"""The runtime's methods, beside ``run``, that a master may call."""


class LaneServer:
    """Serves the messages of a master. It needs neither Ray nor sockets of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def serve(self, connection: socket.socket) -> None:
        """Serves the messages of ``connection`` until the other end closes it."""
        lock = threading.Lock()

        def answer(request: int, method: str, arguments: Sequence[Any]) -> None:
            reply = self.handle(method, arguments)
            if request == 0:
                if reply[1] is not None:
                    logger.error("the master's %s failed and is not repeated: %s", method, reply[1])
                return
            parts = lane.pack((request, *reply))
            with lock:
                lane.write_frame(connection, parts)

        def answer_later(*message: Any) -> None:
            try:
                answer(*message)
            except lane.LaneClosedError:
                logger.info("a blocking stage ended after the master had closed its connection")

        try:
            while True:
                request, method, *arguments = lane.unpack(lane.read_frame(connection))
                if method == "run_blocking":
                    threading.Thread(
                        target=answer_later, args=(request, "run", arguments), daemon=True
                    ).start()
                else:
                    answer(request, method, arguments)
                del arguments  # the inputs of a step must not stay until the next message comes
        except lane.LaneClosedError:
            logger.info("the master closed a connection")

    def handle(self, method: str, arguments: Sequence[Any]) -> Reply:
        """Executes a message. Returns the outputs of a run; the reply contains errors."""
        try:
            if method == "run":
                handle, step_id, inputs, trace = arguments
                outputs, stats = self._runtime.run(handle, step_id, inputs, trace=trace)
                return outputs, None, stats
            if method not in _COMMANDS:
                raise errors.unimplemented(f"a worker has no method {method!r}")
            getattr(self._runtime, method)(*arguments)
        except errors.OpError as error:
            return (), error, ()
        except Exception as failure:
            logger.exception("%s failed", method)
            return (), as_op_error(failure, method), ()
        return (), None, ()


class WorkerActor:
    """One task as a Ray actor. Its state lives as long as the process: one ``incarnation``.

    Args:
        task: ``/job:J/replica:0/task:N``.
        gpus: the number of GPUs that it owns; Ray makes those visible to the process.
    """

    def __init__(self, task: str, gpus: int) -> None:
        if gpus == 0:
            # JAX would otherwise take most of the memory of every GPU that it sees.
            os.environ["JAX_PLATFORMS"] = "cpu"
        self._incarnation = uuid.uuid4().hex
        self._runtime = Runtime(task, RuntimeOptions(gpus=gpus))
        self._server = LaneServer(self._runtime)

    def hello(self) -> dict[str, Any]:
        """Returns the process's incarnation, pid, Ray node id and devices."""
        import ray  # noqa: PLC0415 - the module needs no Ray but here

        return {
            "incarnation": self._incarnation,
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
            "devices": self._runtime.devices(),
        }

    def open_connections(self, secret: bytes, local: bool, count: int) -> Any:
        """Listens for ``count`` connections that begin with ``secret``; returns the address.

        ``local`` listens on a Unix socket (its name is not in the file system), otherwise on TCP.
        """
        import ray  # noqa: PLC0415 - the module needs no Ray but here

        if local:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"\0flowray-{uuid.uuid4().hex}")
        else:
            listener = socket.socket(socket.AF_INET)
            listener.bind((str(ray.util.get_node_ip_address()), 0))
        listener.listen(count)
        threading.Thread(target=self._accept, args=(listener, secret, count), daemon=True).start()
        return listener.getsockname()

    def _accept(self, listener: socket.socket, secret: bytes, count: int) -> None:
        with listener:
            listener.settimeout(_ACCEPT_SECONDS)
            while count:
                try:
                    connection, _ = listener.accept()
                    connection.settimeout(_ACCEPT_SECONDS)
                    given = lane.read_exactly(connection, len(secret))
                    is_master = hmac.compare_digest(given, secret)
                except TimeoutError:
                    logger.warning(
                        "%s: the master did not connect within %.0f s; it will use Ray calls",
                        self._runtime.task,
                        _ACCEPT_SECONDS,
                    )
                    return
                except lane.LaneClosedError:
                    is_master = False
                if not is_master:
                    connection.close()
                    continue
                count -= 1
                connection.settimeout(None)
                if connection.family == socket.AF_INET:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._server.serve(connection)

    def call(self, incarnation: str, frame: bytes, after: Any = None) -> bytes:
        """Serves a message that comes as an ordinary call, if there is no connection.

        Args:
            incarnation: the process that the caller means.
            frame: the message, as ``lane.join`` makes it.
            after: the result of a call that must end before this one.

        Raises:
            AbortedError: the caller means an earlier incarnation. Ray sends calls to a restarted
                actor without telling the caller.
        """
        if incarnation != self._incarnation:
            raise errors.aborted("this worker just restarted")
        request, method, *arguments = lane.unpack(frame)
        method = "run" if method == "run_blocking" else method
        return lane.join(lane.pack((request, *self._server.handle(method, arguments))))
