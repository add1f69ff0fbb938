"""Kernels of random values, equal to TensorFlow's for equal seeds.

Normal values of float32 may differ from TensorFlow's in the last bit, since libraries round sine
and logarithm differently. All else is equal bit for bit. (TensorFlow splits Multinomial over very
large batches among threads, and its result depends on their number; here it never does.)
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.execution import xla
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.support import philox
from flowray.worker.kernels.support.philox import RESERVED, Stream
from flowray.worker.state.store import Variable

Array = Any
"""A numpy or a JAX array."""


def _initial_state(*, seed: int, seed2: int, **_: Any) -> np.ndarray[Any, Any]:
    return philox.initial_state(seed, seed2)


def _dims(shape: np.ndarray[Any, Any]) -> tuple[int, ...]:
    if shape.ndim != 1:
        raise errors.invalid_argument(
            f"shape must be a vector of {{int32,int64}}, got shape {format_shape(shape.shape)}"
        )
    for size in shape:
        if size < 0:
            raise errors.invalid_argument(f"Dimension {size} must be >= 0")
    return tuple(int(size) for size in shape)


def _drawn_by(draw: Callable[..., Array]) -> Callable[..., Array]:
    def random(
        xp: Any, shape: Array, *, dtype: DType, seed: int, seed2: int, state: Variable
    ) -> Array:
        dims = _dims(shape)
        count = prod(dims)
        stream = philox.reserve(xp, state, count * RESERVED)
        return draw(xp, stream, count, dtype.as_numpy_dtype).reshape(dims)

    return random


for _name, _draw in {
    "RandomUniform": philox.uniform,
    "RandomStandardNormal": philox.normal,
    "TruncatedNormal": philox.truncated_normal,
}.items():
    add_kernel(_name, _drawn_by(_draw), _initial_state)


@kernel("RandomUniformInt", state=_initial_state)
def random_uniform_int(
    xp: Any, shape: Array, minval: Array, maxval: Array, *, seed: int, seed2: int, state: Variable
) -> Array:
    """Draws integers in ``[minval, maxval)``, scalars of int32 or int64.

    Raises:
        InvalidArgumentError: ``minval >= maxval`` and the result is not empty.
    """
    for name, bound in (("minval", minval), ("maxval", maxval)):
        if bound.ndim != 0:
            raise errors.invalid_argument(
                f"{name} must be 0-D, got shape {format_shape(bound.shape)}"
            )
    dims = _dims(shape)
    count = prod(dims)
    if count:
        check(
            minval < maxval,
            lambda low, high: errors.invalid_argument(f"Need minval < maxval, got {low} >= {high}"),
            minval,
            maxval,
        )
    stream = philox.reserve(xp, state, count * RESERVED)
    return philox.uniform_int(xp, stream, count, minval, maxval).reshape(dims)


@kernel("RandomShuffle", state=_initial_state)
def random_shuffle(xp: Any, value: Array, *, seed: int, seed2: int, state: Variable) -> Array:
    """Shuffles along the first axis."""
    if value.ndim == 0 or value.shape[0] <= 1:
        return value
    count = value.shape[0]
    stream = philox.reserve(xp, state, -(-(count - 1) // 4))
    return value[philox.permutation(xp, stream, count)]


@kernel("Multinomial", state=_initial_state)
def multinomial(
    xp: Any,
    logits: Array,
    num_samples: Array,
    *,
    output_dtype: DType,
    seed: int,
    seed2: int,
    state: Variable,
) -> Array:
    """Draws ``num_samples`` classes for each row of unnormalized log probabilities.

    Logits that are not finite have probability 0.
    """
    if logits.ndim != 2:
        raise errors.invalid_argument(
            f"logits should be a matrix, got shape {format_shape(logits.shape)}"
        )
    if num_samples.ndim != 0:
        raise errors.invalid_argument(
            f"num_samples should be a scalar, got shape {format_shape(num_samples.shape)}"
        )
    samples = int(num_samples)
    if samples < 0:
        raise errors.invalid_argument(f"num_samples should be non-negative, got {samples}")
    rows, classes = logits.shape
    if not classes:
        raise errors.invalid_argument(f"num_classes should be positive, got {classes}")
    result_type = output_dtype.as_numpy_dtype
    if not rows * samples:
        return xp.zeros((rows, samples), result_type)
    stream = philox.reserve(xp, state, 2 * rows * (-(-samples // 4) * 4) * RESERVED)
    pairs = philox.words(xp, stream, 2 * rows * samples).reshape(-1, 2)
    finite = xp.isfinite(logits)
    wide = logits.astype(xp.float64)
    largest = xp.max(xp.where(finite, wide, -np.inf), 1, keepdims=True)
    cumulative = xp.cumsum(xp.where(finite, xp.exp(wide - largest), 0), 1)
    wanted = philox.unit_double(xp, pairs).reshape(rows, samples) * cumulative[:, -1:]
    # Finds the first class whose cumulative weight exceeds the target, by bisection in all rows.
    low, high = xp.zeros((rows, samples), xp.int64), xp.full((rows, samples), classes)
    for _ in range(classes.bit_length()):
        middle = (low + high) // 2
        at = xp.take_along_axis(cumulative, xp.minimum(middle, classes - 1), 1)
        right = (at <= wanted) & (middle < high)
        low, high = xp.where(right, middle + 1, low), xp.where(right, high, middle)
    return low.astype(result_type)


# Rejection sampling ------------------------------------------------------------------------------


class _Draws:
    """A generator for each output: 256 blocks, from which it draws what it needs.

    ``uniform`` and ``normal`` draw one value for each of the outputs ``which`` (indices). Both make
    two values of a block and, as TensorFlow's, return the second one first.
    """

    def __init__(self, stream: Stream, count: int) -> None:
        self._stream = stream
        self._next = np.arange(count, dtype=np.uint64) * np.uint64(RESERVED)
        self._kept = {kind: np.empty((count, 2)) for kind in ("uniform", "normal")}
        self._left = {kind: np.zeros(count, np.int8) for kind in ("uniform", "normal")}

    def uniform(self, which: Array) -> Array:
        return self._draw("uniform", which)

    def normal(self, which: Array) -> Array:
        return self._draw("normal", which)

    def _draw(self, kind: str, which: Array) -> Array:
        kept, left = self._kept[kind], self._left[kind]
        empty = which[left[which] == 0]
        if len(empty):
            block = philox.blocks(np, self._stream, self._next[empty])
            self._next[empty] += np.uint64(1)
            if kind == "normal":
                kept[empty] = philox.normals(np, block, double=True)
            else:
                kept[empty] = philox.unit_double(np, block.reshape(-1, 2)).reshape(-1, 2)
            left[empty] = 2
        left[which] -= 1
        return kept[which, left[which]]


def _per_parameter(
    shape: Array, parameter: Array, state: Variable, sample: Callable[[_Draws, Array], Array]
) -> Array:
    """Draws float64 samples of shape ``shape + parameter.shape``.

    Args:
        sample: gets the parameter of each output. TensorFlow orders the outputs so that all of one
            parameter follow one another, while in the result they are apart.
    """
    dims = _dims(shape)
    each = prod(dims)
    count = each * parameter.size
    draws = _Draws(philox.reserve(np, state, count * RESERVED), count)
    values = sample(draws, np.repeat(parameter.astype(np.float64).reshape(-1), each))
    return values.reshape(parameter.size, each).T.reshape(dims + parameter.shape)


@kernel("RandomGamma", state=_initial_state)
def random_gamma(
    xp: Any, shape: Array, alpha: Array, *, seed: int, seed2: int, state: Variable
) -> Array:
    """Draws from the gamma distribution with shape parameters ``alpha``.

    Returns:
        Samples of shape ``shape + alpha.shape``.
    """
    return _per_parameter(shape, alpha, state, _gamma).astype(alpha.dtype)


def _gamma(draws: _Draws, alpha: Array) -> Array:
    """Draws by Marsaglia and Tsang, "A simple method for generating gamma variables".

    Alpha 1 by log.
    """
    result = np.empty(len(alpha))
    exponential = np.flatnonzero(alpha == 1)
    result[exponential] = -np.log1p(-draws.uniform(exponential))
    d = alpha + np.where(alpha < 1, 2.0 / 3, -1.0 / 3)
    c = 1.0 / 3 / np.sqrt(d)
    left = np.flatnonzero(alpha != 1)
    while len(left):
        x = draws.normal(left)
        v = 1 + c[left] * x
        possible = ~(v <= 0)
        which, x, v = left[possible], x[possible], v[possible] ** 3
        u = draws.uniform(which)
        accepted = (u < 1 - 0.0331 * (x * x) * (x * x)) | (
            np.log(u) < 0.5 * x * x + d[which] * (1 - v + np.log(v))
        )
        # The test never accepts a NaN, and TensorFlow would try for ever.
        accepted |= np.isnan(d[which])
        done = which[accepted]
        result[done] = d[done] * v[accepted]
        small = done[alpha[done] < 1]
        result[small] *= draws.uniform(small) ** (1 / alpha[small])
        left = np.setdiff1d(left, done, assume_unique=True)
    return result


@kernel("RandomGammaGrad")
def random_gamma_grad(xp: Any, alpha: Array, sample: Array) -> Array:
    """Computes the derivative of a gamma sample with respect to ``alpha``."""
    result = xla.jax().lax.random_gamma_grad(*xp.broadcast_arrays(alpha, sample))
    return xp.asarray(result)


@kernel("RandomPoissonV2", state=_initial_state)
def random_poisson(
    xp: Any,
    shape: Array,
    rate: Array,
    *,
    dtype: DType,
    seed: int,
    seed2: int,
    state: Variable,
) -> Array:
    """Draws from the Poisson distribution with these rates: ``shape + rate.shape``.

    A NaN rate gives NaN; an infinite one gives infinity, or 0 for integer types.
    """
    largest = float(dtype.max)

    def sample(draws: _Draws, rates: Array) -> Array:
        result = np.full(len(rates), np.inf if dtype.is_floating else 0.0)
        _poisson_small(draws, rates, np.flatnonzero(rates < 10), largest, result)
        large = np.flatnonzero((rates >= 10) & (rates < np.inf))
        _poisson_large(draws, rates, large, largest, result)
        result[np.isnan(rates)] = np.nan
        return result

    return _per_parameter(shape, rate, state, sample).astype(dtype.as_numpy_dtype)


def _poisson_small(draws: _Draws, rates: Array, left: Array, largest: float, result: Array) -> None:
    """Draws by Knuth: counts the uniform values until their product is below exp(-rate)."""
    bound, product = np.exp(-rates), np.ones(len(rates))
    events = 0
    while len(left):
        product[left] *= draws.uniform(left)
        done = product[left] <= bound[left]
        result[left[done]] = min(events, largest)
        left = left[~done]
        events += 1


def _poisson_large(draws: _Draws, rates: Array, left: Array, largest: float, result: Array) -> None:
    """Draws by the transformed rejection method.

    Hörmann, "The transformed rejection method for generating Poisson random variables".
    """
    from scipy.special import gammaln  # noqa: PLC0415 - slow, and few graphs need it

    while len(left):
        rate = rates[left]
        b = 0.931 + 2.53 * np.sqrt(rate)
        a = -0.059 + 0.02483 * b
        inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
        u = draws.uniform(left) - 0.5
        v = draws.uniform(left)
        margin = 0.5 - np.abs(u)
        k = np.floor((2 * a / margin + b) * u + rate + 0.43)
        surely = (margin >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        refused = (k < 0) | ((margin < 0.013) & (v > margin))
        s = np.log(v * inverse_alpha / (a / (margin * margin) + b))
        t = -rate + k * np.log(rate) - gammaln(k + 1)
        done = (k <= largest) & (surely | (~refused & (s <= t)))
        result[left[done]] = k[done]
        left = left[~done]
