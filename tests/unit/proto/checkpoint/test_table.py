"""Sorted tables of byte strings."""

import pytest

from flowray.proto import errors
from flowray.proto.files.checkpoint import table

FEW = [(b"", b"header"), (b"a", b"1"), (b"ab", b""), (b"b\xff", b"x" * 300)]
# A file that TensorFlow wrote: the index of one tensor "y" of shape [2].
WRITTEN_BY_TENSORFLOW = (
    bytes.fromhex(
        "00000608011a02080100010f7908011204120208022808355 93ce535"
        "000000000100000000a80208aa00000000010000000 0c0f2a1b0"
        "00010 27a002400000000010000000 0ec6ab02e".replace(" ", "")
    )
    + bytes.fromhex("2908360e")
    + bytes(36)
    + bytes.fromhex("57fb808b247547db")
)


def many(count: int) -> list[tuple[bytes, bytes]]:
    return [(b"layer/%06d/weights" % i, b"value %d" % i) for i in range(count)]


@pytest.mark.parametrize("entries", [[], FEW, many(15), many(16), many(17), many(30_000)], ids=len)
def test_round_trip(entries: list) -> None:
    assert list(table.Table(table.build(entries))) == entries


def test_large_tables_have_several_blocks() -> None:
    data = table.build(many(30_000))
    blocks = list(table._entries(table.Table(data)._index))
    assert len(blocks) > 1
    assert len(data) < sum(len(k) + len(v) for k, v in many(30_000))


def test_bytes_are_tensorflows() -> None:
    entries = list(table.Table(WRITTEN_BY_TENSORFLOW))
    assert [key for key, _ in entries] == [b"", b"y"]
    assert table.build(entries) == WRITTEN_BY_TENSORFLOW


def test_index_keys_are_short() -> None:
    assert table._separator(b"abcd", b"abzz") == b"abd"
    assert table._separator(b"abc", b"abd") == b"abc"
    assert table._separator(b"ab", b"abc") == b"ab"
    assert table._separator(b"a\xff", b"b") == b"a\xff"
    assert table._successor(b"abc") == b"b"
    assert table._successor(b"\xff\xffa") == b"\xff\xffb"
    assert table._successor(b"\xff") == b"\xff"


def test_any_damage_is_noticed() -> None:
    data = table.build(FEW)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        try:
            assert list(table.Table(bytes(damaged))) == FEW  # the footer has unused bytes
        except errors.DataLossError:
            continue
        assert len(data) - 48 <= position < len(data) - 8


@pytest.mark.parametrize("keep", [0, 10, 47, 48, -1, -50])
def test_truncated(keep: int) -> None:
    with pytest.raises(errors.DataLossError):
        list(table.Table(table.build(FEW)[:keep]))


def test_compressed_blocks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_UNCOMPRESSED", table._SNAPPY)
    data = table.build(FEW)
    monkeypatch.undo()
    with pytest.raises(errors.UnimplementedError, match="Snappy"):
        table.Table(data)
