"""Learning rates that depend on the global step.

Each function returns a scalar Tensor that is computed anew at every step. ``decay_steps`` and the
like are numbers or scalar Tensors, and the result has the dtype of ``learning_rate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.ops.math_ops import (
    add,
    cast,
    ceil,
    cos,
    divide,
    equal,
    exp,
    floor,
    log,
    minimum,
    multiply,
    negative,
    pow,
    sqrt,
)
from flowray.client.ops.random_ops import random_normal
from flowray.client.ops.slice_ops import where, where_v2
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


def _rate(learning_rate: Any) -> Any:
    return convert_to_tensor(learning_rate, name="initial_learning_rate")


@tf_export("train.exponential_decay")
def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """Computes ``learning_rate * decay_rate ** (global_step / decay_steps)``.

    Args:
        learning_rate: the rate at the start.
        global_step: the number of the step.
        decay_steps: how many steps it takes to multiply the rate by ``decay_rate`` once.
        staircase: whether the exponent is rounded down, so that the rate falls in steps.
        name: the name of the op.
    """
    with name_scope(name or "ExponentialDecay") as scope:
        rate = _rate(learning_rate)
        steps, decay_rate = cast(decay_steps, rate.dtype), cast(decay_rate, rate.dtype)
        exponent = cast(global_step, rate.dtype) / steps
        if staircase:
            exponent = floor(exponent)
        return multiply(rate, pow(decay_rate, exponent), name=scope)


@tf_export("train.natural_exp_decay")
def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """Computes ``learning_rate * exp(-decay_rate * global_step / decay_steps)``."""
    rate_of_step = exp(negative(decay_rate))
    return exponential_decay(learning_rate, global_step, decay_steps, rate_of_step, staircase, name)


@tf_export("train.inverse_time_decay")
def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """Computes ``learning_rate / (1 + decay_rate * global_step / decay_steps)``."""
    with name_scope(name or "InverseTimeDecay") as scope:
        rate = _rate(learning_rate)
        steps, decay_rate = cast(decay_steps, rate.dtype), cast(decay_rate, rate.dtype)
        time = cast(global_step, rate.dtype) / steps
        if staircase:
            time = floor(time)
        one = cast(constant(1), rate.dtype)
        return divide(rate, add(one, multiply(decay_rate, time)), name=scope)


@tf_export("train.piecewise_constant", "train.piecewise_constant_decay")
def piecewise_constant(
    x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None
) -> Tensor:
    """Returns ``values[i]``, where ``i`` is the number of boundaries that are less than ``x``.

    Args:
        x: the global step, or another scalar.
        boundaries: increasing numbers or tensors of the dtype of ``x``.
        values: one number or tensor more than there are boundaries, all of one dtype.
        name: the name of the scope.

    Raises:
        ValueError: the lengths or the dtypes do not fit.
    """
    limits = [convert_to_tensor(b) for b in boundaries]
    results = [convert_to_tensor(v) for v in values]
    x = convert_to_tensor(x)
    wanted = x.dtype.base_dtype
    for i, limit in enumerate(limits):
        dtype = limit.dtype.base_dtype
        if dtype != wanted:
            # The one conversion that loses nothing, and the usual case: the step is an int64.
            if (dtype, wanted) != (dtypes.int32, dtypes.int64):
                raise ValueError(f"Boundaries ({dtype}) must have the same dtype as x ({wanted}).")
            limits[i] = cast(limit, wanted)
    first = results[0].dtype.base_dtype
    for result in results[1:]:
        if result.dtype.base_dtype != first:
            raise ValueError(
                "Values must have elements all with the same dtype "
                f"({first} vs {result.dtype.base_dtype})."
            )
    if len(limits) != len(results) - 1:
        raise ValueError("The length of boundaries should be 1 less than the length of values")
    # TensorFlow has a tf.case here; scalars are as well all computed and then selected.
    with name_scope(name or "PiecewiseConstant"):
        chosen = results[0]
        for limit, result in zip(limits, results[1:], strict=True):
            chosen = where(x > limit, result, chosen)
        return chosen


@tf_export("train.polynomial_decay")
def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Tensor:
    """Decays from ``learning_rate`` to ``end_learning_rate`` in ``decay_steps`` steps.

    Args:
        learning_rate: the rate at the start.
        global_step: the number of the step.
        decay_steps: how many steps the decay takes.
        end_learning_rate: the rate at its end.
        power: of the polynomial; with 1 the rate falls linearly.
        cycle: whether, after ``decay_steps`` steps, the rate rises again, to decay more slowly;
            otherwise it stays ``end_learning_rate``.
        name: the name of the op.
    """
    with name_scope(name or "PolynomialDecay") as scope:
        rate = _rate(learning_rate)
        dtype = rate.dtype
        end, power = cast(end_learning_rate, dtype), cast(power, dtype)
        step, steps = cast(global_step, dtype), cast(decay_steps, dtype)
        if cycle:
            # The first multiple of decay_steps that is not less than the step; at least one.
            cycles = ceil(step / decay_steps)
            steps = multiply(steps, where_v2(equal(step, 0), 1.0, cycles))
        else:
            step = minimum(step, steps)
        done: Any = divide(step, steps)
        return add(multiply(rate - end, pow(1 - done, power)), end, name=scope)


def _half_cosine(fraction: Any) -> Any:
    """Goes from 1 to 0, and back, as ``fraction`` goes from 0 to 1 and to 2."""
    cosine: Any = cos(constant(math.pi, fraction.dtype) * fraction)
    return 0.5 * (1.0 + cosine)


@tf_export("train.cosine_decay")
def cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Tensor:
    """Decays to ``alpha * learning_rate`` along half a cosine (Loshchilov and Hutter, 2016).

    Loshchilov and Hutter, 2016.

    Args:
        learning_rate: the rate at the start.
        global_step: the number of the step.
        decay_steps: how many steps the decay takes.
        alpha: the least rate, as a fraction of ``learning_rate``.
        name: the name of the scope.
    """
    with name_scope(name or "CosineDecay"):
        rate = _rate(learning_rate)
        steps = cast(decay_steps, rate.dtype)
        step = minimum(cast(global_step, rate.dtype), steps)
        return multiply(rate, (1 - alpha) * _half_cosine(step / steps) + alpha)


@tf_export("train.cosine_decay_restarts")
def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: Any = 2.0,
    m_mul: Any = 1.0,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Tensor:
    """Computes ``cosine_decay`` over and over again ("warm restarts").

    Args:
        learning_rate: the rate at the start.
        global_step: the number of the step.
        first_decay_steps: how many steps the first decay takes.
        t_mul: how many times longer each decay is than the one before.
        m_mul: how many times higher each decay starts than the one before.
        alpha: the least rate, as a fraction of ``learning_rate``.
        name: the name of the op.
    """
    with name_scope(name or "SGDRDecay") as scope:
        rate = _rate(learning_rate)
        dtype = rate.dtype
        first, alpha = cast(first_decay_steps, dtype), cast(alpha, dtype)
        t_mul, m_mul = cast(t_mul, dtype), cast(m_mul, dtype)
        time = cast(global_step, dtype) / first
        # TensorFlow has a tf.cond here; both ways are as well computed and one is selected.
        equally_long = equal(t_mul, 1.0)
        lengthened: Any = log(1.0 - time * (1.0 - t_mul))
        restarts = where(equally_long, floor(time), floor(lengthened / log(t_mul)))
        length = t_mul**restarts
        fraction = where(
            equally_long, time - restarts, (time - (1.0 - length) / (1.0 - t_mul)) / length
        )
        decayed = (1 - alpha) * m_mul**restarts * _half_cosine(fraction) + alpha
        return multiply(rate, decayed, name=scope)


@tf_export("train.linear_cosine_decay")
def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """Computes a linear decay times a cosine (Bello et al., 2017).

    ``learning_rate * ((alpha + linear) * cosine + beta)``, where ``linear`` goes from 1 to 0.

    Args:
        learning_rate: the rate at the start.
        global_step: the number of the step.
        decay_steps: how many steps the decay takes.
        num_periods: how many periods of the cosine lie in the decay.
        alpha, beta: see above.
        name: the name of the op.
    """
    with name_scope(name or "LinearCosineDecay") as scope:
        rate = _rate(learning_rate)
        parts = _LinearCosine(rate.dtype, decay_steps, num_periods, alpha, beta)
        linear = parts.linear(global_step)
        return multiply(rate, parts.combined(linear), name=scope)


@tf_export("train.noisy_linear_cosine_decay")
def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: Any = 1.0,
    variance_decay: Any = 0.55,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """Computes ``linear_cosine_decay`` with Gaussian noise added to the linear part.

    Args:
        initial_variance: of the noise, at the start.
        variance_decay: it is divided by ``(1 + global_step) ** variance_decay``.
        learning_rate, global_step, decay_steps, num_periods, alpha, beta, name: see there.
    """
    with name_scope(name or "NoisyLinearCosineDecay") as scope:
        rate = _rate(learning_rate)
        steps = cast(decay_steps, rate.dtype)
        variance = cast(initial_variance, rate.dtype)
        variance_decay = cast(variance_decay, rate.dtype)
        parts = _LinearCosine(rate.dtype, steps, num_periods, alpha, beta)
        linear = parts.linear(global_step)
        deviation = sqrt(variance / pow(1.0 + parts.step, variance_decay))
        noise = random_normal(linear.shape, stddev=deviation, dtype=rate.dtype)
        return multiply(rate, parts.combined(linear + noise), name=scope)


class _LinearCosine:
    """``(alpha + linear) * cosine + beta``, and what it is made of."""

    def __init__(
        self, dtype: Any, decay_steps: Any, num_periods: Any, alpha: Any, beta: Any
    ) -> None:
        self._dtype = dtype
        self._steps, self._periods = cast(decay_steps, dtype), cast(num_periods, dtype)
        self._alpha, self._beta = cast(alpha, dtype), cast(beta, dtype)
        self.step: Any = None

    def linear(self, global_step: Any) -> Any:
        """From 1 to 0, and then 0."""
        self.step = minimum(cast(global_step, self._dtype), self._steps)
        return (self._steps - self.step) / self._steps

    def combined(self, linear: Any) -> Any:
        cosine = _half_cosine(2.0 * self._periods * (self.step / self._steps))
        return (self._alpha + linear) * cosine + self._beta
