"""Training over three tasks: variables on one, the network on another."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import flowray as tf
from tests.integration.cluster import Cluster, eventually

PS, WORKER0, WORKER1 = "/job:ps/task:0", "/job:worker/task:0", "/job:worker/task:1"


def softmax_regression(ps: str = "", worker: str = "") -> tuple:
    """Placeholders, loss and training step; every step goes ps -> worker -> ps."""
    with tf.device(ps):
        W = tf.Variable(tf.zeros([784, 10]), name="W")
        b = tf.Variable(tf.zeros([10]), name="b")
    with tf.device(worker):
        x = tf.placeholder(tf.float32, [None, 784])
        y_ = tf.placeholder(tf.float32, [None, 10])
        y = tf.nn.softmax(tf.matmul(x, W) + b)
        loss = tf.reduce_mean(-tf.reduce_sum(y_ * tf.log(y), reduction_indices=[1]))
        train = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    return x, y_, loss, train


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(7)
    truth = random.normal(size=(784, 10))
    result = []
    for _ in range(count):
        images = random.random((50, 784), np.float32) - 0.5
        labels = np.eye(10, dtype=np.float32)[np.argmax(images @ truth, axis=1)]
        result.append((images, labels))
    return result


def train(target: str, ps: str = "", worker: str = "", steps: int = 30) -> list[float]:
    with tf.Graph().as_default():
        x, y_, loss, step = softmax_regression(ps, worker)
        with tf.Session(target) as sess:
            sess.run(tf.global_variables_initializer())
            return [
                float(sess.run([loss, step], {x: images, y_: labels})[0])
                for images, labels in batches(steps)
            ]


def test_three_stages_train_as_one_process_does(cluster: Cluster) -> None:
    tf.Session.reset(cluster.target)
    there = train(cluster.target, PS, WORKER0)
    np.testing.assert_allclose(there, train(""), rtol=1e-4)
    assert there[-1] < there[0]


def test_sessions_share_variables_by_name(cluster: Cluster) -> None:
    tf.Session.reset(cluster.target)

    def graph() -> tuple:
        with tf.device(PS):
            v = tf.Variable([1.0, 2.0], name="shared")
        return v, tf.assign_add(v, [10.0, 10.0])

    with tf.Graph().as_default(), tf.Session(cluster.target) as first:
        v, add = graph()
        first.run(v.initializer)
        with tf.Graph().as_default(), tf.Session(cluster.target) as second:
            other, add_there = graph()
            np.testing.assert_array_equal(second.run(other), [1, 2])
            second.run(add_there)
        np.testing.assert_array_equal(first.run(v), [11, 12])
        np.testing.assert_array_equal(first.run(add), [21, 22])


def test_workers_update_one_variable_at_the_same_time(cluster: Cluster) -> None:
    tf.Session.reset(cluster.target)
    failures: list[BaseException] = []

    def work(worker: str) -> None:
        try:
            with tf.Graph().as_default(), tf.Session(cluster.target) as sess:
                with tf.device(PS):
                    v = tf.Variable(0.0, name="counter")
                with tf.device(worker):
                    one = tf.add(tf.constant(0.5), 0.5)
                add = tf.assign_add(v, one, use_locking=True)
                for _ in range(50):
                    sess.run(add.op)
        except BaseException as error:
            failures.append(error)

    with tf.Graph().as_default(), tf.Session(cluster.target) as sess:
        with tf.device(PS):
            v = tf.Variable(0.0, name="counter")
        sess.run(v.initializer)
        threads = [threading.Thread(target=work, args=(w,)) for w in (WORKER0, WORKER1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures, failures
        assert sess.run(v) == 100


@pytest.mark.parametrize("megabytes", [1, 20, 70])
def test_large_tensors_cross_tasks(cluster: Cluster, megabytes: int) -> None:
    size = megabytes * 250_000
    with tf.Graph().as_default(), tf.Session(cluster.target) as sess:
        with tf.device(WORKER0):
            ramp = tf.range(size) * 2
        with tf.device(WORKER1):
            result = ramp + 1
        np.testing.assert_array_equal(sess.run(result), np.arange(size, dtype=np.int32) * 2 + 1)


def test_a_task_uses_the_memory_of_a_step_again(cluster: Cluster) -> None:
    tf.Session.reset(cluster.target)
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 64, 64, 3])
        filters = tf.Variable(tf.fill([3, 3, 3, 64], 0.01))
        h = tf.nn.relu(tf.nn.conv2d(x, filters, strides=[1, 1, 1, 1], padding="SAME"))
        h = tf.nn.relu(h * 0.5 + tf.reduce_mean(h))
        step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(h * h))
        with tf.Session(cluster.target) as sess:
            sess.run(tf.global_variables_initializer())
            images = np.ones([32, 64, 64, 3], np.float32)
            pid = cluster.pid("/job:worker/replica:0/task:0")

            def new_megabytes() -> float:
                before = page_faults(pid)
                for _ in range(5):
                    sess.run(step, {x: images})
                return (page_faults(pid) - before) * 4096 / 2**20

            # Until it is compiled, every op makes an array; one of these has 33 MB.
            eventually(lambda: new_megabytes() < 5, "steps need no more memory", 60)


def page_faults(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[7])
