from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from flowray.master.deadline_timers import DeadlineTimers
from flowray.master.session import FULL_TRACE, Session
from flowray.master.step import StepResult, Waiter
from flowray.master.worker_api import StageResult
from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.wire.signature import RunSignature, UnknownRunHandleError
from tests.unit.master.fakes import PS, W0, W1, FakeWorker, describe, graph_def, lines

SECONDS = 30


class Bench:
    """A session over a parameter server and two workers."""

    def __init__(
        self,
        text: str = "",
        config: config_pb2.ConfigProto | None = None,
        make: Callable[[str], FakeWorker] = FakeWorker,
    ) -> None:
        self.ps, self.w0, self.w1 = self.workers = [make(task) for task in (PS, W0, W1)]
        self.session = Session(
            "s1",
            graph_def(text),
            config or config_pb2.ConfigProto(),
            {worker.task: worker for worker in self.workers},
            W0,
            DeadlineTimers(),
        )

    def start(
        self,
        *fetches: str,
        feeds: Mapping[str, Any] | None = None,
        targets: Sequence[str] = (),
        options: config_pb2.RunOptions | None = None,
    ) -> tuple[Any, Waiter]:
        """A step's handle, and what waits for its result. Feeds are float32."""
        arrays = {
            name: value if isinstance(value, np.ndarray) else np.asarray(value, np.float32)
            for name, value in (feeds or {}).items()
        }
        waiter = Waiter()
        signature = RunSignature(tuple(arrays), fetches, tuple(targets))
        values = list(arrays.values())
        return self.session.start_step(signature, values, options, waiter), waiter

    def result(self, *fetches: str, **more: Any) -> StepResult:
        return self.start(*fetches, **more)[1].wait()

    def run(self, *fetches: str, **more: Any) -> list[Any]:
        result = self.result(*fetches, **more)
        if result.error is not None:
            raise result.error
        return [np.asarray(t).tolist() for t in result.tensors]

    def calls(self, name: str) -> int:
        """Returns the number of calls of this name to the workers."""
        return sum(call[0] == name for worker in self.workers for call in worker.calls)


TWO_TASKS = """
    p = Placeholder() @/job:worker/task:0
    a = Neg(p) @/job:worker/task:0
    b = AddV2(a, p) @/job:worker/task:1
    c = Mul(b, a) @/job:worker/task:0
"""


# Graphs


def test_a_bad_graph_makes_no_session() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="Unknown input node 'zz'"):
        Bench("a = Neg(zz)")
    with pytest.raises(
        errors.InvalidArgumentError, match="Cannot assign a device for operation a:"
    ):
        Bench("a = Const() @/job:nobody")


@pytest.mark.parametrize(
    "config",
    [
        config_pb2.ConfigProto(use_per_session_threads=True),
        config_pb2.ConfigProto(session_inter_op_thread_pool=[config_pb2.ThreadPoolOptionProto()]),
    ],
)
def test_thread_pools_of_a_session_are_refused(config: config_pb2.ConfigProto) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="does not support session thread pool"):
        Bench(config=config)


def test_the_graph_grows() -> None:
    bench = Bench("a = Const()")
    assert bench.session.version == 0
    assert bench.session.extend(graph_def("b = Neg(a)"), 0) == 1
    assert bench.run("b:0") == [-1]
    assert bench.session.extend(graph_def("c = Neg(b)"), 1) == bench.session.version == 2
    assert bench.run("c:0", "b:0") == [1, -1]


@pytest.mark.parametrize("version", [-1, 0, 2])
def test_extending_another_version(version: int) -> None:
    bench = Bench("a = Const()")
    bench.session.extend(graph_def("b = Neg(a)"), 0)
    with pytest.raises(errors.AbortedError) as info:
        bench.session.extend(graph_def("c = Neg(a)"), version)
    assert info.value.message == f"Current version is 1 but caller expected {version}."


@pytest.mark.parametrize(
    "text", ["b = Neg(a)\nbad = Neg(zz)", "b = Neg(a)\nbad = Neg(a) @/job:nobody"]
)
def test_a_bad_extension_adds_nothing(text: str) -> None:
    bench = Bench("a = Const()")
    with pytest.raises(errors.InvalidArgumentError):
        bench.session.extend(graph_def(text), 0)
    assert bench.session.version == 0
    assert bench.run("a:0") == [1]
    with pytest.raises(errors.NotFoundError):
        bench.run("b:0")
    assert bench.session.extend(graph_def("b = Neg(a)"), 0) == 1
    assert bench.run("b:0") == [-1]


