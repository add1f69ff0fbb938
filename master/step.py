"""Runs steps: the shells around ``step_state``, which call workers and answer the client.

Workers call back from any thread, at any time, also before ``Worker.run`` returns; no lock is held
while one is called.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from flowray.master.plan import StepPlan
from flowray.master.step_state import (
    Cancelled,
    CancelStages,
    DeadlineExceeded,
    EndStep,
    Event,
    Finish,
    Instruction,
    RunStage,
    StageDone,
    StageFailed,
    Started,
    StepState,
    WorkerLost,
)
from flowray.master.worker_api import StageResult, Worker
from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import config_pb2


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended."""

    tensors: Sequence[Any] = ()
    """Numpy arrays, in the order of the fetches."""
    error: errors.OpError | None = None
    metadata: config_pb2.RunMetadata | None = None
    """What the run options asked for; None if nothing."""


Done = Callable[[StepResult], None]


_log = logging.getLogger(__name__)


class StepHandle(Protocol):
    """A step that was started."""

    def cancel(self, error: errors.OpError) -> None:
        """Answers the client with ``error``, unless the step is done; its workers stop."""


class RunningStep(StepHandle, Protocol):
    """What a session knows of its steps."""

    def expire(self) -> None:
        """Its deadline passed."""

    def lose_worker(self, task: str, error: errors.OpError) -> None:
        """A task is gone."""


Running = MutableMapping[int, RunningStep]
"""The steps of a session that have something running, by step id."""


