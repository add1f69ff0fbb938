"""The programs of tests/conformance/programs.py with flowray and with TensorFlow as ``tf``.

Both must make the same nodes (names, order, types, inputs, attributes, devices) and compute the
same values. TensorFlow 2.21 stands for 1.15 here: what it is known to do otherwise is undone in
``nodes_of``, or stated by the program, of which then only the results are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import flowray
from flowray.proto.messages import graph_pb2
from tests.conformance import training_programs  # noqa: F401 - adds its programs
from tests.conformance.programs import PROGRAMS, Program
from tests.ops import harness

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf1
from tensorflow.python.framework import op_def_registry, tensor_util

# Attributes that TensorFlow 1.15 does not have, and one with which 2.x marks nodes for itself.
NEWER_ATTRIBUTES = {
    "AssignVariableOp": {"validate_shape"},
    "MatMul": {"grad_a", "grad_b"},
    "VarHandleOp": {"debug_name"},
}
MARK = "_has_manual_control_dependencies"


pytestmark = pytest.mark.usefixtures("tensorflow_1")


@dataclass
class Node:
    """The values that must be the same on both sides."""

    op: str
    inputs: list[str]
    control_inputs: set[str]
    device: str
    attrs: dict[str, Any]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program(program: Program) -> None:
    our_graph, our_values = run(flowray, program)
    graph, values = run(tf1, program)
    if program.differs is None:
        ours, theirs = nodes_of(our_graph), nodes_of(graph)
        for name in theirs:
            assert ours.get(name) == theirs[name], name
        assert list(ours) == list(theirs)
    assert len(our_values) == len(values)
    for i, (our_value, value) in enumerate(zip(our_values, values, strict=True)):
        mine, wanted = as_array(our_value), as_array(value)
        assert (mine.dtype, mine.shape) == (wanted.dtype, wanted.shape), f"result {i}"
        harness.assert_close(mine, wanted, 1e-5, 1e-5, f"result {i}")


def run(tf: Any, program: Program) -> tuple[Any, list[Any]]:
    """The program's graph and the values that it returns, all in one step."""
    graph = tf.Graph()
    with graph.as_default():
        fetches = program.build(tf)
        graph_def = graph.as_graph_def()
        initialize = tf.global_variables_initializer()
        with tf.Session(graph=graph) as session:
            session.run(initialize)
            values = session.run(fetches)
    return tf1.GraphDef.FromString(graph_def.SerializeToString()), values


def as_array(value: Any) -> np.ndarray:
    if isinstance(value, bytes):
        return np.array(value, object)
    return np.asarray(value)


def nodes_of(graph_def: Any) -> dict[str, Node]:
    """The nodes by name, without what TensorFlow 2.x is known to do otherwise."""
    names = canonical_names(graph_def)
    nodes = {}
    for node in graph_def.node:
        name = names[node.name]
        if name is None:
            continue
        inputs = [i for i in node.input if not i.startswith("^")]
        nodes[name] = Node(
            # TensorFlow 1.15 makes both, 2.x only the newer one.
            "Add" if node.op == "AddV2" else node.op,
            [renamed(i, names) for i in inputs if names[i.partition(":")[0]] is not None],
            {renamed(i[1:], names) for i in node.input if i.startswith("^")},
            node.device,
            attributes_of(node, names),
        )
    return nodes


def canonical_names(graph_def: Any) -> dict[str, str | None]:
    """The name under which each node is compared; None for one that is left out.

    The gradient that ``tf.gradients`` starts from is ``Fill`` of a constant ``grad_ys_0`` in 1.15,
    and ``grad_ys_0`` of ``grad_ys_0/Const`` in 2.x; the shape of ``ones`` is called otherwise.
    """
    names: dict[str, str | None] = {}
    for node in graph_def.node:
        names[node.name] = node.name.replace("/Shape/shape_as_tensor", "/Shape")
    for node in graph_def.node:
        if node.op != "Fill":
            continue
        start = re.fullmatch(r"(.*/grad_ys_\d+)(/Const)?", node.input[1])
        if start:
            names[node.input[1]] = None
            names[node.name] = start[1]
    return names


def renamed(tensor: str, names: dict[str, str | None]) -> str:
    node, colon, index = tensor.partition(":")
    return f"{names[node]}{colon}{index}"


def attributes_of(node: Any, names: dict[str, str | None]) -> dict[str, Any]:
    """The attributes that are not at their defaults, as values that can be compared."""
    definition = op_def_registry.get(node.op)
    defaults = {a.name: a.default_value for a in definition.attr if a.HasField("default_value")}
    left_out = NEWER_ATTRIBUTES.get(node.op, set()) | {MARK}
    result: dict[str, Any] = {}
    for name, value in node.attr.items():
        if name in left_out or defaults.get(name) == value:
            continue
        if value.HasField("tensor"):
            # Tensors are written in several ways.
            array = tensor_util.MakeNdarray(value.tensor)
            result[name] = (array.dtype.str, array.shape, array.tolist())
        elif name == "_class":
            groups = [group.decode().removeprefix("loc:@") for group in value.list.s]
            result[name] = {names[group] for group in groups}
        else:
            result[name] = graph_pb2.AttrValue.FromString(value.SerializeToString())
    return result