def test_device_filters() -> None:
    bench = Bench(
        "p = Placeholder() @/job:worker", config_pb2.ConfigProto(device_filters=["/job:ps"])
    )
    assert [d.name.split("/device")[0] for d in bench.session.devices] == [PS, W0]
    with pytest.raises(errors.InvalidArgumentError, match="available devices are"):
        bench.session.extend(graph_def("a = Neg(p) @/job:worker/task:1"), 0)


def test_placement_is_logged_on_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "flowray.master.session"):
        Bench("a = Const() @/job:ps", config_pb2.ConfigProto(log_device_placement=True))
    assert f"a: (Const): {PS}/device:CPU:0" in caplog.text


# Steps


def test_a_step_over_tasks() -> None:
    bench = Bench(TWO_TASKS)
    assert bench.run("c:0", "a:0", feeds={"p:0": [2, 3]}) == [[0, 0], [-2, -3]]
    assert [c[1] for c in bench.w0.calls if c[0] == "run"] == [["a"], ["c"]]
    assert [c[1] for c in bench.w1.calls if c[0] == "run"] == [["b"]]
    assert bench.ps.calls == []


def test_names_without_an_index_mean_output_0() -> None:
    bench = Bench(TWO_TASKS)
    assert bench.run("a", "a:0", "b", feeds={"p": 2}) == [-2, -2, 0]


def test_every_order_of_feeds_fetches_and_targets_has_the_same_plan() -> None:
    bench = Bench("p = Placeholder()\nq = Placeholder()\nd = AddV2(p, q)\ne = Neg(p)\nn = NoOp()")
    assert bench.run("d:0", "e:0", feeds={"p:0": 2, "q:0": 3}, targets=["n", "d"]) == [5, -2]
    assert bench.run("e:0", "d:0", "e", feeds={"q:0": 3, "p": 1}, targets=["d", "n"]) == [-1, 4, -1]
    assert bench.calls("register") == 1
    known = RunSignature(("p:0", "q:0"), ("d:0", "e:0"), ("n", "d"))
    assert bench.session.handle_of(known) is not None
    assert bench.session.handle_of(RunSignature(("p:0",), ("e:0",))) is None


def test_growing_keeps_the_plans() -> None:
    bench = Bench("a = Const()\nb = Neg(a)")
    bench.run("b:0")
    bench.session.extend(graph_def("c = Neg(b)"), 0)
    bench.run("b:0")
    assert bench.calls("register") == 1


def test_a_run_is_prepared_once_and_goes_by_position() -> None:
    bench = Bench("p = Placeholder()\nq = Placeholder()\nd = AddV2(p, q)\ne = Neg(p)")
    signature = RunSignature(("q:0", "p:0"), ("e:0", "d:0", "e:0"))
    handle = bench.session.prepare_run(signature)
    assert bench.session.handle_of(signature) == bench.session.prepare_run(signature) == handle
    for p, q in ((2, 3), (4, 5)):
        waiter = Waiter()
        values = [np.float32(q).reshape(()), np.float32(p).reshape(())]
        bench.session.start_run(handle, values, None, waiter)
        assert waiter.wait().tensors == [-p, p + q, -p]
    assert bench.calls("register") == 1
    bench.session.extend(graph_def("c = Neg(d)"), 0)
    assert bench.session.prepare_run(signature) == handle


def test_a_run_that_was_not_prepared() -> None:
    bench = Bench(TWO_TASKS)
    waiter = Waiter()
    assert bench.session.start_run(7, [], None, waiter) is None
    error = waiter.wait().error
    assert isinstance(error, UnknownRunHandleError)
    assert error.message == "Session s1 has no prepared run 7; prepare it again."
    assert bench.calls("run") == 0


def test_a_run_with_the_wrong_number_of_values() -> None:
    bench = Bench(TWO_TASKS)
    handle = bench.session.prepare_run(RunSignature(("p:0",), ("a:0",)))
    waiter = Waiter()
    bench.session.start_run(handle, [], None, waiter)
    error = waiter.wait().error
    assert isinstance(error, errors.InvalidArgumentError)
    assert error.message == "The run takes 1 feed value(s), but got 0."
    assert bench.session.is_idle


class BrokenWorker(FakeWorker):
    """Raises where it should answer."""

    def run(self, *arguments: Any, **keywords: Any) -> None:
        raise TypeError("cannot be sent")

    def end_step(self, step_id: int) -> None:
        super().end_step(step_id)
        raise KeyError("end_step")


