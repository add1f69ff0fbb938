"""Functions that datasets call: interpreted at first, then compiled where that pays."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.function import trace
from flowray.client.framework.op_builder import apply_op
from flowray.deploy.in_process import InProcessTransport
from flowray.worker.data import functions
from flowray.worker.execution.tiering import PIPELINES, Comparison, Tiering
from flowray.worker.execution.xla_segment import XlaSegmentRunner
from flowray.worker.runtime import CompileMode, RuntimeOptions
from tests.steps import run_step

D = tf.data.Dataset
IMAGES = np.random.RandomState(0).randint(0, 256, (40, 60, 50, 3), np.uint8)


def heavy(image: Any) -> Any:
    """A host op on either side of what XLA can do."""
    number = tf.strings.to_number(tf.as_string(tf.shape(image)[0]))
    floats = tf.image.resize_images(tf.image.convert_image_dtype(image, tf.float32), [300, 200])
    total = tf.reduce_sum(tf.tanh(floats) * number, [0, 1])
    return total, tf.as_string(tf.shape(floats)[0])


def run(dataset: Any, mode: CompileMode) -> list[Any]:
    """All elements, with a runtime of the given mode."""
    element = dataset.make_one_shot_iterator().get_next()
    names = [t.name for t in (element if isinstance(element, tuple) else [element])]
    transport = InProcessTransport(tf.ConfigProto(), RuntimeOptions(compile=mode))
    graph = tf.get_default_graph()
    handle = transport.create_session(graph.as_graph_def(), tf.ConfigProto())
    result = []
    try:
        while True:
            result.append(run_step(transport, handle, [], [], names, [], None)[0])
    except tf.errors.OutOfRangeError:
        return result
    finally:
        transport.close_session(handle)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every run of a compiled segment."""
    runs: list[int] = []
    original = XlaSegmentRunner._execute

    def execute(self: Any, program: Any, slots: Any) -> None:
        runs.append(1)
        original(self, program, slots)

    monkeypatch.setattr(XlaSegmentRunner, "_execute", execute)
    return runs


@pytest.mark.parametrize("calls", [None, 2])
def test_results_are_the_same_in_every_mode(
    executed: list[int], monkeypatch: pytest.MonkeyPatch, calls: int | None
) -> None:
    monkeypatch.setattr(functions, "PIPELINES", replace(PIPELINES, runs_to_give_up=4))
    with tf.Graph().as_default():
        dataset = D.from_tensor_slices(IMAGES).map(heavy, num_parallel_calls=calls)
        expected = run(dataset, "never")
        assert not executed
        got = run(dataset, "eager")
        assert len(executed) >= len(IMAGES)
    for ours, reference in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours[0], reference[0], rtol=1e-4)
        assert ours[1] == reference[1] == b"300"
        assert type(ours[0]) is np.ndarray


def test_what_takes_long_is_compiled_in_the_background(executed: list[int]) -> None:
    with tf.Graph().as_default():
        dataset = D.from_tensor_slices(IMAGES).repeat(200).map(heavy)
        element = dataset.make_one_shot_iterator().get_next()
        with tf.Session() as session:
            first = session.run(element)
            deadline = time.monotonic() + 60
            count = 1
            while not executed and time.monotonic() < deadline:
                session.run(element)
                count += 1
            assert executed
            for _ in range(len(IMAGES) - count % len(IMAGES)):
                session.run(element)
            again = session.run(element)
    np.testing.assert_allclose(again[0], first[0], rtol=1e-4)


@pytest.mark.parametrize("gain", [0.0, 1e9])
def test_programs_stay_only_if_they_are_worth_it(
    executed: list[int], monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    comparison = Comparison(runs=2, least_gain=gain, repeat_after=512)
    monkeypatch.setattr(functions, "PIPELINES", replace(PIPELINES, comparison=comparison))
    tierings: list[Tiering] = []
    compiling = Tiering.compiling

    def noting(self: Tiering) -> None:
        compiling(self)
        tierings.append(self)

    def is_over() -> bool:
        """Returns whether there are programs, and all were compared."""
        going_on = ("COMPILING", "COMPARING")
        return bool(tierings) and not any(t._state.name in going_on for t in tierings)

    monkeypatch.setattr(Tiering, "compiling", noting)
    with tf.Graph().as_default():
        element = D.from_tensor_slices(IMAGES).repeat().map(heavy).make_one_shot_iterator()
        fetched = element.get_next()
        with tf.Session() as session:
            deadline = time.monotonic() + 60
            while not is_over() and time.monotonic() < deadline:
                session.run(fetched)
            assert is_over()
            executed.clear()
            for _ in range(4):
                session.run(fetched)
    assert len(executed) == (0 if gain else 4 * len(tierings))


def test_what_is_cheap_or_comes_in_many_shapes_stays_interpreted(executed: list[int]) -> None:
    with tf.Graph().as_default():
        run(D.range(200).map(lambda x: x * 2 + 1), "background")
        shapes = D.range(1, 60).map(
            lambda n: tf.reduce_sum(tf.exp(tf.ones([tf.to_int32(n) * 1000], tf.float64)))
        )
        got = run(shapes, "background")
    assert not executed
    np.testing.assert_allclose([v[0] for v in got], np.e * 1000 * np.arange(1, 60))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.random_uniform([1000]) + tf.to_float(x),
        lambda x: tf.check_numerics(tf.log(tf.to_float(x - 3)), "low"),
    ],
)
def test_state_and_errors_are_as_interpreted(function: Callable[[Any], Any]) -> None:
    def outcomes(mode: CompileMode) -> list[Any]:
        with tf.Graph().as_default():
            tf.set_random_seed(1)
            dataset = D.range(8).map(function).apply(tf.data.experimental.ignore_errors())
            return run(dataset, mode)

    eager, interpreted = outcomes("eager"), outcomes("never")
    assert len(eager) == len(interpreted)
    for ours, reference in zip(eager, interpreted, strict=True):
        np.testing.assert_allclose(ours[0], reference[0], rtol=1e-5)


def test_an_argument_too_many_is_refused() -> None:
    with tf.Graph().as_default():
        traced = trace(lambda x: x, [(tf.int64, [])], "f")
        source = D.zip((D.range(2), D.range(2)))
        mapped = apply_op(
            "MapDataset", source._variant_tensor, [], f=traced, output_types=[tf.int64],
            output_shapes=[()],
        )  # fmt: skip
        dataset = D(mapped, D.range(1)._structure)
        for mode in ("never", "eager"):
            with pytest.raises(tf.errors.InvalidArgumentError, match="takes 1 arguments, not 2"):
                run(dataset, mode)  # type: ignore[arg-type]


def test_the_process_ends_in_peace_while_a_pipeline_works() -> None:
    code = (
        "import numpy as np, flowray as tf\n"
        "images = np.zeros((8, 200, 200, 3), np.uint8)\n"
        "d = tf.data.Dataset.from_tensor_slices(images).repeat()\n"
        "d = d.map(lambda i: tf.image.resize_images(\n"
        "    tf.image.convert_image_dtype(i, tf.float32), [300, 300]), num_parallel_calls=2)\n"
        "e = d.batch(8).prefetch(4).make_one_shot_iterator().get_next()\n"
        "s = tf.Session()\n"
        "for _ in range(40): s.run(e.op)\n"
        "print('done')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == b"done\n"
