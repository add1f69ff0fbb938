"""The master: sessions over a set of workers, on Python values and without RPC.

``service.py`` puts it on the wire; an in-process session calls it directly.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from flowray.master.deadline_timers import DeadlineTimers
from flowray.master.session import Session
from flowray.master.step import Done, Step, StepResult, Waiter
from flowray.master.worker_api import Worker
from flowray.proto import errors
from flowray.proto.messages import config_pb2, graph_pb2
from flowray.proto.wire.signature import RunSignature

_REMEMBERED_REQUESTS = 10000


class Master:
    """The sessions of a cluster. Thread-safe; only ``run`` and ``run_callable`` wait.

    Args:
        workers: the tasks of the cluster.
        default_task: the task of nodes without constraints; None: the first worker's.
        default_config: the values of options that a session's own configuration leaves out.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        default_task: str | None = None,
        default_config: config_pb2.ConfigProto | None = None,
    ) -> None:
        self._workers = {worker.task: worker for worker in workers}
        self._default_task = workers[0].task if default_task is None else default_task
        if self._default_task not in self._workers:
            raise ValueError(f"no worker runs the default task {self._default_task}")
        self._default_config = default_config
        self._sessions: dict[str, Session] = {}
        self._timers = DeadlineTimers()
        self._requests = _RecentRequests()

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The open sessions by handle."""
        return self._sessions

    # Sessions

    def create_session(
        self, graph_def: graph_pb2.GraphDef, config: config_pb2.ConfigProto | None = None
    ) -> str:
        """Creates a session and returns its handle; its graph has version 0.

        Raises:
            InvalidArgumentError, NotFoundError: the graph is bad or cannot be placed.
        """
        merged = config_pb2.ConfigProto()
        for part in (self._default_config, config):
            if part is not None:
                merged.MergeFrom(part)
        handle = secrets.token_hex(8)
        self._sessions[handle] = Session(
            handle, graph_def, merged, self._workers, self._default_task, self._timers
        )
        return handle

    def extend_session(
        self, handle: str, graph_def: graph_pb2.GraphDef, current_version: int
    ) -> int:
        """Adds nodes to a session's graph; returns its new version. See ``Session.extend``."""
        return self.session(handle).extend(graph_def, current_version)

    def close_session(self, handle: str) -> None:
        """Ends a session; its running steps fail with CancelledError.

        Raises:
            AbortedError: there is no such session.
        """
        session = self._sessions.pop(handle, None)
        if session is None:
            raise errors.aborted(
                f"Session {handle} is not found. Possibly, this master has restarted."
            )
        session.close()

    def list_devices(self, handle: str = "") -> Sequence[config_pb2.DeviceAttributes]:
        """Returns the devices of a session, or of all workers.

        Raises:
            InvalidArgumentError: there is no such session.
        """
        if not handle:
            return [device for worker in self._workers.values() for device in worker.devices]
        session = self._sessions.get(handle)
        if session is None:
            raise errors.invalid_argument(
                f"Session {handle} is not found. Possibly, this master has restarted."
            )
        return session.devices

    def reset(self, containers: Sequence[str] = ()) -> None:
        """Closes all sessions and clears the named containers (default: each task's own)."""
        while self._sessions:
            try:
                _, session = self._sessions.popitem()
            except KeyError:  # another thread took the last one
                break
            session.close()
        for worker in self._workers.values():
            worker.reset(containers)

    def worker_lost(self, task: str, error: errors.OpError) -> None:
        """Fails the steps that run on a task, or will."""
        for session in list(self._sessions.values()):
            session.lose_worker(task, error)

    def session(self, handle: str) -> Session:
        """Returns the session; AbortedError if there is no such session."""
        session = self._sessions.get(handle)
        if session is None:
            raise errors.aborted(f"Session {handle} is not found.")
        return session

    # Steps

    def prepare_run(self, handle: str, signature: RunSignature) -> int:
        """Prepares a run of a session; returns the run's handle. See ``Session.prepare_run``."""
        return self.session(handle).prepare_run(signature)

    def is_prepared(self, handle: str, signature: RunSignature) -> bool:
        """Tells whether ``start_step`` is quick: the run is prepared, or there is no session."""
        session = self._sessions.get(handle)
        return session is None or session.handle_of(signature) is not None

    def start_run(
        self,
        handle: str,
        run_handle: int,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None,
        done: Done,
    ) -> Step | None:
        """Starts a step of a prepared run. See ``Session.start_run``.

        Returns:
            The step, which can be cancelled; None if it failed before it began.
        """
        session = self._sessions.get(handle)
        if session is None:
            done(StepResult(error=errors.aborted(f"Session {handle} is not found.")))
            return None
        return session.start_run(run_handle, values, options, done)

    def start_step(
        self,
        handle: str,
        signature: RunSignature,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None,
        request_id: int,
        done: Done,
    ) -> Step | None:
        """Starts a step for a client that knows no handles of runs; otherwise as ``start_run``.

        Args:
            handle: the session's.
            signature: the run, which is prepared if it was not before.
            values: the fed arrays, in the order of the signature's feeds.
            options: trace, timeout, partition graphs.
            request_id: not 0 for a request that may arrive twice; it then runs once.
            done: gets the arrays in the order of the fetches, or the error.
        """
        try:
            session = self.session(handle)
            if request_id and not self._requests.is_new(request_id):
                raise _twice("RunStep", request_id)
        except errors.OpError as error:
            done(StepResult(error=error))
            return None
        return session.start_step(signature, values, options, done)

    def run(
        self,
        handle: str,
        run_handle: int,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None = None,
    ) -> StepResult:
        """Runs a step of a prepared run and waits for it. OpError if it fails."""
        waiter = Waiter()
        session = self._sessions.get(handle) or self.session(handle)
        step = session.start_run(run_handle, values, options, waiter)
        return _wait(waiter, step)

    def partial_run_setup(self, handle: str) -> str:
        """Raises UnimplementedError: flowray has no partial runs."""
        self.session(handle)
        raise errors.unimplemented("PartialRunSetup: flowray has no partial runs.")

    # Callables

    def make_callable(
        self, handle: str, options: config_pb2.CallableOptions, request_id: int = 0
    ) -> int:
        """Makes a callable of a session; see ``Session.make_callable``."""
        session = self.session(handle)
        if request_id and not self._requests.is_new(request_id):
            raise _twice("MakeCallable", request_id)
        return session.make_callable(options)

    def start_callable(
        self, handle: str, callable_handle: int, feeds: Sequence[Any], request_id: int, done: Done
    ) -> Step | None:
        """Starts a step of a callable: feeds and results go by the positions in its options."""
        try:
            session = self.session(handle)
            if request_id and not self._requests.is_new(request_id):
                raise _twice("RunCallable", request_id)
        except errors.OpError as error:
            done(StepResult(error=error))
            return None
        return session.start_callable(callable_handle, feeds, done)

    def run_callable(self, handle: str, callable_handle: int, feeds: Sequence[Any]) -> StepResult:
        """Runs a callable and waits for it. OpError if it fails."""
        waiter = Waiter()
        step = self.start_callable(handle, callable_handle, feeds, 0, waiter)
        return _wait(waiter, step)

    def release_callable(self, handle: str, callable_handle: int) -> None:
        """Releases a callable of a session; see ``Session.release_callable``."""
        self.session(handle).release_callable(callable_handle)


def _wait(waiter: Waiter, step: Step | None) -> StepResult:
    try:
        result = waiter.wait()
    except BaseException:  # KeyboardInterrupt: nobody wants the step any more
        if step is not None:
            step.cancel(errors.cancelled("Step was cancelled."))
        raise
    if result.error is not None:
        raise result.error
    return result


def _twice(method: str, request_id: int) -> errors.AbortedError:
    return errors.aborted(
        f"The same {method} (Master) request was received twice. request_id: {request_id}"
    )


class _RecentRequests:
    """The ids of the last requests, by which one that a client sent again is recognized."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self._order: deque[int] = deque()

    def is_new(self, request_id: int) -> bool:
        """Tells whether the request is new, and remembers it."""
        with self._lock:
            if request_id in self._known:
                return False
            self._known.add(request_id)
            self._order.append(request_id)
            if len(self._order) > _REMEMBERED_REQUESTS:
                self._known.discard(self._order.popleft())
            return True
