"""Metrics of the first k predictions."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    Tensor,
)
from flowray.client.metrics.common import (
    Metric,
    collected,
    metric_variable,
    rank_difference,
)
from flowray.client.ops.array_ops import (
    expand_dims,
    one_hot,
)
from flowray.client.ops.math_ops import (
    cast,
    truediv,
)
from flowray.client.ops.nn_ops import top_k
from flowray.client.ops.reduction_ops import (
    reduce_max,
    reduce_sum,
)
from flowray.client.ops.state_ops import assign_add
from flowray.client.variable_scope import variable_scope
from flowray.proto import dtypes


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
    """The share of the labels that are among the ``k`` highest predictions; NaN without labels.

    Args:
        labels: int64 ``[D1, ..., num_labels]`` (or without the last dimension).
        predictions: ``[D1, ..., num_classes]``.
        class_id: count only this class.
    """
    return _share_at_k(
        "recall", "false_negative", labels, predictions, k, class_id, weights,
        metrics_collections, updates_collections, name,
    )  # fmt: skip


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
    """The share of the ``k`` highest predictions that are among the labels; see ``recall_at_k``."""
    return _share_at_k(
        "precision", "false_positive", labels, predictions, k, class_id, weights,
        metrics_collections, updates_collections, name,
    )  # fmt: skip


def _share_at_k(
    kind: str, rest: str, labels: Any, predictions: Any, k: int, class_id: int | None,
    weights: Any, metrics: Any, updates: Any, name: str | None,
) -> Metric:  # fmt: skip
    suffix = f"at_{k:d}" if class_id is None else f"at_{k:d}_class{class_id:d}"
    with variable_scope(name, f"{kind}_{suffix}", (predictions, labels, weights)):
        chosen, wanted = _chosen_and_wanted(labels, predictions, k, class_id)
        missed = (1.0 - chosen) * wanted if rest == "false_negative" else chosen * (1.0 - wanted)
        counts = []
        for what, held in (("true_positive", chosen * wanted), (rest, missed)):
            number = cast(reduce_sum(held, axis=-1), dtypes.float64)
            if weights is not None:
                number = number * cast(weights, dtypes.float64)
            variable = metric_variable([], dtypes.float64, name=f"{what}_{suffix}")
            counts.append((variable.value(), assign_add(variable, reduce_sum(number))))
        (right, update_right), (wrong, update_wrong) = counts
        value = truediv(right, right + wrong)
        update = truediv(update_right, update_right + update_wrong, name="update")
        return collected(value, update, metrics, updates)


def _chosen_and_wanted(
    labels: Any, predictions: Any, k: int, class_id: int | None
) -> tuple[Tensor, Tensor]:
    """Per example, a 1 for each class among the ``k`` highest, and for each among the labels."""
    predictions = convert_to_tensor(predictions)
    labels = cast(labels, dtypes.int64)
    if rank_difference(predictions, labels) == 1:
        labels = expand_dims(labels, -1)
    classes = predictions.shape_tuple[-1]
    if classes is None:
        raise ValueError("The number of classes must be known.")
    highest = cast(top_k(predictions, k)[1], dtypes.int64)
    chosen = reduce_max(one_hot(highest, classes), axis=-2)
    wanted = reduce_max(one_hot(labels, classes), axis=-2)
    if class_id is not None:
        only = one_hot([class_id], classes)[0]
        chosen, wanted = chosen * only, wanted * only
    return chosen, wanted
