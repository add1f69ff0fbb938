"""RunStep as a TensorFlow client sends it: names, options, errors, deadlines, large messages."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from flowray.master.service import ServiceOptions
from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.types import tensors
from tests.unit.master.fakes import PS, W0, W1, graph_def
from tests.wire.conftest import HeldService, Service
from tests.wire.raw import SECONDS, op_error, step

CHAIN = """
    p = Placeholder() @/job:worker/task:0
    a = Neg(p) @/job:worker/task:0
    b = AddV2(a, p) @/job:worker/task:1
    c = Mul(b, a) @/job:ps
    bad = CheckNumerics(a) message='m' @/job:worker/task:1
"""


def test_the_response_has_each_fetch_under_the_name_that_was_asked(service: Service) -> None:
    session = service.client.create(graph_def(CHAIN))
    response = service.client.call(
        "RunStep", step(session, "c:0", "a", "a:0", "c:0", feeds={"p": [1, 2]}, targets=["b"])
    )
    values = {item.name: tensors.decode(item.tensor).tolist() for item in response.tensor}
    assert values == {"c:0": [0, 0], "a": [-1, -2], "a:0": [-1, -2]}
    assert len(response.tensor) == 3
    assert response.HasField("metadata")
    assert response.metadata == config_pb2.RunMetadata()
    assert response.status_code == 0


def test_strings_go_both_ways(service: Service) -> None:
    session = service.client.create(
        graph_def("s = Placeholder() dtype=string\ni = Identity(s) T=string @/job:ps")
    )
    value = np.array([b"", b"\xff\0", b"x" * 300], object)
    (result,) = service.client.run(session, "i:0", feeds={"s:0": value})
    assert result.tolist() == value.tolist()


@pytest.mark.parametrize("in_body", [True, False])
@pytest.mark.parametrize("fetch", ["bad:0", "zz:0"])
def test_where_errors_are_stored(service: Service, fetch: str, in_body: bool) -> None:
    """In the response if the client knows that, else in the gRPC status."""
    client = service.client
    session = client.create(graph_def(CHAIN))
    request = step(session, fetch, feeds={"p:0": np.nan}, in_body=in_body)
    running = client.start("RunStep", request)
    code, text = {
        "bad:0": (errors.INVALID_ARGUMENT, "m : Tensor had NaN values\n\t [[{{node bad}}]]"),
        "zz:0": (errors.NOT_FOUND, "FetchOutputs node zz:0: not found"),
    }[fetch]
    if in_body:
        assert running.result().status_code == code
        assert running.result().status_error_message == text
        assert running.result().HasField("metadata")
    else:
        assert op_error(running.exception()).error_code == code
        assert op_error(running.exception()).message == text
    assert client.run(session, "a:0", feeds={"p:0": 1}) == [-1]


def test_an_error_that_is_not_text(held: HeldService) -> None:
    """Ops quote data: a message must still fit into a string of protobuf's."""
    held.w0.dead = errors.invalid_argument("bytes \udcff\ud800 here", node="a")
    session = held.client.create(graph_def("a = Const()"))
    for in_body in (True, False):
        with pytest.raises(errors.InvalidArgumentError, match=r"bytes \?\? here"):
            held.client.run(session, "a:0", in_body=in_body)


def test_a_long_error_is_cut_in_a_status_and_whole_in_a_body(held: HeldService) -> None:
    held.w0.dead = errors.internal("ü" * 5000)
    session = held.client.create(graph_def("a = Const()"))
    with pytest.raises(errors.InternalError) as info:
        held.client.run(session, "a:0")
    assert info.value.message == "ü" * 5000
    with pytest.raises(errors.InternalError) as info:
        held.client.run(session, "a:0", in_body=False)
    assert info.value.message.endswith("ü ... [truncated]")
    assert len(info.value.message.encode()) <= 3072


def test_a_repeated_request(service: Service) -> None:
    client = service.client
    session = client.create(
        graph_def("v = VariableV2()\np = Placeholder()\nw = Assign(v, p)\na = AssignAdd(v, p)")
    )
    client.run(session, targets=["w"], feeds={"p:0": 0})
    assert client.run(session, "a:0", feeds={"p:0": 1}, request_id=-77) == [1]
    for in_body in (True, False):
        with pytest.raises(errors.AbortedError, match=r"The same RunStep \(Master\) request was"):
            client.run(session, "a:0", feeds={"p:0": 1}, request_id=-77, in_body=in_body)
    assert client.run(session, "v:0", request_id=78) == [1]


def test_metadata_on_request(service: Service) -> None:
    client = service.client
    session = client.create(graph_def(CHAIN))
    options = config_pb2.RunOptions(trace_level=3, output_partition_graphs=True)
    response = client.call("RunStep", step(session, "c:0", feeds={"p:0": 1}, options=options))
    devices = [f"{task}/device:CPU:0" for task in (PS, W0, W1)]
    graphs = {
        g.node[0].device: [n.name for n in g.node] for g in response.metadata.partition_graphs
    }
    assert graphs == dict(zip(devices, [["c"], ["a"], ["b"]], strict=True))
    stats = {d.device: d.node_stats for d in response.metadata.step_stats.dev_stats}
    assert sorted(stats) == devices
    (b,) = stats[devices[2]]
    assert b.node_name == "b"
    assert b.all_end_rel_micros >= b.op_end_rel_micros >= b.op_start_rel_micros >= 0


