"""Gradients through functions, and the conditions and loops that are ops in them."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.function import trace, trace_branches
from flowray.client.framework.op_builder import make_op
from flowray.client.ops.functional_ops import call
from flowray.deploy.in_process import InProcessTransport
from flowray.worker.runtime import RuntimeOptions
from tests.steps import run_step

X = np.float32([1, 2, 3])


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture
def x():
    return tf.placeholder(tf.float32, [3], name="x")


@pytest.fixture
def w():
    return tf.get_variable("w", initializer=[2.0, 3.0, 4.0], use_resource=True)


@pytest.fixture(params=["never", "eager"])
def run(request, graph):
    transport = InProcessTransport(tf.ConfigProto(), RuntimeOptions(compile=request.param, gpus=0))

    def run(fetches, feeds):
        handle = transport.create_session(graph.as_graph_def(), tf.ConfigProto())
        values = {t.name: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in feeds.items()}
        initializers = [v.initializer.name for v in tf.global_variables()]
        if initializers:
            run_step(transport, handle, [], [], [], initializers, None)
        fetched, _ = run_step(
            transport,
            handle,
            list(values),
            list(values.values()),
            [t.name for t in fetches],
            [],
            None,
        )
        return fetched

    return run


def both_ways(run, function, x, *more, value=X, shape=(3,)):
    """Runs a function and its gradients, called as an op and built into the graph."""
    (called,) = call(trace(function, [(tf.float32, shape)], "f"), [x])
    built = function(x)
    through, plain = tf.gradients(called, [x, *more]), tf.gradients(built, [x, *more])
    assert [g is None for g in through] == [g is None for g in plain]
    fetches = [called, *(tf.convert_to_tensor(g) for g in through if g is not None)]
    expected = [built, *(tf.convert_to_tensor(g) for g in plain if g is not None)]
    results = run(fetches + expected, {x: value})
    half = len(fetches)
    for got, wanted in zip(results[:half], results[half:], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_a_call(run, x, w):
    both_ways(run, lambda x: tf.sin(x) * w * x, x, w)


def test_a_call_of_a_function_that_calls_another(run, x):
    inner = trace(lambda y: y * y, [(tf.float32, [3])], "inner")
    outer = trace(lambda y: call(inner, [tf.exp(y)]), [(tf.float32, [3])], "outer")
    gradient = tf.gradients(call(outer, [x])[0], x)[0]
    np.testing.assert_allclose(run([gradient], {x: X})[0], 2 * np.exp(2 * X), rtol=1e-5)


@pytest.mark.parametrize("limit", [3.0, 30.0])
def test_conditions(run, x, w, limit):
    """One branch uses the variable, the other one does not."""
    both_ways(run, lambda x: tf.cond(tf.reduce_sum(x) > limit, lambda: x * w, lambda: x * x), x, w)


@pytest.mark.parametrize("index", [0, 1, 2, 7])
def test_cases(run, x, index):
    branches = trace_branches(
        [lambda: x * x, lambda: tf.sin(x), lambda: x * 3.0], ["a", "b", "c"], lambda r: [r]
    )
    captures = branches[0].captures
    (y,) = make_op(
        "StatelessCase", tf.constant(index), captures, Tin=[t.dtype for t in captures],
        Tout=[tf.float32], branches=branches,
    ).outputs  # fmt: skip
    gradient = tf.gradients(y, x)[0]
    expected = [2 * X, np.cos(X), 3 + 0 * X][min(index, 2)]
    np.testing.assert_allclose(run([gradient], {x: X})[0], expected, rtol=1e-6)


def test_loops(run, x, w):
    def function(x):
        return tf.while_loop(lambda i, _: i < 4, lambda i, y: (i + 1, tf.sin(y) * x * w), [0, x])[1]

    both_ways(run, function, x, w)


def test_loops_with_conditions_and_loops_in_them(run, x):
    def inner(y):
        return tf.while_loop(lambda j, _: j < 2, lambda j, z: (j + 1, tf.sin(z) * x), [0, y])[1]

    def function(x):
        def body(i, y):
            return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: inner(y), lambda: y * x)

        return tf.while_loop(lambda i, _: i < 4, body, [0, x])[1]

    both_ways(run, function, x)


def test_shapes_that_only_a_run_knows(run):
    x = tf.placeholder(tf.float32, [None, 2])

    def function(x):
        return tf.while_loop(
            lambda i, _: i < 3, lambda i, y: (i + 1, y * x + tf.reduce_sum(x, 0)), [0, x]
        )[1]

    value = np.arange(6, dtype=np.float32).reshape(3, 2) / 10
    both_ways(run, function, x, value=value, shape=(None, 2))


def test_rows_that_are_read_in_a_function(run, x):
    """The array of gradients is found under the name of the call of tf.gradients."""

    def function(x):
        array = tf.TensorArray(tf.float32, 3).unstack(x)
        return array.read(0) * array.read(2) * tf.ones([3])

    tf.gradients(x * x, x)  # so that the next one is called gradients_1
    both_ways(run, function, x)


def test_what_has_no_gradient(x):
    def gradient_of(function):
        return tf.gradients(call(trace(function, [(tf.float32, [3])], "f"), [x])[0], x)

    with pytest.raises(NotImplementedError, match="its node 'random_uniform/RandomUniform'"):
        gradient_of(lambda x: x * tf.random_uniform([3]))
    with pytest.raises(NotImplementedError, match="is a resource"):
        gradient_of(lambda x: tf.map_fn(lambda e: e * e, x))
    assert gradient_of(lambda x: tf.stop_gradient(x)) == [None]
