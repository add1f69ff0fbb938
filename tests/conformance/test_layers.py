"""tf.layers against TensorFlow's: the same programs make the same nodes, variables and losses.

TensorFlow's layers have been moved to tf_keras, which makes some nodes in another way than 1.15.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray

pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")
import tf_keras.api._v1.keras.__internal__.legacy.layers as legacy_layers

from tests.conformance.training import TF, as_in_1_15, assert_same

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Make = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def _tensorflow_has_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``TF_USE_LEGACY_KERAS=1`` would do, but for these tests only."""
    monkeypatch.setattr(TF, "layers", legacy_layers)


ONLY_IN_1_15 = (
    r".*/dilation_rate$|(.*/)?flatten[^/]*/(Shape|strided_slice.*|Reshape(/shape.*)?|Const)$"
)
"""Nodes that TensorFlow 2 does not make, or makes in another way."""


def images(tf: Any, channels: int = 3) -> tuple[Any, dict[str, Any]]:
    x = tf.placeholder("float32", [4, 6, 6, channels], name="x")
    return x, {"x:0": np.sin(np.arange(4 * 36 * channels)).reshape(4, 6, 6, channels)}


def series(tf: Any) -> tuple[Any, dict[str, Any]]:
    x = tf.placeholder("float32", [None, 7, 3], name="x")
    return x, {"x:0": np.sin(np.arange(63)).reshape(3, 7, 3)}


def start(tf: Any, phase: float = 0.0) -> Any:
    """An initializer of numbers between -1/2 and 1/2."""

    def initialize(shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        values = np.cos(phase + np.arange(np.prod(shape))).reshape(shape) / 2
        return tf.constant(values, dtype or "float32")

    return initialize


def trained(tf: Any, outputs: Any, feed: dict[str, Any], rate: float = 0.2) -> Any:
    """The loss, an op that trains and updates, and what to feed."""
    loss = tf.reduce_mean(tf.square(outputs - 0.3), name="loss")
    losses = [loss, *tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)]
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.GradientDescentOptimizer(rate).minimize(tf.add_n(losses, name="total"))
    return loss, train, feed


# Programs -----------------------------------------------------------------------------------------


def dense(tf: Any) -> Any:
    x = tf.placeholder("float32", [5, 3], name="x")
    h = tf.layers.dense(x, 4, activation=tf.nn.relu, kernel_initializer=start(tf))
    h = tf.layers.dense(h, 4, activation=tf.nn.tanh, kernel_initializer=start(tf, 2), name="named")
    with tf.variable_scope("scope"):
        h = tf.layers.dense(h, 2, use_bias=False, kernel_initializer=start(tf, 3))
        h = tf.layers.dense(
            h, 2, bias_initializer=tf.ones_initializer(), kernel_initializer=start(tf, 4)
        )
    return trained(tf, h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})


def dense_of_rank_3(tf: Any) -> Any:
    x, feed = series(tf)
    return trained(tf, tf.layers.dense(x, 4, kernel_initializer=start(tf)), feed)


def dense_penalties(tf: Any) -> Any:
    x = tf.placeholder("float32", [5, 3], name="x")
    square = lambda w: 0.01 * tf.reduce_sum(tf.square(w))  # noqa: E731
    h = tf.layers.dense(
        x, 2, kernel_initializer=start(tf), kernel_regularizer=square, bias_regularizer=square,
        activity_regularizer=square, kernel_constraint=lambda w: tf.clip_by_value(w, -0.3, 0.3),
        bias_constraint=tf.nn.relu,
    )  # fmt: skip
    with tf.variable_scope("scope", initializer=start(tf, 3)):
        h = tf.layers.dense(h, 2)
    return trained(tf, h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})


def shared(tf: Any) -> Any:
    """Variables that are used twice: of a layer, by name, by scope."""
    x = tf.placeholder("float32", [5, 3], name="x")
    square = lambda w: 0.01 * tf.reduce_sum(tf.square(w))  # noqa: E731
    layer = tf.layers.Dense(3, kernel_initializer=start(tf), kernel_regularizer=square)
    h = layer(layer(x))
    for reuse in (False, True):
        h = tf.layers.dense(
            h, 3, name="again", reuse=reuse, kernel_initializer=start(tf),
            kernel_regularizer=square,
        )  # fmt: skip
    for _ in range(2):
        with tf.variable_scope("scope", reuse=tf.AUTO_REUSE):
            h = tf.layers.dense(h, 3, name="inner", kernel_initializer=start(tf, 2))
            h = tf.layers.dense(h, 3, kernel_initializer=start(tf, 5))
    return trained(tf, h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})


