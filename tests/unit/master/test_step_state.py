from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from flowray.master import step_state
from flowray.master.step_state import (
    Cancelled,
    CancelStages,
    DeadlineExceeded,
    EndStep,
    Event,
    Finish,
    IllegalTransition,
    Instruction,
    Phase,
    RunStage,
    StageDone,
    StageFailed,
    StageOrder,
    StageStatus,
    Started,
    StepState,
    WorkerLost,
)
from flowray.proto import errors

BAD = errors.invalid_argument("bad", node="n")
WORSE = errors.internal("worse")
GONE = errors.unavailable("From /job:b: gone")
STOP = errors.cancelled("stop")
EVENTS: tuple[Event, ...] = (
    Started(), StageDone(0), StageFailed(0, BAD), WorkerLost("a", GONE), Cancelled(STOP),
    DeadlineExceeded(),
)  # fmt: skip


def step_of(tasks: Sequence[str], after: Sequence[Sequence[int]]) -> StepState:
    """The machine of a step: stage i runs on tasks[i] when the stages after[i] are done."""
    return StepState(StageOrder(tasks, after))


def one_stage() -> StepState:
    return step_of(["a"], [()])


def chain() -> StepState:
    """Stage 0 on a, stage 1 on b, stage 2 on a."""
    return step_of(["a", "b", "a"], [(), (0,), (1,)])


def two_at_once() -> StepState:
    """Stages 0 and 1 run at the same time on a and b; stage 2 on c needs both."""
    return step_of(["a", "b", "c"], [(), (), (0, 1)])


def in_phase(phase: Phase) -> StepState:
    """A machine of one stage that is brought to ``phase``."""
    match phase:
        case Phase.CREATED:
            return one_stage()
        case Phase.RUNNING:
            events: Sequence[Event] = [Started()]
            machine = one_stage()
        case Phase.FAILING:
            events = [Started(), StageFailed(1, WORSE)]
            machine = step_of(["a", "b"], [(), ()])
        case Phase.ABANDONED:
            events = [Started(), Cancelled(STOP)]
            machine = one_stage()
        case Phase.ENDED:
            events = [Started(), StageDone(0)]
            machine = one_stage()
    for event in events:
        machine.handle(event)
    assert machine.phase is phase
    return machine


# Ways through


def test_a_step_of_one_stage() -> None:
    machine = one_stage()
    assert machine.handle(Started()) == [RunStage(0)]
    assert machine.status(0) is StageStatus.RUNNING
    assert not machine.has_ended
    # The answer comes first: the client need not wait for the worker.
    assert machine.handle(StageDone(0)) == [Finish(), EndStep("a")]
    assert machine.has_ended
    assert machine.status(0) is StageStatus.DONE


def test_a_step_of_nothing() -> None:
    machine = step_of([], [])
    assert machine.handle(Started()) == [Finish()]
    assert machine.has_ended


def test_stages_follow_each_other() -> None:
    machine = chain()
    assert machine.handle(Started()) == [RunStage(0)]
    assert machine.handle(StageDone(0)) == [RunStage(1)]
    assert machine.handle(StageDone(1)) == [RunStage(2)]
    assert machine.handle(StageDone(2)) == [Finish(), EndStep("a"), EndStep("b")]


def test_a_stage_waits_for_all_before_it() -> None:
    machine = two_at_once()
    assert machine.handle(Started()) == [RunStage(0), RunStage(1)]
    assert machine.handle(StageDone(1)) == []
    assert machine.handle(StageDone(0)) == [RunStage(2)]


def test_one_stage_makes_several_ready() -> None:
    machine = step_of(["a", "b", "c"], [(), (0,), (0,)])
    machine.handle(Started())
    assert machine.handle(StageDone(0)) == [RunStage(1), RunStage(2)]


# Failures


def test_a_failed_stage_ends_the_step() -> None:
    machine = chain()
    machine.handle(Started())
    assert machine.handle(StageFailed(0, BAD)) == [Finish(BAD), EndStep("a")]
    assert machine.has_ended
    assert [machine.status(i) for i in range(3)] == [
        StageStatus.FAILED, StageStatus.WAITING, StageStatus.WAITING,
    ]  # fmt: skip


def test_a_failed_step_answers_when_all_of_it_has_stopped() -> None:
    machine = two_at_once()
    machine.handle(Started())
    assert machine.handle(StageFailed(0, BAD)) == [CancelStages("b")]
    assert machine.phase is Phase.FAILING
    # The error of the cancelled stage does not count: the first error is the step's.
    assert machine.handle(StageFailed(1, STOP)) == [Finish(BAD), EndStep("a"), EndStep("b")]


