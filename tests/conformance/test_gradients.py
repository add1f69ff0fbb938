"""``tf.gradients`` on both sides gives the same values, for every differentiable row of tests/ops.

Our gradient graph runs on TensorFlow's kernels, beside the one that TensorFlow builds for the same
op: what is compared is the graphs alone (tests/conformance/test_ops.py compares the kernels).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from flowray.client.framework.graph import Graph, Tensor
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import make_op
from flowray.client.gradients import registry
from flowray.client.gradients.engine import gradients, is_trainable
from flowray.proto.ops import op_registry
from tests.ops import harness
from tests.ops.harness import Case, Known, VariableInput

pytest.importorskip("tensorflow")

from tensorflow.python.framework import ops as tensorflow_ops

from tests.conformance import tensorflow_side
from tests.conformance.tensorflow_side import tf

# Rows and op types of which TensorFlow 2.21 has another gradient, or none.
WRONG = {
    "GatherNd-one": "TensorFlow's graph is refused by its own shape function",
    "RGBToHSV": "TensorFlow 1.15 has no gradient of it",
    "Conv2DBackpropFilter-empty[2, 2, 3, 0]": "Conv2D refuses an empty filter",
    "MaxPool-depth-stride": "TensorFlow's static shape counts the stride that its kernel ignores",
    "MaxPool-empty": "oneDNN's kernel crashes",
    "MaxPoolV2-empty": "oneDNN's kernel crashes",
    "SparseSegmentMean-1": "TensorFlow's kernel returns memory that it has never written",
    "SparseSegmentSqrtN-1": "TensorFlow's kernel returns memory that it has never written",
    "SparseSegmentSum-1": "TensorFlow's kernel returns memory that it has never written",
    "SqrtGrad-0": "TensorFlow forgets a conjugate",
    "TopKV2-2": "TensorFlow adds int32 to int16 and fails",
    "TopKV2-int64": "TensorFlow adds int32 to int64 and fails",
}


def their_gradient(op_type: str) -> Any:
    """TensorFlow's gradient function; None for not differentiable, LookupError for unknown."""
    return tensorflow_ops._gradient_registry.lookup(op_type)


def is_differentiable(op_type: str) -> bool:
    try:
        return their_gradient(op_type) is not None
    except LookupError:
        return False


ROWS = [
    row
    for row in tensorflow_side.all_rows()
    if is_differentiable(row.op)
    and row.raises is None
    and not {row.id, row.op} & WRONG.keys()
    and not any(isinstance(value, VariableInput) for value in row.inputs)
]


@pytest.mark.parametrize("op_type", sorted(op_registry.registered_ops()))
def test_not_differentiable_where_tensorflow_says_so(op_type: str) -> None:
    try:
        theirs = their_gradient(op_type)
    except LookupError:
        return
    if theirs is None and registry.is_registered(op_type):
        assert registry.lookup(op_type) is None


@dataclass
class Variant:
    """A row and its gradients in TensorFlow's graph."""

    ys: list[Any]
    xs: list[Any]
    seeds: list[Any]
    grads: Any
    """One per x; or the exception with which ``gradients`` refuses them."""
    feeds: dict[Any, np.ndarray] = field(default_factory=dict)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_gradients(row: Case) -> None:
    graph = tf.Graph()
    variants = [v for known in ("shapes", "nothing") if (v := build(row, known, graph)) is not None]
    if not variants or not variants[0].ys:
        return
    first = variants[0]
    with graph.as_default():
        if isinstance(first.grads, Exception):
            with pytest.raises(type(first.grads)):
                tf.gradients(first.ys, first.xs, first.seeds)
            return
        wanted = tf.gradients(first.ys, first.xs, first.seeds)
    feeds = {key: value for variant in variants for key, value in variant.feeds.items()}
    for i, seed in enumerate(values_of_seeds(first)):
        feeds.update({variant.seeds[i]: seed for variant in variants})
    with tf.Session(graph=graph) as session:
        with graph.as_default():
            fetches = [present(dense(grads)) for grads in (wanted, *(v.grads for v in variants))]
        try:
            results = session.run(fetches, feeds)
        except tf.errors.OpError:
            # A gradient that TensorFlow's own graph cannot compute cannot be compared.
            with pytest.raises(tf.errors.OpError):
                session.run(fetches[0], feeds)
            return
    assert [kind(g) for g in first.grads] == [kind(g) for g in wanted]
    for variant, ours in zip(variants, results[1:], strict=True):
        assert [g is None for g in variant.grads] == [g is None for g in wanted]
        for value, theirs in zip(ours, results[0], strict=True):
            assert (value.dtype, value.shape) == (theirs.dtype, theirs.shape)
            last_bits = 2 * ml_dtypes.finfo(value.dtype).eps if value.dtype.kind in "fcV" else 0
            rtol, atol = max(row.rtol, 1e-4, last_bits), max(row.atol, 1e-5)
            harness.assert_close(value, theirs, rtol, atol, row.op)


def build(row: Case, known: Known, graph: Any) -> Variant | None:
    """The row's op and its gradients, in a graph of ours and in ``graph``.

    None if TensorFlow refuses the op itself, which it does where it knows too little.
    """
    ours = Graph()
    with ours.as_default():
        op = harness.build(row, known)
        try:
            tensorflow_side.import_into(tf.Graph(), ours, known)
        except ValueError:
            return None
        ys = [t for t in op.outputs if is_trainable(t)]
        seeds = [make_op("Placeholder", dtype=t.dtype, shape=t.shape).outputs[0] for t in ys]
        try:
            grads: Any = gradients(ys, list(op.inputs), grad_ys=seeds) if ys else []
        except (LookupError, TypeError, ValueError) as error:
            grads = error
    find = tensorflow_side.import_into(graph, ours, known)
    variant = Variant(
        [find(t) for t in ys],
        [find(t) for t in op.inputs],
        [find(t) for t in seeds],
        grads if isinstance(grads, Exception) else [found(grad, find) for grad in grads],
    )
    for x, value in zip(variant.xs, tensorflow_side.flat_inputs(row), strict=True):
        if x.op.type != "Const":
            variant.feeds[x] = value
    return variant


def found(grad: Tensor | IndexedSlices | None, find: tensorflow_side.Find) -> Any:
    if isinstance(grad, IndexedSlices):
        shape = None if grad.dense_shape is None else find(grad.dense_shape)
        return tf.IndexedSlices(find(grad.values), find(grad.indices), shape)
    return None if grad is None else find(grad)


def values_of_seeds(variant: Variant) -> list[np.ndarray]:
    """Random gradients of the ys."""
    generator = np.random.default_rng(3)
    values = []
    for y in variant.ys:
        if y.shape.is_fully_defined():
            shape = y.shape.as_list()
        else:
            # In a session of its own, since a run uses up random numbers.
            with tf.Session(graph=y.graph) as session:
                shape = session.run(y, variant.feeds).shape
        value = generator.normal(size=shape)
        if y.dtype.is_complex:
            value = value + 1j * generator.normal(size=shape)
        values.append(np.asarray(value).astype(y.dtype.as_numpy_dtype))
    return values


def kind(grad: Any) -> str:
    return type(grad).__name__


def dense(grads: list[Any]) -> list[Any]:
    return [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in grads]


def present(grads: list[Any]) -> list[Any]:
    return [g for g in grads if g is not None]
