"""Small programs in the TensorFlow 1 API, each a function of ``tf`` that returns what to fetch.

Those with variables, gradients and optimizers are in tests/conformance/training_programs.py.

tests/conformance/test_client_graphs.py runs them with flowray and with TensorFlow as ``tf``. They
touch each part of the client that makes graph: names and order of nodes are part of the API, since
checkpoints, feeds and exported graphs hang on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Program:
    build: Callable[[Any], list[Any]]
    """Gets ``tf``, makes the graph, and returns the tensors to fetch."""
    differs: str | None
    """Why its nodes are not TensorFlow 2.21's; then only the results are compared."""

    def __str__(self) -> str:
        return self.build.__name__


PROGRAMS: list[Program] = []

A = np.linspace(-2, 3, 6, dtype=np.float32).reshape(2, 3)
B = np.linspace(1, 2, 12, dtype=np.float32).reshape(3, 4)
IMAGE = np.linspace(-1, 1, 2 * 5 * 5 * 3, dtype=np.float32).reshape(2, 5, 5, 3)
KERNEL = np.linspace(0.5, -0.5, 2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)


def program(build: Callable[[Any], list[Any]]) -> None:
    PROGRAMS.append(Program(build, None))


def differing(why: str) -> Callable[[Callable[[Any], list[Any]]], None]:
    """Registers a program of which only the results are TensorFlow's."""
    return lambda build: PROGRAMS.append(Program(build, why))


# Math ---------------------------------------------------------------------------------------------


@program
def operators(tf: Any) -> Any:
    x, y = tf.constant(A), tf.constant(A + 5)
    return [
        x + y, x - y, x * y, x / y, x // y, x % y, x**2.0, -x, abs(x), 1.0 + x, 2.0 - x, 3.0 * x,
        1.0 / y, 7.0 // y, 7.0 % y, 2.0**x, x < y, x <= y, x > y, x >= y, x @ tf.transpose(y),
    ]  # fmt: skip


