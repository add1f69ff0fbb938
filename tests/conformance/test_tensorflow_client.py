"""A real TensorFlow as the client: ``Session("grpc://...")`` against a cluster of flowray's.

The graphs are built by TensorFlow; what flowray computes is held against TensorFlow's own
in-process session.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.conformance import main_job
from tests.integration.cluster import Cluster, running

tf = pytest.importorskip("tensorflow").compat.v1
tf.disable_v2_behavior()

STEPS = 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running("--job", "ps=1", "--job", "worker=2") as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    with main_job.fresh_graph(tf):
        yield


def test_the_product_of_two_constants_on_other_tasks(cluster: Cluster) -> None:
    product = main_job.matmul(tf, main_job.CLUSTER)
    with tf.Session(cluster.target) as session:
        np.testing.assert_array_equal(session.run(product), [[12.0]])


def test_devices(cluster: Cluster) -> None:
    with tf.Session(cluster.target) as session:
        names = [device.name for device in session.list_devices()]
    for task in ("ps/replica:0/task:0", "worker/replica:0/task:0", "worker/replica:0/task:1"):
        assert f"/job:{task}/device:CPU:0" in names


@pytest.mark.parametrize(
    ("program", "channels"), [(main_job.softmax_regression, 1), (main_job.cnn, 3)]
)
def test_training_as_tensorflow_itself(cluster: Cluster, program, channels) -> None:
    batches = main_job.digit_batches(STEPS, 64, channels)
    with tf.Session() as session:
        local = program(tf, main_job.Places())
        weights, losses = main_job.train(session, local, tf.global_variables_initializer(), batches)
    with main_job.fresh_graph(tf):
        remote = program(tf, main_job.CLUSTER)
        init = tf.global_variables_initializer()
        with tf.Session(cluster.target) as session:
            ours, our_losses = main_job.train(session, remote, init, batches)
    for mine, theirs in zip(ours, weights, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(our_losses, losses, rtol=1e-4)
    assert losses[-1] < losses[0]


def test_callables_and_run_options(cluster: Cluster) -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    with tf.device("/job:worker/task:1"):
        y = tf.multiply(x, 2.0, name="y")
    with tf.Session(cluster.target) as session:
        double = session.make_callable(y, [x])
        np.testing.assert_array_equal(double(np.float32([1, 2])), [2, 4])
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE, output_partition_graphs=True)
        metadata = tf.RunMetadata()
        session.run(y, {x: [1, 2]}, options=options, run_metadata=metadata)
        traced = {n.node_name for d in metadata.step_stats.dev_stats for n in d.node_stats}
        assert "y" in traced
        placed = {node.name: node.device for g in metadata.partition_graphs for node in g.node}
        assert "/job:worker/replica:0/task:1" in placed["y"]


def test_errors_name_the_node(cluster: Cluster) -> None:
    a = tf.placeholder(tf.float32, [None, None], name="a")
    product = tf.matmul(a, a, name="product")
    v = tf.get_variable("never_initialized", [2])
    with tf.Session(cluster.target) as session:
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            session.run(product, {a: np.zeros([2, 3], np.float32)})
        assert caught.value.op is product.op
        with pytest.raises(tf.errors.FailedPreconditionError, match="never_initialized"):
            session.run(v)
        with pytest.raises(tf.errors.InvalidArgumentError, match="placeholder"):
            session.run(product)
        np.testing.assert_array_equal(session.run(product, {a: np.eye(2)}), np.eye(2))


def test_conditions_of_version_1_and_2(cluster: Cluster) -> None:
    p = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float32, [3])
    y = tf.cond(p, lambda: x * x, lambda: tf.zeros([3]))
    gradient = tf.gradients(y, x)[0]
    with tf.Session(cluster.target) as session:
        for value, expected in ((True, [2, 4, 6]), (False, [0, 0, 0])):
            got = session.run(gradient, {p: value, x: [1, 2, 3]})
            np.testing.assert_array_equal(got, expected)
    tf.enable_control_flow_v2()
    try:
        z = tf.cond(p, lambda: x + 1.0, lambda: -x)
    finally:
        tf.disable_control_flow_v2()
    assert z.op.type in ("Identity", "If", "StatelessIf")
    with tf.Session(cluster.target) as session:
        np.testing.assert_array_equal(session.run(z, {p: True, x: [1, 2, 3]}), [2, 3, 4])
        np.testing.assert_array_equal(session.run(z, {p: False, x: [1, 2, 3]}), [-1, -2, -3])


def test_loops_and_their_gradients(cluster: Cluster) -> None:
    """A recurrent network whose variables are on the parameter server; some steps of training."""

    def build(places: main_job.Places):
        with tf.device(places):
            x = tf.placeholder(tf.float32, [None, 2, 3])
            w = tf.get_variable("w", initializer=np.full([3, 3], 0.3, np.float32))
            h = tf.scan(lambda h, row: tf.tanh(tf.matmul(h, w) + row), x, tf.zeros([2, 3]))
            loss = tf.reduce_mean((h[-1] - 0.5) ** 2)
            step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
        return x, loss, step, tf.global_variables_initializer()

    batches = [np.random.RandomState(i).rand(5 + i % 2, 2, 3) for i in range(6)]

    def train(target: str, places: main_job.Places) -> list[float]:
        with main_job.fresh_graph(tf):
            x, loss, step, init = build(places)
            with tf.Session(target) as session:
                session.run(init)
                return [session.run([loss, step], {x: batch})[0] for batch in batches]

    local = train("", main_job.Places())
    np.testing.assert_allclose(train(cluster.target, main_job.CLUSTER), local, rtol=1e-5)
    assert local[-1] < local[0]


def test_a_deadline_ends_a_step(cluster: Cluster) -> None:
    """No op here blocks for long but a big product."""
    x = tf.random_uniform([3000, 3000])
    for _ in range(20):
        x = tf.matmul(x, x)
    total = tf.reduce_sum(x)
    with tf.Session(cluster.target) as session:
        start = time.monotonic()
        with pytest.raises(tf.errors.DeadlineExceededError):
            session.run(total, options=tf.RunOptions(timeout_in_ms=100))
        assert time.monotonic() - start < 2