def test_a_deadline_of_the_call(held: HeldService) -> None:
    session = held.client.create(graph_def("held = Const()"))
    with pytest.raises(errors.DeadlineExceededError):
        held.client.call("RunStep", step(session, "held:0"), timeout=0.3)
    held.client.close_session(session)
    held.w0.wait_for("end_session")
    assert held.calls() == ["register", "run", "cancel", "end_step", "end_session"]


@pytest.mark.parametrize("by", ["options", "config"])
def test_a_deadline_in_the_request(held: HeldService, by: str) -> None:
    config = {"operation_timeout_in_ms": 50} if by == "config" else {}
    options = config_pb2.RunOptions(timeout_in_ms=50) if by == "options" else None
    session = held.client.create(graph_def("held = Const()\na = Const()"), **config)
    for in_body in (True, False):
        with pytest.raises(errors.DeadlineExceededError, match="Deadline Exceeded"):
            held.client.run(session, "held:0", options=options, in_body=in_body)
    assert held.client.run(session, "a:0", options=options) == [1]


def test_a_cancelled_call_cancels_its_step(held: HeldService) -> None:
    session = held.client.create(graph_def("held = Const()\na = Const()"))
    running = held.client.start("RunStep", step(session, "held:0"))
    held.w0.wait_until_held()
    assert running.cancel()
    held.w0.wait_for("end_step")
    assert held.calls() == ["register", "run", "cancel", "end_step"]
    assert held.client.run(session, "a:0") == [1]


def test_steps_that_wait_keep_nobody_from_running(held: HeldService) -> None:
    """Each of a client's queue runners is a step that may wait for hours."""
    client = held.client
    session = client.create(graph_def("held = Const()\na = Const()"))
    running = [client.start("RunStep", step(session, "held:0")) for _ in range(100)]
    held.w0.wait_until_held(100)
    assert client.run(session, "a:0") == [1]
    other = client.create(graph_def("b = Const()"))
    assert client.run(other, "b:0") == [1]
    held.w0.release()
    for call in running:
        assert tensors.decode(call.result(timeout=SECONDS).tensor[0].tensor) == 1


def test_large_messages(service: Service) -> None:
    """gRPC's own limit would be 4 MB."""
    session = service.client.create(graph_def(CHAIN))
    value = np.arange(6_000_000, dtype=np.float32)
    a, c = service.client.run(session, "a:0", "c:0", feeds={"p:0": value})
    np.testing.assert_array_equal(a, -value)
    assert not c.any()
    graph = graph_def("big = Const()\nn = Neg(big)")
    graph.node[0].attr["value"].tensor.CopyFrom(tensors.encode(value))
    session = service.client.create(graph)
    np.testing.assert_array_equal(service.client.run(session, "n:0")[0], -value)


def test_a_message_over_the_limit() -> None:
    held = HeldService(ServiceOptions(max_message_bytes=100_000))
    try:
        client = held.client
        session, other = (client.create(graph_def("p = Placeholder()\na = Neg(p)")) for _ in "ab")
        for method, request in (
            ("RunStep", step(session, "a:0", feeds={"p:0": np.zeros(50_000)})),
            ("CreateSession", step("x" * 200_000)),
        ):
            with pytest.raises(errors.ResourceExhaustedError, match="larger than max"):
                client.bytes_call(method, request.SerializeToString())
        for handle in (session, other):
            assert client.run(handle, "a:0", feeds={"p:0": 1}) == [-1]
    finally:
        held.stop()


def test_partial_runs_are_not_there(service: Service) -> None:
    from flowray.proto.messages import master_pb2

    session = service.client.create(graph_def(CHAIN))
    request = master_pb2.PartialRunSetupRequest(
        session_handle=session, feed=["p:0"], fetch=["a:0"], request_id=1
    )
    with pytest.raises(errors.UnimplementedError, match="PartialRunSetup"):
        service.client.call("PartialRunSetup", request)
    with pytest.raises(errors.InvalidArgumentError, match="Must run PartialRunSetup before"):
        service.client.run(session, "a:0", feeds={"p:0": 1}, partial_run_handle="0")


def test_an_unknown_method(service: Service) -> None:
    with pytest.raises(errors.UnimplementedError):
        service.client.bytes_call("NoSuchMethod", b"")


def test_compressed_requests(service: Service) -> None:
    client = service.client
    session = client.create(graph_def(CHAIN))
    response = client.call(
        "RunStep",
        step(session, "a:0", feeds={"p:0": np.ones(10_000, np.float32)}),
        compression=grpc.Compression.Gzip,
    )
    assert tensors.decode(response.tensor[0].tensor).sum() == -10_000