def convolutions(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.conv2d(x, 4, 3, activation=tf.nn.tanh, kernel_initializer=start(tf))
    h = tf.layers.conv2d(
        h, 3, [2, 3], strides=(2, 1), padding="SAME", kernel_initializer=start(tf, 2), name="c2"
    )
    h = tf.layers.flatten(tf.nn.tanh(h))
    h = tf.layers.dense(h, 2, kernel_initializer=start(tf, 3))
    return trained(tf, h, feed, rate=0.01)


def dilated(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.conv2d(x, 3, 2, dilation_rate=(2, 1), kernel_initializer=start(tf))
    h = tf.layers.conv2d(h, 3, 2, dilation_rate=2, padding="same", kernel_initializer=start(tf, 3))
    h = tf.layers.separable_conv2d(
        h, 2, 2, dilation_rate=2, depthwise_initializer=start(tf), pointwise_initializer=start(tf)
    )
    return trained(tf, h, feed)


def pools(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.conv2d(x, 3, 2, kernel_initializer=start(tf), padding="same")
    h = tf.layers.max_pooling2d(h, 2, 2)
    h = tf.layers.average_pooling2d(h, (2, 1), 1, padding="same", name="mean")
    h = tf.layers.max_pooling2d(h, [1, 2], [1, 1], name="mean")
    return trained(tf, h, feed)


def in_one_dimension(tf: Any) -> Any:
    x, feed = series(tf)
    h = tf.layers.conv1d(x, 4, 3, activation=tf.nn.elu, kernel_initializer=start(tf))
    h = tf.layers.conv1d(h, 4, 2, padding="same", dilation_rate=2, kernel_initializer=start(tf))
    h = tf.layers.max_pooling1d(h, 2, 1)
    h = tf.layers.average_pooling1d(h, 2, 2, padding="same")
    h = tf.layers.separable_conv1d(
        h, 3, 2, depth_multiplier=2, depthwise_initializer=start(tf),
        pointwise_initializer=start(tf, 2),
    )  # fmt: skip
    return trained(tf, h, feed)


def in_three_dimensions(tf: Any) -> Any:
    x = tf.placeholder("float32", [2, 4, 4, 4, 2], name="x")
    h = tf.layers.conv3d(x, 3, 2, activation=tf.nn.tanh, kernel_initializer=start(tf))
    h = tf.layers.max_pooling3d(h, 2, 1)
    h = tf.layers.average_pooling3d(h, 2, 2, padding="same")
    h = tf.layers.conv3d_transpose(h, 2, 2, strides=2, kernel_initializer=start(tf, 1))
    return trained(tf, h, {"x:0": np.sin(np.arange(256)).reshape(2, 4, 4, 4, 2)})


def separable(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.separable_conv2d(
        x, 4, 3, depth_multiplier=2, activation=tf.nn.relu, depthwise_initializer=start(tf),
        pointwise_initializer=start(tf, 2), padding="same",
    )  # fmt: skip
    h = tf.layers.separable_conv2d(
        h, 2, 2, strides=2, use_bias=False, depthwise_initializer=start(tf, 1),
        pointwise_initializer=start(tf, 3),
    )  # fmt: skip
    return trained(tf, h, feed)


def transposed(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.conv2d_transpose(x, 2, 3, kernel_initializer=start(tf), activation=tf.nn.relu)
    h = tf.layers.conv2d_transpose(
        h, 3, [3, 2], strides=[2, 3], padding="same", kernel_initializer=start(tf, 2)
    )
    return trained(tf, h, feed)


def batch_normalized(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.conv2d(x, 4, 3, kernel_initializer=start(tf))
    h = tf.layers.batch_normalization(h, momentum=0.8, training=True)
    h = tf.layers.batch_normalization(
        h, center=False, epsilon=0.01, training=True, fused=True, name="bn"
    )
    h = tf.layers.batch_normalization(h, training=True, trainable=False)
    h = tf.layers.batch_normalization(h, scale=False, training=False)
    return trained(tf, h, feed)


def batch_normalized_flat(tf: Any) -> Any:
    x = tf.placeholder("float32", [5, 3], name="x")
    h = tf.layers.dense(x, 4, kernel_initializer=start(tf))
    h = tf.layers.batch_normalization(h, training=True)
    h = tf.layers.batch_normalization(h, center=False, scale=False, training=True)
    h = tf.layers.batch_normalization(h, training=False)
    return trained(tf, h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})


def batch_normalized_other_axes(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.conv2d(x, 2, 2, kernel_initializer=start(tf))
    h = tf.layers.batch_normalization(h, axis=2, training=True)
    h = tf.layers.batch_normalization(h, axis=[1, 3], training=True)
    h = tf.layers.batch_normalization(h, fused=False, training=True)
    return trained(tf, h, feed)


def renormalized(tf: Any) -> Any:
    x = tf.placeholder("float32", [5, 3], name="x")
    h = tf.layers.dense(x, 4, kernel_initializer=start(tf))
    clip = {"rmin": 0.5, "rmax": tf.constant(2.0, name="rmax"), "dmax": 1.0}
    h = tf.layers.batch_normalization(
        h, renorm=True, renorm_clipping=clip, renorm_momentum=0.5, training=True
    )
    return trained(tf, h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})


def virtual_batches(tf: Any) -> Any:
    x = tf.placeholder("float32", [6, 3], name="x")
    h = tf.layers.dense(x, 4, kernel_initializer=start(tf))
    h = tf.layers.batch_normalization(h, virtual_batch_size=3, training=True)
    return trained(tf, h, {"x:0": np.cos(np.arange(18)).reshape(6, 3)})


def adjusted(tf: Any) -> Any:
    x = tf.placeholder("float32", [6, 3], name="x")
    h = tf.layers.dense(x, 4, kernel_initializer=start(tf))
    h = tf.layers.batch_normalization(
        h, adjustment=lambda shape: (tf.fill(shape[-1:], 1.1), tf.fill(shape[-1:], 0.1)),
        training=True,
    )  # fmt: skip
    return trained(tf, h, {"x:0": np.cos(np.arange(18)).reshape(6, 3)})


def partitioned(tf: Any) -> Any:
    x = tf.placeholder("float32", [5, 3], name="x")
    with tf.variable_scope("scope", partitioner=tf.fixed_size_partitioner(2)):
        h = tf.layers.dense(x, 4, kernel_initializer=start(tf))
        h = tf.layers.batch_normalization(h, training=True)
    return trained(tf, h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})


def of_ones_own(tf: Any) -> Any:
    """A class of the user's, with a layer in it."""

    class Scaled(tf.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight("scale", [int(input_shape[-1])],
                                         initializer=start(tf))  # fmt: skip
            self.count = self.add_variable("count", [], initializer=tf.zeros_initializer(),
                                           trainable=False)  # fmt: skip
            self.built = True

        def call(self, inputs: Any, factor: float = 1.0) -> Any:
            self.add_update(tf.assign_add(self.count, 1.0))
            self.add_loss(tf.reduce_sum(tf.abs(self.scale), name="penalty") * 0.001)
            inner = tf.layers.dense(inputs, 3, kernel_initializer=start(tf, 2))
            return inner * self.scale * factor

    x = tf.placeholder("float32", [5, 3], name="x")
    h = Scaled()(x)
    h = Scaled(name="mine")(h, factor=2.0)
    return trained(tf, h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})


def without_dropout(tf: Any) -> Any:
    x, feed = images(tf)
    h = tf.layers.conv2d(x, 2, 2, kernel_initializer=start(tf))
    return trained(tf, tf.layers.dropout(h, 0.4), feed)


PROGRAMS: dict[Make, str] = {
    adjusted: "",
    batch_normalized: r".*/(Const(_\d)?|FusedBatchNormV3|AssignMovingAvg(_1)?/sub)$",
    batch_normalized_flat: "",
    batch_normalized_other_axes: "",
    convolutions: "",
    dense: "",
    dense_of_rank_3: r".*/Tensordot.*",
    dense_penalties: "",
    in_one_dimension: r".*[12]d",
    in_three_dimensions: r"conv3d_transpose/(?!kernel|bias)",
    of_ones_own: "",
    partitioned: "",
    pools: "",
    renormalized: "",
    separable: "",
    shared: "",
    transposed: r".*/(add|mul|stack|strided_slice).*",
    without_dropout: "",
}
"""What both sides make the same nodes for; and for which nodes TensorFlow 2 has others: it names
convolutions otherwise, gives fused normalization its averages also in training, and computes shapes
in Python."""

OF_OTHER_NODES: list[Make] = [dilated, virtual_batches]


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)
def test_same_graph_and_losses(make: Make) -> None:
    ignored = "|".join(filter(None, (ONLY_IN_1_15, PROGRAMS[make])))
    losses = assert_same(make, ignored=ignored)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("make", OF_OTHER_NODES, ids=lambda make: make.__name__)
def test_same_variables_and_losses(make: Make) -> None:
    losses = assert_same(make, ignored="")
    assert losses[-1] < losses[0]


# What only runs tell ------------------------------------------------------------------------------


def values(tf: Any, make: Make) -> list[Any]:
    """Runs each ``(fetches, feed)`` of the functions that ``make`` returns, in order."""
    if tf is TF:
        with as_in_1_15():
            return _values(tf, make)
    return _values(tf, make)


def _values(tf: Any, make: Make) -> list[Any]:
    with tf.Graph().as_default(), tf.Session() as session:
        runs = make(tf)
        session.run(tf.global_variables_initializer())
        return [session.run(fetches, feed) for fetches, feed in runs]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("renorm", [True, False])
def test_training_is_told_in_a_run(fused: bool, renorm: bool) -> None:
    def make(tf: Any) -> Any:
        x, feed = images(tf)
        training = tf.placeholder_with_default(False, [], name="training")
        h = tf.layers.batch_normalization(
            x, momentum=0.7, fused=fused, renorm=renorm, training=training
        )
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        assert len(updates) == 2
        variables = tf.global_variables()
        gradients = tf.gradients(tf.reduce_sum(h * tf.sin(h)), tf.trainable_variables())
        fed = [{**feed, "training:0": t} for t in (True, True, False, True)]
        return [([h, updates, gradients], f) if i % 2 else (variables, f)
                for f in fed for i in (1, 0)]  # fmt: skip

    for ours, theirs in zip(values(flowray, make), values(TF, make), strict=True):
        # An op of an update has no value, a merge of one has.
        for a, b in zip(flat(ours), flat(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def flat(fetched: Any) -> list[Any]:
    if isinstance(fetched, list):
        return [leaf for item in fetched for leaf in flat(item)]
    return [] if fetched is None else [fetched]


def test_dropout_of_a_seed() -> None:
    def make(tf: Any) -> Any:
        x = tf.placeholder("float32", [8, 5, 3], name="x")
        training = tf.placeholder_with_default(True, [], name="training")
        drops = [
            tf.layers.dropout(x, 0.3, seed=3, training=True),
            tf.layers.dropout(x, 0.3, noise_shape=[None, 1, 3], seed=4, training=training),
            tf.layers.Dropout(rate=0.6, seed=5)(x, training=True),
        ]
        feed = {"x:0": np.arange(120).reshape(8, 5, 3)}
        return [(drops, feed), (drops, {**feed, "training:0": False})]

    for ours, theirs in zip(values(flowray, make), values(TF, make), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
            assert 0 < (b == 0).mean() < 0.8 or (a == np.arange(120).reshape(8, 5, 3)).all()


def test_flattened() -> None:
    def make(tf: Any) -> Any:
        x = tf.placeholder("float32", [2, 3, 4, 2], name="x")
        unknown = tf.placeholder_with_default(x, [None, None, 4, None])
        row = tf.placeholder_with_default(tf.constant([1.0, 2.0]), [None])
        flats = [
            tf.layers.flatten(x), tf.layers.flatten(unknown), tf.layers.flatten(row),
            tf.layers.flatten(x, data_format="channels_first"), tf.layers.Flatten()(x[:1]),
        ]  # fmt: skip
        assert [f.shape.as_list() for f in flats] == [
            [2, 24], [None, None], [None, 1], [2, 24], [1, 24]
        ]  # fmt: skip
        return [(flats, {"x:0": np.arange(48).reshape(2, 3, 4, 2)})]

    (ours,), (theirs,) = values(flowray, make), values(TF, make)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["relu", "elu", "tanh", "softmax", "linear", "exponential"])
def test_activation_of_a_name(name: str) -> None:
    def make(tf: Any) -> Any:
        x = tf.placeholder("float32", [5, 3], name="x")
        h = tf.layers.dense(x, 4, activation=name, kernel_initializer=start(tf))
        return [(h, {"x:0": np.cos(np.arange(15)).reshape(5, 3)})]

    np.testing.assert_allclose(values(flowray, make), values(TF, make), rtol=1e-5)


# What the layers say ------------------------------------------------------------------------------


def test_arguments() -> None:
    ours = {name for name in dir(flowray.layers) if name in flowray.layers.__all__}
    assert ours == {name for name in dir(legacy_layers) if not name.startswith("_")}
    for name in sorted(ours - {"InputSpec", "Layer", "experimental"}):
        left, right = (getattr(module, name) for module in (flowray.layers, legacy_layers))
        assert parameters(left) == parameters(right), name


def parameters(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults, where those are plain; a number stands for as many equal ones."""
    result = []
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        if isinstance(default, tuple) and len(set(default)) == 1:
            default = default[0]
        if default is not parameter.empty and not isinstance(default, bool | float | int | str):
            default = None
        if parameter.kind is not parameter.VAR_KEYWORD:
            result.append((parameter.name, default))
    return result


def described(layer: Any) -> dict[str, Any]:
    names = lambda items: [getattr(item, "name", item) for item in items]  # noqa: E731
    return {
        "name": layer.name, "scope": layer.scope_name, "dtype": layer.dtype, "built": layer.built,
        "trainable": names(layer.trainable_variables),
        "non-trainable": names(layer.non_trainable_weights),
        "variables": names(layer.variables), "count": layer.count_params(),
        "losses": len(layer.losses), "updates": names(layer.updates),
    }  # fmt: skip


@pytest.mark.parametrize("trainable", [True, False])
def test_properties(trainable: bool) -> None:
    def make(tf: Any) -> list[dict[str, Any]]:
        with tf.Graph().as_default():
            x = tf.placeholder("float64", [2, 6, 6, 3])
            dense = tf.layers.Dense(4, kernel_regularizer=tf.nn.l2_loss, trainable=trainable)
            other = tf.layers.Dense(2, name="other")
            norm = tf.layers.BatchNormalization(trainable=trainable)
            pool = tf.layers.MaxPooling2D(2, 2)
            with tf.variable_scope("scope"):
                y = dense(x)
            dense(x)
            norm(y, training=True)
            norm(y, training=True)
            other.apply(y)
            pool(x)
            again = tf.layers.Dense(2, name="other")
            again(y)
            return [described(layer) for layer in (dense, other, norm, pool, again)]

    with as_in_1_15():
        theirs = make(TF)
    assert make(flowray) == theirs


BAD_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "rank": lambda tf, x: tf.layers.conv2d(x, 3, 2),
    "too low a rank": lambda tf, x: tf.layers.dense(tf.ones([3]), 3),
    "unknown channels": lambda tf, x: tf.layers.dense(tf.placeholder("float32", [2, None]), 3),
    "integers": lambda tf, x: tf.layers.dense(tf.ones([2, 3], "int32"), 3),
    "other channels": lambda tf, x: _twice(tf.layers.Dense(3), x, tf.ones([2, 5])),
    "variable is there": lambda tf, x: [tf.layers.dense(x, 3, name="a") for _ in range(2)],
    "variable is not there": lambda tf, x: tf.layers.dense(x, 3, name="a", reuse=True),
    "other shape": lambda tf, x: [
        tf.layers.dense(x, n, name="a", reuse=tf.AUTO_REUSE) for n in (2, 3)
    ],
    "kernel size": lambda tf, x: tf.layers.Conv2D(3, (1, 2, 3)),
    "no integers": lambda tf, x: tf.layers.Conv2D(3, ("a", 2)),
    "padding": lambda tf, x: tf.layers.Conv2D(3, 2, padding="full"),
    "data format": lambda tf, x: tf.layers.Conv2D(3, 2, data_format="NHWC"),
    "no name yet": lambda tf, x: tf.layers.Dense(3).scope_name,
    "no variables yet": lambda tf, x: tf.layers.Dense(3).count_params(),
    "axis": lambda tf, x: tf.layers.batch_normalization(x, axis=3),
    "two axes": lambda tf, x: tf.layers.batch_normalization(x, axis=[1, 1]),
    "no axis": lambda tf, x: tf.layers.BatchNormalization(axis="1"),
    "renorm clipping": lambda tf, x: tf.layers.BatchNormalization(
        renorm=True, renorm_clipping={"max": 1}
    ),
    "activation": lambda tf, x: tf.layers.Dense(3, activation="no such"),
    "argument": lambda tf, x: tf.layers.Dense(3, nonsense=1),
}


def _twice(layer: Any, *inputs: Any) -> None:
    for x in inputs:
        layer(x)


@pytest.mark.parametrize("what", BAD_CALLS)
def test_bad_calls(what: str) -> None:
    def error(tf: Any) -> Exception:
        with tf.Graph().as_default(), pytest.raises((TypeError, ValueError)) as info:
            BAD_CALLS[what](tf, tf.placeholder("float32", [2, 3]))
        return info.value

    with as_in_1_15():
        theirs = error(TF)
    ours = error(flowray)
    assert type(ours) is type(theirs), f"{theirs!r} / {ours!r}"