@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_a_worker_that_raises_fails_the_step_and_nothing_else(fetch: str) -> None:
    bench = Bench(TWO_TASKS, make=BrokenWorker)
    for _ in range(2):
        error = bench.result(fetch, feeds={"p:0": 1}).error
        assert isinstance(error, errors.InternalError)
        assert error.message == "TypeError: cannot be sent"
    assert bench.session.is_idle
    bench.session.close()
    assert bench.calls("end_session") == 3


@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_a_callback_that_raises_leaves_no_step_behind(
    fetch: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(TWO_TASKS)

    def fail(result: StepResult) -> None:
        raise KeyError("in the callback")

    values = [np.float32(1).reshape(())]
    bench.session.start_step(RunSignature(("p:0",), (fetch,)), values, None, fail)
    assert "in the callback" in caplog.text
    assert bench.session.is_idle
    bench.session.close()
    assert bench.calls("end_session") == 3


@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_an_interrupt_ends_the_step(fetch: str) -> None:
    """Ctrl-C in a worker that runs in the caller's thread; see ``deploy.in_process``."""

    class Interrupted(FakeWorker):
        def run(
            self, handle: str, step_id: int, inputs: Any, done: Any, *, trace: bool = False
        ) -> None:
            done(StageResult(error=errors.cancelled("Step was cancelled.")))
            raise KeyboardInterrupt

    bench = Bench(TWO_TASKS, make=Interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.result(fetch, feeds={"p:0": 1})
    assert bench.session.is_idle
    bench.session.close()
    assert bench.calls("end_session") == 3


def test_targets_alone() -> None:
    bench = Bench("v = VariableV2()\np = Placeholder()\nw = Assign(v, p)")
    assert bench.run(feeds={"p:0": 4}, targets=["w"]) == []
    assert bench.run("v:0") == [4]


def test_a_step_that_cannot_be_planned() -> None:
    bench = Bench(TWO_TASKS)
    assert isinstance(bench.result("zz:0").error, errors.NotFoundError)
    assert isinstance(bench.result().error, errors.InvalidArgumentError)
    assert bench.run("a:0", feeds={"p:0": 1}) == [-1]


def test_a_failing_stage_names_its_node_and_harms_nothing() -> None:
    bench = Bench(TWO_TASKS + "x = CheckNumerics(b) message='m' @/job:worker/task:1")
    error = bench.result("x:0", "c:0", feeds={"p:0": np.nan}).error
    assert isinstance(error, errors.InvalidArgumentError)
    assert error.message == "Tensor had NaN values\n\t [[{{node x}}]]"
    assert bench.run("x:0", "c:0", feeds={"p:0": 1}) == [0, 0]
    assert bench.session.is_idle


def test_a_bad_feed_starts_nothing() -> None:
    bench = Bench("p = Placeholder() shape=(2,)\na = Neg(p)")
    assert isinstance(bench.result("a:0", feeds={"p:0": 1}).error, errors.InvalidArgumentError)
    wrong = {"p:0": np.ones(2, np.int64)}
    assert isinstance(bench.result("a:0", feeds=wrong).error, errors.InternalError)
    assert bench.calls("run") == 0
    assert bench.session.is_idle
    assert bench.run("a:0", feeds={"p:0": [1, 2]}) == [[-1, -2]]


@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_metadata_on_request(fetch: str) -> None:
    bench = Bench(TWO_TASKS)
    assert bench.result(fetch, feeds={"p:0": 1}).metadata is None
    options = config_pb2.RunOptions(trace_level=FULL_TRACE, output_partition_graphs=True)
    metadata = bench.result(fetch, feeds={"p:0": 1}, options=options).metadata
    assert metadata is not None
    tasks = {"a:0": [W0], "c:0": [W0, W1, W0]}[fetch]
    assert [s.device for s in metadata.step_stats.dev_stats] == [f"{t}/device:CPU:0" for t in tasks]
    graphs = [describe(graph) for graph in metadata.partition_graphs]
    if fetch == "a:0":
        assert graphs == [["a = Neg(p)"]]
    else:
        assert graphs == [lines("a = Neg(p)\nc = Mul(b, a)"), ["b = AddV2(a, p)"]]
    options = config_pb2.RunOptions(trace_level=1)
    assert bench.result(fetch, feeds={"p:0": 1}, options=options).metadata is None


def test_isolated_state() -> None:
    bench = Bench("a = Const()", config_pb2.ConfigProto(isolate_session_state=True))
    bench.run("a:0")
    assert [stage.state_scope for stage in bench.w0.stages.values()] == ["s1"]
    bench = Bench("a = Const()")
    bench.run("a:0")
    assert [stage.state_scope for stage in bench.w0.stages.values()] == [""]


# Ends before the end


@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_cancelling(fetch: str) -> None:
    bench = Bench(TWO_TASKS)
    bench.w0.held = {"a"}
    step, waiter = bench.start(fetch, feeds={"p:0": 1})
    assert not bench.session.is_idle
    step.cancel(errors.cancelled("enough"))
    error = waiter.wait().error
    assert isinstance(error, errors.CancelledError)
    assert error.message == "enough"
    assert [c[0] for c in bench.w0.calls if c[0] != "register"] == ["run", "cancel", "end_step"]
    assert bench.session.is_idle
    step.cancel(errors.cancelled("again"))
    bench.w0.held = set()
    assert bench.run(fetch, feeds={"p:0": 1}) == [{"a:0": -1, "c:0": 0}[fetch]]
    step.cancel(errors.cancelled("late"))


@pytest.mark.parametrize("by", ["options", "config"])
@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_a_deadline(fetch: str, by: str) -> None:
    config = config_pb2.ConfigProto(operation_timeout_in_ms=20 if by == "config" else 60_000)
    bench = Bench(TWO_TASKS, config)
    bench.w0.held = {"a"}
    options = config_pb2.RunOptions(timeout_in_ms=20) if by == "options" else None
    error = bench.result(fetch, feeds={"p:0": 1}, options=options).error
    assert isinstance(error, errors.DeadlineExceededError)
    assert bench.calls("cancel") == 1


def test_a_step_that_is_done_has_no_deadline_any_more() -> None:
    bench = Bench(TWO_TASKS)
    timers = bench.session._timers
    for _ in range(1000):
        bench.run("a:0", feeds={"p:0": 1}, options=config_pb2.RunOptions(timeout_in_ms=60_000))
    assert len(timers._timers) < 500


def test_a_deadline_that_passes_before_the_step_starts() -> None:
    bench = Bench(TWO_TASKS)
    bench.session._timers = _Instant()  # type: ignore[assignment]
    options = config_pb2.RunOptions(timeout_in_ms=1)
    for fetch in ("a:0", "c:0"):
        error = bench.result(fetch, feeds={"p:0": 1}, options=options).error
        assert isinstance(error, errors.DeadlineExceededError)
    assert bench.session.is_idle


class _Instant:
    """Timers whose time is up when they are set."""

    def after(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        action()
        return lambda: None


@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_losing_a_worker(fetch: str) -> None:
    bench = Bench(TWO_TASKS)
    bench.w0.held = {"a"}
    _, waiter = bench.start(fetch, feeds={"p:0": 1})
    bench.session.lose_worker(PS, errors.unavailable("nobody needs it"))
    assert not bench.session.is_idle
    bench.session.lose_worker(W0, errors.unavailable(f"From {W0}:\ndied"))
    bench.w0.release()
    error = waiter.wait().error
    assert isinstance(error, errors.UnavailableError)
    assert W0 in error.message
    assert bench.session.is_idle


# The end


@pytest.mark.parametrize("fetch", ["a:0", "c:0"])
def test_closing_cancels_what_runs(fetch: str) -> None:
    bench = Bench(TWO_TASKS)
    bench.w0.held = {"a"}
    _, waiter = bench.start(fetch, feeds={"p:0": 1})
    bench.session.close()
    error = waiter.wait().error
    assert isinstance(error, errors.CancelledError)
    assert error.message == "Step was cancelled by an explicit call to `Session::Close()`."
    kinds = [call[0] for call in bench.w0.calls]
    assert kinds.index("end_step") < kinds.index("end_session")
    assert bench.calls("end_session") == 3
    with pytest.raises(errors.FailedPreconditionError, match=r"Session is closed\."):
        bench.run("a:0", feeds={"p:0": 1})
    with pytest.raises(errors.FailedPreconditionError, match=r"Session is closed\."):
        bench.session.extend(graph_def("n = NoOp()"), 0)


def test_the_state_is_dropped_when_all_has_stopped() -> None:
    class Slow(FakeWorker):
        """Does not hear a cancellation."""

        def cancel(self, step_id: int) -> None:
            self.calls.append(("cancel",))

    bench = Bench(TWO_TASKS, make=Slow)
    bench.w0.held = {"a"}
    waiters = [bench.start(fetch, feeds={"p:0": 1})[1] for fetch in ("a:0", "c:0")]
    bench.session.close()
    for waiter in waiters:
        assert isinstance(waiter.wait().error, errors.CancelledError)
    assert bench.calls("end_session") == 0
    bench.w0.release()
    assert bench.calls("end_session") == 3
    (ended,) = (call for call in bench.w0.calls if call[0] == "end_session")
    registered = sorted(call[1] for call in bench.w0.calls if call[0] == "register")
    assert ended == ("end_session", "s1", registered)
    bench.session.close()
    assert bench.calls("end_session") == 3


# Callables


def callable_options(**fields: Any) -> config_pb2.CallableOptions:
    return config_pb2.CallableOptions(**fields)


def call(bench: Bench, handle: int, *feeds: Any) -> list[Any]:
    waiter = Waiter()
    bench.session.start_callable(handle, [np.asarray(f, np.float32) for f in feeds], waiter)
    result = waiter.wait()
    if result.error is not None:
        raise result.error
    return [np.asarray(t).tolist() for t in result.tensors]


def test_callables_go_by_position() -> None:
    bench = Bench("p = Placeholder()\nq = Placeholder()\nd = AddV2(p, q)\ne = Neg(p)")
    both = callable_options(feed=["q:0", "p:0"], fetch=["e:0", "d:0", "e:0"])
    first = bench.session.make_callable(both)
    second = bench.session.make_callable(callable_options(feed=["p:0"], fetch=["e"]))
    assert (first, second) == (0, 1)
    assert call(bench, first, 3, 2) == [-2, 5, -2]
    assert call(bench, second, 7) == [-7]
    bench.session.release_callable(first)
    with pytest.raises(errors.InvalidArgumentError, match="after handle was released: 0"):
        call(bench, first, 3, 2)
    bench.session.release_callable(first)
    bench.session.release_callable(77)
    assert call(bench, second, 7) == [-7]
    with pytest.raises(errors.InvalidArgumentError, match="No such callable handle: 2"):
        call(bench, 2)


def test_a_callable_with_the_wrong_number_of_feeds() -> None:
    """TensorFlow's server dies of it."""
    bench = Bench("p = Placeholder()\ne = Neg(p)")
    handle = bench.session.make_callable(callable_options(feed=["p:0"], fetch=["e:0"]))
    for feeds in ((), (1, 2)):
        with pytest.raises(errors.InvalidArgumentError, match=r"expected 1 feed tensor\(s\), but"):
            call(bench, handle, *feeds)


def test_a_callable_connects_tensors() -> None:
    bench = Bench("p = Placeholder()\nq = Placeholder()\nm = Neg(q)\ne = Neg(p)")
    options = callable_options(feed=["q:0"], fetch=["e:0"])
    options.tensor_connection.add(from_tensor="m:0", to_tensor="p:0")
    assert call(bench, bench.session.make_callable(options), 3) == [3]
    assert bench.run("e:0", feeds={"p:0": 3}) == [-3]


@pytest.mark.parametrize("field", ["feed_devices", "fetch_devices"])
def test_a_callable_cannot_leave_tensors_on_devices(field: str) -> None:
    bench = Bench("p = Placeholder()\ne = Neg(p)")
    options = callable_options(feed=["p:0"], fetch=["e:0"], **{field: {"e:0": "/gpu:0"}})
    with pytest.raises(errors.UnimplementedError, match="not yet supported when using a remote"):
        bench.session.make_callable(options)


def test_a_callable_has_run_options() -> None:
    bench = Bench("p = Placeholder()\ne = Neg(p)")
    options = callable_options(feed=["p:0"], fetch=["e:0"])
    options.run_options.timeout_in_ms = 20
    handle = bench.session.make_callable(options)
    bench.w0.held = {"e"}
    with pytest.raises(errors.DeadlineExceededError):
        call(bench, handle, 1)


def test_a_bad_callable_takes_no_handle() -> None:
    bench = Bench("p = Placeholder()\ne = Neg(p)")
    with pytest.raises(errors.NotFoundError):
        bench.session.make_callable(callable_options(fetch=["zz:0"]))
    assert bench.session.make_callable(callable_options(feed=["p:0"], fetch=["e:0"])) == 0


# Many things at once


def threaded(task: str) -> FakeWorker:
    return FakeWorker(task, threads=True)


def test_steps_of_many_threads() -> None:
    bench = Bench(TWO_TASKS, make=threaded)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(30):
                value = float(number * 100 + i)
                fetch = ("c:0", "a:0", "b:0")[i % 3]
                expected = {"a:0": -value, "b:0": 0, "c:0": 0}[fetch]
                assert bench.run(fetch, feeds={"p:0": value}) == [expected]
                bench.session.extend(graph_def(f"n{number}_{i} = NoOp()"), bench.session.version)
        except errors.AbortedError:  # another thread extended first
            pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not failures, failures
    assert bench.session.is_idle


def test_closing_while_steps_start() -> None:
    """Every step is answered, and the workers are told once, when nothing runs any more."""
    for _ in range(20):
        bench = Bench(TWO_TASKS, make=threaded)
        outcomes: list[StepResult] = []

        def work(bench: Bench = bench, outcomes: list[StepResult] = outcomes) -> None:
            outcomes.extend(bench.result("c:0", "b:0", feeds={"p:0": 1}) for _ in range(10))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        bench.session.close()
        for thread in threads:
            thread.join(SECONDS)
        assert len(outcomes) == 40
        for outcome in outcomes:
            allowed = (type(None), errors.CancelledError, errors.FailedPreconditionError)
            assert isinstance(outcome.error, allowed)
        for worker in bench.workers:
            worker.wait_for("end_session")
            kinds = [call[0] for call in worker.calls]
            assert kinds.count("end_session") == 1


# Any graph


@pytest.mark.parametrize("seed", range(40))
def test_any_placement_gives_the_same_values(seed: int) -> None:
    """A random graph on random tasks, against the same graph on one task."""
    rng = random.Random(seed)
    nodes = ["p = Placeholder()", "q = Placeholder()", "k = Const() value=3.0"]
    names = ["p", "q", "k"]
    for i in range(rng.randint(3, 25)):
        op = rng.choice(["AddV2", "Mul", "Neg", "Identity"])
        inputs = rng.choices(names, k=2 if op in ("AddV2", "Mul") else 1)
        controls = rng.sample(names, rng.randint(0, 1))
        nodes.append(f"n{i} = {op}({', '.join([*inputs, *(f'^{c}' for c in controls)])})")
        names.append(f"n{i}")
    tasks = ["/job:ps", "/job:worker/task:0", "/job:worker/task:1"]
    scattered = "\n".join(f"{node} @{rng.choice(tasks)}" for node in nodes)
    fetches = rng.sample(names[3:], rng.randint(1, len(names) - 3))
    feeds = {"p:0": [1.0, 0.5], "q:0": [2.0, -1.0]}
    if rng.random() < 0.5 and (others := [n for n in names[3:] if n not in fetches]):
        feeds[f"{rng.choice(others)}:0"] = [0.25, 4.0]
    together = Bench("\n".join(nodes)).run(*fetches, feeds=feeds)
    assert Bench(scattered, make=threaded).run(*fetches, feeds=feeds) == together


@pytest.mark.parametrize("seed", range(40))
def test_any_placement_keeps_the_order_of_reads_and_writes(seed: int) -> None:
    """Random statements on variables, each after the one before, against the same on one task."""
    rng = random.Random(seed)
    tasks = ["/job:ps", "/job:worker/task:0", "/job:worker/task:1"]
    nodes = ["p = Placeholder()", "v = VariableV2()", "w = VariableV2()",
             "v0 = Assign(v, p)", "w0 = Assign(w, p, ^v0)"]  # fmt: skip
    references, values, last = ["v", "w", "v0", "w0"], ["p"], "w0"
    for i in range(rng.randint(4, 20)):
        name = f"s{i}"
        if rng.random() < 0.4:
            op, inputs = "AssignAdd", [rng.choice(references), rng.choice(values + references)]
            references.append(name)
        else:
            op, inputs = "AddV2", rng.choices(values + references, k=2)
            values.append(name)
        nodes.append(f"{name} = {op}({', '.join(inputs)}, ^{last})")
        last = name
    values = [value for value in values if value != "p"] or [last]
    scattered = "\n".join(f"{node} @{rng.choice(tasks)}" for node in nodes)
    fetches = rng.sample(values, rng.randint(1, len(values)))
    together = Bench("\n".join(nodes)).run(*fetches, feeds={"p:0": 1}, targets=[last])
    bench = Bench(scattered, make=threaded)
    assert bench.run(*fetches, feeds={"p:0": 1}, targets=[last]) == together
