"""Batch normalization: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.ops.windows import channel_axis
from flowray.proto.types.dtypes import bfloat16, float16, float32
from flowray.proto.types.shapes import Shape, merge_all, merge_dims, with_rank

_FORMAT = attr("string", b"NHWC", allowed=[b"NHWC", b"NCHW"])
_FORMAT_V3 = attr("string", b"NHWC", allowed=[b"NHWC", b"NCHW", b"NDHWC", b"NCDHW"])
_X_TYPES = frozenset({float16, bfloat16, float32})


def _with_channels(c: ShapeContext, x: Shape, vectors: range) -> tuple[Shape, Shape]:
    """Returns the shape of x and that of one value per channel, as far as the inputs tell them."""
    data_format = c.attr("data_format")
    full = with_rank(x, len(data_format))
    axis = channel_axis(data_format, len(full))
    channels = full[axis]
    for index in vectors:
        channels = merge_dims(channels, with_rank(c.inputs[index], 1)[0])
    return (*full[:axis], channels, *full[axis + 1 :]), (channels,)


def fused_batch_norm_shape(c: ShapeContext, reserves: int = 2) -> list[Shape]:
    """Returns the shapes of the output, of the mean and variance, and of the reserved outputs."""
    averaged = c.attr("is_training") and c.attr("exponential_avg_factor") == 1.0
    # Training computes mean and variance, so that these inputs are empty.
    y, vector = _with_channels(c, c.inputs[0], range(1, 3 if averaged else 5))
    return [y, vector, vector, vector, vector, None][: 3 + reserves]


def fused_batch_norm_grad_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes of the gradients to x, scale and offset, and of the reserved outputs."""
    rank = len(c.attr("data_format"))
    both = merge_all([with_rank(c.inputs[0], rank), with_rank(c.inputs[1], rank)])
    x, vector = _with_channels(c, both, range(2, 5))
    return [x, vector, vector, None, None]


_TRAINING = {"epsilon": 0.0001, "is_training": True}
_FORWARD = {**_TRAINING, "exponential_avg_factor": 1.0}

op(
    "FusedBatchNorm",
    "x: T, scale: T, offset: T, mean: T, variance: T"
    " -> y: T, batch_mean: T, batch_variance: T, reserve_space_1: T, reserve_space_2: T",
    T={float32},
    **_FORWARD,
    data_format=_FORMAT,
    shape=fused_batch_norm_shape,
)
op(
    "FusedBatchNormV2",
    "x: T, scale: U, offset: U, mean: U, variance: U"
    " -> y: T, batch_mean: U, batch_variance: U, reserve_space_1: U, reserve_space_2: U",
    T=_X_TYPES,
    U={float32},
    **_FORWARD,
    data_format=_FORMAT,
    shape=fused_batch_norm_shape,
)
op(
    "FusedBatchNormV3",
    "x: T, scale: U, offset: U, mean: U, variance: U"
    " -> y: T, batch_mean: U, batch_variance: U, reserve_space_1: U, reserve_space_2: U,"
    " reserve_space_3: U",
    T=_X_TYPES,
    U={bfloat16, float32},
    **_FORWARD,
    data_format=_FORMAT_V3,
    shape=lambda c: fused_batch_norm_shape(c, 3),
)
op(
    "FusedBatchNormGrad",
    "y_backprop: T, x: T, scale: T, reserve_space_1: T, reserve_space_2: T"
    " -> x_backprop: T, scale_backprop: T, offset_backprop: T, reserve_space_3: T,"
    " reserve_space_4: T",
    T={float32},
    **_TRAINING,
    data_format=_FORMAT,
    shape=fused_batch_norm_grad_shape,
)
op(
    "FusedBatchNormGradV2",
    "y_backprop: T, x: T, scale: float32, reserve_space_1: U, reserve_space_2: U"
    " -> x_backprop: T, scale_backprop: U, offset_backprop: U, reserve_space_3: U,"
    " reserve_space_4: U",
    T=_X_TYPES,
    U={float32},
    **_TRAINING,
    data_format=_FORMAT,
    shape=fused_batch_norm_grad_shape,
)
op(
    "FusedBatchNormGradV3",
    "y_backprop: T, x: T, scale: float32, reserve_space_1: U, reserve_space_2: U,"
    " reserve_space_3: U"
    " -> x_backprop: T, scale_backprop: U, offset_backprop: U, reserve_space_4: U,"
    " reserve_space_5: U",
    T=_X_TYPES,
    U={float32},
    **_TRAINING,
    data_format=_FORMAT_V3,
    shape=fused_batch_norm_grad_shape,
)
