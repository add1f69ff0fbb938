"""Batch normalization: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.gradients.engine import gradients
from flowray.client.gradients.registry import gradient

_VERSION = {"FusedBatchNorm": "", "FusedBatchNormV2": "V2", "FusedBatchNormV3": "V3"}


@gradient(*_VERSION)
def fused_batch_norm(op: Any, grad: Any, *_: Any) -> Any:
    """Computes the gradients by the op that is made for them."""
    x, scale, _offset, mean, variance = op.inputs
    is_training = op.get_attr("is_training")
    # In training the statistics are the batch's; else they are constants, given from outside.
    statistics = op.outputs[3:5] if is_training else [mean, variance]
    result = apply_op(
        f"FusedBatchNormGrad{_VERSION[op.type]}",
        grad,
        x,
        scale,
        *statistics,
        *op.outputs[5:],
        epsilon=op.get_attr("epsilon"),
        data_format=op.get_attr("data_format"),
        is_training=is_training,
    )
    return *result[:3], None, None


@gradient("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3")
def fused_batch_norm_grad(op: Any, *grads: Any) -> Any:
    """Differentiates the first derivative, written in elementary ops."""
    g, x, scale = op.inputs[:3]
    reserves = len(op.inputs) - 3
    data_format = op.get_attr("data_format").decode()
    rank = len(data_format)
    channels = data_format.index("C")
    axes = [a for a in range(rank) if a != channels]
    on_axis = [-1 if a == channels else 1 for a in range(rank)]
    g, wide = (apply_op("Cast", t, DstT="float32") for t in (g, x))

    def spread(vector: Any) -> Tensor:
        return output_of("Reshape", vector, on_axis)

    def mean(tensor: Any) -> Tensor:
        return output_of("Mean", tensor, axes)

    if op.get_attr("is_training"):
        centered = wide - spread(mean(wide))
        variance = mean(apply_op("Square", centered))
    else:
        variance = op.inputs[4]
        centered = wide - spread(op.inputs[3])
    inverse = apply_op("Rsqrt", variance + op.get_attr("epsilon"))
    normalized = centered * spread(inverse)
    to_offset = apply_op("Sum", g, axes)
    to_scale = apply_op("Sum", g * normalized, axes)
    inner = g
    if op.get_attr("is_training"):
        inner = g - spread(mean(g)) - normalized * spread(mean(g * normalized))
    to_x = apply_op("Cast", inner * spread(scale * inverse), DstT=x.dtype)
    arguments = list(op.inputs[:3])
    # The arguments count as independent of each other, though all may come from one tensor.
    results = gradients(
        [to_x, to_scale, to_offset], arguments, list(grads[:3]), stop_gradients=arguments
    )
    return *results, *[None] * reserves
