"""A step as a pure state machine: events in, instructions out.

The machine knows the stages only by number, their tasks, and which must be done before which. It
holds no tensors, calls nobody, reads no clock and takes no lock. ``step.py`` is the shell that
executes its instructions. Every step goes through it::

    assert machine.handle(StageDone(0)) == [RunStage(1)]

The phases of a step::

    CREATED -- Started --> RUNNING -- all stages done ------------> ENDED
                              |-- a stage failed --> FAILING -----> ENDED   (answers when all stop)
                              '-- cancelled -------> ABANDONED ---> ENDED   (has answered already)

The rules:

* ``_TRANSITIONS`` says which event is legal in which phase. Any other raises IllegalTransition,
  whose message is the step's ``story``.
* Every step says Finish once, and EndStep once for every task that it sent a stage to.
* A stage runs once. It is RUNNING until its worker reports or is lost; a lost worker may still
  report, and that changes nothing.
* A failed step first waits until all of its stages have stopped, so that a client that tries again
  meets no leftovers of it. A cancelled one answers at once: its client does not wait any more.
* The first error is the step's error. Errors that follow from cancelling the rest do not count.

Recovery will go here: instead of failing the step, ``_worker_lost`` puts the lost task's stages
(and those whose outputs it held) back to WAITING, and another event, that the task is back with its
state replayed, runs them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from flowray.proto import errors


class Phase(Enum):
    """The phase of a step; see the module's docstring."""

    __hash__ = object.__hash__  # an Enum's own hash is a call of Python, which every event pays

    CREATED = "created"
    RUNNING = "running"
    FAILING = "failing"
    ABANDONED = "abandoned"
    ENDED = "ended"


class StageStatus(Enum):
    """The status of a stage. The worker of a LOST one is gone, and may still report on it."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


# Events


@dataclass(frozen=True, slots=True)
class Started:
    """The step begins."""


@dataclass(frozen=True, slots=True)
class StageDone:
    """A worker ran the stage."""

    stage: int


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A worker could not run the stage."""

    stage: int
    error: errors.OpError


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A task is gone, with all that it held."""

    task: str
    error: errors.OpError


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client, or the end of its session, wants no result."""

    error: errors.OpError


@dataclass(frozen=True, slots=True)
class DeadlineExceeded:
    """The step's time is up."""


Event = Started | StageDone | StageFailed | WorkerLost | Cancelled | DeadlineExceeded

# Instructions


@dataclass(frozen=True, slots=True)
class RunStage:
    """Send the stage to its task."""

    stage: int


@dataclass(frozen=True, slots=True)
class CancelStages:
    """Stop what the task does for the step."""

    task: str


@dataclass(frozen=True, slots=True)
class EndStep:
    """Let the task drop what it holds for the step; nothing of it runs any more."""

    task: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Answer the client: with the fetched values, or with an error."""

    error: errors.OpError | None = None


Instruction = RunStage | CancelStages | EndStep | Finish

_SUCCESS: Final = Finish()


class IllegalTransition(Exception):  # noqa: N818 - not an error of a client
    """An event that cannot happen now; the message has the step's history."""


class StageOrder:
    """The data of all steps of a plan: stage ``i`` runs on ``tasks[i]`` after ``after[i]``.

    It is worked out once, with the events and instructions of a step that goes well: a step of one
    stage, which most are, then costs little more than two look-ups.
    """

    __slots__ = (
        "done",
        "followers",
        "missing",
        "run",
        "start",
        "started",
        "success",
        "tasks",
        "waiting",
    )

    def __init__(self, tasks: Sequence[str], after: Sequence[Sequence[int]]) -> None:
        self.tasks = tuple(tasks)
        self.missing = [len(others) for others in after]
        """For each stage, how many must be done before it."""
        self.followers: list[list[int]] = [[] for _ in tasks]
        """For each stage, those that wait for it."""
        for stage, others in enumerate(after):
            for other in others:
                self.followers[other].append(stage)
        self.run = [RunStage(stage) for stage in range(len(self.tasks))]
        self.done = [StageDone(stage) for stage in range(len(self.tasks))]
        first = [stage for stage, missing in enumerate(self.missing) if missing == 0]
        self.start: list[Instruction] = [self.run[stage] for stage in first]
        """The first instructions of a step."""
        self.waiting = [StageStatus.WAITING] * len(self.tasks)
        self.started = [StageStatus.WAITING if n else StageStatus.RUNNING for n in self.missing]
        """The status of each stage before a step starts, and right after."""
        self.success: list[Instruction] = [_SUCCESS, *map(EndStep, dict.fromkeys(self.tasks))]
        """The last instructions of a step that went well."""