@program
def integer_operators(tf: Any) -> Any:
    x, y = tf.constant([7, -7, 8]), tf.constant([2, 2, -3])
    flags = tf.constant([True, False, True])
    return [x / y, x // y, x % y, tf.div(x, y), x < y, flags & ~flags, flags | flags, flags ^ flags]


@program
def elementwise_functions(tf: Any) -> Any:
    x = tf.constant(A)
    positive = tf.abs(x) + 0.5
    return [
        tf.exp(x), tf.log(positive), tf.log1p(positive), tf.expm1(x), tf.sqrt(positive),
        tf.rsqrt(positive), tf.square(x), tf.sigmoid(x), tf.tanh(x), tf.sin(x), tf.cos(x),
        tf.tan(x), tf.atan(x), tf.atan2(x, positive), tf.sinh(x), tf.cosh(x), tf.erf(x),
        tf.erfc(x), tf.lgamma(positive), tf.digamma(positive), tf.floor(x), tf.ceil(x),
        tf.round(x), tf.rint(x), tf.sign(x), tf.reciprocal(positive), tf.negative(x),
        tf.is_nan(x), tf.is_inf(x), tf.is_finite(x),
    ]  # fmt: skip


@program
def binary_functions(tf: Any) -> Any:
    x, y = tf.constant(A), tf.constant(A[::-1] + 4)
    return [
        tf.add(x, y), tf.subtract(x, y), tf.multiply(x, y), tf.divide(x, y), tf.div(x, y),
        tf.truediv(x, y), tf.floordiv(x, y), tf.floormod(x, y), tf.mod(x, y), tf.realdiv(x, y),
        tf.div_no_nan(x, y), tf.pow(tf.abs(x), y), tf.maximum(x, y), tf.minimum(x, y),
        tf.squared_difference(x, y), tf.equal(x, y), tf.not_equal(x, y), tf.greater(x, 0.0),
        tf.less_equal(x, y), tf.logical_and(x > 0, y > 0), tf.logical_or(x > 0, y > 6),
        tf.logical_xor(x > 0, y > 6), tf.logical_not(x > 0),
    ]  # fmt: skip


@program
def casts(tf: Any) -> Any:
    x = tf.constant([1.7, -1.7, 300.0])
    return [
        tf.cast(x, tf.int32), tf.cast(x, tf.float32), tf.to_int32(x), tf.to_float(tf.constant(3)),
        tf.to_double(x), tf.to_int64(x), tf.cast(x, tf.bool), tf.cast([1, 2], tf.float64),
        tf.bitcast(x, tf.int32),
    ]  # fmt: skip


@differing("2.x clamps with one op more")
def saturating_casts(tf: Any) -> Any:
    return [tf.saturate_cast([1.7, -1.7, 300.0], tf.uint8), tf.saturate_cast([70000], tf.int16)]


@program
def products(tf: Any) -> Any:
    a, b = tf.constant(A), tf.constant(B)
    stack = tf.stack([a, a + 1])
    return [
        tf.matmul(a, b), tf.matmul(a, a, transpose_b=True), tf.matmul(a, a, transpose_a=True),
        tf.matmul(stack, tf.stack([b, b])), tf.tensordot(a, b, 1), tf.tensordot(a, b, [[1], [0]]),
        tf.cross(a, a + 1), tf.add_n([a, a, a]), tf.accumulate_n([a, a]),
        tf.scalar_mul(2.0, a),
    ]  # fmt: skip


@program
def sequences(tf: Any) -> Any:
    return [
        tf.range(5), tf.range(2, 10, 3), tf.range(1.0, 2.0, 0.25),
        tf.cumsum(A), tf.cumsum(A, axis=1, exclusive=True, reverse=True), tf.cumprod(A, 1),
        tf.sequence_mask([1, 3, 2], 4),
    ]  # fmt: skip


@differing("flowray reshapes once")
def grids(tf: Any) -> Any:
    return [*tf.meshgrid([1, 2], [3, 4, 5]), *tf.meshgrid([1.0], [2.0, 3.0], indexing="ij")]


@differing("2.x computes it with forty other ops")
def linspace(tf: Any) -> Any:
    return [tf.linspace(0.0, 1.0, 5), tf.lin_space(1.0, -1.0, 1)]


@program
def complex_numbers(tf: Any) -> Any:
    z = tf.complex(tf.constant(A), tf.constant(A[::-1]))
    return [z, tf.real(z), tf.imag(z), tf.conj(z), tf.abs(z), tf.angle(z), z * z]


# Reductions ---------------------------------------------------------------------------------------


@program
def reductions(tf: Any) -> Any:
    x = tf.constant(A)
    return [
        tf.reduce_sum(x), tf.reduce_sum(x, 0), tf.reduce_mean(x, axis=[0, 1]),
        tf.reduce_mean(x, -1, keepdims=True), tf.reduce_max(x, 1), tf.reduce_min(x),
        tf.reduce_prod(x, axis=0), tf.reduce_all(x > 0), tf.reduce_any(x > 0, 1),
        tf.reduce_logsumexp(x), tf.reduce_logsumexp(x, 1, keepdims=True), tf.count_nonzero(x),
        tf.count_nonzero(x, 0), tf.norm(x), tf.norm(x, ord=1, axis=1), tf.argmax(x, 1),
        tf.argmin(x), tf.argmax(x, axis=0, output_type=tf.int32),
    ]  # fmt: skip


@program
def reductions_of_unknown_rank(tf: Any) -> Any:
    x = tf.placeholder_with_default(A, None)
    return [tf.reduce_sum(x), tf.reduce_mean(x), tf.reduce_max(x, 0), tf.reduce_logsumexp(x)]


@program
def segments(tf: Any) -> Any:
    x, ids = tf.constant(B), tf.constant([0, 0, 2])
    return [
        tf.segment_sum(x, ids), tf.segment_mean(x, ids), tf.segment_max(x, ids),
        tf.segment_min(x, ids), tf.segment_prod(x, ids), tf.unsorted_segment_sum(x, ids, 4),
        tf.unsorted_segment_max(x, ids, 3), tf.unsorted_segment_mean(x, ids, 3),
        tf.unsorted_segment_sqrt_n(x, ids, 3), tf.sparse_segment_sum(x, [0, 2], [0, 0]),
        tf.sparse_segment_mean(x, [0, 2], [0, 1]),
    ]  # fmt: skip


@differing("2.x counts with DenseBincount")
def counting(tf: Any) -> Any:
    return [tf.bincount([1, 1, 3]), tf.histogram_fixed_width(B, [1.0, 2.0], nbins=3)]


# Arrays -------------------------------------------------------------------------------------------


@program
def constants(tf: Any) -> Any:
    return [
        tf.constant(1), tf.constant(2.5, name="c"), tf.constant([1, 2], tf.float32),
        tf.constant(0.5, shape=[2, 2]), tf.constant("text"), tf.constant([True, False]),
        tf.zeros([2, 3]), tf.ones([2], tf.int32), tf.fill([2, 2], 7), tf.zeros_like(A),
        tf.ones_like(tf.constant([1, 2])), tf.one_hot([0, 2], 3), tf.zeros([]),
        tf.ones([100, 20]), tf.zeros([2], tf.string), tf.convert_to_tensor([[1.0]], name="made"),
    ]  # fmt: skip


@differing("1.15 and flowray convert the values twice")
def one_hot_with_values(tf: Any) -> Any:
    return [tf.one_hot([1], 2, on_value=5.0, off_value=-1.0, axis=0)]


@program
def shapes(tf: Any) -> Any:
    x, y = tf.constant(A), tf.placeholder_with_default(A, [None, 3])
    return [
        tf.shape(x), tf.shape(y), tf.size(x), tf.size(y), tf.rank(x), tf.rank(y),
        tf.shape(y, out_type=tf.int64), tf.reshape(y, [-1]), tf.reshape(y, [3, -1]),
        tf.reshape(x, [3, tf.shape(y)[0]]), tf.expand_dims(y, 0), tf.expand_dims(y, -1),
        tf.squeeze(tf.expand_dims(x, 1)), tf.squeeze(tf.reshape(x, [1, 6, 1]), [0]),
        tf.transpose(x), tf.transpose(y), tf.transpose(tf.reshape(y, [2, 3, 1]), [2, 0, 1]),
        tf.broadcast_to(x, [2, 2, 3]), tf.zeros(tf.shape(y)), tf.zeros_like(y), tf.ones_like(y),
        tf.ensure_shape(y, [2, 3]), tf.identity(y),
    ]  # fmt: skip


@program
def joining_and_splitting(tf: Any) -> Any:
    x = tf.constant(A)
    return [
        tf.concat([x, x], 0), tf.concat([x, x], axis=1, name="wide"), tf.stack([x, x], axis=-1),
        tf.stack([1, 2, 3]), *tf.unstack(x), *tf.unstack(x, axis=1), *tf.split(x, 3, axis=1),
        *tf.split(x, [1, 2], 1), tf.tile(x, [2, 1]), tf.pad(x, [[1, 0], [0, 2]]),
        tf.pad(x, [[1, 1], [1, 1]], "REFLECT"), tf.pad(x, [[0, 1], [0, 0]], constant_values=9.0),
        tf.reverse(x, [1]), tf.roll(x, 1, 0), tf.concat([[tf.size(x)], [5]], 0),
        tf.reverse_sequence(x, [1, 3], seq_axis=1),
    ]  # fmt: skip


@program
def slicing(tf: Any) -> Any:
    x, i = tf.constant(np.arange(24).reshape(2, 3, 4)), tf.constant(1)
    return [
        x[0], x[:, 1], x[..., -1], x[1, 2, 3], x[:, ::2], x[::-1], x[:, tf.newaxis, 0],
        x[0, 1:, :2], x[i], x[..., tf.newaxis], x[:1, 1:3, ::-2],
        tf.slice(x, [0, 1, 0], [1, 2, -1]), tf.strided_slice(x, [0, 0, 1], [2, 2, 4], [1, 1, 2]),
        tf.shape(x)[0], tf.shape(x)[1:],
    ]  # fmt: skip


@differing("2.x packs computed bounds in more ops")
def slicing_by_computed_bounds(tf: Any) -> Any:
    x, i = tf.constant(B), tf.constant(1)
    return [x[:, i:], x[i : i + 1, 0], x[:, i]]


@program
def gathering(tf: Any) -> Any:
    x = tf.constant(A)
    return [
        tf.gather(x, [1, 0, 1]), tf.gather(x, [2, 0], axis=1), tf.gather(x, 0, axis=-1),
        tf.gather_nd(x, [[0, 1], [1, 2]]), tf.boolean_mask(x, [True, False]),
        tf.boolean_mask(x, x > 0), tf.where(x > 0), tf.where(x > 0, x, -x),
        tf.dynamic_partition(x, [1, 0], 2)[0], tf.dynamic_stitch([[0], [1]], [[x[1]], [x[0]]]),
        tf.scatter_nd([[1], [3]], [5, 6], [5]), tf.unique([3, 1, 3]).idx,
        tf.unique_with_counts([3, 1, 3]).count, tf.setdiff1d([1, 2, 3], [2]).out,
        tf.invert_permutation([1, 2, 0]), tf.tensor_scatter_update(x, [[0, 0]], [9.0]),
    ]  # fmt: skip


@differing("flowray has one op where TensorFlow computes flat indices")
def gathering_in_batches(tf: Any) -> Any:
    return [tf.batch_gather(A, [[0], [2]]), tf.gather(A, [[0, 1], [2, 2]], batch_dims=1)]


@differing("2.x makes the ops with a V3 at the end")
def diagonals(tf: Any) -> Any:
    x = tf.constant(A)
    return [
        tf.eye(3), tf.eye(2, 3), tf.matrix_diag(x), tf.matrix_diag_part(x),
        tf.matrix_set_diag(x, [7.0, 8.0]),
    ]  # fmt: skip


@program
def matrices(tf: Any) -> Any:
    x = tf.constant(A)
    return [
        tf.diag([1.0, 2.0]), tf.diag_part(B[:, :3]), tf.matrix_band_part(x, 0, -1),
        tf.matrix_transpose(x),
        tf.space_to_depth(tf.zeros([1, 2, 2, 1]), 2), tf.depth_to_space(tf.zeros([1, 1, 1, 4]), 2),
        tf.space_to_batch_nd(IMAGE[:, :4, :4], [2, 2], [[0, 0], [0, 0]]),
        tf.batch_to_space_nd(IMAGE[:1].repeat(4, 0), [2, 2], [[0, 0], [1, 1]]),
    ]  # fmt: skip


# Neural networks ----------------------------------------------------------------------------------


@program
def activations(tf: Any) -> Any:
    x = tf.constant(A)
    return [
        tf.nn.relu(x), tf.nn.relu6(x), tf.nn.elu(x), tf.nn.selu(x), tf.nn.leaky_relu(x),
        tf.nn.leaky_relu(x, alpha=0.1), tf.nn.crelu(x), tf.nn.softplus(x), tf.nn.softsign(x),
        tf.nn.sigmoid(x), tf.nn.tanh(x), tf.nn.softmax(x),
        tf.nn.log_softmax(x), tf.log_sigmoid(x), tf.nn.l2_loss(x), tf.nn.l2_normalize(x, 1),
        tf.nn.bias_add(x, [1.0, 2.0, 3.0]), tf.nn.xw_plus_b(x, B, [0.0] * 4),
        tf.nn.top_k(x, 2).values, tf.nn.in_top_k(x, [2, 0], 1),
    ]  # fmt: skip


@differing("flowray transposes by a constant permutation, and counts zeros without a condition")
def activations_in_fewer_ops(tf: Any) -> Any:
    return [tf.nn.softmax(A, 0), tf.nn.log_softmax(A, 0), tf.nn.zero_fraction(A)]


@program
def convolutions(tf: Any) -> Any:
    x, w = tf.constant(IMAGE), tf.constant(KERNEL)
    return [
        tf.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding="SAME"),
        tf.nn.conv2d(x, w, [1, 2, 2, 1], "VALID"),
        tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
        tf.nn.avg_pool(x, [1, 3, 3, 1], [1, 1, 1, 1], "VALID"),
        tf.nn.conv1d(x[:, 0], w[0], 1, "SAME"),
        tf.nn.local_response_normalization(x),
    ]


