"""Metrics of binary classification at thresholds of a score; areas under curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import (
    Tensor,
)
from flowray.client.framework.op_builder import apply_op
from flowray.client.losses.weights import broadcast_weights
from flowray.client.metrics.common import (
    Metric,
    collected,
    compatible,
    metric_variable,
)
from flowray.client.ops.array_ops import (
    expand_dims,
    ones_like,
    reshape,
)
from flowray.client.ops.layout_ops import tile
from flowray.client.ops.math_ops import (
    abs,
    cast,
    div_no_nan,
    equal,
    greater,
    logical_and,
    logical_not,
    maximum,
    minimum,
    multiply,
    truediv,
)
from flowray.client.ops.reduction_ops import (
    argmax,
    argmin,
    cumsum,
    reduce_min,
    reduce_sum,
)
from flowray.client.ops.slice_ops import where
from flowray.client.ops.state_ops import assign_add
from flowray.client.tf_export import tf_export
from flowray.client.variables.variable_scope import variable_scope
from flowray.proto.types import dtypes

_EPSILON = 1e-7

_KINDS = ("tp", "fn", "tn", "fp")
_VARIABLES = {
    "tp": "true_positives", "fn": "false_negatives", "tn": "true_negatives",
    "fp": "false_positives",
}  # fmt: skip


def _at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any,
    wanted: Sequence[str] = _KINDS,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the counts of each kind at each threshold: values, and update ops."""
    predictions, labels, weights = compatible(
        cast(predictions, dtypes.float32), cast(labels, dtypes.bool), weights
    )
    count = len(thresholds)
    flat_predictions = reshape(predictions, [1, -1])
    flat_labels = reshape(labels, [1, -1])
    limits = expand_dims(constant(list(thresholds), dtypes.float32), [1])
    positive = greater(tile(flat_predictions, [count, 1]), limits)
    true = tile(flat_labels, [count, 1])
    negative, false = logical_not(positive), logical_not(true)
    held = {
        "tp": lambda: logical_and(true, positive),
        "fn": lambda: logical_and(true, negative),
        "tn": lambda: logical_and(false, negative),
        "fp": lambda: logical_and(false, positive),
    }
    scale = None
    if weights is not None:
        flat_weights = reshape(
            broadcast_weights(cast(weights, dtypes.float32), predictions), [1, -1]
        )
        scale = tile(flat_weights, [count, 1])
    values, updates = {}, {}
    for kind in wanted:
        variable = metric_variable([count], dtypes.float32, name=_VARIABLES[kind])
        counted = cast(held[kind](), dtypes.float32)
        if scale is not None:
            counted = counted * scale
        values[kind] = variable.value()
        updates[kind] = assign_add(variable, reduce_sum(counted, 1))
    return values, updates


def _threshold_counter(
    kind: str,
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any,
    metrics: Any,
    updates: Any,
    name: str | None,
) -> Metric:
    with variable_scope(name, _VARIABLES[kind], (predictions, labels, weights)):
        values, changes = _at_thresholds(labels, predictions, thresholds, weights, (kind,))
        return collected(values[kind], changes[kind], metrics, updates)


