"""Runs steps: the shell around ``step_state``, which calls workers and answers the client.

Workers call back from any thread, at any time, also before ``Worker.run`` returns; no lock is held
while a worker or a client is called.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import Any, Final

from flowray.master.deadline_timers import DeadlineTimers
from flowray.master.prepared_run import PreparedRun
from flowray.master.step_state import (
    Cancelled,
    CancelStages,
    DeadlineExceeded,
    EndStep,
    Event,
    Finish,
    Instruction,
    Phase,
    RunStage,
    StageFailed,
    Started,
    StepState,
    WorkerLost,
)
from flowray.master.worker_api import StageResult
from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import config_pb2

_log = logging.getLogger(__name__)

_STARTED: Final = Started()


@dataclass(slots=True)  # not frozen: that triples the time to make one, which every step does
class StepResult:
    """The result of a step: the fetched values, or an error."""

    tensors: Sequence[Any] = ()
    """Numpy arrays, in the order of the fetches."""
    error: errors.OpError | None = None
    metadata: config_pb2.RunMetadata | None = None
    """The metadata that the run options asked for; None if they asked for nothing."""


Done = Callable[[StepResult], None]

RunningSteps = MutableMapping[int, "Step"]
"""The steps of a session that have something running, by step id."""


@dataclass(frozen=True, slots=True)
class StepOptions:
    """The options of one run."""

    trace: bool = False
    partition_graphs: bool = False
    timeout_ms: int = 0
    """0: no deadline."""


class Step:
    """A step: executes the instructions of its ``StepState``.

    Args:
        run: the prepared run.
        values: the fed arrays, in the order of the run's feeds.
        step_id: unique among all steps of a master.
        options: trace, deadline, partition graphs.
        running: the step adds itself there, and leaves when nothing of it runs any more.
        done: is called once, with the result.
        ended: is called once, after the step has left ``running``.
    """

    __slots__ = (
        "_cancel_deadline",
        "_done",
        "_ended",
        "_is_over",
        "_lock",
        "_options",
        "_outputs",
        "_performing",
        "_run",
        "_running",
        "_state",
        "_stats",
        "_step_id",
        "_values",
    )

    def __init__(
        self,
        run: PreparedRun,
        values: Sequence[Any],
        step_id: int,
        options: StepOptions,
        running: RunningSteps,
        done: Done,
        ended: Callable[[], None],
    ) -> None:
        self._run = run
        self._values = values
        self._step_id = step_id
        self._options = options
        self._running = running
        self._done = done
        self._ended = ended
        self._state = StepState(run.order)
        self._outputs: list[Sequence[Any]] = [()] * len(run.stages)
        self._stats: Sequence[config_pb2.DeviceStepStats] = ()
        self._lock = threading.Lock()
        self._is_over = False
        self._performing: dict[int, list[Instruction | None]] = {}
        """The instructions that each thread performs; None stands for the end of the step."""
        self._cancel_deadline: Callable[[], None] | None = None
        running[step_id] = self

    def start(self, timers: DeadlineTimers) -> None:
        """Starts the step, and its deadline if it has one."""
        if self._options.timeout_ms > 0:
            self._cancel_deadline = timers.after(self._options.timeout_ms / 1000, self.expire)
        self._handle(_STARTED)

    def cancel(self, error: errors.OpError) -> None:
        """Answers the client with ``error``, unless the step is done, and stops its workers."""
        self._handle(Cancelled(error))

    def expire(self) -> None:
        """Ends the step with DeadlineExceededError."""
        self._handle(DeadlineExceeded())

    def lose_worker(self, task: str, error: errors.OpError) -> None:
        """Fails the step with ``error`` if it needs ``task``, which is gone."""
        self._handle(WorkerLost(task, error))

    def _handle(self, event: Event) -> None:
        todo: list[Instruction | None]
        with self._lock:
            state = self._state
            todo = state.handle(event)  # type: ignore[assignment]
            if state.phase is Phase.ENDED and not self._is_over:
                self._is_over = True
                todo.append(None)  # once the rest is done
        if not todo:
            return
        # A worker that calls back before ``run`` returns only adds its instructions to the list of
        # its thread: many stages in a row must not recurse.
        thread = get_ident()
        performing = self._performing.get(thread)
        if performing is not None:
            performing.extend(todo)
            return
        self._performing[thread] = todo
        left = iter(todo)  # it also gives what is added meanwhile
        try:
            self._perform(left)
        except BaseException:  # Ctrl-C in a worker that runs in this thread
            self._perform(left)
            raise
        finally:
            del self._performing[thread]

    def _perform(self, instructions: Iterable[Instruction | None]) -> None:
        for instruction in instructions:
            try:
                _ACTIONS[type(instruction)](self, instruction)
            except Exception:
                # The step must come to its end: it would otherwise count as running for ever.
                _log.exception(
                    "step %d: %s failed; the step goes on, %s",
                    self._step_id,
                    instruction,
                    self._state.story(),
                )

    # What the instructions do

    def _run_stage(self, instruction: RunStage) -> None:
        stage = instruction.stage
        run = self._run
        done = partial(self._stage_ended, stage)
        try:
            inputs: Sequence[Any]
            if run.takes_feeds_as_inputs:
                inputs = self._values
            else:
                values, outputs = self._values, self._outputs
                inputs = [
                    values[index] if source is None else outputs[source][index]
                    for source, index in run.inputs[stage]
                ]
            run.workers[stage].run(
                run.stages[stage].handle, self._step_id, inputs, done, trace=self._options.trace
            )
        except Exception as failure:
            _log.exception("step %d: stage %d could not be sent", self._step_id, stage)
            error = errors.internal(f"{type(failure).__name__}: {failure}")
            self._handle(StageFailed(stage, error))

    def _stage_ended(self, stage: int, result: StageResult) -> None:
        """Takes the result of a stage; workers call it."""
        if result.error is not None:
            self._handle(StageFailed(stage, result.error))
            return
        self._outputs[stage] = result.outputs
        if result.step_stats:
            self._stats = [*self._stats, *result.step_stats]
        self._handle(self._run.order.done[stage])

    def _cancel_stages(self, instruction: CancelStages) -> None:
        self._run.worker_of[instruction.task].cancel(self._step_id)

    def _end_step(self, instruction: EndStep) -> None:
        self._run.worker_of[instruction.task].end_step(self._step_id)

    def _finish(self, instruction: Finish) -> None:
        if self._cancel_deadline is not None:
            self._cancel_deadline()
        error = instruction.error
        if error is None:
            try:
                metadata = None
                if self._stats or self._options.partition_graphs:
                    metadata = self._metadata()
                result = StepResult(self._fetched(), None, metadata)
            except errors.OpError as failure:  # a fetched tensor is dead
                error = failure
        self._done(result if error is None else StepResult(error=error))

    def _end(self, instruction: None) -> None:
        del self._running[self._step_id]
        self._ended()

    # The result

    def _fetched(self) -> Sequence[Any]:
        """Returns the fetched values; InvalidArgumentError, naming the tensor, if one is dead."""
        run, outputs = self._run, self._outputs
        if run.gives_outputs_as_fetches:
            values = outputs[0]
        else:
            values = [outputs[stage][index] for stage, index in run.fetches]
        for value in values:
            if value is DEAD:
                raise self._dead(values)
        return values

    def _dead(self, values: Sequence[Any]) -> errors.OpError:
        stage, index = self._run.fetches[next(i for i, v in enumerate(values) if v is DEAD)]
        name = self._run.stages[stage].outputs[index]
        return errors.invalid_argument(
            f"The tensor returned for {name} was not valid: it belongs to a branch that was not "
            "taken",
            node=TensorId.parse(name).node,
        )

    def _metadata(self) -> config_pb2.RunMetadata:
        metadata = config_pb2.RunMetadata()
        if self._stats:
            metadata.step_stats.dev_stats.extend(self._stats)
        if self._options.partition_graphs:
            metadata.partition_graphs.extend(self._run.partition_graphs)
        return metadata


_ACTIONS: Final[dict[type, Callable[[Step, Any], None]]] = {
    RunStage: Step._run_stage,
    CancelStages: Step._cancel_stages,
    EndStep: Step._end_step,
    Finish: Step._finish,
    type(None): Step._end,
}


class Waiter:
    """A ``Done`` for callers that wait."""

    __slots__ = ("_lock", "_result")

    def __init__(self) -> None:
        self._lock: threading.Lock | None = None
        """Held until the result is there, if somebody waits for it."""
        self._result: StepResult | None = None

    def __call__(self, result: StepResult) -> None:
        self._result = result
        if self._lock is not None:
            self._lock.release()

    def wait(self) -> StepResult:
        """Returns the result of the step, once it is there. One thread may wait."""
        if self._result is None:
            lock = threading.Lock()
            lock.acquire()
            self._lock = lock
            if self._result is None:  # it did not come before the lock was there
                lock.acquire()
            assert self._result is not None
        return self._result
