"""Parts that all metrics share: local variables, weights, matching shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    GraphKeys,
    Tensor,
    add_to_collections,
)
from flowray.client.ops.array_ops import (
    expand_dims,
    squeeze,
    zeros,
)
from flowray.client.ops.math_ops import (
    div_no_nan,
    maximum,
)
from flowray.client.variables.variable_modes import VariableAggregation, VariableSynchronization
from flowray.client.variables.variables import Variable

Metric = tuple[Any, Any]


def metric_variable(
    shape: Sequence[int], dtype: Any, validate_shape: bool = True, name: str | None = None
) -> Any:
    """Makes a local variable of zeros that a metric adds to."""
    return Variable(
        lambda: zeros(shape, dtype),
        trainable=False,
        collections=[GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES],
        validate_shape=validate_shape,
        synchronization=VariableSynchronization.ON_READ,
        aggregation=VariableAggregation.SUM,
        name=name,
    )


def collected(value: Any, update: Any, metrics: Any, updates: Any) -> Metric:
    """Adds a metric's value and update to the given collections and returns both."""
    if metrics:
        add_to_collections(metrics, value)
    if updates:
        add_to_collections(updates, update)
    return value, update


def remove_squeezable_dimensions(
    predictions: Any, labels: Any, weights: Any
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Squeezes or expands a last dimension of 1 if the ranks differ by one."""
    predictions = convert_to_tensor(predictions)
    if labels is not None:
        labels = convert_to_tensor(labels)
        difference = rank_difference(predictions, labels)
        if difference == 1 and predictions.shape_tuple[-1] in (1, None):
            predictions = squeeze(predictions, [-1])
        elif difference == -1 and labels.shape_tuple[-1] in (1, None):
            labels = squeeze(labels, [-1])
    if weights is None:
        return predictions, labels, None
    weights = convert_to_tensor(weights)
    if weights.shape_tuple != ():
        difference = rank_difference(predictions, weights)
        if difference == -1:
            weights = squeeze(weights, [-1])
        elif difference == 1:
            weights = expand_dims(weights, [-1])
    return predictions, labels, weights


def rank_difference(a: Tensor, b: Tensor) -> int | None:
    """Returns the difference of two ranks; None if one is unknown."""
    if a.shape_tuple is None or b.shape_tuple is None:
        return None
    return len(a.shape_tuple) - len(b.shape_tuple)


def safe_ratio(numerator: Any, denominator: Any, name: str) -> Tensor:
    """Divides, and returns 0 where the denominator is not positive."""
    return div_no_nan(numerator, maximum(denominator, 0), name=name)


def compatible(predictions: Any, labels: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Broadcasts weights and squeezes predictions and labels so that their shapes match."""
    predictions, labels, weights = remove_squeezable_dimensions(predictions, labels, weights)
    assert labels is not None
    predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    return predictions, labels, weights
