"""The hashes that TensorFlow assigns strings to buckets with, over whole arrays of strings.

Strings of one length are hashed as one matrix of bytes, so that numpy does the arithmetic (modulo
2**64) for all of them at once.

==================  ==============================================================================
``murmur64``        MurmurHash64A with TensorFlow's seed: ``StringToHashBucket``
``fingerprint64``   FarmHash's portable Fingerprint64: ``StringToHashBucketFast``
``siphash``         SipHash-2-4 with a 128-bit key: ``StringToHashBucketStrong``
==================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def hash_strings(strings: Sequence[bytes], function: Callable[[Bytes], Words]) -> Words:
    """Hashes each string with ``function``: uint64 [n].

    Args:
        function: hashes the rows of a matrix of bytes, all strings of one length.
    """
    result = np.empty(len(strings), np.uint64)
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    for length in np.unique(lengths).tolist():
        where = np.flatnonzero(lengths == length)
        joined = b"".join([strings[i] for i in where.tolist()])
        result[where] = function(np.frombuffer(joined, np.uint8).reshape(len(where), length))
    return result


def _constant(value: int) -> Words:
    # An array, since numpy warns when scalars overflow, and wrapping around is what we want.
    return np.array([value & 0xFFFFFFFFFFFFFFFF], np.uint64)


def _word(rows: Bytes, offset: int, size: int = 8) -> Words:
    """Reads the little-endian integer of ``size`` bytes at ``offset`` of each row."""
    padded = np.zeros((len(rows), 8), np.uint8)
    padded[:, :size] = rows[:, offset : offset + size]
    return padded.view("<u8")[:, 0]


def _rotate_right(x: Words, bits: int) -> Words:
    return (x >> np.uint64(bits)) | (x << np.uint64(64 - bits))


def _shift_xor(x: Words) -> Words:
    return x ^ (x >> np.uint64(47))


# MurmurHash64A -----------------------------------------------------------------------------------

_MURMUR = _constant(0xC6A4A7935BD1E995)
_MURMUR_SEED = 0xDECAFCAFFE


def murmur64(rows: Bytes) -> Words:
    """Hashes each row with MurmurHash64A and the seed 0xDECAFCAFFE, as TensorFlow's ``Hash64``."""
    count, length = rows.shape
    h = np.repeat(_constant(_MURMUR_SEED) ^ (_constant(length) * _MURMUR), count)
    whole = length - length % 8
    for offset in range(0, whole, 8):
        h = (h ^ (_shift_xor(_word(rows, offset) * _MURMUR) * _MURMUR)) * _MURMUR
    if length % 8:
        h = (h ^ _word(rows, whole, length % 8)) * _MURMUR
    return _shift_xor(_shift_xor(h) * _MURMUR)


# FarmHash Fingerprint64 --------------------------------------------------------------------------

_K0 = _constant(0xC3A5C85C97CB3127)
_K1 = _constant(0xB492B66FBE98F273)
_K2 = _constant(0x9AE16A3B2F90404F)


def fingerprint64(rows: Bytes) -> Words:
    """Hashes each row with FarmHash's Fingerprint64."""
    length = rows.shape[1]
    if length <= 16:
        return _farm_to_16(rows)
    if length <= 32:
        return _farm_to_32(rows)
    if length <= 64:
        return _farm_to_64(rows)
    return _farm_long(rows)


def _mix(u: Words, v: Words, multiplier: Words) -> Words:
    """Hashes two words to one."""
    a = _shift_xor((u ^ v) * multiplier)
    return _shift_xor((v ^ a) * multiplier) * multiplier


def _farm_to_16(rows: Bytes) -> Words:
    count, length = rows.shape
    multiplier = _K2 + _constant(2 * length)
    if length >= 8:
        a = _word(rows, 0) + _K2
        b = _word(rows, length - 8)
        c = _rotate_right(b, 37) * multiplier + a
        d = (_rotate_right(a, 25) + b) * multiplier
        return _mix(c, d, multiplier)
    if length >= 4:
        first = _word(rows, 0, 4) << np.uint64(3)
        return _mix(_constant(length) + first, _word(rows, length - 4, 4), multiplier)
    if length:
        first, middle, last = (_word(rows, i, 1) for i in (0, length >> 1, length - 1))
        y = first + (middle << np.uint64(8))
        z = _constant(length) + (last << np.uint64(2))
        return _shift_xor(y * _K2 ^ z * _K0) * _K2
    return np.repeat(_K2, count)


def _farm_ends(rows: Bytes, multiplier: Words, k: Words) -> tuple[Words, ...]:
    """Combines the first and the last 16 bytes for hashes of 17 to 64 bytes."""
    length = rows.shape[1]
    a = _word(rows, 0) * k
    b = _word(rows, 8)
    c = _word(rows, length - 8) * multiplier
    d = _word(rows, length - 16) * _K2
    y = _rotate_right(a + b, 43) + _rotate_right(c, 30) + d
    return a, y, _mix(y, a + _rotate_right(b + _K2, 18) + c, multiplier)


