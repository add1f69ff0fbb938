"""Messages between the master and a worker's process: a stream of frames.

A frame is ``n (u32), n sizes (u64), n parts``: a pickle, then the arrays that it refers to. The
bytes of an array are neither pickled nor copied in this process. Both ends trust each other: a
connection begins with a secret (``docs/decisions/0001-fast-lane.md``).
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
    """The other end has closed the connection, or is gone."""


def pack(value: Any) -> list[Buffer]:
    """Returns the parts of a frame.

    The arrays in ``value`` are not copied: they must not change until the frame is sent.
    """
    arrays: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    raws = [array.raw() for array in arrays]
    sizes = [len(body), *(raw.nbytes for raw in raws)]
    head = _COUNT.pack(len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
    return [_TOTAL.pack(len(head) + sum(sizes)) + head + body, *raws]


def unpack(frame: Buffer) -> Any:
    """Returns the value of a frame without its length. Its arrays are views of ``frame``."""
    view = memoryview(frame)
    (count,) = _COUNT.unpack_from(view)
    at = _COUNT.size + 8 * count
    parts = []
    for size in struct.unpack_from(f"<{count}Q", view, _COUNT.size):
        parts.append(view[at : at + size])
        at += size
    return pickle.loads(parts[0], buffers=parts[1:])


def join(parts: Sequence[Buffer]) -> bytes:
    """Joins the parts of ``pack`` into the bytes that ``unpack`` takes."""
    return b"".join(parts)[_TOTAL.size :]


def body(frame: memoryview) -> memoryview:
    """Returns the part of the joined parts of ``pack`` that ``unpack`` takes."""
    return frame[_TOTAL.size :]


def read_frame(sock: socket.socket) -> memoryview:
    """Reads the next frame. LaneClosedError if the stream ended or broke."""
    (size,) = _TOTAL.unpack(read_exactly(sock, _TOTAL.size))
    return read_exactly(sock, size)


class FrameReader:
    """Reads frames from a socket without waiting for bytes that have not come yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._start = bytearray()  # the beginning of an incomplete frame
        self._body: memoryview | None = None  # the buffer of a large frame, to be filled
        self._filled = 0

    def frames(self) -> Iterator[Buffer]:
        """Returns the frames that have come. LaneClosedError if the stream ended or broke."""
        while True:
            try:
                if self._body is None:
                    data = self._socket.recv(_CHUNK, socket.MSG_DONTWAIT)
                    count = len(data)
                    self._start += data
                else:
                    count = self._socket.recv_into(
                        self._body[self._filled :], 0, socket.MSG_DONTWAIT
                    )
                    self._filled += count
            except BlockingIOError:
                return
            except OSError as error:
                raise LaneClosedError(str(error)) from error
            if count == 0:
                raise LaneClosedError("end of file")
            yield from self._whole()
            if count < _CHUNK and self._body is None:
                return  # the socket becomes readable again when more comes

    def _whole(self) -> Iterator[Buffer]:
        """Returns the frames that are complete now."""
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


def read_exactly(sock: socket.socket, size: int) -> memoryview:
    """Reads ``size`` bytes. LaneClosedError if the stream ends before or breaks."""
    # The memory of a bytearray would be written twice: with zeros, then with the data.
    data = np.empty(size, np.uint8).data
    at = 0
    while at < size:
        try:
            count = sock.recv_into(data[at:])
        except OSError as error:
            raise LaneClosedError(str(error)) from error
        if count == 0:
            raise LaneClosedError("end of file")
        at += count
    return data


def write_frame(sock: socket.socket, parts: Sequence[Buffer]) -> None:
    """Sends the parts of ``pack``; waits for the other end to read. LaneClosedError if it broke."""
    try:
        if sum(map(len, parts)) <= 1 << 16:
            sock.sendall(b"".join(parts))
        else:
            for part in parts:
                sock.sendall(part)
    except OSError as error:
        raise LaneClosedError(str(error)) from error
