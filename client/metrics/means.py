"""Metrics that are means: of values, of errors, over classes."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import (
    control_dependencies,
)
from flowray.client.framework.op_builder import apply_op
from flowray.client.losses.weights import broadcast_weights
from flowray.client.metrics.common import (
    Metric,
    collected,
    compatible,
    metric_variable,
    remove_squeezable_dimensions,
    safe_ratio,
)
from flowray.client.ops.array_ops import (
    ones_like,
    reshape,
    size,
    zeros_like,
)
from flowray.client.ops.math_ops import (
    abs,
    cast,
    div_no_nan,
    equal,
    greater,
    multiply,
    sqrt,
    square,
    subtract,
    truediv,
)
from flowray.client.ops.reduction_ops import (
    reduce_mean,
    reduce_sum,
    unsorted_segment_sum,
)
from flowray.client.ops.slice_ops import where
from flowray.client.ops.state_ops import assign_add
from flowray.client.tf_export import tf_export
from flowray.client.variables.variable_scope import variable_scope
from flowray.proto.types import dtypes


@tf_export("metrics.mean")
def mean(
    values: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the (weighted) mean of all elements of ``values``."""
    with variable_scope(name, "mean", (values, weights)):
        values = cast(values, dtypes.float32)
        total = metric_variable([], dtypes.float32, name="total")
        count = metric_variable([], dtypes.float32, name="count")
        if weights is None:
            number = cast(size(values), dtypes.float32)
        else:
            values, _, weights = remove_squeezable_dimensions(values, None, weights)
            weights = broadcast_weights(cast(weights, dtypes.float32), values)
            values = multiply(values, weights)
            number = reduce_sum(weights)
        update_total = assign_add(total, reduce_sum(values))
        with control_dependencies([values]):
            update_count = assign_add(count, number)
        value = safe_ratio(total.value(), count.value(), "value")
        update = safe_ratio(update_total, update_count, "update_op")
        return collected(value, update, metrics_collections, updates_collections)


