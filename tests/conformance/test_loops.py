"""Loops: graphs that TensorFlow built, with its gradients, give on flowray what they give there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flowray
from flowray.deploy.in_process import InProcessTransport
from flowray.proto.messages import config_pb2, graph_pb2
from flowray.worker.runtime import RuntimeOptions
from tests.conformance.loop_programs import PROGRAMS, Built
from tests.steps import run_step

tensorflow = pytest.importorskip("tensorflow")
tf = tensorflow.compat.v1


@pytest.fixture(autouse=True)
def graph(tensorflow_1):
    with tf.Graph().as_default():
        yield


def tensors_of(tf: Any, built: Built) -> list[Any]:
    return [
        tf.convert_to_tensor(item) if hasattr(item, "values") else item for item in built.fetches
    ]


class Runner:
    """Runs a GraphDef, whoever made it, on a flowray of this process."""

    def __init__(self, graph_def: Any, mode: Any) -> None:
        self._transport = InProcessTransport(
            config_pb2.ConfigProto(), RuntimeOptions(compile=mode, gpus=0)
        )
        parsed = graph_pb2.GraphDef.FromString(graph_def.SerializeToString())
        self._handle = self._transport.create_session(parsed, config_pb2.ConfigProto())

    def __call__(self, fetches: list[Any], feeds: dict[Any, Any], targets: list[Any] = []) -> Any:  # noqa: B006
        values = {t.name: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in feeds.items()}
        fetched, _ = run_step(
            self._transport,
            self._handle,
            list(values),
            list(values.values()),
            [t.name for t in fetches],
            [op.name for op in targets],
        )
        return fetched

    def initialize(self, built: Built) -> None:
        if built.variables:
            self([], {}, [variable.initializer for variable in built.variables])


def theirs(name: str) -> tuple[Built, list[Any], list[Any]]:
    """A program built by TensorFlow, its tensors to fetch, and what they are there."""
    built = PROGRAMS[name](tf)
    fetches = tensors_of(tf, built)
    with tf.Session() as session:
        for variable in built.variables:
            session.run(variable.initializer)
        return built, fetches, session.run(fetches, built.feeds)


def check(ours: list[Any], expected: list[Any]) -> None:
    for i, (mine, wanted) in enumerate(zip(ours, expected, strict=True)):
        assert mine.dtype == wanted.dtype, i
        assert mine.shape == wanted.shape, i
        np.testing.assert_allclose(mine, wanted, rtol=2e-5, atol=1e-6, err_msg=str(i))


@pytest.mark.parametrize("mode", ["never", "eager"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_tensorflow_built(name, mode):
    built, fetches, expected = theirs(name)
    run = Runner(tf.get_default_graph().as_graph_def(), mode)
    run.initialize(built)
    check(run(fetches, built.feeds), expected)


@pytest.mark.parametrize("mode", ["never", "eager"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_flowray_builds(name, mode):
    _, _, expected = theirs(name)
    with flowray.Graph().as_default() as graph:
        built = PROGRAMS[name](flowray)
        fetches = tensors_of(flowray, built)
        run = Runner(graph.as_graph_def(), mode)
        run.initialize(built)
        check(run(fetches, built.feeds), expected)


# Nodes -----------------------------------------------------------------------------------------


def counted(tf):
    x = tf.placeholder(tf.float32, [2, 2], name="x")
    y = x * 2.0
    tf.while_loop(
        lambda i, a: tf.logical_and(i < 3, tf.reduce_sum(a) < 4.0),
        lambda i, a: [i + 1, tf.matmul(a, y)],
        [tf.constant(0), x],
        maximum_iterations=5,
    )


def nested(tf):
    x = tf.placeholder(tf.float32, [3], name="x")

    def body(i, a):
        inner = tf.while_loop(lambda j, _: j < i, lambda j, b: (j + 1, b + x), [0, a])
        return i + 1, inner[1]

    tf.while_loop(lambda i, _: i < 4, body, [0, x], name="loop")


def condition_inside(tf):
    x = tf.placeholder(tf.float32, [3], name="x")

    def body(i, a):
        return i + 1, tf.cond(i < 2, lambda: a * x, lambda: a)

    tf.while_loop(lambda i, _: i < 4, body, [0, x])


def loop_inside_a_condition(tf):
    x = tf.placeholder(tf.float32, [3], name="x")

    def loop():
        return tf.while_loop(lambda i, _: i < 4, lambda i, a: (i + 1, a * x), [0, x])[1]

    tf.cond(x[0] > 0.0, loop, lambda: x)


def variables(tf):
    x = tf.placeholder(tf.float32, [2, 2], name="x")
    zeros = tf.zeros_initializer()
    v = tf.get_variable("v", [2, 2], initializer=zeros)
    r = tf.get_variable("r", [2, 2], initializer=zeros, use_resource=True)

    def body(i, a):
        with tf.control_dependencies([v.assign_add(x)]):
            return i + 1, tf.matmul(a, v) + r

    tf.while_loop(lambda i, _: i < 4, body, [0, x])


def rows(tf):
    x = tf.placeholder(tf.float32, [4, 3], name="x")
    tf.map_fn(lambda row: row * row, x)
    tf.scan(lambda a, row: a + row * row, x)
    tf.foldl(lambda a, row: a + row * row, x)
    tf.foldr(lambda a, row: a + row * row, x)


def rows_of_unknown_number(tf):
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    tf.map_fn(lambda row: row * row, x, dtype=tf.float32)
    tf.scan(lambda a, row: a + row * row, x, reverse=True, initializer=tf.ones([3]))


def arrays(tf):
    x = tf.placeholder(tf.float32, [4, 3], name="x")
    first = tf.TensorArray(tf.float32, size=4).unstack(x)
    second = first.write(1, x[0])
    second.read(0)
    second.stack()
    second.size()
    second.split(x, [1, 3])
    second.scatter([0, 1], x[:2])
    second.close()
    tf.TensorArray(tf.float32, size=0, dynamic_size=True, name="grows").size()


@pytest.mark.parametrize(
    "program",
    [counted, nested, condition_inside, loop_inside_a_condition, variables, rows,
     rows_of_unknown_number, arrays],
)  # fmt: skip
def test_the_nodes_are_tensorflows(program):
    ours, theirs = nodes_of(flowray, program), nodes_of(tf, program)
    for mine, wanted in zip(ours, theirs, strict=False):
        assert mine == wanted
    assert len(ours) == len(theirs)


def nodes_of(tf, program):
    with tf.Graph().as_default() as graph:
        program(tf)
        found = []
        for op in graph.get_operations():
            attrs = {
                key: getattr(op.node_def.attr[key], kind)
                for key, kind in (("frame_name", "s"), ("is_constant", "b"))
                if key in op.node_def.attr
            }
            found.append(
                (
                    op.name,
                    op.type,
                    [t.name for t in op.inputs],
                    sorted(c.name for c in op.control_inputs),
                    sorted(op.colocation_groups()),
                    [str(t.shape).replace("None", "?") for t in op.outputs],
                    attrs,
                )
            )
        return found
