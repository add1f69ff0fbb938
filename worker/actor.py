"""The Ray actor around a runtime, and the server of its fast lane.

The lane is a stream of messages ``(request, method, *arguments)``; a request other than 0 is
answered by ``(request, outputs, error, stats)``. Messages of one connection are served in order,
but for runs of stages that may block: each of those gets a thread, and its answer comes when it is
there.
"""

from __future__ import annotations

import hmac
import logging
import os
import socket
import threading
import uuid
from collections.abc import Sequence
from typing import Any

from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.wire import lane
from flowray.proto.wire.stage import Stage
from flowray.worker.runtime import Runtime, RuntimeOptions

logger = logging.getLogger("flowray.worker")

Reply = tuple[Sequence[Any], errors.OpError | None, Sequence[config_pb2.DeviceStepStats]]

_ACCEPT_SECONDS = 30.0


class LaneServer:
    """Serves the messages of a master. Without Ray, and without sockets of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._cancelled: set[int] = set()
        self._failed: dict[str, errors.OpError] = {}

    def serve(self, line: socket.socket) -> None:
        """Serves the messages of ``line`` until its other end closes it."""
        lock = threading.Lock()

        def answer(request: int, method: str, arguments: Sequence[Any]) -> None:
            reply = self.handle(method, arguments)
            if request == 0:
                if reply[1] is not None:
                    logger.error("%s: %s", method, reply[1])
                return
            parts = lane.pack((request, *reply))
            with lock:
                lane.write_frame(line, parts)

        def answer_later(*message: Any) -> None:
            try:
                answer(*message)
            except lane.LaneClosedError:
                logger.info("the master did not wait for a blocking stage")

        try:
            while True:
                request, method, *arguments = lane.unpack(lane.read_frame(line))
                if method == "run_blocking":
                    threading.Thread(
                        target=answer_later, args=(request, "run", arguments), daemon=True
                    ).start()
                else:
                    answer(request, method, arguments)
                del arguments  # what a step brought must not stay until the next one comes
        except lane.LaneClosedError:
            logger.info("a line of the master ended")

    def handle(self, method: str, arguments: Sequence[Any]) -> Reply:
        """Does what a message says; whatever goes wrong is in the reply."""
        try:
            if method == "run":
                outputs, stats = self._run(*arguments)
                return outputs, None, stats
            getattr(self, f"_{method}")(*arguments)
        except errors.OpError as error:
            return (), error, ()
        except Exception as error:
            logger.exception("%s failed", method)
            return (), errors.internal(f"{type(error).__name__}: {error}"), ()
        return (), None, ()

    def _run(
        self, handle: str, step_id: int, inputs: Sequence[Any], trace: bool
    ) -> tuple[Sequence[Any], Sequence[config_pb2.DeviceStepStats]]:
        failed = self._failed.get(handle)
        if failed is not None:
            raise failed
        if step_id in self._cancelled:
            raise errors.cancelled("Step was cancelled.")
        return self._runtime.run(handle, step_id, inputs, trace=trace)

    def _register(self, stage: Stage) -> None:
        try:
            self._runtime.register(stage)
        except Exception as error:
            logger.exception("loading a stage failed")
            self._failed[stage.handle] = errors.internal(f"{type(error).__name__}: {error}")

    def _cancel(self, step_id: int) -> None:
        # Runs of the step may still be on their way.
        self._cancelled.add(step_id)
        self._runtime.cancel(step_id)

    def _end_step(self, step_id: int) -> None:
        self._cancelled.discard(step_id)
        self._runtime.end_step(step_id)

    def _end_session(self, session: str, handles: Sequence[str]) -> None:
        self._runtime.end_session(session, handles)
        for handle in handles:
            self._failed.pop(handle, None)

    def _reset(self, containers: Sequence[str]) -> None:
        self._runtime.reset(containers)


class WorkerActor:
    """One task as a Ray actor. State lives as long as the process: an ``incarnation``.

    Args:
        task: ``/job:J/replica:0/task:N``.
        gpus: how many GPUs it owns; Ray makes those visible to the process.
    """

    def __init__(self, task: str, gpus: int) -> None:
        if gpus == 0:
            # JAX would otherwise take most of the memory of every GPU that it sees.
            os.environ["JAX_PLATFORMS"] = "cpu"
        self._incarnation = uuid.uuid4().hex
        self._runtime = Runtime(task, RuntimeOptions(gpus=gpus))
        self._server = LaneServer(self._runtime)

    def hello(self) -> dict[str, Any]:
        """Who this is: incarnation, pid, Ray's node id, devices."""
        import ray

        return {
            "incarnation": self._incarnation,
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
            "devices": self._runtime.devices(),
        }

    def open_lines(self, secret: bytes, local: bool, count: int) -> Any:
        """Listens for ``count`` connections that begin with ``secret``; gives the address.

        ``local`` listens on a Unix socket (its name lives in no file system), otherwise on TCP.
        """
        import ray

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
                    line, _ = listener.accept()
                    line.settimeout(_ACCEPT_SECONDS)
                    known = hmac.compare_digest(lane.read_exactly(line, len(secret)), secret)
                except TimeoutError:
                    logger.warning("the master did not connect")
                    return
                except lane.LaneClosedError:
                    known = False
                if not known:
                    line.close()
                    continue
                count -= 1
                line.settimeout(None)
                if line.family == socket.AF_INET:
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line:
            self._server.serve(line)

    def call(self, incarnation: str, frame: bytes, after: Any = None) -> bytes:
        """A message that comes as an ordinary call, where no line can be had.

        ``after`` is a call that must be over before. Raises AbortedError if the caller means an
        earlier incarnation: Ray sends calls to a restarted actor without a word.
        """
        if incarnation != self._incarnation:
            raise errors.aborted("this worker just restarted")
        request, method, *arguments = lane.unpack(frame)
        method = "run" if method == "run_blocking" else method
        return lane.join(lane.pack((request, *self._server.handle(method, arguments))))
