"""tf.nn's functions that are more than one op: values and gradients against TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray

pytest.importorskip("tensorflow")
from tests.conformance.training import TF, as_in_1_15

RANDOM = np.random.RandomState(7)
IMAGE = RANDOM.uniform(-1, 1, (2, 5, 6, 4)).astype(np.float32)
SERIES = RANDOM.uniform(-1, 1, (2, 6, 3)).astype(np.float32)
CUBE = RANDOM.uniform(-1, 1, (1, 4, 4, 4, 2)).astype(np.float32)
MATRIX = RANDOM.uniform(-1, 1, (6, 4)).astype(np.float32)
POSITIVE = RANDOM.uniform(0.1, 2, (6, 4)).astype(np.float32)
VECTOR = RANDOM.uniform(0.1, 1, 4).astype(np.float32)


def filters(*shape: int) -> Any:
    return np.cos(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)


def sampled(tf: Any, labels: Any, sampler: str = "log_uniform", **options: Any) -> Any:
    function = getattr(tf.nn, f"{sampler}_candidate_sampler")
    return function(labels, labels.shape[1], 3, True, 6, seed=4, **options)


LABELS = np.array([[1], [4], [5]])
TWO_LABELS = np.array([[1, 3], [4, 0], [5, 5]])
INPUTS = RANDOM.uniform(-1, 1, (3, 4)).astype(np.float32)
BIASES = RANDOM.uniform(-1, 1, 6).astype(np.float32)


def loss(name: str, labels: Any, **options: Any) -> Any:
    def make(tf: Any, weights: Any, biases: Any, inputs: Any) -> Any:
        values = sampled(tf, tf.constant(labels, tf.int64))
        return getattr(tf.nn, name)(
            weights, biases, tf.constant(labels, tf.int64), inputs, 3, 6, labels.shape[1],
            sampled_values=values, **options,
        )  # fmt: skip

    return make, (MATRIX, BIASES, INPUTS)


def sparse(tf: Any, values: Any) -> Any:
    return tf.SparseTensor([[0, 0], [0, 1], [1, 0], [3, 2]], values, [4, 3])


def combined(combiner: str, weighted: bool, shards: int = 1, **options: Any) -> Any:
    def make(tf: Any, table: Any) -> Any:
        params = tf.split(table, shards) if shards > 1 else table
        weights = sparse(tf, tf.constant([0.5, 2.0, 1.0, 3.0])) if weighted else None
        return tf.nn.embedding_lookup_sparse(
            params, sparse(tf, tf.constant([4, 1, 4, 0], tf.int64)), weights, combiner=combiner,
            **options,
        )  # fmt: skip

    return make, (MATRIX,)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "nce_loss": loss("nce_loss", LABELS),
    "nce_loss_without_hits": loss("nce_loss", TWO_LABELS, remove_accidental_hits=True),
    "sampled_softmax_loss": loss("sampled_softmax_loss", LABELS),
    "sampled_softmax_of_two": loss("sampled_softmax_loss", TWO_LABELS),
    "sampled_softmax_with_hits": loss(
        "sampled_softmax_loss", LABELS, remove_accidental_hits=False
    ),
    "sampled_softmax_in_shards": (
        lambda tf, w, b, x: tf.nn.sampled_softmax_loss(
            tf.split(w, 2), b, tf.constant(LABELS, tf.int64), x, 3, 6, seed=2,
            partition_strategy="div",
        ),
        (MATRIX, BIASES, INPUTS),
    ),
    **{
        f"embedding_lookup_sparse_{combiner}{'_weighted' * weighted}": combined(combiner, weighted)
        for combiner in ("sum", "mean", "sqrtn")
        for weighted in (False, True)
    },
    "embedding_lookup_sparse_in_shards": combined("mean", True, shards=3),
    "embedding_lookup_sparse_clipped": combined("sum", False, max_norm=0.5),
    "weighted_moments": (
        lambda tf, x, w: tf.nn.weighted_moments(x, [0], w), (MATRIX, POSITIVE),
    ),
    "weighted_moments_broadcast": (
        lambda tf, x, w: tf.nn.weighted_moments(x, [0, 1], w, keepdims=True), (MATRIX, VECTOR),
    ),
    "batch_norm_with_global_normalization": (
        lambda tf, x, m, v: tf.nn.batch_norm_with_global_normalization(
            x, m, v, tf.constant(VECTOR), tf.constant(VECTOR), 0.01, True
        ),
        (IMAGE, VECTOR, VECTOR),
    ),
    "max_pool1d": (lambda tf, x: tf.nn.max_pool1d(x, 3, 2, "SAME"), (SERIES,)),
    "avg_pool1d": (lambda tf, x: tf.nn.avg_pool1d(x, [2], [1], "VALID"), (SERIES,)),
    "max_pool2d": (lambda tf, x: tf.nn.max_pool2d(x, 2, [2, 1], "VALID"), (IMAGE,)),
    "max_pool3d": (lambda tf, x: tf.nn.max_pool3d(x, 2, 2, "SAME"), (CUBE,)),
    "avg_pool3d": (lambda tf, x: tf.nn.avg_pool3d(x, [2, 1, 2], 1, "VALID"), (CUBE,)),
    "max_pool_v2": (
        lambda tf, x, y, z: [tf.nn.max_pool_v2(v, 2, 1, "SAME") for v in (x, y, z)],
        (SERIES, IMAGE, CUBE),
    ),
    "avg_pool_v2": (
        lambda tf, x, y, z: [tf.nn.avg_pool_v2(v, 2, 2, "SAME") for v in (x, y, z)],
        (SERIES, IMAGE, CUBE),
    ),
    "conv1d": (
        lambda tf, x, w: tf.nn.conv1d(x, w, 2, "SAME", data_format="NWC"),
        (SERIES, filters(3, 3, 2)),
    ),
    "conv1d_transpose": (
        lambda tf, x, w: tf.nn.conv1d_transpose(x, w, [2, 12, 2], 2), (SERIES, filters(3, 2, 3)),
    ),
    "conv3d_transpose": (
        lambda tf, x, w: tf.nn.conv3d_transpose(x, w, [1, 8, 8, 8, 3], [1, 2, 2, 2, 1]),
        (CUBE, filters(2, 3, 2, 3, 2)),
    ),
    "conv_transpose": (
        lambda tf, x, w: tf.nn.conv_transpose(x, w, [2, 10, 12, 3], 2),
        (IMAGE, filters(3, 2, 3, 4)),
    ),
    "atrous_conv2d": (
        lambda tf, x, w: tf.nn.atrous_conv2d(x, w, 2, "SAME"), (IMAGE, filters(3, 2, 4, 3)),
    ),
    "atrous_conv2d_transpose": (
        lambda tf, x, w: tf.nn.atrous_conv2d_transpose(x, w, [2, 5, 6, 3], 2, "SAME"),
        (IMAGE, filters(3, 3, 3, 4)),
    ),
    "depthwise_conv2d_native_backprop_input": (
        lambda tf, w, g: tf.nn.depthwise_conv2d_native_backprop_input(
            [2, 5, 6, 2], w, g, [1, 1, 1, 1], "SAME"
        ),
        (filters(3, 2, 2, 2), IMAGE),
    ),
    "depthwise_conv2d_native_backprop_filter": (
        lambda tf, x, g: tf.nn.depthwise_conv2d_native_backprop_filter(
            x, [3, 2, 4, 1], g, [1, 1, 1, 1], "SAME"
        ),
        (IMAGE, IMAGE),
    ),
    "space_and_depth": (
        lambda tf, x: [
            tf.nn.space_to_depth(x[:, :4], 2), tf.nn.depth_to_space(x, 2),
            tf.nn.space_to_batch(x, [[1, 0], [0, 0]], 2),
        ],
        (IMAGE,),
    ),
    "sparse_to_dense": (
        lambda tf, v, d: tf.sparse_to_dense([[0, 1], [2, 0]], [3, 2], v, d[0]),
        (VECTOR[:2], VECTOR),
    ),
    "sparse_tensor_to_dense": (
        lambda tf, v: tf.sparse_tensor_to_dense(sparse(tf, v), default_value=3.0), (VECTOR,),
    ),
}  # fmt: skip


def results(tf: Any, name: str) -> list[Any]:
    """The outputs of a case, and their gradients by its inputs."""
    make, arrays = CASES[name]
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(3)
        inputs = [tf.placeholder(a.dtype, a.shape) for a in arrays]
        outputs = make(tf, *inputs)
        outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        total = tf.add_n([tf.reduce_sum(o * tf.sin(o)) for o in outputs])
        gradients = [tf.convert_to_tensor(g) for g in tf.gradients(total, inputs)]
        return session.run([*outputs, *gradients], dict(zip(inputs, arrays, strict=True)))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    with as_in_1_15():
        theirs = results(TF, name)
    ours = results(flowray, name)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


SAMPLERS: dict[str, dict[str, Any]] = {
    "uniform": {"range_max": 13},
    "log_uniform": {"range_max": 1000},
    "learned_unigram": {"range_max": 6},
    "fixed_unigram": {"range_max": 6, "unigrams": [3.0, 1.0, 0.5, 7.0, 2.0], "num_reserved_ids": 1},
    "all": {},
}


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_draw_the_same_in_every_run(name: str, unique: bool) -> None:
    def drawn(tf: Any) -> list[Any]:
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(3)
            labels = tf.constant([[1, 2], [4, 0]], tf.int64)
            sampler = getattr(tf.nn, f"{name}_candidate_sampler")
            outputs = sampler(labels, 2, 5, unique, seed=5, **SAMPLERS[name])
            return [session.run(list(outputs)) for _ in range(3)]

    for ours, theirs in zip(drawn(flowray), drawn(TF), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        for a, b in zip(ours[1:], theirs[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
