"""Bias, activations, softmax and its losses, top-k, local response normalization: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.gradients.registry import gradient


@gradient("BiasAdd")
def bias_add(op: Any, grad: Any) -> Any:
    """Sums the gradient over all axes but the channels for the bias."""
    return grad, apply_op("BiasAddGrad", grad, data_format=op.get_attr("data_format"))


@gradient("BiasAddV1")
def bias_add_v1(op: Any, grad: Any) -> Any:
    """Sums the gradient over all axes but the last for the bias."""
    axes = apply_op("Range", 0, apply_op("Rank", grad) - 1, 1)
    return grad, apply_op("Sum", grad, axes)


@gradient("BiasAddGrad")
def bias_add_grad(op: Any, received: Any) -> Tensor:
    """Differentiates the sum over all axes but the channels': repeats the vector."""
    shape = apply_op("Shape", op.inputs[0])
    channels_first = op.get_attr("data_format") == b"NCHW"
    count = apply_op("Shape", received)
    if not channels_first:  # broadcasting aligns the last axis
        return output_of("BroadcastTo", received, shape)
    tail = apply_op("OnesLike", apply_op("StridedSlice", shape, [2], [0], [1], end_mask=1))
    column = apply_op("Reshape", received, apply_op("ConcatV2", [[1], count, tail], 0))
    return output_of("BroadcastTo", column, shape)


# Activations --------------------------------------------------------------------------------------


@gradient("Relu", "Relu6", "Elu", "Selu")
def of_output(op: Any, grad: Any) -> Any:
    """Computes the gradient of an activation from its output."""
    return apply_op(f"{op.type}Grad", grad, op.outputs[0])


@gradient("Softsign")
def softsign(op: Any, grad: Any) -> Tensor:
    """Computes ``grad / (1 + |x|) ** 2``."""
    return output_of("SoftsignGrad", grad, op.inputs[0])


@gradient("Softplus")
def softplus(op: Any, grad: Any) -> Any:
    """Computes ``grad * sigmoid(x)``."""
    return grad * apply_op("Sigmoid", op.inputs[0])


@gradient("LeakyRelu")
def leaky_relu(op: Any, grad: Any) -> Tensor:
    """Passes ``grad`` where x is positive, and ``alpha * grad`` elsewhere."""
    return output_of("LeakyReluGrad", grad, op.inputs[0], alpha=op.get_attr("alpha"))


@gradient("ReluGrad", "Relu6Grad")
def relu_grad(op: Any, grad: Any) -> Any:
    """Differentiates by the gradient; the second derivative by x is 0."""
    x = op.inputs[1]
    return apply_op(op.type, grad, x), apply_op("ZerosLike", x)


@gradient("LeakyReluGrad")
def leaky_relu_grad(op: Any, grad: Any) -> Any:
    """Differentiates by the gradient; the second derivative by x is 0."""
    x = op.inputs[1]
    second = apply_op("LeakyReluGrad", grad, x, alpha=op.get_attr("alpha"))
    return second, apply_op("ZerosLike", x)


@gradient("EluGrad", "SeluGrad")
def elu_grad(op: Any, grad: Any) -> Any:
    """Differentiates by the gradient and, where it is negative, by the output."""
    y = op.inputs[1]
    zeros = apply_op("ZerosLike", y)
    negative = apply_op("Less", y, apply_op("Cast", 0, DstT=y.dtype))
    return apply_op(op.type, grad, y), apply_op("Select", negative, grad * op.inputs[0], zeros)


@gradient("SoftplusGrad")
def softplus_grad(op: Any, grad: Any) -> Any:
    """Differentiates by the gradient and by x."""
    # d/dx of dy / (1 + exp(-x)) is dy / (exp(-x) + 2 + exp(x)).
    dy, x = op.inputs
    curvature = (grad * dy) / (apply_op("Exp", -x) + 2.0 + apply_op("Exp", x))
    return apply_op("SoftplusGrad", grad, x), curvature


@gradient("SoftsignGrad")
def softsign_grad(op: Any, grad: Any) -> Any:
    """Differentiates by the gradient and by x."""
    # d/dx of dy / (1 + |x|)^2 is -2 sign(x) dy / (1 + |x|)^3.
    dy, x = op.inputs
    slope = apply_op("SoftsignGrad", grad * dy, x)
    curvature = -2.0 * apply_op("Sign", x) * slope / (1.0 + apply_op("Abs", x))
    return apply_op("SoftsignGrad", grad, x), curvature


# Softmax and losses -------------------------------------------------------------------------------


