"""User functions for random values, equal to TensorFlow's for equal seeds.

Seeds follow TensorFlow 1.15's rules (``tf.set_random_seed``): if only the graph has a seed, an op's
own is the number of ops made before it, so these functions make TensorFlow's ops in TensorFlow's
order.

Seeds follow TensorFlow 1.15's rules (``tf.set_random_seed``): where only the graph has a seed, an
op's own is the number of ops made before it, so these functions make TensorFlow's ops in
TensorFlow's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    Tensor,
    colocate_with,
    control_dependencies,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op
from flowray.client.framework.random_seed import get_seed
from flowray.client.ops import array_ops
from flowray.client.ops.reduction_ops import reduce_all
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import FLOATING, INDEX, DType


def _shape_tensor(shape: Any) -> Tensor:
    empty = isinstance(shape, list | tuple) and not shape
    return convert_to_tensor(shape, dtypes.int32 if empty else None, name="shape")


@tf_export("random_uniform", "random.uniform")
def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws numbers uniformly from [minval, maxval).

    Args:
        shape: the shape, an int32 or int64 vector.
        minval, maxval: the bounds, of ``dtype``; scalars, or for floating types anything that
            broadcasts. ``maxval`` is 1 unless given; integers must have one.
        dtype: float16, bfloat16, float32, float64, int32 or int64.
        seed: the op's seed.
        name: of the op.

    Raises:
        ValueError: the dtype is not one of these, or an integer type has no ``maxval``.
    """
    dtype = dtypes.as_dtype(dtype)
    if dtype not in FLOATING | INDEX:
        raise ValueError(f"Invalid dtype {dtype!r}")
    if maxval is None:
        if dtype.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {dtype!r}")
        maxval = 1
    with name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        shape = _shape_tensor(shape)
        low = convert_to_tensor(minval, dtype, name="min")
        high = convert_to_tensor(maxval, dtype, name="max")
        seed1, seed2 = get_seed(seed)
        result: Tensor
        if dtype.is_integer:
            result = apply_op(
                "RandomUniformInt", shape, low, high, seed=seed1, seed2=seed2, name=scope
            )
        else:
            random = apply_op("RandomUniform", shape, dtype=dtype, seed=seed1, seed2=seed2)
            width = apply_op("Sub", high, low, name="sub")
            scaled = apply_op("Mul", random, width, name="mul")
            result = apply_op("Add", scaled, low, name=scope)
        return result


@tf_export("random_normal", "random.normal")
def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws normally distributed numbers.

    Args:
        shape: the shape, an int32 or int64 vector.
        mean, stddev: of ``dtype``; anything that broadcasts.
        dtype: float16, bfloat16, float32 or float64.
        seed: the op's seed.
        name: of the op.
    """
    return _normal("random_normal", "RandomStandardNormal", shape, mean, stddev, dtype, seed, name)


@tf_export("truncated_normal", "random.truncated_normal")
def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws as ``random_normal``, but numbers beyond two standard deviations again."""
    return _normal("truncated_normal", "TruncatedNormal", shape, mean, stddev, dtype, seed, name)


def _normal(
    default_name: str,
    op_type: str,
    shape: Any,
    mean: Any,
    stddev: Any,
    dtype: Any,
    seed: int | None,
    name: str | None,
) -> Tensor:
    with name_scope(name, default_name, [shape, mean, stddev]) as scope:
        shape = _shape_tensor(shape)
        mean = convert_to_tensor(mean, dtype, name="mean")
        stddev = convert_to_tensor(stddev, dtype, name="stddev")
        seed1, seed2 = get_seed(seed)
        random = apply_op(op_type, shape, dtype=dtype, seed=seed1, seed2=seed2)
        result: Tensor = apply_op(
            "Add", apply_op("Mul", random, stddev, name="mul"), mean, name=scope
        )
        return result


@tf_export("random_shuffle", "random.shuffle")
def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """Permutes the slices of ``value`` along its first dimension at random."""
    seed1, seed2 = get_seed(seed)
    result: Tensor = apply_op("RandomShuffle", value, seed=seed1, seed2=seed2, name=name)
    return result