@tf_export("metrics.true_positives_at_thresholds")
def true_positives_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the true positives of ``predictions > threshold``, for each threshold."""
    return _threshold_counter(
        "tp",
        labels,
        predictions,
        thresholds,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.true_negatives_at_thresholds")
def true_negatives_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the true negatives of ``predictions > threshold``, for each threshold."""
    return _threshold_counter(
        "tn",
        labels,
        predictions,
        thresholds,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.false_positives_at_thresholds")
def false_positives_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the false positives of ``predictions > threshold``, for each threshold."""
    return _threshold_counter(
        "fp",
        labels,
        predictions,
        thresholds,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.false_negatives_at_thresholds")
def false_negatives_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Counts the false negatives of ``predictions > threshold``, for each threshold."""
    return _threshold_counter(
        "fn",
        labels,
        predictions,
        thresholds,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


def _threshold_share(
    kind: str,
    other: str,
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any,
    metrics: Any,
    updates: Any,
) -> Metric:
    values, changes = _at_thresholds(labels, predictions, thresholds, weights, (kind, other))
    value = div_no_nan(values[kind], _EPSILON + values[kind] + values[other])
    update = div_no_nan(changes[kind], _EPSILON + changes[kind] + changes[other])
    return collected(value, update, metrics, updates)


@tf_export("metrics.precision_at_thresholds")
def precision_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the precision of ``predictions > threshold``, for each threshold."""
    with variable_scope(name, "precision_at_thresholds", (predictions, labels, weights)):
        return _threshold_share(
            "tp",
            "fp",
            labels,
            predictions,
            thresholds,
            weights,
            metrics_collections,
            updates_collections,
        )


@tf_export("metrics.recall_at_thresholds")
def recall_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the recall of ``predictions > threshold``, for each threshold."""
    with variable_scope(name, "recall_at_thresholds", (predictions, labels, weights)):
        return _threshold_share(
            "tp",
            "fn",
            labels,
            predictions,
            thresholds,
            weights,
            metrics_collections,
            updates_collections,
        )


def _spread(num_thresholds: int) -> list[float]:
    """Returns thresholds over [0, 1], the first just below and the last just above."""
    inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
    return [-_EPSILON, *inner, 1.0 + _EPSILON]


@tf_export("metrics.auc")
def auc(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    curve: str = "ROC",
    name: str | None = None,
    summation_method: str = "trapezoidal",
    thresholds: Sequence[float] | None = None,
) -> Metric:
    """Computes the area under the ROC (or "PR") curve, as a Riemann sum over thresholds.

    Args:
        num_thresholds: how many, spread over [0, 1]; or give ``thresholds`` between 0 and 1.
        summation_method: "trapezoidal", "minoring" or "majoring", or "careful_interpolation",
            which is right for "PR".

    Raises:
        ValueError: the curve or the method is unknown.
    """
    with variable_scope(name, "auc", (labels, predictions, weights)):
        if curve not in ("ROC", "PR"):
            raise ValueError(f"curve must be either ROC or PR, {curve} unknown")
        if summation_method not in (
            "trapezoidal",
            "minoring",
            "majoring",
            "careful_interpolation",
        ):
            raise ValueError(f"Invalid summation_method: {summation_method}")
        if thresholds is None:
            limits = _spread(num_thresholds)
        else:
            limits = [-_EPSILON, *sorted(thresholds), 1.0 + _EPSILON]
        values, changes = _at_thresholds(labels, predictions, limits, weights)
        value = _area(values, curve, summation_method, "value")
        update = _area(changes, curve, summation_method, "update_op")
        return collected(value, update, metrics_collections, updates_collections)


def _area(counts: dict[str, Any], curve: str, method: str, name: str) -> Tensor:
    tp, fn, tn, fp = (counts[kind] for kind in _KINDS)
    if curve == "PR" and method == "careful_interpolation":
        return _interpolated_pr_area(tp, fp, fn, name)
    recalls = div_no_nan(tp + _EPSILON, tp + fn + _EPSILON)
    if curve == "ROC":
        x, y = div_no_nan(fp, fp + tn + _EPSILON), recalls
    else:
        x, y = recalls, div_no_nan(tp + _EPSILON, tp + fp + _EPSILON)
    widths = x[:-1] - x[1:]
    if method in ("trapezoidal", "careful_interpolation"):
        heights = (y[:-1] + y[1:]) / 2.0
    elif method == "minoring":
        heights = minimum(y[:-1], y[1:])
    else:
        heights = maximum(y[:-1], y[1:])
    return reduce_sum(multiply(widths, heights), name=name)


def _interpolated_pr_area(tp: Any, fp: Any, fn: Any, name: str) -> Tensor:
    """Computes the area with false positives that grow linearly between two thresholds.

    Davis and Goadrich, "The Relationship Between Precision-Recall and ROC Curves", ICML 2006.
    """
    delta = tp[:-1] - tp[1:]
    predicted = tp + fp
    slope = div_no_nan(delta, maximum(predicted[:-1] - predicted[1:], 0), name="prec_slope")
    intercept = tp[1:] - multiply(slope, predicted[1:])
    usable = logical_and(greater(predicted[:-1], 0), greater(predicted[1:], 0))
    ratio = where(
        usable,
        div_no_nan(predicted[:-1], maximum(predicted[1:], 0), name="recall_relative_ratio"),
        ones_like(predicted[1:]),
    )
    return reduce_sum(
        div_no_nan(
            slope * (delta + intercept * apply_op("Log", ratio)),
            maximum(tp[1:] + fn[1:], 0),
            name="pr_auc_increment",
        ),
        name=name,
    )


@tf_export("metrics.sensitivity_at_specificity")
def sensitivity_at_specificity(
    labels: Any,
    predictions: Any,
    specificity: float,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the sensitivity at the specificity that is nearest to ``specificity``."""
    if not 0 <= specificity <= 1:
        raise ValueError("`specificity` must be in the range [0, 1].")
    with variable_scope(name, "sensitivity_at_specificity", (predictions, labels, weights)):
        return _at_operating_point(
            labels,
            predictions,
            weights,
            num_thresholds,
            specificity,
            ("tn", "fp"),
            ("tp", "fn"),
            False,
            metrics_collections,
            updates_collections,
        )


@tf_export("metrics.specificity_at_sensitivity")
def specificity_at_sensitivity(
    labels: Any,
    predictions: Any,
    sensitivity: float,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the specificity at the sensitivity that is nearest to ``sensitivity``."""
    if not 0 <= sensitivity <= 1:
        raise ValueError("`sensitivity` must be in the range [0, 1].")
    with variable_scope(name, "specificity_at_sensitivity", (predictions, labels, weights)):
        return _at_operating_point(
            labels,
            predictions,
            weights,
            num_thresholds,
            sensitivity,
            ("tp", "fn"),
            ("tn", "fp"),
            True,
            metrics_collections,
            updates_collections,
        )


def _at_operating_point(
    labels: Any,
    predictions: Any,
    weights: Any,
    num_thresholds: int,
    target: float,
    fixed: tuple[str, str],
    asked: tuple[str, str],
    last: bool,
    metrics: Any,
    updates: Any,
) -> Metric:
    values, changes = _at_thresholds(labels, predictions, _spread(num_thresholds), weights)

    def point(counts: dict[str, Any], name: str) -> Tensor:
        rates = truediv(counts[fixed[0]], counts[fixed[0]] + counts[fixed[1]] + _EPSILON)
        distance = abs(rates - target)
        if last:  # of those that are equally near
            nearest = cast(equal(distance, reduce_min(distance)), dtypes.int64)
            index = cast(argmax(cumsum(nearest), 0), dtypes.int32)
        else:
            index = cast(argmin(distance, 0), dtypes.int32)
        part, rest = counts[asked[0]][index], counts[asked[1]][index]
        return truediv(part, part + rest + _EPSILON, name=name)

    return collected(point(values, "value"), point(changes, "update_op"), metrics, updates)
