"""flowray's own client against the service."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import numpy as np
import pytest

import flowray as tf
from flowray.master.service import ServiceOptions
from tests.unit.master.fakes import PS, W0, W1
from tests.wire.conftest import HeldService, Service
from tests.wire.raw import SECONDS


def test_a_session(service: Service) -> None:
    with tf.Graph().as_default(), tf.Session(service.target) as sess:
        with tf.device("/job:ps"):
            p = tf.placeholder(tf.float32, [None])
            doubled = p * 2.0
        with tf.device("/job:worker/task:1"):
            total = tf.reduce_sum(doubled)
        assert sess.run([total, p], {p: [1, 2]})[0] == 6
        more = total + 1.0  # the graph grows after its first run
        assert sess.run(more, {p: [1, 2]}) == 7
        assert [d.name for d in sess.list_devices()] == [
            f"{task}/device:CPU:0" for task in (PS, W0, W1)
        ]
    assert not service.master.sessions


def test_errors_name_the_clients_operation(service: Service) -> None:
    with tf.Graph().as_default(), tf.Session(service.target) as sess:
        a, b = tf.placeholder(tf.float32, name="a"), tf.placeholder(tf.float32, name="b")
        with tf.device("/job:worker/task:1"):
            product = tf.matmul(a, b, name="product")
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="Matrix size-incompatible"
        ) as info:
            sess.run(product, {a: np.ones((2, 3)), b: np.ones((2, 3))})
        assert info.value.op is product.op
        with pytest.raises(tf.errors.InvalidArgumentError, match="feed a value for placeholder"):
            sess.run(product, {a: np.ones((2, 3))})
        np.testing.assert_array_equal(
            sess.run(product, {a: np.ones((2, 3)), b: np.ones((3, 1))}), [[3], [3]]
        )


def test_a_missing_checkpoint_is_looked_for_on_two_kinds_of_machines(
    service: Service, tmp_path: Path
) -> None:
    with tf.Graph().as_default(), tf.Session(service.target) as sess:
        saver = tf.train.Saver([tf.Variable(1.0)])
        missing = str(tmp_path / "missing")
        with pytest.raises(ValueError, match="is not a valid checkpoint") as info:
            saver.restore(sess, missing)
    assert str(info.value) == (
        f"The passed save_path is not a valid checkpoint: {missing} (The client looks for it on "
        "its own machine, the tasks of the cluster on theirs.)"
    )


def test_a_request_over_the_limit_harms_nobody() -> None:
    held = HeldService(ServiceOptions(max_message_bytes=100_000))
    try:
        with tf.Graph().as_default():
            p = tf.placeholder(tf.float32)
            negative = -p
            with tf.Session(held.target) as sess, tf.Session(held.target) as other:
                assert sess.run(negative, {p: 1}) == other.run(negative, {p: 1}) == -1
                with pytest.raises(tf.errors.ResourceExhaustedError, match=r"vs\. 100000 bytes"):
                    sess.run(negative, {p: np.zeros(100_000)})
                assert sess.run(negative, {p: 2}) == other.run(negative, {p: 2}) == -2
    finally:
        held.stop()


def test_a_graph_over_the_limit_harms_nobody() -> None:
    held = HeldService(ServiceOptions(max_message_bytes=100_000))
    try:
        with tf.Graph().as_default(), tf.Session(held.target) as sess:
            one = tf.constant(1.0)
            assert sess.run(one) == 1
            with tf.Graph().as_default() as large, tf.Session(held.target, large) as other:
                big = tf.constant(np.zeros(100_000, np.float32))
                with pytest.raises(tf.errors.ResourceExhaustedError, match="larger than max"):
                    other.run(big)
            assert sess.run(one) == 1
    finally:
        held.stop()


@pytest.mark.parametrize("by", ["config", "options"])
def test_a_deadline(held: HeldService, by: str) -> None:
    milliseconds = 300
    config = tf.ConfigProto(operation_timeout_in_ms=milliseconds if by == "config" else 0)
    options = tf.RunOptions(timeout_in_ms=milliseconds) if by == "options" else None
    with tf.Graph().as_default(), tf.Session(held.target, config=config) as sess:
        waits, quick = tf.constant(1.0, name="held"), tf.constant(2.0)
        with pytest.raises(tf.errors.DeadlineExceededError, match="Deadline Exceeded"):
            sess.run(waits, options=options)
        assert sess.run(quick) == 2


def test_another_thread_closes_the_session(held: HeldService) -> None:
    with tf.Graph().as_default():
        waits = tf.constant(1.0, name="held")
        sess = tf.Session(held.target)
        outcome: list[BaseException] = []

        def run() -> None:
            try:
                sess.run(waits)
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        held.w0.wait_until_held()
        sess.close()
        thread.join(SECONDS)
        assert isinstance(outcome[0], tf.errors.CancelledError), outcome
        with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
            sess.run(waits)
    held.w0.wait_for("end_session")
    assert not held.master.sessions


def test_steps_of_many_threads_in_one_session(service: Service) -> None:
    with tf.Graph().as_default(), tf.Session(service.target) as sess:
        p = tf.placeholder(tf.float32)
        with tf.device("/job:worker/task:1"):
            negative = -p
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for i in range(20):
                    assert sess.run(negative, {p: number * 100 + i}) == -(number * 100 + i)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert not failures, failures


def test_nobody_serves_there() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        target = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        config = tf.ConfigProto(operation_timeout_in_ms=300)
        with (
            tf.Graph().as_default(),
            tf.Session(target, config=config) as sess,
            pytest.raises(tf.errors.DeadlineExceededError),
        ):
            sess.run(tf.constant(1))
