"""What goes wrong: a worker that dies, a client that asks for nonsense."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import flowray as tf
from tests.integration.cluster import Cluster, eventually, running

PS, WORKER0, WORKER1 = "/job:ps/task:0", "/job:worker/task:0", "/job:worker/task:1"
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError)


@pytest.fixture(scope="module")
def mortal() -> Iterator[Cluster]:
    """A cluster whose processes may be killed."""
    with running("--job", "ps=1", "--job", "worker=2") as cluster:
        yield cluster


def kill(cluster: Cluster, task: str) -> int:
    pid = cluster.pid(task)
    os.kill(pid, signal.SIGKILL)
    return pid


def until_back(cluster: Cluster, task: str, old: int) -> None:
    eventually(lambda: cluster.pid(task) != old, f"{task} is started again")


def test_a_killed_parameter_server(mortal: Cluster) -> None:
    with tf.Graph().as_default(), tf.Session(mortal.target) as sess:
        with tf.device(PS):
            v = tf.Variable([1.0, 2.0], name="v")
        with tf.device(WORKER0):
            doubled = v * 2.0
            unrelated = tf.constant(3) + 4
        sess.run(v.initializer)
        np.testing.assert_array_equal(sess.run(doubled), [2, 4])

        begin = time.monotonic()
        old = kill(mortal, "/job:ps/replica:0/task:0")

        def run_until_it_fails() -> None:
            while True:  # a step may still be quicker than the kill
                sess.run(doubled)

        with pytest.raises(LOST, match="/job:ps/replica:0/task:0"):
            run_until_it_fails()
        assert time.monotonic() - begin < 2
        until_back(mortal, "/job:ps/replica:0/task:0", old)

        # The session that lost its variables does not come back to life, silently reset.
        with pytest.raises(LOST, match="/job:ps/replica:0/task:0"):
            sess.run(doubled)
        with tf.Session(mortal.target) as new:
            with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized"):
                new.run(doubled)
            new.run(v.initializer)
            np.testing.assert_array_equal(new.run(doubled), [2, 4])
            assert new.run(unrelated) == 7


def test_a_worker_killed_in_the_middle_of_a_step(mortal: Cluster) -> None:
    task = "/job:worker/replica:0/task:1"
    with tf.Graph().as_default(), tf.Session(mortal.target) as sess:
        with tf.device(WORKER1):
            x = tf.random_uniform([600, 600])
            for _ in range(2000):
                x = tf.matmul(x, x) * 1e-3
            long = tf.reduce_sum(x)
        with tf.device(WORKER0):
            other = tf.constant(1) + 1
        assert sess.run(other) == 2
        outcome: list[object] = []

        def run() -> None:
            try:
                outcome.append(sess.run(long))
            except tf.errors.OpError as error:
                outcome.append(error)

        idle = cpu_seconds(mortal.pid(task))
        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: cpu_seconds(mortal.pid(task)) > idle + 0.3, "the step runs")
        assert not outcome
        begin = time.monotonic()
        old = kill(mortal, task)
        thread.join(10)
        assert time.monotonic() - begin < 2
        assert isinstance(outcome[0], LOST), outcome
        assert task in str(outcome[0])
        assert sess.run(other) == 2  # the other tasks work on
        until_back(mortal, task, old)
        with tf.Session(mortal.target) as new, tf.device(WORKER1):
            assert new.run(tf.constant(1) + 2) == 3


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Nonsense -----------------------------------------------------------------------------------------


def unknown_device(sess: tf.Session) -> None:
    with sess.graph.as_default(), tf.device("/job:nobody/task:3"):
        sess.run(tf.constant(1) + 1)


def unfed_placeholder(sess: tf.Session) -> None:
    with sess.graph.as_default(), tf.device(WORKER1):
        sess.run(tf.placeholder(tf.float32, [2]) + 1.0)


def wrong_shapes(sess: tf.Session) -> None:
    with sess.graph.as_default(), tf.device(WORKER0):
        a, b = (tf.placeholder(tf.float32) for _ in range(2))
        sess.run(tf.matmul(a, b), {a: np.ones((2, 3)), b: np.ones((4, 5))})


def index_out_of_range(sess: tf.Session) -> None:
    with sess.graph.as_default(), tf.device(WORKER0):
        index = tf.placeholder(tf.int32)
        sess.run(tf.gather([1, 2, 3], index), {index: 7})


def bad_reshape(sess: tf.Session) -> None:
    with sess.graph.as_default(), tf.device(WORKER0):
        shape = tf.placeholder(tf.int32, [2])
        sess.run(tf.reshape(tf.range(6), shape), {shape: [4, 4]})


def uninitialized_variable(sess: tf.Session) -> None:
    with sess.graph.as_default(), tf.device(PS):
        sess.run(tf.Variable(1.0, name="never_initialized"))


def integer_division_by_zero(sess: tf.Session) -> None:
    with sess.graph.as_default(), tf.device(WORKER1):
        divisor = tf.placeholder(tf.int32)
        sess.run(tf.floordiv(7, divisor), {divisor: 0})


NONSENSE: dict[Callable[[tf.Session], None], type[Exception]] = {
    unknown_device: tf.errors.InvalidArgumentError,
    unfed_placeholder: tf.errors.InvalidArgumentError,
    wrong_shapes: tf.errors.InvalidArgumentError,
    index_out_of_range: tf.errors.InvalidArgumentError,
    bad_reshape: tf.errors.InvalidArgumentError,
    uninitialized_variable: tf.errors.FailedPreconditionError,
    integer_division_by_zero: tf.errors.InvalidArgumentError,
}


@pytest.mark.parametrize("ask", NONSENSE, ids=lambda ask: ask.__name__)
def test_nonsense_is_refused_and_harms_nobody(
    cluster: Cluster, ask: Callable[[tf.Session], None]
) -> None:
    with tf.Graph().as_default(), tf.Session(cluster.target) as sess:
        good = {}
        for task in (PS, WORKER0, WORKER1):
            with tf.device(task):
                good[task] = tf.constant(20) + 1
        with tf.Session(cluster.target) as other:
            assert other.run(good) == dict.fromkeys(good, 21)
            with pytest.raises(NONSENSE[ask]) as raised:
                ask(sess)
            assert raised.value.message
            assert other.run(good) == dict.fromkeys(good, 21)
        if ask is not unknown_device:  # that one is in the session's graph now, for good
            assert sess.run(good) == dict.fromkeys(good, 21)
    with tf.Graph().as_default(), tf.Session(cluster.target) as fresh:
        assert fresh.run(tf.constant(1) + 1) == 2
