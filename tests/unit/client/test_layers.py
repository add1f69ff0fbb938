"""tf.layers: scopes, variables, collections, shapes, checks; and that layers learn."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.layers.base import snake_case
from flowray.proto import errors


@pytest.fixture(autouse=True)
def _graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


def names(items: Any) -> list[str]:
    return [item.name for item in items]


def run(fetches: Any, feed: dict[Any, Any] | None = None) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feed)


# Names and variables ------------------------------------------------------------------------------


def test_names_of_classes() -> None:
    cases = {
        "Dense": "dense", "BatchNormalization": "batch_normalization", "Conv2D": "conv2d",
        "Conv2DTranspose": "conv2d_transpose", "SeparableConv1D": "separable_conv1d",
        "MaxPooling2D": "max_pooling2d", "BasicLSTMCell": "basic_lstm_cell",
    }  # fmt: skip
    assert {name: snake_case(name) for name in cases} == cases


def test_functions_name_variables_and_ops() -> None:
    x = tf.ones([2, 3])
    for _ in range(2):
        x = tf.layers.dense(x, 4)
    with tf.variable_scope("a"):
        x = tf.layers.dense(x, 4, name="b")
    assert names(tf.trainable_variables()) == [
        "dense/kernel:0", "dense/bias:0", "dense_1/kernel:0", "dense_1/bias:0",
        "a/b/kernel:0", "a/b/bias:0",
    ]  # fmt: skip
    graph = tf.get_default_graph()
    for name, kind in {"dense/MatMul": "MatMul", "dense_1/BiasAdd": "BiasAdd"}.items():
        assert graph.get_operation_by_name(name).type == kind
    assert x.op.name == "a/b/BiasAdd"


def test_a_layer_has_one_set_of_variables() -> None:
    layer = tf.layers.Dense(3)
    assert not layer.built
    assert layer.dtype is None
    first, second = layer(tf.ones([2, 3])), layer.apply(tf.ones([4, 3]))
    assert layer.built
    assert layer.dtype == "float32"
    assert layer.name == "dense_1"
    assert len(tf.global_variables()) == 2
    assert layer.count_params() == 12
    assert (first.op.name, second.op.name) == ("dense/BiasAdd", "dense/BiasAdd_1")


def test_reuse() -> None:
    x = tf.ones([2, 3])
    tf.layers.dense(x, 4, name="d")
    with pytest.raises(ValueError, match="Variable d/kernel already exists"):
        tf.layers.dense(x, 4, name="d")
    tf.layers.dense(x, 4, name="d", reuse=True)
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE) as scope:
        tf.layers.dense(x, 4, name="d")
        tf.layers.dense(x, 4, name="d")
    with tf.variable_scope(scope):
        tf.layers.dense(x, 4, name="d")
    assert len(tf.global_variables()) == 4
    with pytest.raises(ValueError, match="does not exist"):
        tf.layers.dense(x, 4, name="other", reuse=True)


def test_a_frozen_layer() -> None:
    layer = tf.layers.Dense(2, trainable=False)
    layer(tf.ones([1, 2]))
    assert tf.trainable_variables() == layer.trainable_variables == []
    assert names(layer.variables) == ["dense/kernel:0", "dense/bias:0"]
    late = tf.layers.Dense(2)
    late(tf.ones([1, 2]))
    late.trainable = False
    assert late.trainable_weights == []
    assert len(late.non_trainable_variables) == 2


def test_custom_getters_decide_what_is_trainable() -> None:
    def frozen(getter: Any, *args: Any, **kwargs: Any) -> Any:
        return getter(*args, **{**kwargs, "trainable": False})

    layer = tf.layers.Dense(2)
    with tf.variable_scope("s", custom_getter=frozen):
        layer(tf.ones([1, 2]))
    assert layer.trainable_variables == []
    assert len(layer.non_trainable_variables) == 2


def test_parts_of_a_kernel() -> None:
    layer = tf.layers.Dense(3, kernel_initializer=tf.ones_initializer(),
                            kernel_regularizer=tf.nn.l2_loss)  # fmt: skip
    with tf.variable_scope("s", partitioner=tf.fixed_size_partitioner(2)):
        y = layer(tf.ones([1, 4]))
    assert names(tf.global_variables())[:2] == [
        "s/dense/kernel/part_0:0",
        "s/dense/kernel/part_1:0",
    ]
    assert [loss.shape.as_list() for loss in layer.losses] == [[], []]
    np.testing.assert_array_equal(run(y), [[4, 4, 4]])


def test_resource_variables_where_the_scope_wants_them() -> None:
    with tf.variable_scope("s", use_resource=True):
        tf.layers.dense(tf.ones([1, 2]), 2)
    assert {v.op.type for v in tf.global_variables()} == {"VarHandleOp"}


def test_copies_share_what_is_in_the_graph() -> None:
    layer = tf.layers.Dense(2, activation=tf.nn.relu)
    layer(tf.ones([1, 2]))
    twin = copy.deepcopy(layer)
    assert twin is not layer
    assert twin.variables == layer.variables
    twin(tf.ones([1, 2]))
    assert len(tf.global_variables()) == 2
    unbuilt = copy.deepcopy(tf.layers.Dense(2))
    unbuilt(tf.ones([1, 2]))
    assert len(tf.global_variables()) == 4


# Losses and updates -------------------------------------------------------------------------------


def test_regularizers() -> None:
    def square(w: Any) -> Any:
        return tf.reduce_sum(w * w)

    x = tf.constant([[1.0, 2.0]])
    options = {"kernel_initializer": tf.ones_initializer(), "kernel_regularizer": square}
    layer = tf.layers.Dense(2, activity_regularizer=square, **options)
    layer(x)
    layer(x)  # again a loss of the output, but none of the kernel
    tf.layers.dense(x, 2, name="d", **options)
    tf.layers.dense(x, 2, name="d", reuse=True, **options)
    losses = tf.losses.get_regularization_losses()
    assert names(losses)[0] == "dense/kernel/Regularizer/Sum:0"
    assert losses[:3] == layer.losses
    assert len(losses) == 4
    np.testing.assert_allclose(run(losses), [4, 18, 18, 4])
    assert layer.get_losses_for(None) == losses[:1]
    assert layer.get_losses_for(x) == losses[1:3]


def test_updates() -> None:
    x = tf.constant(np.arange(8.0).reshape(4, 2), tf.float32)
    layer = tf.layers.BatchNormalization(momentum=0.5)
    y = layer(x, training=True)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert names(updates) == ["batch_normalization/AssignMovingAvg",
                              "batch_normalization/AssignMovingAvg_1"]  # fmt: skip
    assert layer.updates == updates == layer.get_updates_for(x)
    assert layer.get_updates_for(None) == []
    tf.layers.batch_normalization(x, training=True, trainable=False)
    tf.layers.batch_normalization(x, training=False)
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == updates
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(2):
            session.run([y, *updates])
        np.testing.assert_allclose(session.run(layer.moving_mean), [2.25, 3.0])
        np.testing.assert_allclose(session.run(layer.moving_variance), [4.0, 4.0])


def test_a_layer_of_ones_own() -> None:
    class Counted(tf.layers.Layer):
        def build(self, input_shape: Any) -> None:
            assert [s.as_list() for s in input_shape] == [[2], [2]]
            self.calls = self.add_variable("calls", None, "int32", trainable=False,
                                           initializer=tf.zeros_initializer())  # fmt: skip

        def call(self, inputs: Any, scope: Any = None) -> Any:
            assert scope.name == "counted"
            self.add_update(lambda: tf.assign_add(self.calls, 1))
            self.add_loss([None, lambda: tf.constant(1.5)])
            return inputs[0] + inputs[1]

    layer = Counted()
    y = layer([tf.ones([2]), np.array([1.0, 2.0], np.float32)])
    assert layer.built
    assert layer.variables == [layer.calls] == tf.global_variables()
    assert layer.losses == tf.losses.get_regularization_losses()
    np.testing.assert_array_equal(run([y, *layer.updates])[0], [2, 3])


def test_a_layer_must_return_something() -> None:
    class Silent(tf.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return None

    with pytest.raises(ValueError, match=r"should return a Tensor .*\(layer: silent_1\)"):
        Silent()(tf.ones([1]))


# Checks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "shape", "text"),
    [
        ({"ndim": 2}, [2, 3, 4], r"expected ndim=2, found ndim=3. .*received: \[2, 3, 4\]"),
        ({"min_ndim": 2}, [3], r"expected min_ndim=2, found ndim=1. Full shape received: \[3\]"),
        ({"max_ndim": 1}, [2, 3], "expected max_ndim=1, found ndim=2"),
        ({"ndim": 2}, None, "its rank is undefined, but the layer requires a defined rank"),
        ({"axes": {-1: 4}}, [2, 3], r"expected axis -1 of input .* value 4 but .*\[2, 3\]"),
        ({"shape": (None, 4)}, [2, 3], r"expected shape=\(None, 4\), found shape=\[2, 3\]"),
        ({"dtype": "int32"}, [2], "expected dtype=int32"),
    ],
)  # fmt: skip
def test_input_spec(spec: dict[str, Any], shape: Any, text: str) -> None:
    layer = tf.layers.Layer(name="picky")
    layer.input_spec = tf.layers.InputSpec(**spec)
    with pytest.raises(ValueError, match=f"Input 0 of layer picky is incompatible.*{text}"):
        layer(tf.placeholder(tf.float32, shape))
    fitting = {"ndim": [1, 1], "min_ndim": [1, 1], "max_ndim": [3], "axes": [2, 4],
               "shape": [1, 4], "dtype": [3]}[next(iter(spec))]  # fmt: skip
    layer(tf.placeholder(spec.get("dtype", tf.float32), fitting))


def test_unknown_sizes_pass() -> None:
    layer = tf.layers.Dense(2)
    layer(tf.ones([2, 3]))
    assert layer(tf.placeholder(tf.float32, [None, None])).shape.as_list() == [None, 2]
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(tf.ones([2, 4]))


def test_several_inputs_for_one() -> None:
    with pytest.raises(ValueError, match="Layer dense_1 expects 1 inputs, but it received 2"):
        tf.layers.Dense(2)([tf.ones([1, 2]), tf.ones([1, 2])])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tf.layers.Dense(2, activation="no such"), "Unknown activation function: no such"),
        (lambda: tf.layers.Dense(2, kernel_initializer="no such"), "initializer identifier"),
        (lambda: tf.layers.Dense(2, bias_regularizer="l2"), "regularizer identifier: l2"),
        (lambda: tf.layers.Conv2D(2, (1, 2, 3)), "`kernel_size` argument must be a tuple of 2"),
        (lambda: tf.layers.Conv2D(2, 2, strides="x"), "`strides` argument must be a tuple of 2"),
        (lambda: tf.layers.Conv2D(2, 2, padding="causal"), "Causal padding is only supported"),
        (lambda: tf.layers.Conv2D(2, 2, padding="full"), "`padding` argument must be"),
        (lambda: tf.layers.MaxPooling2D(2, 2, data_format="NHWC"), "`data_format` argument"),
        (lambda: tf.layers.BatchNormalization(virtual_batch_size=0)(tf.ones([2, 2])),
         "virtual_batch_size must be a positive integer"),
    ],
)  # fmt: skip
def test_bad_arguments(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_keras_style_is_not_there() -> None:
    for name in ("keras_style_scope", "set_keras_style"):
        with pytest.raises(errors.UnimplementedError, match=name):
            getattr(tf.layers.experimental, name)()


# Shapes and values --------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "layer",
    [
        lambda **o: tf.layers.Conv1D(4, 3, strides=2, **o),
        lambda **o: tf.layers.Conv2D(4, (3, 2), strides=(1, 2), **o),
        lambda **o: tf.layers.Conv2D(4, 2, dilation_rate=(2, 1), **o),
        lambda **o: tf.layers.Conv3D(4, 2, **o),
        lambda **o: tf.layers.SeparableConv1D(4, 3, **o),
        lambda **o: tf.layers.SeparableConv2D(4, 3, strides=2, depth_multiplier=2, **o),
        lambda **o: tf.layers.Conv2DTranspose(4, (2, 3), strides=(2, 1), **o),
        lambda **o: tf.layers.Conv3DTranspose(4, 2, strides=3, **o),
        lambda **o: tf.layers.MaxPooling1D(3, 2, **o),
        lambda **o: tf.layers.AveragePooling2D((2, 3), (2, 1), **o),
        lambda **o: tf.layers.MaxPooling3D(2, 2, **o),
    ],
)
def test_shapes_are_known_before_and_come_true(layer: Any, padding: str, first: bool) -> None:
    made = layer(padding=padding, data_format="channels_first" if first else "channels_last")
    sizes = [5, 6, 7][: made.rank]
    shape = [2, 3, *sizes] if first else [2, *sizes, 3]
    x = tf.placeholder(tf.float32, [None, *shape[1:]])
    expected = made.compute_output_shape(x.shape)
    y = made(x)
    assert y.shape.as_list() == expected.as_list()
    result = run(y, {x: np.ones(shape)})
    assert list(result.shape) == [2, *expected.as_list()[1:]]


def test_causal_convolution_sees_no_later_inputs() -> None:
    x = tf.placeholder(tf.float32, [1, 6, 1])
    y = tf.layers.Conv1D(1, 3, padding="causal", dilation_rate=2,
                         kernel_initializer=tf.ones_initializer())(x)  # fmt: skip
    assert y.shape.as_list() == [1, 6, 1]
    result = run(y, {x: np.arange(1.0, 7).reshape(1, 6, 1)})
    np.testing.assert_allclose(result.ravel(), [1, 2, 4, 6, 9, 12])


def test_dropout_scales_what_it_keeps() -> None:
    x = tf.ones([1000])
    kept, same = tf.layers.dropout(x, 0.75, training=True), tf.layers.dropout(x, 0.75)
    kept, same = run([kept, same])
    assert set(kept) == {0.0, 4.0}
    assert 0.15 < (kept > 0).mean() < 0.35
    assert (same == 1).all()


def test_training_as_a_tensor() -> None:
    training = tf.placeholder(tf.bool, [])
    x = tf.constant([[0.0], [2.0]])
    y = tf.layers.batch_normalization(x, epsilon=0.0, training=training)
    kept = tf.layers.dropout(x + 1.0, 0.5, training=training)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_allclose(session.run(y, {training: True}), [[-1], [1]])
        np.testing.assert_allclose(
            session.run([y, kept], {training: False}), [[[0], [2]], [[1], [3]]]
        )
        values = {float(v) for _ in range(20) for v in session.run(kept, {training: True})[:, 0]}
        assert values == {0.0, 2.0, 6.0}


@pytest.mark.parametrize("known", [True, False])
def test_training_as_a_constant_makes_no_condition(known: bool) -> None:
    tf.layers.batch_normalization(tf.ones([2, 2]), training=tf.constant(known))
    assert not [op for op in tf.get_default_graph().get_operations() if op.type == "Switch"]
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == (2 if known else 0)


def test_a_network_learns() -> None:
    """Learns the quadrant of a bright spot: convolution, normalization, pool, dropout, dense."""
    numbers = np.random.RandomState(0)
    labels = numbers.randint(0, 4, 32)
    images = numbers.normal(0, 0.1, (32, 8, 8, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[4 * (label // 2) : 4 * (label // 2) + 4, 4 * (label % 2) : 4 * (label % 2) + 4] += 1
    tf.set_random_seed(1)
    x = tf.placeholder(tf.float32, [None, 8, 8, 1])
    training = tf.placeholder(tf.bool, [])
    h = tf.layers.conv2d(x, 8, 3, padding="same", use_bias=False)
    h = tf.nn.relu(tf.layers.batch_normalization(h, momentum=0.8, training=training))
    h = tf.layers.flatten(tf.layers.max_pooling2d(h, 4, 4))
    h = tf.layers.dropout(h, 0.2, training=training)
    logits = tf.layers.dense(h, 4)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.AdamOptimizer(0.05).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(40):
            session.run(train, {x: images, training: True})
        final, predictions = session.run([loss, logits], {x: images, training: False})
    assert final < 0.3
    assert (predictions.argmax(1) == labels).mean() > 0.9
