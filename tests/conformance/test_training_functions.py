"""Learning rates, averages of variables and the global step, against TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray

pytest.importorskip("tensorflow")
from tests.conformance.training import TF, as_in_1_15, assert_same, assert_same_graph

RATES: dict[str, Callable[[Any, Any], Any]] = {
    "exponential": lambda tf, s: tf.train.exponential_decay(0.1, s, 10, 0.96),
    "exponential_staircase": lambda tf, s: tf.train.exponential_decay(
        0.1, s, 10, 0.96, staircase=True, name="rate"
    ),
    "natural_exp": lambda tf, s: tf.train.natural_exp_decay(0.1, s, 10, 0.5),
    "natural_exp_staircase": lambda tf, s: tf.train.natural_exp_decay(0.1, s, 10, 0.5, True),
    "inverse_time": lambda tf, s: tf.train.inverse_time_decay(0.1, s, 10, 0.5),
    "inverse_time_staircase": lambda tf, s: tf.train.inverse_time_decay(0.1, s, 10, 0.5, True),
    "polynomial": lambda tf, s: tf.train.polynomial_decay(0.1, s, 20, 0.01, power=0.5),
    "polynomial_cycle": lambda tf, s: tf.train.polynomial_decay(0.1, s, 20, 0.01, cycle=True),
    "cosine": lambda tf, s: tf.train.cosine_decay(0.1, s, 25, alpha=0.1),
    "cosine_restarts": lambda tf, s: tf.train.cosine_decay_restarts(0.1, s, 7, 2.0, 0.9, 0.05),
    "cosine_restarts_equal": lambda tf, s: tf.train.cosine_decay_restarts(0.1, s, 7, 1.0, 0.9),
    "linear_cosine": lambda tf, s: tf.train.linear_cosine_decay(0.1, s, 25, 1.5, 0.1, 0.01),
    "piecewise": lambda tf, s: tf.train.piecewise_constant(s, [3, 10, 20], [1.0, 0.5, 0.2, 0.1]),
}
BY_CONDITION = ("cosine_restarts", "cosine_restarts_equal", "piecewise")
"""Those that TensorFlow makes with a tf.cond or tf.case, so that the graphs differ."""


def rates(tf: Any, make: Callable[[Any, Any], Any], dtype: str) -> tuple[Any, list[float]]:
    with tf.Graph().as_default() as graph:
        step = tf.placeholder(dtype, [], name="step")
        rate = make(tf, step)
        with tf.Session() as session:
            values = [session.run(rate, {step: i}) for i in (0, 1, 3, 4, 7, 10, 20, 21, 25, 26, 60)]
    return graph.as_graph_def(), values


# The boundaries of "piecewise" are integers, and so must the step be.
TYPES = [
    (n, t) for n in RATES for t in ("int32", "int64", "float32") if (n, t[0]) != ("piecewise", "f")
]


@pytest.mark.parametrize(("name", "dtype"), TYPES)
def test_learning_rates(name: str, dtype: str) -> None:
    graph, values = rates(flowray, RATES[name], dtype)
    their_graph, their_values = rates(TF, RATES[name], dtype)
    np.testing.assert_allclose(values, their_values, rtol=1e-4, atol=1e-7)
    assert len({float(v) for v in values}) > 2
    if name not in BY_CONDITION:
        assert_same_graph(graph, their_graph)


def test_noisy_rate_has_the_noise_that_it_should() -> None:
    def make(tf: Any, step: Any) -> Any:
        tf.set_random_seed(1)
        return tf.train.noisy_linear_cosine_decay(0.1, step, 25, 0.5, 0.6, 1.5, 0.1, 0.01)

    graph, values = rates(flowray, make, "int64")
    their_graph, their_values = rates(TF, make, "int64")
    assert_same_graph(graph, their_graph, ignored=".*/random_normal")
    quiet = rates(flowray, RATES["linear_cosine"], "int64")[1]
    deviation, their_deviation = (np.std(np.array(v) - quiet) for v in (values, their_values))
    assert 0.3 < deviation / their_deviation < 3


def test_rate_of_an_optimizer() -> None:
    def make(tf: Any) -> Any:
        step = tf.train.get_or_create_global_step()
        w = tf.Variable([1.0, 2.0], name="w")
        loss = tf.reduce_sum(tf.square(w - 4.0), name="loss")
        rate = tf.train.exponential_decay(0.1, step, 2, 0.5, staircase=True)
        return loss, tf.train.GradientDescentOptimizer(rate).minimize(loss, step), {}

    assert_same(make)


CONDITION = r"(.*/)?(cond|IsVariableInitialized|VarIsInitializedOp)(_\d+)?(/|$)|(w|b)/.*/Assign$"
"""A shadow starts with what its variable has, which takes TensorFlow a tf.cond to say."""


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("with_updates", [False, True])
def test_averages_after_a_training_op(use_resource: bool, with_updates: bool) -> None:
    def make(tf: Any) -> Any:
        w = tf.Variable([1.0, 2.0], name="w", use_resource=use_resource)
        b = tf.Variable(0.5, name="b", use_resource=use_resource)
        step = tf.train.get_or_create_global_step()
        loss = tf.reduce_sum(tf.square(w + b - [2.0, 4.0]), name="loss")
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, step)
        averages = tf.train.ExponentialMovingAverage(0.9, step if with_updates else None)
        with tf.control_dependencies([train]):
            update = averages.apply([w, b])
        assert averages.average(w).op.name == averages.average_name(w)
        assert sorted(averages.variables_to_restore()) == [
            "b/ExponentialMovingAverage", "global_step", "w/ExponentialMovingAverage",
        ]  # fmt: skip
        return loss, update, {}

    assert_same(make, ignored=CONDITION)


@pytest.mark.parametrize("zero_debias", [False, True])
def test_averages_of_tensors(zero_debias: bool) -> None:
    def make(tf: Any) -> Any:
        w = tf.Variable([1.0, 2.0], name="w")
        with tf.name_scope("loss"):
            loss = tf.reduce_sum(tf.square(w - [2.0, 4.0]), name="total")
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        averages = tf.train.ExponentialMovingAverage(0.9, zero_debias=zero_debias, name="avg")
        update = averages.apply([loss])
        return averages.average(loss), tf.group(train, update), {}

    assert_same(make)


def global_steps(tf: Any) -> list[Any]:
    facts: list[Any] = []
    with as_in_1_15(), tf.Graph().as_default() as graph, tf.Session() as session:
        facts.append(tf.train.get_global_step())
        with tf.variable_scope("outer"), tf.name_scope("inner"):
            step = tf.train.create_global_step()
        facts += [step.name, step.dtype.base_dtype.name, step.shape.as_list()]
        facts.append(
            tf.train.get_or_create_global_step() is step is tf.train.get_global_step(graph)
        )
        session.run(step.initializer)
        session.run(step.assign_add(3))
        facts.append(tf.train.global_step(session, step))
        for bad in (tf.constant(1.0), tf.constant([1, 2]), 3):
            with pytest.raises(TypeError) as error:
                tf.train.assert_global_step(bad)
            facts.append(str(error.value).replace("<dtype: 'float32'>", "float32"))
        with pytest.raises(ValueError, match="global_step") as wrong:
            tf.train.create_global_step()
        facts.append(str(wrong.value))
        other = tf.Graph()
        with other.as_default():
            tf.Variable(5, name="global_step")
            facts.append(tf.train.get_global_step().name)
    return facts


def test_global_step() -> None:
    assert global_steps(flowray) == global_steps(TF)
