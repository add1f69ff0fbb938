"""tf.losses against TensorFlow's: the same nodes, values, gradients and collections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray

pytest.importorskip("tensorflow")
from tests.conformance.training import TF, as_in_1_15, assert_same_graph

RANDOM = np.random.RandomState(5)
NUMBERS = RANDOM.uniform(0.1, 0.9, (4, 3))
OTHERS = RANDOM.uniform(0.1, 0.9, (4, 3))
CLASSES = RANDOM.randint(0, 3, 4)
ONE_HOT = np.eye(3)[CLASSES]
UNIT = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (NUMBERS, OTHERS)]

LOSSES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "absolute_difference": (NUMBERS, OTHERS, {}),
    "cosine_distance": (*UNIT, {"axis": 1}),
    "hinge_loss": (ONE_HOT, OTHERS, {}),
    "huber_loss": (NUMBERS * 4, OTHERS, {"delta": 0.7}),
    "log_loss": (ONE_HOT, OTHERS, {}),
    "mean_pairwise_squared_error": (NUMBERS, OTHERS, {}),
    "mean_squared_error": (NUMBERS, OTHERS, {}),
    "sigmoid_cross_entropy": (ONE_HOT, OTHERS, {}),
    "softmax_cross_entropy": (ONE_HOT, OTHERS, {}),
    "sparse_softmax_cross_entropy": (CLASSES, OTHERS, {}),
}
OTHERWISE_IN_1_15 = (
    r".*/ones_like(_\d)?(/Shape.*)?$|.*/(range(_\d)?(/.*)?|Rank(_\d)?|Const(_\d)?|Sum(_\d)?)$"
)
"""TensorFlow 2 names the shapes of ones otherwise and sums scalars over an empty range."""

SOFTMAX = r".*/xentropy.*|.*/Mul(_1)?$"
"""TensorFlow flattens to two dimensions what has two."""

SMOOTHED = ("sigmoid_cross_entropy", "softmax_cross_entropy")
BY_EXAMPLE = ("cosine_distance", "softmax_cross_entropy", "sparse_softmax_cross_entropy")
"""Those that have one loss for each example; cosine_distance keeps the dimension."""


def made(tf: Any, name: str, options: dict[str, Any], weights: Any, known: bool) -> Any:
    """The graph, and what the loss, its gradient and the sum of all losses are."""
    labels, predictions, more = LOSSES[name]
    given = dict(more, **options)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        kind = "int32" if name.startswith("sparse") else "float32"
        y = tf.placeholder(kind, labels.shape if known else [None] * labels.ndim, name="y")
        p = tf.placeholder("float32", predictions.shape if known else [None, None], name="p")
        feed = {y: labels, p: predictions}
        if weights is not None:
            weights = np.asarray(weights, np.float32)
            given["weights"] = w = tf.placeholder(
                "float32", weights.shape if known else [None] * weights.ndim, name="w"
            )
            feed[w] = weights
        loss = getattr(tf.losses, name)(y, p, **given)
        graph_def = graph.as_graph_def()
        assert tf.losses.get_losses() == [loss]
        total, gradient = tf.losses.get_total_loss(), tf.gradients(loss, p)[0]
        return graph_def, session.run([loss, gradient, total], feed)


def compare(name: str, options: dict[str, Any], weights: Any, known: bool = True) -> None:
    with as_in_1_15():
        theirs = made(TF, name, options, weights, known)
    ours = made(flowray, name, options, weights, known)
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    if known:
        ignored = f"|{SOFTMAX}" if name == "softmax_cross_entropy" else ""
        assert_same_graph(ours[0], theirs[0], OTHERWISE_IN_1_15 + ignored)


def weights_for(name: str, kind: str) -> Any:
    """Numbers of a shape that broadcasts to the losses."""
    if name == "mean_pairwise_squared_error":  # one per example
        return {"scalar": 0.7, "part": RANDOM.rand(4, 1), "all": [[1.0], [0], [2], [0]]}[kind]
    if name in BY_EXAMPLE:
        column = name == "cosine_distance"
        return {
            "scalar": 0.7, "part": RANDOM.rand(4, 1) if column else RANDOM.rand(4),
            "all": [[1.0], [0], [2], [0]] if column else [1.0, 0, 2, 0],
        }[kind]  # fmt: skip
    zeros = RANDOM.rand(4, 3) * (NUMBERS > 0.5)
    return {"scalar": 0.7, "part": RANDOM.rand(4, 1), "all": zeros}[kind]


@pytest.mark.parametrize("kind", [None, "scalar", "part", "all"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str, kind: str | None) -> None:
    compare(name, {}, None if kind is None else weights_for(name, kind))


@pytest.mark.parametrize("reduction", sorted(set(flowray.losses.Reduction.all()) - {"none"}))
@pytest.mark.parametrize("name", ["mean_squared_error", "sparse_softmax_cross_entropy"])
def test_reduction(name: str, reduction: str) -> None:
    compare(name, {"reduction": reduction}, weights_for(name, "all"))


@pytest.mark.parametrize("name", SMOOTHED)
def test_label_smoothing(name: str) -> None:
    compare(name, {"label_smoothing": 0.2}, None)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"mean_pairwise_squared_error"}))
def test_scope(name: str) -> None:
    compare(name, {"scope": "here"}, None)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_only_runs_tell(name: str) -> None:
    compare(name, {}, weights_for(name, "part"), known=False)


def test_regularization() -> None:
    def make(tf: Any) -> Any:
        with tf.Graph().as_default() as graph, tf.Session() as session:
            w = tf.ones([2, 3], name="w")
            tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, tf.nn.l2_loss(w))
            tf.losses.mean_squared_error(tf.ones([2, 3]), w + 2.0)
            tf.losses.add_loss(tf.constant(0.5, name="half"))
            sums = [
                tf.losses.get_regularization_loss(), tf.losses.get_total_loss(),
                tf.losses.get_total_loss(False, name="some", scope="mean"),
            ]  # fmt: skip
            return graph.as_graph_def(), session.run(sums)

    with as_in_1_15():
        theirs = make(TF)
    ours = make(flowray)
    np.testing.assert_allclose(ours[1], theirs[1])
    assert_same_graph(ours[0], theirs[0], OTHERWISE_IN_1_15)


BAD: dict[str, Callable[[Any], Any]] = {
    "weights of another rank": lambda tf: tf.losses.mean_squared_error(
        tf.ones([4, 3]), tf.ones([4, 3]), weights=tf.ones([4])
    ),
    "weights of another size": lambda tf: tf.losses.mean_squared_error(
        tf.ones([4, 3]), tf.ones([4, 3]), weights=tf.ones([4, 2])
    ),
    "labels of another shape": lambda tf: tf.losses.hinge_loss(tf.ones([4, 3]), tf.ones([4, 2])),
    "no axis": lambda tf: tf.losses.cosine_distance(tf.ones([4, 3]), tf.ones([4, 3])),
    "no labels": lambda tf: tf.losses.log_loss(None, tf.ones([4, 3])),
    "no logits": lambda tf: tf.losses.softmax_cross_entropy(tf.ones([4, 3]), None),
    "no such reduction": lambda tf: tf.losses.mean_squared_error(
        tf.ones([4]), tf.ones([4]), reduction="most"
    ),
    "no losses": lambda tf: tf.losses.get_total_loss(),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments(what: str) -> None:
    for tf in (TF, flowray):
        with tf.Graph().as_default(), pytest.raises(ValueError, match=r".*"):
            BAD[what](tf)
