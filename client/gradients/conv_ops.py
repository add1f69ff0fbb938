"""Convolutions and pools: gradients."""

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


def _attrs(op: Any, *names: str) -> dict[str, Any]:
    return {name: op.get_attr(name) for name in names if name in op.op_def.attrs}


def _convolution_attrs(op: Any) -> dict[str, Any]:
    return _attrs(
        op, "strides", "padding", "explicit_paddings", "data_format", "dilations",
        "use_cudnn_on_gpu",
    )  # fmt: skip


@gradient(*_NAMES)
def convolution(op: Any, grad: Any) -> Any:
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
    forward, to_input, _ = _FAMILY[op.type]
    x, _, out_backprop = op.inputs
    attrs = _convolution_attrs(op)
    return (
        apply_op(to_input, apply_op("Shape", x), grad, out_backprop, **attrs),
        None,
        apply_op(forward, x, grad, **attrs),
    )


# Pools --------------------------------------------------------------------------------------------


def _pool_attrs(op: Any, *more: str) -> dict[str, Any]:
    return _attrs(op, "ksize", "strides", "padding", "data_format", *more)


@gradient("MaxPool")
def max_pool(op: Any, grad: Any) -> Any:
    attrs = _pool_attrs(op, "explicit_paddings")
    return apply_op("MaxPoolGrad", op.inputs[0], op.outputs[0], grad, **attrs)


@gradient("MaxPoolV2")
def max_pool_v2(op: Any, grad: Any) -> Any:
    x, ksize, strides = op.inputs
    attrs = _pool_attrs(op)
    result = apply_op("MaxPoolGradV2", x, op.outputs[0], grad, ksize, strides, **attrs)
    return result, None, None


@gradient("MaxPoolGrad")
def max_pool_grad(op: Any, grad: Any) -> Any:
    x, y, _ = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPoolGradGrad", x, y, grad, **_pool_attrs(op)),
    )


@gradient("MaxPoolGradV2")
def max_pool_grad_v2(op: Any, grad: Any) -> Any:
    x, y, _, ksize, strides = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPoolGradGradV2", x, y, grad, ksize, strides, **_pool_attrs(op)),
        None,
        None,
    )


@gradient("MaxPoolGradGrad")
def max_pool_grad_grad(op: Any, grad: Any) -> Any:
    x, y, _ = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPoolGrad", x, y, grad, **_pool_attrs(op)),
    )


@gradient("MaxPoolGradGradV2")
def max_pool_grad_grad_v2(op: Any, grad: Any) -> Any:
    x, y, _, ksize, strides = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPoolGradV2", x, y, grad, ksize, strides, **_pool_attrs(op)),
        None,
        None,
    )


@gradient("MaxPool3D")
def max_pool_3d(op: Any, grad: Any) -> Any:
    return apply_op("MaxPool3DGrad", op.inputs[0], op.outputs[0], grad, **_pool_attrs(op))


@gradient("MaxPool3DGrad")
def max_pool_3d_grad(op: Any, grad: Any) -> Any:
    x, y, _ = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPool3DGradGrad", x, y, grad, **_pool_attrs(op)),
    )


@gradient("MaxPool3DGradGrad")
def max_pool_3d_grad_grad(op: Any, grad: Any) -> Any:
    x, y, _ = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPool3DGrad", x, y, grad, **_pool_attrs(op)),
    )


@gradient("AvgPool", "AvgPool3D")
def avg_pool(op: Any, grad: Any) -> Any:
    shape = apply_op("Shape", op.inputs[0])
    return apply_op(f"{op.type}Grad", shape, grad, **_pool_attrs(op))


@gradient("AvgPoolGrad", "AvgPool3DGrad")
def avg_pool_grad(op: Any, grad: Any) -> Any:
    shape = apply_op("StopGradient", op.inputs[0])
    return shape, apply_op(op.type.removesuffix("Grad"), grad, **_pool_attrs(op))
