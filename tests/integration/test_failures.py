"""Processes that die: of the cluster, and of its clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import flowray as tf
from tests.integration.cluster import ENVIRONMENT, Cluster, eventually, running

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


def test_a_client_that_vanishes_harms_nobody(cluster: Cluster) -> None:
    script = """
import os, sys, threading
import flowray as tf
with tf.device("/job:worker/task:0"):
    quick = tf.constant(1) + 1
sess = tf.Session(sys.argv[1])
assert sess.run(quick) == 2
threading.Thread(target=sess.run, args=(quick,), daemon=True).start()
os._exit(9)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, cluster.target], env=ENVIRONMENT, timeout=60, check=False
    )
    assert done.returncode == 9
    with tf.Graph().as_default(), tf.Session(cluster.target) as sess:
        for worker in (WORKER0, WORKER1, PS):
            with tf.device(worker):
                assert sess.run(tf.constant(1) + 1) == 2
