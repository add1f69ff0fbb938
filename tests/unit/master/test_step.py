from __future__ import annotations

import threading

from flowray.master.step import StepResult, Waiter
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
