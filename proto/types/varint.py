"""Varints: non-negative integers in groups of 7 bits, the lowest first.

All bytes of a number but its last one have the high bit set. Tensors of strings, checkpoints and
their tables hold lengths in this form, as protocol buffers do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowray.proto import errors

_MAX_BITS = 64


def encode(*numbers: int) -> bytes:
    """Returns the numbers, one after the other."""
    return encode_all(numbers)


def encode_all(numbers: Iterable[int]) -> bytes:
    """Returns the numbers, one after the other."""
    result = bytearray()
    for number in numbers:
        while number > 0x7F:
            result.append(number & 0x7F | 0x80)
            number >>= 7
        result.append(number)
    return bytes(result)


def decode(data: Sequence[int], position: int) -> tuple[int, int]:
    """Returns the number that begins at ``position`` of ``data`` and the position after it.

    Raises:
        DataLossError: the data ends before the number does, or the number has more than 64 bits.
    """
    (number,), position = decode_all(data, position, 1)
    return number, position


def decode_all(data: Sequence[int], position: int, count: int) -> tuple[list[int], int]:
    """Returns ``count`` numbers from ``position`` on and the position after them.

    Args:
        data: bytes, or a memoryview of them.

    Raises:
        DataLossError: the data ends before the numbers do, or one has more than 64 bits.
    """
    if count > len(data) - position:  # a number takes a byte: there is no list of a wrong count
        raise errors.data_loss("bad varint")
    numbers = []
    try:
        for _ in range(count):
            number = data[position]
            position += 1
            if number > 0x7F:
                number &= 0x7F
                shift = 7
                while True:
                    byte = data[position]
                    position += 1
                    number |= (byte & 0x7F) << shift
                    if byte < 0x80:
                        break
                    shift += 7
                    if shift >= _MAX_BITS:
                        raise errors.data_loss("bad varint")
            numbers.append(number)
    except IndexError:
        raise errors.data_loss("bad varint") from None
    return numbers, position
