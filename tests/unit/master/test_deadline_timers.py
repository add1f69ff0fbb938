from __future__ import annotations

import logging
import time
from queue import SimpleQueue

import pytest

from flowray.master.deadline_timers import DeadlineTimers

SECONDS = 30


def test_timers_run_in_order_of_their_times() -> None:
    timers, ran = DeadlineTimers(), SimpleQueue[str]()
    timers.after(0.05, lambda: ran.put("late"))
    timers.after(0.0, lambda: ran.put("early"))
    begin = time.monotonic()
    assert [ran.get(timeout=SECONDS), ran.get(timeout=SECONDS)] == ["early", "late"]
    assert time.monotonic() - begin > 0.03


def test_a_cancelled_timer_does_not_run() -> None:
    timers, ran = DeadlineTimers(), SimpleQueue[str]()
    cancel = timers.after(0.01, lambda: ran.put("never"))
    cancel()
    cancel()
    timers.after(0.02, lambda: ran.put("runs"))
    assert ran.get(timeout=SECONDS) == "runs"
    assert ran.empty()


def test_a_timer_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    timers, ran = DeadlineTimers(), SimpleQueue[str]()

    def fail() -> None:
        raise KeyError("a bug")

    with caplog.at_level(logging.ERROR):
        timers.after(0.0, fail)
        timers.after(0.01, lambda: ran.put("runs"))
        assert ran.get(timeout=SECONDS) == "runs"
    assert "a bug" in caplog.text


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = DeadlineTimers()
    for _ in range(1000):
        timers.after(60.0, lambda: None)()
    assert len(timers._timers) < 200
