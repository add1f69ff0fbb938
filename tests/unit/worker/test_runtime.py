"""The worker runtime on stages made by hand: interpreting, compiling, state, errors."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from flowray.client.framework.graph import Graph, Tensor
from flowray.client.framework.op_builder import apply_op
from flowray.proto import errors
from flowray.proto.messages import graph_pb2
from flowray.proto.wire.stage import Stage
from flowray.worker.execution import xla_segment
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.execution.tiering import STEPS
from flowray.worker.execution.xla_segment import XlaSegmentRunner, compiler
from flowray.worker.program.instruction import Instruction
from flowray.worker.program.loader import load
from flowray.worker.runtime import Runtime, RuntimeOptions

TASK = "/job:worker/replica:0/task:0"
MODES = ("never", "eager", "background")


def stage_of(
    build: Callable[[], None],
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    handle: str = "h",
    session: str = "s",
    **keywords: Any,
) -> Stage:
    """A stage of the graph that ``build`` makes, its placeholders left out."""
    with Graph().as_default() as graph:
        build()
    nodes = [n for n in graph.as_graph_def().node if n.op != "Placeholder"]
    return Stage(handle, session, graph_pb2.GraphDef(node=nodes), inputs, outputs, **keywords)


def runtime(mode: Any = "never") -> Runtime:
    return Runtime(TASK, RuntimeOptions(compile=mode, gpus=0))


def placeholder(name: str, shape: Any = None, dtype: str = "float32") -> Tensor:
    return apply_op("Placeholder", dtype=dtype, shape=shape, name=name)


def constant(value: Any, name: str) -> Tensor:
    array = np.asarray(value)
    return apply_op("Const", value=array, dtype=array.dtype, name=name)


def variable(name: str, shape: Any = None) -> Tensor:
    return apply_op("VariableV2", shape=shape, dtype="float32", name=name)


@pytest.mark.parametrize("mode", MODES)
def test_computes_what_numpy_computes(mode: str) -> None:
    def build() -> None:
        x = placeholder("x", [None, 4])
        product = apply_op("MatMul", x, constant(np.ones((4, 3), np.float32), "w"), name="y")
        # Shape -> Reshape: the shape is computed from a traced value's static shape.
        apply_op("Reshape", product, apply_op("Shape", x, name="s"), name="bad")
        apply_op("Reshape", product, constant(np.int32([-1]), "flat"), name="z")

    run = runtime(mode)
    stage = stage_of(build, ("x:0",), ("z:0", "s:0"))
    nodes = [n for n in stage.graph.node if n.name != "bad"]
    run.register(Stage("h", "s", graph_pb2.GraphDef(node=nodes), stage.inputs, stage.outputs))
    for rows in (2, 3, 2):
        x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
        (z, shape), stats = run.run("h", 1, [x])
        np.testing.assert_allclose(z, np.repeat(x.sum(1), 3))
        np.testing.assert_array_equal(shape, [rows, 4])
        assert z.dtype == np.float32
        assert shape.dtype == np.int32
        assert z.flags.writeable
        assert not stats


@pytest.mark.parametrize("mode", ["never", "eager"])
def test_a_variable_outlives_the_step_and_the_session(mode: str) -> None:
    def build() -> None:
        v = variable("v", [2])
        apply_op("Assign", v, placeholder("x"), name="init")
        apply_op("AssignAdd", v, constant(np.float32([1, 2]), "delta"), name="add")
        apply_op("Identity", v, name="read")

    run = runtime(mode)
    whole = stage_of(build)

    def part(names: set[str], **keywords: Any) -> None:
        nodes = [n for n in whole.graph.node if n.name in names | {"v"}]
        run.register(Stage(graph=graph_pb2.GraphDef(node=nodes), **keywords))

    part({"init"}, handle="init", session="a", inputs=("x:0",))
    part({"add", "delta"}, handle="add", session="a", outputs=("add:0",))
    part({"read"}, handle="read", session="b", outputs=("read:0",))
    with pytest.raises(
        errors.FailedPreconditionError,
        match="(?s)uninitialized value v.*node read",  # noqa: RUF043
    ):
        run.run("read", 1, [])
    fed = np.float32([10, 20])
    run.run("init", 2, [fed])
    fed[:] = 0  # the variable must not be the caller's array
    for step in range(1, 4):
        (after,), _ = run.run("add", 3, [])
        np.testing.assert_array_equal(after, [10 + step, 20 + 2 * step])
    run.end_session("a", ["init", "add"])
    (value,), _ = run.run("read", 4, [])
    np.testing.assert_array_equal(value, [13, 26])
    run.reset([])
    part({"read"}, handle="read2", session="c", outputs=("read:0",))
    with pytest.raises(errors.FailedPreconditionError):
        run.run("read2", 5, [])


def test_reads_that_the_graph_does_not_order_come_before_writes() -> None:
    def build() -> None:
        v = variable("v", [])
        apply_op("Identity", v, name="read")
        apply_op("AssignAdd", v, constant(np.float32(1), "one"), name="add")

    for mode in ("never", "eager"):
        run = runtime(mode)
        run.register(
            stage_of(lambda: apply_op("Assign", variable("v", []), placeholder("x")), ("x:0",))
        )
        run.run("h", 1, [np.float32(5)])
        run.register(stage_of(build, (), ("read:0", "add:0"), handle="both"))
        (before, after), _ = run.run("both", 2, [])
        assert (before, after) == (5, 6)


def test_isolated_sessions_have_variables_of_their_own() -> None:
    run = runtime()
    for scope, value in (("s1", 1), ("s2", 2)):
        run.register(
            stage_of(
                lambda: apply_op("Assign", variable("v", []), placeholder("x"), name="a"),
                ("x:0",),
                ("a:0",),
                handle=scope,
                state_scope=scope,
            )
        )
        run.run(scope, 1, [np.float32(value)])
    run.register(
        stage_of(
            lambda: apply_op("Identity", variable("v", []), name="r"),
            (),
            ("r:0",),
            handle="read",
            state_scope="s1",
        )
    )
    assert run.run("read", 2, [])[0] == [1]


def test_a_kernel_error_names_its_node_and_the_next_run_works() -> None:
    run = runtime()
    run.register(
        stage_of(
            lambda: apply_op("MatMul", placeholder("a"), placeholder("b"), name="layer/mm"),
            ("a:0", "b:0"),
            ("layer/mm:0",),
        )
    )
    good = np.ones((2, 2), np.float32)
    with pytest.raises(errors.InvalidArgumentError, match=r"\[\[\{\{node layer/mm\}\}\]\]"):
        run.run("h", 1, [good, np.ones((3, 2), np.float32)])
    assert run.run("h", 2, [good, good])[0][0].shape == (2, 2)


def test_an_unknown_stage_is_aborted() -> None:
    with pytest.raises(errors.AbortedError, match="Graph handle is not found: nope"):
        runtime().run("nope", 1, [])


def test_a_failed_check_in_a_compiled_segment_leaves_the_variables_alone() -> None:
    def build() -> None:
        v = variable("v", [3])
        logits, labels = placeholder("logits"), placeholder("labels", dtype="int32")
        loss = apply_op("SparseSoftmaxCrossEntropyWithLogits", logits, labels, name="xent")[0]
        apply_op("AssignAdd", v, loss, name="add")

    run = runtime("eager")
    run.register(
        stage_of(lambda: apply_op("Assign", variable("v", [3]), placeholder("x")), ("x:0",))
    )
    run.run("h", 1, [np.zeros(3, np.float32)])
    run.register(stage_of(build, ("logits:0", "labels:0"), ("add:0",), handle="step"))
    logits = np.zeros((3, 4), np.float32)
    with pytest.raises(errors.InvalidArgumentError, match="(?s)outside the valid range.*node xent"):  # noqa: RUF043
        run.run("step", 2, [logits, np.int32([0, 9, 1])])
    (after,), _ = run.run("step", 3, [logits, np.int32([0, 3, 1])])
    np.testing.assert_allclose(after, np.log(4) * np.ones(3), rtol=1e-6)


def squaring() -> tuple[Runtime, XlaSegmentRunner, np.ndarray]:
    """A stage "h" that ran once, the runner of its segment, and its input."""

    def build() -> None:
        x = placeholder("x")
        apply_op("Tanh", apply_op("MatMul", x, x, name="mm"), name="y")

    run = runtime("background")
    run.register(stage_of(build, ("x:0",), ("y:0",)))
    x = np.random.RandomState(0).rand(300, 300).astype(np.float32) / 300
    run.run("h", 1, [x])
    (runner,) = run._stages["h"].xla_runners
    runner.history.quickest = 1.0  # however quick this machine is
    return run, runner, x


@pytest.fixture
def busy_compiler() -> Iterator[Callable[[], None]]:
    """The compiler has something else to do until this is called."""
    finish = threading.Event()
    other = compiler().submit(finish.wait, 60)

    def become_free() -> None:
        finish.set()
        other.result(60)

    yield become_free
    become_free()


def test_the_second_run_waits_for_the_program_and_results_stay_the_same() -> None:
    run, runner, x = squaring()
    runner.history.patience = 60.0
    ((second,), _) = run.run("h", 2, [x])
    assert runner.history.runs == 1, "it was interpreted again"
    ((third,), _) = run.run("h", 3, [x])
    np.testing.assert_array_equal(third, second)
    np.testing.assert_allclose(second, np.tanh(x @ x), rtol=1e-5)


def test_runs_wait_no_longer_than_they_may(busy_compiler: Callable[[], None]) -> None:
    run, runner, x = squaring()
    runner.history.patience = 0.05
    for number in (2, 3, 4):
        ((result,), _) = run.run("h", number, [x])
        np.testing.assert_allclose(result, np.tanh(x @ x), rtol=1e-5)
    assert runner.history.runs == 4
    assert -1.0 < runner.history.patience <= 0.0
    busy_compiler()
    compiler().submit(int).result(60)  # what was to be compiled is, by now
    run.run("h", 5, [x])
    assert runner.history.runs == 4, "it was interpreted though there is a program"


@pytest.mark.parametrize(("limit", "lines"), [(0.0, 1), (3600.0, 0)])
def test_a_slow_compilation_is_logged_once(
    limit: float,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(xla_segment, "_SLOW_COMPILATION_SECONDS", limit)
    run, runner, x = squaring()
    runner.history.patience = 60.0
    with caplog.at_level(logging.INFO, "flowray.worker"):
        for number in (2, 3):
            run.run("h", number, [x])
        compiler().submit(int).result(60)  # the line follows the program
    logged = [r.getMessage() for r in caplog.records if "compiled" in r.getMessage()]
    assert len(logged) == lines
    pattern = r"compiled segment mm .. y \(2 nodes\) in \d+\.\d s; steps were interpreted meanwhile"
    assert all(re.match(pattern, line) for line in logged)


def test_short_runs_do_not_wait(busy_compiler: Callable[[], None]) -> None:
    run, runner, x = squaring()
    runner.history.quickest = 0.01
    run.run("h", 2, [x])
    assert runner.history.runs == 2
    assert runner.history.patience == STEPS.patience


def test_a_cancelled_step_ends_at_the_next_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    run = runtime()
    started, go_on = threading.Event(), threading.Event()
    run.register(
        stage_of(
            lambda: apply_op("Tanh", apply_op("Neg", placeholder("x"), name="n"), name="t"),
            ("x:0",),
            ("t:0",),
        )
    )
    run_one = Interpreter._run_one

    def slow(self: Interpreter, instruction: Instruction, slots: list[Any]) -> None:
        assert instruction.node == "n", "the step went on"
        started.set()
        assert go_on.wait(10)
        run_one(self, instruction, slots)

    monkeypatch.setattr(Interpreter, "_run_one", slow)
    caught: list[BaseException] = []

    def target() -> None:
        try:
            run.run("h", 7, [np.float32(1)])
        except errors.OpError as error:
            caught.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    assert started.wait(10)
    run.cancel(7)
    go_on.set()
    thread.join(10)
    assert isinstance(caught[0], errors.CancelledError)


def test_tracing_times_every_node() -> None:
    run = runtime("eager")
    run.register(
        stage_of(
            lambda: apply_op("Tanh", apply_op("Neg", placeholder("x"), name="n"), name="t"),
            ("x:0",),
            ("t:0",),
        )
    )
    _, stats = run.run("h", 1, [np.ones(3, np.float32)], trace=True)
    assert [n.node_name for n in stats[0].node_stats] == ["n", "t"]
    assert stats[0].node_stats[0].output[0].tensor_description.shape.dim[0].size == 3


def test_a_value_that_xla_must_know_ends_the_segment_before_it() -> None:
    def build() -> None:
        x = placeholder("x")
        size = apply_op(
            "Cast", apply_op("Sum", x, constant(np.int32([0]), "axis"), name="sum"), DstT="int32"
        )
        shape = apply_op("Pack", [size], axis=0, name="shape")
        apply_op("Fill", shape, constant(np.float32(2), "two"), name="fill")

    stage = stage_of(build, ("x:0",), ("fill:0",))
    run = runtime("eager")
    program = load(stage, run.state)
    assert [[i.op.name for i in segment.instructions] for segment in program.segments][-1] == [
        "Fill"
    ]
    run.register(stage)
    for n in (2, 3):
        (filled,), _ = run.run("h", 1, [np.ones(n, np.float32)])
        np.testing.assert_array_equal(filled, [2] * n)


def test_results_do_not_share_memory_with_feeds() -> None:
    """XLA reads large feeds in place, or in a buffer that later runs use again."""

    def build() -> None:
        x = placeholder("x")
        apply_op("Identity", x, name="same")
        apply_op("AddV2", x, constant(np.float32(1), "one"), name="more")

    stage = stage_of(build, ("x:0",), ("same:0", "more:0"))
    for offset in (0, 4):  # floats from a multiple of 64 bytes
        run = runtime("eager")
        run.register(stage)
        memory = np.zeros(20_032, np.float32)
        start = -(memory.ctypes.data // 4) % 16 + offset
        feed = memory[start : start + 20_000]
        feed[...] = 1
        (first, first_more), _ = run.run("h", 1, [feed])
        feed[...] = 5
        run.run("h", 2, [feed])
        np.testing.assert_array_equal(first, np.ones(20_000))
        np.testing.assert_array_equal(first_more, np.full(20_000, 2))
