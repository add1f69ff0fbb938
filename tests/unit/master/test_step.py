from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue

import pytest

from flowray.master.step import Alarms, StepResult, Waiter
from tests.unit.master.test_session import Bench

SECONDS = 30


def test_a_waiter_gets_what_comes_before_and_after_it_waits() -> None:
    early = Waiter()
    early(StepResult([1]))
    assert early.wait().tensors == early.wait().tensors == [1]
    late = Waiter()
    thread = threading.Thread(target=lambda: late(StepResult([2])))
    thread.start()
    assert late.wait().tensors == [2]
    thread.join(SECONDS)


def test_workers_that_answer_at_once_do_not_nest() -> None:
    """Many stages, each done before ``run`` returns."""
    count = 800
    text = ["n0 = Const() @/job:worker/task:0"]
    for i in range(1, count):
        text.append(f"n{i} = Neg(n{i - 1}) @/job:worker/task:{i % 2}")
    bench = Bench("\n".join(text))
    assert bench.run(f"n{count - 1}:0") == [(-1) ** (count - 1)]
    assert len(bench.w0.calls) + len(bench.w1.calls) >= 2 * (count - 1)


def test_alarms_ring_in_order_of_their_times() -> None:
    alarms, rung = Alarms(), SimpleQueue[str]()
    alarms.after(0.05, lambda: rung.put("late"))
    alarms.after(0.0, lambda: rung.put("early"))
    begin = time.monotonic()
    assert [rung.get(timeout=SECONDS), rung.get(timeout=SECONDS)] == ["early", "late"]
    assert time.monotonic() - begin > 0.03


def test_an_alarm_that_was_called_off_does_not_ring() -> None:
    alarms, rung = Alarms(), SimpleQueue[str]()
    call_off = alarms.after(0.01, lambda: rung.put("never"))
    call_off()
    call_off()
    alarms.after(0.02, lambda: rung.put("rings"))
    assert rung.get(timeout=SECONDS) == "rings"
    assert rung.empty()


def test_an_alarm_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    alarms, rung = Alarms(), SimpleQueue[str]()

    def fail() -> None:
        raise KeyError("a bug")

    with caplog.at_level(logging.ERROR):
        alarms.after(0.0, fail)
        alarms.after(0.01, lambda: rung.put("rings"))
        assert rung.get(timeout=SECONDS) == "rings"
    assert "a bug" in caplog.text


def test_alarms_that_were_called_off_do_not_pile_up() -> None:
    alarms = Alarms()
    for _ in range(1000):
        alarms.after(60.0, lambda: None)()
    assert len(alarms._alarms) < 200
