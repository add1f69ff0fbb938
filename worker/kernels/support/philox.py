"""Philox4x32-10 as TensorFlow draws from it, for numpy and for JAX.

A generator is a 64-bit key and a 128-bit counter of blocks; a block is four 32-bit words, a pure
function of key and counter. TensorFlow's key is ``seed``, and its counter starts at ``seed2 <<
64``. Every run of an op reserves enough blocks for the worst case, used or not, so that the next
run does not depend on the values that this one drew. (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3".)
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import numpy as np

from flowray.worker.state.store import Variable

Array = Any
"""A numpy or a JAX array."""

RESERVED = 256
"""The blocks that TensorFlow reserves for each output, which may need several draws."""

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10
_CHUNK = 1 << 14  # blocks that numpy works on at a time: they and the temporaries fit the cache


def initial_state(seed: int, seed2: int) -> np.ndarray[Any, Any]:
    """Returns the state before the first run, uint32 [6]: the key, then the counter.

    If both seeds are 0, the operating system's random source chooses them.
    """
    if seed == 0 and seed2 == 0:
        seed, seed2 = secrets.randbits(64), secrets.randbits(64)
    words = [seed, seed >> 32, 0, 0, seed2, seed2 >> 32]
    return np.array([w & 0xFFFFFFFF for w in words], np.uint32)


class Stream(NamedTuple):
    """The blocks that one run of an op has reserved."""

    key: Array
    """uint32 [2]."""
    high: Array
    """The upper half of the counter, uint32 [2]."""
    first: Array
    """The lower half of the counter at the first block, a uint64 scalar."""


def reserve(xp: Any, state: Variable, blocks: int) -> Stream:
    """Returns the stream at ``state`` and moves the state on by ``blocks``."""
    words = state.read()
    first = words[2].astype(xp.uint64) | words[3].astype(xp.uint64) << _HALF
    # 2**64 blocks outlast every run: the upper half of the counter never changes.
    after = first + np.uint64(blocks)
    counter = xp.stack([after & _LOW, after >> _HALF]).astype(xp.uint32)
    state.assign(xp.concatenate([words[:2], counter, words[4:]]))
    return Stream(words[:2], words[4:], first)


def blocks(xp: Any, stream: Stream, indices: Array) -> Array:
    """Computes the blocks of the stream with these indices.

    Args:
        indices: uint64 [n], counted from the first block of the stream.

    Returns:
        uint32 [n, 4], the words of the blocks.
    """
    if xp is not np:
        return _blocks_traced(xp, stream, indices + stream.first)
    result = np.empty((len(indices), 4), np.uint32)
    for start in range(0, len(indices), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        _fill_blocks(stream, indices[chunk] + stream.first, result[chunk])
    return result


def _blocks_traced(xp: Any, stream: Stream, counter: Array) -> Array:
    low, high = counter.astype(xp.uint32), (counter >> _HALF).astype(xp.uint32)
    c = [low, high, *(xp.broadcast_to(word, low.shape) for word in stream.high)]
    key = list(stream.key)
    for _ in range(_ROUNDS):
        p, q = (word.astype(xp.uint64) * by for word, by in zip(c[::2], _MULTIPLIERS, strict=True))
        c = [
            (q >> _HALF).astype(xp.uint32) ^ c[1] ^ key[0],
            q.astype(xp.uint32),
            (p >> _HALF).astype(xp.uint32) ^ c[3] ^ key[1],
            p.astype(xp.uint32),
        ]
        key = [word + np.uint32(step) for word, step in zip(key, _KEY_STEPS, strict=True)]
    return xp.stack(c, -1)


def _fill_blocks(stream: Stream, counter: Array, out: Array) -> None:
    """Computes blocks in place, all words as uint64: every temporary would cost numpy a pass."""
    c0, c1 = counter & _LOW, counter >> _HALF
    c2, c3 = (np.full_like(counter, word) for word in stream.high)
    spare = np.empty_like(counter)
    key = [int(word) for word in stream.key]
    for _ in range(_ROUNDS):
        p = np.multiply(c0, _MULTIPLIERS[0], out=c0)
        q = np.multiply(c2, _MULTIPLIERS[1], out=c2)
        new0 = np.right_shift(q, _HALF, out=spare)
        new0 ^= c1
        new0 ^= np.uint64(key[0])
        new1 = np.bitwise_and(q, _LOW, out=c1)
        new2 = np.right_shift(p, _HALF, out=q)
        new2 ^= c3
        new2 ^= np.uint64(key[1])
        new3 = np.bitwise_and(p, _LOW, out=c3)
        c0, c1, c2, c3, spare = new0, new1, new2, new3, p
        key = [(word + step) & 0xFFFFFFFF for word, step in zip(key, _KEY_STEPS, strict=True)]
    out[:, 0], out[:, 1], out[:, 2], out[:, 3] = c0, c1, c2, c3


def words(xp: Any, stream: Stream, count: int) -> Array:
    """Returns the first ``count`` words of the stream, uint32 [count]."""
    indices = xp.arange(-(-count // 4), dtype=xp.uint64)
    return blocks(xp, stream, indices).reshape(-1)[:count]


# Distributions -----------------------------------------------------------------------------------


def unit_float(xp: Any, bits: Array) -> Array:
    """Makes float32 in [0, 1) of the low 23 bits of uint32 words."""
    bits = bits & np.uint32(0x7FFFFF)
    bits |= np.uint32(0x3F800000)
    value = bits.view(xp.float32)
    value -= np.float32(1)
    return value


def unit_double(xp: Any, pairs: Array) -> Array:
    """Makes float64 [n] in [0, 1) of uint32 [n, 2], whose first word has the higher bits."""
    top = ((pairs[:, 0] & np.uint32(0xFFFFF)) | np.uint32(0x3FF00000)).astype(xp.uint64)
    return (top << _HALF | pairs[:, 1].astype(xp.uint64)).view(xp.float64) - np.float64(1)


def uniform(xp: Any, stream: Stream, count: int, dtype: Any) -> Array:
    """Draws ``count`` values in [0, 1) of a floating dtype."""
    if dtype == np.float64:
        return unit_double(xp, words(xp, stream, 2 * count).reshape(-1, 2))
    bits = words(xp, stream, count)
    if dtype == np.float32:
        return unit_float(xp, bits)
    mantissa = 10 if dtype == np.float16 else 7
    exponent_of_one = 15 if dtype == np.float16 else 127
    short = (bits & np.uint32((1 << mantissa) - 1)).astype(xp.uint16)
    return (short | np.uint16(exponent_of_one << mantissa)).view(dtype) - np.dtype(dtype).type(1)


def uniform_int(xp: Any, stream: Stream, count: int, low: Array, high: Array) -> Array:
    """Draws ``count`` integers in [low, high), which are scalars of int32 or int64, ``low < high``.

    As in TensorFlow the draw is taken modulo the range, so it is slightly biased.
    """
    unsigned = xp.uint32 if low.dtype == np.int32 else xp.uint64
    if unsigned is xp.uint32:
        bits = words(xp, stream, count)
    else:
        pairs = words(xp, stream, 2 * count).reshape(-1, 2).astype(xp.uint64)
        bits = pairs[:, 0] | pairs[:, 1] << _HALF
    low, high = low.astype(unsigned), high.astype(unsigned)
    return (low + bits % (high - low)).astype(xp.int32 if unsigned is xp.uint32 else xp.int64)


def normals(xp: Any, block: Array, double: bool) -> Array:
    """Makes standard normal values of blocks by Box and Muller.

    Args:
        block: uint32 [n, 4].

    Returns:
        float32 [n, 4], or float64 [n, 2] if ``double``.
    """
    if double:
        u, v = unit_double(xp, block[:, :2]), unit_double(xp, block[:, 2:])
        radius, angle = xp.sqrt(-2.0 * xp.log(xp.maximum(u, 1e-7))), 2 * np.pi * v
        return xp.stack([xp.sin(angle) * radius, xp.cos(angle) * radius], -1)
    # Rounding float64 functions to float32 gives what C's float32 functions give; numpy's and
    # XLA's own float32 functions are an ulp or two off.
    unit = unit_float(xp, block).reshape(-1, 2)
    u, v = xp.maximum(unit[:, 0], np.float32(1e-7)), unit[:, 1]
    log = xp.log(u.astype(xp.float64)).astype(xp.float32)
    radius = xp.sqrt(np.float32(-2) * log)
    angle = (np.float64(2 * np.pi) * v.astype(xp.float64)).astype(xp.float32).astype(xp.float64)
    pairs = [xp.sin(angle).astype(xp.float32), xp.cos(angle).astype(xp.float32)]
    return (xp.stack(pairs, -1) * radius[:, None]).reshape(-1, 4)


def _normals_at(xp: Any, stream: Stream, indices: Array, double: bool) -> Array:
    if xp is not np:
        return normals(xp, blocks(xp, stream, indices), double)
    result = np.empty((len(indices), 2 if double else 4), np.float64 if double else np.float32)
    for start in range(0, len(indices), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        result[chunk] = normals(np, blocks(np, stream, indices[chunk]), double)
    return result


def normal(xp: Any, stream: Stream, count: int, dtype: Any) -> Array:
    """Draws ``count`` standard normal values."""
    double = dtype == np.float64
    indices = xp.arange(-(-count // (2 if double else 4)), dtype=xp.uint64)
    return _normals_at(xp, stream, indices, double).reshape(-1)[:count].astype(dtype)


def truncated_normal(xp: Any, stream: Stream, count: int, dtype: Any) -> Array:
    """Draws ``count`` standard normal values, those beyond two sigmas again.

    The values come in groups, as many as a block gives; each group has blocks of its own.
    """
    double = dtype == np.float64
    size = 2 if double else 4
    groups = xp.arange(-(-count // size), dtype=xp.uint64) * np.uint64(size * RESERVED // 4)
    fill = _truncated_groups if xp is np else _truncated_groups_traced
    return fill(xp, stream, groups, size, double).reshape(-1)[:count].astype(dtype)


def _with_next(groups: Array, count: int) -> Array:
    """Returns the indices of ``count`` blocks from each group's first one on."""
    return (groups[:, None] + np.arange(count, dtype=np.uint64)).reshape(-1)


