"""Messages between the master and a worker's process: frames on a stream, arrays beside the pickle.

A frame is ``n (u32), n sizes (u64), n parts``: a pickle, then the arrays that it refers to, so that
the bytes of an array are neither pickled nor copied in this process. Both ends trust each other:
a connection begins with a secret, see ``docs/decisions/0001-fast-lane.md``.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Buffer = bytes | memoryview

_TOTAL = struct.Struct("<Q")
_COUNT = struct.Struct("<I")
_CHUNK = 1 << 16


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


def body(frame: memoryview) -> memoryview:
    """Of all parts of ``pack``, one after the other: what ``unpack`` takes."""
    return frame[_TOTAL.size :]


def read_frame(line: socket.socket) -> memoryview:
    """The next frame. Raises LaneClosedError: the stream ended, or broke."""
    (size,) = _TOTAL.unpack(read_exactly(line, _TOTAL.size))
    return read_exactly(line, size)


class FrameReader:
    """Reads frames from a socket as far as they have come, for who must not wait for the rest."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._start = bytearray()  # of a frame that is not whole
        self._body: memoryview | None = None  # of a large one, to be filled
        self._filled = 0

    def frames(self) -> Iterator[Buffer]:
        """The frames that are there. Raises LaneClosedError: the stream ended, or broke."""
        while True:
            try:
                if self._body is None:
                    data = self._line.recv(_CHUNK, socket.MSG_DONTWAIT)
                    count = len(data)
                    self._start += data
                else:
                    count = self._line.recv_into(self._body[self._filled :], 0, socket.MSG_DONTWAIT)
                    self._filled += count
            except BlockingIOError:
                return
            except OSError as error:
                raise LaneClosedError(str(error)) from error
            if count == 0:
                raise LaneClosedError("end of file")
            yield from self._whole()
            if count < _CHUNK and self._body is None:
                return  # all that was there; more makes the socket readable again

    def _whole(self) -> Iterator[Buffer]:
        """The frames that are whole now."""
        if self._body is not None:
            if self._filled < len(self._body):
                return
            frame, self._body = self._body, None
            yield frame
        while len(self._start) >= _TOTAL.size:
            (size,) = _TOTAL.unpack_from(self._start)
            end = _TOTAL.size + size
            if len(self._start) < end:
                if size > _CHUNK:
                    part = self._start[_TOTAL.size :]
                    self._start.clear()
                    self._body = np.empty(size, np.uint8).data
                    self._body[: len(part)] = part
                    self._filled = len(part)
                return
            frame = memoryview(bytes(self._start[_TOTAL.size : end]))
            del self._start[:end]
            yield frame


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
