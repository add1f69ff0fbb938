"""A lane and the server at its other end, over sockets of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from flowray.master.server import LoopThread
from flowray.master.worker_api import StageResult
from flowray.master.worker_lane import SocketLane
from flowray.proto import errors
from flowray.proto.messages import graph_pb2
from flowray.proto.wire.stage import Stage
from flowray.worker.actor import LaneServer
from flowray.worker.program import loader
from flowray.worker.runtime import Runtime, RuntimeOptions

SECONDS = 10


class FakeRuntime:
    """Does what the handle of a stage says. Remembers cancelled steps, as a runtime does."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self.cancelled: set[int] = set()
        self.started = threading.Event()
        self.release = threading.Event()

    def register(self, stage: Stage) -> None:
        self.calls.put(("register", stage.handle))

    def run(
        self, handle: str, step_id: int, inputs: Sequence[Any], *, trace: bool
    ) -> tuple[list[Any], list[Any]]:
        if handle == "wait":
            self.started.set()
            assert self.release.wait(SECONDS)
        elif step_id in self.cancelled:
            raise errors.cancelled("Step was cancelled.")
        elif handle == "bad":
            raise errors.invalid_argument("no", node="a/b")
        elif handle == "bug":
            raise ZeroDivisionError("oops")
        return list(inputs), []

    def cancel(self, step_id: int) -> None:
        self.calls.put(("cancel", step_id))
        self.cancelled.add(step_id)
        self.release.set()

    def end_step(self, step_id: int) -> None:
        self.cancelled.discard(step_id)

    def reset(self, containers: Sequence[str]) -> None:
        self.calls.put(("reset", containers))

    def end_session(self, session: str, handles: Sequence[str]) -> None:
        self.calls.put(("end_session", session, handles))


class Line:
    """Both ends."""

    def __init__(self, loop: LoopThread | None = None) -> None:
        self.runtime = FakeRuntime()
        self.server = server = LaneServer(self.runtime)  # type: ignore[arg-type]
        pairs = [socket.socketpair() for _ in range(2)]
        self.far = [there for _, there in pairs]
        self.threads = [threading.Thread(target=server.serve, args=(far,)) for far in self.far]
        for thread in self.threads:
            thread.start()
        self.deaths: SimpleQueue[str] = SimpleQueue()
        self.lane = SocketLane(
            pairs[0][0],
            pairs[1][0],
            "it died",
            lambda: self.deaths.put("dead"),
            None if loop is None else loop.loop,
        )

    def start(
        self, handle: str, step: int = 1, inputs: Sequence[Any] = (), blocking: bool = False
    ) -> SimpleQueue[StageResult]:
        results: SimpleQueue[StageResult] = SimpleQueue()
        self.lane.run(blocking, (handle, step, inputs, False), results.put)
        return results

    def run(self, *args: Any) -> StageResult:
        return self.start(*args).get(timeout=SECONDS)

    def kill(self) -> None:
        for far in self.far:
            far.shutdown(socket.SHUT_RDWR)


