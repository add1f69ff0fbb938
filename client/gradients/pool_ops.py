"""Pools: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.gradients.registry import gradient


def _pool_attrs(op: Any, *more: str) -> dict[str, Any]:
    names = ("ksize", "strides", "padding", "data_format", *more)
    return {name: op.get_attr(name) for name in names if name in op.op_def.attrs}


@gradient("MaxPool")
def max_pool(op: Any, grad: Any) -> Tensor:
    """Passes the gradient of each window to its maximum."""
    attrs = _pool_attrs(op, "explicit_paddings")
    return output_of("MaxPoolGrad", op.inputs[0], op.outputs[0], grad, **attrs)


@gradient("MaxPoolV2")
def max_pool_v2(op: Any, grad: Any) -> Any:
    """Passes the gradient to the maxima of the windows."""
    x, ksize, strides = op.inputs
    attrs = _pool_attrs(op)
    result = apply_op("MaxPoolGradV2", x, op.outputs[0], grad, ksize, strides, **attrs)
    return result, None, None


@gradient("MaxPoolGrad", "MaxPool3DGrad")
def max_pool_grad(op: Any, grad: Any) -> Any:
    """Takes the gradient at the maxima; it does not depend on input and output otherwise."""
    x, y, _ = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op(f"{op.type}Grad", x, y, grad, **_pool_attrs(op)),
    )


@gradient("MaxPoolGradV2")
def max_pool_grad_v2(op: Any, grad: Any) -> Any:
    """Takes the gradient at the maxima; it does not depend on input and output otherwise."""
    x, y, _, ksize, strides = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPoolGradGradV2", x, y, grad, ksize, strides, **_pool_attrs(op)),
        None,
        None,
    )


@gradient("MaxPoolGradGrad", "MaxPool3DGradGrad")
def max_pool_grad_grad(op: Any, grad: Any) -> Any:
    """Passes the gradient to the maxima; it does not depend on input and output otherwise."""
    x, y, _ = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op(op.type.removesuffix("Grad"), x, y, grad, **_pool_attrs(op)),
    )


@gradient("MaxPoolGradGradV2")
def max_pool_grad_grad_v2(op: Any, grad: Any) -> Any:
    """Passes the gradient to the maxima; it does not depend on input and output otherwise."""
    x, y, _, ksize, strides = op.inputs
    return (
        apply_op("ZerosLike", x),
        apply_op("ZerosLike", y),
        apply_op("MaxPoolGradV2", x, y, grad, ksize, strides, **_pool_attrs(op)),
        None,
        None,
    )


@gradient("MaxPool3D")
def max_pool_3d(op: Any, grad: Any) -> Tensor:
    """Passes the gradient of each window to its maximum."""
    return output_of("MaxPool3DGrad", op.inputs[0], op.outputs[0], grad, **_pool_attrs(op))


@gradient("AvgPool", "AvgPool3D")
def avg_pool(op: Any, grad: Any) -> Any:
    """Spreads the gradient over the windows."""
    shape = apply_op("Shape", op.inputs[0])
    return apply_op(f"{op.type}Grad", shape, grad, **_pool_attrs(op))


@gradient("AvgPoolGrad", "AvgPool3DGrad")
def avg_pool_grad(op: Any, grad: Any) -> Any:
    """Averages the gradient over the windows."""
    shape = apply_op("StopGradient", op.inputs[0])
    return shape, apply_op(op.type.removesuffix("Grad"), grad, **_pool_attrs(op))
