"""CreateSession, ExtendSession, CloseSession, ListDevices, Reset, as a TensorFlow client calls."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.messages import graph_pb2, master_pb2
from tests.unit.master.fakes import PS, W0, W1, graph_def
from tests.wire.conftest import HeldService, Service
from tests.wire.raw import SECONDS, RawClient, step

COUNTER = """
    v = VariableV2() @/job:ps
    p = Placeholder() @/job:ps
    w = Assign(v, p) @/job:ps
    a = AssignAdd(v, p) @/job:ps
"""


def test_a_session_from_beginning_to_end(service: Service) -> None:
    client = service.client
    response = client.call(
        "CreateSession", master_pb2.CreateSessionRequest(graph_def=graph_def("a = Const()"))
    )
    session = response.session_handle
    assert len(session) == 16
    assert response.graph_version == 0
    assert client.run(session, "a:0") == [1]
    assert client.extend(session, graph_def("b = Neg(a) @/job:worker/task:1"), 0) == 1
    assert client.extend(session, graph_def("c = Neg(b) @/job:ps"), 1) == 2
    assert client.run(session, "c:0", "b:0") == [1, -1]
    client.close_session(session)
    assert not service.master.sessions


def test_the_graph_has_one_version(service: Service) -> None:
    client = service.client
    session = client.create(graph_def("a = Const()"))
    client.extend(session, graph_def("b = Const()"), 0)
    with pytest.raises(errors.AbortedError) as info:
        client.extend(session, graph_def("c = Const()"), 0)
    assert info.value.message == "Current version is 1 but caller expected 0."
    assert client.extend(session, graph_def("c = Const()"), 1) == 2


def test_the_first_client_asks_for_devices_with_an_empty_graph(service: Service) -> None:
    session = service.client.create(graph_pb2.GraphDef())
    response = service.client.call(
        "ListDevices", master_pb2.ListDevicesRequest(session_handle=session)
    )
    assert not response.remote_device
    assert [d.name for d in response.local_device] == [
        f"{task}/device:CPU:0" for task in (PS, W0, W1)
    ]
    for device in response.local_device:
        assert device.device_type == "CPU"
        assert device.memory_limit > 0
    assert len({device.incarnation for device in response.local_device}) == 3


def test_variables_outlive_their_session(service: Service) -> None:
    client = service.client
    first = client.create(graph_def(COUNTER))
    client.run(first, targets=["w"], feeds={"p:0": 5})
    client.close_session(first)
    second = client.create(graph_def(COUNTER))
    assert client.run(second, "v:0") == [5]
    assert client.run(second, "a:0", feeds={"p:0": 1}) == [6]


def test_reset_ends_all_sessions_and_their_variables(service: Service) -> None:
    client = service.client
    sessions = [client.create(graph_def(COUNTER)) for _ in range(2)]
    client.run(sessions[0], targets=["w"], feeds={"p:0": 5})
    client.call("Reset", master_pb2.ResetRequest())
    for session in sessions:
        with pytest.raises(errors.AbortedError) as info:
            client.run(session, "v:0")
        assert info.value.message == f"Session {session} is not found."
    fresh = client.create(graph_def(COUNTER))
    with pytest.raises(errors.FailedPreconditionError, match="uninitialized value v"):
        client.run(fresh, "v:0")


def test_reset_of_another_container_keeps_the_variables(service: Service) -> None:
    client = service.client
    client.run(client.create(graph_def(COUNTER)), targets=["w"], feeds={"p:0": 5})
    client.call("Reset", master_pb2.ResetRequest(container=["other"]))
    assert client.run(client.create(graph_def(COUNTER)), "v:0") == [5]
    client.call("Reset", master_pb2.ResetRequest(container=["ps"]))
    with pytest.raises(errors.FailedPreconditionError):
        client.run(client.create(graph_def(COUNTER)), "v:0")


def test_isolated_sessions_share_nothing(service: Service) -> None:
    client = service.client
    shared = client.create(graph_def(COUNTER))
    client.run(shared, targets=["w"], feeds={"p:0": 5})
    alone = client.create(graph_def(COUNTER), isolate_session_state=True)
    with pytest.raises(errors.FailedPreconditionError):
        client.run(alone, "v:0")
    client.run(alone, targets=["w"], feeds={"p:0": 7})
    assert client.run(shared, "v:0") == [5]
    assert client.run(alone, "v:0") == [7]


def test_unknown_attributes_are_accepted_and_missing_ones_have_defaults(service: Service) -> None:
    """Clients are newer and older than the server."""
    graph = graph_def("a = Const() value=[[2.0]]\nb = MatMul(a, a)")
    matmul = graph.node[1]
    assert "transpose_a" not in matmul.attr
    matmul.attr["grad_a"].b = False
    assert service.client.run(service.client.create(graph), "b:0") == [[[4]]]


def test_closing_ends_running_steps(held: HeldService) -> None:
    session = held.client.create(graph_def("held = Const()"))
    running = held.client.start("RunStep", step(session, "held:0"))
    held.w0.wait_until_held()
    held.client.close_session(session)
    response = running.result()
    assert response.status_code == errors.CANCELLED
    assert response.status_error_message == (
        "Step was cancelled by an explicit call to `Session::Close()`."
    )
    held.w0.wait_for("end_session")
    assert held.calls() == ["register", "run", "cancel", "end_step", "end_session"]


def test_many_clients_at_once(service: Service) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        client = RawClient(service.address)
        try:
            session = client.create(graph_def("p = Placeholder()\na = Neg(p) @/job:worker/task:1"))
            for i in range(10):
                (result,) = client.run(session, "a:0", feeds={"p:0": [number, i]})
                np.testing.assert_array_equal(result, [-number, -i])
            client.close_session(session)
        except BaseException as error:
            failures.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not failures, failures
    assert not service.master.sessions
