"""The tasks of a cluster as Ray actors, each behind a ``worker_api.Worker``.

A task lives through incarnations: when its process dies, what is in flight fails at once, Ray
starts another process, and the pool connects to it. The state is gone then, so sessions that used
the old incarnation stay dead on this task (AbortedError); new ones find it empty.
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
    """How many GPUs it owns."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of its process, beside those of the cluster."""

    @property
    def name(self) -> str:
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
        # The incarnation that a session began with: its state on this task is there or nowhere.
        self._sessions: dict[str, _Incarnation] = {}
        self._remembered: set[int] = set()
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
        self._now: _Incarnation | None = None

    # Life and death -------------------------------------------------------------------------

    def connect(self) -> None:
        """Waits for the task's first process.

        Raises:
            UnavailableError: it does not come up.
        """
        self._now = self._connect(None)

    def close(self) -> None:
        """Ends the task's process."""
        self._closed.set()
        if self._now is not None:
            self._now.lane.close()
        ray.kill(self._actor)

    @property
    def devices(self) -> Sequence[config_pb2.DeviceAttributes]:
        return self._incarnation().devices

    @property
    def pid(self) -> int:
        """The process of the present incarnation."""
        return self._incarnation().pid

    def _incarnation(self) -> _Incarnation:
        assert self._now is not None, "connect() first"
        return self._now

    def _connect(self, last: str | None) -> _Incarnation:
        """The lane to the next incarnation after ``last``."""
        while True:
            hello = self._ask("hello")
            if hello["incarnation"] != last:
                break
            # Only the connection is gone. What of our messages arrived is unknown, and with it
            # the state of that process.
            ray.kill(self._actor, no_restart=False)
        incarnation, pid = hello["incarnation"], hello["pid"]
        death = f"From {self.task}:\nworker process died (pid {pid})"

        def on_death() -> None:
            self.on_lost(self.task, errors.unavailable(death))
            threading.Thread(
                target=self._restart, args=(incarnation,), name="flowray-restart", daemon=True
            ).start()

        lane: Lane
        lines = self._open_lines(hello["node"])
        if lines is not None:
            lane = SocketLane(*lines, death, on_death, self._loop)
        else:
            lane = CallLane(self._actor, incarnation, death, on_death)
        logger.info("%s: pid %d on node %s", self.task, pid, hello["node"][:8])
        return _Incarnation(incarnation, pid, hello["devices"], lane)

    def _restart(self, last: str) -> None:
        if self._closed.is_set():
            return
        logger.warning("%s died; Ray starts it again", self.task)
        try:
            self._now = self._connect(last)
        except errors.OpError as error:
            if not self._closed.is_set():
                logger.error("%s stays dead: %s", self.task, error.message)

    def _ask(self, method: str, *arguments: Any) -> Any:
        """The answer to an ordinary call, also while Ray is still starting the process.

        Raises:
            UnavailableError: none came in time, or the process cannot be started.
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

    def _open_lines(self, node: str) -> tuple[socket.socket, socket.socket] | None:
        """Two connections to the process: over a Unix socket where it runs on this node."""
        failures = []
        here = node == ray.get_runtime_context().get_node_id()
        for local in (True, False) if here else (False,):
            secret = secrets.token_bytes(32)
            address = self._ask("open_connections", secret, local, 2)
            lines = [
                socket.socket(socket.AF_UNIX if local else socket.AF_INET, socket.SOCK_STREAM)
                for _ in range(2)
            ]
            try:
                for line in lines:
                    line.settimeout(_CONNECT_SECONDS)
                    line.connect(address)
                    line.sendall(secret)
                    line.settimeout(None)
                    if not local:
                        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                failures.append(str(error))
                for line in lines:
                    line.close()
            else:
                return lines[0], lines[1]
        logger.warning(
            "%s: no connection (%s); using ordinary Ray calls, which take about a millisecond",
            self.task,
            "; ".join(failures),
        )
        return None

    # Stages ---------------------------------------------------------------------------------

    def register(self, stage: Stage) -> None:
        now = self._incarnation()
        self._stages[stage.handle] = stage
        if self._sessions.setdefault(stage.session, now) is now:
            now.lane.tell("register", stage)

    def run(
        self,
        handle: str,
        step_id: int,
        inputs: Sequence[Any],
        done: Callable[[StageResult], None],
        *,
        trace: bool = False,
    ) -> None:
        now = self._incarnation()
        stage = self._stages[handle]
        if stage.keeps_step_resources:
            self._remembered.add(step_id)
        if now.lane.dead or self._sessions[stage.session] is now:
            now.lane.run(stage.blocks, (handle, step_id, list(inputs), trace), done)
        else:
            text = (
                f"Session handle is not found: {stage.session}. "
                f'Possibly this worker ("{self.task}") just restarted.'
            )
            done(StageResult(error=errors.aborted(text)))

    def cancel(self, step_id: int) -> None:
        self._remembered.add(step_id)
        self._incarnation().lane.cancel(step_id)

    def end_step(self, step_id: int) -> None:
        if step_id in self._remembered:
            self._remembered.discard(step_id)
            self._incarnation().lane.tell("end_step", step_id)

    def end_session(self, session: str, handles: Sequence[str]) -> None:
        for handle in handles:
            self._stages.pop(handle, None)
        self._sessions.pop(session, None)
        self._incarnation().lane.tell("end_session", session, list(handles))

    def reset(self, containers: Sequence[str]) -> None:
        self._incarnation().lane.tell("reset", list(containers))


def _ignore(task: str, error: errors.OpError) -> None:
    """Nobody has asked to hear of deaths yet."""


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
