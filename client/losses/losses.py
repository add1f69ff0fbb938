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
    control_dependencies,
    get_collection,
    name_scope,
)
from flowray.client.losses.weights import assert_broadcastable, broadcast_weights
from flowray.client.ops.array_ops import (
    ones_like,
    rank,
    shape,
    size,
    squeeze,
    stop_gradient,
    zeros_like,
)
from flowray.client.ops.math_ops import (
    abs,
    add,
    add_n,
    cast,
    div_no_nan,
    equal,
    log,
    maximum,
    minimum,
    multiply,
    range,
    square,
    squared_difference,
    subtract,
)
from flowray.client.ops.nn_ops import (
    relu,
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
)
from flowray.client.ops.reduction_ops import deprecated_argument, reduce_sum
from flowray.client.ops.slice_ops import where
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


@tf_export("losses.Reduction")
class Reduction:
    """The way in which weighted losses become one number (``NONE``: they stay as they are)."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    """The sum divided by the sum of the weights."""
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """Returns all ways."""
        return (
            cls.NONE,
            cls.SUM,
            cls.MEAN,
            cls.SUM_OVER_BATCH_SIZE,
            cls.SUM_OVER_NONZERO_WEIGHTS,
            cls.SUM_BY_NONZERO_WEIGHTS,
        )

    @classmethod
    def validate(cls, key: str) -> None:
        """Raises ValueError for a ``key`` that is not one of them."""
        if key not in cls.all():
            raise ValueError(f"Invalid Reduction Key {key}.")


# The collection -----------------------------------------------------------------------------------


@tf_export("losses.add_loss")
def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Adds ``loss`` to the collection, unless that is None."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


@tf_export("losses.get_losses")
def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Any]:
    """Returns the collected losses whose names begin with ``scope``."""
    return get_collection(loss_collection, scope)


@tf_export("losses.get_regularization_losses")
def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """Returns the collected regularization losses whose names begin with ``scope``."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


@tf_export("losses.get_regularization_loss")
def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> Tensor:
    """Returns the sum of the regularization losses; 0 if there are none."""
    losses = get_regularization_losses(scope)
    return add_n(losses, name=name) if losses else constant(0.0)


@tf_export("losses.get_total_loss")
def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """Returns the sum of all collected losses. ValueError if there are none."""
    losses = get_losses(scope=scope)
    if add_regularization_losses:
        losses = losses + get_regularization_losses(scope=scope)
    return add_n(losses, name=name)


# Weights ------------------------------------------------------------------------------------------


def _count_present(losses: Tensor, weights: Any, by_example: bool = False) -> Any:
    """Counts the losses whose weight is not 0."""
    if isinstance(weights, float) and weights != 0.0:
        return _count(losses)
    with name_scope(None, "num_present", [losses, weights]) as scope:
        weights = cast(weights, dtypes.float32)
        zeros, ones = zeros_like(weights), ones_like(weights)
        present = broadcast_weights(where(equal(weights, 0.0), zeros, ones), losses)
        if not by_example:
            return reduce_sum(present, name=scope)
        axes = range(1, rank(present))
        return reduce_sum(present, axes, keepdims=True, name=scope)


def _count(losses: Tensor) -> Any:
    with name_scope(None, "num_elements", [losses]) as scope:
        return cast(size(losses, name=scope), dtypes.float32)


def _safe_mean(losses: Any, count: Any) -> Any:
    """Returns the quotient, 0 where there is nothing to count."""
    return div_no_nan(reduce_sum(losses), count, name="value")


@tf_export("losses.compute_weighted_loss")
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
    with (
        name_scope(scope, "weighted_loss", [losses, weights]),
        control_dependencies([assert_broadcastable(weights, losses)]),
    ):
        losses = convert_to_tensor(losses)
        input_dtype = losses.dtype
        losses = cast(losses, dtypes.float32)
        weights = cast(weights, dtypes.float32)
        losses = multiply(losses, weights)
        if reduction == Reduction.NONE:
            loss = losses
        else:
            loss = reduce_sum(losses)
            if reduction == Reduction.MEAN:
                loss = _safe_mean(loss, reduce_sum(ones_like(losses) * weights))
            elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
                loss = _safe_mean(loss, _count_present(losses, weights))
            elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
                loss = _safe_mean(loss, _count(losses))
        loss = cast(loss, input_dtype)
        add_loss(loss, loss_collection)
        return loss


# Losses -------------------------------------------------------------------------------------------


def _operands(**named: Any) -> tuple[Tensor, Tensor]:
    """Returns labels and predictions as float32, of the same shape."""
    for name, value in named.items():
        if value is None:
            raise ValueError(f"{name} must not be None.")
    labels, predictions = named.values()
    predictions = cast(predictions, dtypes.float32)
    labels = cast(labels, dtypes.float32)
    predictions.shape.assert_is_compatible_with(labels.shape)
    return labels, predictions


