"""User functions for moments and normalization."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.array_ops import squeeze, stop_gradient, zeros_like
from flowray.client.ops.math_ops import cast
from flowray.client.ops.reduction_ops import deprecated_argument, reduce_mean, reduce_sum
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes

_SMALLEST_EPSILON = 1.001e-5
"""The least epsilon of cuDNN; TensorFlow raises smaller ones to it everywhere."""


@tf_export("nn.moments")
def moments(
    x: Any,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Any, Any]:
    """Computes the mean and the (biased) variance of ``x`` over ``axes``.

    Args:
        x: floating tensor.
        axes: list of dimensions.
        shift: ignored, as in TensorFlow.
        keepdims: whether the reduced dimensions stay, with length 1.
    """
    keepdims = deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims)
    with name_scope(name, "moments", [x, axes]):
        x = convert_to_tensor(x, name="x")
        # Sums of squares would overflow float16.
        y = cast(x, dtypes.float32) if x.dtype == dtypes.float16 else x
        mean = reduce_mean(y, axes, keepdims=True, name="mean")
        # The variance's gradient does not pass through the mean: it would be 0 there.
        difference = apply_op("SquaredDifference", y, stop_gradient(mean))
        variance = reduce_mean(difference, axes, keepdims=True, name="variance")
        if not keepdims:
            mean, variance = squeeze(mean, axes), squeeze(variance, axes)
        if x.dtype == dtypes.float16:
            return cast(mean, dtypes.float16), cast(variance, dtypes.float16)
        return mean, variance


@tf_export("nn.weighted_moments")
def weighted_moments(
    x: Any,
    axes: Any,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Any, Any]:
    """Computes the mean and the variance of ``x`` over ``axes``, elements counted by weight.

    Args:
        frequency_weights: broadcastable to ``x``: how often each element is there.
    """
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "weighted_moments", [x, frequency_weights, axes]):
        x = convert_to_tensor(x, name="x")
        weights = convert_to_tensor(frequency_weights, name="frequency_weights")
        # Sums of squares would overflow float16.
        wide = x.dtype in (dtypes.float16, dtypes.bfloat16)
        values = cast(x, dtypes.float32) if wide else x
        weights = cast(weights, values.dtype)
        # Sums over broadcast axes; the weights alone may have fewer elements than x.
        total = reduce_sum(weights * values, axes, keepdims=True, name="weighted_input_sum")
        everywhere = weights + zeros_like(values)
        weight = reduce_sum(everywhere, axes, keepdims=True, name="sum_of_weights")
        divisor = apply_op("Reciprocal", weight, name="inv_weight_sum")
        mean = apply_op("Mul", total, divisor)
        distance = apply_op("SquaredDifference", values, mean)
        spread = reduce_sum(weights * distance, axes, keepdims=True, name="weighted_distsq")
        variance = apply_op("Mul", spread, divisor)
        if not keepdims:
            mean, variance = squeeze(mean, axes), squeeze(variance, axes)
        return (cast(mean, x.dtype), cast(variance, x.dtype)) if wide else (mean, variance)


@tf_export("nn.sufficient_statistics")
def sufficient_statistics(
    x: Any,
    axes: Any,
    shift: Any = None,
    keep_dims: bool | None = None,
    name: str | None = None,
    keepdims: bool | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Returns ``(count, sum, sum of squares, shift)`` over ``axes``, for ``normalize_moments``.

    The sums are of ``x - shift`` (of ``x`` if ``shift`` is None).
    """
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "sufficient_statistics", [x, shift]):
        x = convert_to_tensor(x, name="x")
        shape = x.shape_tuple
        if shape is not None and all(shape[d] is not None for d in axes):
            product = 1
            for d in axes:
                product *= shape[d] or 0
            counts = constant(product, dtype=x.dtype.base_dtype, name="count")
        else:
            dims = apply_op("GatherV2", apply_op("Shape", x), list(axes), 0)
            counts = cast(apply_op("Prod", dims, [0]), x.dtype.base_dtype)
        if shift is not None:
            shift = convert_to_tensor(shift, x.dtype.base_dtype, name="shift")
            total = reduce_sum(x - shift, axes, keepdims=keepdims, name="mean_ss")
            squares = apply_op("SquaredDifference", x, shift)
        else:
            total = reduce_sum(x, axes, keepdims=keepdims, name="mean_ss")
            squares = apply_op("Square", x)
        return counts, total, reduce_sum(squares, axes, keepdims=keepdims, name="var_ss"), shift


