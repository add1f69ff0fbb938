"""Bias, activations, softmax and its losses, top-k, local response normalization: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import merged, scalar, unchanged
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.ops.windows import channel_axis
from flowray.proto.types.dtypes import (
    FLOATING,
    INDEX,
    NUMERIC,
    REAL,
    bfloat16,
    float16,
    float32,
    int16,
    int32,
    int64,
)
from flowray.proto.types.shapes import (
    Shape,
    broadcast,
    merge_dims,
    with_rank,
    with_rank_at_least,
)

NHWC_OR_NCHW = attr("string", b"NHWC", allowed=[b"NHWC", b"NCHW"])


def bias_add_shape(c: ShapeContext, data_format: bytes = b"NHWC") -> Shape:
    """Returns the shape of input 0; ValueError if the bias does not fit its channels."""
    value = with_rank_at_least(c.inputs[0], 3 if data_format == b"NCHW" else 2)
    bias = with_rank(c.inputs[1], 1)
    if value is None:
        return None
    axis = channel_axis(data_format, len(value))
    return (*value[:axis], merge_dims(value[axis], bias[0]), *value[axis + 1 :])


def bias_add_grad_shape(c: ShapeContext) -> Shape:
    """Returns the shape of the bias: the number of channels."""
    data_format = c.attr("data_format")
    value = with_rank_at_least(c.inputs[0], 3 if data_format == b"NCHW" else 2)
    return (None,) if value is None else (value[channel_axis(data_format, len(value))],)


op(
    "BiasAdd",
    "value: T, bias: T -> output: T",
    T=NUMERIC,
    data_format=NHWC_OR_NCHW,
    shape=lambda c: bias_add_shape(c, c.attr("data_format")),
)
op(
    "BiasAddGrad",
    "out_backprop: T -> output: T",
    T=NUMERIC,
    data_format=NHWC_OR_NCHW,
    shape=bias_add_grad_shape,
)
op("BiasAddV1", "value: T, bias: T -> output: T", T=NUMERIC, shape=bias_add_shape)


# Activations --------------------------------------------------------------------------------------

for _name in ("Relu", "Relu6"):
    op(_name, "features: T -> activations: T", T=REAL, shape=unchanged)
    op(f"{_name}Grad", "gradients: T, features: T -> backprops: T", T=REAL, shape=merged)
for _name, _known in (
    ("Elu", "outputs"),
    ("Selu", "outputs"),
    ("Softplus", "features"),
    ("Softsign", "features"),
):
    op(_name, "features: T -> activations: T", T=FLOATING, shape=unchanged)
    op(f"{_name}Grad", f"gradients: T, {_known}: T -> backprops: T", T=FLOATING, shape=merged)
op(
    "LeakyRelu",
    "features: T -> activations: T",
    alpha=0.2,
    T=attr("type", float32, allowed=FLOATING),
    shape=unchanged,
)
op(
    "LeakyReluGrad",
    "gradients: T, features: T -> backprops: T",
    alpha=0.2,
    T=attr("type", float32, allowed=FLOATING),
    shape=merged,
)


# Softmax and losses -------------------------------------------------------------------------------


def at_least_vector(c: ShapeContext) -> Shape:
    """Returns the shape of input 0; ValueError for a scalar."""
    return with_rank_at_least(c.inputs[0], 1)


def softmax_cross_entropy_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes ``[batch]`` of the loss and ``[batch, classes]`` of its gradient."""
    for shape in c.inputs:
        if shape is not None and len(shape) != 2:
            raise ValueError(f"Shape must be broadcasted with rank 2, but is rank {len(shape)}")
    logits = with_rank(broadcast(c.inputs[0], c.inputs[1]), 2)
    return [(logits[0],), logits]