@tf_export("random_crop", "image.random_crop")
def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """Takes a slice of ``value``, of shape ``size`` (an int32 vector), at a random place.

    The run fails with InvalidArgumentError where ``value`` is smaller than ``size``.
    """
    with name_scope(name, "random_crop", [value, size]) as scope:
        value = convert_to_tensor(value, name="value")
        size = convert_to_tensor(size, dtypes.int32, name="size")
        shape = array_ops.shape(value)
        fits = reduce_all(apply_op("GreaterEqual", shape, size))
        with name_scope(None, "Assert"):
            data = ["Need value.shape >= size, got ", shape, size]
            check = apply_op("Assert", fits, data, summarize=1000)
        with control_dependencies([check]), colocate_with(shape):
            shape = apply_op("Identity", shape, name="control_dependency")
        limit = apply_op("Add", apply_op("Sub", shape, size, name="sub"), 1, name="add")
        draws = random_uniform(
            array_ops.shape(shape), maxval=size.dtype.max, dtype=size.dtype, seed=seed
        )
        offset = apply_op("FloorMod", draws, limit, name="mod")
        result: Tensor = apply_op("Slice", value, offset, size, name=scope)
        return result


@tf_export("multinomial", "random.multinomial")
def multinomial(
    logits: Any,
    num_samples: Any,
    seed: int | None = None,
    name: str | None = None,
    output_dtype: Any = None,
) -> Tensor:
    """Draws samples of classes by unnormalized log-probabilities.

    Args:
        logits: [batch, classes].
        num_samples: how many for each row, an int32 scalar.
        seed: the op's seed.
        name: of the op.
        output_dtype: int64 (the default) or int32.

    Returns:
        [batch, num_samples].
    """
    with name_scope(name, "multinomial", [logits]):
        return _categorical(logits, num_samples, output_dtype, seed)


@tf_export("random.categorical")
def categorical(
    logits: Any,
    num_samples: Any,
    dtype: Any = None,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws samples of classes: ``multinomial`` by its newer name."""
    with name_scope(name, "categorical", [logits]):
        return _categorical(logits, num_samples, dtype, seed)


def _categorical(logits: Any, num_samples: Any, dtype: Any, seed: int | None) -> Tensor:
    logits = convert_to_tensor(logits, name="logits")
    seed1, seed2 = get_seed(seed)
    result: Tensor = apply_op(
        "Multinomial", logits, num_samples, seed=seed1, seed2=seed2, output_dtype=dtype
    )
    return result


@tf_export("random_gamma", "random.gamma")
def random_gamma(
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws gamma distributed numbers for each pair of alpha and beta.

    Args:
        shape: how many for each pair, an int32 vector.
        alpha: the shape parameters, of ``dtype``.
        beta: the inverse scale parameters, which broadcast with ``alpha``; 1 if None.
        dtype: float16, float32 or float64.
        seed: the op's seed.
        name: of the op.

    Returns:
        ``shape`` followed by the broadcast shape of ``alpha`` and ``beta``.
    """
    wanted: DType = dtypes.as_dtype(dtype)
    with name_scope(name, "random_gamma", [shape, alpha, beta]):
        shape = convert_to_tensor(shape, dtypes.int32, name="shape")
        alpha = convert_to_tensor(alpha, wanted, name="alpha")
        beta = convert_to_tensor(1 if beta is None else beta, wanted, name="beta")
        both = apply_op("BroadcastArgs", array_ops.shape(alpha), array_ops.shape(beta))
        alpha = apply_op("BroadcastTo", alpha, both)
        seed1, seed2 = get_seed(seed)
        random = apply_op("RandomGamma", shape, alpha, seed=seed1, seed2=seed2)
        tiny = np.finfo(wanted.as_numpy_dtype).tiny
        result: Tensor = apply_op(
            "Maximum", tiny, apply_op("RealDiv", random, beta, name="truediv")
        )
        return result


@tf_export("random_poisson", "random.poisson")
def random_poisson(
    lam: Any,
    shape: Any,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Draws Poisson distributed numbers for each rate.

    Args:
        lam: the rates: float16, float32, float64, int32 or int64.
        shape: how many for each rate, an int32 vector.
        dtype: of the result; one of those of ``lam``.
        seed: the op's seed.
        name: of the op.

    Returns:
        ``shape`` followed by the shape of ``lam``.
    """
    with name_scope(name, "random_poisson", [lam, shape]):
        shape = convert_to_tensor(shape, dtypes.int32, name="shape")
        seed1, seed2 = get_seed(seed)
        result: Tensor = apply_op(
            "RandomPoissonV2", shape, lam, dtype=dtype, seed=seed1, seed2=seed2
        )
        return result
