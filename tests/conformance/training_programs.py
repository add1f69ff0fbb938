"""Programs of tests/conformance/programs.py with variables, gradients and optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.conformance.programs import IMAGE, KERNEL, A, B, differing, program

# Variables ----------------------------------------------------------------------------------------


@program
def variables(tf: Any) -> Any:
    v = tf.Variable(A, name="v")
    w = tf.Variable(tf.zeros([2]), trainable=False)
    n = tf.Variable(0, name="n", dtype=tf.int32)
    changed = [v.assign(A + 1), w.assign_add([1.0, 2.0]), tf.assign_sub(w, [0.5, 0.5])]
    with tf.control_dependencies(changed):
        return [v.read_value(), w.read_value(), tf.identity(n)]


@program
def reads_of_variables(tf: Any) -> Any:
    v = tf.Variable(A, name="v")
    return [v.initialized_value(), v + 1.0, v[0], tf.reduce_sum(v), 2.0 * v, tf.concat([v, v], 0)]


@program
def resource_variables(tf: Any) -> Any:
    with tf.variable_scope("scope", use_resource=True):
        v = tf.get_variable("v", initializer=A)
        n = tf.get_variable("n", [], tf.int32, tf.zeros_initializer())
    with tf.control_dependencies([v.assign_add(A), n.assign(4)]):
        return [v.read_value(), n.read_value(), v * 2.0]


@program
def variable_scopes(tf: Any) -> Any:
    normal = tf.truncated_normal_initializer(stddev=0.1, seed=3)
    with tf.variable_scope("layer"):
        w = tf.get_variable("w", [3, 2], initializer=normal)
        b = tf.get_variable("b", [2], initializer=tf.constant_initializer(0.5))
        y = tf.matmul(A, w) + b
    with tf.variable_scope("layer", reuse=True):
        again = tf.get_variable("w", [3, 2])
    with tf.variable_scope("layer", reuse=tf.AUTO_REUSE):
        more = tf.get_variable("more", [2, 2], initializer=tf.glorot_uniform_initializer(seed=4))
        with tf.variable_scope("deep"):
            deep = tf.get_variable("d", initializer=tf.ones_initializer()([2]))
    return [y, again, more, deep]


@program
def initializers(tf: Any) -> Any:
    makers = {
        "zeros": tf.zeros_initializer(), "ones": tf.ones_initializer(),
        "constant": tf.constant_initializer([1.0, 2.0, 3.0, 4.0]),
        "uniform": tf.random_uniform_initializer(-1, 1, seed=1),
        "normal": tf.random_normal_initializer(seed=2),
        "truncated": tf.truncated_normal_initializer(seed=3),
        "variance": tf.variance_scaling_initializer(seed=4),
        "glorot": tf.glorot_normal_initializer(seed=5), "he": tf.initializers.he_normal(seed=6),
    }  # fmt: skip
    return [tf.get_variable(name, [2, 2], initializer=make) for name, make in makers.items()]


# Gradients and training ---------------------------------------------------------------------------


@program
def gradient_of_a_layer(tf: Any) -> Any:
    x, w, b = tf.constant(A), tf.Variable(B, name="w"), tf.Variable(tf.zeros([4]), name="b")
    loss = tf.reduce_mean(tf.square(tf.nn.relu(tf.nn.bias_add(tf.matmul(x, w), b))))
    return tf.gradients(loss, [w, b, x])


@differing("flowray makes no zeros for outputs that nothing was computed from")
def gradient_of_a_classifier(tf: Any) -> Any:
    w = tf.Variable(B, name="w")
    logits = tf.matmul(A, w)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[1, 2], logits=logits)
    return tf.gradients(tf.reduce_mean(loss), w)


@differing("flowray flattens only arrays that are not matrices")
def gradient_of_softmax(tf: Any) -> Any:
    logits = tf.constant(A)
    loss = tf.nn.softmax_cross_entropy_with_logits_v2(labels=A, logits=logits)
    return tf.gradients(loss, logits)


@program
def gradient_of_activations(tf: Any) -> Any:
    x = tf.constant(A)
    y = tf.tanh(x) + tf.sigmoid(x) + tf.nn.relu(x) + tf.nn.elu(x) + tf.nn.softplus(x)
    y += tf.exp(x) * tf.square(x) + tf.log(tf.exp(x)) - tf.sqrt(tf.exp(x))
    return tf.gradients(tf.reduce_sum(y), x)


@program
def gradient_of_a_convnet(tf: Any) -> Any:
    x, w = tf.constant(IMAGE), tf.Variable(KERNEL, name="w")
    y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
    y = tf.nn.max_pool(tf.nn.relu(tf.nn.bias_add(y, [0.1] * 4)), [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    flat = tf.reshape(y, [2, -1])
    return tf.gradients(tf.nn.l2_loss(flat), [w, x])


@differing("2.x sums over broadcast dimensions in its own way")
def gradient_of_elementwise_functions(tf: Any) -> Any:
    x = tf.constant(np.abs(A) + 0.5)
    y = tf.exp(x) + tf.log(x) + tf.sqrt(x) + tf.tanh(x) + tf.sigmoid(x) + 1.0 / x
    y += x**3.0 + tf.sin(x) * tf.cos(x) + tf.maximum(x, 1.0) - tf.abs(x) + tf.rsqrt(x)
    return tf.gradients(y, x)


@differing("2.x sums over broadcast dimensions in its own way")
def gradient_of_broadcasts(tf: Any) -> Any:
    x, y = tf.placeholder_with_default(A, [None, 3]), tf.constant([1.0, 2.0, 3.0])
    return tf.gradients([x * y, x / y, x - y, tf.maximum(x, y)], [x, y])


@differing("2.x sums over broadcast dimensions in its own way")
def gradient_of_arrays(tf: Any) -> Any:
    x = tf.constant(A)
    parts = tf.split(x, 3, axis=1)
    y = tf.concat([x, x * 2.0], 0)[1:, ::2] * 3.0
    y2 = tf.transpose(tf.stack([x, x])) + tf.reduce_max(x, 1)[0] + tf.tile(x, [1, 1])[0, 0]
    y3 = tf.pad(tf.expand_dims(parts[1], 0), [[0, 0], [1, 1], [0, 0]]) * tf.reduce_prod(x)
    return tf.gradients([y, y2, y3, tf.where(x > 0, x, x * 3.0)], x)


@program
def gradient_of_gathers(tf: Any) -> Any:
    table = tf.Variable(B, name="table")
    rows = tf.nn.embedding_lookup(table, [0, 2, 2])
    (sparse,) = tf.gradients(tf.reduce_sum(rows * rows), table)
    return [sparse.values, sparse.indices, sparse.dense_shape]


@differing("flowray spreads gradients by BroadcastTo")
def gradient_of_reductions(tf: Any) -> Any:
    x = tf.placeholder_with_default(A, [2, None])
    y = [tf.reduce_sum(x, 1), tf.reduce_mean(x, 0), tf.reduce_max(x), tf.reduce_logsumexp(x, 1)]
    return tf.gradients(y, x)


@differing("2.x names the gradient of the start otherwise")
def gradients_with_options(tf: Any) -> Any:
    x, y = tf.constant(2.0), tf.constant(3.0)
    z = x * y
    both = tf.gradients(z * x, [x, z], stop_gradients=[z], name="stopped")
    seeded = tf.gradients([z, x + y], [x, y], grad_ys=[tf.constant(2.0), None])
    second = tf.gradients(tf.gradients(x * x * x, x)[0], x)
    return [*both, *seeded, *second]


@program
def clipping(tf: Any) -> Any:
    x, y = tf.constant(A), tf.constant(B)
    clipped, norm = tf.clip_by_global_norm([x, None, y], 1.0)
    return [
        tf.clip_by_value(x, -1.0, 1.0), tf.clip_by_norm(x, 1.0), tf.clip_by_norm(x, 1.0, axes=[1]),
        tf.clip_by_average_norm(x, 0.5), clipped[0], clipped[2], norm, tf.global_norm([x, y]),
    ]  # fmt: skip


def _trained(tf: Any, optimizer: Any, **variable_options: Any) -> Any:
    with tf.variable_scope("model", **variable_options):
        w = tf.get_variable("w", initializer=B)
        table = tf.get_variable("table", initializer=B * 2)
    step = tf.train.get_or_create_global_step()
    rows = tf.nn.embedding_lookup(table, [0, 2, 2])
    loss = tf.reduce_sum(tf.square(tf.matmul(A, w))) + tf.reduce_sum(tf.square(rows))
    train = optimizer.minimize(loss, global_step=step)
    with tf.control_dependencies([train]):
        return [w.read_value(), table.read_value(), tf.identity(step.read_value())]


@program
def train_gradient_descent(tf: Any) -> Any:
    return _trained(tf, tf.train.GradientDescentOptimizer(0.01))


@program
def train_momentum(tf: Any) -> Any:
    return _trained(tf, tf.train.MomentumOptimizer(0.01, 0.9, use_nesterov=True))


@program
def train_adam(tf: Any) -> Any:
    return _trained(tf, tf.train.AdamOptimizer(0.01))


@program
def train_adagrad(tf: Any) -> Any:
    return _trained(tf, tf.train.AdagradOptimizer(0.01))


@program
def train_rmsprop(tf: Any) -> Any:
    return _trained(tf, tf.train.RMSPropOptimizer(0.01, momentum=0.5))


@differing("2.x has a beta")
def train_ftrl(tf: Any) -> Any:
    return _trained(tf, tf.train.FtrlOptimizer(0.01, l1_regularization_strength=0.001))


@program
def train_adam_on_resources(tf: Any) -> Any:
    return _trained(tf, tf.train.AdamOptimizer(0.01), use_resource=True)


@differing("2.x does not place averages with their variables")
def train_with_decay_and_averages(tf: Any) -> Any:
    v = tf.Variable(A, name="v")
    step = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(0.1, step, 10, 0.9, staircase=True)
    loss = tf.reduce_mean(tf.square(v))
    train = tf.train.GradientDescentOptimizer(rate).minimize(loss, step)
    average = tf.train.ExponentialMovingAverage(0.9, step)
    with tf.control_dependencies([train]):
        update = average.apply([v])
    with tf.control_dependencies([update]):
        return [v.read_value(), average.average(v).read_value()]


@program
def summaries(tf: Any) -> Any:
    with tf.name_scope("stats"):
        tf.summary.scalar("mean", tf.reduce_mean(tf.constant(A)))
        tf.summary.histogram("values", tf.constant(A))
    return [tf.summary.merge_all()]
