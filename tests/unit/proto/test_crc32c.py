"""Checksums, against their definition."""

import numpy as np
import pytest

from flowray.proto.files import crc32c

RANDOM = np.random.default_rng(0)


def bitwise(data: bytes, crc: int = 0) -> int:
    """The definition, one bit at a time."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_published_value() -> None:
    assert crc32c.value(b"123456789") == 0xE3069283
    assert crc32c.value(b"") == 0


@pytest.mark.parametrize("size", [*range(10), 63, 64, 65, 127, 128, 129, 1000, 4096, 5000])
@pytest.mark.parametrize("crc", [0, 0x12345678])
def test_equals_the_definition(size: int, crc: int) -> None:
    data = RANDOM.bytes(size)
    assert crc32c.extend(crc, data) == bitwise(data, crc)


def test_pieces_make_the_whole() -> None:
    data = RANDOM.bytes((64 << 16) * 2 + 77)
    whole = crc32c.value(data)
    crc = 0
    for start in range(0, len(data), 1_000_003):
        crc = crc32c.extend(crc, memoryview(data)[start : start + 1_000_003])
    assert crc == whole


def test_takes_any_buffer_and_leaves_it_writable() -> None:
    array = np.arange(100, dtype=np.uint8)
    expected = bitwise(array.tobytes())
    buffers = (array, array.tobytes(), bytearray(array.tobytes()), memoryview(array))
    assert {crc32c.value(buffer) for buffer in buffers} == {expected}
    array[0] = 1


def test_mask() -> None:
    for crc in (0, 1, 0xFFFFFFFF, 0x12345678):
        assert crc32c.unmask(crc32c.mask(crc)) == crc
        assert crc32c.mask(crc) != crc
    # What TensorFlow writes over the lengths of an empty string tensor.
    assert crc32c.masked(b"") == 0xA282EAD8