def _farm_to_32(rows: Bytes) -> Words:
    return _farm_ends(rows, _K2 + _constant(2 * rows.shape[1]), _K1)[2]


def _farm_to_64(rows: Bytes) -> Words:
    length = rows.shape[1]
    multiplier = _K2 + _constant(2 * length)
    a, y, z = _farm_ends(rows, multiplier, _K2)
    e = _word(rows, 16) * multiplier
    f = _word(rows, 24)
    g = (y + _word(rows, length - 32)) * multiplier
    h = (z + _word(rows, length - 24)) * multiplier
    left = _rotate_right(e + f, 43) + _rotate_right(g, 30) + h
    return _mix(left, e + _rotate_right(f + a, 18) + g, multiplier)


def _farm_pair(rows: Bytes, offset: int, a: Words, b: Words) -> tuple[Words, Words]:
    """Mixes the 32 bytes at ``offset`` into two seeds."""
    w, x, y, z = (_word(rows, offset + i) for i in (0, 8, 16, 24))
    a = a + w
    total = a + x + y
    return total + z, _rotate_right(b + a + z, 21) + _rotate_right(total, 44) + a


def _farm_long(rows: Bytes) -> Words:
    count, length = rows.shape
    seed = _constant(81)
    y = seed * _K1 + _constant(113)
    z = np.repeat(_shift_xor(y * _K2 + _constant(113)) * _K2, count)
    x = seed * _K2 + _word(rows, 0)
    zeros = np.zeros(count, np.uint64)
    v = w = (zeros, zeros)
    for offset in range(0, (length - 1) // 64 * 64, 64):
        x = _rotate_right(x + y + v[0] + _word(rows, offset + 8), 37) * _K1 ^ w[1]
        y = _rotate_right(y + v[1] + _word(rows, offset + 48), 42) * _K1
        y = y + v[0] + _word(rows, offset + 40)
        z = _rotate_right(z + w[0], 33) * _K1
        v = _farm_pair(rows, offset, v[1] * _K1, x + w[0])
        w = _farm_pair(rows, offset + 32, z + w[1], y + _word(rows, offset + 16))
        x, z = z, x
    # The last 64 bytes, which may overlap with those before.
    offset = length - 64
    multiplier = _K1 + ((z & np.uint64(0xFF)) << np.uint64(1))
    w = (w[0] + _constant((length - 1) & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x = _rotate_right(x + y + v[0] + _word(rows, offset + 8), 37) * multiplier
    x = x ^ (w[1] * _constant(9))
    y = _rotate_right(y + v[1] + _word(rows, offset + 48), 42) * multiplier
    y = y + v[0] * _constant(9) + _word(rows, offset + 40)
    z = _rotate_right(z + w[0], 33) * multiplier
    v = _farm_pair(rows, offset, v[1] * multiplier, x + w[0])
    w = _farm_pair(rows, offset + 32, z + w[1], y + _word(rows, offset + 16))
    first = _mix(v[0], w[0], multiplier) + _shift_xor(y) * _K0 + x
    return _mix(first, _mix(v[1], w[1], multiplier) + z, multiplier)


# SipHash-2-4 -------------------------------------------------------------------------------------


def siphash(key: Sequence[int]) -> Callable[[Bytes], Words]:
    """Returns SipHash-2-4 with the two 64-bit words of ``key``."""

    def function(rows: Bytes) -> Words:
        count, length = rows.shape
        k0, k1 = (np.repeat(_constant(k), count) for k in key)
        state = (
            k0 ^ _constant(0x736F6D6570736575),
            k1 ^ _constant(0x646F72616E646F6D),
            k0 ^ _constant(0x6C7967656E657261),
            k1 ^ _constant(0x7465646279746573),
        )
        whole = length - length % 8
        words = [_word(rows, offset) for offset in range(0, whole, 8)]
        words.append(_word(rows, whole, length % 8) | _constant((length & 0xFF) << 56))
        for word in words:
            a, b, c, d = state
            a, b, c, d = _sip_rounds((a, b, c, d ^ word), 2)
            state = (a ^ word, b, c, d)
        a, b, c, d = state
        a, b, c, d = _sip_rounds((a, b, c ^ _constant(0xFF), d), 4)
        return a ^ b ^ c ^ d

    return function


def _sip_rounds(state: tuple[Words, ...], number: int) -> tuple[Words, ...]:
    a, b, c, d = state
    for _ in range(number):
        a, c = a + b, c + d
        b, d = _rotate_right(b, 51) ^ a, _rotate_right(d, 48) ^ c
        a = _rotate_right(a, 32)
        c, a = c + b, a + d
        b, d = _rotate_right(b, 47) ^ c, _rotate_right(d, 43) ^ a
        c = _rotate_right(c, 32)
    return a, b, c, d
