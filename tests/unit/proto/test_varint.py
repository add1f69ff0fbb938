from __future__ import annotations

import pytest

from flowray.proto import errors
from flowray.proto.types import varint

NUMBERS = [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1]


@pytest.mark.parametrize("number", NUMBERS)
def test_round_trip(number: int) -> None:
    data = varint.encode(number)
    assert varint.decode(b"x" + data + b"y", 1) == (number, 1 + len(data))
    assert varint.decode(memoryview(data), 0) == (number, len(data))


def test_many() -> None:
    data = varint.encode_all(NUMBERS)
    assert data == varint.encode(*NUMBERS) == b"".join(map(varint.encode, NUMBERS))
    assert varint.decode_all(data, 0, len(NUMBERS)) == (NUMBERS, len(data))
    assert varint.decode_all(b"x" + data, 1, 2) == ([0, 1], 3)
    assert varint.decode_all(data, 0, 0) == ([], 0)


def test_bytes() -> None:
    assert varint.encode(300) == b"\xac\x02"
    assert varint.encode() == b""


@pytest.mark.parametrize("data", [b"", b"\x80\x80", b"\x80" * 10 + b"\x01", b"\xff" * 20])
def test_what_is_cut_off_or_too_long(data: bytes) -> None:
    with pytest.raises(errors.DataLossError):
        varint.decode(data, 0)


def test_a_huge_count_allocates_nothing() -> None:
    with pytest.raises(errors.DataLossError):
        varint.decode_all(b"\x01\x02", 0, 1 << 40)
