"""A session: a graph that grows, the devices of its nodes, and the prepared runs."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowray.master.deadline_timers import DeadlineTimers
from flowray.master.passes.graph import Graph
from flowray.master.passes.placer import place, usable_devices
from flowray.master.passes.prune import connect
from flowray.master.passes.validate import validate
from flowray.master.plan import StepPlan, make_plan
from flowray.master.prepared_run import PreparedRun, prepare
from flowray.master.step import Done, RunningSteps, Step, StepOptions, StepResult
from flowray.master.worker_api import Worker
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import config_pb2, graph_pb2
from flowray.proto.wire.signature import RunSignature, UnknownRunHandleError

_log = logging.getLogger(__name__)

FULL_TRACE = 3
"""``RunOptions.FULL_TRACE``; the other levels trace nothing here."""

_step_ids = itertools.count(time.time_ns() & 0xFFFFFFFF)
"""Of all sessions; step ids of two masters that follow each other shall differ, too."""


class Session:
    """One session of a master. All methods may be called from any thread."""

    def __init__(
        self,
        handle: str,
        graph_def: graph_pb2.GraphDef,
        config: config_pb2.ConfigProto,
        workers: Mapping[str, Worker],
        default_task: str,
        timers: DeadlineTimers,
    ) -> None:
        """Validates and places the graph.

        Raises:
            InvalidArgumentError, NotFoundError: see ``passes.validate`` and ``passes.placer``.
        """
        if config.use_per_session_threads or config.session_inter_op_thread_pool:
            raise errors.invalid_argument(
                "Distributed session does not support session thread pool options."
            )
        self.handle = handle
        self.version = 0
        self.last_used = time.monotonic()
        self._config = config
        self._workers = workers
        self._default_task = default_task
        self._timers = timers
        self._default_options = StepOptions(timeout_ms=config.operation_timeout_in_ms)
        self._devices = usable_devices(
            [d for worker in workers.values() for d in worker.devices],
            config.device_filters,
            default_task,
        )
        self._state_scope = handle if config.isolate_session_state else ""
        self._graph_lock = threading.Lock()  # guards the graph, its placement and making plans
        self._graph = Graph()
        self._placed: dict[str, str] = {}
        self._plans: dict[Any, StepPlan] = {}
        self._runs: dict[int, PreparedRun] = {}
        self._handles: dict[RunSignature, int] = {}
        self._callables: dict[int, tuple[PreparedRun, config_pb2.RunOptions | None]] = {}
        self._next_callable = 0
        self._running: RunningSteps = {}
        self._closed = False
        self._lifecycle_lock = threading.Lock()  # guards the field below
        self._cleaned_up = False
        self._extend(graph_def)

    @property
    def devices(self) -> Sequence[config_pb2.DeviceAttributes]:
        """Returns the devices that it may use."""
        return self._devices

    @property
    def is_idle(self) -> bool:
        """True if no step runs."""
        return not self._running

    def extend(self, graph_def: graph_pb2.GraphDef, current_version: int) -> int:
        """Adds nodes; returns the new version.

        Raises:
            AbortedError: ``current_version`` is not the graph's.
            InvalidArgumentError, NotFoundError: as for a new session; then nothing is added.
        """
        with self._graph_lock:
            self._check_open()
            if current_version != self.version:
                raise errors.aborted(
                    f"Current version is {self.version} but caller expected {current_version}."
                )
            self._extend(graph_def)
            self.version += 1
            return self.version

    def _extend(self, graph_def: graph_pb2.GraphDef) -> None:
        graph = validate(graph_def, self._graph)
        added = itertools.islice(graph.nodes.values(), len(self._graph.nodes), None)
        placed = place(
            graph,
            added,
            self._placed,
            self._devices,
            default_task=self._default_task,
            allow_soft_placement=self._config.allow_soft_placement,
        )
        if self._config.log_device_placement:
            for name, device in placed.items():
                if name in graph.nodes:
                    _log.info("%s: (%s): %s", name, graph.nodes[name].op.name, device)
        self._placed.update(placed)
        self._graph = graph

    # Runs

    def prepare_run(self, signature: RunSignature) -> int:
        """Prepares a run; returns its handle. The same signature has the same handle.

        Nodes that are added to the graph later change no run: a handle is good until the session
        ends, and so are the stages that the workers keep for it.

        Raises:
            InvalidArgumentError, NotFoundError, UnimplementedError: see ``plan.make_plan``.
            FailedPreconditionError: the session is closed.
        """
        handle = self._handles.get(signature)
        if handle is not None:
            return handle
        with self._graph_lock:
            handle = self._handles.get(signature)
            if handle is None:  # no other thread was quicker
                handle = len(self._runs) + 1
                self._runs[handle] = self._prepare(
                    signature.feeds, signature.fetches, signature.targets
                )
                self._handles[signature] = handle
        return handle

    def handle_of(self, signature: RunSignature) -> int | None:
        """Returns the handle of a signature that was prepared, else None."""
        return self._handles.get(signature)

    def _prepare(
        self,
        feeds: Sequence[str],
        fetches: Sequence[str],
        targets: Sequence[str],
        connections: Sequence[tuple[TensorId, TensorId]] = (),
    ) -> PreparedRun:
        self._check_open()
        fed = [TensorId.parse(name) for name in feeds]
        fetched = [TensorId.parse(name) for name in fetches]
        plan = self._plan(fed, fetched, targets, connections)
        return prepare(plan, fed, fetched, self._workers)

    def _plan(
        self,
        feeds: Sequence[TensorId],
        fetches: Sequence[TensorId],
        targets: Sequence[str],
        connections: Sequence[tuple[TensorId, TensorId]],
    ) -> StepPlan:
        """Returns the plan of a signature, whatever the order of feeds, fetches and targets."""
        key = (
            tuple(sorted(feeds)),
            tuple(sorted(set(fetches))),
            tuple(sorted(set(targets))),
            tuple(sorted(connections)),
        )
        plan = self._plans.get(key)
        if plan is None:
            plan = make_plan(
                connect(self._graph, connections),
                self._placed,
                *key[:3],
                session=self.handle,
                prefix=f"{self.handle}/{len(self._plans)}",
                state_scope=self._state_scope,
            )
            for stage, task in zip(plan.stages, plan.tasks, strict=True):
                self._workers[task].register(stage)
            self._plans[key] = plan
        return plan

    # Steps

    def start_step(
        self,
        signature: RunSignature,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None,
        done: Done,
    ) -> Step | None:
        """Starts a step of a signature, prepared if it was not before; as ``start_run``."""
        try:
            run = self._runs[self.prepare_run(signature)]
            return self._start(run, list(values), options, done)
        except errors.OpError as error:
            done(StepResult(error=error))
            return None

    def start_run(
        self,
        handle: int,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None,
        done: Done,
    ) -> Step | None:
        """Starts a step of a prepared run; ``done`` gets its result, one array per fetch.

        Args:
            handle: see ``prepare_run``. UnknownRunHandleError if there is no such handle.
            values: the arrays of the signature's feeds, in their order.
            options: trace, timeout, partition graphs.
            done: is called once, possibly before this returns, from any thread.

        Returns:
            The step; None if it could not even start.
        """
        try:
            run = self._runs.get(handle)
            if run is None:
                raise UnknownRunHandleError(
                    f"Session {self.handle} has no prepared run {handle}; prepare it again."
                )
            if len(values) != len(run.checks):
                raise errors.invalid_argument(
                    f"The run takes {len(run.checks)} feed value(s), but got {len(values)}."
                )
            return self._start(run, list(values), options, done)
        except errors.OpError as error:
            done(StepResult(error=error))
            return None

    def _start(
        self,
        run: PreparedRun,
        values: list[Any],
        options: config_pb2.RunOptions | None,
        done: Done,
    ) -> Step:
        for i, check in enumerate(run.checks):
            value = values[i]
            if (
                type(value) is not np.ndarray
                or value.dtype is not check.numpy_dtype
                or check.shape is not None
            ):
                values[i] = check.check(value)
        asked = self._default_options
        if options is not None:
            asked = StepOptions(
                options.trace_level == FULL_TRACE,
                options.output_partition_graphs,
                options.timeout_in_ms or asked.timeout_ms,
            )
        step = Step(run, values, next(_step_ids), asked, self._running, done, self._step_ended)
        # It is among the running ones now: a close that this does not see yet cancels it.
        if self._closed:
            step.cancel(errors.failed_precondition("Session is closed."))
        else:
            step.start(self._timers)
        return step

    def _step_ended(self) -> None:
        self.last_used = time.monotonic()
        if self._closed and not self._running:
            self._clean_up()

    # Callables

    def make_callable(self, options: config_pb2.CallableOptions) -> int:
        """Prepares a step whose feeds and fetches are given by position; returns its handle.

        Raises:
            UnimplementedError: feeds or fetches are to stay on devices.
            InvalidArgumentError, NotFoundError: see ``passes.prune``.
        """
        if options.feed_devices or options.fetch_devices:
            raise errors.unimplemented(
                "CallableOptions::feed_devices and CallableOptions::fetch_devices to configure "
                "feeding/fetching tensors to/from device memory is not yet supported when using a "
                "remote session."
            )
        connections = [
            (TensorId.parse(c.from_tensor), TensorId.parse(c.to_tensor))
            for c in options.tensor_connection
        ]
        with self._graph_lock:
            run = self._prepare(options.feed, options.fetch, options.target, connections)
            run_options = options.run_options if options.HasField("run_options") else None
            handle = self._next_callable
            self._next_callable += 1
            self._callables[handle] = run, run_options
        return handle

    def start_callable(self, handle: int, feeds: Sequence[Any], done: Done) -> Step | None:
        """Starts a step of a callable; as ``start_run``."""
        try:
            found = self._callables.get(handle)
            if found is None:
                raise self._no_callable(handle)
            run, options = found
            if len(feeds) != len(run.checks):
                raise errors.invalid_argument(
                    f"RunCallable expected {len(run.checks)} feed tensor(s), but got {len(feeds)}"
                )
            return self._start(run, list(feeds), options, done)
        except errors.OpError as error:
            done(StepResult(error=error))
            return None

    def release_callable(self, handle: int) -> None:
        """Forgets a callable; as in TensorFlow, does nothing if there is no such callable."""
        with self._graph_lock:
            self._callables.pop(handle, None)

    def _no_callable(self, handle: int) -> errors.InvalidArgumentError:
        if 0 <= handle < self._next_callable:
            return errors.invalid_argument(
                f"Attempted to run callable after handle was released: {handle}"
            )
        return errors.invalid_argument(f"No such callable handle: {handle}")

    # The end

    def lose_worker(self, task: str, error: errors.OpError) -> None:
        """Tells the running steps that a task is gone."""
        for step in list(self._running.values()):
            step.lose_worker(task, error)

    def close(self) -> None:
        """Cancels all steps; the workers drop the session's state when all have stopped."""
        self._closed = True
        for step in list(self._running.values()):
            step.cancel(
                errors.cancelled("Step was cancelled by an explicit call to `Session::Close()`.")
            )
        if not self._running:
            self._clean_up()

    def _clean_up(self) -> None:
        with self._lifecycle_lock:
            if self._cleaned_up:
                return
            self._cleaned_up = True
        handles: dict[str, list[str]] = {task: [] for task in self._workers}
        for plan in list(self._plans.values()):
            for stage, task in zip(plan.stages, plan.tasks, strict=True):
                handles[task].append(stage.handle)
        for task, worker in self._workers.items():
            worker.end_session(self.handle, handles[task])

    def _check_open(self) -> None:
        if self._closed:
            raise errors.failed_precondition("Session is closed.")
