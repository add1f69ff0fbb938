"""The main job's three graphs, for any ``tf``: flowray or TensorFlow's compat.v1."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"
VARIABLE_OPS = ("Variable", "VariableV2", "VarHandleOp")


class Places(NamedTuple):
    """The devices of a program's parts; empty strings leave them to the session."""

    variables: str = ""
    compute: str = ""
    other: str = ""

    def __call__(self, op: Any) -> str:
        """A device function: variables here, everything else there."""
        return self.variables if op.type in VARIABLE_OPS else self.compute


CLUSTER = Places("/job:ps/task:0", "/job:worker/task:0", "/job:worker/task:1")


class Training(NamedTuple):
    """The tensors and ops to run in a program that learns."""

    x: Any
    y_: Any
    loss: Any
    step: Any
    weights: list[Any]


@contextlib.contextmanager
def fresh_graph(tf: Any) -> Iterator[None]:
    with tf.Graph().as_default():
        yield


def matmul(tf: Any, places: Places) -> Any:
    """The textbook's product of two constants."""
    with tf.device(places.compute):
        a = tf.constant([[3.0, 3.0]])
        b = tf.constant([[2.0], [2.0]])
    with tf.device(places.other):
        return tf.matmul(a, b)


def softmax_regression(tf: Any, places: Places) -> Training:
    with tf.device(places):
        x = tf.placeholder(tf.float32, [None, 784])
        W = tf.Variable(tf.zeros([784, 10]), name="softmax_W")
        b = tf.Variable(tf.zeros([10]), name="softmax_b")
        y = tf.nn.softmax(tf.matmul(x, W) + b)
        y_ = tf.placeholder(tf.float32, [None, 10])
        loss = tf.reduce_mean(-tf.reduce_sum(y_ * tf.log(y), reduction_indices=[1]))
        step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    return Training(x, y_, loss, step, [W, b])


def cnn(tf: Any, places: Places) -> Training:
    """Two convolutions, two dense layers. Its random ops are seeded one by one, since TensorFlow 1
    and 2 make different seeds of a graph's."""
    weights: list[Any] = []

    def weight(shape: list[int]) -> Any:
        initializer = tf.truncated_normal_initializer(stddev=0.1, seed=len(weights) + 1)
        weights.append(tf.get_variable("weights", shape, initializer=initializer))
        return weights[-1]

    def bias(size: int) -> Any:
        weights.append(tf.get_variable("biases", [size], initializer=tf.constant_initializer(0.1)))
        return weights[-1]

    def conv(h: Any, shape: list[int]) -> Any:
        h = tf.nn.conv2d(h, weight(shape), strides=[1, 1, 1, 1], padding="SAME")
        h = tf.nn.relu(h + bias(shape[-1]))
        return tf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")

    with tf.device(places):
        x = tf.placeholder(tf.float32, [None, 28, 28, 3])
        y_ = tf.placeholder(tf.float32, [None, 10])
        with tf.variable_scope("cnn"):
            with tf.variable_scope("conv1"):
                h = conv(x, [5, 5, 3, 32])
            with tf.variable_scope("conv2"):
                h = conv(h, [5, 5, 32, 64])
            with tf.variable_scope("dense"):
                h = tf.reshape(h, [-1, 7 * 7 * 64])
                h = tf.nn.relu(tf.matmul(h, weight([7 * 7 * 64, 1024])) + bias(1024))
            with tf.variable_scope("readout"):
                logits = tf.matmul(h, weight([1024, 10])) + bias(10)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y_, logits=logits))
        step = tf.train.GradientDescentOptimizer(0.05).minimize(loss)
    return Training(x, y_, loss, step, weights)


def digit_batches(count: int, size: int, channels: int) -> list[tuple[Any, Any]]:
    """The first batches of the digits that the examples train on; flat ones for one channel.

    Flat ones are fainter: at the textbook's rate of 0.5 the loss of the others jumps up and down,
    and every rounding error with it.
    """
    sys.path.insert(0, str(EXAMPLES))
    try:
        import digits
    finally:
        sys.path.remove(str(EXAMPLES))
    (images, labels), _ = digits.load(channels)
    if channels == 1:
        images = images.reshape(-1, 784) / 4
    source = digits.batches(images, labels, size)
    return [next(source) for _ in range(count)]


def train(session: Any, program: Training, init: Any, batches: Any) -> tuple[list[Any], Any]:
    """The initial weights, and the loss of each step."""
    session.run(init)
    weights = session.run(program.weights)
    losses = [
        session.run([program.loss, program.step], {program.x: x, program.y_: y})[0]
        for x, y in batches
    ]
    return weights, np.array(losses)
