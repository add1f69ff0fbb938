"""Loops on one task of several: variables, and what comes before and after, on others."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf
from flowray.proto import errors
from tests.unit.master.cluster import PS, WORKER, Cluster

X = np.float32([[1, 2], [3, 4], [5, 6]])


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=["never", "eager"])
def run(request):
    return Cluster(request.param)


@pytest.mark.parametrize("use_resource", [False, True])
def test_weights_on_a_parameter_server(run, use_resource):
    """As between-graph replication has it: the loop and its gradient on the worker."""
    x = tf.placeholder(tf.float32, [3, 2])
    with tf.device(PS):
        w = tf.get_variable("w", initializer=np.float32([0.5, 2.0]), use_resource=use_resource)
    with tf.device(WORKER):
        y = tf.scan(lambda a, row: a * w + row, x)
        loss = tf.reduce_sum(y[-1])
        gradient = tf.gradients(loss, [w])[0]
    with tf.device(PS):
        update = w.assign_sub(0.1 * gradient)
    value = w.value()
    run(targets=[w.initializer])
    result, slope = run([y, gradient], {x: X})
    np.testing.assert_allclose(result[-1], [1 * 0.25 + 3 * 0.5 + 5, 2 * 4 + 4 * 2 + 6])
    np.testing.assert_allclose(slope, [2 * 1 * 0.5 + 3, 2 * 2 * 2 + 4])
    run(targets=[update.op], feeds={x: X})
    np.testing.assert_allclose(run([value])[0], [0.5 - 0.4, 2 - 1.2], rtol=1e-6)


def test_the_backward_loop_comes_after_another_task_had_its_say(run):
    """The stacks of the forward loop stay on its task until the step ends."""
    x = tf.placeholder(tf.float32, [2])
    with tf.device(WORKER):
        _, y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * x), [0, x])
    with tf.device(PS):
        z = tf.exp(0.1 * y)
    with tf.device(WORKER):
        gradient = tf.gradients(z * 1.0, x, colocate_gradients_with_ops=True)[0]
    value = np.float32([1, 2])
    expected = np.exp(0.1 * value**4) * 0.1 * 4 * value**3
    for _ in range(3):
        np.testing.assert_allclose(run([gradient], {x: value})[0], expected, rtol=1e-5)
    for worker in run.workers:
        assert not worker._runtime._steps, "the step has ended"


def test_nodes_of_other_tasks_come_to_the_loop(run):
    x = tf.placeholder(tf.float32, [])

    def body(i, y):
        with tf.device(PS):
            y = y * x
        with tf.device(WORKER):
            return i + 1, y + 1.0

    _, y = tf.while_loop(lambda i, _: i < 3, body, [0, x])
    assert run([y], {x: 2}) == [((2 * 2 + 1) * 2 + 1) * 2 + 1]


def test_state_on_two_tasks_is_refused(run):
    with tf.device(PS):
        v = tf.Variable(1.0)
    with tf.device(WORKER):
        w = tf.Variable(1.0)

    def body(i):
        with tf.control_dependencies([v.assign_add(1.0), w.assign_add(1.0)]):
            return i + 1

    y = tf.while_loop(lambda i: i < 3, body, [0])
    with pytest.raises(errors.UnimplementedError, match=f"several tasks: {PS}, {WORKER}"):
        run([y])
