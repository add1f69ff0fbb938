"""``tf.losses``: weighted losses, collected in ``GraphKeys.LOSSES``.

A loss function takes ``weights``, a tensor broadcastable to the losses whose dimensions are 1 or
those of the losses (or a number), and ``reduction``, how the weighted losses become one number.
"""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import (
    GraphKeys,
    Tensor,
    add_to_collection,
    get_collection,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops.array_ops import ones_like, size, squeeze, stop_gradient, zeros_like
from flowray.client.ops.math_ops import add_n, cast, div_no_nan
from flowray.client.ops.nn_ops import (
    relu,
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
)
from flowray.client.ops.reduction_ops import deprecated_argument, reduce_sum
from flowray.proto import dtypes

__all__ = [
    "Reduction",
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "huber_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]


class Reduction:
    """How weighted losses become one number (``NONE``: they stay as they are)."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    """The sum divided by the sum of the weights."""
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        return (
            cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_OVER_NONZERO_WEIGHTS,
            cls.SUM_BY_NONZERO_WEIGHTS,
        )  # fmt: skip

    @classmethod
    def validate(cls, key: str) -> None:
        if key not in cls.all():
            raise ValueError(f"Invalid Reduction Key {key}.")


# The collection -----------------------------------------------------------------------------------


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Adds ``loss`` to the collection, unless that is None."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Any]:
    """The collected losses whose names begin with ``scope``."""
    return get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """The collected regularization losses whose names begin with ``scope``."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> Tensor:
    """The sum of the regularization losses; 0 if there are none."""
    losses = get_regularization_losses(scope)
    return add_n(losses, name=name) if losses else constant(0.0)


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """The sum of all collected losses. ValueError if there are none."""
    losses = get_losses(scope=scope)
    if add_regularization_losses:
        losses = losses + get_regularization_losses(scope=scope)
    return add_n(losses, name=name)


# Weights ------------------------------------------------------------------------------------------


def _check_broadcastable(weights: Tensor, values: Tensor) -> None:
    shape, of = weights.shape_tuple, values.shape_tuple
    if shape == () or shape is None or of is None:
        return
    if len(shape) != len(of):
        raise ValueError(
            "weights can not be broadcast to values. "
            f"values.rank={len(of)}. weights.rank={len(shape)}. values.shape={values.shape}. "
            f"weights.shape={weights.shape}."
        )
    if any(w not in (None, 1, v) and v is not None for w, v in zip(shape, of, strict=True)):
        raise ValueError(
            "weights can not be broadcast to values. "
            f"values.shape={values.shape}. weights.shape={weights.shape}."
        )


def _count_present(losses: Tensor, weights: Tensor, axes: Any = None) -> Any:
    """How many losses have a weight other than 0."""
    present = apply_op(
        "Select", apply_op("Equal", weights, zeros_like(weights)), zeros_like(weights),
        ones_like(weights),
    )  # fmt: skip
    everywhere = present * ones_like(losses)
    return reduce_sum(everywhere, axes, keepdims=axes is not None)


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Weighs and reduces ``losses`` and adds the result to the collection.

    Returns:
        A scalar of the losses' dtype; for ``Reduction.NONE`` a tensor of their shape.

    Raises:
        ValueError: ``weights`` do not broadcast to ``losses``, or ``reduction`` is unknown.
    """
    Reduction.validate(reduction)
    with name_scope(scope, "weighted_loss", [losses, weights]):
        losses = convert_to_tensor(losses)
        input_dtype = losses.dtype
        losses = cast(losses, dtypes.float32)
        weights = cast(weights, dtypes.float32)
        _check_broadcastable(weights, losses)
        loss = apply_op("Mul", losses, weights)
        if reduction != Reduction.NONE:
            loss = reduce_sum(loss)
            if reduction == Reduction.MEAN:
                loss = _safe_mean(loss, reduce_sum(ones_like(losses) * weights))
            elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
                loss = _safe_mean(loss, _count_present(losses, weights))
            elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
                loss = _safe_mean(loss, cast(size(losses), dtypes.float32))
        loss = cast(loss, input_dtype)
        add_loss(loss, loss_collection)
        return loss


def _safe_mean(total: Any, count: Any) -> Any:
    """The quotient, 0 where there is nothing to count."""
    return div_no_nan(total, count, name="value")


# Losses -------------------------------------------------------------------------------------------


def _operands(**named: Any) -> tuple[Tensor, Tensor]:
    """Labels and predictions as float32, of the same shape."""
    for name, value in named.items():
        if value is None:
            raise ValueError(f"{name} must not be None.")
    labels, predictions = (cast(value, dtypes.float32) for value in named.values())
    predictions.shape.assert_is_compatible_with(labels.shape)
    return labels, predictions


def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """``|predictions - labels|``."""
    with name_scope(scope, "absolute_difference", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        losses = apply_op("Abs", apply_op("Sub", predictions, labels))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
    dim: int | None = None,
) -> Any:
    """``1 - sum(predictions * labels)`` along ``axis``; both must be unit vectors already."""
    axis = deprecated_argument("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("You must specify 'axis'.")
    with name_scope(scope, "cosine_distance_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        losses = 1 - reduce_sum(predictions * labels, axis=(axis,), keepdims=True)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """``max(0, 1 - (2 * labels - 1) * logits)``: the labels are 0 or 1."""
    with name_scope(scope, "hinge_loss", [logits, labels, weights]) as scope:
        labels, logits = _operands(labels=labels, logits=logits)
        ones = ones_like(labels)
        losses = relu(ones - (2 * labels - ones) * logits)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Half the squared error up to ``delta``, linear in the error beyond."""
    with name_scope(scope, "huber_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        error = apply_op("Abs", apply_op("Sub", predictions, labels))
        quadratic = apply_op("Minimum", error, delta)
        losses = 0.5 * quadratic * quadratic + delta * (error - quadratic)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """The cross entropy of probabilities; ``epsilon`` keeps the logarithms finite."""
    with name_scope(scope, "log_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        losses = -labels * apply_op("Log", predictions + epsilon) - (1 - labels) * apply_op(
            "Log", 1 - predictions + epsilon
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """``(predictions - labels) ** 2``."""
    with name_scope(scope, "mean_squared_error", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        losses = apply_op("SquaredDifference", predictions, labels)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Any:
    """The mean of ``((p_i - p_j) - (l_i - l_j)) ** 2`` over all pairs of each sample's elements."""
    with name_scope(scope, "mean_pairwise_squared_error", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        weights = cast(weights, dtypes.float32)
        _check_broadcastable(weights, labels)
        diffs = apply_op("Sub", predictions, labels)
        axes = apply_op("Range", 1, apply_op("Rank", diffs), 1)
        # Per sample: 2 / (n - 1) * (sum of squares - (sum)^2 / n).
        count = _count_present(diffs, weights, axes)
        squares = reduce_sum(apply_op("Square", diffs), axes, keepdims=True)
        total = reduce_sum(diffs, axes, keepdims=True)
        pairs = apply_op("Maximum", count - 1, 0.0)
        first = 2.0 * div_no_nan(squares, pairs, name="value")
        second = 2.0 * div_no_nan(apply_op("Square", total), count * pairs, name="value")
        loss = reduce_sum(apply_op("Mul", first - second, weights))
        present = reduce_sum(_count_present(diffs, weights))
        mean = apply_op(
            "SelectV2", apply_op("Greater", present, 0.0), loss, zeros_like(loss), name="value"
        )
        add_loss(mean, loss_collection)
        return mean


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """``tf.nn.sigmoid_cross_entropy_with_logits``; smoothing pulls the labels towards 1/2."""
    if multi_class_labels is None or logits is None:
        raise ValueError("multi_class_labels and logits must not be None.")
    inputs = [logits, multi_class_labels, weights]
    with name_scope(scope, "sigmoid_cross_entropy_loss", inputs) as scope:
        logits = convert_to_tensor(logits)
        labels = cast(multi_class_labels, logits.dtype)
        logits.shape.assert_is_compatible_with(labels.shape)
        if label_smoothing > 0:
            labels = labels * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = sigmoid_cross_entropy_with_logits(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """``tf.nn.softmax_cross_entropy_with_logits_v2``; the gradient does not reach the labels."""
    if onehot_labels is None or logits is None:
        raise ValueError("onehot_labels and logits must not be None.")
    with name_scope(scope, "softmax_cross_entropy_loss", [logits, onehot_labels, weights]) as scope:
        logits = convert_to_tensor(logits)
        labels = cast(onehot_labels, logits.dtype)
        logits.shape.assert_is_compatible_with(labels.shape)
        if label_smoothing > 0:
            shape = apply_op("Shape", labels)
            classes = cast(
                apply_op("StridedSlice", shape, [1], [2], [1], shrink_axis_mask=1), logits.dtype
            )
            labels = labels * (1.0 - label_smoothing) + label_smoothing / classes
        labels = stop_gradient(labels, name="labels_stop_gradient")
        losses = softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """``tf.nn.sparse_softmax_cross_entropy_with_logits``.

    Labels (and weights) may have one trailing dimension of 1 more than they need.
    """
    if labels is None or logits is None:
        raise ValueError("labels and logits must not be None.")
    inputs = [logits, labels, weights]
    with name_scope(scope, "sparse_softmax_cross_entropy_loss", inputs) as scope:
        logits, labels = convert_to_tensor(logits), convert_to_tensor(labels)
        weights = convert_to_tensor(weights)
        if logits.shape.rank is not None and labels.shape.rank == logits.shape.rank:
            labels = squeeze(labels, [-1])
        if (
            weights.shape.rank not in (None, 0)
            and labels.shape.rank is not None
            and weights.shape.rank == labels.shape.rank + 1
        ):
            weights = squeeze(weights, [-1])
        losses = sparse_softmax_cross_entropy_with_logits(
            labels=labels, logits=logits, name="xentropy"
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)
