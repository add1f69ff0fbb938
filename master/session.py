"""A session: a graph that grows, where its nodes are placed, and the plans of the steps it ran."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowray.master.passes.graph import Graph
from flowray.master.passes.placer import place, usable_devices
from flowray.master.passes.prune import connect
from flowray.master.passes.validate import validate
from flowray.master.plan import FeedCheck, StepPlan, make_plan
from flowray.master.step import (
    Alarms,
    Done,
    OneStageStep,
    Running,
    RunningStep,
    Step,
    StepHandle,
    StepResult,
)
from flowray.master.worker_api import Worker
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import config_pb2, graph_pb2

_log = logging.getLogger(__name__)

FULL_TRACE = 3
"""``RunOptions.FULL_TRACE``; the other levels trace nothing here."""

_step_ids = itertools.count(time.time_ns() & 0xFFFFFFFF)
"""Of all sessions; step ids of two masters that follow each other shall differ, too."""


@dataclass(frozen=True, slots=True)
class BoundPlan:
    """A plan, and how a caller's order of feeds and fetches relates to it."""

    plan: StepPlan
    checks: tuple[FeedCheck, ...]
    """Of the caller's feeds."""
    feed_order: tuple[int, ...]
    """For each of the plan's feeds, its position among the caller's."""
    fetch_order: tuple[int, ...]
    """For each of the caller's fetches, its position among the plan's."""
    worker: Worker | None
    """Of the only stage, if there is one stage."""
    stage_inputs: tuple[int, ...] | None
    """The only stage's inputs as positions among the caller's feeds; None: just as they come."""
    stage_outputs: tuple[int, ...] | None
    """The caller's fetches as positions among the only stage's outputs; None: just as they are."""


