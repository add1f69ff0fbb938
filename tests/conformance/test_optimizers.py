"""Optimizers against TensorFlow's: the same programs give the same graphs and the same losses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

import flowray
from flowray.proto import graph_pb2

tensorflow = pytest.importorskip("tensorflow")
TF = tensorflow.compat.v1

STEPS = 10
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


@pytest.fixture(autouse=True, scope="module")
def _as_in_1_15() -> Iterator[None]:
    """TensorFlow 2 makes resource variables where TensorFlow 1 makes reference variables."""
    enabled = TF.resource_variables_enabled()
    TF.disable_resource_variables()
    yield
    if enabled:
        TF.enable_resource_variables()


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


def run(tf: Any, make: Callable[[Any], Any]) -> tuple[Any, list[float], dict[str, Any]]:
    """The program's graph, its losses, and the values of all variables at the end."""
    with tf.Graph().as_default() as graph:
        loss, train, feed = make(tf)
        initialize = tf.global_variables_initializer()
        graph_def = graph.as_graph_def()
        with tf.Session() as session:
            session.run(initialize)
            losses = [float(session.run([loss, train], feed)[0]) for _ in range(STEPS)]
            values = {v.name: session.run(v) for v in tf.global_variables()}
        return graph_def, losses, values


_NOT_IN_1_15 = frozenset({
    "_has_manual_control_dependencies", "allowed_devices", "bad_indices_policy", "debug_name",
    "grad_a", "grad_b",
})  # fmt: skip

_FTRL_L2 = re.compile(
    r"(?<=Ftrl/)(l2_regularization_strength|beta|(add|Maximum|mul|truediv)(/x|/y)?)$"
)
"""What FTRL makes of its L2 penalty: in TensorFlow 2, a parameter "beta" goes into it."""


def described(graph_def: Any) -> list[str]:
    """A line per node, as TensorFlow 1.15 has it: name, op, inputs, device and attributes."""
    lines = []
    for original in graph_def.node:
        node = graph_pb2.NodeDef.FromString(original.SerializeToString())
        if node.name.startswith("gradients/") or node.name == "Gather/Identity":
            continue  # another test's matter; and a read of 1.15's that TensorFlow 2 has not
        if _FTRL_L2.search(node.name):
            continue
        data = [i for i in node.input if not i.startswith("^")]
        data = ["Gather" if i == "Gather/Identity" else _FTRL_L2.sub("l2", i) for i in data]
        control = sorted(i for i in node.input if i.startswith("^"))
        unknown = set(_NOT_IN_1_15)
        if node.op == "AssignVariableOp":
            unknown.add("validate_shape")
        attrs = {
            key: value.tensor.SerializeToString(deterministic=True)
            if key == "value"
            else text_format.MessageToString(value, as_one_line=True)
            for key, value in sorted(node.attr.items())
            if key not in unknown
        }
        lines.append(f"{node.name} {node.op} {data + control} {node.device} {attrs}")
    return sorted(lines)


def assert_same_graph(ours: Any, theirs: Any) -> None:
    left, right = described(theirs), described(ours)
    difference = [d for d in difflib.unified_diff(left, right, lineterm="", n=0) if d[0] in "+-"]
    assert not difference, "TensorFlow - / flowray +\n" + "\n".join(difference)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("kind", [dense, sparse])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_graph_and_losses(name: str, kind: Any, use_resource: bool) -> None:
    def make(tf: Any) -> Any:
        return kind(tf, use_resource, OPTIMIZERS[name], "float32")

    graph, losses, values = run(flowray, make)
    their_graph, their_losses, their_values = run(TF, make)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, their_losses, rtol=1e-4, atol=1e-5)
    assert values.keys() == their_values.keys()
    for variable, value in values.items():
        np.testing.assert_allclose(value, their_values[variable], 1e-4, 1e-5, err_msg=variable)
    assert_same_graph(graph, their_graph)
