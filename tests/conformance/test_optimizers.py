"""Optimizers against TensorFlow's: the same programs give the same graphs and the same losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
from tests.conformance.training import assert_same

Program = Callable[[Any, bool], tuple[Any, Any, dict[str, Any]]]
"""``(tf, use_resource)`` to the loss, the training op, and what to feed by placeholder name."""

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda tf: tf.train.GradientDescentOptimizer(0.05),
    "momentum": lambda tf: tf.train.MomentumOptimizer(0.02, 0.9),
    "nesterov": lambda tf: tf.train.MomentumOptimizer(0.02, 0.9, use_nesterov=True),
    "adam": lambda tf: tf.train.AdamOptimizer(0.1),
    "adagrad": lambda tf: tf.train.AdagradOptimizer(0.1),
    "adadelta": lambda tf: tf.train.AdadeltaOptimizer(1.0, epsilon=1e-3),
    "rmsprop": lambda tf: tf.train.RMSPropOptimizer(0.02, momentum=0.5),
    "centered_rmsprop": lambda tf: tf.train.RMSPropOptimizer(0.02, epsilon=1e-3, centered=True),
    "ftrl": lambda tf: tf.train.FtrlOptimizer(
        0.2, l1_regularization_strength=0.01, l2_regularization_strength=0.02
    ),
    "ftrl_shrinkage": lambda tf: tf.train.FtrlOptimizer(
        0.2, learning_rate_power=-0.4, l2_shrinkage_regularization_strength=0.05
    ),
    "proximal_sgd": lambda tf: tf.train.ProximalGradientDescentOptimizer(
        0.05, l1_regularization_strength=0.01, l2_regularization_strength=0.02
    ),
    "proximal_adagrad": lambda tf: tf.train.ProximalAdagradOptimizer(
        0.1, l1_regularization_strength=0.01
    ),
    "adagrad_da": lambda tf: tf.train.AdagradDAOptimizer(
        0.3, tf.train.get_or_create_global_step(), l1_regularization_strength=0.001
    ),
}


def dense(tf: Any, use_resource: bool, optimizer: Callable[[Any], Any], dtype: str) -> Any:
    """A linear model with two variables, and the global step."""
    x = tf.placeholder(dtype, [4, 3], name="x")
    start = np.linspace(-0.5, 0.5, 6).reshape(3, 2).astype(dtype)
    weights = tf.Variable(start, name="W", use_resource=use_resource)
    bias = tf.Variable(np.zeros(2, dtype), name="b", use_resource=use_resource)
    target = tf.constant(np.arange(8).reshape(4, 2).astype(dtype) / 4, name="target")
    loss = tf.reduce_sum(tf.square(tf.matmul(x, weights) + bias - target), name="loss")
    step = tf.train.get_or_create_global_step()
    train = optimizer(tf).minimize(loss, global_step=step)
    return loss, train, {"x:0": np.sin(np.arange(12)).reshape(4, 3).astype(dtype)}


def sparse(tf: Any, use_resource: bool, optimizer: Callable[[Any], Any], dtype: str) -> Any:
    """An embedding, of which the batch names a row twice and another not at all."""
    ids = tf.placeholder("int32", [4], name="ids")
    start = np.linspace(-1, 1, 10).reshape(5, 2).astype(dtype)
    table = tf.Variable(start, name="table", use_resource=use_resource)
    target = tf.constant(np.arange(8).reshape(4, 2).astype(dtype) / 4, name="target")
    loss = tf.reduce_sum(tf.square(tf.gather(table, ids) - target), name="loss")
    train = optimizer(tf).minimize(loss)
    return loss, train, {"ids:0": np.array([3, 0, 3, 1], np.int32)}


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("kind", [dense, sparse])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_graph_and_losses(name: str, kind: Any, use_resource: bool) -> None:
    losses = assert_same(lambda tf: kind(tf, use_resource, OPTIMIZERS[name], "float32"))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("kind", [dense, sparse])
@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if not n.startswith("proximal")])
def test_hyperparameters_are_cast(name: str, kind: Any, use_resource: bool) -> None:
    """TensorFlow's proximal optimizers do not, so that they fail with float64."""
    losses = assert_same(lambda tf: kind(tf, use_resource, OPTIMIZERS[name], "float64"))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_second_optimizer_in_a_variable_scope(use_resource: bool) -> None:
    def make(tf: Any) -> Any:
        with tf.variable_scope("model"):
            w = tf.get_variable(
                "w", [2], initializer=tf.ones_initializer(), use_resource=use_resource
            )
        loss = tf.reduce_sum(tf.square(w - [2.0, 4.0]), name="loss")
        first = tf.train.AdamOptimizer(0.1).minimize(loss)
        with tf.variable_scope("train"), tf.control_dependencies([first]):
            second = tf.train.AdamOptimizer(0.1).minimize(loss)
        with tf.name_scope("scope"):
            third = tf.train.MomentumOptimizer(0.01, 0.5, name="Fast").minimize(loss, name="go")
        return loss, tf.group(second, third), {}

    assert_same(make)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_constraint_and_gating(use_resource: bool) -> None:
    def make(tf: Any) -> Any:
        clip = lambda w: tf.clip_by_value(w, 0.0, 1.0)  # noqa: E731
        w = tf.Variable([0.5, 0.5], name="w", constraint=clip, use_resource=use_resource)
        u = tf.Variable([0.5, 0.5], name="u", use_resource=use_resource)
        unused = tf.Variable(1.0, name="unused", use_resource=use_resource)
        loss = tf.reduce_sum(tf.square(w * u - [2.0, -4.0]), name="loss")
        optimizer = tf.train.GradientDescentOptimizer(lambda: 0.1)
        pairs = optimizer.compute_gradients(
            loss, [w, u, unused], gate_gradients=tf.train.Optimizer.GATE_GRAPH,
            grad_loss=tf.constant(0.5, name="half"),
        )  # fmt: skip
        assert pairs[2] == (None, unused)
        return loss, optimizer.apply_gradients(pairs, name="apply"), {}

    assert_same(make)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("name", ["adam", "adagrad", "rmsprop", "momentum"])
def test_slots_of_a_partitioned_variable(name: str, use_resource: bool) -> None:
    def make(tf: Any) -> Any:
        table = tf.get_variable(
            "table", [5, 2], initializer=tf.ones_initializer(),
            partitioner=tf.fixed_size_partitioner(2), use_resource=use_resource,
        )  # fmt: skip
        first, second = list(table)
        ids = tf.constant([0, 1, 1], name="ids")
        rows = tf.gather(first, ids, name="Gather") + tf.gather(second, ids, name="second/Gather")
        loss = tf.reduce_sum(tf.square(rows - 3.0), name="loss")
        return loss, OPTIMIZERS[name](tf).minimize(loss), {}

    assert_same(make)
