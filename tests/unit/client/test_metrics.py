"""tf.metrics: values that add up, their variables and collections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flowray as tf


@pytest.fixture(autouse=True)
def _graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


class Stream:
    """A metric in a session that has initialized its variables."""

    def __init__(self, metric: tuple[Any, Any]) -> None:
        self.value, self.update = metric
        self.session = tf.Session()
        self.session.run(tf.local_variables_initializer())

    def add(self, **feeds: Any) -> Any:
        """The value after one more batch, from the update; the value itself must agree."""
        feed = {f"{name}:0": value for name, value in feeds.items()}
        updated = self.session.run(self.update, feed)
        np.testing.assert_allclose(self.session.run(self.value), updated)
        return updated


def test_mean_adds_up_batches_of_any_size() -> None:
    stream = Stream(tf.metrics.mean(tf.placeholder(tf.float32, [None], name="x")))
    assert stream.session.run(stream.value) == 0
    assert stream.add(x=[1, 2, 3]) == 2
    assert stream.add(x=[6]) == 3
    assert stream.add(x=[]) == 3


def test_variables_are_local() -> None:
    tf.metrics.accuracy([1], [1], name="a")
    names = [v.name for v in tf.local_variables()]
    assert names == ["a/total:0", "a/count:0"]
    assert tf.get_collection(tf.GraphKeys.METRIC_VARIABLES) == tf.local_variables()
    assert tf.global_variables() == tf.trainable_variables() == []


def test_collections() -> None:
    value, update = tf.metrics.mean(
        [1.0], metrics_collections=["m", "n"], updates_collections=tf.GraphKeys.UPDATE_OPS
    )
    assert tf.get_collection("m") == tf.get_collection("n") == [value]
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == [update]


def test_weights() -> None:
    labels = tf.placeholder(tf.int64, [None], name="y")
    weights = tf.placeholder(tf.float32, [None], name="w")
    stream = Stream(tf.metrics.accuracy(labels, [0, 1, 2], weights))
    assert stream.add(y=[0, 1, 0], w=[1, 1, 2]) == 0.5
    assert stream.add(y=[0, 1, 2], w=[0, 0, 4]) == 0.75
    with pytest.raises(ValueError, match="can not be broadcast to values"):
        tf.metrics.mean(tf.ones([3]), weights=tf.ones([2]))


def test_precision_and_recall_of_counts() -> None:
    labels = tf.placeholder(tf.bool, [4], name="y")
    guesses = tf.placeholder(tf.bool, [4], name="p")
    precision = Stream(tf.metrics.precision(labels, guesses))
    recall = Stream(tf.metrics.recall(labels, guesses))
    first = {"y": [True, True, False, False], "p": [True, False, True, True]}
    second = {"y": [True, True, True, False], "p": [True, True, False, False]}
    assert precision.add(**first) == pytest.approx(1 / 3)
    assert precision.add(**second) == pytest.approx(3 / 5)
    assert recall.add(**first) == pytest.approx(1 / 2)
    assert recall.add(**second) == pytest.approx(3 / 5)


def test_perfect_and_useless_scores() -> None:
    labels = [False, False, True, True]
    stream = Stream(tf.metrics.auc(labels, tf.placeholder(tf.float32, [4], name="p")))
    assert stream.add(p=[0.1, 0.2, 0.8, 0.9]) == pytest.approx(1.0, abs=1e-3)
    useless = Stream(tf.metrics.auc(labels, [0.5, 0.5, 0.5, 0.5]))
    assert useless.add() == pytest.approx(0.5, abs=1e-3)


def test_mean_iou_of_a_confusion_matrix() -> None:
    stream = Stream(tf.metrics.mean_iou([0, 0, 1, 1], [0, 1, 1, 1], num_classes=2))
    stream.session.run(stream.update)
    assert stream.session.run(stream.value) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_labels_are_sets() -> None:
    labels = tf.constant([[0, 0, 3], [9, 1, 1]], tf.int64)
    top = tf.constant([[0, 1], [1, 2]], tf.int64)
    recall = Stream(tf.metrics.recall_at_top_k(labels, top))
    assert recall.add() == pytest.approx(2 / 4)  # 0 of {0, 3}; 1 of {1, 9}
    precision = Stream(tf.metrics.precision_at_top_k(labels, top, class_id=1))
    assert precision.add() == pytest.approx(1 / 2)  # predicted twice, once rightly


def test_average_precision_by_hand() -> None:
    scores = tf.constant([[0.1, 0.4, 0.3, 0.2], [0.4, 0.1, 0.2, 0.3]])
    labels = tf.constant([[2, 3], [1, 9]], tf.int64)
    stream = Stream(tf.metrics.average_precision_at_k(labels, scores, 3))
    # Ranked 1, 2, 3: hits at 2 and 3 of 2 labels. Ranked 0, 3, 2: no hit of 1 label.
    assert stream.add() == pytest.approx(((1 / 2 + 2 / 3) / 2 + 0) / 2)
    with pytest.raises(ValueError, match="Invalid k=0"):
        tf.metrics.average_precision_at_k(labels, scores, 0)


def test_sparse_and_dense_labels_agree() -> None:
    scores = tf.constant([[0.1, 0.4, 0.3], [0.4, 0.1, 0.2]])
    dense = tf.constant([[2], [1]], tf.int64)
    sparse = tf.SparseTensorValue([[0, 0], [1, 3]], np.array([2, 1], np.int64), [2, 4])
    for metric in (tf.metrics.recall_at_k, tf.metrics.average_precision_at_k):
        values = [Stream(metric(labels, scores, 2)).add() for labels in (dense, sparse)]
        assert values[0] == values[1] > 0
