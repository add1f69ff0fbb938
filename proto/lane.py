"""Messages between the master and a worker's process: frames on a stream, arrays beside the pickle.

A frame is ``n (u32), n sizes (u64), n parts``: a pickle, then the arrays that it refers to, so that
the bytes of an array are neither pickled nor copied in this process. Both ends trust each other:
a connection begins with a secret, see ``docs/decisions/0001-fast-lane.md``.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

Buffer = bytes | memoryview

_TOTAL = struct.Struct("<Q")
_COUNT = struct.Struct("<I")


class LaneClosedError(Exception):
    """The other end is gone."""


def pack(value: Any) -> list[Buffer]:
    """The parts of a frame; joined they are what ``unpack`` takes.

    The arrays in ``value`` are referred to, not copied: they must not change until it is sent.
    """
    arrays: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    raws = [array.raw() for array in arrays]
    sizes = [len(body), *(raw.nbytes for raw in raws)]
    head = _COUNT.pack(len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
    return [_TOTAL.pack(len(head) + sum(sizes)) + head + body, *raws]


def unpack(frame: Buffer) -> Any:
    """The value of a frame (without its length). Its arrays are views that keep ``frame`` alive."""
    view = memoryview(frame)
    (count,) = _COUNT.unpack_from(view)
    at = _COUNT.size + 8 * count
    parts = []
    for size in struct.unpack_from(f"<{count}Q", view, _COUNT.size):
        parts.append(view[at : at + size])
        at += size
    return pickle.loads(parts[0], buffers=parts[1:])


def join(parts: Sequence[Buffer]) -> bytes:
    """The parts of ``pack`` as the one piece that ``unpack`` takes."""
    return b"".join(parts)[_TOTAL.size :]


def read_frame(line: socket.socket) -> memoryview:
    """The next frame. Raises LaneClosedError: the stream ended, or broke."""
    (size,) = _TOTAL.unpack(read_exactly(line, _TOTAL.size))
    return read_exactly(line, size)


def read_exactly(line: socket.socket, size: int) -> memoryview:
    """``size`` bytes. Raises LaneClosedError if they do not come."""
    # Unlike a bytearray's, the memory of an empty array is not written before its data comes.
    data = np.empty(size, np.uint8).data
    at = 0
    while at < size:
        try:
            count = line.recv_into(data[at:])
        except OSError as error:
            raise LaneClosedError(str(error)) from error
        if count == 0:
            raise LaneClosedError("end of file")
        at += count
    return data


def write_frame(line: socket.socket, parts: Sequence[Buffer]) -> None:
    """Sends the parts of ``pack``; waits for the other end to read. Raises LaneClosedError."""
    try:
        if sum(map(len, parts)) <= 1 << 16:
            line.sendall(b"".join(parts))
        else:
            for part in parts:
                line.sendall(part)
    except OSError as error:
        raise LaneClosedError(str(error)) from error