class StepState:
    """One step of a plan."""

    __slots__ = ("_error", "_left", "_missing", "_order", "_running", "_status", "history", "phase")

    def __init__(self, order: StageOrder) -> None:
        self.phase = Phase.CREATED
        self.history: list[Event] = []
        """The events so far."""
        self._order = order
        self._status = order.waiting.copy()
        self._missing = order.missing.copy()
        self._error: errors.OpError | None = None
        self._running = 0
        self._left = len(order.tasks)

    @property
    def has_ended(self) -> bool:
        """True if the step was answered and nothing of it runs any more."""
        return self.phase is Phase.ENDED

    def status(self, stage: int) -> StageStatus:
        """Returns the status of a stage."""
        return self._status[stage]

    def handle(self, event: Event) -> list[Instruction]:
        """Takes an event in; returns what to do, in order.

        Raises:
            IllegalTransition: the event cannot happen now.
        """
        self.history.append(event)
        transition = _TRANSITIONS.get((self.phase, type(event)))
        if transition is None:
            raise self._illegal(event)
        return transition(self, event)

    def story(self) -> str:
        """Returns the step's phase, its stages and all events so far, for errors and logs."""
        stages = ", ".join(status.value for status in self._status)
        told = "".join(f"\n  {event}" for event in self.history)
        return f"in phase {self.phase.value} with stages [{stages}]; its history:{told}"

    # What the events do; _TRANSITIONS says when.

    def _start(self, event: Event) -> list[Instruction]:
        self.phase = Phase.RUNNING
        order = self._order
        if not order.tasks:
            return self._end(_SUCCESS)
        self._status = order.started.copy()
        self._running = len(order.start)
        return order.start.copy()

    def _stage_done(self, event: Event) -> list[Instruction]:
        assert isinstance(event, StageDone)
        if not self._stop(event, event.stage, StageStatus.DONE):
            return []
        self._left -= 1
        if self._left == 0:
            self.phase = Phase.ENDED
            return self._order.success.copy()
        ready: list[Instruction] = []
        for follower in self._order.followers[event.stage]:
            self._missing[follower] -= 1
            if self._missing[follower] == 0:
                ready.append(self._run(follower))
        return ready

    def _stage_failed(self, event: Event) -> list[Instruction]:
        assert isinstance(event, StageFailed)
        self._stop(event, event.stage, StageStatus.FAILED)
        return self._fail(event.error)

    def _worker_lost(self, event: Event) -> list[Instruction]:
        assert isinstance(event, WorkerLost)
        return self._fail(event.error) if self._lose(event.task) else []

    def _drained(self, event: Event) -> list[Instruction]:
        """Handles the end of a stage of a failed or abandoned step."""
        match event:
            case StageDone(stage):
                self._stop(event, stage, StageStatus.DONE)
            case StageFailed(stage, _):
                self._stop(event, stage, StageStatus.FAILED)
            case WorkerLost(task, _):
                self._lose(task)
        if self._running:
            return []
        return self._end(Finish(self._error) if self.phase is Phase.FAILING else None)

    def _abandon(self, event: Event) -> list[Instruction]:
        if self._error is None:
            self._error = (
                event.error
                if isinstance(event, Cancelled)
                else errors.deadline_exceeded("Deadline Exceeded")
            )
        cancel = [] if self.phase is Phase.FAILING else self._cancel()
        self.phase = Phase.ABANDONED
        answer: list[Instruction] = [*cancel, Finish(self._error)]
        return answer if self._running else [*answer, *self._end(None)]

    def _ignore(self, event: Event) -> list[Instruction]:
        return []

    def _start_late(self, event: Event) -> list[Instruction]:
        """Handles the start of a step that was cancelled, or lost a worker, before."""
        if self.history.count(event) > 1:
            raise self._illegal(event)
        return []

    def _late(self, event: Event) -> list[Instruction]:
        """Handles events after the end: only a lost worker's stages may still be reported."""
        assert isinstance(event, StageDone | StageFailed)
        if self._status[event.stage] is not StageStatus.LOST:
            raise self._illegal(event)
        return []

    # Their parts

    def _run(self, stage: int) -> RunStage:
        self._status[stage] = StageStatus.RUNNING
        self._running += 1
        return self._order.run[stage]

    def _stop(self, event: Event, stage: int, status: StageStatus) -> bool:
        """Marks a stage as ended; False if it was given up before."""
        if self._status[stage] is StageStatus.LOST:
            return False
        if self._status[stage] is not StageStatus.RUNNING:
            raise self._illegal(event)
        self._status[stage] = status
        self._running -= 1
        return True

    def _lose(self, task: str) -> bool:
        """Gives up the task's stages; False if they were all done."""
        lost = False
        for stage, status in enumerate(self._status):
            if self._order.tasks[stage] != task or status is StageStatus.DONE:
                continue
            lost = True
            if status is StageStatus.RUNNING:
                self._running -= 1
                self._status[stage] = StageStatus.LOST
        return lost

    def _fail(self, error: errors.OpError) -> list[Instruction]:
        self._error = error
        if self._running == 0:
            return self._end(Finish(error))
        self.phase = Phase.FAILING
        return self._cancel()

    def _cancel(self) -> list[Instruction]:
        running = (
            task
            for task, status in zip(self._order.tasks, self._status, strict=True)
            if status is StageStatus.RUNNING
        )
        return [CancelStages(task) for task in dict.fromkeys(running)]

    def _end(self, answer: Finish | None) -> list[Instruction]:
        self.phase = Phase.ENDED
        touched = (
            task
            for task, status in zip(self._order.tasks, self._status, strict=True)
            if status is not StageStatus.WAITING
        )
        ends: list[Instruction] = [EndStep(task) for task in dict.fromkeys(touched)]
        # The answer comes first: the client need not wait for the workers' cleaning up.
        return ends if answer is None else [answer, *ends]

    def _illegal(self, event: Event) -> IllegalTransition:
        return IllegalTransition(f"{event} {self.story()}")