def test_a_stage_that_was_quicker_than_its_cancellation() -> None:
    machine = two_at_once()
    machine.handle(Started())
    machine.handle(StageFailed(1, BAD))
    assert machine.handle(StageDone(0)) == [Finish(BAD), EndStep("a"), EndStep("b")]


def test_a_task_is_told_once_to_cancel() -> None:
    machine = step_of(["a", "b", "b"], [(), (), ()])
    machine.handle(Started())
    assert machine.handle(StageFailed(0, BAD)) == [CancelStages("b")]
    assert machine.handle(StageDone(1)) == []
    assert machine.handle(StageFailed(2, STOP)) == [Finish(BAD), EndStep("a"), EndStep("b")]


# The client gives up


def test_a_cancelled_step_answers_at_once_and_ends_when_all_of_it_has_stopped() -> None:
    machine = two_at_once()
    machine.handle(Started())
    assert machine.handle(Cancelled(STOP)) == [CancelStages("a"), CancelStages("b"), Finish(STOP)]
    assert machine.phase is Phase.ABANDONED
    assert machine.handle(StageDone(0)) == []
    assert machine.handle(StageFailed(1, STOP)) == [EndStep("a"), EndStep("b")]
    assert machine.has_ended


def test_a_deadline() -> None:
    machine = one_stage()
    machine.handle(Started())
    cancel, finish = machine.handle(DeadlineExceeded())
    assert cancel == CancelStages("a")
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, errors.DeadlineExceededError)
    assert finish.error.message == "Deadline Exceeded"
    assert machine.handle(StageFailed(0, STOP)) == [EndStep("a")]


@pytest.mark.parametrize(
    ("event", "error"), [(Cancelled(STOP), STOP), (WorkerLost("a", GONE), GONE)]
)
def test_a_step_that_is_over_before_it_starts(event: Event, error: errors.OpError) -> None:
    machine = one_stage()
    assert machine.handle(event) == [Finish(error)]
    assert machine.has_ended
    assert machine.handle(Started()) == []
    with pytest.raises(IllegalTransition):
        machine.handle(Started())


def test_a_worker_that_the_step_does_not_need_is_lost_before_it_starts() -> None:
    machine = one_stage()
    assert machine.handle(WorkerLost("b", GONE)) == []
    assert machine.handle(Started()) == [RunStage(0)]


def test_a_failing_step_that_is_cancelled_answers_its_first_error() -> None:
    machine = two_at_once()
    machine.handle(Started())
    machine.handle(StageFailed(0, BAD))
    assert machine.handle(Cancelled(STOP)) == [Finish(BAD)]
    assert machine.handle(StageFailed(1, STOP)) == [EndStep("a"), EndStep("b")]


def test_only_the_first_cancellation_is_answered() -> None:
    machine = one_stage()
    machine.handle(Started())
    machine.handle(Cancelled(STOP))
    assert machine.handle(Cancelled(STOP)) == []
    assert machine.handle(DeadlineExceeded()) == []
    machine.handle(StageDone(0))
    assert machine.handle(Cancelled(STOP)) == []
    assert machine.handle(DeadlineExceeded()) == []


# Workers die


def test_a_lost_worker_fails_the_step() -> None:
    machine = two_at_once()
    machine.handle(Started())
    assert machine.handle(WorkerLost("b", GONE)) == [CancelStages("a")]
    assert machine.status(1) is StageStatus.LOST
    assert machine.handle(StageFailed(0, STOP)) == [Finish(GONE), EndStep("a"), EndStep("b")]


def test_a_worker_lost_before_its_stage_came() -> None:
    """The step fails at once, and not when the stage would run."""
    machine = chain()
    machine.handle(Started())
    assert machine.handle(WorkerLost("b", GONE)) == [CancelStages("a")]
    assert machine.handle(StageDone(0)) == [Finish(GONE), EndStep("a")]


def test_a_lost_worker_that_the_step_does_not_need_any_more() -> None:
    machine = step_of(["a", "b"], [(), (0,)])
    machine.handle(Started())
    machine.handle(StageDone(0))
    assert machine.handle(WorkerLost("a", GONE)) == []
    assert machine.handle(WorkerLost("elsewhere", GONE)) == []
    assert machine.handle(StageDone(1)) == [Finish(), EndStep("a"), EndStep("b")]


def test_a_lost_worker_may_still_report() -> None:
    machine = two_at_once()
    machine.handle(Started())
    machine.handle(WorkerLost("b", GONE))
    assert machine.handle(StageFailed(1, GONE)) == []
    assert machine.handle(StageDone(0)) == [Finish(GONE), EndStep("a"), EndStep("b")]
    assert machine.handle(StageFailed(1, GONE)) == []
    assert machine.handle(StageDone(1)) == []


