"""Frames between master and worker."""

from __future__ import annotations

import socket
import threading

import ml_dtypes
import numpy as np
import pytest

from flowray.proto.wire import lane

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.float64(2.5) * np.ones(()),
    np.zeros((0, 4), np.int64),
    np.arange(12).reshape(3, 4)[:, ::2],
    np.array([1.5, -2], ml_dtypes.bfloat16),
    np.array([b"a", b"bc\0"], object),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_survive(array: np.ndarray) -> None:
    name, result = lane.unpack(lane.join(lane.pack(("x", array))))
    assert name == "x"
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    np.testing.assert_array_equal(result, array)


def test_the_bytes_of_an_array_are_not_copied_into_the_pickle() -> None:
    array = np.ones(1000)
    head, raw = lane.pack(array)
    assert len(head) < 400
    assert np.shares_memory(np.asarray(raw), array)


def test_frames_keep_their_borders_on_a_stream() -> None:
    here, there = socket.socketpair()
    values = [np.full(n, n, np.int32) for n in (0, 1, 300_000, 5)]
    writer = threading.Thread(target=lambda: [lane.write_frame(here, lane.pack(v)) for v in values])
    with here, there:
        writer.start()
        for value in values:
            np.testing.assert_array_equal(lane.unpack(lane.read_frame(there)), value)
        writer.join()


def test_a_closed_stream_is_an_error_in_the_middle_of_a_frame_too() -> None:
    here, there = socket.socketpair()
    with there:
        here.sendall(lane.join(lane.pack("something"))[:3])
        here.close()
        with pytest.raises(lane.LaneClosedError):
            lane.read_frame(there)
        with pytest.raises(lane.LaneClosedError):
            lane.write_frame(there, lane.pack(1))


def test_frames_come_in_pieces() -> None:
    """A reader that does not wait puts together what comes, whatever the pieces."""
    values = [np.full(n, n, np.int32) for n in (0, 1, 70_000, 3, 3, 200_000, 16_370, 16_371)]
    stream = b"".join(bytes(part) for v in values for part in lane.pack(v))
    for piece in (7, 1000, 65_536, len(stream)):
        here, there = socket.socketpair()
        here.setblocking(False)
        with here, there:
            reader, found, at = lane.FrameReader(there), [], 0
            while len(found) < len(values):
                if at < len(stream):
                    at += here.send(stream[at : at + piece])
                found.extend(lane.unpack(frame) for frame in reader.frames())
            for value, result in zip(values, found, strict=True):
                np.testing.assert_array_equal(value, result)
            here.shutdown(socket.SHUT_WR)
            with pytest.raises(lane.LaneClosedError):
                list(reader.frames())
