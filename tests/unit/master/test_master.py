from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from flowray.master import master as master_module
from flowray.master.master import Master
from flowray.master.step import StepResult, Waiter
from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.wire.signature import RunSignature
from tests.steps import run_on_master
from tests.unit.master.fakes import PS, W0, FakeWorker, graph_def

GRAPH = "p = Placeholder()\na = Neg(p)\nv = VariableV2() @/job:ps\nw = Assign(v, p)"
A = RunSignature(("p:0",), ("a:0",))
SECONDS = 30


class Bench:
    """A master over a parameter server and a worker."""

    def __init__(self, **keywords: Any) -> None:
        self.ps, self.w0 = FakeWorker(PS), FakeWorker(W0)
        self.master = Master([self.ps, self.w0], W0, **keywords)

    def step(self, session: str, *fetches: str, request_id: int = 0, feed: float = 1) -> StepResult:
        waiter = Waiter()
        signature = RunSignature(("p:0",), fetches)
        values = [np.float32(feed).reshape(())]
        self.master.start_step(session, signature, values, None, request_id, waiter)
        return waiter.wait()


def test_sessions_have_handles_of_16_hex_digits() -> None:
    master = Bench().master
    handles = {master.create_session(graph_def(GRAPH)) for _ in range(10)}
    assert handles == set(master.sessions)
    assert len(handles) == 10
    assert all(len(h) == 16 and int(h, 16) >= 0 for h in handles)


def test_a_session_that_could_not_be_made_is_not_there() -> None:
    master = Bench().master
    with pytest.raises(errors.InvalidArgumentError):
        master.create_session(graph_def("a = Neg(zz)"))
    assert not master.sessions


def test_sessions_know_nothing_of_each_others_graphs() -> None:
    bench = Bench()
    one, two = (bench.master.create_session(graph_def(GRAPH)) for _ in range(2))
    assert bench.master.extend_session(one, graph_def("b = Neg(a)"), 0) == 1
    assert run_on_master(bench.master, one, {"p": np.float32(2)}, ["b:0"]) == [2]
    with pytest.raises(errors.NotFoundError):
        run_on_master(bench.master, two, {"p": np.float32(2)}, ["b:0"])
    assert run_on_master(bench.master, two, {"p": np.float32(2)}, ["a:0"]) == [-2]


def test_the_default_configuration_is_merged_under_the_sessions() -> None:
    config = config_pb2.ConfigProto(device_filters=["/job:worker"], operation_timeout_in_ms=20)
    bench = Bench(default_config=config)
    handle = bench.master.create_session(
        graph_def(GRAPH.replace("@/job:ps", "")),
        config_pb2.ConfigProto(operation_timeout_in_ms=30, allow_soft_placement=True),
    )
    assert [d.name for d in bench.master.list_devices(handle)] == [f"{W0}/device:CPU:0"]
    assert bench.master.session(handle)._config == config_pb2.ConfigProto(
        device_filters=["/job:worker"], operation_timeout_in_ms=30, allow_soft_placement=True
    )


def test_a_default_task_that_nobody_runs() -> None:
    with pytest.raises(ValueError, match="no worker runs the default task /job:b"):
        Master([FakeWorker(PS)], "/job:b")


def test_devices() -> None:
    master = Bench().master
    names = [f"{PS}/device:CPU:0", f"{W0}/device:CPU:0"]
    assert [d.name for d in master.list_devices()] == names
    handle = master.create_session(graph_def(""))
    assert [d.name for d in master.list_devices(handle)] == names


def test_an_unknown_session() -> None:
    """Codes and texts differ by method, as TensorFlow's do."""
    bench = Bench()
    master = bench.master
    lost = "Session beef is not found."
    restarted = "Session beef is not found. Possibly, this master has restarted."
    options = config_pb2.CallableOptions(fetch=["a:0"])
    calls = [
        (lambda: master.extend_session("beef", graph_def(""), 0), errors.AbortedError, lost),
        (lambda: run_on_master(master, "beef", {}, ["a:0"]), errors.AbortedError, lost),
        (lambda: master.prepare_run("beef", A), errors.AbortedError, lost),
        (lambda: master.run("beef", 1, []), errors.AbortedError, lost),
        (lambda: master.partial_run_setup("beef"), errors.AbortedError, lost),
        (lambda: master.make_callable("beef", options), errors.AbortedError, lost),
        (lambda: master.run_callable("beef", 0, []), errors.AbortedError, lost),
        (lambda: master.release_callable("beef", 0), errors.AbortedError, lost),
        (lambda: master.close_session("beef"), errors.AbortedError, restarted),
        (lambda: master.list_devices("beef"), errors.InvalidArgumentError, restarted),
    ]
    for call, error, message in calls:
        with pytest.raises(error) as info:
            call()
        assert info.value.message == message
    assert master.is_prepared("beef", A)


def test_a_closed_session_is_unknown() -> None:
    bench = Bench()
    handle = bench.master.create_session(graph_def(GRAPH))
    bench.master.close_session(handle)
    assert isinstance(bench.step(handle, "a:0").error, errors.AbortedError)
    assert [call[0] for call in bench.w0.calls] == ["end_session"]
    with pytest.raises(errors.AbortedError):
        bench.master.close_session(handle)