@differing("flowray leaves out constants that nothing reads, and convolves with dilations")
def convolutions_in_fewer_ops(tf: Any) -> Any:
    x, w = tf.constant(IMAGE), tf.constant(KERNEL)
    return [
        tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"),
        tf.nn.conv2d_transpose(tf.zeros([2, 5, 5, 4]) + 1, w, [2, 5, 5, 3], [1, 1, 1, 1]),
        tf.nn.atrous_conv2d(x, w, 2, "SAME"),
        tf.nn.separable_conv2d(x, w, tf.ones([1, 1, 12, 2]), [1, 1, 1, 1], "SAME"),
    ]


@program
def normalization(tf: Any) -> Any:
    x = tf.constant(IMAGE)
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    one, zero = tf.ones([3]), tf.zeros([3])
    y, batch_mean, batch_variance = tf.nn.fused_batch_norm(x, one, zero)
    kept = tf.nn.moments(x, [0], keep_dims=True)
    return [
        mean, variance, *kept, tf.nn.batch_normalization(x, mean, variance, zero, one, 1e-3), y,
        batch_mean, batch_variance,
        tf.nn.fused_batch_norm(x, one, zero, zero, one, is_training=False)[0],
    ]  # fmt: skip


@differing("flowray flattens only arrays that are not matrices")
def softmax_cross_entropies(tf: Any) -> Any:
    one_hot = tf.constant([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    return [
        tf.nn.softmax_cross_entropy_with_logits(labels=one_hot, logits=A),
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=one_hot, logits=A),
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=one_hot[None], logits=A[None]),
    ]


