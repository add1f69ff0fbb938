"""Metrics of binary classification that are counts, and shares of them."""

from __future__ import annotations

from typing import Any

from flowray.client.losses.weights import broadcast_weights
from flowray.client.metrics.common import (
    Metric,
    collected,
    compatible,
    metric_variable,
)
from flowray.client.ops.math_ops import (
    cast,
    div_no_nan,
    logical_and,
    logical_not,
    multiply,
)
from flowray.client.ops.reduction_ops import (
    reduce_sum,
)
from flowray.client.ops.state_ops import assign_add
from flowray.client.tf_export import tf_export
from flowray.client.variables.variable_scope import variable_scope
from flowray.proto.types import dtypes


def _count_condition(values: Any, weights: Any, metrics: Any, updates: Any) -> Metric:
    """Counts where the bools ``values`` hold."""
    count = metric_variable([], dtypes.float32, name="count")
    values = cast(values, dtypes.float32)
    if weights is not None:
        values = multiply(values, broadcast_weights(cast(weights, dtypes.float32), values))
    update = assign_add(count, reduce_sum(values))
    return collected(count.value(), update, metrics, updates)


def _counter(
    kind: str,
    holds: Any,
    labels: Any,
    predictions: Any,
    weights: Any,
    metrics: Any,
    updates: Any,
    name: str | None,
) -> Metric:
    with variable_scope(name, kind, (predictions, labels, weights)):
        predictions, labels, weights = compatible(
            cast(predictions, dtypes.bool), cast(labels, dtypes.bool), weights
        )
        return _count_condition(holds(labels, predictions), weights, metrics, updates)


@tf_export("metrics.true_positives")
def true_positives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the true positives: true and predicted true."""
    return _counter(
        "true_positives",
        logical_and,
        labels,
        predictions,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.true_negatives")
def true_negatives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the true negatives: false and predicted false."""
    return _counter(
        "true_negatives",
        lambda y, p: logical_and(logical_not(y), logical_not(p)),
        labels,
        predictions,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.false_positives")
def false_positives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the false positives: false and predicted true."""
    return _counter(
        "false_positives",
        lambda y, p: logical_and(logical_not(y), p),
        labels,
        predictions,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.false_negatives")
def false_negatives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the false negatives: true and predicted false."""
    return _counter(
        "false_negatives",
        lambda y, p: logical_and(y, logical_not(p)),
        labels,
        predictions,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.precision")
def precision(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the share of true positives among all that are predicted true."""
    with variable_scope(name, "precision", (predictions, labels, weights)):
        right, update_right = true_positives(labels, predictions, weights)
        wrong, update_wrong = false_positives(labels, predictions, weights)
        return _share(
            right, wrong, update_right, update_wrong, metrics_collections, updates_collections
        )


@tf_export("metrics.recall")
def recall(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the share of true positives among all that are true."""
    with variable_scope(name, "recall", (predictions, labels, weights)):
        right, update_right = true_positives(labels, predictions, weights)
        missed, update_missed = false_negatives(labels, predictions, weights)
        return _share(
            right, missed, update_right, update_missed, metrics_collections, updates_collections
        )


def _share(
    part: Any, rest: Any, update_part: Any, update_rest: Any, metrics: Any, updates: Any
) -> Metric:
    value = div_no_nan(part, part + rest, name="value")
    update = div_no_nan(update_part, update_part + update_rest, name="update_op")
    return collected(value, update, metrics, updates)