@tf_export("losses.absolute_difference")
def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Computes the loss ``|predictions - labels|``."""
    with name_scope(scope, "absolute_difference", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        losses = abs(subtract(predictions, labels))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


@tf_export("losses.cosine_distance")
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
    """Computes ``1 - sum(predictions * labels)`` along ``axis``, of unit vectors."""
    axis = deprecated_argument("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("You must specify 'axis'.")
    with name_scope(scope, "cosine_distance_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        products = multiply(predictions, labels)
        losses = 1 - reduce_sum(products, axis=(axis,), keepdims=True)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


@tf_export("losses.hinge_loss")
def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Computes ``max(0, 1 - (2 * labels - 1) * logits)``; the labels are 0 or 1."""
    with name_scope(scope, "hinge_loss", [logits, labels, weights]) as scope:
        labels, logits = _operands(labels=labels, logits=logits)
        ones = ones_like(labels)
        signs = subtract(2 * labels, ones)
        losses = relu(subtract(ones, multiply(signs, logits)))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


@tf_export("losses.huber_loss")
def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Computes half the squared error up to ``delta``, and linear in the error beyond."""
    with name_scope(scope, "huber_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        error = abs(subtract(predictions, labels))
        quadratic = minimum(error, delta)
        linear = subtract(error, quadratic)
        half = convert_to_tensor(0.5, dtype=quadratic.dtype)
        losses = add(multiply(half, multiply(quadratic, quadratic)), multiply(delta, linear))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


@tf_export("losses.log_loss")
def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Returns the cross entropy of probabilities; ``epsilon`` keeps the logarithms finite."""
    with name_scope(scope, "log_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        yes = multiply(labels, log(predictions + epsilon))
        no = multiply(1 - labels, log(1 - predictions + epsilon))
        losses = -yes - no
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


@tf_export("losses.mean_squared_error")
def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Computes the loss ``(predictions - labels) ** 2``."""
    with name_scope(scope, "mean_squared_error", [predictions, labels, weights]) as scope:
        labels, predictions = _operands(labels=labels, predictions=predictions)
        losses = squared_difference(predictions, labels)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


@tf_export("losses.mean_pairwise_squared_error")
def mean_pairwise_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Any:
    """Averages ``((p_i - p_j) - (l_i - l_j)) ** 2`` over all pairs of each sample's elements."""
    if labels is None or predictions is None:
        raise ValueError("labels and predictions must not be None.")
    with name_scope(scope, "mean_pairwise_squared_error", [predictions, labels, weights]):
        weights = cast(weights, dtypes.float32)
        labels = cast(labels, dtypes.float32)
        with control_dependencies([assert_broadcastable(weights, labels)]):
            labels, predictions = _operands(labels=labels, predictions=predictions)
            diffs = subtract(predictions, labels)
            axes = range(1, rank(diffs))
            # By example: 2 / (n - 1) * (sum of squares - (sum)^2 / n).
            squares = reduce_sum(square(diffs), axes, keepdims=True)
            count = _count_present(diffs, weights, by_example=True)
            first = 2.0 * div_no_nan(squares, maximum(count - 1, 0), name="value")
            total = reduce_sum(diffs, axes, keepdims=True)
            pairs = maximum(multiply(count, count - 1), 0)
            second = 2.0 * div_no_nan(square(total), pairs, name="value")
            loss = reduce_sum(multiply(first - second, weights))
            mean = where(reduce_sum(count) > 0, loss, zeros_like(loss), name="value")
            add_loss(mean, loss_collection)
            return mean


@tf_export("losses.sigmoid_cross_entropy")
def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Computes ``tf.nn.sigmoid_cross_entropy_with_logits``; smoothing moves labels to 1/2."""
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


@tf_export("losses.softmax_cross_entropy")
def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Computes ``tf.nn.softmax_cross_entropy_with_logits_v2`` without a gradient for labels."""
    if onehot_labels is None or logits is None:
        raise ValueError("onehot_labels and logits must not be None.")
    with name_scope(scope, "softmax_cross_entropy_loss", [logits, onehot_labels, weights]) as scope:
        logits = convert_to_tensor(logits)
        labels = cast(onehot_labels, logits.dtype)
        logits.shape.assert_is_compatible_with(labels.shape)
        if label_smoothing > 0:
            classes = cast(shape(labels)[-1], logits.dtype)
            labels = labels * (1.0 - label_smoothing) + label_smoothing / classes
        labels = stop_gradient(labels, name="labels_stop_gradient")
        losses = softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


@tf_export("losses.sparse_softmax_cross_entropy")
def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:
    """Computes ``tf.nn.sparse_softmax_cross_entropy_with_logits``.

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