@pytest.fixture(params=["thread", "loop"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """The answers are read by a thread of the lane, or by an event loop."""
    loop = LoopThread() if request.param == "loop" else None
    line = Line(loop)
    yield line
    line.runtime.release.set()
    line.lane.close()
    for thread in line.threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    for far in line.far:
        far.close()
    if loop is not None:
        loop.stop()


def test_outputs_come_back(line: Line) -> None:
    result = line.run("echo", 1, [np.arange(3), np.array(b"x", object)])
    assert result.error is None
    np.testing.assert_array_equal(result.outputs[0], [0, 1, 2])
    assert result.outputs[1][()] == b"x"


def test_errors_come_back_as_values_and_the_lane_goes_on(line: Line) -> None:
    bad = line.run("bad").error
    assert isinstance(bad, errors.InvalidArgumentError)
    assert "{{node a/b}}" in bad.message
    bug = line.run("bug").error
    assert isinstance(bug, errors.InternalError)
    assert "ZeroDivisionError: oops" in bug.message
    assert line.run("echo").error is None


def test_a_stage_that_cannot_be_loaded_says_so_when_it_is_run(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: Any, **keywords: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(loader, "load", load)
    runtime = Runtime("/job:worker/replica:0/task:0", RuntimeOptions(compile="never", gpus=0))
    line.server._runtime = runtime
    line.lane.tell("register", Stage("unloadable", "s", graph_pb2.GraphDef()))
    error = line.run("unloadable").error
    assert isinstance(error, errors.InternalError)
    assert "a bug" in error.message


def test_an_unknown_method_is_not_called(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.lane.tell("__init__", "task")
    assert line.run("echo").error is None
    assert "a worker has no method '__init__'" in caplog.text


def test_messages_are_served_in_order(line: Line) -> None:
    line.lane.tell("reset", ["a"])
    line.lane.tell("end_session", "s", ["h"])
    assert line.run("echo").error is None
    assert line.runtime.calls.get_nowait() == ("reset", ["a"])
    assert line.runtime.calls.get_nowait() == ("end_session", "s", ["h"])


def test_cancel_reaches_a_running_stage(line: Line) -> None:
    running = line.start("wait", 7)
    assert line.runtime.started.wait(SECONDS)
    line.lane.cancel(7)
    assert running.get(timeout=SECONDS).error is None  # this runtime just returns
    assert line.runtime.calls.get_nowait() == ("cancel", 7)


def test_cancel_overtakes_a_run_that_waits_its_turn(line: Line) -> None:
    line.start("wait", 7)
    queued = line.start("echo", 8)
    assert line.runtime.started.wait(SECONDS)
    line.lane.cancel(8)
    assert isinstance(queued.get(timeout=SECONDS).error, errors.CancelledError)
    line.lane.tell("end_step", 8)
    assert line.run("echo", 8).error is None


def test_a_blocking_stage_holds_up_nothing(line: Line) -> None:
    blocked = [line.start("wait", step, blocking=True) for step in range(20)]
    assert line.runtime.started.wait(SECONDS)
    assert line.run("echo").error is None
    line.runtime.release.set()
    for results in blocked:
        assert results.get(timeout=SECONDS).error is None


def test_run_does_not_wait_for_a_busy_worker(line: Line) -> None:
    line.start("wait", 1)
    assert line.runtime.started.wait(SECONDS)
    small, large = np.arange(10), np.arange(3_000_000)
    sent = [line.start("echo", 2, [x]) for x in (small, large, small, large, *[small] * 2000)]
    line.runtime.release.set()  # reached although nobody has read the 48 MB yet
    for results, x in zip(sent, (small, large, small, large), strict=False):
        np.testing.assert_array_equal(results.get(timeout=SECONDS).outputs[0], x)
    assert sent[-1].get(timeout=SECONDS).error is None


def test_a_death_fails_what_is_in_flight_and_what_comes_later(line: Line) -> None:
    in_flight = [line.start("wait"), line.start("echo", 2, [np.zeros(10**6)])]
    line.kill()
    for results in in_flight:
        error = results.get(timeout=SECONDS).error
        assert isinstance(error, errors.UnavailableError)
        assert error.message == "it died"
    assert line.deaths.get(timeout=SECONDS) == "dead"
    assert isinstance(line.run("echo").error, errors.UnavailableError)
    line.lane.tell("reset", [])
    line.lane.cancel(1)
    assert line.deaths.empty()


def test_closing_is_not_a_death(line: Line) -> None:
    running = line.start("wait")
    line.lane.close()
    assert isinstance(running.get(timeout=SECONDS).error, errors.UnavailableError)
    assert line.deaths.empty()


def test_a_failing_callback_does_not_end_the_lane(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(result: StageResult) -> None:
        raise ValueError("in the callback")

    line.lane.run(False, ("echo", 1, (), False), fail)
    assert line.run("echo").error is None
    assert "in the callback" in caplog.text