@tf_export("metrics.mean_tensor")
def mean_tensor(
    values: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the (weighted) mean of each element of ``values``, whose shape stays."""
    with variable_scope(name, "mean", (values, weights)):
        values = cast(values, dtypes.float32)
        form = values.get_shape().as_list()
        total = metric_variable(form, dtypes.float32, name="total_tensor")
        count = metric_variable(form, dtypes.float32, name="count_tensor")
        number = ones_like(values)
        if weights is not None:
            values, _, weights = remove_squeezable_dimensions(values, None, weights)
            weights = broadcast_weights(cast(weights, dtypes.float32), values)
            values = multiply(values, weights)
            number = multiply(number, weights)
        update_total = assign_add(total, values)
        with control_dependencies([values]):
            update_count = assign_add(count, number)
        value = safe_ratio(total.value(), count.value(), "value")
        update = safe_ratio(update_total, update_count, "update_op")
        return collected(value, update, metrics_collections, updates_collections)


@tf_export("metrics.accuracy")
def accuracy(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes how often ``predictions`` equals ``labels``; both of one shape."""
    predictions, labels, weights = compatible(predictions, labels, weights)
    if labels.dtype != predictions.dtype:
        predictions = cast(predictions, labels.dtype)
    correct = cast(equal(predictions, labels), dtypes.float32)
    return mean(correct, weights, metrics_collections, updates_collections, name or "accuracy")


@tf_export("metrics.mean_absolute_error")
def mean_absolute_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the mean of ``|predictions - labels|``."""
    predictions, labels, weights = compatible(predictions, labels, weights)
    errors = abs(predictions - labels)
    return mean(
        errors, weights, metrics_collections, updates_collections, name or "mean_absolute_error"
    )


@tf_export("metrics.mean_relative_error")
def mean_relative_error(
    labels: Any,
    predictions: Any,
    normalizer: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the mean of ``|labels - predictions| / normalizer``, 0 where that is 0."""
    predictions, labels, weights = compatible(predictions, labels, weights)
    predictions, normalizer, _ = compatible(predictions, normalizer, None)
    relative = where(
        equal(normalizer, 0.0),
        zeros_like(labels),
        truediv(abs(labels - predictions), normalizer),
    )
    return mean(
        relative, weights, metrics_collections, updates_collections, name or "mean_relative_error"
    )


@tf_export("metrics.mean_squared_error")
def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the mean of ``(predictions - labels)^2``."""
    predictions, labels, weights = compatible(predictions, labels, weights)
    errors = square(labels - predictions)
    return mean(
        errors, weights, metrics_collections, updates_collections, name or "mean_squared_error"
    )


@tf_export("metrics.root_mean_squared_error")
def root_mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the root of ``mean_squared_error``."""
    value, update = mean_squared_error(
        labels, predictions, weights, None, None, name or "root_mean_squared_error"
    )
    return collected(sqrt(value), sqrt(update), metrics_collections, updates_collections)


@tf_export("metrics.mean_cosine_distance")
def mean_cosine_distance(
    labels: Any,
    predictions: Any,
    dim: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes 1 less the mean of the products along ``dim`` of unit vectors."""
    predictions, labels, weights = compatible(predictions, labels, weights)
    radial = reduce_sum(multiply(predictions, labels), axis=[dim], keepdims=True)
    value, update = mean(radial, weights, None, None, name or "mean_cosine_distance")
    return collected(
        subtract(1.0, value), subtract(1.0, update), metrics_collections, updates_collections
    )


@tf_export("metrics.percentage_below")
def percentage_below(
    values: Any,
    threshold: float,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the share of ``values`` below ``threshold``."""
    below = cast(apply_op("Less", values, threshold), dtypes.float32)
    return mean(
        below,
        weights,
        metrics_collections,
        updates_collections,
        name or "percentage_below_threshold",
    )


@tf_export("metrics.mean_per_class_accuracy")
def mean_per_class_accuracy(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the mean over the classes of each one's accuracy."""
    with variable_scope(name, "mean_accuracy", (predictions, labels, weights)):
        labels = cast(labels, dtypes.int64)
        labels = labels if labels.get_shape().ndims == 1 else reshape(labels, [-1])
        total = metric_variable([num_classes], dtypes.float32, name="total")
        count = metric_variable([num_classes], dtypes.float32, name="count")
        ones = constant(1.0) * ones_like(cast(labels, dtypes.float32))
        predictions, labels, weights = compatible(
            cast(reshape(predictions, [-1]), dtypes.int64), labels, weights
        )
        correct = cast(equal(predictions, labels), dtypes.float32)
        if weights is not None:
            weights = cast(reshape(weights, [-1]), dtypes.float32)
            correct, ones = correct * weights, ones * weights
        update_total = assign_add(total, unsorted_segment_sum(ones, labels, num_classes))
        update_count = assign_add(count, unsorted_segment_sum(correct, labels, num_classes))
        value = reduce_mean(div_no_nan(count.value(), total.value()), name="mean_accuracy")
        update = div_no_nan(update_count, update_total, name="update_op")
        return collected(value, update, metrics_collections, updates_collections)


@tf_export("metrics.mean_iou")
def mean_iou(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the mean over the classes of intersection over union.

    ``update_op`` is the confusion matrix.
    """
    with variable_scope(name, "mean_iou", (predictions, labels, weights)):
        predictions = reshape(cast(predictions, dtypes.int64), [-1])
        labels = reshape(cast(labels, dtypes.int64), [-1])
        predictions.get_shape().assert_is_compatible_with(labels.get_shape())
        matrix = metric_variable(
            [num_classes, num_classes], dtypes.float64, name="total_confusion_matrix"
        )
        counted = ones_like(cast(labels, dtypes.float64))
        if weights is not None:
            counted = cast(reshape(weights, [-1]), dtypes.float64)
        cells = unsorted_segment_sum(
            counted, labels * num_classes + predictions, num_classes * num_classes
        )
        update = assign_add(matrix, reshape(cells, [num_classes, num_classes]))
        total = cast(matrix.value(), dtypes.float32)
        over_rows, over_columns = reduce_sum(total, 0), reduce_sum(total, 1)
        diagonal = cast(apply_op("MatrixDiagPart", total), dtypes.float32)
        union = over_rows + over_columns - diagonal
        valid = reduce_sum(cast(greater(union, 0.0), dtypes.float32))
        shares = div_no_nan(diagonal, where(greater(union, 0.0), union, ones_like(union)))
        value = where(
            greater(valid, 0.0), div_no_nan(reduce_sum(shares, name="mean_iou"), valid), 0.0
        )
        return collected(value, update, metrics_collections, updates_collections)
