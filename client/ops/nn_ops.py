"""User functions for bias, activations, softmax and its losses, dropout and top-k."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops
from flowray.client.ops.random_ops import random_uniform
from flowray.client.ops.reduction_ops import deprecated_argument, reduce_sum
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import as_shape, merge

# Bias and activations -----------------------------------------------------------------------------


def data_format_2d(data_format: str | None) -> str:
    """Returns ``NHWC`` or ``NCHW`` for ``N...C``, ``NC...`` or None; ValueError for others."""
    if data_format is None or data_format == "NHWC" or data_format.startswith("N...C"):
        return "NHWC"
    if data_format.startswith("NC"):
        return "NCHW"
    if data_format.startswith("N") and data_format.endswith("C"):
        return "NHWC"
    raise ValueError("data_format must be of the form `N...C` or `NC...`")


@tf_export("nn.bias_add")
def bias_add(
    value: Any, bias: Any, data_format: str | None = None, name: str | None = None
) -> Tensor:
    """Adds ``bias``, a vector along the channels, to ``value``.

    Args:
        value: tensor of at least two dimensions.
        bias: vector of the same dtype, as long as the channel dimension.
        data_format: ``N...C`` (the default) or ``NC...``.
    """
    with name_scope(name, "BiasAdd", [value, bias]) as scope:
        value = convert_to_tensor(value, name="input")
        bias = convert_to_tensor(bias, dtype=value.dtype.base_dtype, name="bias")
        return output_of(
            "BiasAdd", value, bias, data_format=data_format_2d(data_format), name=scope
        )


@tf_export("nn.relu")
def relu(features: Any, name: str | None = None) -> Tensor:
    """Computes ``max(features, 0)``."""
    return output_of("Relu", features, name=name)


@tf_export("nn.relu6")
def relu6(features: Any, name: str | None = None) -> Tensor:
    """Computes ``min(max(features, 0), 6)`` (Krizhevsky, 2010)."""
    with name_scope(name, "Relu6", [features]) as scope:
        return output_of("Relu6", convert_to_tensor(features, name="features"), name=scope)


@tf_export("nn.leaky_relu")
def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """Computes ``max(features, alpha * features)``; integers become float32."""
    with name_scope(name, "LeakyRelu", [features, alpha]) as scope:
        features = convert_to_tensor(features, name="features")
        if features.dtype.is_integer:
            features = apply_op("Cast", features, DstT=dtypes.float32)
        if isinstance(alpha, np.ndarray):
            alpha = alpha.item()
        return output_of("LeakyRelu", features, alpha=alpha, name=scope)


@tf_export("nn.elu")
def elu(features: Any, name: str | None = None) -> Tensor:
    """Computes ``exp(features) - 1`` where negative, else ``features`` (Clevert et al., 2015)."""
    return output_of("Elu", features, name=name)


@tf_export("nn.selu")
def selu(features: Any, name: str | None = None) -> Tensor:
    """Computes ``scale * alpha * (exp(features) - 1)`` where negative, else ``scale * features``.

    Klambauer et al., 2017.
    """
    return output_of("Selu", features, name=name)


@tf_export("nn.softplus")
def softplus(features: Any, name: str | None = None) -> Tensor:
    """Computes ``log(exp(features) + 1)``."""
    return output_of("Softplus", features, name=name)


@tf_export("math.softsign", "nn.softsign")
def softsign(features: Any, name: str | None = None) -> Tensor:
    """Computes ``features / (abs(features) + 1)``."""
    return output_of("Softsign", features, name=name)


@tf_export("nn.crelu")
def crelu(features: Any, name: str | None = None, axis: int = -1) -> Any:
    """Concatenates ``relu`` of ``features`` and ``-features`` (Shang et al., 2016)."""
    with name_scope(name, "CRelu", [features]) as scope:
        features = convert_to_tensor(features, name="features")
        both = apply_op("ConcatV2", [features, apply_op("Neg", features)], axis, name=scope)
        return relu(both)


@tf_export("nn.swish")
def swish(features: Any) -> Any:
    """Computes ``features * sigmoid(features)`` (Ramachandran et al., 2017)."""
    with name_scope(None, "swish", [features]):
        features = convert_to_tensor(features, name="features")
        return features * apply_op("Sigmoid", features)


def _named(**values: Any) -> list[Any]:
    """Converts values to tensors; constants get the names of the arguments."""
    return [convert_to_tensor(value, name=name) for name, value in values.items()]


@tf_export("nn.xw_plus_b")
def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """Computes ``matmul(x, weights) + biases``."""
    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        x, weights, biases = _named(x=x, weights=weights, biases=biases)
        return bias_add(apply_op("MatMul", x, weights), biases, name=scope)


@tf_export("nn.relu_layer")
def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """Computes ``relu(matmul(x, weights) + biases)``."""
    with name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        x, weights, biases = _named(x=x, weights=weights, biases=biases)
        return relu(bias_add(apply_op("MatMul", x, weights), biases), name=scope)


@tf_export("math.zero_fraction", "nn.zero_fraction")
def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """Returns the fraction of zeros in ``value``, a float32 scalar."""
    with name_scope(name, "zero_fraction", [value]):
        value = convert_to_tensor(value, name="value")
        size = apply_op("Size", value, out_type=dtypes.int64)
        different = apply_op("NotEqual", value, apply_op("ZerosLike", value))
        nonzero = reduce_sum(apply_op("Cast", different, DstT=dtypes.int64))
        zeros = apply_op("Cast", apply_op("Sub", size, nonzero), DstT=dtypes.float32)
        return output_of(
            "RealDiv", zeros, apply_op("Cast", size, DstT=dtypes.float32), name="fraction"
        )


# Softmax ------------------------------------------------------------------------------------------


@tf_export("math.softmax", "nn.softmax")
def softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Any:
    """Computes ``exp(logits) / reduce_sum(exp(logits), axis)``, by default over the last axis."""
    return _softmax("Softmax", logits, deprecated_argument("axis", axis, "dim", dim), name)


@tf_export("math.log_softmax", "nn.log_softmax")
def log_softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Any:
    """Computes ``logits - log(reduce_sum(exp(logits), axis))``, by default over the last axis."""
    return _softmax("LogSoftmax", logits, deprecated_argument("axis", axis, "dim", dim), name)


def _softmax(op_type: str, logits: Any, axis: int | None, name: str | None) -> Any:
    logits = convert_to_tensor(logits)
    rank = logits.shape.rank
    if axis is None or axis == -1 or (rank is not None and axis == rank - 1):
        return apply_op(op_type, logits, name=name)
    if rank is not None and not -rank <= axis < rank:
        raise ValueError(
            f"Dimension ({axis}) must be in the range [{-rank}, {rank}) where {rank} is the "
            "number of dimensions in the input."
        )
    with name_scope(name, op_type, [logits]) as scope:
        order = _with_last(logits, axis)
        moved = apply_op(op_type, apply_op("Transpose", logits, order))
        result = apply_op("Transpose", moved, order, name=scope)  # a swap is its own inverse
        result.set_shape(logits.shape)
        return result


def _with_last(tensor: Tensor, axis: int) -> Any:
    """Returns the permutation that swaps ``axis`` with the last one."""
    rank = tensor.shape.rank
    if rank is not None:
        order = list(range(rank))
        order[axis], order[-1] = order[-1], order[axis]
        return convert_to_tensor(order, dtypes.int32)
    count = apply_op("Rank", tensor)
    at = convert_to_tensor(axis, dtypes.int32)
    if axis < 0:
        at = apply_op("AddV2", at, count)
    one = convert_to_tensor(1, dtypes.int32)
    last = apply_op("Sub", count, one)
    return apply_op(
        "ConcatV2",
        [
            apply_op("Range", 0, at, 1),
            apply_op("ExpandDims", last, 0),
            apply_op("Range", apply_op("AddV2", at, one), last, 1),
            apply_op("ExpandDims", at, 0),
        ],
        0,
    )


def _check_keywords(name: str, sentinel: Any, labels: Any, logits: Any) -> None:
    if sentinel is not None:
        raise ValueError(f"Only call `{name}` with named arguments (labels=..., logits=..., ...)")
    if labels is None or logits is None:
        raise ValueError("Both labels and logits must be provided.")


@tf_export("nn.softmax_cross_entropy_with_logits")
def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: int = -1,
    name: str | None = None,
    axis: int | None = None,
) -> Any:
    """Computes the v2 loss without a gradient for the labels."""
    dim = -1 if axis is None and dim is None else axis if axis is not None else dim
    _check_keywords("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        labels = apply_op("StopGradient", labels, name="labels_stop_gradient")
    return softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits, axis=dim, name=scope)


@tf_export("nn.softmax_cross_entropy_with_logits_v2")
def softmax_cross_entropy_with_logits_v2(
    labels: Any = None,
    logits: Any = None,
    axis: int | None = None,
    name: str | None = None,
    dim: int | None = None,
) -> Any:
    """Computes the cross entropy of ``labels`` and ``softmax(logits)`` along ``axis``.

    Args:
        labels: probabilities: each row must sum up to 1.
        logits: unscaled log probabilities, of the labels' shape.

    Returns:
        A tensor of the logits' shape and dtype, without ``axis``.
    """
    axis = deprecated_argument("axis", axis, "dim", dim)
    axis = -1 if axis is None else axis
    _check_keywords("softmax_cross_entropy_with_logits", None, labels, logits)
    with name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels", preferred_dtype=logits.dtype.base_dtype)
        half = logits.dtype in (dtypes.float16, dtypes.bfloat16)
        wide = apply_op("Cast", logits, DstT=dtypes.float32) if half else logits
        if labels.dtype != wide.dtype:
            labels = apply_op("Cast", labels, DstT=wide.dtype)
        shape = logits.shape_tuple
        if axis not in (-1, None if shape is None else len(shape) - 1):
            order = _with_last(logits, axis)
            wide, labels = (apply_op("Transpose", t, order) for t in (wide, labels))
        outer = _outer_shape(wide)
        cost = apply_op(
            "SoftmaxCrossEntropyWithLogits", _flat_rows(wide), _flat_rows(labels), name=scope
        ).loss
        cost = apply_op("Reshape", cost, outer)
        if shape is not None:
            at = axis % len(shape)
            cost.set_shape(shape[:at] + shape[at + 1 :])
        return apply_op("Cast", cost, DstT=logits.dtype) if half else cost


def _outer_shape(tensor: Tensor) -> Tensor:
    """Returns the shape without its last dimension."""
    shape = apply_op("Shape", tensor)
    return output_of("StridedSlice", shape, [0], [-1], [1], begin_mask=1)


def _flat_rows(tensor: Tensor) -> Any:
    """Reshapes ``[..., n]`` to ``[rows, n]``."""
    shape = tensor.shape_tuple
    if shape is not None and len(shape) == 2:
        return tensor
    last = apply_op("StridedSlice", apply_op("Shape", tensor), [-1], [0], [1], end_mask=1)
    rows = apply_op("Reshape", tensor, apply_op("ConcatV2", [[-1], last], 0))
    if shape is not None:
        outer = as_shape(shape[:-1]).num_elements()
        rows.set_shape([outer, shape[-1]])
    return rows


@tf_export("nn.sparse_softmax_cross_entropy_with_logits")
def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Any:
    """Computes the cross entropy of class indices and ``softmax(logits)``.

    Args:
        labels: int32 or int64 of shape ``[d0, ..., dn]``; every entry in ``[0, classes)``.
        logits: unscaled log probabilities of shape ``[d0, ..., dn, classes]``.

    Returns:
        A tensor of the labels' shape and the logits' dtype.
    """
    _check_keywords("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [labels, logits]):
        labels = convert_to_tensor(labels)
        logits = convert_to_tensor(logits)
        half = logits.dtype in (dtypes.float16, dtypes.bfloat16)
        wide = apply_op("Cast", logits, DstT=dtypes.float32) if half else logits
        if logits.shape.rank == 0:
            raise ValueError(f"Logits cannot be scalars - received shape {logits.shape}.")
        labels_rank, rank = labels.shape.rank, logits.shape.rank
        if rank is not None and labels_rank is not None and labels_rank != rank - 1:
            raise ValueError(
                "Rank mismatch: Rank of labels (received "
                f"{labels_rank}) should equal rank of logits minus 1 (received {rank})."
            )
        if not labels.shape.is_compatible_with(logits.shape[:-1]):
            raise ValueError(
                f"Shape mismatch: The shape of labels (received {labels.shape}) should equal the "
                f"shape of logits except for the last dimension (received {logits.shape})."
            )
        kind, shape = "SparseSoftmaxCrossEntropyWithLogits", array_ops.shape(labels)
        if rank == 2:
            cost = apply_op(kind, wide, labels, name=name).loss
        else:
            flat = apply_op("Reshape", labels, [-1])
            cost = apply_op(kind, _flat_rows(wide), flat, name=name).loss
            cost = apply_op("Reshape", cost, shape)
            cost.set_shape(labels.shape)
        return apply_op("Cast", cost, DstT=logits.dtype) if half else cost


@tf_export("nn.sigmoid_cross_entropy_with_logits")
def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """Computes the cross entropy of independent classes.

    It is ``max(x, 0) - x * z + log(1 + exp(-abs(x)))``, which does not overflow.

    Args:
        labels: the probabilities z, of the dtype and shape of ``logits``.
        logits: x, floating.
    """
    _check_keywords("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels", preferred_dtype=logits.dtype.base_dtype)
        _check_same_shape("labels", labels, logits)
        # Written so that neither the value nor the gradient overflows, at x = 0 included.
        zeros = array_ops.zeros_like(logits)
        positive = apply_op("GreaterEqual", logits, zeros)
        at_least_zero = apply_op("Select", positive, logits, zeros)
        negative_abs = apply_op("Select", positive, -logits, logits)
        return output_of(
            "AddV2",
            at_least_zero - logits * labels,
            apply_op("Log1p", apply_op("Exp", negative_abs)),
            name=scope,
        )


def _check_same_shape(name: str, labels: Tensor, logits: Tensor) -> None:
    try:
        merge(labels.shape_tuple, logits.shape_tuple)
    except ValueError:
        raise ValueError(
            f"logits and {name} must have the same shape ({logits.shape} vs {labels.shape})"
        ) from None


@tf_export("nn.weighted_cross_entropy_with_logits")
def weighted_cross_entropy_with_logits(
    labels: Any = None,
    logits: Any = None,
    pos_weight: Any = None,
    name: str | None = None,
    targets: Any = None,
) -> Tensor:
    """Computes the sigmoid cross entropy with positive labels weighted by ``pos_weight``."""
    labels = deprecated_argument("labels", labels, "targets", targets)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels", preferred_dtype=logits.dtype.base_dtype)
        _check_same_shape("labels", labels, logits)
        weight = 1 + (pos_weight - 1) * labels
        negative_part = (1 - labels) * logits
        log_term = apply_op("Log1p", apply_op("Exp", -apply_op("Abs", logits)))
        return output_of("AddV2", negative_part, weight * (log_term + relu(-logits)), name=scope)


@tf_export("nn.l2_loss")
def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """Computes ``sum(t ** 2) / 2``, a scalar."""
    return output_of("L2Loss", t, name=name)


@tf_export("nn.log_poisson_loss")
def log_poisson_loss(
    targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None
) -> Any:
    """Computes ``exp(c) - z * c`` for ``c = log_input`` and Poisson counts ``z = targets``.

    ``compute_full_loss`` adds Stirling's approximation of ``log(z!)`` where ``z`` is above 1.
    """
    with name_scope(name, "log_poisson_loss", [log_input, targets]):
        log_input = convert_to_tensor(log_input, name="log_input")
        targets = convert_to_tensor(targets, log_input.dtype.base_dtype, name="targets")
        _check_same_shape("targets", targets, log_input)
        result = apply_op("Exp", log_input) - log_input * targets
        if compute_full_loss:
            stirling = (
                targets * apply_op("Log", targets)
                - targets
                + 0.5 * apply_op("Log", 2 * np.pi * targets)
            )
            zeros, ones = apply_op("ZerosLike", targets), apply_op("OnesLike", targets)
            inside = apply_op(
                "LogicalAnd",
                apply_op("GreaterEqual", targets, zeros),
                apply_op("LessEqual", targets, ones),
            )
            result += apply_op("Select", inside, zeros, stirling)
        return result


# Dropout ------------------------------------------------------------------------------------------


@tf_export("nn.dropout")
def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Any:
    """Sets elements of ``x`` to 0 with probability ``rate`` and scales up the others.

    Args:
        x: floating tensor.
        keep_prob: ``1 - rate``, the older way to say it.
        noise_shape: int32 vector, broadcastable to the shape of ``x``: where it is 1, elements are
            kept or dropped together.
        seed: the seed of the op.
        rate: a scalar, number or tensor, in ``[0, 1)``.
    """
    dropped = None if keep_prob is None else 1 - keep_prob
    rate = deprecated_argument("rate", rate, "keep_prob", dropped)
    if rate is None:
        raise ValueError("You must provide a rate to dropout.")
    with name_scope(name, "dropout", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if not x.dtype.is_floating:
            raise ValueError(
                "x has to be a floating point tensor since it's going to be scaled. Got a "
                f"{x.dtype} tensor instead."
            )
        if isinstance(rate, numbers.Real):
            if not 0 <= float(rate) < 1:
                raise ValueError(
                    f"rate must be a scalar tensor or a float in the range [0, 1), got {rate:g}"
                )
            if rate == 0:
                return x
        rate = convert_to_tensor(rate, dtype=x.dtype.base_dtype, name="rate")
        if rate.shape.rank not in (None, 0):
            raise ValueError(f"Shape {rate.shape} must have rank 0")
        if constant_value(rate) == 0:
            return x
        noise = random_uniform(_noise_shape(x, noise_shape), seed=seed, dtype=x.dtype.base_dtype)
        scale = 1 / (1 - rate)
        # The noise is uniform on [0, 1): it is at least ``rate`` with probability 1 - rate.
        keep = apply_op("GreaterEqual", noise, rate)
        result = apply_op(
            "Mul", x * scale, apply_op("Cast", keep, DstT=x.dtype.base_dtype), name=scope
        )
        result.set_shape(x.shape)
        return result


def _noise_shape(x: Tensor, noise_shape: Any) -> Any:
    if noise_shape is None:
        return apply_op("Shape", x)
    try:
        dims = as_shape(noise_shape).as_tuple()
    except (TypeError, ValueError):
        return noise_shape
    shape = x.shape_tuple
    if dims is not None and shape is not None and len(dims) == len(shape):
        # An unknown dimension of the noise is that of x.
        return [s if n is None and s is not None else n for n, s in zip(dims, shape, strict=True)]
    return noise_shape


# Top-k --------------------------------------------------------------------------------------------


@tf_export("math.in_top_k", "nn.in_top_k")
def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Tells whether the target class of each row is among its ``k`` highest predictions.

    Args:
        predictions: float32 ``[batch, classes]``.
        targets: class indices, int32 or int64 ``[batch]``.

    Returns:
        bool ``[batch]``; classes on the boundary with equal predictions all count as inside.
    """
    with name_scope(name, "in_top_k"):
        return output_of("InTopKV2", predictions, targets, k, name=name)


@tf_export("math.top_k", "nn.top_k")
def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> Any:
    """Returns the ``k`` largest entries of the last dimension: ``(values, indices)``.

    Args:
        input: real tensor of at least one dimension.
        k: scalar int32 not above the size of the last dimension.
        sorted: whether the values must descend (flowray's always do). Equal values come in the
            order of their indices.
    """
    return apply_op("TopKV2", input, k, sorted=sorted, name=name)