def test_all_workers_of_a_cancelled_step_are_lost() -> None:
    machine = two_at_once()
    machine.handle(Started())
    machine.handle(Cancelled(STOP))
    assert machine.handle(WorkerLost("a", GONE)) == []
    assert machine.handle(WorkerLost("b", GONE)) == [EndStep("a"), EndStep("b")]
    assert machine.handle(WorkerLost("b", GONE)) == []


def test_the_other_worker_of_a_failing_step_is_lost() -> None:
    machine = two_at_once()
    machine.handle(Started())
    machine.handle(StageFailed(0, BAD))
    assert machine.handle(WorkerLost("b", GONE)) == [Finish(BAD), EndStep("a"), EndStep("b")]


# What cannot be


def test_the_table_has_every_transition_of_this_test() -> None:
    legal = {
        Phase.CREATED: {Started, WorkerLost, Cancelled, DeadlineExceeded},
        Phase.RUNNING: {type(e) for e in EVENTS} - {Started},
        Phase.FAILING: {type(e) for e in EVENTS} - {Started},
        Phase.ABANDONED: {type(e) for e in EVENTS} - {Started},
        Phase.ENDED: {type(e) for e in EVENTS},
    }
    expected = {(phase, event) for phase, events in legal.items() for event in events}
    assert set(step_state._TRANSITIONS) == expected


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("phase", Phase, ids=lambda p: p.value)
def test_every_event_in_every_phase(phase: Phase, event: Event) -> None:
    machine = in_phase(phase)
    told = list(machine.history)
    known = (phase, type(event)) in step_state._TRANSITIONS
    # A step that ran to its end has begun once, and each of its stages has ended once.
    twice = phase is Phase.ENDED and isinstance(event, Started | StageDone | StageFailed)
    if known and not twice:
        machine.handle(event)
        assert machine.history == [*told, event]
        return
    with pytest.raises(IllegalTransition) as info:
        machine.handle(event)
    message = str(info.value)
    assert message.startswith(f"{event} in phase {phase.value} with stages [")
    for earlier in [*told, event]:
        assert f"\n  {earlier}" in message


@pytest.mark.parametrize("event", [StageDone(1), StageFailed(1, BAD)], ids=["done", "failed"])
def test_a_stage_that_does_not_run_cannot_end(event: Event) -> None:
    machine = chain()
    machine.handle(Started())
    with pytest.raises(IllegalTransition) as info:
        machine.handle(event)
    assert str(info.value) == (
        f"{event} in phase running with stages [running, waiting, waiting]; its history:\n"
        f"  Started()\n  {event}"
    )


def test_a_stage_ends_once() -> None:
    machine = two_at_once()
    machine.handle(Started())
    machine.handle(StageDone(0))
    with pytest.raises(IllegalTransition, match=r"with stages \[done, running, waiting\]"):
        machine.handle(StageDone(0))


def test_a_story_tells_all_that_happened() -> None:
    machine = chain()
    machine.handle(Started())
    machine.handle(StageDone(0))
    machine.handle(Cancelled(STOP))
    assert machine.story() == (
        "in phase abandoned with stages [done, running, waiting]; its history:\n"
        f"  Started()\n  StageDone(stage=0)\n  {Cancelled(STOP)}"
    )


# Whatever happens


def test_every_step_is_answered_once_and_ended_once() -> None:
    """Random stages and random legal events: one answer, and one end on each task that ran."""
    rng = random.Random(5)
    for _ in range(2000):
        machine, tasks = _random_machine(rng)
        given: list[Instruction] = []
        given += machine.handle(Started())
        lost: set[str] = set()
        for _ in range(100):
            if machine.has_ended:
                break
            running = [i for i in range(len(tasks)) if machine.status(i) is StageStatus.RUNNING]
            choices: list[Event] = [StageDone(i) for i in running] * 6
            choices += [StageFailed(i, BAD) for i in running]
            choices += [WorkerLost(t, GONE) for t in set(tasks)]
            choices += [Cancelled(STOP), DeadlineExceeded()]
            event = rng.choice(choices)
            if isinstance(event, WorkerLost):
                lost.add(event.task)
            given += machine.handle(event)
        assert machine.has_ended
        finishes = [i for i in given if isinstance(i, Finish)]
        assert len(finishes) == 1
        started = [i.stage for i in given if isinstance(i, RunStage)]
        assert len(set(started)) == len(started)
        ends = [i.task for i in given if isinstance(i, EndStep)]
        assert sorted(ends) == sorted({tasks[i] for i in started})
        if finishes[0].error is None:
            assert sorted(started) == list(range(len(tasks)))


def _random_machine(rng: random.Random) -> tuple[StepState, list[str]]:
    count = rng.randint(1, 6)
    tasks = [rng.choice("abc") for _ in range(count)]
    after = [tuple(sorted(rng.sample(range(i), rng.randint(0, min(i, 2))))) for i in range(count)]
    return step_of(tasks, after), tasks
