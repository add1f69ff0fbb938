"""Functions traced from Python: arguments, captures, nesting, and running them in a session."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.function import trace
from flowray.client.ops.functional_ops import call
from flowray.deploy.in_process import InProcessTransport
from flowray.proto.graph import functions
from flowray.worker.runtime import CompileMode, RuntimeOptions
from tests.steps import run_step


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=["never", "eager"])
def run(request: pytest.FixtureRequest, graph: tf.Graph):
    mode: CompileMode = request.param

    def run(fetches, feeds=None):
        transport = InProcessTransport(tf.ConfigProto(), RuntimeOptions(compile=mode))
        handle = transport.create_session(graph.as_graph_def(), tf.ConfigProto())
        feeds = {t.name: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in (feeds or {}).items()}
        names = [t.name for t in fetches]
        return run_step(transport, handle, list(feeds), list(feeds.values()), names, [], None)[0]

    return run


def test_arguments_and_results(run):
    function = trace(lambda a, b: [a + b, a - b], [(tf.float32, [2]), (tf.float32, [2])], "f")
    x = tf.placeholder(tf.float32, [2])
    total, difference = call(function, [x, tf.constant([1.0, 2.0])])
    assert total.shape == [2]
    values = run([total, difference], {x: [3, 3]})
    np.testing.assert_array_equal(values[0], np.float32([4, 5]))
    np.testing.assert_array_equal(values[1], np.float32([2, 1]))


def test_tensors_around_are_captured(run):
    x = tf.placeholder(tf.float32, [])
    function = trace(lambda a: a * x, [(tf.float32, [])], "scaled")
    assert function.captures == [x]
    (result,) = call(function, [5.0])
    assert run([result], {x: 3}) == [15]


def test_a_function_in_a_function_captures_through_both(run):
    x = tf.placeholder(tf.float32, [])

    def outer(a):
        inner = trace(lambda b: b * x + a, [(tf.float32, [])], "inner")
        assert [t.graph for t in inner.captures] == [tf.get_default_graph()] * 2
        return call(inner, [10.0])

    (result,) = call(trace(outer, [(tf.float32, [])], "outer"), [1.0])
    assert run([result], {x: 2}) == [21]


def test_random_ops_of_a_function_have_state(run, graph):
    def draw():
        return tf.random_uniform([3], seed=5)

    (drawn,) = call(trace(draw, [], "draw"), [])
    assert drawn.op.type == "StatefulPartitionedCall"
    np.testing.assert_array_equal(run([drawn])[0], run([draw()])[0])


def test_control_dependencies_outside_do_not_enter():
    with tf.control_dependencies([tf.no_op()]):
        function = trace(lambda: tf.constant(1), [], "f")
    assert all(not node.input for node in function.definition.node_def)


def test_a_reference_cannot_be_captured():
    handle = tf.get_default_graph().create_op(
        "VariableV2", [], attrs={"shape": (), "dtype": tf.float32}
    )
    with pytest.raises(ValueError, match="Cannot capture the reference VariableV2:0"):
        trace(lambda: tf.identity(handle.outputs[0]._op.outputs[0]), [], "f")


def test_the_library_travels_and_names_are_unique(graph):
    first = trace(lambda: tf.constant(1), [], "f")
    second = trace(lambda: tf.constant(2), [], "f")
    assert first.name != second.name
    names = [f.signature.name for f in graph.as_graph_def().library.function]
    assert names == [first.name, second.name]


def test_the_body_is_the_graph_again():
    function = trace(lambda a: tf.unstack(a)[1] + 1.0, [(tf.float32, [2])], "f")
    body = functions.body_of(function.definition, {}, {})
    assert body.inputs == ("args_0:0",)
    assert [n.op for n in body.graph.node] == ["Unpack", "Const", "AddV2"]
    assert list(body.graph.node[2].input) == ["unstack:1", "add/y:0"]
    assert body.outputs == ("add:0",)