def _sum_over_classes(x: Any) -> Tensor:
    return output_of("Sum", x, [-1], keep_dims=True)


@gradient("Softmax")
def softmax(op: Any, grad: Any) -> Any:
    """Computes ``(grad - sum(grad * y)) * y`` over the classes."""
    probabilities = op.outputs[0]
    return (grad - _sum_over_classes(grad * probabilities)) * probabilities


@gradient("LogSoftmax")
def log_softmax(op: Any, grad: Any) -> Any:
    """Computes ``grad - sum(grad) * exp(y)`` over the classes."""
    return grad - _sum_over_classes(grad) * apply_op("Exp", op.outputs[0])


def _is_zero(tensor: Any) -> bool:
    """Tells whether nothing depends on the output that this is the gradient of."""
    if tensor is None or tensor.op.type in ("ZerosLike", "Zeros"):
        return True
    value = constant_value(tensor) if tensor.op.type in ("Fill", "Const") else None
    return value is not None and not value.any()


def _logits_gradient(op: Any, grad_loss: Any, grad_backprop: Any) -> Any:
    """Returns the gradient of the logits for gradients of both outputs."""
    logits, backprop = op.inputs[0], op.outputs[1]
    result = apply_op("ExpandDims", grad_loss, -1) * backprop
    if not _is_zero(grad_backprop):
        probabilities = apply_op("Softmax", logits)
        inner = _sum_over_classes(grad_backprop * probabilities)
        result += (grad_backprop - inner) * probabilities
    return result


@gradient("SoftmaxCrossEntropyWithLogits")
def softmax_cross_entropy(op: Any, grad_loss: Any, grad_backprop: Any) -> Any:
    """Computes ``grad * (softmax - labels)``, and the gradient of the labels."""
    to_labels = apply_op("ExpandDims", grad_loss, -1) * -apply_op("LogSoftmax", op.inputs[0])
    return _logits_gradient(op, grad_loss, grad_backprop), to_labels


@gradient("SparseSoftmaxCrossEntropyWithLogits")
def sparse_softmax_cross_entropy(op: Any, grad_loss: Any, grad_backprop: Any) -> Any:
    """Computes ``grad * (softmax - one_hot(labels))``."""
    return _logits_gradient(op, grad_loss, grad_backprop), None


@gradient("L2Loss")
def l2_loss(op: Any, grad: Any) -> Any:
    """Computes ``grad * x``."""
    return op.inputs[0] * grad


# The others ---------------------------------------------------------------------------------------


@gradient("TopK", "TopKV2")
def top_k(op: Any, grad: Any, _: Any) -> Any:
    """Scatters the gradients to the places of the values."""
    x, indices = op.inputs[0], op.outputs[1]
    shape = apply_op("Shape", x, out_type="int64")
    last = apply_op("StridedSlice", shape, [-1], [0], [1], end_mask=1, shrink_axis_mask=1)
    k = apply_op("Shape", indices, out_type="int64")
    k = apply_op("StridedSlice", k, [-1], [0], [1], end_mask=1)
    rows = apply_op("Reshape", apply_op("Cast", indices, DstT="int64"), _with_first(-1, k))
    size = apply_op("Prod", shape, [0])
    count = apply_op("Size", x, out_type="int64")
    starts = apply_op("Range", apply_op("ZerosLike", last), count, last)
    places = apply_op("Reshape", rows + apply_op("ExpandDims", starts, -1), [-1, 1])
    flat = apply_op(
        "ScatterNd", places, apply_op("Reshape", grad, [-1]), apply_op("ExpandDims", size, 0)
    )
    to_input = apply_op("Reshape", flat, shape)
    return to_input if op.type == "TopK" else (to_input, constant(0, name="zeros"))


def _with_first(first: int, rest: Any) -> Tensor:
    return output_of("ConcatV2", [apply_op("Cast", [first], DstT="int64"), rest], 0)


def _lrn_attrs(op: Any) -> dict[str, Any]:
    return {key: op.get_attr(key) for key in ("depth_radius", "bias", "alpha", "beta")}


@gradient("LRN")
def lrn(op: Any, grad: Any) -> Tensor:
    """Computes the gradient from the input and the normalized output."""
    return output_of("LRNGrad", grad, op.inputs[0], op.outputs[0], **_lrn_attrs(op))


@gradient("LRNGrad")
def lrn_grad(op: Any, grad: Any) -> Any:
    """Raises LookupError, as TensorFlow does: there is no second derivative."""
    raise LookupError("gradient registry has no entry for: LRNGrad")