# Requests that come again


def test_a_repeated_request_runs_once() -> None:
    bench = Bench()
    one, two = (bench.master.create_session(graph_def(GRAPH)) for _ in range(2))
    assert bench.step(one, "a:0", request_id=-5).error is None
    for session in (one, two):
        error = bench.step(session, "a:0", request_id=-5).error
        assert isinstance(error, errors.AbortedError)
        assert error.message.startswith("The same RunStep (Master) request was received twice. ")
    assert bench.step(one, "a:0", request_id=6).error is None
    assert bench.step(one, "a:0").error is None
    assert bench.step(one, "a:0").error is None
    assert [c[0] for c in bench.w0.calls].count("run") == 4


def test_a_failed_request_must_not_come_again_either() -> None:
    bench = Bench()
    handle = bench.master.create_session(graph_def(GRAPH))
    assert isinstance(bench.step(handle, "zz:0", request_id=5).error, errors.NotFoundError)
    assert isinstance(bench.step(handle, "a:0", request_id=5).error, errors.AbortedError)


def test_a_request_for_an_unknown_session_may_come_again() -> None:
    bench = Bench()
    assert isinstance(bench.step("beef", "a:0", request_id=5).error, errors.AbortedError)
    handle = bench.master.create_session(graph_def(GRAPH))
    assert bench.step(handle, "a:0", request_id=5).error is None


def test_old_requests_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_module, "_REMEMBERED_REQUESTS", 3)
    bench = Bench()
    handle = bench.master.create_session(graph_def(GRAPH))
    for request_id in (1, 2, 3, 4):
        assert bench.step(handle, "a:0", request_id=request_id).error is None
    assert bench.step(handle, "a:0", request_id=2).error is not None
    assert bench.step(handle, "a:0", request_id=1).error is None


def test_callables_dedupe_their_requests() -> None:
    bench = Bench()
    handle = bench.master.create_session(graph_def(GRAPH))
    options = config_pb2.CallableOptions(feed=["p:0"], fetch=["a:0"])
    made = bench.master.make_callable(handle, options, 1)
    with pytest.raises(errors.AbortedError, match=r"same MakeCallable \(Master\) request"):
        bench.master.make_callable(handle, options, 1)
    assert bench.master.run_callable(handle, made, [np.float32(3)]).tensors == [-3]
    results = []
    for _ in range(2):
        waiter = Waiter()
        bench.master.start_callable(handle, made, [np.float32(3)], 2, waiter)
        results.append(waiter.wait().error)
    assert results[0] is None
    assert isinstance(results[1], errors.AbortedError)


# Reset, losses, metadata


def test_reset_ends_the_sessions_and_clears_the_containers() -> None:
    bench = Bench()
    one, two = (bench.master.create_session(graph_def(GRAPH)) for _ in range(2))
    bench.w0.held = {"a"}
    waiter = Waiter()
    bench.master.start_step(one, A, [np.float32(1)], None, 0, waiter)
    bench.master.reset(["c"])
    assert isinstance(waiter.wait().error, errors.CancelledError)
    for handle in (one, two):
        assert isinstance(bench.step(handle, "a:0").error, errors.AbortedError)
    for worker in (bench.ps, bench.w0):
        kinds = [call[0] for call in worker.calls]
        assert kinds.count("end_session") == 2
        assert worker.calls[-1] == ("reset", ["c"])
    bench.master.reset()
    assert bench.ps.calls[-1] == ("reset", [])
    fresh = bench.master.create_session(graph_def(GRAPH))
    bench.w0.held = set()
    assert bench.step(fresh, "a:0").error is None


def test_losing_a_worker_fails_the_steps_of_all_sessions() -> None:
    bench = Bench()
    bench.w0.held = {"a"}
    waiters = []
    for _ in range(2):
        handle = bench.master.create_session(graph_def(GRAPH))
        waiters.append(Waiter())
        bench.master.start_step(handle, A, [np.float32(1)], None, 0, waiters[-1])
    bench.master.worker_lost(W0, errors.unavailable(f"From {W0}:\ndied"))
    for waiter in waiters:
        error = waiter.wait().error
        assert isinstance(error, errors.UnavailableError)
        assert W0 in error.message


def test_run_step_fills_in_metadata() -> None:
    bench = Bench()
    handle = bench.master.create_session(graph_def(GRAPH))
    metadata = config_pb2.RunMetadata()
    options = config_pb2.RunOptions(output_partition_graphs=True)
    feeds = {"p:0": np.float32(1)}
    run_on_master(bench.master, handle, feeds, ["w:0"], options=options, metadata=metadata)
    assert [len(graph.node) for graph in metadata.partition_graphs] == [2]


def test_partial_runs_are_not_there() -> None:
    bench = Bench()
    handle = bench.master.create_session(graph_def(GRAPH))
    with pytest.raises(errors.UnimplementedError, match="PartialRunSetup"):
        bench.master.partial_run_setup(handle)


def test_sessions_come_and_go_in_many_threads() -> None:
    bench = Bench()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for i in range(20):
                handle = bench.master.create_session(graph_def(GRAPH))
                assert bench.step(handle, "a:0", request_id=0, feed=i).tensors == [-i]
                bench.master.close_session(handle)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not failures, failures
    assert not bench.master.sessions
