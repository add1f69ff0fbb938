"""tf.train's optimizers: what they make, keep and refuse. The numbers are tests/conformance's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.train import training_util
from flowray.client.train.optimizers.moving_averages import assign_moving_average


@pytest.fixture(autouse=True)
def _new_graph() -> Any:
    with tf.Graph().as_default():
        yield


def loss_of(*variables: Any) -> Any:
    return tf.add_n([tf.reduce_sum(tf.square(v)) for v in variables], name="loss")


def run_once(op: Any, *fetches: Any) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(op)
        return session.run(list(fetches))


# Names and what is kept


def test_names_of_the_training_graph() -> None:
    w = tf.Variable([1.0, 2.0], name="W")
    step = tf.train.get_or_create_global_step()
    train = tf.train.AdamOptimizer(name="Adam").minimize(loss_of(w), step, name="train")
    assert train.name == "train"
    assert train.type == "AssignAdd"
    assert tf.get_collection(tf.GraphKeys.TRAIN_OP) == [train]
    names = {op.name for op in tf.get_default_graph().get_operations()}
    assert {"train/update_W/ApplyAdam", "train/update", "train/learning_rate"} <= names
    assert {v.op.name for v in tf.global_variables()} == {
        "W", "W/Adam", "W/Adam_1", "beta1_power", "beta2_power", "global_step",
    }  # fmt: skip
    assert tf.trainable_variables() == [w]


def test_slots() -> None:
    w, b = tf.Variable([1.0, 2.0], name="W"), tf.Variable(3.0, name="b")
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    assert optimizer.get_slot(w, "momentum") is None
    assert optimizer.get_slot_names() == optimizer.variables() == []
    optimizer.minimize(loss_of(w, b))
    assert optimizer.get_name() == "Momentum"
    assert optimizer.get_slot_names() == ["momentum"]
    slots = optimizer.get_slot(w, "momentum"), optimizer.get_slot(b, "momentum")
    assert [s.name for s in slots] == ["W/Momentum:0", "b/Momentum:0"]
    assert [s.shape.as_list() for s in slots] == [[2], []]
    assert optimizer.get_slot(w, "other") is None
    assert optimizer.variables() == list(slots)
    optimizer.minimize(loss_of(w, b))
    assert optimizer.variables() == list(slots)  # the second op shares them
    with tf.Graph().as_default():
        assert optimizer.variables() == []


def test_variables_come_in_the_order_of_their_names() -> None:
    w = tf.Variable(1.0, name="W")
    optimizer = tf.train.AdamOptimizer()
    optimizer.minimize(loss_of(w))
    assert [v.op.name for v in optimizer.variables()] == [
        "W/Adam", "W/Adam_1", "beta1_power", "beta2_power",
    ]  # fmt: skip


@pytest.mark.parametrize("use_resource", [False, True])
def test_slots_are_of_the_kind_of_their_variable(use_resource: bool) -> None:
    w = tf.Variable(1.0, name="W", use_resource=use_resource)
    optimizer = tf.train.AdamOptimizer()
    optimizer.minimize(loss_of(w))
    kind = "VarHandleOp" if use_resource else "VariableV2"
    assert {v.op.type for v in optimizer.variables()} == {kind}
    assert all(v.op.colocation_groups() == [b"loc:@W"] for v in optimizer.variables())


def test_slot_of_a_variable_whose_shape_is_unknown() -> None:
    start = tf.placeholder_with_default([1.0, 2.0, 4.0], [None])
    w = tf.Variable(start, validate_shape=False, name="W")
    for make in (
        tf.train.AdagradOptimizer, tf.train.RMSPropOptimizer,
        lambda rate: tf.train.MomentumOptimizer(rate, 0.5),
    ):  # fmt: skip
        optimizer = make(0.1)
        train = optimizer.minimize(loss_of(w))
        (slot,) = optimizer.variables()[-1:]
        with tf.Session() as session:
            session.run(w.initializer)
            session.run([v.initializer for v in optimizer.variables()])
            session.run(train)
            assert session.run(slot).shape == (3,)


def test_slot_of_a_piece_says_which_piece_it_is() -> None:
    table = tf.get_variable(
        "table", [5, 2], initializer=tf.ones_initializer(),
        partitioner=tf.fixed_size_partitioner(2),
    )  # fmt: skip
    optimizer = tf.train.AdagradOptimizer(0.1)
    optimizer.minimize(loss_of(*table))
    second = optimizer.get_slot(list(table)[1], "accumulator")
    assert second.op.name == "table/part_1/Adagrad"
    info = second._get_save_slice_info()
    assert (info.full_name, info.spec) == ("table/Adagrad", "5 2 3,2:0,2")


# What minimize takes and does


def test_only_the_given_variables_move() -> None:
    w, b = tf.Variable(1.0, name="W"), tf.Variable(1.0, name="b")
    train = tf.train.GradientDescentOptimizer(0.25).minimize(loss_of(w, b), var_list=[b])
    assert run_once(train, w, b) == [1.0, 0.5]


def test_duplicate_indices_add_up() -> None:
    table = tf.Variable(np.zeros((3, 1), np.float32), name="table")
    loss = tf.reduce_sum(tf.gather(table, [2, 2, 0]) * [[1.0], [2.0], [4.0]])
    for make in (tf.train.GradientDescentOptimizer, tf.train.ProximalGradientDescentOptimizer):
        (value,) = run_once(make(1.0).minimize(loss), table)
        np.testing.assert_array_equal(value, [[-4.0], [0.0], [-3.0]])


def test_hyperparameters_may_be_tensors_and_functions() -> None:
    w = tf.Variable(1.0, name="W")
    rate = tf.placeholder(tf.float32, [])
    train = tf.train.MomentumOptimizer(rate, lambda: 0.5).minimize(loss_of(w))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train, {rate: 0.25})
        assert session.run(w) == 0.5
        session.run(train, {rate: 0.0})
        assert session.run(w) == 0.5


def test_a_constraint_holds_after_the_update() -> None:
    for use_resource in (False, True):
        w = tf.Variable(
            [1.0, -1.0], constraint=lambda v: tf.maximum(v, 0.0), use_resource=use_resource
        )
        train = tf.train.GradientDescentOptimizer(0.25).minimize(loss_of(w), var_list=[w])
        np.testing.assert_array_equal(run_once(train, w)[0], [0.5, 0.0])


def test_a_constraint_needs_a_dense_gradient() -> None:
    w = tf.Variable([[1.0], [2.0]], constraint=tf.identity)
    with pytest.raises(RuntimeError, match="Cannot use a constraint function on a sparse variable"):
        tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(tf.gather(w, [0])))


def test_apply_gradients_converts_and_leaves_out() -> None:
    w, b = tf.Variable([1.0, 2.0], name="W"), tf.Variable(3.0, name="b")
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    train = optimizer.apply_gradients(iter([([1.0, 1.0], w), (None, b)]))
    value, other = run_once(train, w, b)
    np.testing.assert_array_equal(value, [0.0, 1.0])
    assert other == 3.0


def test_gating_orders_the_gradients() -> None:
    w, b = tf.Variable(1.0, name="W"), tf.Variable(1.0, name="b")
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    gated = optimizer.compute_gradients(w * b, [w, b], gate_gradients=optimizer.GATE_GRAPH)
    assert all(grad.op.control_inputs for grad, _ in gated)
    free = optimizer.compute_gradients(w * b, [w, b], gate_gradients=optimizer.GATE_NONE)
    assert not any(grad.op.control_inputs for grad, _ in free)


# What is refused


def test_refusals_of_compute_gradients() -> None:
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    with pytest.raises(ValueError, match="No variables to optimize"):
        optimizer.minimize(tf.constant(1.0))
    w = tf.Variable(1.0, name="W")
    with pytest.raises(ValueError, match="No gradients provided for any variable, check your gra"):
        optimizer.minimize(tf.constant(1.0))
    with pytest.raises(ValueError, match=r"gate_gradients must be one of: .* Not 7"):
        optimizer.minimize(loss_of(w), gate_gradients=7)
    with pytest.raises(ValueError, match=re.escape("Invalid type tf.int32 for Const")):
        optimizer.minimize(tf.constant(1))
    with pytest.raises(NotImplementedError, match="Trying to optimize unsupported type"):
        optimizer.compute_gradients(loss_of(w), [1.0])
    with pytest.raises(ValueError, match="Must specify the optimizer name"):
        tf.train.GradientDescentOptimizer(0.1, name="")


def test_refusals_of_apply_gradients() -> None:
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    w = tf.Variable(1.0, name="W")
    with pytest.raises(ValueError, match="No variables provided"):
        optimizer.apply_gradients([])
    with pytest.raises(ValueError, match=r"No gradients provided for any variable: \[.*W:0"):
        optimizer.apply_gradients([(None, w)])
    with pytest.raises(TypeError, match="Gradient must be convertible to a Tensor or Indexed"):
        optimizer.apply_gradients([(object(), w)])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: tf.train.AdagradOptimizer(0.1, 0.0), "initial_accumulator_value must be positive"),
        (lambda: tf.train.ProximalAdagradOptimizer(0.1, -1.0), "must be positive: -1.0"),
        (lambda: tf.train.AdagradDAOptimizer(0.1, 0, 0.0), "squared_accumulator_value must be pos"),
        (lambda: tf.train.FtrlOptimizer(0.1, 0.5), "learning_rate_power 0.500000 needs to be neg"),
        (
            lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=-1.0),
            "l1_regularization_strength -1.000000 needs to be positive or zero",
        ),
    ],
)
def test_refusals_of_hyperparameters(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


# Optimizers of one's own


class SignDescent(tf.train.Optimizer):
    """Counts its steps in a slot; knows dense reference variables only."""

    def __init__(self) -> None:
        super().__init__(use_locking=False, name="Sign")

    def _create_slots(self, var_list: Any) -> None:
        for var in var_list:
            self._zeros_slot(var, "count", self._name)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        count = self.get_slot(var, "count")
        return tf.group(var.assign_sub(tf.sign(grad)), count.assign_add(tf.ones_like(grad)))


def test_an_optimizer_of_ones_own() -> None:
    w = tf.Variable([3.0, -3.0], name="W")
    optimizer = SignDescent()
    train = optimizer.minimize(loss_of(w))
    assert train.name == "Sign"
    value, count = run_once(train, w, optimizer.get_slot(w, "count"))
    np.testing.assert_array_equal(value, [2.0, -2.0])
    np.testing.assert_array_equal(count, [1.0, 1.0])
    with pytest.raises(NotImplementedError):
        optimizer.minimize(loss_of(tf.Variable(1.0, use_resource=True)))
    with pytest.raises(NotImplementedError):
        optimizer.minimize(tf.reduce_sum(tf.gather(w, [0])), var_list=[w])


# Rates, averages, the global step


def test_refusals_of_piecewise_constant() -> None:
    step = tf.Variable(0, dtype=tf.int64)
    with pytest.raises(ValueError, match="boundaries should be 1 less than the length of values"):
        tf.train.piecewise_constant(step, [1, 2], [1.0, 2.0])
    with pytest.raises(ValueError, match="must have the same dtype as x"):
        tf.train.piecewise_constant(step, [1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="Values must have elements all with the same dtype"):
        tf.train.piecewise_constant(step, [1], [1.0, 2])


def test_averages_are_of_floats() -> None:
    averages = tf.train.ExponentialMovingAverage(0.9)
    number = tf.Variable(1, name="number")
    with pytest.raises(TypeError, match="The variables must be half, float, or double: number:0"):
        averages.apply([number])
    assert averages.average(number) is None
    assert averages.average_name(number) == "number/ExponentialMovingAverage"


def test_average_starts_with_the_value_of_its_variable() -> None:
    w = tf.Variable(tf.random_uniform([3]), name="W")
    averages = tf.train.ExponentialMovingAverage(0.5)
    update = averages.apply([w])
    assert tf.moving_average_variables() == [w]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        value, average = session.run([w, averages.average(w)])
        np.testing.assert_array_equal(value, average)
        session.run(w.assign_add([1.0, 1.0, 1.0]))
        session.run(update)
        np.testing.assert_allclose(session.run(averages.average(w)), value + 0.5, rtol=1e-6)


def test_debiased_average_of_equal_values_is_that_value() -> None:
    average = tf.Variable(0.0, name="average", trainable=False)
    update = assign_moving_average(average, tf.constant(3.0), 0.9)
    assert {v.op.name for v in tf.global_variables()} == {
        "average", "average/biased", "average/local_step",
    }  # fmt: skip
    assign_moving_average(average, tf.constant(3.0), 0.9)
    assert "average/biased_1" in {v.op.name for v in tf.global_variables()}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            assert session.run(update) == pytest.approx(3.0, rel=1e-5)


def test_reading_and_increasing_the_global_step() -> None:
    with pytest.raises(ValueError, match="Global step tensor should be created by"):
        training_util._increment_global_step(2)
    assert training_util._get_or_create_global_step_read() is None
    step = tf.train.create_global_step()
    read = training_util._get_or_create_global_step_read()
    assert training_util._get_or_create_global_step_read() is read
    increment = training_util._increment_global_step(2)
    with tf.Session() as session:
        assert session.run(read) == 0
        session.run(step.initializer)
        assert session.run([read, increment]) == [0, 2]
        assert session.run(read) == 2
        assert tf.train.global_step(session, "global_step:0") == 2
