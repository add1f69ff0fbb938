"""The bidirectional stream of flowray's own client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from flowray.master.service import ServiceOptions
from flowray.proto import errors
from flowray.proto.messages import config_pb2, master_pb2, stream_pb2
from flowray.proto.types import tensors
from tests.unit.master.fakes import graph_def
from tests.wire.conftest import HeldService
from tests.wire.raw import SECONDS, step
from tests.wire.stream import StreamClient, raise_error

GRAPH = "p = Placeholder()\na = Neg(p)\nheld = Neg(p)"


@pytest.fixture
def stream(held: HeldService) -> Iterator[StreamClient]:
    stream = StreamClient(held.client, "me")
    yield stream
    stream.vanish()


def test_requests_are_answered_under_their_ids(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    stream.step(7, session, "a:0")
    response = stream.receive()
    assert response.id == 7
    assert response.error_code == 0
    (tensor,) = response.run.fetch
    assert tensors.decode(tensor) == -1


def test_a_waiting_request_keeps_no_other_waiting(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    stream.step(1, session, "held:0")
    held.w0.wait_until_held()
    for number in (2, 3):
        stream.step(number, session, "a:0", number)
        assert stream.receive().id == number
    held.w0.release()
    assert stream.receive().id == 1


def test_runs_go_by_position(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def("p = Placeholder()\nq = Placeholder()\nd = AddV2(p, q)"))
    run = stream.prepare(session, "q:0", "d:0", "d", feeds=["p:0"])
    assert stream.prepare(session, "q:0", "d:0", "d", feeds=["p:0"]) == run
    other = stream.prepare(session, "d:0", feeds=["q:0", "p:0"])
    stream.run(1, session, other, 3, np.float32([1, 2]))
    assert tensors.decode(stream.receive().run.fetch[0]).tolist() == [4, 5]
    stream.run(2, session, other, 3)
    with pytest.raises(errors.InvalidArgumentError, match=r"takes 2 feed value\(s\), but got 1"):
        raise_error(stream.receive())


def test_a_handle_that_the_session_does_not_know(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    stream.run(2, session, 4, 3)
    response = stream.receive()
    assert response.WhichOneof("body") is None
    assert response.unknown_run_handle
    with pytest.raises(errors.AbortedError, match="has no prepared run 4; prepare it again"):
        raise_error(response)
    stream.run(3, "beef", 4, 3)
    response = stream.receive()
    assert not response.unknown_run_handle
    with pytest.raises(errors.AbortedError, match="Session beef is not found"):
        raise_error(response)


def test_options_and_metadata(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    run = stream.prepare(session, "a:0")
    stream.run(1, session, run, 1, options=config_pb2.RunOptions(output_partition_graphs=True))
    assert len(stream.receive().run.metadata.partition_graphs) == 1
    stream.run(2, session, run, 1)
    assert not stream.receive().run.HasField("metadata")


def test_errors(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    with pytest.raises(errors.NotFoundError, match="FetchOutputs node zz:0: not found"):
        stream.prepare(session, "zz:0")
    run = stream.prepare(session, "a:0")
    stream.run(1, session, run, np.array(1, np.int64))
    with pytest.raises(errors.InternalError, match="does not match declared output type float"):
        raise_error(stream.receive())
    bad = tensors.encode(np.float32([1, 2]))
    bad.tensor_content = b"123"
    request = stream_pb2.RunRequest(session_handle=session, run_handle=run, feed=[bad])
    stream.send(2, run=request)
    with pytest.raises(errors.InvalidArgumentError):
        raise_error(stream.receive())
    stream.step(3, session, "a:0")
    raise_error(stream.receive())


def test_a_bug_while_a_run_is_prepared(
    held: HeldService, stream: StreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*arguments: Any) -> int:
        raise KeyError("a bug")

    session = stream.create(graph_def(GRAPH))
    monkeypatch.setattr(held.master, "prepare_run", prepare)
    with pytest.raises(errors.InternalError, match="KeyError: 'a bug'"):
        stream.prepare(session, "a:0")
    monkeypatch.undo()
    stream.step(3, session, "a:0")
    raise_error(stream.receive())


def test_a_request_is_cancelled_by_another(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    stream.step(1, session, "held:0")
    held.w0.wait_until_held()
    stream.send(9, cancel=1)
    response = stream.receive()
    assert response.id == 1
    with pytest.raises(errors.CancelledError, match="The client cancelled the step"):
        raise_error(response)
    stream.send(10, cancel=1)
    stream.send(11, cancel=555)
    stream.step(12, session, "a:0")
    assert stream.receive().id == 12


def test_a_cancellation_right_behind_its_request(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    run = stream.prepare(session, "held:0")
    stream.run(1, session, run, 1)
    stream.send(2, cancel=1)
    response = stream.receive()
    assert response.id == 1
    with pytest.raises(errors.CancelledError):
        raise_error(response)


def test_an_id_that_is_in_use(held: HeldService, stream: StreamClient) -> None:
    session = stream.create(graph_def(GRAPH))
    stream.step(1, session, "held:0")
    held.w0.wait_until_held()
    stream.step(1, session, "a:0")
    with pytest.raises(errors.InvalidArgumentError, match="Request 1 is not answered yet"):
        raise_error(stream.receive())
    held.w0.release()
    raise_error(stream.receive())


def test_a_request_of_nothing(held: HeldService, stream: StreamClient) -> None:
    stream.send(4)
    response = stream.receive()
    assert response.id == 4
    with pytest.raises(errors.InvalidArgumentError, match="has no body"):
        raise_error(response)


def test_bytes_that_are_not_a_request_end_the_stream(
    held: HeldService, stream: StreamClient
) -> None:
    stream.send_bytes(b"\xff\xff\xff")
    with pytest.raises(errors.InternalError, match="Unable to parse request"):
        stream.receive()
    other = StreamClient(held.client, "other")
    session = other.create(graph_def(GRAPH))
    other.step(1, session, "a:0")
    raise_error(other.receive())
    other.vanish()


def test_a_half_closed_stream_still_gets_its_answers(
    held: HeldService, stream: StreamClient
) -> None:
    session = stream.create(graph_def(GRAPH))
    stream.step(1, session, "held:0")
    held.w0.wait_until_held()
    stream.step(2, session, "a:0")
    stream.finish()
    assert stream.receive().id == 2
    held.w0.release()
    assert [response.id for response in stream.rest()] == [1]
    held.w0.wait_for("end_session")
    assert not held.master.sessions


def test_closing_a_session_ends_its_requests(held: HeldService, stream: StreamClient) -> None:
    session, other = (stream.create(graph_def(GRAPH)) for _ in "ab")
    stream.step(1, session, "held:0")
    held.w0.wait_until_held()
    held.client.close_session(session)
    with pytest.raises(errors.CancelledError, match="explicit call to `Session::Close"):
        raise_error(stream.receive())
    stream.step(2, other, "a:0")
    raise_error(stream.receive())


# What ends with the stream


def test_the_sessions_of_a_client_end_with_its_stream(held: HeldService) -> None:
    gone, stays = (StreamClient(held.client, name) for name in ("gone", "stays"))
    doomed = [gone.create(graph_def(GRAPH)) for _ in range(2)]
    kept, unowned = stays.create(graph_def(GRAPH)), held.client.create(graph_def(GRAPH))
    gone.step(1, doomed[0], "held:0")
    held.w0.wait_until_held()
    gone.vanish()
    held.w0.wait_for("end_session", 2)
    assert held.calls().index("cancel") < held.calls().index("end_step")
    assert set(held.master.sessions) == {kept, unowned}
    stays.step(1, kept, "a:0")
    raise_error(stays.receive())
    assert held.client.run(unowned, "a:0", feeds={"p:0": 1}) == [-1]
    stays.vanish()


def test_a_client_with_two_streams_lives_as_long_as_either(held: HeldService) -> None:
    first, second = (StreamClient(held.client, "same") for _ in range(2))
    session = first.create(graph_def(GRAPH))
    for stream in (first, second):
        stream.step(1, session, "a:0")
        raise_error(stream.receive())
    first.vanish()
    second.step(2, session, "a:0")
    raise_error(second.receive())
    assert session in held.master.sessions
    second.vanish()
    held.w0.wait_for("end_session")


def test_a_session_whose_stream_never_comes_is_closed_after_a_while() -> None:
    held = HeldService(ServiceOptions(unattached_session_seconds=0.05))
    try:
        metadata = (("flowray-client-id", "nobody"),)
        request = master_pb2.CreateSessionRequest(graph_def=graph_def(GRAPH))
        held.client.call("CreateSession", request, metadata=metadata)
        other = held.client.create(graph_def(GRAPH))
        held.w0.wait_for("end_session")
        assert set(held.master.sessions) == {other}
    finally:
        held.stop()


def test_sessions_that_nobody_uses_are_closed_if_so_configured() -> None:
    """For clients of TensorFlow's, whose end shows in nothing."""
    held = HeldService(ServiceOptions(idle_session_seconds=1.0))
    try:
        stream = StreamClient(held.client, "me")
        own = stream.create(graph_def(GRAPH))
        stream.step(1, own, "a:0")
        raise_error(stream.receive())
        busy, idle = (held.client.create(graph_def(GRAPH)) for _ in "ab")
        running = held.client.start("RunStep", step(busy, "held:0", feeds={"p:0": 1}))
        held.w0.wait_for("end_session")
        assert set(held.master.sessions) == {own, busy}
        assert idle not in held.master.sessions
        held.w0.release()
        assert running.result(timeout=SECONDS).status_code == 0
        stream.vanish()
    finally:
        held.stop()


def test_a_client_that_leaves_while_its_session_is_made(
    held: HeldService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never learns the handle, so the session must not stay."""
    master = held.master
    begun, go_on = threading.Event(), threading.Event()
    create = master.create_session

    def create_slowly(*arguments: Any) -> str:
        begun.set()
        assert go_on.wait(SECONDS)
        return create(*arguments)

    monkeypatch.setattr(master, "create_session", create_slowly)
    creating = held.client.start("CreateSession", master_pb2.CreateSessionRequest())
    assert begun.wait(SECONDS)
    assert creating.cancel()
    # The server has heard of it when it has answered what was sent after it.
    held.client.call("ListDevices", master_pb2.ListDevicesRequest())
    go_on.set()
    held.w0.wait_for("end_session")
    assert not master.sessions