@program
def cross_entropies(tf: Any) -> Any:
    logits = tf.constant(A)
    one_hot = tf.constant([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    return [
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[1, 2], logits=logits),
        tf.nn.sigmoid_cross_entropy_with_logits(labels=one_hot, logits=logits),
        tf.nn.weighted_cross_entropy_with_logits(one_hot, logits, 2.0),
    ]


@differing("flowray checks weights while it builds the graph, and counts them in fewer ops")
def losses(tf: Any) -> Any:
    predicted, labels = tf.constant(A), tf.constant(A * 0.5 + 1)
    one_hot = tf.constant([[0, 1, 0], [1, 0, 0]])
    values = [
        tf.losses.mean_squared_error(labels, predicted),
        tf.losses.absolute_difference(labels, predicted, weights=[[2.0], [0.0]]),
        tf.losses.softmax_cross_entropy(one_hot, predicted, label_smoothing=0.1),
        tf.losses.sparse_softmax_cross_entropy([1, 0], predicted),
        tf.losses.sigmoid_cross_entropy(one_hot, predicted),
        tf.losses.hinge_loss(one_hot, predicted), tf.losses.huber_loss(labels, predicted),
        tf.losses.log_loss(tf.sigmoid(labels), tf.sigmoid(predicted)),
        tf.losses.cosine_distance(labels, predicted, axis=1),
    ]  # fmt: skip
    return [*values, tf.losses.get_total_loss()]


@differing("2.x selects where 1.15 multiplies")
def dropout(tf: Any) -> Any:
    x = tf.constant(B)
    return [tf.nn.dropout(x, keep_prob=0.5, seed=2), tf.nn.dropout(x, rate=0.25, seed=1)]


@program
def embeddings(tf: Any) -> Any:
    table = tf.get_variable("table", initializer=B)
    parts = [tf.get_variable(f"part{i}", initializer=B + i) for i in range(2)]
    return [
        tf.nn.embedding_lookup(table, [0, 2, 2]), tf.nn.embedding_lookup(parts, [0, 1, 5, 2]),
        tf.nn.embedding_lookup(parts, [3, 4], partition_strategy="div"),
        tf.nn.embedding_lookup(table, [0, 1], max_norm=1.0),
    ]  # fmt: skip


# Random numbers -----------------------------------------------------------------------------------


@program
def random_numbers(tf: Any) -> Any:
    tf.set_random_seed(11)
    return [
        tf.random_uniform([2, 2], -1, 1, seed=5), tf.random_normal([3], 1.0, 2.0, seed=1),
        tf.random_uniform([4], maxval=10, dtype=tf.int32, seed=2),
        tf.truncated_normal([4], stddev=0.1, seed=2), tf.random_shuffle([1, 2, 3, 4], seed=3),
        tf.multinomial([[1.0, 1.0]], 5, seed=4), tf.random_gamma([2], 1.5, seed=4),
        tf.random_poisson(3.0, [2], seed=4),
    ]  # fmt: skip


@program
def random_numbers_without_graph_seed(tf: Any) -> Any:
    return [tf.random_uniform([3], 0.0, 2.0, seed=1), tf.random_normal([2, 3], seed=2)]


@differing("2.x leaves out arithmetic with 0 and 1, and a constant")
def random_numbers_from_0_to_1(tf: Any) -> Any:
    return [tf.random_uniform([3], seed=5), tf.random_crop(B, [2, 2], seed=7)]


# Names, scopes, control ---------------------------------------------------------------------------


@program
def names_and_scopes(tf: Any) -> Any:
    with tf.name_scope("outer") as scope:
        a = tf.constant(1.0, name="a")
        with tf.name_scope("inner"):
            b = tf.add(a, 1.0, name="b")
        with tf.name_scope("inner"):
            c = b * 2.0
        with tf.name_scope(scope):
            d = c + a
        with tf.name_scope(None):
            e = tf.identity(d, name="top")
        with tf.name_scope(None, "default", [d]):
            f = tf.square(d)
        g = tf.identity(d, name=scope)
    h = tf.constant(1.0, name="outer")
    return [a, b, c, d, e, f, g, h, tf.constant(2.0, name="a"), tf.constant(3.0, name="A")]


@program
def control_flow(tf: Any) -> Any:
    x = tf.constant(A)
    with tf.control_dependencies([tf.reduce_all(x < 10)]):
        y = tf.identity(x)
        z = y + 1.0
        with tf.control_dependencies(None):
            free = tf.constant(1.0)
    first, second = tf.tuple([y, z])
    with tf.control_dependencies([tf.group(y, z, name="both")]):
        after = tf.no_op(name="after")
    with tf.control_dependencies([after]):
        last = tf.constant(5)
    return [y, z, free, first, second, last, tf.stop_gradient(x), tf.check_numerics(x, "bad")]


@differing("flowray asserts without a condition around it")
def assertions(tf: Any) -> Any:
    x = tf.constant(A)
    with tf.control_dependencies([tf.Assert(tf.reduce_all(x < 10), [x], name="check")]):
        return [tf.identity(x)]


@program
def devices_and_colocation(tf: Any) -> Any:
    with tf.device("/cpu:0"):
        a = tf.constant(1.0)
        with tf.device("/job:localhost"):
            b = a + 1.0
    with tf.colocate_with(b):
        c = a * 3.0
    with tf.device(lambda op: "/cpu:0" if op.type == "Mul" else ""):
        d = c * a
    return [a, b, c, d]


@program
def conditions(tf: Any) -> Any:
    x = tf.constant(3.0)
    y = tf.cond(x > 2.0, lambda: x * 2.0, lambda: x - 1.0)
    several = tf.cond(x < 2.0, lambda: (x, tf.constant(1)), lambda: (-x, tf.constant(2)))
    chosen = tf.case([(x > 5.0, lambda: tf.constant(1)), (x > 1.0, lambda: tf.constant(2))],
                     default=lambda: tf.constant(3))  # fmt: skip
    return [y, *several, chosen]


@program
def strings(tf: Any) -> Any:
    words = tf.constant(["a b", "cd", ""])
    return [
        tf.string_join([words, words], "-"), tf.as_string([1.5, 2.0], precision=2),
        tf.string_to_number(["1.5", "-2"]), tf.string_to_hash_bucket_fast(words, 10),
        tf.substr(words, 0, 1), tf.regex_replace(words, "a", "x"), tf.strings.length(words),
        tf.encode_base64(words),
    ]  # fmt: skip


@differing("2.x names the ops with one scope more")
def joined_and_split_strings(tf: Any) -> Any:
    words = tf.constant(["a b", "cd", ""])
    return [tf.string_split(words).values, tf.reduce_join(words, 0, separator="+")]