def _truncated_groups(xp: Any, stream: Stream, groups: Array, size: int, double: bool) -> Array:
    result = _normals_at(np, stream, groups, double)
    short = np.flatnonzero((np.abs(result) >= 2).any(1))
    draws = 2
    while len(short):
        more = _normals_at(np, stream, _with_next(groups[short], draws), double)
        more = more.reshape(len(short), -1)
        out = np.abs(more) >= 2
        enough = (~out).sum(1) >= size
        first = np.argsort(out[enough], axis=1, kind="stable")[:, :size]
        result[short[enough]] = np.take_along_axis(more[enough], first, 1)
        short, draws = short[~enough], draws * 2
    return result


def _truncated_groups_traced(
    xp: Any, stream: Stream, groups: Array, size: int, double: bool
) -> Array:
    draws = 8 if double else 5  # not enough with a probability below 1e-18
    z = _normals_at(xp, stream, _with_next(groups, draws), double)
    z = z.reshape(len(groups), draws * size)  # of no groups, -1 would not do
    keep = xp.abs(z) < 2
    rank = xp.where(keep, xp.cumsum(keep, 1), 0)
    return xp.stack([xp.sum(xp.where(rank == k + 1, z, 0), 1) for k in range(size)], 1)


def permutation(xp: Any, stream: Stream, count: int) -> Array:
    """Draws a permutation of ``range(count)`` by Fisher and Yates: int64 [count], ``count`` > 0.

    The algorithm swaps, for i = 0, 1, ..., positions i and j(i) >= i. This function needs no loop:
    the value at position p before step p was put there by the last earlier step that swapped with
    p, which had it at its own position; following such steps back leads to where the value started.
    """
    steps = xp.arange(count, dtype=xp.int64)
    draws = words(xp, stream, count - 1).astype(xp.int64)
    target = xp.append(steps[:-1] + draws % (count - steps[:-1]), count - 1)
    source = xp.where(target == steps, -1, steps)
    if xp is np:
        origin = np.full(count, -1)
        np.maximum.at(origin, target, source)
    else:
        origin = xp.full(count, -1).at[target].max(source)
    origin = xp.where(origin < 0, steps, origin)
    for _ in range(count.bit_length()):
        further = origin[origin]
        if xp is np and np.array_equal(further, origin):
            break
        origin = further
    # What step i brings to position i: at j(i) lies what the last step with that target left.
    order = xp.argsort(target, stable=True)
    targets = target[order]
    again = xp.concatenate([xp.zeros(1, bool), targets[1:] == targets[:-1]])
    before = origin[xp.roll(order, 1)]
    brought = xp.where(again, before, targets)
    if xp is np:
        result = np.empty(count, np.int64)
        result[order] = brought
        return result
    return xp.zeros(count, xp.int64).at[order].set(brought)
