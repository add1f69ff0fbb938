"""The tiering policy: tables of events, each with the decision that must follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from flowray.worker.execution.tiering import (
    PIPELINES,
    STEPS,
    Comparison,
    Compile,
    Decision,
    Interpret,
    Run,
    SegmentHistory,
    Tier,
    Tiering,
    TieringOptions,
    Wait,
)

Event = Callable[[Tiering], None]
Row = tuple[Event, Decision]

US, MS = 1e-6, 1e-3
INTERPRET, RUN, COMPILE = Interpret(), Run(), Compile(in_background=True)
COMPILE_NOW = Compile(in_background=False)

compiling, failed, discarded = Tiering.compiling, Tiering.failed, Tiering.discarded


def nothing(tiering: Tiering) -> None:
    """No event: the decision for a new key."""


def interpreted(seconds: float, times: int = 1) -> Event:
    return lambda tiering: [tiering.ran(Tier.INTERPRETED, seconds) for _ in range(times)] and None


def ran(seconds: float, times: int = 1) -> Event:
    return lambda tiering: [tiering.ran(Tier.COMPILED, seconds) for _ in range(times)] and None


def compiled(tiering: Tiering) -> None:
    tiering.compiled(0.5)


def waited(seconds: float) -> Event:
    return lambda tiering: tiering.waited(seconds)


def interpreted_elsewhere(seconds: float, times: int) -> Event:
    """Runs of other keys of the segment."""

    def event(tiering: Tiering) -> None:
        other = tiering._history.add_key()
        assert other is not None
        for _ in range(times):
            other.ran(Tier.INTERPRETED, seconds)

    return event


NEVER = replace(STEPS, mode="never")
EAGER = replace(STEPS, mode="eager")
PLAIN = replace(STEPS, comparison=None)
COMPARED = replace(STEPS, comparison=Comparison(runs=2, least_gain=1.0, in_doubt_only=True))
IN_TURNS = replace(PIPELINES, comparison=Comparison(runs=2, least_gain=1.2, repeat_after=3))

TABLES: dict[str, tuple[TieringOptions, Sequence[Row]]] = {
    "never: nothing is compiled": (NEVER, [
        (nothing, INTERPRET),
        (interpreted(9.0, times=100), INTERPRET),
    ]),
    "eager: compiled before the first run, and never compared": (replace(PIPELINES, mode="eager"), [
        (nothing, COMPILE_NOW),
        (compiling, Wait(math.inf)),
        (compiled, RUN),
        (ran(9.0, times=600), RUN),
    ]),
    "eager: what XLA cannot compile is interpreted": (EAGER, [
        (compiling, Wait(math.inf)),
        (failed, INTERPRET),
        (interpreted(9.0, times=9), INTERPRET),
    ]),
    "eager: a compilation that was broken off begins again": (EAGER, [
        (compiling, Wait(math.inf)),
        (discarded, COMPILE_NOW),
    ]),
    "steps: work done once is interpreted, the second run compiles": (STEPS, [
        (nothing, INTERPRET),
        (interpreted(1 * MS), INTERPRET),
        (interpreted(1 * MS), COMPILE),
        (compiling, INTERPRET),
        (interpreted(1 * MS), INTERPRET),
        (compiled, RUN),
    ]),
    "steps: one expensive run is enough": (STEPS, [
        (interpreted(5 * MS), INTERPRET),
    ]),
    "steps: one expensive run is enough, longer": (STEPS, [
        (interpreted(6 * MS), COMPILE),
    ]),
    "steps: a cheap segment stays interpreted, whatever its other runs take": (STEPS, [
        (interpreted(90 * MS), COMPILE),
        (interpreted(100 * US), INTERPRET),
        (interpreted(90 * MS, times=100), INTERPRET),
    ]),
    "steps: a new key of a slow segment compiles at its first run": (STEPS, [
        (nothing, INTERPRET),
        (interpreted_elsewhere(1 * MS, times=2), COMPILE),
    ]),
    "steps: a long run waits, as long as the segment has patience": (STEPS, [
        (interpreted(20 * MS), COMPILE),
        (compiling, Wait(1.0)),
        (waited(0.25), Wait(0.75)),
        (waited(0.75), INTERPRET),
        (interpreted(20 * MS), INTERPRET),
        (compiled, RUN),
    ]),
    "steps: a wait that saves an interpreted run costs only what it took longer": (STEPS, [
        (interpreted(400 * MS), COMPILE),
        (compiling, Wait(1.0)),
        (compiled, RUN),
        (waited(0.5), RUN),
        (discarded, COMPILE),
        (compiling, Wait(0.9)),
        (compiled, RUN),
        (waited(0.25), RUN),
        (discarded, COMPILE),
        (compiling, Wait(0.9)),
    ]),
    "steps: a short run does not wait": (STEPS, [
        (interpreted(19 * MS), COMPILE),
        (compiling, INTERPRET),
    ]),
    "a program that met what it has no capacity for is compiled anew": (PLAIN, [
        (interpreted(6 * MS), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (discarded, COMPILE),
        (interpreted(6 * MS), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
    ]),
    "a failure is final": (STEPS, [
        (interpreted(6 * MS), COMPILE),
        (compiling, INTERPRET),
        (failed, INTERPRET),
        (interpreted(6 * MS, times=100), INTERPRET),
    ]),
    "without a comparison the program stays": (PLAIN, [
        (interpreted(1 * MS, times=2), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (ran(9.0, times=600), RUN),
    ]),
    "in doubt only: a program that is clearly faster takes no turns": (COMPARED, [
        (interpreted(1 * MS, times=2), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (ran(0.9 * MS), RUN),
        (ran(0.9 * MS), RUN),
        (ran(9 * MS, times=600), RUN),
    ]),
    "in doubt only: a program that seems slower takes turns, and may win": (COMPARED, [
        (interpreted(1 * MS, times=2), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (ran(2 * MS), RUN),
        (ran(2 * MS), INTERPRET),
        (interpreted(3 * MS), INTERPRET),
        (interpreted(3 * MS), RUN),
        (ran(9 * MS, times=600), RUN),
    ]),
    "in doubt only: a program that is slower goes for good": (COMPARED, [
        (interpreted(1 * MS, times=2), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (ran(2 * MS, times=2), INTERPRET),
        (interpreted(1 * MS), INTERPRET),
        (interpreted(1 * MS), INTERPRET),
        (interpreted(90 * MS, times=600), INTERPRET),
    ]),
    "in doubt only: a key that was never interpreted is not": (COMPARED, [
        (interpreted_elsewhere(1 * MS, times=2), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (ran(90 * MS, times=600), RUN),
    ]),
    "pipelines: three slow runs compile": (PIPELINES, [
        (nothing, INTERPRET),
        (interpreted(9 * MS), INTERPRET),
        (interpreted(9 * MS), INTERPRET),
        (interpreted(9 * MS), COMPILE),
    ]),
    "pipelines: cheap runs do not count until enough are judged": (PIPELINES, [
        (interpreted(150 * US, times=9), INTERPRET),
        (interpreted(151 * US, times=2), INTERPRET),
        (interpreted(151 * US), COMPILE),
    ]),
    "pipelines: a segment that was cheap once in sixteen runs stays interpreted": (PIPELINES, [
        (interpreted(150 * US), INTERPRET),
        (interpreted(151 * US, times=14), COMPILE),
        (interpreted(151 * US), INTERPRET),
    ]),
    "pipelines: no run waits": (PIPELINES, [
        (interpreted(9.0, times=3), COMPILE),
        (compiling, INTERPRET),
    ]),
    "pipelines: a rare key gets no program": (PIPELINES, [
        (interpreted_elsewhere(9 * MS, times=61), INTERPRET),
        (interpreted(9 * MS, times=7), INTERPRET),  # of 68 slow runs
        (interpreted(9 * MS), COMPILE),  # an eighth of 69
        (interpreted_elsewhere(9 * MS, times=3), INTERPRET),  # of 72
    ]),
    "pipelines: a segment gives up after many runs without a program": (PIPELINES, [
        (interpreted_elsewhere(9 * MS, times=100), INTERPRET),
        (interpreted(9 * MS, times=15), COMPILE),
        (interpreted(9 * MS, times=13), INTERPRET),
    ]),
    "pipelines: the tiers take turns, and a slower program goes for good": (IN_TURNS, [
        (interpreted(9 * MS, times=3), COMPILE),
        (compiling, INTERPRET),
        (interpreted(1 * MS), INTERPRET),  # not counted: it competed with the compiler
        (compiled, RUN),
        (ran(9 * MS), INTERPRET),
        (interpreted(10 * MS), RUN),
        (ran(9 * MS), INTERPRET),
        (interpreted(10 * MS), INTERPRET),  # not faster by a fifth
        (interpreted(9.0, times=600), INTERPRET),
    ]),
    "pipelines: a faster program stays, and is compared again later": (IN_TURNS, [
        (interpreted(9 * MS, times=3), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (ran(1 * MS), INTERPRET),
        (interpreted(2 * MS), RUN),
        (ran(1 * MS), INTERPRET),
        (interpreted(2 * MS), RUN),
        (ran(1 * MS, times=2), RUN),
        (ran(1 * MS), RUN),
        (ran(1 * MS), INTERPRET),
        (interpreted(1 * MS), RUN),
        (ran(1 * MS), INTERPRET),
        (interpreted(1 * MS), INTERPRET),
    ]),
    "pipelines: threads that run the program at once leave the interpreter its turns": (IN_TURNS, [
        (interpreted(9 * MS, times=3), COMPILE),
        (compiling, INTERPRET),
        (compiled, RUN),
        (ran(1 * MS, times=4), INTERPRET),
        (interpreted(2 * MS), INTERPRET),
        (interpreted(2 * MS), RUN),
        (ran(1 * MS), RUN),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_each_event_leads_to_its_decision(name: str) -> None:
    options, rows = TABLES[name]
    tiering = SegmentHistory(options).add_key()
    assert tiering is not None
    for number, (event, decision) in enumerate(rows):
        event(tiering)
        assert tiering.decide() == decision, f"after row {number}: {tiering.describe()}"
        assert tiering.decide() == decision, "to decide changes something"


@pytest.mark.parametrize(("options", "events", "expected"), [
    (NEVER, [], True),
    (EAGER, [], False),
    (EAGER, [failed], True),
    (STEPS, [], True),
    (STEPS, [interpreted(1 * MS)], True),
    (STEPS, [interpreted(6 * MS)], False),
    (STEPS, [interpreted(1 * MS, times=2)], False),
    (STEPS, [interpreted(1 * MS, times=2), interpreted(50 * US)], True),
    (STEPS, [interpreted(1 * MS, times=2), compiling, interpreted(50 * US)], False),
    (STEPS, [interpreted(1 * MS, times=2), compiling, failed], True),
    (PIPELINES, [], False),
    (PIPELINES, [interpreted(9 * MS), interpreted(1 * US, times=14)], False),
    (PIPELINES, [interpreted(9 * MS), interpreted(1 * US, times=15)], True),
    (PIPELINES, [interpreted(9 * MS, times=127)], False),
    (PIPELINES, [interpreted(9 * MS, times=128)], True),
    (PIPELINES, [compiling, interpreted(9 * MS, times=128)], False),
    (PIPELINES, [compiling, discarded, interpreted(9 * MS, times=128)], True),
    (PIPELINES, [compiling, compiled, interpreted(9 * MS, times=128)], False),
    (IN_TURNS, [compiling, compiled, interpreted(9 * MS, times=128), ran(9.0, times=2)], True),
])  # fmt: skip
def test_a_key_is_not_needed_where_it_makes_no_difference(
    options: TieringOptions, events: Sequence[Event], expected: bool
) -> None:
    history = SegmentHistory(options)
    tiering = history.add_key()
    assert tiering is not None
    for event in events:
        event(tiering)
    assert history.stays_interpreted is expected
    if expected:
        assert tiering.decide() == INTERPRET


@pytest.mark.parametrize(("options", "events", "expected"), [
    (PLAIN, [compiling, compiled, ran(1 * MS, times=15)], False),
    (PLAIN, [compiling, compiled, ran(1 * MS, times=16)], True),
    (PLAIN, [compiling, compiled, ran(1 * MS, times=16), discarded], False),
    (EAGER, [compiling, compiled, ran(1 * MS, times=16)], True),
    (COMPARED, [interpreted(1 * MS), compiling, compiled, ran(9 * MS, times=99)], False),
    (COMPARED, [interpreted(9 * MS), compiling, compiled, ran(1 * MS, times=99)], True),
    (PIPELINES, [compiling, compiled, interpreted(9 * MS, times=8), ran(1 * MS, times=99)], False),
    (IN_TURNS, [compiling, compiled, interpreted(1 * MS, times=2), ran(9 * MS, times=99)], False),
])  # fmt: skip
def test_a_program_that_stays_need_not_be_measured_for_ever(
    options: TieringOptions, events: Sequence[Event], expected: bool
) -> None:
    tiering = SegmentHistory(options).add_key()
    assert tiering is not None
    for event in events:
        event(tiering)
    assert tiering.is_settled is expected
    if expected:
        assert tiering.decide() == RUN


def test_only_so_many_keys_are_counted() -> None:
    history = SegmentHistory(replace(PIPELINES, most_keys=2))
    assert isinstance(history.add_key(), Tiering)
    assert isinstance(history.add_key(), Tiering)
    assert history.add_key() is None
    history.ran(2 * MS)
    assert (history.runs, history.slow_runs, history.quickest) == (1, 1, 2 * MS)
    steps = SegmentHistory(STEPS)
    assert all(steps.add_key() for _ in range(1000))


def test_a_failure_is_one_of_all_keys() -> None:
    history = SegmentHistory(STEPS)
    one, other = history.add_key(), history.add_key()
    assert one is not None
    assert other is not None
    for tiering in (one, other):
        tiering.ran(Tier.INTERPRETED, 6 * MS)
        tiering.compiling()
    other.compiled(1.0)
    assert other.decide() == RUN
    one.failed()
    assert other.decide() == INTERPRET


@pytest.mark.parametrize(("options", "events", "line"), [
    (NEVER, [interpreted(9 * MS)],
     "no program (the mode is never); interpreted runs take 9 ms (median of 1)"),
    (STEPS, [], "no program (too few slow runs)"),
    (STEPS, [interpreted(20 * US), interpreted(90 * US)],
     "no program (interpreting is cheap); interpreted runs take 0.055 ms (median of 2)"),
    (PIPELINES, [interpreted_elsewhere(9 * MS, times=90), interpreted(9 * MS, times=3)],
     "no program (3 of 93 slow runs are too few); interpreted runs take 9 ms (median of 3)"),
    (STEPS, [interpreted(9 * MS), compiling],
     "being compiled (due); interpreted runs take 9 ms (median of 1)"),
    (PLAIN, [interpreted(9 * MS), compiling, compiled, ran(3 * MS, times=99)],
     "compiled (not compared); interpreted runs take 9 ms (median of 1); "
     "compiled runs take 3 ms (median of 16); compiling took 0.50 s"),
    (PLAIN, [compiling, compiled, discarded],
     "no program (the last one was discarded); compiling took 0.50 s"),
    (COMPARED, [interpreted(9 * MS), compiling, compiled, ran(3 * MS, times=2)],
     "compiled (faster than any interpreted run); compiled runs take 3 ms (median of 2); "
     "compiling took 0.50 s"),
    (IN_TURNS, [compiling, compiled, interpreted(3 * MS), ran(1 * MS)],
     "compared (both tiers run in turns); interpreted runs take 3 ms (median of 1); "
     "compiled runs take 1 ms (median of 1); compiling took 0.50 s"),
    (IN_TURNS, [compiling, compiled, interpreted(3 * MS, times=2), ran(3 * MS, times=2)],
     "interpreted for good (its program was not faster); interpreted runs take 3 ms "
     "(median of 2); compiled runs take 3 ms (median of 2); compiling took 0.50 s"),
    (IN_TURNS, [compiling, compiled, interpreted(3 * MS, times=2), ran(1 * MS, times=2)],
     "compiled (faster); interpreted runs take 3 ms (median of 2); "
     "compiled runs take 1 ms (median of 2); compiling took 0.50 s"),
    (STEPS, [compiling, failed], "interpreted for good (XLA cannot compile the segment)"),
])  # fmt: skip
def test_a_description_tells_tier_reason_and_medians(
    options: TieringOptions, events: Sequence[Event], line: str
) -> None:
    tiering = SegmentHistory(options).add_key()
    assert tiering is not None
    for event in events:
        event(tiering)
    assert tiering.describe() == line


def test_a_history_describes_itself() -> None:
    history = SegmentHistory(STEPS)
    assert history.describe() == "no interpreted run"
    history.ran(3 * MS)
    history.ran(2 * MS)
    assert history.describe() == "2 interpreted runs, the quickest 2 ms"