def sparse_softmax_cross_entropy_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes ``[batch]`` of the loss and ``[batch, classes]`` of its gradient."""
    logits, labels = with_rank(c.inputs[0], 2), with_rank(c.inputs[1], 1)
    batch = merge_dims(logits[0], labels[0])
    return [(batch,), (batch, logits[1])]


op("Softmax", "logits: T -> softmax: T", T=FLOATING, shape=at_least_vector)
op("LogSoftmax", "logits: T -> logsoftmax: T", T=FLOATING, shape=at_least_vector)
op(
    "SoftmaxCrossEntropyWithLogits",
    "features: T, labels: T -> loss: T, backprop: T",
    T=FLOATING,
    shape=softmax_cross_entropy_shape,
)
op(
    "SparseSoftmaxCrossEntropyWithLogits",
    "features: T, labels: Tlabels -> loss: T, backprop: T",
    T=FLOATING,
    Tlabels=attr("type", int64, allowed=INDEX),
    shape=sparse_softmax_cross_entropy_shape,
)
op("L2Loss", "t: T -> output: T", T=FLOATING, shape=scalar)


# Top-k --------------------------------------------------------------------------------------------


def in_top_k_shape(c: ShapeContext) -> Shape:
    """Returns ``[batch]``."""
    predictions, targets = with_rank(c.inputs[0], 2), with_rank(c.inputs[1], 1)
    return (merge_dims(predictions[0], targets[0]),)


def top_k_shape(c: ShapeContext, k: int | None) -> list[Shape]:
    """Returns the shape with ``k`` as its last dimension, for values and indices.

    Raises:
        ValueError: the last dimension is smaller than ``k``.
    """
    values = with_rank_at_least(c.inputs[0], 1)
    if values is None:
        return [None, None]
    if k is not None and values[-1] is not None and values[-1] < k:
        raise ValueError(f"input must have last dimension >= k = {k} but is {values[-1]}")
    shape = (*values[:-1], k)
    return [shape, shape]


def top_k_v2_shape(c: ShapeContext) -> list[Shape]:
    """Returns ``top_k_shape``, where input 1 is ``k``."""
    with_rank(c.inputs[1], 0)
    k = c.constant(1)
    if k is not None and k < 0:
        raise ValueError(
            f"Dimension size, given by scalar input 1, must be non-negative but is {k}"
        )
    return top_k_shape(c, None if k is None else int(k))


op(
    "InTopK",
    "predictions: float32, targets: T -> precision: bool",
    k=attr("int"),
    T=attr("type", int32, allowed=INDEX),
    shape=in_top_k_shape,
)
op(
    "InTopKV2",
    "predictions: float32, targets: T, k: T -> precision: bool",
    T=attr("type", int32, allowed=INDEX),
    shape=in_top_k_shape,
)
op(
    "TopK",
    "input: T -> values: T, indices: int32",
    k=attr("int", minimum=0),
    sorted=True,
    T=REAL,
    shape=lambda c: top_k_shape(c, c.attr("k")),
    hints=["sorted"],
)
op(
    "TopKV2",
    "input: T, k: Tk -> values: T, indices: index_type",
    sorted=True,
    T=REAL,
    Tk=attr("type", int32, allowed=[int16, int32, int64]),
    index_type=attr("type", int32, allowed=[int16, int32, int64]),
    shape=top_k_v2_shape,
    static_inputs=[1],
    hints=["sorted"],
)


# Local response normalization ---------------------------------------------------------------------

_LRN_TYPE = attr("type", float32, allowed=[float16, bfloat16, float32])

op(
    "LRN",
    "input: T -> output: T",
    depth_radius=5,
    bias=1.0,
    alpha=1.0,
    beta=0.5,
    T=_LRN_TYPE,
    shape=lambda c: with_rank(c.inputs[0], 4),
)
op(
    "LRNGrad",
    "input_grads: T, input_image: T, output_image: T -> output: T",
    depth_radius=5,
    bias=1.0,
    alpha=1.0,
    beta=0.5,
    T=_LRN_TYPE,
    shape=lambda c: with_rank(merged(c), 4),
)
