"""Slices of tensors and the keys that they are stored under."""

import itertools

import pytest

from flowray.proto import errors
from flowray.proto.files.checkpoint.slices import (
    TensorSlice,
    covers,
    overlap,
    parse_shape_and_slice,
)


def test_parse_and_format() -> None:
    full, piece = parse_shape_and_slice("4 3 0,2:-")
    assert full == (4, 3)
    assert piece.bounds(full) == ((0, 2), (0, 3))
    assert piece.shape(full) == (2, 3)
    assert str(piece) == "0,2:-"
    assert TensorSlice.from_proto(piece.to_proto()) == piece
    assert TensorSlice.whole(2) == TensorSlice.parse("-:-")


@pytest.mark.parametrize(
    "text", ["", "4", "4 x 0,2:-", "4 3", "4 3 0:-", "4 3 -1,2:-", "4 3 0,0:-"]
)
def test_malformed(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        parse_shape_and_slice(text)


@pytest.mark.parametrize("text", ["4 3 0,2", "4 3 3,2:-", "4 3 -:-:-"])
def test_outside_of_the_shape(text: str) -> None:
    with pytest.raises(errors.InternalError):
        parse_shape_and_slice(text)


def test_keys_are_tensorflows() -> None:
    """Keys of files that TensorFlow wrote."""
    assert TensorSlice.parse("0,2:-").key(b"part") == b"\0part\0\1\1\2\x80\x82\x80\x7f"
    assert TensorSlice.parse("0,2:0,3").key(b"part") == b"\0part\0\1\1\2\x80\x82\x80\x83"
    assert TensorSlice.parse("0,200:100,2000").key(b"a\xff\0z") == (
        b"\0a\xff\0\0\xffz\0\1\1\2\x80\xc0\xc8\xc0\x64\xc7\xd0"
    )


def test_keys_sort_as_names_and_positions_do() -> None:
    names = [b"", b"\0", b"\0\xff", b"a", b"a\0", b"a\xff", b"aa", b"\xff", b"\xff\xff"]
    starts = [0, 1, 63, 64, 8191, 8192, 2**20, 2**31, 2**40, 2**62]
    keys = [
        TensorSlice(((start, 1), (0, 1))).key(name)
        for name, start in itertools.product(sorted(names), starts)
    ]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_overlap() -> None:
    assert overlap(((0, 4), (1, 2)), ((2, 4), (0, 2))) == ((2, 2), (1, 1))
    assert overlap(((0, 2),), ((2, 2),)) is None
    assert overlap((), ()) == ()


def test_covers() -> None:
    whole = ((1, 4), (0, 3))
    assert covers([((1, 2), (0, 3)), ((3, 2), (0, 3))], whole)
    assert covers([((1, 4), (0, 2)), ((1, 3), (1, 2)), ((3, 2), (1, 2))], whole)
    assert not covers([((1, 4), (0, 2)), ((1, 3), (2, 1))], whole)
    assert not covers([], whole)
    assert covers([], ((0, 0),))
    assert covers([()], ())
