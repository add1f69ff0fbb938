"""Kernels of batch normalization."""

from __future__ import annotations

from typing import Any

from flowray.proto import errors
from flowray.proto.ops.windows import channel_axis
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support.axes import reduced
from flowray.worker.kernels.support.precision import widened


def _check_vector(name: str, vector: Any, channels: int, prefix: str = "") -> None:
    if vector.ndim != 1:
        raise errors.invalid_argument(f"{name} must be 1-dimensional{format_shape(vector.shape)}")
    if vector.shape[0] != channels:
        raise errors.invalid_argument(
            f"{prefix}{name} must have the same number of elements as the channels of x, got "
            f"{vector.shape[0]} and {channels}"
        )


def _check_x(x: Any, data_format: bytes) -> int:
    """Checks the rank and returns the axis of the channels."""
    if x.ndim != len(data_format):
        raise errors.invalid_argument(
            f"input must be {len(data_format)}-dimensional{format_shape(x.shape)}"
        )
    return channel_axis(data_format, x.ndim)


def _others(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns all axes but ``axis``, and the shape that puts a vector on it."""
    axes = tuple(a for a in range(rank) if a != axis)
    return axes, tuple(-1 if a == axis else 1 for a in range(rank))


def _fused_batch_norm(
    xp: Any,
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    factor: float,
    data_format: bytes,
    is_training: bool,
) -> tuple[Any, ...]:
    """Normalizes ``x``; see ``fused_batch_norm``.

    Returns:
        y, the running mean and variance, and the mean and variance that y was made with.
    """
    axis = _check_x(x, data_format)
    channels = x.shape[axis]
    _check_vector("scale", scale, channels)
    _check_vector("offset", offset, channels)
    if not is_training or factor != 1.0:
        prefix = (
            "When is_training=false, " if not is_training else "When exponential_avg_factor != 1, "
        )
        _check_vector("mean", mean, channels, prefix)
        _check_vector("variance", variance, channels, prefix)
    axes, on_axis = _others(x.ndim, axis)
    wide, dtype = widened(x), scale.dtype
    count = x.size // channels if channels else 0
    if is_training:
        if count == 0:  # as TensorFlow: NaN as running statistics, and zeros for the gradient
            nothing = xp.full((channels,), xp.nan, dtype)
            zeros = xp.zeros((channels,), dtype)
            return x, nothing, nothing, zeros, zeros
        used_mean = reduced(xp, xp.sum, wide, axes) / count
        centered = wide - used_mean.reshape(on_axis)
        used_variance = reduced(xp, xp.sum, centered * centered, axes) / count
        # The running variance is unbiased (Bessel's correction); the one that makes y is not.
        new_mean, new_variance = used_mean, used_variance * (count / max(count - 1, 1))
        if factor != 1.0:
            new_mean = widened(mean) * (1 - factor) + new_mean * factor
            new_variance = widened(variance) * (1 - factor) + new_variance * factor
    else:
        used_mean, used_variance = widened(mean), widened(variance)
        centered = wide - used_mean.reshape(on_axis)
        new_mean, new_variance = used_mean, used_variance
    factors = widened(scale) / xp.sqrt(used_variance + epsilon)
    y = centered * factors.reshape(on_axis) + widened(offset).reshape(on_axis)
    vectors = (new_mean, new_variance, used_mean, used_variance)
    return (y.astype(x.dtype), *(v.astype(dtype) for v in vectors))


@kernel("FusedBatchNorm", "FusedBatchNormV2")
def fused_batch_norm(
    xp: Any,
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float,
    exponential_avg_factor: float,
    data_format: bytes,
    is_training: bool,
) -> tuple[Any, ...]:
    """Normalizes 4-D ``x`` over all axes but the channels, then scales and offsets it.

    Training uses the batch's own statistics, and the running ones move by
    ``exponential_avg_factor``. The running variance is unbiased (divided by n - 1); the one that
    normalizes is not. An empty batch gives running statistics of NaN.
    """
    return _fused_batch_norm(
        xp,
        x,
        scale,
        offset,
        mean,
        variance,
        epsilon,
        exponential_avg_factor,
        data_format,
        is_training,
    )


@kernel("FusedBatchNormV3")
def fused_batch_norm_v3(
    xp: Any,
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float,
    exponential_avg_factor: float,
    data_format: bytes,
    is_training: bool,
) -> tuple[Any, ...]:
    """Normalizes 4-D or 5-D ``x``.

    The sixth output is empty, as that of TensorFlow's CPU kernel.
    """
    outputs = _fused_batch_norm(
        xp,
        x,
        scale,
        offset,
        mean,
        variance,
        epsilon,
        exponential_avg_factor,
        data_format,
        is_training,
    )
    # TensorFlow's cuDNN kernels keep scratch data in the third reserve, its CPU kernel nothing.
    reserve = xp.zeros((0,) if len(data_format) == 4 else (), scale.dtype)
    return (*outputs, reserve)


def _fused_batch_norm_grad(
    xp: Any,
    dy: Any,
    x: Any,
    scale: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    data_format: bytes,
    is_training: bool,
) -> tuple[Any, ...]:
    """Computes the gradients of x, scale and offset; the last two outputs are empty.

    Args:
        mean: of the batch in training, else the one that was given; likewise ``variance``.
    """
    axis = _check_x(dy, data_format)
    _check_x(x, data_format)
    if x.shape != dy.shape:
        raise errors.invalid_argument(
            f"x and y_backprop must have same shape, but x has shape {format_shape(x.shape)} and "
            f"y_backprop has shape {format_shape(dy.shape)}"
        )
    channels = x.shape[axis]
    for name, vector in (
        ("scale", scale), ("reserve_space_1", mean), ("reserve_space_2", variance),
    ):  # fmt: skip
        _check_vector(name, vector, channels)
    axes, on_axis = _others(x.ndim, axis)
    empty = xp.zeros((), mean.dtype)
    g = widened(dy)
    deviation_inverse = 1 / xp.sqrt(widened(variance) + epsilon)
    normalized = (widened(x) - widened(mean).reshape(on_axis)) * deviation_inverse.reshape(on_axis)
    offset_backprop = reduced(xp, xp.sum, g, axes)
    scale_backprop = reduced(xp, xp.sum, g * normalized, axes)
    factors = (widened(scale) * deviation_inverse).reshape(on_axis)
    if is_training and x.size:
        count = x.size // channels
        through_mean = (offset_backprop / count).reshape(on_axis)
        through_variance = (scale_backprop / count).reshape(on_axis)
        g = g - through_mean - normalized * through_variance
    return (
        (g * factors).astype(x.dtype),
        scale_backprop.astype(mean.dtype),
        offset_backprop.astype(mean.dtype),
        empty,
        empty,
    )


@kernel("FusedBatchNormGrad", "FusedBatchNormGradV2")
def fused_batch_norm_grad(
    xp: Any,
    y_backprop: Any,
    x: Any,
    scale: Any,
    reserve_space_1: Any,
    reserve_space_2: Any,
    *,
    epsilon: float,
    data_format: bytes,
    is_training: bool,
) -> tuple[Any, ...]:
    """Computes the gradients of x, scale and offset of FusedBatchNorm and FusedBatchNormV2."""
    return _fused_batch_norm_grad(
        xp,
        y_backprop,
        x,
        scale,
        reserve_space_1,
        reserve_space_2,
        epsilon,
        data_format,
        is_training,
    )


@kernel("FusedBatchNormGradV3")
def fused_batch_norm_grad_v3(
    xp: Any,
    y_backprop: Any,
    x: Any,
    scale: Any,
    reserve_space_1: Any,
    reserve_space_2: Any,
    reserve_space_3: Any,
    *,
    epsilon: float,
    data_format: bytes,
    is_training: bool,
) -> tuple[Any, ...]:
    """Computes the gradients of x, scale and offset of FusedBatchNormV3.

    ``reserve_space_3`` is unused.
    """
    return _fused_batch_norm_grad(
        xp,
        y_backprop,
        x,
        scale,
        reserve_space_1,
        reserve_space_2,
        epsilon,
        data_format,
        is_training,
    )
