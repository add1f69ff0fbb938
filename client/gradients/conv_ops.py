"""Convolutions: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.registry import gradient

# A convolution is linear in its input and in its filter, so each of the three ops (forward,
# backprop to the input, backprop to the filter) has the two others as its gradients.

_NAMES = {
    "Conv2D": ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"),
    "DepthwiseConv2dNative": (
        "DepthwiseConv2dNative",
        "DepthwiseConv2dNativeBackpropInput",
        "DepthwiseConv2dNativeBackpropFilter",
    ),
    "Conv3D": ("Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"),
}
_FAMILY = {name: names for names in _NAMES.values() for name in names}


def _convolution_attrs(op: Any) -> dict[str, Any]:
    names = (
        "strides", "padding", "explicit_paddings", "data_format", "dilations", "use_cudnn_on_gpu",
    )  # fmt: skip
    return {name: op.get_attr(name) for name in names if name in op.op_def.attrs}


@gradient(*_NAMES)
def convolution(op: Any, grad: Any) -> Any:
    """Computes the gradients of input and filter by the ops that are made for them."""
    _, to_input, to_filter = _FAMILY[op.type]
    x, weights = op.inputs
    attrs = _convolution_attrs(op)
    x_shape, weights_shape = apply_op("ShapeN", [x, weights])
    return (
        apply_op(to_input, x_shape, weights, grad, **attrs),
        apply_op(to_filter, x, weights_shape, grad, **attrs),
    )


@gradient(*(names[1] for names in _NAMES.values()))
def convolution_backprop_input(op: Any, grad: Any) -> Any:
    """Differentiates a gradient of the input, which is linear in filter and gradient."""
    forward, _, to_filter = _FAMILY[op.type]
    _, weights, out_backprop = op.inputs
    attrs = _convolution_attrs(op)
    weights_shape = apply_op("Shape", weights)
    return (
        None,
        apply_op(to_filter, grad, weights_shape, out_backprop, **attrs),
        apply_op(forward, grad, weights, **attrs),
    )


@gradient(*(names[2] for names in _NAMES.values()))
def convolution_backprop_filter(op: Any, grad: Any) -> Any:
    """Differentiates a gradient of the filter, which is linear in input and gradient."""
    forward, to_input, _ = _FAMILY[op.type]
    x, _, out_backprop = op.inputs
    attrs = _convolution_attrs(op)
    return (
        apply_op(to_input, apply_op("Shape", x), grad, out_backprop, **attrs),
        None,
        apply_op(forward, x, grad, **attrs),
    )
