"""Metrics of the first k predictions.

Labels and predictions are sets of classes: duplicates count once. Labels are ``[D1, ...,
DN, num_labels]``, a Tensor or a SparseTensor (of as many labels as each example has); a Tensor may
lack the last dimension if each example has one label.
"""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.sparse_tensor import SparseTensor, SparseTensorValue
from flowray.client.metrics.common import (
    Metric,
    collected,
    metric_variable,
    rank_difference,
    safe_ratio,
)
from flowray.client.ops.array_ops import expand_dims, ones_like, shape, size
from flowray.client.ops.layout_ops import matrix_band_part
from flowray.client.ops.math_ops import (
    cast,
    equal,
    greater_equal,
    less,
    logical_and,
    minimum,
    multiply,
    range,
    truediv,
)
from flowray.client.ops.nn_ops import top_k
from flowray.client.ops.reduction_ops import cumsum, reduce_any, reduce_sum
from flowray.client.ops.slice_ops import scatter_nd
from flowray.client.ops.state_ops import assign_add
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


@tf_export("metrics.recall_at_k")
def recall_at_k(
    labels: Any,
    predictions: Any,
    k: int,
    class_id: int | None = None,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the share of labels among the ``k`` highest predictions; NaN without labels.

    Args:
        labels: int64; those that are not a class count as missed.
        predictions: ``[D1, ..., DN, num_classes]``.
        class_id: count only this class.
        weights: broadcastable to ``[D1, ..., DN]``.
    """
    with name_scope(name, _name("recall", k, class_id), [predictions, labels, weights]) as scope:
        _, highest = top_k(predictions, k)
        return recall_at_top_k(
            labels, highest, k, class_id, weights, metrics_collections, updates_collections, scope
        )


@tf_export("metrics.recall_at_top_k")
def recall_at_top_k(
    labels: Any,
    predictions_idx: Any,
    k: int | None = None,
    class_id: int | None = None,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes ``recall_at_k`` of predicted classes ``[D1, ..., DN, k]``; ``k`` only names ops."""
    return _share(
        "recall",
        labels,
        predictions_idx,
        k,
        class_id,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.precision_at_k")
def precision_at_k(
    labels: Any,
    predictions: Any,
    k: int,
    class_id: int | None = None,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the share of the ``k`` highest predictions that are labels; see ``recall_at_k``."""
    with name_scope(name, _name("precision", k, class_id), [predictions, labels, weights]) as scope:
        _, highest = top_k(predictions, k)
        return precision_at_top_k(
            labels, highest, k, class_id, weights, metrics_collections, updates_collections, scope
        )


@tf_export("metrics.sparse_precision_at_k")
def sparse_precision_at_k(
    labels: Any,
    predictions: Any,
    k: int,
    class_id: int | None = None,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes ``precision_at_k``, by its older name."""
    return precision_at_k(
        labels, predictions, k, class_id, weights, metrics_collections, updates_collections, name
    )


@tf_export("metrics.precision_at_top_k")
def precision_at_top_k(
    labels: Any,
    predictions_idx: Any,
    k: int | None = None,
    class_id: int | None = None,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes ``precision_at_k`` of predicted classes ``[D1, ..., DN, k]``."""
    return _share(
        "precision",
        labels,
        predictions_idx,
        k,
        class_id,
        weights,
        metrics_collections,
        updates_collections,
        name,
    )


@tf_export("metrics.average_precision_at_k")
def average_precision_at_k(
    labels: Any,
    predictions: Any,
    k: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes the mean over examples of their average precisions; 0 without examples.

    The average precision of an example is the sum of the precisions at those i up to ``k`` where
    the i-th highest prediction is a label, divided by the number of labels, or by ``k`` if that is
    less. Arguments are as for ``recall_at_k``; labels that are not a class do not count.
    """
    if k < 1:
        raise ValueError(f"Invalid k={k}.")
    with name_scope(name, _name("average_precision", k), [predictions, labels, weights]) as scope:
        predictions = convert_to_tensor(predictions)
        _, highest = top_k(predictions, k)
        found = _Labels(labels, highest).only_below(shape(predictions)[-1])
        averages = _average_precisions(found, cast(highest, dtypes.int64), k)
        if weights is None:
            count = cast(size(averages), dtypes.float64)
        else:
            weights = multiply(cast(weights, dtypes.float64), ones_like(averages))
            averages = multiply(averages, weights)
            count = reduce_sum(weights)
        limit, limit_update = _counted("max", count)
        total, total_update = _counted("total", reduce_sum(averages))
        value = safe_ratio(total, limit, name="mean")
        update = safe_ratio(total_update, limit_update, name=scope)
        return collected(value, update, metrics_collections, updates_collections)


@tf_export("metrics.sparse_average_precision_at_k")
def sparse_average_precision_at_k(
    labels: Any,
    predictions: Any,
    k: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """Computes ``average_precision_at_k``, by its older name."""
    return average_precision_at_k(
        labels, predictions, k, weights, metrics_collections, updates_collections, name
    )


# Counting -----------------------------------------------------------------------------------------


class _Labels:
    """The labels of each example, and which of them count.

    Attributes:
        ids: int64 ``[D1, ..., DN, num_labels]``.
        present: bool, likewise; None if all count.
    """

    def __init__(self, labels: Any, predictions_idx: Any) -> None:
        self.present: Tensor | None = None
        if isinstance(labels, SparseTensorValue):
            labels = SparseTensor.from_value(labels)
        if isinstance(labels, SparseTensor):
            at, dims = labels.indices, labels.dense_shape
            self.ids = scatter_nd(at, cast(labels.values, dtypes.int64), dims)
            self.present = scatter_nd(at, ones_like(labels.values, dtypes.int64), dims) > 0
            return
        self.ids = cast(labels, dtypes.int64)
        if rank_difference(convert_to_tensor(predictions_idx), self.ids) == 1:
            self.ids = expand_dims(self.ids, -1)

    def only(self, condition: Tensor) -> _Labels:
        result = object.__new__(_Labels)
        result.ids = self.ids
        result.present = condition if self.present is None else logical_and(self.present, condition)
        return result

    def only_below(self, classes: Any) -> _Labels:
        """Returns the labels without those that are not classes."""
        inside = logical_and(
            greater_equal(self.ids, 0), less(self.ids, cast(classes, dtypes.int64))
        )
        return self.only(inside)

    def number(self) -> Tensor:
        """Counts the different labels of each example: float64 ``[D1, ..., DN]``."""
        return _sum(_first_of_equals(self.ids, self.present))

    def contain(self, ids: Tensor) -> Tensor:
        """Tells whether each of ``ids`` ``[D1, ..., DN, k]`` is a label of its example."""
        same = equal(expand_dims(ids, -1), expand_dims(self.ids, -2))
        if self.present is not None:
            same = logical_and(same, expand_dims(self.present, -2))
        return reduce_any(same, axis=-1)


def _first_of_equals(ids: Tensor, present: Tensor | None) -> Tensor:
    """Marks the elements of the last dimension that are present and have no equal before them."""
    same = equal(expand_dims(ids, -1), expand_dims(ids, -2))
    if present is not None:
        same = logical_and(same, expand_dims(present, -2))
    up_to_here = matrix_band_part(cast(same, dtypes.int32), -1, 0)
    first = equal(reduce_sum(up_to_here, axis=-1), 1)
    return first if present is None else logical_and(first, present)


def _sum(flags: Tensor) -> Tensor:
    return reduce_sum(cast(flags, dtypes.float64), axis=-1)


def _average_precisions(labels: _Labels, highest: Tensor, k: int) -> Tensor:
    hits = cast(labels.contain(highest), dtypes.float64)
    precisions = truediv(cumsum(hits, axis=-1), cast(range(1, k + 1), dtypes.float64))
    number = cast(labels.present, dtypes.float64)
    relevant = minimum(reduce_sum(number, axis=-1), float(k))
    return truediv(reduce_sum(multiply(precisions, hits), axis=-1), relevant)


def _share(
    kind: str,
    labels: Any,
    predictions_idx: Any,
    k: int | None,
    class_id: int | None,
    weights: Any,
    metrics: Any,
    updates: Any,
    name: str | None,
) -> Metric:
    inputs = [predictions_idx, labels, weights]
    with name_scope(name, _name(kind, k, class_id), inputs) as scope:
        ids = cast(predictions_idx, dtypes.int64)
        found = _Labels(labels, ids)
        chosen = _first_of_equals(ids, None)
        if class_id is not None:
            found = found.only(equal(found.ids, class_id))
            chosen = logical_and(chosen, equal(ids, class_id))
        right = _sum(logical_and(chosen, found.contain(ids)))
        if kind == "recall":
            other, wrong = "false_negative", found.number() - right
        else:
            other, wrong = "false_positive", _sum(chosen) - right
        counts = [
            _counted(_name(what, k, class_id), _total(number, weights))
            for what, number in (("true_positive", right), (other, wrong))
        ]
        (yes, update_yes), (no, update_no) = counts
        value = truediv(yes, yes + no, name=scope)
        update = truediv(update_yes, update_yes + update_no, name="update")
        return collected(value, update, metrics, updates)


def _total(numbers: Tensor, weights: Any) -> Tensor:
    if weights is not None:
        numbers = multiply(numbers, cast(weights, dtypes.float64))
    return reduce_sum(numbers)


def _counted(name: str, number: Tensor) -> tuple[Any, Any]:
    """Adds ``number`` to a variable; returns its value and its update."""
    with name_scope(name) as scope:
        variable = metric_variable([], dtypes.float64, name=scope)
        return variable.value(), assign_add(variable, number, name="update")


def _name(name: str, k: int | None, class_id: int | None = None) -> str:
    name = f"{name}_at_{k:d}" if k is not None else f"{name}_at_k"
    return name if class_id is None else f"{name}_class{class_id:d}"
