"""Slices of tensors, as specifications, entries and keys of a checkpoint write them.

A partitioned variable is saved as several slices of one tensor. In a Saver's graph the slice of
rows 0 and 1 of a [4, 3] tensor reads ``4 3 0,2:-``: the whole shape, then ``start,length`` (or
``-`` for all) of each dimension.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowray.proto import errors
from flowray.proto.messages.tensor_pb2 import TensorSliceProto
from flowray.proto.types.shapes import format_shape

ALL = -1
"""The length of an extent that takes the whole dimension."""

_PAIR = re.compile(r"(-?\d+),(-?\d+)")


@dataclass(frozen=True, slots=True)
class TensorSlice:
    """A box: a start and a length per dimension. The length ``ALL``, with start 0, is the whole."""

    extents: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> TensorSlice:
        """Reads ``0,2:-``. InvalidArgumentError if ``text`` is not a slice."""
        extents = []
        for part in text.split(":") if text else ():
            if part == "-":
                extents.append((0, ALL))
                continue
            pair = _PAIR.fullmatch(part)
            if pair is None:
                raise errors.invalid_argument(
                    f"Expected a pair of numbers or '-' but got '{part}': string = {text}"
                )
            start, length = int(pair[1]), int(pair[2])
            if start < 0 or length <= 0:
                raise errors.invalid_argument(
                    "Expected non-negative start and positive length but got start = "
                    f"{start}, length = {length}: string = {text}"
                )
            extents.append((start, length))
        return cls(tuple(extents))

    @classmethod
    def whole(cls, rank: int) -> TensorSlice:
        """Returns the slice that is the whole of a tensor of ``rank`` dimensions."""
        return cls(((0, ALL),) * rank)

    @classmethod
    def from_proto(cls, proto: TensorSliceProto) -> TensorSlice:
        """Returns the slice that a TensorSliceProto describes."""
        return cls(
            tuple((e.start, e.length if e.HasField("length") else ALL) for e in proto.extent)
        )

    def to_proto(self) -> TensorSliceProto:
        """Returns the slice as a TensorSliceProto."""
        proto = TensorSliceProto()
        for start, length in self.extents:
            extent = proto.extent.add()
            if length != ALL:
                extent.start, extent.length = start, length
        return proto

    def shape(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the slice's shape in a tensor of shape ``full``; InternalError if outside."""
        return tuple(length for _, length in self.bounds(full))

    def bounds(self, full: tuple[int, ...]) -> Bounds:
        """Returns (start, length) for every dimension of a tensor of shape ``full``.

        Raises:
            InternalError: the slice has another rank or reaches out of that shape.
        """
        if len(full) != len(self.extents):
            raise errors.internal(
                f"Mismatching ranks: shape = {format_shape(full)}, slice = {self}"
            )
        result = []
        for i, (size, (start, length)) in enumerate(zip(full, self.extents, strict=True)):
            if length == ALL:
                length = size
            elif start + length > size:
                raise errors.internal(
                    f"Extent in dimension {i} out of bounds: shape = {format_shape(full)}, "
                    f"slice = {self}"
                )
            result.append((start, length))
        return tuple(result)

    def key(self, name: bytes) -> bytes:
        """Returns the key of this slice of tensor ``name``. Keys sort by name, then by position."""
        parts = [_unsigned(0), _string(name), _unsigned(len(self.extents))]
        for start, length in self.extents:
            parts += [_signed(start), _signed(length)]
        return b"".join(parts)

    def __str__(self) -> str:
        return ":".join("-" if n == ALL else f"{start},{n}" for start, n in self.extents)


def parse_shape_and_slice(text: str) -> tuple[tuple[int, ...], TensorSlice]:
    """Reads ``4 3 0,2:-``: the whole shape and the slice.

    Raises:
        InvalidArgumentError: it cannot be read.
        InternalError: the slice does not lie within the shape.
    """
    *dims, last = text.split(" ")
    if not dims:
        raise errors.invalid_argument(
            f"Need least two elements in shape_and_slice specification: {text}"
        )
    if not all(re.fullmatch(r"-?\d+", dim) for dim in dims):
        raise errors.invalid_argument(f"Non numerical dimension in shape_and_slice: {text}")
    full, piece = tuple(map(int, dims)), TensorSlice.parse(last)
    piece.bounds(full)
    return full, piece


Bounds = tuple[tuple[int, int], ...]
"""Start and length in every dimension."""


def overlap(a: Bounds, b: Bounds) -> Bounds | None:
    """Returns the intersection of two boxes; None if it is empty."""
    result = []
    for (a_start, a_length), (b_start, b_length) in zip(a, b, strict=True):
        start = max(a_start, b_start)
        end = min(a_start + a_length, b_start + b_length)
        if end <= start:
            return None
        result.append((start, end - start))
    return tuple(result)


def covers(parts: Sequence[Bounds], whole: Bounds) -> bool:
    """Returns whether ``parts``, which lie within ``whole``, cover every point of it."""
    # Between neighbouring edges of the parts, all points are in the same parts.
    edges = []
    for axis, (start, length) in enumerate(whole):
        cuts = {start, start + length}
        for part in parts:
            cuts |= {part[axis][0], sum(part[axis])}
        edges.append(sorted(cuts))
    cells = np.zeros([len(cuts) - 1 for cuts in edges], np.bool_)
    for part in parts:
        cells[
            tuple(
                slice(cuts.index(start), cuts.index(start + length))
                for cuts, (start, length) in zip(edges, part, strict=True)
            )
        ] = True
    return bool(cells.all())


# Keys: an encoding of numbers and strings whose bytes sort as the values do -----------------------


def _unsigned(number: int) -> bytes:
    """The number of bytes, then the bytes, without leading zeros."""
    size = (number.bit_length() + 7) // 8
    return bytes([size]) + number.to_bytes(size, "big")


def _signed(number: int) -> bytes:
    """As many ones in front as there are bytes, then the number; negated where it is negative."""
    magnitude = ~number if number < 0 else number
    size = magnitude.bit_length() // 7 + 1
    ones = ((1 << size) - 1) << (7 * size)
    return ((number % (1 << 8 * size)) ^ ones).to_bytes(size, "big")


def _string(text: bytes) -> bytes:
    """The text, ended by 00 01; a 00 in it becomes 00 FF and an FF becomes FF 00."""
    # In one pass, since either escape makes bytes that the other one would escape.
    return re.sub(rb"[\x00\xff]", lambda m: m[0] + bytes([0xFF - m[0][0]]), text) + b"\0\1"