_Handler = Callable[[StepState, Event], list[Instruction]]

_TRANSITIONS: Final[dict[tuple[Phase, type[Event]], _Handler]] = {
    (Phase.CREATED, Started): StepState._start,
    (Phase.CREATED, WorkerLost): StepState._worker_lost,
    (Phase.CREATED, Cancelled): StepState._abandon,
    (Phase.CREATED, DeadlineExceeded): StepState._abandon,
    (Phase.RUNNING, StageDone): StepState._stage_done,
    (Phase.RUNNING, StageFailed): StepState._stage_failed,
    (Phase.RUNNING, WorkerLost): StepState._worker_lost,
    (Phase.RUNNING, Cancelled): StepState._abandon,
    (Phase.RUNNING, DeadlineExceeded): StepState._abandon,
    (Phase.FAILING, StageDone): StepState._drained,
    (Phase.FAILING, StageFailed): StepState._drained,
    (Phase.FAILING, WorkerLost): StepState._drained,
    (Phase.FAILING, Cancelled): StepState._abandon,
    (Phase.FAILING, DeadlineExceeded): StepState._abandon,
    (Phase.ABANDONED, StageDone): StepState._drained,
    (Phase.ABANDONED, StageFailed): StepState._drained,
    (Phase.ABANDONED, WorkerLost): StepState._drained,
    (Phase.ABANDONED, Cancelled): StepState._ignore,
    (Phase.ABANDONED, DeadlineExceeded): StepState._ignore,
    (Phase.ENDED, Started): StepState._start_late,
    (Phase.ENDED, StageDone): StepState._late,
    (Phase.ENDED, StageFailed): StepState._late,
    (Phase.ENDED, WorkerLost): StepState._ignore,
    (Phase.ENDED, Cancelled): StepState._ignore,
    (Phase.ENDED, DeadlineExceeded): StepState._ignore,
}
"""The legal events of each phase; all others raise IllegalTransition."""