class Session:
    """One session of a master. All methods may be called from any thread."""

    def __init__(
        self,
        handle: str,
        graph_def: graph_pb2.GraphDef,
        config: config_pb2.ConfigProto,
        workers: Mapping[str, Worker],
        default_task: str,
        alarms: Alarms,
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
        self._alarms = alarms
        self._devices = usable_devices(
            [d for worker in workers.values() for d in worker.devices],
            config.device_filters,
            default_task,
        )
        self._state_scope = handle if config.isolate_session_state else ""
        self._growing = threading.Lock()  # guards the graph, its placement and the plans' making
        self._graph = Graph()
        self._placed: dict[str, str] = {}
        self._plans: dict[Any, StepPlan] = {}
        self._bound: dict[Any, BoundPlan] = {}
        self._callables: dict[int, tuple[BoundPlan, config_pb2.CallableOptions]] = {}
        self._next_callable = 0
        self._running: Running = {}
        self._closing = threading.Lock()  # guards the fields below
        self._closed = False
        self._unfinished = 0
        self._cleaned_up = False
        self._extend(graph_def)

    @property
    def devices(self) -> Sequence[config_pb2.DeviceAttributes]:
        """The devices that it may use."""
        return self._devices

    @property
    def is_idle(self) -> bool:
        return not self._running

    def extend(self, graph_def: graph_pb2.GraphDef, current_version: int) -> int:
        """Adds nodes; returns the new version.

        Raises:
            AbortedError: ``current_version`` is not the graph's.
            InvalidArgumentError, NotFoundError: as for a new session; then nothing is added.
        """
        with self._growing:
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

    # Plans

    def is_planned(
        self, feeds: Sequence[str], fetches: Sequence[str], targets: Sequence[str]
    ) -> bool:
        """Whether a step of these starts without working out a plan."""
        return (tuple(feeds), tuple(fetches), tuple(targets)) in self._bound

    def _bind(
        self, feeds: Sequence[str], fetches: Sequence[str], targets: Sequence[str]
    ) -> BoundPlan:
        with self._growing:
            bound = self._make_bound(feeds, fetches, targets)
            self._bound[tuple(feeds), tuple(fetches), tuple(targets)] = bound
        return bound

    def _make_bound(
        self,
        feeds: Sequence[str],
        fetches: Sequence[str],
        targets: Sequence[str],
        connections: Sequence[tuple[TensorId, TensorId]] = (),
    ) -> BoundPlan:
        self._check_open()
        fed = [TensorId.parse(name) for name in feeds]
        fetched = [TensorId.parse(name) for name in fetches]
        plan = self._plan(fed, fetched, targets, connections)
        position = {check.tensor: i for i, check in enumerate(plan.feeds)}
        outputs = {tensor: i for i, tensor in enumerate(sorted(set(fetched)))}
        feed_order = tuple(fed.index(check.tensor) for check in plan.feeds)
        fetch_order = tuple(outputs[tensor] for tensor in fetched)
        return BoundPlan(
            plan,
            tuple(plan.feeds[position[tensor]] for tensor in fed),
            feed_order,
            fetch_order,
            *self._only_stage(plan, feed_order, fetch_order),
        )

    def _only_stage(
        self, plan: StepPlan, feed_order: Sequence[int], fetch_order: Sequence[int]
    ) -> tuple[Worker | None, tuple[int, ...] | None, tuple[int, ...] | None]:
        if len(plan.stages) != 1:
            return None, None, None
        inputs = tuple(feed_order[source.index] for source in plan.inputs[0])
        outputs = tuple(plan.fetches[i].index for i in fetch_order)
        return (
            self._workers[plan.tasks[0]],
            None if inputs == tuple(range(len(feed_order))) else inputs,
            None if outputs == tuple(range(len(plan.stages[0].outputs))) else outputs,
        )

    def _plan(
        self,
        feeds: Sequence[TensorId],
        fetches: Sequence[TensorId],
        targets: Sequence[str],
        connections: Sequence[tuple[TensorId, TensorId]],
    ) -> StepPlan:
        """The plan of a signature: the order of feeds, fetches and targets does not matter."""
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
        feeds: Mapping[str, Any],
        fetches: Sequence[str],
        targets: Sequence[str],
        options: config_pb2.RunOptions | None,
        done: Done,
    ) -> StepHandle | None:
        """Starts a step; ``done`` gets its result. None if it could not even start.

        Feeds and fetches are named ``node:index`` or ``node``; the result has one array per fetch.
        """
        try:
            bound = self._bound.get((tuple(feeds), tuple(fetches), tuple(targets)))
            if bound is None:
                bound = self._bind(tuple(feeds), fetches, targets)
            return self._start(bound, list(feeds.values()), options, done)
        except errors.OpError as error:
            done(StepResult(error=error))
            return None

    def _start(
        self,
        bound: BoundPlan,
        values: list[Any],
        options: config_pb2.RunOptions | None,
        done: Done,
    ) -> StepHandle:
        for i, check in enumerate(bound.checks):
            value = values[i]
            if (
                type(value) is not np.ndarray
                or value.dtype is not check.numpy_dtype
                or check.shape is not None
            ):
                values[i] = check.check(value)
        trace = False
        timeout = self._config.operation_timeout_in_ms
        if options is not None:
            trace = options.trace_level == FULL_TRACE
            timeout = options.timeout_in_ms or timeout
            if options.output_partition_graphs:
                done = _with_partition_graphs(done, bound.plan)
        step_id = next(_step_ids)
        plan = bound.plan
        worker = bound.worker
        call_off: list[Callable[[], None]] = []
        if timeout > 0:
            done = _calling_off(done, call_off)
        step: RunningStep
        self._begin()
        if worker is not None:
            step = OneStageStep(
                plan, worker, step_id, bound.stage_outputs, self._running, done, self._end
            )
            order = bound.stage_inputs
            inputs = values if order is None else [values[i] for i in order]
            self._running[step_id] = step
            self._arm(step, timeout, call_off)
            worker.run(plan.stages[0].handle, step_id, inputs, step.stage_ended, trace=trace)
        else:
            step = Step(
                plan,
                self._workers,
                step_id,
                [values[i] for i in bound.feed_order],
                trace,
                self._running,
                _reordered(done, bound.fetch_order),
                self._end,
            )
            self._running[step_id] = step
            self._arm(step, timeout, call_off)
            step.start()
        if self._closed:  # it may have begun while ``close`` was cancelling
            step.cancel(_closed_error())
        return step

    def _arm(self, step: RunningStep, timeout: int, call_off: list[Callable[[], None]]) -> None:
        if timeout > 0:
            call_off.append(self._alarms.after(timeout / 1000, step.expire))

    def _begin(self) -> None:
        with self._closing:
            self._check_open()
            self._unfinished += 1

    def _end(self) -> None:
        self.last_used = time.monotonic()
        with self._closing:
            self._unfinished -= 1
            if not self._closed or self._unfinished:
                return
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
        with self._growing:
            bound = self._make_bound(options.feed, options.fetch, options.target, connections)
            handle = self._next_callable
            self._next_callable += 1
            self._callables[handle] = bound, options
        return handle

    def start_callable(self, handle: int, feeds: Sequence[Any], done: Done) -> StepHandle | None:
        """Starts a step of a callable; as ``start_step``."""
        try:
            found = self._callables.get(handle)
            if found is None:
                raise self._no_callable(handle)
            bound, options = found
            if len(feeds) != len(bound.checks):
                raise errors.invalid_argument(
                    f"RunCallable expected {len(bound.checks)} feed tensor(s), but got {len(feeds)}"
                )
            run_options = options.run_options if options.HasField("run_options") else None
            return self._start(bound, list(feeds), run_options, done)
        except errors.OpError as error:
            done(StepResult(error=error))
            return None

    def release_callable(self, handle: int) -> None:
        """Forgets a callable; nothing if there is no such callable, as in TensorFlow."""
        with self._growing:
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
        """Cancels what runs; the workers drop the session's state when all of it has stopped."""
        with self._closing:
            self._closed = True
        for step in list(self._running.values()):
            step.cancel(_closed_error())
        with self._closing:
            if self._unfinished:
                return
        self._clean_up()

    def _clean_up(self) -> None:
        with self._closing:
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


def _closed_error() -> errors.OpError:
    return errors.cancelled("Step was cancelled by an explicit call to `Session::Close()`.")


def _reordered(done: Done, order: Sequence[int]) -> Done:
    def reordered(result: StepResult) -> None:
        if result.error is None:
            tensors = [result.tensors[i] for i in order]
            result = StepResult(tensors, metadata=result.metadata)
        done(result)

    return reordered


def _with_partition_graphs(done: Done, plan: StepPlan) -> Done:
    def with_graphs(result: StepResult) -> None:
        if result.error is None:
            metadata = config_pb2.RunMetadata()
            if result.metadata is not None:
                metadata.CopyFrom(result.metadata)
            metadata.partition_graphs.extend(plan.partition_graphs)
            result = StepResult(result.tensors, metadata=metadata)
        done(result)

    return with_graphs


def _calling_off(done: Done, call_off: list[Callable[[], None]]) -> Done:
    def calling_off(result: StepResult) -> None:
        for action in call_off:
            action()
        done(result)

    return calling_off
