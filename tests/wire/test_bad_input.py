"""Whatever a client sends is answered with TensorFlow's code, and harms nobody else."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from flowray.proto import errors
from flowray.proto.messages import config_pb2, master_pb2
from tests.unit.master.fakes import PS, W0, W1, graph_def
from tests.wire.bad_requests import GRAPHS, STEPS, base, good_step
from tests.wire.conftest import Service, ThreadWorker
from tests.wire.raw import step


@pytest.fixture(scope="module")
def shared() -> Iterator[Service]:
    service = Service([ThreadWorker(task) for task in (PS, W0, W1)])
    yield service
    service.stop()


@pytest.mark.parametrize("device", ["", "/job:worker/task:1"])
@pytest.mark.parametrize("name", STEPS)
def test_bad_steps(shared: Service, name: str, device: str) -> None:
    client, bad = shared.client, STEPS[name]
    session, other = (client.create(base(device)) for _ in "ab")
    before = set(shared.master.sessions)
    with pytest.raises(errors.OpError) as info:
        bad.what(client, session)
    bad.check(info.value)
    good_step(client, session)
    good_step(client, other)
    assert set(shared.master.sessions) == before


@pytest.mark.parametrize("name", GRAPHS)
def test_bad_graphs(shared: Service, name: str) -> None:
    client, bad = shared.client, GRAPHS[name]
    session, other = (client.create(base()) for _ in "ab")
    before = set(shared.master.sessions)
    with pytest.raises(errors.OpError) as info:
        client.create(bad.what)
    bad.check(info.value)
    assert set(shared.master.sessions) == before
    with pytest.raises(errors.OpError) as info:
        client.extend(session, bad.what)
    bad.check(info.value)
    good_step(client, session)
    good_step(client, other)
    # Nothing of the bad nodes stayed: good ones may have their names.
    assert client.extend(session, graph_def("u = NoOp()\nx = Const()")) == 1
    client.run(session, targets=["u"])


# What a request with any bytes may be answered. INTERNAL is for what cannot be read; a bug of ours
# would have another text.
UNREADABLE = ("Unable to parse request", "Output 0 of type")


@pytest.mark.parametrize("method", ["CreateSession", "ExtendSession", "RunStep", "MakeCallable"])
def test_any_bytes_are_answered(shared: Service, method: str) -> None:
    """Random changes of good requests get an answer; those who ask well still get theirs."""
    client = shared.client
    session = client.create(base())
    good = {
        "CreateSession": master_pb2.CreateSessionRequest(graph_def=base()),
        "ExtendSession": master_pb2.ExtendSessionRequest(
            session_handle=session, graph_def=graph_def("x = Const()\ny = Neg(x)")
        ),
        "RunStep": step(
            session, "negative:0", "negative", feeds={"p:0": [1, 2]}, targets=["nothing"]
        ),
        "MakeCallable": master_pb2.MakeCallableRequest(
            session_handle=session,
            options=config_pb2.CallableOptions(feed=["p:0"], fetch=["negative:0"]),
        ),
    }[method].SerializeToString()
    rng = random.Random(3)
    outcomes: set[str] = set()
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            answer = client.bytes_call(method, bytes(data))
        except errors.OpError as error:
            outcomes.add("error")
            failure: errors.OpError | None = error
        else:
            outcomes.add("answer")
            failure = None
            if method == "RunStep":
                response = master_pb2.RunStepResponse.FromString(answer)
                if response.status_code:
                    text = response.status_error_message
                    failure = errors.from_code(response.status_code, text)
        if isinstance(failure, errors.InternalError | errors.UnknownError):
            assert failure.message.startswith(UNREADABLE), failure
    assert outcomes == {"error", "answer"}
    good_step(client, client.create(base()))
