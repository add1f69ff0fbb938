"""Initializers and regularizers of weights."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import (
    GraphKeys,
    Tensor,
    add_to_collection,
    get_collection,
    name_scope,
)
from flowray.client.ops import math_ops, nn_ops, random_ops, reduction_ops
from flowray.client.platform import logging
from flowray.client.tf_export import tf_export
from flowray.client.variables.initializers import _fans as fans
from flowray.proto.types import dtypes

Initializer = Callable[..., Tensor]
Regularizer = Callable[[Any], "Tensor | None"]
"""The penalty of some weights, a scalar; None for no penalty."""


# Initializers -------------------------------------------------------------------------------------

_MODES = ("FAN_IN", "FAN_OUT", "FAN_AVG")


@tf_export(
    "contrib.layers.variance_scaling_initializer", "contrib.slim.variance_scaling_initializer"
)
def variance_scaling_initializer(
    factor: float = 2.0,
    mode: str = "FAN_IN",
    uniform: bool = False,
    seed: int | None = None,
    dtype: Any = dtypes.float32,
) -> Initializer:
    """Draws with the variance ``factor / n``, where n depends on the size of the layer.

    Args:
        factor: a factor.
        mode: the meaning of n: "FAN_IN", the inputs of a neuron; "FAN_OUT", of its outputs; or
            "FAN_AVG", the mean of the two.
        uniform: whether they are distributed uniformly, and not normally.
        seed: of the random op.
        dtype: a floating type.

    Raises:
        TypeError, ValueError: a dtype or mode that is not one of these.
    """
    if not dtypes.as_dtype(dtype).is_floating:
        raise TypeError("Cannot create initializer for non-floating point type.")
    if mode not in _MODES:
        raise TypeError(f"Unknown mode {mode} [{', '.join(_MODES)}]")

    def initialize(shape: Sequence[int], dtype: Any = dtype, partition_info: Any = None) -> Tensor:
        if not dtypes.as_dtype(dtype).is_floating:
            raise TypeError("Cannot create initializer for non-floating point type.")
        fan_in, fan_out = fans(shape if partition_info is None else partition_info.full_shape)
        n = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "FAN_AVG": (fan_in + fan_out) / 2.0}[mode]
        if uniform:
            limit = math.sqrt(3.0 * factor / n)
            return random_ops.random_uniform(shape, -limit, limit, dtype, seed=seed)
        # Truncation divides the standard deviation by this, as TensorFlow rounded it here.
        stddev = math.sqrt(1.3 * factor / n)
        return random_ops.truncated_normal(shape, 0.0, stddev, dtype, seed=seed)

    return initialize


@tf_export(
    "contrib.layers.xavier_initializer",
    "contrib.layers.xavier_initializer_conv2d",
    "contrib.slim.xavier_initializer",
)
def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: Any = dtypes.float32
) -> Initializer:
    """Draws as Glorot and Bengio (2010), so that gradients keep their scale over the layers."""
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer


# Regularizers -------------------------------------------------------------------------------------


@tf_export("contrib.layers.l1_regularizer", "contrib.slim.l1_regularizer")
def l1_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """Returns a function: ``scale`` times the sum of absolute values; None for scale 0.0.

    Raises:
        ValueError: ``scale`` is an integer or negative.
    """
    return _scaled(
        scale, scope, "l1_regularizer", lambda w: reduction_ops.reduce_sum(math_ops.abs(w))
    )


@tf_export("contrib.layers.l2_regularizer", "contrib.slim.l2_regularizer")
def l2_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """Returns a function: ``scale`` times half the sum of squares; None for scale 0.0.

    Raises:
        ValueError: ``scale`` is an integer or negative.
    """
    return _scaled(scale, scope, "l2_regularizer", nn_ops.l2_loss)


@tf_export("contrib.layers.l1_l2_regularizer", "contrib.slim.l1_l2_regularizer")
def l1_l2_regularizer(
    scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None
) -> Regularizer:
    """Returns the sum of an L1 and an L2 regularizer."""
    scope = scope or "l1_l2_regularizer"
    if scale_l1 == 0.0:
        return l2_regularizer(scale_l2, scope)
    if scale_l2 == 0.0:
        return l1_regularizer(scale_l1, scope)
    return _sum([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope)


@tf_export("contrib.layers.sum_regularizer")
def sum_regularizer(
    regularizer_list: Sequence[Regularizer | None], scope: str | None = None
) -> Regularizer | None:
    """Returns the sum of some regularizers; None if there are none."""
    chosen = [r for r in regularizer_list if r is not None]
    return _sum(chosen, scope) if chosen else None


@tf_export("contrib.layers.apply_regularization")
def apply_regularization(
    regularizer: Regularizer, weights_list: Sequence[Any] | None = None
) -> Tensor:
    """Returns the sum of the penalties of ``weights_list`` and collects it as a loss.

    Args:
        regularizer: gives one penalty.
        weights_list: the weights; those of the collection ``GraphKeys.WEIGHTS`` if None or empty.

    Raises:
        ValueError: there are no weights, or a penalty is not a scalar.
    """
    weights_list = weights_list or get_collection(GraphKeys.WEIGHTS)
    if not weights_list:
        raise ValueError("No weights to regularize.")
    with name_scope("get_regularization_penalty", values=weights_list) as scope:
        given = [regularizer(w) for w in weights_list]
        penalties = [constant(0.0) if p is None else p for p in given]
        for penalty in penalties:
            if penalty.shape.ndims != 0:
                raise ValueError(
                    "regularizer must return a scalar Tensor instead of a Tensor with rank "
                    f"{penalty.shape.ndims}."
                )
        total = math_ops.add_n(penalties, name=scope)
        add_to_collection(GraphKeys.REGULARIZATION_LOSSES, total)
        return total


def _scaled(
    scale: float, scope: str | None, default_name: str, measure: Callable[[Any], Tensor]
) -> Regularizer:
    if isinstance(scale, numbers.Integral):
        raise ValueError(f"scale cannot be an integer: {scale}")
    if isinstance(scale, numbers.Real) and scale < 0.0:
        raise ValueError(f"Setting a scale less than 0 on a regularizer: {scale:g}")
    if isinstance(scale, numbers.Real) and scale == 0.0:
        logging.info("Scale of 0 disables regularizer.")
        return lambda weights, name=None: None

    def penalty(weights: Any, name: str | None = None) -> Tensor:
        with name_scope(scope or name, default_name, [weights]) as name:
            factor = convert_to_tensor(scale, dtype=weights.dtype.base_dtype, name="scale")
            return math_ops.multiply(factor, measure(weights), name=name)

    return penalty


def _sum(regularizers: Sequence[Regularizer], scope: str | None) -> Regularizer:
    def penalty(weights: Any) -> Tensor | None:
        with name_scope(scope, "sum_regularizer", [weights]) as name:
            penalties = [p for r in regularizers if (p := r(weights)) is not None]
            return math_ops.add_n(penalties, name=name) if penalties else None

    return penalty
