"""Kernels that sample classes, for losses over very many of them; equal to TensorFlow's by seed.

A sampler turns the words of a random stream into classes one by one. A unique sample keeps the
first draw of each class; the number of draws that this took tells how often a class is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.files import filesystem
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.support import philox
from flowray.worker.state.store import Variable

Array = np.ndarray[Any, Any]

_BLOCKS_PER_SAMPLE = 2048 // 4
_SEED_WORDS = 6
"""The words of a stream's state; a learned sampler's weights come after them."""


# Classes of words ---------------------------------------------------------------------------------


def _below(words: Array, n: int) -> Array:
    """Draws integers in [0, n) with equal probability; words that would favor some are skipped."""
    rest = (1 << 32) % n
    return (words[words >= rest] % np.uint32(n)).astype(np.int64)


class _Uniform:
    """All classes with the same probability."""

    words = 2

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def sample(self, words: Array) -> Array:
        """Draws as many classes as the words suffice for."""
        pairs = words[: len(words) // 2 * 2].astype(np.uint64)
        drawn = pairs[::2] | pairs[1::2] << np.uint64(32)
        rest = (1 << 64) % self.classes
        return (drawn[drawn >= rest] % np.uint64(self.classes)).astype(np.int64)

    def probability(self, classes: Array) -> Array:
        return np.full(classes.shape, 1.0 / self.classes, np.float32)


class _LogUniform:
    """Zipf's law, roughly: the probability of a class is ``log(1 + 1 / (class + 1))``."""

    words = 2

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._log = np.log1p(float(classes))

    def sample(self, words: Array) -> Array:
        drawn = philox.unit_double(np, words[: len(words) // 2 * 2].reshape(-1, 2))
        return (np.exp(drawn * self._log).astype(np.int64) - 1) % self.classes

    def probability(self, classes: Array) -> Array:
        wide = classes.astype(np.float64)
        return (np.log((wide + 2.0) / (wide + 1.0)) / self._log).astype(np.float32)


class _Learned:
    """The probability of a class is proportional to 1 plus how often it has been a true class."""

    words = 1

    def __init__(self, weights: Array) -> None:
        self.classes = len(weights)
        self._weights = weights
        self._ends = np.cumsum(weights, dtype=np.int64)

    def sample(self, words: Array) -> Array:
        return np.searchsorted(self._ends, _below(words, int(self._ends[-1])), "right")

    def probability(self, classes: Array) -> Array:
        total = np.float32(self._ends[-1])
        return self._weights[classes].astype(np.float32) / total


class _Fixed:
    """Given probabilities, drawn by Walker's alias method: a bucket, and one of its two classes."""

    words = 2

    def __init__(self, weights: Array) -> None:
        self.classes = int(np.count_nonzero(weights))
        self._weights = weights
        self._total = weights.sum(dtype=np.float32)
        self._keep, self._other = _buckets(weights)

    def sample(self, words: Array) -> Array:
        n = len(self._weights)
        rest = (1 << 32) % n
        # Pairs of a fraction and a bucket; a word that favors some buckets is skipped.
        while len(bad := np.flatnonzero(words[1::2] < rest)):
            words = np.delete(words, 2 * bad[0] + 1)
        words = words[: len(words) // 2 * 2]
        fraction, bucket = philox.unit_float(np, words[::2].copy()), _below(words[1::2], n)
        return np.where(fraction < self._keep[bucket], bucket, self._other[bucket])

    def probability(self, classes: Array) -> Array:
        return self._weights[classes] / self._total


def _buckets(weights: Array) -> tuple[Array, Array]:
    """Returns, for each bucket, the share of its own class, and the class that has the rest."""
    n = len(weights)
    part = weights.astype(np.float64) * n / weights.sum(dtype=np.float64)
    keep, other = part.copy(), np.arange(n)
    high = [i for i in range(n) if part[i] >= 1.0]
    low = [i for i in range(n) if part[i] < 1.0]
    while high and low:
        small, large = low.pop(), high.pop()
        keep[small], other[small] = part[small], large
        part[large] -= 1.0 - part[small]
        (low if part[large] < 1.0 else high).append(large)
    keep[high] = keep[low] = 1.0  # they differ from 1 by rounding only
    return keep.astype(np.float32), other


# Samples ------------------------------------------------------------------------------------------


def _pick(sampler: Any, stream: philox.Stream, count: int, unique: bool) -> tuple[Array, int]:
    """Draws ``count`` classes and returns them with the number of draws."""
    draws = count
    while True:
        drawn = sampler.sample(philox.words(np, stream, (draws + 1) * sampler.words))
        if not unique and len(drawn) >= count:
            return drawn[:count], count
        firsts = np.sort(np.unique(drawn, return_index=True)[1])
        if unique and len(firsts) >= count:
            chosen = firsts[:count]
            return drawn[chosen], int(chosen[-1]) + 1
        draws *= 2


def _expected(probability: Array, count: int, draws: int) -> Array:
    """Computes how often a class is expected in the sample."""
    if draws == count:
        return probability * np.float32(count)
    return -np.expm1(np.float32(draws) * np.log1p(-probability))


def _outputs(
    sampler: Any, true_classes: Array, stream: philox.Stream, num_sampled: int, unique: bool
) -> tuple[Array, Array, Array]:
    if unique and num_sampled > sampler.classes:
        raise errors.invalid_argument("Sampler's range is too small.")
    sampled, draws = _pick(sampler, stream, num_sampled, unique)
    of_true, of_sampled = (
        _expected(sampler.probability(classes), num_sampled, draws)
        for classes in (true_classes, sampled)
    )
    return sampled, of_true, of_sampled


def _check_true(true_classes: Array, num_true: int, classes: int) -> None:
    if true_classes.ndim != 2:
        raise errors.invalid_argument("true_classes must be a matrix")
    if true_classes.shape[1] != num_true:
        raise errors.invalid_argument(
            f"true_classes must have num_true columns, expected: {true_classes.shape[1]} was: "
            f"{num_true}"
        )
    outside = true_classes[(true_classes < 0) | (true_classes >= classes)]
    if outside.size:
        raise errors.invalid_argument(
            f"`true_candidate` out of range [0, {classes}), received {outside[0]}"
        )


# Kernels ------------------------------------------------------------------------------------------


def _initial_state(*, seed: int, seed2: int, **_: Any) -> Array:
    return philox.initial_state(seed, seed2)


def _of_a_range(make: Callable[[int], Any]) -> Callable[..., Any]:
    def sampled(
        xp: Any,
        true_classes: Array,
        *,
        num_true: int,
        num_sampled: int,
        unique: bool,
        range_max: int,
        seed: int,
        seed2: int,
        state: Variable,
    ) -> tuple[Array, Array, Array]:
        _check_true(true_classes, num_true, range_max)
        stream = philox.reserve(np, state, num_sampled * _BLOCKS_PER_SAMPLE)
        return _outputs(make(range_max), true_classes, stream, num_sampled, unique)

    return sampled


add_kernel("UniformCandidateSampler", _of_a_range(_Uniform), _initial_state)
add_kernel("LogUniformCandidateSampler", _of_a_range(_LogUniform), _initial_state)


class _Seeds:
    """The random stream's part of a learned sampler's state."""

    def __init__(self, state: Variable) -> None:
        self._state = state

    def read(self) -> Array:
        return self._state.read()[:_SEED_WORDS]

    def assign(self, words: Array) -> None:
        self._state.assign(np.concatenate([words, self._state.read()[_SEED_WORDS:]]))


def _learned_state(*, seed: int, seed2: int, range_max: int, **_: Any) -> Array:
    return np.concatenate([philox.initial_state(seed, seed2), np.ones(range_max, np.uint32)])


@kernel(
    "LearnedUnigramCandidateSampler", "ThreadUnsafeUnigramCandidateSampler", state=_learned_state
)
def learned_unigram(
    xp: Any,
    true_classes: Array,
    *,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int,
    seed2: int,
    state: Variable,
) -> tuple[Array, Array, Array]:
    """Samples in proportion to how often each class has been a true class in earlier runs.

    The counts are private state, kept for each session and node.

    Returns:
        Sampled classes int64 [num_sampled], and the expected counts of the true and of the sampled
            classes, float32.
    """
    _check_true(true_classes, num_true, range_max)
    if true_classes.size and not (true_classes.min() >= 0 and true_classes.max() < range_max):
        raise errors.invalid_argument(f"true_classes must be in [0, {range_max})")
    stream = philox.reserve(np, _Seeds(state), num_sampled * _BLOCKS_PER_SAMPLE)
    words = state.read()
    weights = words[_SEED_WORDS:]
    result = _outputs(_Learned(weights), true_classes, stream, num_sampled, unique)
    seen = np.bincount(true_classes.reshape(-1), minlength=range_max).astype(np.uint32)
    state.assign(np.concatenate([words[:_SEED_WORDS], weights + seen]))
    return result


@kernel("FixedUnigramCandidateSampler", state=_initial_state)
def fixed_unigram(
    xp: Any,
    true_classes: Array,
    *,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: bytes,
    distortion: float,
    num_reserved_ids: int,
    num_shards: int,
    shard: int,
    unigrams: Sequence[float],
    seed: int,
    seed2: int,
    state: Variable,
) -> tuple[Array, Array, Array]:
    """Samples with the probabilities of ``unigrams`` or of the last column of ``vocab_file``.

    Raises:
        InvalidArgumentError: there are no weights, or not ``range_max`` of them.
    """
    if not vocab_file and not unigrams:
        raise errors.invalid_argument("Must provide either vocab_file or unigrams.")
    _check_true(true_classes, num_true, range_max)
    counts = _counts_of_lines(filesystem.read(vocab_file)) if vocab_file else unigrams
    weights = _weights(counts, distortion, num_reserved_ids, num_shards, shard)
    if len(weights) != range_max:
        raise errors.invalid_argument(
            f"range is {range_max} must be equal to weights size  {len(weights)}"
        )
    stream = philox.reserve(np, state, num_sampled * _BLOCKS_PER_SAMPLE)
    return _outputs(_Fixed(weights), true_classes, stream, num_sampled, unique)


def _counts_of_lines(text: bytes) -> list[float]:
    """Reads the last column of each line."""
    try:
        return [float(line.split(b",")[-1]) for line in text.splitlines() if line]
    except ValueError as error:
        raise errors.invalid_argument(f"Wrong vocabulary format: {error}") from None


def _weights(
    counts: Iterable[float], distortion: float, reserved: int, shards: int, shard: int
) -> Array:
    """Returns 0 for reserved ids, then the counts of the classes that belong to the shard."""
    chosen = [c for i, c in enumerate(counts, reserved) if i % shards == shard]
    powers = np.array(chosen, np.float32) ** np.float32(distortion)
    return np.concatenate([np.zeros(reserved, np.float32), powers])


@kernel("AllCandidateSampler", state=_initial_state)
def all_candidates(
    xp: Any,
    true_classes: Array,
    *,
    num_true: int,
    num_sampled: int,
    unique: bool,
    seed: int,
    seed2: int,
    state: Variable,
) -> tuple[Array, Array, Array]:
    """Returns all classes, each of which is expected once."""
    _check_true(true_classes, num_true, num_sampled)
    return (
        np.arange(num_sampled),
        np.ones(true_classes.shape, np.float32),
        np.ones(num_sampled, np.float32),
    )


@kernel("ComputeAccidentalHits")
def compute_accidental_hits(
    xp: Any, true_classes: Array, sampled_candidates: Array, *, num_true: int, seed: int, seed2: int
) -> tuple[Array, Array, Array]:
    """Finds the true classes that have been sampled.

    Returns:
        The row of each hit (int32), its index in the sample (int64; the last one of equal samples),
            and the lowest float32 as its weight.
    """
    if true_classes.ndim != 2 or true_classes.shape[1] != num_true:
        raise errors.invalid_argument("true_candidates must be a batch_size * num_true matrix")
    if sampled_candidates.ndim != 1:
        raise errors.invalid_argument(
            "sampled_candidates must be a vector, which is typically an output from "
            "CandidateSampler"
        )
    order = np.argsort(sampled_candidates, kind="stable")
    flat = true_classes.reshape(-1)
    at = np.searchsorted(sampled_candidates[order], flat, "right") - 1
    hit = at >= 0
    hit[hit] = sampled_candidates[order][at[hit]] == flat[hit]
    rows = np.repeat(np.arange(len(true_classes), dtype=np.int32), num_true)[hit]
    weights = np.full(len(rows), -np.finfo(np.float32).max, np.float32)
    return rows, order[at[hit]].astype(np.int64), weights
