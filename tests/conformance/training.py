"""Runs a small training program on flowray and on TensorFlow, and compares graphs and numbers.

To be imported only where TensorFlow can be.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import tensorflow
from google.protobuf import text_format

import flowray
from flowray.proto.messages import graph_pb2

TF = tensorflow.compat.v1
STEPS = 10


@contextmanager
def as_in_1_15() -> Iterator[None]:
    """Reference variables and control flow as TensorFlow 1 makes them."""
    resources, control_flow = TF.resource_variables_enabled(), TF.control_flow_v2_enabled()
    TF.disable_resource_variables()
    TF.disable_control_flow_v2()
    try:
        yield
    finally:
        if resources:
            TF.enable_resource_variables()
        if control_flow:
            TF.enable_control_flow_v2()


def run(tf: Any, make: Callable[[Any], Any]) -> tuple[Any, list[float], dict[str, Any]]:
    """The program's graph, its losses, and the values of all variables at the end."""
    mode = as_in_1_15() if tf is TF else nullcontext()
    with mode, tf.Graph().as_default() as graph:
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

_GATHERED = re.compile(r"(?<=Gather)/Identity$")
"""What TensorFlow 1.15 reads of a resource variable passes through an Identity."""


def described(graph_def: Any, ignored: str | None = None) -> list[str]:
    """A line per node, as TensorFlow 1.15 has it: name, op, inputs, device and attributes."""
    lines = []
    for original in graph_def.node:
        node = graph_pb2.NodeDef.FromString(original.SerializeToString())
        if "gradients/" in node.name:
            continue  # another test's matter
        if ignored is not None and re.match(ignored, node.name):
            continue
        if _GATHERED.search(node.name) or _FTRL_L2.search(node.name):
            continue
        data = [i for i in node.input if not i.startswith("^")]
        data = [_GATHERED.sub("", _FTRL_L2.sub("l2", i)) for i in data]
        control = sorted(i for i in node.input if i.startswith("^"))
        unknown = set(_NOT_IN_1_15)
        if node.op == "AssignVariableOp":
            unknown.add("validate_shape")
        if "AssignMovingAvg" in node.name:
            unknown.add("_class")  # TensorFlow 1.15 colocates them with the average
        attrs = {
            key: value.tensor.SerializeToString(deterministic=True)
            if key == "value"
            else text_format.MessageToString(value, as_one_line=True)
            for key, value in sorted(node.attr.items())
            if key not in unknown
        }
        lines.append(f"{node.name} {node.op} {data + control} {node.device} {attrs}")
    return sorted(lines)


def assert_same_graph(ours: Any, theirs: Any, ignored: str | None = None) -> None:
    """But for nodes whose names match ``ignored``, all are equal."""
    left, right = described(theirs, ignored), described(ours, ignored)
    difference = [d for d in difflib.unified_diff(left, right, lineterm="", n=0) if d[0] in "+-"]
    assert not difference, "TensorFlow - / flowray +\n" + "\n".join(difference)


def assert_same(
    make: Callable[[Any], Any], rtol: float = 1e-4, atol: float = 1e-5, ignored: str | None = None
) -> list[float]:
    """Both sides make the same graph, losses and final values; returns the losses."""
    graph, losses, values = run(flowray, make)
    their_graph, their_losses, their_values = run(TF, make)
    np.testing.assert_allclose(losses, their_losses, rtol, atol)
    assert values.keys() == their_values.keys()
    for variable, value in values.items():
        np.testing.assert_allclose(value, their_values[variable], rtol, atol, err_msg=variable)
    assert_same_graph(graph, their_graph, ignored)
    return losses
