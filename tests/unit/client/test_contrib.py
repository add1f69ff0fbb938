"""tf.contrib: initializers, regularizers, argument scopes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import flowray as tf

W = np.array([[1.0, -2.0], [3.0, -4.0]], np.float32)


@pytest.fixture(autouse=True)
def graph() -> Any:
    with tf.Graph().as_default() as graph:
        yield graph


def value(tensor: Any) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensor)


@pytest.mark.parametrize(
    ("make", "n", "expect"),
    [
        ("FAN_IN", 300, 2.0 / 300),
        ("FAN_OUT", 200, 2.0 / 200),
        ("FAN_AVG", 250, 2.0 / 250),
    ],
)
def test_variance_scaling(make: str, n: int, expect: float) -> None:
    layers = tf.contrib.layers
    uniform = value(layers.variance_scaling_initializer(2.0, make, True, seed=1)([300, 200]))
    assert np.abs(uniform).max() <= math.sqrt(3 * 2.0 / n)
    assert np.var(uniform) == pytest.approx(expect, rel=0.03)
    normal = value(layers.variance_scaling_initializer(2.0, make, seed=1)([300, 200]))
    assert np.var(normal) == pytest.approx(expect, rel=0.03)
    with pytest.raises(TypeError, match="Unknown mode"):
        layers.variance_scaling_initializer(mode="fan_in")
    with pytest.raises(TypeError, match="non-floating point"):
        layers.xavier_initializer(dtype=tf.int32)


def test_xavier_draws_what_glorot_does() -> None:
    xavier = tf.contrib.layers.xavier_initializer(seed=3)([5, 5, 2, 4])
    glorot = tf.glorot_uniform_initializer(seed=3)([5, 5, 2, 4])
    ours, theirs = value([xavier, glorot])
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_regularizers() -> None:
    layers = tf.contrib.layers
    w = tf.constant(W)
    both = layers.l1_l2_regularizer(0.5, 0.1)
    summed = layers.sum_regularizer([layers.l1_regularizer(1.0), None, layers.l2_regularizer(1.0)])
    assert summed is not None
    tensors = [layers.l1_regularizer(0.5)(w), layers.l2_regularizer(0.1)(w), both(w), summed(w)]
    assert [t.op.name for t in tensors] == [
        "l1_regularizer", "l2_regularizer", "l1_l2_regularizer", "sum_regularizer",
    ]  # fmt: skip
    np.testing.assert_allclose(value(tensors), [5, 1.5, 6.5, 25], rtol=1e-6)
    assert layers.l2_regularizer(0.0)(w) is None
    assert layers.sum_regularizer([None]) is None
    with pytest.raises(ValueError, match="scale cannot be an integer: 1"):
        layers.l1_regularizer(1)
    with pytest.raises(ValueError, match=r"less than 0 on a regularizer: -0\.5"):
        layers.l2_regularizer(-0.5)


def test_a_variable_takes_a_regularizer() -> None:
    tf.get_variable("w", initializer=W, regularizer=tf.contrib.layers.l2_regularizer(0.1))
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert loss.op.name == "w/Regularizer/l2_regularizer"
    assert value(loss) == pytest.approx(1.5)


def test_apply_regularization() -> None:
    layers = tf.contrib.layers
    with pytest.raises(ValueError, match="No weights to regularize"):
        layers.apply_regularization(layers.l2_regularizer(0.1))
    tf.add_to_collection(tf.GraphKeys.WEIGHTS, tf.constant(W))
    total = layers.apply_regularization(layers.l2_regularizer(0.1))
    assert tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES) == [total]
    assert value(total) == pytest.approx(1.5)
    with pytest.raises(ValueError, match="instead of a Tensor with rank 2"):
        layers.apply_regularization(lambda w: w)


def test_arg_scope() -> None:
    framework = tf.contrib.framework

    @framework.add_arg_scope
    def layer(x: int, size: int = 1, rate: float = 0.0) -> tuple[int, int, float]:
        return x, size, rate

    def plain() -> None:
        """Takes no scope."""

    assert layer(1) == (1, 1, 0.0)
    with framework.arg_scope([layer], size=5) as outer:
        with framework.arg_scope([layer], rate=0.5):
            assert layer(1) == (1, 5, 0.5)
            assert layer(1, size=2) == (1, 2, 0.5)
            with framework.arg_scope(outer):
                assert layer(1) == (1, 5, 0.0)
        assert layer(1) == (1, 5, 0.0)
    assert layer(1) == (1, 1, 0.0)
    with (
        pytest.raises(ValueError, match="plain is not decorated with @add_arg_scope"),
        framework.arg_scope([plain], x=1),
    ):
        pass
    with pytest.raises(ValueError, match="kwargs must be empty"), framework.arg_scope({}, x=1):
        pass
