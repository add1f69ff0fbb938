"""Conditions whose branches lie on several tasks: dead values and predicates cross, too."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf
from tests.unit.master.cluster import PS, WORKER, Cluster


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=["never", "eager"])
def run(request):
    return Cluster(request.param)


def test_a_branch_computes_on_another_task(run):
    p = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float32, [2])

    def there():
        with tf.device(PS):
            doubled = x * 2.0
        return doubled + 1.0

    with tf.device(WORKER):
        result = tf.cond(p, there, lambda: x)
    np.testing.assert_array_equal(run([result], {p: True, x: [1, 2]})[0], [3, 5])
    np.testing.assert_array_equal(run([result], {p: False, x: [1, 2]})[0], [1, 2])


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_variable_is_written_only_in_the_branch(run, use_resource):
    p = tf.placeholder(tf.bool, [])
    with tf.device(PS):
        v = tf.Variable(1.0, use_resource=use_resource)
    with tf.device(WORKER):
        amount = tf.placeholder(tf.float32, [])
        add = tf.cond(p, lambda: tf.group(v.assign_add(amount)), lambda: tf.no_op())
    value = v.value()
    run(targets=[v.initializer])
    for predicate in (True, False, True):
        run(targets=[add.op], feeds={p: predicate, amount: 2})
    assert run([value]) == [5]


def test_what_only_waits_for_the_branch_obeys_the_condition(run):
    """The op on the other task has no input from the branch but a control edge."""
    p = tf.placeholder(tf.bool, [])
    with tf.device(PS):
        v = tf.Variable(1.0)
    value = v.value()
    with tf.device(WORKER):
        _, on = tf.get_default_graph().create_op(
            "Switch", [p, p], attrs={"T": tf.bool}, name="switch"
        ).outputs  # fmt: skip
        live = tf.identity(on, name="live")
    with tf.control_dependencies([live]), tf.device(PS):
        write = v.assign_add(1.0).op
    run(targets=[v.initializer])
    for predicate in (True, False, False, True):
        run(targets=[write], feeds={p: predicate})
    assert run([value]) == [3]


def test_a_predicate_from_another_task(run):
    with tf.device(PS):
        p = tf.placeholder(tf.float32, []) > 0.0
    x = p.op.inputs[0]
    with tf.device(WORKER):
        result = tf.cond(p, lambda: tf.cond(x > 5.0, lambda: 3, lambda: 2), lambda: 1)
    assert [run([result], {x: v})[0] for v in (-1, 2, 7)] == [1, 2, 3]


def test_branches_that_assign_a_variable_of_another_task(run):
    p = tf.placeholder(tf.bool, [])
    with tf.device(PS):
        v = tf.Variable(0.0)
    with tf.device(WORKER):
        result = tf.cond(p, lambda: tf.assign_add(v, 1.0), lambda: tf.assign_sub(v, 10.0))
        doubled = result * 2.0
    run(targets=[v.initializer])
    found = [run([result, doubled], {p: taken}) for taken in (True, True, False)]
    assert found == [[1, 2], [2, 4], [-8, -16]]
