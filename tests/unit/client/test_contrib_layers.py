"""tf.contrib.layers and tf.contrib.slim: names, collections, arguments by scope, values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.proto import errors

layers, slim = tf.contrib.layers, tf.contrib.slim


@pytest.fixture(autouse=True)
def _graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


def names(items: Any) -> list[str]:
    return [item.op.name for item in items]


def run(fetches: Any, feed: dict[Any, Any] | None = None) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feed)


def test_names_of_variables_and_ops() -> None:
    x = tf.ones([2, 6, 6, 3])
    with tf.variable_scope("net"):
        x = layers.conv2d(x, 4, 3)
        x = layers.conv2d(x, 4, 3, scope="second")
        x = layers.max_pool2d(x, 2)
        x = layers.flatten(x)
        x = layers.dropout(x)
        x = layers.fully_connected(x, 5)
        x = layers.fully_connected(x, 5, activation_fn=None)
    assert names(tf.trainable_variables()) == [
        "net/Conv/weights", "net/Conv/biases", "net/second/weights", "net/second/biases",
        "net/fully_connected/weights", "net/fully_connected/biases",
        "net/fully_connected_1/weights", "net/fully_connected_1/biases",
    ]  # fmt: skip
    assert tf.model_variables() == tf.global_variables()
    assert x.op.name == "net/fully_connected_1/BiasAdd"
    made = {op.name for op in tf.get_default_graph().get_operations()}
    # Names differ in more than case, so "dropout" in "Dropout/Dropout" is "dropout_1".
    assert {
        "net/Conv/Relu", "net/MaxPool2D/MaxPool", "net/Flatten/flatten/Reshape",
        "net/Dropout/dropout_1", "net/fully_connected/MatMul",
    } <= made  # fmt: skip


def test_reuse() -> None:
    x = tf.ones([1, 2])
    for reuse in (None, True):
        layers.fully_connected(x, 2, scope="d", reuse=reuse)
    with pytest.raises(ValueError, match="Variable d/weights already exists"):
        layers.fully_connected(x, 2, scope="d")
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
        layers.fully_connected(x, 2, scope="d")
        layers.fully_connected(x, 2, scope="d")
    assert len(tf.global_variables()) == 4


def test_a_dense_layer_by_hand() -> None:
    x = tf.constant([[1.0, -2.0]])
    ones = tf.ones_initializer()
    common = {"weights_initializer": ones, "biases_initializer": tf.constant_initializer(0.5)}
    outputs = [
        layers.fully_connected(x, 1, **common),
        layers.linear(x, 1, **common),
        layers.relu(x, 1, **common),
        layers.fully_connected(x, 1, activation_fn=tf.abs, **common),
        layers.fully_connected(
            x, 1, activation_fn=None, weights_initializer=ones, biases_initializer=None
        ),
    ]
    np.testing.assert_allclose(np.ravel(run(outputs)), [0, -0.5, 0, 0.5, -1])
    assert len(tf.global_variables()) == 9


def test_regularizers_and_collections() -> None:
    y = layers.fully_connected(
        tf.ones([1, 2]), 3, weights_initializer=tf.ones_initializer(),
        weights_regularizer=layers.l2_regularizer(0.5),
        variables_collections={"weights": ["w"], "biases": ["b"]}, outputs_collections="out",
    )  # fmt: skip
    layers.fully_connected(y, 1, variables_collections=["w"], outputs_collections=["out"])
    assert names(tf.get_collection("w")) == [
        "fully_connected/weights", "fully_connected_1/weights", "fully_connected_1/biases",
    ]  # fmt: skip
    assert names(tf.get_collection("b")) == ["fully_connected/biases"]
    ends = layers.utils.convert_collection_to_dict("out")
    assert list(ends) == ["fully_connected", "fully_connected_1"]
    assert ends["fully_connected"] is y
    (loss,) = tf.losses.get_regularization_losses()
    assert run(loss) == pytest.approx(0.5 * 6 / 2)


def test_arguments_by_scope() -> None:
    regularizer = slim.l2_regularizer(0.1)
    with slim.arg_scope(
        [slim.conv2d, slim.fully_connected], activation_fn=None, weights_regularizer=regularizer
    ):
        with slim.arg_scope([slim.conv2d], padding="VALID", stride=2):
            x = slim.conv2d(tf.ones([1, 7, 7, 1]), 2, 3)
        y = slim.conv2d(x, 2, 3, scope="same")
        slim.fully_connected(slim.flatten(y), 2)
    assert x.shape.as_list() == [1, 3, 3, 2]
    assert y.shape.as_list() == [1, 3, 3, 2]
    assert len(tf.losses.get_regularization_losses()) == 3
    assert not [op for op in tf.get_default_graph().get_operations() if op.type == "Relu"]


def test_normalizer_takes_the_place_of_the_bias() -> None:
    tf.set_random_seed(1)  # weights near 0 would give variances near batch_norm's epsilon
    x = tf.constant(np.arange(8.0).reshape(4, 2), tf.float32)
    y = layers.fully_connected(
        x, 3, activation_fn=None, normalizer_fn=layers.batch_norm,
        normalizer_params={"is_training": True, "decay": 0.9, "scale": True},
    )  # fmt: skip
    assert names(tf.global_variables()) == [
        "fully_connected/weights", "fully_connected/BatchNorm/gamma",
        "fully_connected/BatchNorm/beta", "fully_connected/BatchNorm/moving_mean",
        "fully_connected/BatchNorm/moving_variance",
    ]  # fmt: skip
    result = run(y)
    np.testing.assert_allclose(result.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(result.std(0), 1, atol=1e-2)
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2


@pytest.mark.parametrize("shape", [[4, 2], [2, 2, 1, 2]])
def test_batch_norm_can_wait_for_its_updates(shape: list[int]) -> None:
    values = np.arange(8.0).reshape(shape)
    y = layers.batch_norm(tf.constant(values, tf.float32), decay=0.5, updates_collections=None)
    assert y.shape.as_list() == shape
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == []
    averages = {v.op.name: v for v in tf.global_variables()}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(y)
        mean, variance = session.run(
            [averages["BatchNorm/moving_mean"], averages["BatchNorm/moving_variance"]]
        )
    flat = values.reshape(4, 2)
    np.testing.assert_allclose(mean, flat.mean(0) / 2)
    # The fused op keeps the unbiased estimate.
    np.testing.assert_allclose(variance, (1 + flat.var(0, ddof=1)) / 2, rtol=1e-5)


def test_batch_norm_at_inference() -> None:
    x = tf.constant([[2.0], [4.0]])
    y = layers.batch_norm(
        x, is_training=False, epsilon=0.0, updates_collections="mine",
        param_initializers={"moving_mean": tf.constant_initializer(2.0)},
    )  # fmt: skip
    assert tf.get_collection("mine") == []
    np.testing.assert_allclose(run(y), [[0], [2]], atol=1e-4)


def test_layer_norm() -> None:
    x = np.random.RandomState(0).normal(3, 2, (2, 3, 4)).astype(np.float32)
    y = layers.layer_norm(tf.constant(x))
    assert names(tf.trainable_variables()) == ["LayerNorm/beta", "LayerNorm/gamma"]
    assert tf.trainable_variables()[0].shape.as_list() == [4]
    flat = x.reshape(2, -1)
    expected = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    np.testing.assert_allclose(run(y).reshape(2, -1), expected, rtol=1e-4, atol=1e-5)


def test_other_convolutions() -> None:
    x = tf.ones([1, 5, 5, 3])
    shapes = [
        layers.conv2d_transpose(x, 2, 3, stride=2).shape.as_list(),
        layers.separable_conv2d(x, 4, 3, depth_multiplier=2).shape.as_list(),
        layers.conv1d(tf.ones([1, 5, 3]), 2, 3, rate=2).shape.as_list(),
        layers.conv3d(tf.ones([1, 3, 3, 3, 2]), 2, 2, padding="VALID").shape.as_list(),
        layers.avg_pool3d(tf.ones([1, 4, 4, 4, 2]), 2).shape.as_list(),
    ]
    assert shapes == [[1, 10, 10, 2], [1, 5, 5, 4], [1, 5, 2], [1, 2, 2, 2, 2], [1, 2, 2, 2, 2]]
    assert names(tf.global_variables())[2:5] == [
        "SeparableConv2d/depthwise_weights", "SeparableConv2d/pointwise_weights",
        "SeparableConv2d/biases",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="expects input with rank 4, got 3"):
        layers.conv2d(tf.ones([1, 5, 3]), 2, 3)
    with pytest.raises(ValueError, match="Invalid data_format"):
        layers.conv2d(x, 2, 3, data_format="channels_last")


def test_several_layers() -> None:
    x = tf.ones([1, 3])
    y = layers.stack(x, layers.fully_connected, [4, 5], scope="deep")
    z = layers.repeat(y, 2, layers.fully_connected, 6, scope="same")
    assert (y.shape.as_list(), z.shape.as_list()) == ([1, 5], [1, 6])
    assert names(tf.global_variables())[::2] == [
        "deep/fully_connected_1/weights", "deep/fully_connected_2/weights",
        "same/same_1/weights", "same/same_2/weights",
    ]  # fmt: skip


def test_one_hot_and_softmax() -> None:
    hot = layers.one_hot_encoding(tf.constant([2, 0]), 3)
    chances = layers.softmax(tf.zeros([1, 4]))
    assert hot.dtype == tf.float32
    a, b = run([hot, chances])
    np.testing.assert_array_equal(a, [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(b, [[0.25] * 4])


def test_what_there_is_not() -> None:
    x = tf.ones([2, 4, 4, 3])
    for call in (
        lambda: layers.batch_norm(x, batch_weights=[1.0, 1.0]),
        lambda: layers.batch_norm(x, zero_debias_moving_mean=True),
        lambda: layers.separable_conv2d(x, None, 3),
    ):
        with pytest.raises(errors.UnimplementedError):
            call()
