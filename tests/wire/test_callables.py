"""MakeCallable, RunCallable, ReleaseCallable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.messages import config_pb2, master_pb2
from flowray.proto.types import tensors
from tests.unit.master.fakes import graph_def
from tests.wire.conftest import HeldService, Service
from tests.wire.raw import RawClient

GRAPH = """
    p = Placeholder()
    q = Placeholder() @/job:worker/task:1
    d = AddV2(p, q) @/job:worker/task:1
    n = Neg(p)
"""


def make(client: RawClient, session: str, **options: Any) -> int:
    request = master_pb2.MakeCallableRequest(
        session_handle=session, options=config_pb2.CallableOptions(**options)
    )
    return int(client.call("MakeCallable", request).handle)


def run(
    client: RawClient, session: str, handle: int, *feeds: Any, request_id: int = 0
) -> list[Any]:
    request = master_pb2.RunCallableRequest(
        session_handle=session,
        handle=handle,
        feed=[tensors.encode(np.asarray(feed, np.float32)) for feed in feeds],
        request_id=request_id,
    )
    response = client.call("RunCallable", request)
    return [tensors.decode(proto).tolist() for proto in response.fetch]


def release(client: RawClient, session: str, handle: int) -> None:
    client.call(
        "ReleaseCallable", master_pb2.ReleaseCallableRequest(session_handle=session, handle=handle)
    )


def test_feeds_and_fetches_go_by_position(service: Service) -> None:
    client = service.client
    session = client.create(graph_def(GRAPH))
    first = make(client, session, feed=["q:0", "p:0"], fetch=["n:0", "d:0", "n:0"], target=["n"])
    second = make(client, session, feed=["p:0"], fetch=["n:0"])
    assert (first, second) == (0, 1)
    assert run(client, session, first, 10, 1) == [-1, 11, -1]
    assert run(client, session, second, [2, 3]) == [[-2, -3]]
    release(client, session, first)
    with pytest.raises(errors.InvalidArgumentError, match="after handle was released: 0"):
        run(client, session, first, 10, 1)
    release(client, session, first)
    assert run(client, session, second, 4) == [-4]


def test_tensor_connections(service: Service) -> None:
    client = service.client
    session = client.create(graph_def(GRAPH))
    connection = config_pb2.TensorConnection(from_tensor="n:0", to_tensor="q:0")
    handle = make(client, session, feed=["p:0"], fetch=["d:0"], tensor_connection=[connection])
    assert run(client, session, handle, 5) == [0]


def test_errors_come_as_the_status(service: Service) -> None:
    client = service.client
    session = client.create(graph_def(GRAPH))
    with pytest.raises(errors.NotFoundError, match="FetchOutputs node zz:0: not found"):
        make(client, session, fetch=["zz:0"])
    with pytest.raises(errors.UnimplementedError, match="feed_devices"):
        make(client, session, fetch=["n:0"], fetch_devices={"n:0": "/gpu:0"})
    handle = make(client, session, feed=["p:0"], fetch=["n:0"])
    with pytest.raises(errors.InvalidArgumentError, match=r"expected 1 feed tensor\(s\)"):
        run(client, session, handle)
    with pytest.raises(errors.InvalidArgumentError, match="No such callable handle: 9"):
        run(client, session, 9)
    unfed = make(client, session, fetch=["n:0"])
    with pytest.raises(errors.InvalidArgumentError, match=r"placeholder tensor 'p'(.|\n)*node p\}"):
        run(client, session, unfed)
    with pytest.raises(errors.AbortedError, match="Session beef is not found"):
        run(client, "beef", handle, 1)
    assert run(client, session, handle, 1) == [-1]


def test_repeated_requests(service: Service) -> None:
    client = service.client
    session = client.create(graph_def(GRAPH))
    handle = make(client, session, feed=["p:0"], fetch=["n:0"])
    assert run(client, session, handle, 1, request_id=3) == [-1]
    with pytest.raises(errors.AbortedError, match=r"The same RunCallable \(Master\) request"):
        run(client, session, handle, 1, request_id=3)


def test_a_cancelled_call_cancels_its_step(held: HeldService) -> None:
    client = held.client
    session = client.create(graph_def("held = Const()"))
    handle = make(client, session, fetch=["held:0"])
    request = master_pb2.RunCallableRequest(session_handle=session, handle=handle)
    running = client.start("RunCallable", request)
    held.w0.wait_until_held()
    assert running.cancel()
    held.w0.wait_for("end_step")
    assert held.calls() == ["register", "run", "cancel", "end_step"]


def test_closing_the_session_ends_the_call(held: HeldService) -> None:
    client = held.client
    session = client.create(graph_def("held = Const()"))
    handle = make(client, session, fetch=["held:0"])
    running = client.start(
        "RunCallable", master_pb2.RunCallableRequest(session_handle=session, handle=handle)
    )
    held.w0.wait_until_held()
    client.close_session(session)
    assert running.exception().code().value[0] == errors.CANCELLED
