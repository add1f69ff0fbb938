"""Kernels of bias, activations, softmax and its losses, top-k, and local response normalization.

16-bit floats are computed in float32 and rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.ops.windows import channel_axis
from flowray.proto.types.shapes import broadcast, format_shape
from flowray.worker.execution import blas, checks, xla
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.support.axes import reduced
from flowray.worker.kernels.support.precision import widened

# Bias ---------------------------------------------------------------------------------------------


@kernel("BiasAdd")
def bias_add(xp: Any, value: Any, bias: Any, *, data_format: bytes) -> Any:
    """Adds a vector along the channels: the last axis, or axis 1 for NCHW."""
    if value.ndim < 2:
        raise errors.invalid_argument(
            f"Input tensor must be at least 2D: {format_shape(value.shape)}"
        )
    if bias.ndim != 1:
        raise errors.invalid_argument(f"Biases must be 1D: {format_shape(bias.shape)}")
    axis = channel_axis(data_format, value.ndim)
    if value.shape[axis] != bias.shape[0]:
        raise errors.invalid_argument(
            "Must provide as many biases as the last dimension of the input tensor: "
            f"{format_shape(bias.shape)} vs. {format_shape(value.shape)}"
        )
    return value + bias.reshape(bias.shape + (1,) * (value.ndim - 1 - axis))


@kernel("BiasAddV1")
def bias_add_v1(xp: Any, value: Any, bias: Any) -> Any:
    """Adds a vector along the last axis."""
    return bias_add(xp, value, bias, data_format=b"NHWC")


@kernel("BiasAddGrad")
def bias_add_grad(xp: Any, out_backprop: Any, *, data_format: bytes) -> Any:
    """Sums the gradient over all axes but the channels."""
    if out_backprop.ndim < 2:
        raise errors.invalid_argument(
            f"Input tensor must be at least 2D: {format_shape(out_backprop.shape)}"
        )
    kept = channel_axis(data_format, out_backprop.ndim)
    axes = tuple(a for a in range(out_backprop.ndim) if a != kept)
    total = reduced(xp, xp.sum, widened(out_backprop), axes)
    return total.astype(out_backprop.dtype)


# Activations --------------------------------------------------------------------------------------

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


def relu(xp: Any, x: Any) -> Any:
    """Computes ``max(x, 0)``; NaN stays NaN."""
    return xp.maximum(x, xp.zeros((), x.dtype))


def relu6(xp: Any, x: Any) -> Any:
    """Computes ``min(max(x, 0), 6)``."""
    return xp.minimum(relu(xp, x), xp.full((), 6, x.dtype))


def elu(xp: Any, x: Any) -> Any:
    """Computes ``x`` where it is positive, else ``exp(x) - 1``."""
    return xp.where(x < 0, xp.expm1(x), x)


def selu(xp: Any, x: Any) -> Any:
    """Computes the scaled exponential linear function (Klambauer et al. 2017)."""
    return xp.where(x < 0, xp.expm1(x) * _SELU_SCALE_ALPHA, x * _SELU_SCALE)


def softplus(xp: Any, x: Any) -> Any:
    """Computes ``log(1 + exp(x))`` without overflow."""
    return xp.logaddexp(x, xp.zeros((), x.dtype))


def softsign(xp: Any, x: Any) -> Any:
    """Computes ``x / (1 + |x|)``."""
    return x / (abs(x) + 1)


# The gradients get the op's input x or, where that is cheaper, its output y. Where an activation is
# flat, its gradient is 0 even if the incoming one is NaN. TensorFlow's GPU kernels do the same (its
# CPU kernels multiply by 0), and XLA turns such products into selections anyway.


def relu_grad(xp: Any, g: Any, x: Any) -> Any:
    """Passes the gradient where the input ``x`` is positive."""
    return xp.where(x > 0, g, xp.zeros((), g.dtype))


def relu6_grad(xp: Any, g: Any, x: Any) -> Any:
    """Passes the gradient where the input ``x`` is in (0, 6)."""
    return xp.where((x > 0) & (x < 6), g, xp.zeros((), g.dtype))


def elu_grad(xp: Any, g: Any, y: Any) -> Any:
    """Computes the gradient of elu from its output ``y``."""
    return xp.where(y < 0, (y + 1) * g, g)


def selu_grad(xp: Any, g: Any, y: Any) -> Any:
    """Computes the gradient of selu from its output ``y``."""
    return xp.where(y < 0, g * (y + _SELU_SCALE_ALPHA), g * _SELU_SCALE)


def softplus_grad(xp: Any, g: Any, x: Any) -> Any:
    """Computes the gradient of softplus from its input ``x``."""
    return g / (xp.exp(-x) + 1)


def softsign_grad(xp: Any, g: Any, x: Any) -> Any:
    """Computes the gradient of softsign from its input ``x``."""
    divisor = abs(x) + 1
    return g / (divisor * divisor)


def _check_same_shape(op_type: str, g: Any, x: Any) -> None:
    if g.shape != x.shape:
        raise errors.invalid_argument(
            f"Inputs to operation of type {op_type} must have the same size and shape.  "
            f"Input 0: {format_shape(g.shape)} != input 1: {format_shape(x.shape)}"
        )


def _add_activation(op_type: str, function: Any, gradient: Any) -> None:
    """Registers an activation and its gradient for all dtypes.

    The functions see no 16-bit floats.
    """

    def activation(xp: Any, x: Any) -> Any:
        return function(xp, widened(x)).astype(x.dtype)

    def activation_grad(xp: Any, g: Any, x: Any) -> Any:
        _check_same_shape(f"{op_type}Grad", g, x)
        return gradient(xp, widened(g), widened(x)).astype(g.dtype)

    add_kernel(op_type, activation)
    add_kernel(f"{op_type}Grad", activation_grad)


_add_activation("Relu", relu, relu_grad)
_add_activation("Relu6", relu6, relu6_grad)
_add_activation("Elu", elu, elu_grad)
_add_activation("Selu", selu, selu_grad)
_add_activation("Softplus", softplus, softplus_grad)
_add_activation("Softsign", softsign, softsign_grad)


@kernel("LeakyRelu")
def leaky_relu(xp: Any, features: Any, *, alpha: float) -> Any:
    """Computes ``x`` where it is positive, else ``alpha * x``."""
    x = widened(features)
    return xp.where(x > 0, x, x * alpha).astype(features.dtype)


@kernel("LeakyReluGrad")
def leaky_relu_grad(xp: Any, gradients: Any, features: Any, *, alpha: float) -> Any:
    """Multiplies the gradient by ``alpha`` where the input is not positive."""
    _check_same_shape("LeakyReluGrad", gradients, features)
    g = widened(gradients)
    return xp.where(features > 0, g, g * alpha).astype(gradients.dtype)


# Softmax and losses -------------------------------------------------------------------------------


def _shifted(xp: Any, logits: Any) -> Any:
    """Subtracts the maximum of each row from the logits, so that no exponential overflows."""
    z = widened(logits)
    return z - z.max(-1, keepdims=True)


def _check_logits(logits: Any) -> None:
    if logits.ndim < 1:
        raise errors.invalid_argument("logits must have >= 1 dimension, got []")


@kernel("Softmax")
def softmax(xp: Any, logits: Any) -> Any:
    """Computes softmax along the last axis."""
    _check_logits(logits)
    if logits.size == 0:
        return logits
    powers = xp.exp(_shifted(xp, logits))
    return (powers / powers.sum(-1, keepdims=True)).astype(logits.dtype)


@kernel("LogSoftmax")
def log_softmax(xp: Any, logits: Any) -> Any:
    """Computes the logarithm of softmax along the last axis, without overflow."""
    _check_logits(logits)
    if logits.size == 0:
        return logits
    z = _shifted(xp, logits)
    return (z - xp.log(xp.exp(z).sum(-1, keepdims=True))).astype(logits.dtype)


@kernel("SoftmaxCrossEntropyWithLogits")
def softmax_cross_entropy_with_logits(xp: Any, features: Any, labels: Any) -> Any:
    """Computes the cross entropy of each row and its gradient.

    Args:
        features: logits ``[batch, classes]``; they broadcast against ``labels``.
        labels: a distribution in each row. A label of 0 adds nothing, even where the logit is -inf.

    Returns:
        The loss ``[batch]`` and ``softmax - labels``.
    """
    try:
        shape = broadcast(features.shape, labels.shape)
    except ValueError:
        raise errors.invalid_argument(
            f"logits and labels must be broadcastable: logits_size="
            f"{format_shape(features.shape)} labels_size={format_shape(labels.shape)}"
        ) from None
    assert shape is not None
    if len(shape) != 2:
        raise errors.invalid_argument(
            "logits and labels must be either 2-dimensional, or broadcasted to be 2-dimensional"
        )
    dtype = features.dtype
    if 0 in shape:
        return xp.zeros(shape[:1], dtype), xp.zeros(shape, dtype)
    z = _shifted(xp, xp.broadcast_to(features, shape))
    targets = widened(xp.broadcast_to(labels, shape))
    powers = xp.exp(z)
    total = powers.sum(-1, keepdims=True)
    # A label of 0 costs nothing, even where the logit is -inf.
    cost = xp.where(targets == 0, xp.zeros((), z.dtype), targets * (xp.log(total) - z))
    return cost.sum(-1).astype(dtype), (powers / total - targets).astype(dtype)


@kernel("SparseSoftmaxCrossEntropyWithLogits")
def sparse_softmax_cross_entropy_with_logits(xp: Any, features: Any, labels: Any) -> Any:
    """Computes the cross entropy of each row against the class ``labels[i]``, and its gradient.

    Raises:
        InvalidArgumentError: a label is out of range, or shapes do not match.
    """
    if features.ndim != 2:
        raise errors.invalid_argument(
            f"logits must be 2-D, but got shape {format_shape(features.shape)}"
        )
    if labels.ndim != 1:
        raise errors.invalid_argument(
            f"labels must be 1-D, but got shape {format_shape(labels.shape)}"
        )
    if features.shape[0] != labels.shape[0]:
        raise errors.invalid_argument(
            f"logits and labels must have the same first dimension, got logits shape "
            f"{format_shape(features.shape)} and labels shape {format_shape(labels.shape)}"
        )
    count = features.shape[1]
    if count == 0:
        raise errors.invalid_argument(
            f"Must have at least one class, but got logits shape {format_shape(features.shape)}"
        )
    if features.shape[0] == 0:
        return xp.zeros((0,), features.dtype), features
    in_range = (labels >= 0) & (labels < count)

    def out_of_range(labels: Any) -> errors.OpError:
        bad = labels.min() if labels.min() < 0 else labels.max()
        return errors.invalid_argument(
            f"Received a label value of {bad} which is outside the valid range of [0, {count}).  "
            f"Label values: {' '.join(map(str, labels))}"
        )

    checks.check(in_range.all(), out_of_range, labels)
    z = _shifted(xp, features)
    powers = xp.exp(z)
    total = powers.sum(-1, keepdims=True)
    chosen = labels[:, None] == xp.arange(count, dtype=labels.dtype)
    loss = xp.log(total[:, 0]) - xp.where(chosen, z, 0).sum(-1)
    backprop = powers / total - chosen.astype(z.dtype)
    return loss.astype(features.dtype), backprop.astype(features.dtype)


@kernel("L2Loss")
def l2_loss(xp: Any, t: Any) -> Any:
    """Computes half the sum of squares, as a scalar."""
    wide = widened(t)
    return (reduced(xp, xp.sum, wide * wide, tuple(range(t.ndim))) / 2).astype(t.dtype)


# Top-k --------------------------------------------------------------------------------------------


@kernel("InTopK")
def in_top_k(xp: Any, predictions: Any, targets: Any, *, k: int) -> Any:
    """Tells for each row whether the target class is among the ``k`` highest predictions.

    Classes that tie with the target do not push it out. A row with an infinity or a NaN, or a
    target out of range, gives False.
    """
    return _in_top_k(xp, predictions, targets, k)


@kernel("InTopKV2")
def in_top_k_v2(xp: Any, predictions: Any, targets: Any, k: Any) -> Any:
    """Computes InTopK with ``k`` as an input."""
    if k.ndim != 0:
        raise errors.invalid_argument(f"k must be 0-D, got shape {format_shape(k.shape)}")
    return _in_top_k(xp, predictions, targets, k)


def _in_top_k(xp: Any, predictions: Any, targets: Any, k: Any) -> Any:
    if predictions.ndim != 2:
        raise errors.invalid_argument("predictions must be 2-dimensional")
    if targets.ndim != 1:
        raise errors.invalid_argument("targets must be 1-dimensional")
    if predictions.shape[0] != targets.shape[0]:
        raise errors.invalid_argument(
            f"First dimension of predictions {predictions.shape[0]} must match length of targets "
            f"{targets.shape[0]}"
        )
    count = predictions.shape[1]
    chosen = targets[:, None] == xp.arange(count, dtype=targets.dtype)
    target = xp.where(chosen, predictions, 0).sum(-1, keepdims=True)
    in_range = (targets >= 0) & (targets < count)
    # A row with a NaN or an infinity has no order.
    decided = in_range & xp.isfinite(predictions).all(-1)
    return decided & ((predictions > target).sum(-1) < k)


@kernel("TopK")
def top_k(xp: Any, input: Any, *, k: int) -> Any:
    """Returns the ``k`` largest values along the last axis, largest first, and their int32 indices.

    Of equal values the one with the lower index comes first.
    """
    return _top_k(xp, input, k, np.int32)


@kernel("TopKV2")
def top_k_v2(xp: Any, input: Any, k: Any, *, index_type: Any) -> Any:
    """Computes TopK with ``k`` as an input and indices of ``index_type``."""
    if k.ndim != 0:
        raise errors.invalid_argument(f"k must be scalar, got shape {format_shape(k.shape)}")
    return _top_k(xp, input, int(k), index_type.as_numpy_dtype)


def _top_k(xp: Any, values: Any, k: int, index_type: Any) -> Any:
    if k < 0:
        raise errors.invalid_argument(f"Need k >= 0, got {k}")
    if values.ndim < 1:
        raise errors.invalid_argument(
            f"input must be >= 1-D, got shape {format_shape(values.shape)}"
        )
    count = values.shape[-1]
    if count < k:
        raise errors.invalid_argument(
            f"input must have at least k columns. Had {count}, needed {k}"
        )
    if xp is not np:
        top, indices = xla.jax().lax.top_k(values, k)
        return top, indices.astype(index_type)
    # A stable descending sort is a stable ascending one of the reversed row, reversed.
    order = count - 1 - np.argsort(values[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    indices = order[..., :k]
    return np.take_along_axis(values, indices, -1), indices.astype(index_type)


# Local response normalization ---------------------------------------------------------------------


def _product(xp: Any, a: Any, b: Any) -> Any:
    return blas.matmul(a, b) if xp is np else a @ b


def _lrn_norm(xp: Any, x: Any, depth_radius: int, bias: float, alpha: float) -> tuple[Any, Any]:
    """Returns ``bias + alpha *`` the sum of squares over neighboring channels, and their mask."""
    depth = x.shape[-1]
    distance = np.subtract.outer(np.arange(depth), np.arange(depth))
    band = xp.asarray((abs(distance) <= depth_radius).astype(np.float32))
    return bias + alpha * (_product(xp, x * x, band)), band


def _check_lrn(**images: Any) -> None:
    for name, image in images.items():
        if image.ndim != 4:
            raise errors.invalid_argument(f"{name} must be 4-dimensional")


@kernel("LRN")
def lrn(xp: Any, input: Any, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Any:
    """Divides by a power of the sum of squares over the channels within ``depth_radius``."""
    _check_lrn(**{"in": input})
    x = widened(input)
    norm, _ = _lrn_norm(xp, x, depth_radius, bias, alpha)
    return (x * norm**-beta).astype(input.dtype)


@kernel("LRNGrad")
def lrn_grad(
    xp: Any,
    input_grads: Any,
    input_image: Any,
    output_image: Any,
    *,
    depth_radius: int,
    bias: float,
    alpha: float,
    beta: float,
) -> Any:
    """Computes the gradient of LRN from its input and its output."""
    _check_lrn(in_grads=input_grads, in_image=input_image, out_image=output_image)
    if not input_grads.shape == input_image.shape == output_image.shape:
        raise errors.invalid_argument(
            "input_grads, input_image, and out_image should have the same shape"
        )
    g, x, y = widened(input_grads), widened(input_image), widened(output_image)
    norm, band = _lrn_norm(xp, x, depth_radius, bias, alpha)
    result = g * norm**-beta - 2 * alpha * beta * x * _product(xp, g * y / norm, band)
    return result.astype(input_grads.dtype)
