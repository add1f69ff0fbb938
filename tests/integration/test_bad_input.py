"""Clients that ask for nonsense: each gets TensorFlow's error, and nobody is harmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import flowray as tf
from flowray.proto import errors
from tests.integration.cluster import Cluster
from tests.wire.bad_requests import GRAPHS, STEPS, base, good_step
from tests.wire.raw import RawClient, step

PS, WORKER0, WORKER1 = "/job:ps/task:0", "/job:worker/task:0", "/job:worker/task:1"
TASKS = (PS, WORKER0, WORKER1)


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[RawClient]:
    tf.Session.reset(cluster.target)
    client = RawClient(cluster.target.removeprefix("grpc://"))
    yield client
    client.close()


# Raw messages


@pytest.mark.parametrize("name", STEPS)
def test_bad_steps(client: RawClient, name: str) -> None:
    bad = STEPS[name]
    sessions = [client.create(base(task)) for task in TASKS]
    for session in sessions:
        with pytest.raises(errors.OpError) as info:
            bad.what(client, session)
        bad.check(info.value)
        good_step(client, session)
    for session in sessions:
        good_step(client, session)
        client.close_session(session)


@pytest.mark.parametrize("name", GRAPHS)
def test_bad_graphs(client: RawClient, name: str) -> None:
    bad = GRAPHS[name]
    session, other = (client.create(base(task)) for task in (PS, WORKER1))
    for ask in (client.create, lambda graph: client.extend(session, graph)):
        with pytest.raises(errors.OpError) as info:
            ask(bad.what)
        bad.check(info.value)
    for handle in (session, other):
        good_step(client, handle)
        client.close_session(handle)


def test_a_message_over_the_limit(client: RawClient) -> None:
    session, other = (client.create(base(task)) for task in (PS, WORKER1))
    feed = np.zeros(13 << 20, np.float32)
    with pytest.raises(errors.ResourceExhaustedError, match="larger than max"):
        client.call("RunStep", step(session, "bad:0", feeds={"product:0": feed}))
    for handle in (session, other):
        good_step(client, handle)
        client.close_session(handle)


# flowray's own client


def unfed_placeholder(sess: tf.Session) -> None:
    with tf.device(WORKER1):
        sess.run(tf.placeholder(tf.float32, [2]) + 1.0)


def wrong_shapes(sess: tf.Session) -> None:
    with tf.device(WORKER0):
        a, b = (tf.placeholder(tf.float32) for _ in range(2))
        sess.run(tf.matmul(a, b), {a: np.ones((2, 3)), b: np.ones((4, 5))})


def index_out_of_range(sess: tf.Session) -> None:
    with tf.device(WORKER0):
        index = tf.placeholder(tf.int32)
        sess.run(tf.gather([1, 2, 3], index), {index: 7})


def bad_reshape(sess: tf.Session) -> None:
    with tf.device(WORKER0):
        shape = tf.placeholder(tf.int32, [2])
        sess.run(tf.reshape(tf.range(6), shape), {shape: [4, 4]})


def uninitialized_variable(sess: tf.Session) -> None:
    with tf.device(PS):
        sess.run(tf.Variable(1.0, name="never_initialized"))


def integer_division_by_zero(sess: tf.Session) -> None:
    with tf.device(WORKER1):
        divisor = tf.placeholder(tf.int32)
        sess.run(tf.floordiv(7, divisor), {divisor: 0})


def request_over_the_limit(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32)
    sess.run(x + 1.0, {x: np.zeros(13 << 20, np.float32)})


NONSENSE: dict[Callable[[tf.Session], None], type[Exception]] = {
    unfed_placeholder: tf.errors.InvalidArgumentError,
    wrong_shapes: tf.errors.InvalidArgumentError,
    index_out_of_range: tf.errors.InvalidArgumentError,
    bad_reshape: tf.errors.InvalidArgumentError,
    uninitialized_variable: tf.errors.FailedPreconditionError,
    integer_division_by_zero: tf.errors.InvalidArgumentError,
    request_over_the_limit: tf.errors.ResourceExhaustedError,
}


def good_fetches() -> dict[str, tf.Tensor]:
    """Builds an op on every task that gives 21."""
    result = {}
    for task in TASKS:
        with tf.device(task):
            result[task] = tf.constant(20) + 1
    return result


@pytest.mark.parametrize("ask", NONSENSE, ids=lambda ask: ask.__name__)
def test_nonsense_is_refused_and_harms_nobody(
    cluster: Cluster, ask: Callable[[tf.Session], None]
) -> None:
    with tf.Graph().as_default():
        good = good_fetches()
        expected = dict.fromkeys(good, 21)
        with tf.Session(cluster.target) as other, tf.Session(cluster.target) as sess:
            assert other.run(good) == expected
            with pytest.raises(NONSENSE[ask]) as raised:
                ask(sess)
            assert raised.value.message
            assert sess.run(good) == expected
            assert other.run(good) == expected
    with tf.Graph().as_default(), tf.Session(cluster.target) as fresh:
        assert fresh.run(good_fetches()) == expected


def test_an_unknown_device(cluster: Cluster) -> None:
    """The graph is spoilt: none of its sessions can take the operation, before or after."""
    with tf.Graph().as_default(), tf.Session(cluster.target) as other:
        good = good_fetches()
        assert other.run(good) == dict.fromkeys(good, 21)
        with tf.Graph().as_default(), tf.Session(cluster.target) as sess:
            with tf.device("/job:nobody/task:3"):
                nowhere = tf.add(1, 1, name="nowhere")
            for fetch in (nowhere, tf.constant(1)):
                with pytest.raises(tf.errors.InvalidArgumentError, match="operation nowhere: "):
                    sess.run(fetch)
        assert other.run(good) == dict.fromkeys(good, 21)
