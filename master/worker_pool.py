"""The tasks of a cluster as Ray actors, each behind a ``worker_api.Worker``.

A task lives through incarnations. When its process dies, everything in flight fails at once, Ray
starts another process, and the pool connects to it. The state is lost: steps of sessions that used
the old incarnation fail on this task with AbortedError, and new sessions find it empty.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.exceptions

from flowray.master.worker_api import StageResult
from flowray.master.worker_lane import CallLane, Lane, SocketLane
from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.wire.stage import Stage

logger = logging.getLogger("flowray.master")

_START_SECONDS = 120.0
_CONNECT_SECONDS = 10.0
_GROUPS = {"lane": 1, "blocking": 32, "control": 2}


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of a cluster."""

    job: str
    index: int
    gpus: int = 0
    """The number of GPUs that it owns."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of its process, beside those of the cluster."""

    @property
    def name(self) -> str:
        """``/job:J/replica:0/task:N``."""
        return f"/job:{self.job}/replica:0/task:{self.index}"


@dataclass(frozen=True, slots=True)
class _Incarnation:
    """A process of a task, and the lane to it."""

    id: str
    pid: int
    devices: Sequence[config_pb2.DeviceAttributes]
    lane: Lane


class ActorWorker:
    """A task that runs as a Ray actor; see ``worker_api.Worker`` for the methods.

    Args:
        spec: the task.
        actor_class: constructed with the task's name and its number of GPUs; see
            ``worker.actor.WorkerActor``.
        loop: the event loop that reads its answers; see ``SocketLane``.
    """

    def __init__(
        self,
        spec: TaskSpec,
        actor_class: type[Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.task = spec.name
        self._loop = loop
        self.on_lost: Callable[[str, errors.OpError], None] = _ignore
        """Called with the task's name when its process dies; see ``Master.worker_lost``."""
        self._closed = threading.Event()
        self._stages: dict[str, Stage] = {}
        # The incarnation that a session began with: only that one has the session's state.
        self._sessions: dict[str, _Incarnation] = {}
        self._remembered: set[int] = set()  # steps of which the process holds something
        options: dict[str, Any] = {
            "num_cpus": 0,
            "num_gpus": spec.gpus,
            "max_restarts": -1,
            "max_task_retries": 0,
            "max_concurrency": 4,
            "concurrency_groups": _GROUPS,
        }
        if spec.env:
            options["runtime_env"] = {"env_vars": dict(spec.env)}
        self._actor: Any = ray.remote(**options)(actor_class).remote(spec.name, spec.gpus)
        self._incarnation: _Incarnation | None = None

    # Life and death -------------------------------------------------------------------------

    def connect(self) -> None:
        """Waits for the task's first process.

        Raises:
            UnavailableError: it does not come up.
        """
        self._incarnation = self._connect(None)

    def close(self) -> None:
        """Ends the task's process."""
        self._closed.set()
        if self._incarnation is not None:
            self._incarnation.lane.close()
        ray.kill(self._actor)

    @property
    def devices(self) -> Sequence[config_pb2.DeviceAttributes]:
        """The devices of the present incarnation."""
        return self._present().devices

    @property
    def pid(self) -> int:
        """The process id of the present incarnation."""
        return self._present().pid

    def _present(self) -> _Incarnation:
        """Returns the present incarnation."""
        assert self._incarnation is not None, "connect() first"
        return self._incarnation

    def _connect(self, last: str | None) -> _Incarnation:
        """Connects to the next incarnation after ``last``."""
        while True:
            hello = self._ask("hello")
            if hello["incarnation"] != last:
                break
            # Only the connection is gone. Which messages arrived is unknown, and so is the state of
            # that process.
            ray.kill(self._actor, no_restart=False)
        incarnation, pid = hello["incarnation"], hello["pid"]
        death = f"From {self.task}:\nworker process died (pid {pid})"

        def on_death() -> None:
            self.on_lost(self.task, errors.unavailable(death))
            threading.Thread(
                target=self._restart, args=(incarnation,), name="flowray-restart", daemon=True
            ).start()

        lane: Lane
        connections = self._open_connections(hello["node"])
        if connections is not None:
            lane = SocketLane(*connections, death, on_death, self._loop)
        else:
            lane = CallLane(self._actor, incarnation, death, on_death)
        logger.info("%s: pid %d on node %s", self.task, pid, hello["node"][:8])
        return _Incarnation(incarnation, pid, hello["devices"], lane)

    def _restart(self, last: str) -> None:
        if self._closed.is_set():
            return
        logger.warning(
            "the process of %s died; Ray starts another, and its variables are lost", self.task
        )
        try:
            self._incarnation = self._connect(last)
        except errors.OpError as error:
            if not self._closed.is_set():
                logger.error(
                    "%s cannot be restarted, and steps on it fail with UNAVAILABLE: %s",
                    self.task,
                    error.message,
                )

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Makes an ordinary call, also while Ray is still starting the process; returns the answer.

        Raises:
            UnavailableError: no answer came in time, or the process cannot be started.
        """
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return ray.get(getattr(self._actor, method).remote(*arguments), timeout=5.0)
            except (ray.exceptions.ActorUnavailableError, ray.exceptions.GetTimeoutError) as error:
                if self._closed.wait(0.02) or time.monotonic() > deadline:
                    raise errors.unavailable(f"From {self.task}:\n{error}") from None
            except ray.exceptions.RayError as error:
                raise errors.unavailable(f"From {self.task}:\n{error}") from None

    def _open_connections(self, node: str) -> tuple[socket.socket, socket.socket] | None:
        """Opens two connections to the process, over a Unix socket where it runs on this node.

        Returns None if there can be no connection.
        """
        failures = []
        here = node == ray.get_runtime_context().get_node_id()
        for local in (True, False) if here else (False,):
            secret = secrets.token_bytes(32)
            address = self._ask("open_connections", secret, local, 2)
            connections = [
                socket.socket(socket.AF_UNIX if local else socket.AF_INET, socket.SOCK_STREAM)
                for _ in range(2)
            ]
            try:
                for connection in connections:
                    connection.settimeout(_CONNECT_SECONDS)
                    connection.connect(address)
                    connection.sendall(secret)
                    connection.settimeout(None)
                    if not local:
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                failures.append(str(error))
                for connection in connections:
                    connection.close()
            else:
                return connections[0], connections[1]
        logger.warning(
            "%s accepts no connection (%s); the master uses Ray calls, of about a millisecond",
            self.task,
            "; ".join(failures),
        )
        return None

    # Stages ---------------------------------------------------------------------------------

    def register(self, stage: Stage) -> None:
        """Sends the stage; see ``Worker.register``."""
        incarnation = self._present()
        self._stages[stage.handle] = stage
        if self._sessions.setdefault(stage.session, incarnation) is incarnation:
            incarnation.lane.tell("register", stage)

    def run(
        self,
        handle: str,
        step_id: int,
        inputs: Sequence[Any],
        done: Callable[[StageResult], None],
        *,
        trace: bool = False,
    ) -> None:
        """Runs a stage; see ``Worker.run``. AbortedError if the session's state is lost."""
        incarnation = self._present()
        stage = self._stages[handle]
        if stage.keeps_step_resources:
            self._remembered.add(step_id)
        if incarnation.lane.dead or self._sessions[stage.session] is incarnation:
            incarnation.lane.run(stage.blocks, (handle, step_id, list(inputs), trace), done)
        else:
            text = (
                f"Session handle is not found: {stage.session}. "
                f'Possibly this worker ("{self.task}") just restarted.'
            )
            done(StageResult(error=errors.aborted(text)))

    def cancel(self, step_id: int) -> None:
        """Cancels a step; see ``Worker.cancel``."""
        self._remembered.add(step_id)
        self._present().lane.cancel(step_id)

    def end_step(self, step_id: int) -> None:
        """Ends a step; costs no message if the process holds nothing of it."""
        if step_id in self._remembered:
            self._remembered.discard(step_id)
            self._present().lane.tell("end_step", step_id)

    def end_session(self, session: str, handles: Sequence[str]) -> None:
        """Drops the stages and the private state of a session."""
        for handle in handles:
            self._stages.pop(handle, None)
        self._sessions.pop(session, None)
        self._present().lane.tell("end_session", session, list(handles))

    def reset(self, containers: Sequence[str]) -> None:
        """Clears resource containers; see ``Worker.reset``."""
        self._present().lane.tell("reset", list(containers))


def _ignore(task: str, error: errors.OpError) -> None:
    """Ignores a death, as long as nobody has asked to be told."""


class WorkerPool:
    """The tasks of a cluster. Ray must be connected.

    Args:
        tasks: in the order of their devices.
        actor_class, loop: see ``ActorWorker``.

    Raises:
        UnavailableError: a task did not start. Nothing is left behind then.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        actor_class: type[Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.workers = [ActorWorker(task, actor_class, loop) for task in tasks]
        try:
            with ThreadPoolExecutor(len(self.workers)) as threads:
                list(threads.map(ActorWorker.connect, self.workers))
        except BaseException:
            self.close()
            raise

    def report_losses_to(self, on_lost: Callable[[str, errors.OpError], None]) -> None:
        """``on_lost(task, error)`` is called whenever a task's process dies."""
        for worker in self.workers:
            worker.on_lost = on_lost

    def close(self) -> None:
        """Ends the tasks; what they are doing fails with UnavailableError."""
        for worker in self.workers:
            worker.close()
