"""What happens in a step: a pure state machine, events in, instructions out.

It knows the stages only by number, their tasks, and which must be done before which; it holds no
tensors and talks to nobody. ``step.py`` is the shell that does what it says::

    assert machine.handle(StageDone(0)) == [RunStage(1)]

The phases of a step::

    CREATED -- Started --> RUNNING -- all stages done ------------> ENDED
                              |-- a stage failed --> FAILING -----> ENDED   (answers when all stop)
                              '-- cancelled -------> ABANDONED ---> ENDED   (has answered already)

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
    """Where a step is; see the module's docstring."""

    CREATED = "created"
    RUNNING = "running"
    FAILING = "failing"
    ABANDONED = "abandoned"
    ENDED = "ended"


class StageStatus(Enum):
    """Where a stage is. A LOST one was given up with its worker, which may still report on it."""

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


class IllegalTransition(Exception):  # noqa: N818 - not an error of a client
    """An event that cannot happen now; the message has the step's history."""


class StepState:
    """One step: stage ``i`` runs on ``tasks[i]`` when the stages ``after[i]`` are done."""

    def __init__(self, tasks: Sequence[str], after: Sequence[Sequence[int]]) -> None:
        self.phase = Phase.CREATED
        self.history: list[Event] = []
        self._tasks = tasks
        self._status = [StageStatus.WAITING] * len(tasks)
        self._missing = [len(a) for a in after]
        self._followers: list[list[int]] = [[] for _ in tasks]
        for stage, others in enumerate(after):
            for other in others:
                self._followers[other].append(stage)
        self._error: errors.OpError | None = None
        self._running = 0
        self._left = len(tasks)

    @property
    def has_ended(self) -> bool:
        """Whether it was answered and nothing of it runs any more."""
        return self.phase is Phase.ENDED

    def status(self, stage: int) -> StageStatus:
        return self._status[stage]

    def handle(self, event: Event) -> list[Instruction]:
        """Takes in an event and says what to do, in order.

        Raises:
            IllegalTransition: the event cannot happen now.
        """
        self.history.append(event)
        transition = _TRANSITIONS.get((self.phase, type(event)))
        if transition is None:
            raise self._illegal(event)
        return transition(self, event)

    # What the events do; _TRANSITIONS says when.

    def _start(self, event: Event) -> list[Instruction]:
        self.phase = Phase.RUNNING
        if not self._tasks:
            return self._end(Finish())
        return [self._run(i) for i, missing in enumerate(self._missing) if missing == 0]

    def _stage_done(self, event: Event) -> list[Instruction]:
        assert isinstance(event, StageDone)
        if not self._stop(event, event.stage, StageStatus.DONE):
            return []
        self._left -= 1
        if self._left == 0:
            return self._end(Finish())
        ready: list[Instruction] = []
        for follower in self._followers[event.stage]:
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
        """A stage of a failed or abandoned step came to its end."""
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
        """It was over before it could begin."""
        if self.history.count(event) > 1:
            raise self._illegal(event)
        return []

    def _late(self, event: Event) -> list[Instruction]:
        """After the end, only a lost worker's stages may still be reported."""
        assert isinstance(event, StageDone | StageFailed)
        if self._status[event.stage] is not StageStatus.LOST:
            raise self._illegal(event)
        return []

    # Their parts

    def _run(self, stage: int) -> RunStage:
        self._status[stage] = StageStatus.RUNNING
        self._running += 1
        return RunStage(stage)

    def _stop(self, event: Event, stage: int, status: StageStatus) -> bool:
        """False if the stage was given up before."""
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
            if self._tasks[stage] != task or status is StageStatus.DONE:
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
            for task, status in zip(self._tasks, self._status, strict=True)
            if status is StageStatus.RUNNING
        )
        return [CancelStages(task) for task in dict.fromkeys(running)]

    def _end(self, answer: Finish | None) -> list[Instruction]:
        self.phase = Phase.ENDED
        touched = (
            task
            for task, status in zip(self._tasks, self._status, strict=True)
            if status is not StageStatus.WAITING
        )
        ends: list[Instruction] = [EndStep(task) for task in dict.fromkeys(touched)]
        # The answer comes first: values left on a worker are fetched before they are dropped.
        return ends if answer is None else [answer, *ends]

    def _illegal(self, event: Event) -> IllegalTransition:
        told = "\n".join(f"  {e}" for e in self.history)
        stages = ", ".join(s.value for s in self._status)
        return IllegalTransition(
            f"{event} in phase {self.phase.value} with stages [{stages}]; its history:\n{told}"
        )


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
"""All that can happen. What is not here raises IllegalTransition."""