@tf_export("nn.normalize_moments")
def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> tuple[Any, Any]:
    """Computes the mean and variance from ``sufficient_statistics``."""
    with name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        divisor = apply_op("Reciprocal", counts, name="divisor")
        shifted = apply_op("Mul", mean_ss, divisor, name="shifted_mean")
        mean = shifted if shift is None else apply_op("AddV2", shifted, shift, name="mean")
        second = apply_op("Mul", variance_ss, divisor)
        return mean, apply_op("Sub", second, apply_op("Square", shifted), name="variance")


@tf_export("nn.batch_normalization")
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: float,
    name: str | None = None,
) -> Any:
    """Computes ``(x - mean) / sqrt(variance + variance_epsilon) * scale + offset``.

    ``offset`` and ``scale`` may be None.
    """
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        x = convert_to_tensor(x, name="x")
        factor = apply_op("Rsqrt", variance + variance_epsilon)
        if scale is not None:
            factor *= scale
        scaled = x * cast(factor, x.dtype)
        # The shift is computed as a whole first: it is small, x is large.
        shift = -mean * factor if offset is None else offset - mean * factor
        return scaled + cast(shift, x.dtype)


@tf_export("nn.batch_norm_with_global_normalization")
def batch_norm_with_global_normalization(
    t: Any = None,
    m: Any = None,
    v: Any = None,
    beta: Any = None,
    gamma: Any = None,
    variance_epsilon: float | None = None,
    scale_after_normalization: bool | None = None,
    name: str | None = None,
    input: Any = None,
    mean: Any = None,
    variance: Any = None,
) -> Any:
    """Computes ``batch_normalization`` of ``t`` by the moments ``m`` and ``v``.

    It is the older function; ``input``, ``mean`` and ``variance`` are newer names.
    """
    t = deprecated_argument("input", input, "t", t)
    m = deprecated_argument("mean", mean, "m", m)
    v = deprecated_argument("variance", variance, "v", v)
    scale = gamma if scale_after_normalization else None
    return batch_normalization(t, m, v, beta, scale, variance_epsilon, name)  # type: ignore[arg-type]


@tf_export("nn.fused_batch_norm")
def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
    exponential_avg_factor: float = 1.0,
) -> tuple[Any, Any, Any]:
    """Computes batch normalization as one op: ``(y, mean, variance)`` (Ioffe and Szegedy, 2015).

    Args:
        x: float16, bfloat16 or float32, of 4 or 5 dimensions as ``data_format`` says.
        scale, offset: float32, one number per channel.
        mean, variance: the population's (for inference, or if the factor is below 1), else None.
        exponential_avg_factor: the weight of the batch in the returned mean and variance.

    Raises:
        ValueError: ``mean`` or ``variance`` is missing.
    """
    if (not is_training or exponential_avg_factor != 1.0) and (mean is None or variance is None):
        raise ValueError(
            "Both `mean` and `variance` must be a 1D tensor when `is_training` is False or "
            f"`exponential_avg_factor` != 1.0. Received: `mean` {mean!r} and `variance` "
            f"{variance!r}"
        )
    x = convert_to_tensor(x, name="input")
    scale = convert_to_tensor(scale, name="scale")
    offset = convert_to_tensor(offset, name="offset")
    mean, variance = (
        constant([], dtype=dtypes.float32) if given is None else given for given in (mean, variance)
    )
    result = apply_op(
        "FusedBatchNormV3",
        x,
        scale,
        offset,
        mean,
        variance,
        epsilon=max(epsilon, _SMALLEST_EPSILON),
        exponential_avg_factor=exponential_avg_factor,
        data_format=data_format,
        is_training=is_training,
        name=name,
    )
    return result.y, result.batch_mean, result.batch_variance


@tf_export("linalg.l2_normalize", "math.l2_normalize", "nn.l2_normalize")
def l2_normalize(
    x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None
) -> Tensor:
    """Computes ``x / sqrt(max(sum(x ** 2), epsilon))``, the sum over ``axis`` (None: over all)."""
    axis = deprecated_argument("axis", axis, "dim", dim)
    with name_scope(name, "l2_normalize", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        square_sum = reduce_sum(apply_op("Square", x), axis, keepdims=True)
        inverse = apply_op("Rsqrt", apply_op("Maximum", square_sum, epsilon))
        return output_of("Mul", x, inverse, name=scope)


@tf_export("nn.local_response_normalization", "nn.lrn")
def local_response_normalization(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1,
    alpha: float = 1,
    beta: float = 0.5,
    name: str | None = None,
) -> Tensor:
    """Computes ``input / (bias + alpha * sqr_sum) ** beta``.

    ``sqr_sum`` is the sum of squares over neighboring channels (Krizhevsky et al., 2012).

    Args:
        input: ``[batch, height, width, channels]``.
        depth_radius: how many channels to either side are neighbors.
    """
    return output_of(
        "LRN", input, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta, name=name
    )


lrn = local_response_normalization