class OneStageStep:
    """A step of one stage: most are. It needs no state machine, only care to answer once.

    Whoever takes it out of ``running`` may answer: one dict operation, so that it needs no lock.
    """

    __slots__ = ("_done", "_ended", "_order", "_plan", "_running", "_step_id", "_worker")

    def __init__(
        self,
        plan: StepPlan,
        worker: Worker,
        step_id: int,
        order: Sequence[int] | None,
        running: Running,
        done: Done,
        ended: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._worker = worker
        self._step_id = step_id
        self._order = order  # of the fetches among the stage's outputs; None: as they are
        self._running = running
        self._done = done
        self._ended = ended

    def stage_ended(self, result: StageResult) -> None:
        """The worker's callback."""
        answers = self._running.pop(self._step_id, None) is not None
        worker = self._worker
        if answers:
            error = result.error
            if error is None:
                try:
                    tensors = _arrays(worker, result.outputs, self._plan.stages[0].outputs)
                except errors.OpError as failure:
                    error = failure
                else:
                    order = self._order
                    if order is not None:
                        tensors = [tensors[i] for i in order]
        worker.end_step(self._step_id)
        self._ended()
        if answers:
            if error is not None:
                self._done(StepResult(error=error))
            elif result.step_stats:
                self._done(StepResult(tensors, metadata=_metadata(result.step_stats)))
            else:
                self._done(StepResult(tensors))

    def cancel(self, error: errors.OpError) -> None:
        if self._running.pop(self._step_id, None) is not None:
            self._worker.cancel(self._step_id)
            self._done(StepResult(error=error))

    def expire(self) -> None:
        self.cancel(errors.deadline_exceeded("Deadline Exceeded"))

    def lose_worker(self, task: str, error: errors.OpError) -> None:
        if task == self._worker.task:
            self.cancel(error)


class Step:
    """A step of any number of stages: does what its ``StepState`` says."""

    def __init__(
        self,
        plan: StepPlan,
        workers: Mapping[str, Worker],
        step_id: int,
        feeds: Sequence[Any],
        trace: bool,
        running: Running,
        done: Done,
        ended: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._workers = workers
        self._step_id = step_id
        self._feeds = feeds
        self._trace = trace
        self._running = running
        self._done = done
        self._ended = ended
        self._state = StepState(plan.tasks, plan.after)
        self._outputs: list[Sequence[Any]] = [()] * len(plan.stages)
        self._stats: list[config_pb2.DeviceStepStats] = []
        self._lock = threading.Lock()
        self._performing: dict[int, deque[Instruction | None]] = {}

    def start(self) -> None:
        self._handle(Started())

    def cancel(self, error: errors.OpError) -> None:
        self._handle(Cancelled(error))

    def expire(self) -> None:
        self._handle(DeadlineExceeded())

    def lose_worker(self, task: str, error: errors.OpError) -> None:
        self._handle(WorkerLost(task, error))

    def _handle(self, event: Event) -> None:
        todo: list[Instruction | None] = []
        with self._lock:
            had_ended = self._state.has_ended
            todo.extend(self._state.handle(event))
            if self._state.has_ended and not had_ended:
                todo.append(None)  # all over, once the rest is done
        self._perform(todo)

    def _perform(self, instructions: list[Instruction | None]) -> None:
        """A worker that calls back before ``run`` returns must not make this recurse."""
        thread = threading.get_ident()
        queue = self._performing.get(thread)
        if queue is not None:
            queue.extend(instructions)
            return
        queue = self._performing[thread] = deque(instructions)
        try:
            while queue:
                self._do(queue.popleft())
        finally:
            del self._performing[thread]

    def _do(self, instruction: Instruction | None) -> None:
        match instruction:
            case None:
                self._running.pop(self._step_id, None)
                self._ended()
            case RunStage(stage):
                self._run(stage)
            case CancelStages(task):
                self._workers[task].cancel(self._step_id)
            case EndStep(task):
                self._workers[task].end_step(self._step_id)
            case Finish(error):
                self._answer(error)

    def _run(self, stage: int) -> None:
        inputs = [
            self._feeds[source.index]
            if source.stage is None
            else self._outputs[source.stage][source.index]
            for source in self._plan.inputs[stage]
        ]

        def ended(result: StageResult) -> None:
            if result.error is not None:
                self._handle(StageFailed(stage, result.error))
                return
            self._outputs[stage] = result.outputs
            if result.step_stats:
                self._stats.extend(result.step_stats)
            self._handle(StageDone(stage))

        worker = self._workers[self._plan.tasks[stage]]
        handle = self._plan.stages[stage].handle
        worker.run(handle, self._step_id, inputs, ended, trace=self._trace)

    def _answer(self, error: errors.OpError | None) -> None:
        if error is None:
            try:
                tensors = self._fetched()
            except errors.OpError as failure:
                error = failure
        if error is not None:
            self._done(StepResult(error=error))
        else:
            metadata = _metadata(self._stats) if self._stats else None
            self._done(StepResult(tensors, metadata=metadata))

    def _fetched(self) -> list[Any]:
        tensors: list[Any] = []
        for source in self._plan.fetches:
            assert source.stage is not None
            value = self._outputs[source.stage][source.index]
            worker = self._workers[self._plan.tasks[source.stage]]
            name = self._plan.stages[source.stage].outputs[source.index]
            tensors.append(_arrays(worker, [value], [name])[0])
        return tensors


def _arrays(worker: Worker, values: Sequence[Any], names: Sequence[str]) -> Sequence[Any]:
    """The fetched values; InvalidArgumentError, naming the tensor, if one of them is dead."""
    if all(type(value) is np.ndarray for value in values):
        return values
    for value, name in zip(values, names, strict=True):
        if value is DEAD:
            raise errors.invalid_argument(
                f"The tensor returned for {name} was not valid: it belongs to a branch that was "
                "not taken",
                node=TensorId.parse(name).node,
            )
    return worker.fetch(values)


def _metadata(stats: Sequence[config_pb2.DeviceStepStats]) -> config_pb2.RunMetadata:
    return config_pb2.RunMetadata(step_stats=config_pb2.StepStats(dev_stats=stats))


class Waiter:
    """A ``Done`` for callers that wait."""

    __slots__ = ("_lock", "_result")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._result: StepResult | None = None

    def __call__(self, result: StepResult) -> None:
        self._result = result
        self._lock.release()

    def wait(self) -> StepResult:
        if self._result is None:
            self._lock.acquire()
            assert self._result is not None
        return self._result


@dataclass(order=True, slots=True)
class _Alarm:
    time: float
    number: int
    action: Callable[[], None] | None = field(compare=False)


class Alarms:
    """Calls back at given times, from one thread that starts with the first alarm."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alarms: list[_Alarm] = []
        self._numbers = itertools.count()
        self._off = 0  # called off, but still in the list
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Calls ``action`` once, ``seconds`` from now. What it returns calls that off."""
        alarm = _Alarm(time.monotonic() + seconds, next(self._numbers), action)
        with self._changed:
            heapq.heappush(self._alarms, alarm)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._ring, name="flowray-alarms", daemon=True
                )
                self._thread.start()
            elif self._alarms[0] is alarm:
                self._changed.notify()

        def call_off() -> None:
            with self._changed:
                if alarm.action is not None:
                    alarm.action = None
                    self._off += 1
                    if 2 * self._off > len(self._alarms) + 100:
                        self._sweep()

        return call_off

    def _sweep(self) -> None:
        self._alarms = [alarm for alarm in self._alarms if alarm.action is not None]
        heapq.heapify(self._alarms)
        self._off = 0

    def _ring(self) -> None:
        while True:
            with self._changed:
                while not self._alarms:
                    self._changed.wait()
                alarm = self._alarms[0]
                left = alarm.time - time.monotonic()
                if left > 0 and alarm.action is not None:
                    self._changed.wait(left)
                    continue
                heapq.heappop(self._alarms)
                action, alarm.action = alarm.action, None
                if action is None:
                    self._off -= 1
                    continue
            try:
                action()
            except Exception:
                _log.exception("an alarm failed")
