"""Bad requests, and what TensorFlow's server answers to them.

``tests/wire`` asks flowray's service, ``tests/integration`` a cluster, ``tests/conformance``
TensorFlow's own server, unless a case says why that would answer otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from flowray.proto import errors
from flowray.proto.messages import graph_pb2, master_pb2
from flowray.proto.wire import service
from tests.unit.master.fakes import graph_def
from tests.wire.raw import RawClient, step

T = TypeVar("T")


@dataclass(frozen=True)
class Bad(Generic[T]):
    """A request and its answer."""

    what: T
    code: int
    text: str
    """A regular expression; both servers' messages have a match."""
    node: str | None = None
    """The node that flowray blames."""
    not_tensorflow: str = ""
    """Why TensorFlow's server is not asked."""

    def check(self, error: errors.OpError, *, ours: bool = True) -> None:
        """The error has the code and the text; ``ours`` always says something, with the node."""
        assert error.error_code == self.code, error
        assert re.search(self.text, error.message), error.message
        assert error.message or not ours
        if ours and self.node is not None:
            assert f"[[{{{{node {self.node}}}}}]]" in error.message, error.message


Ask = Callable[[RawClient, str], Any]


def base(device: str = "") -> graph_pb2.GraphDef:
    """The graph of a session that bad steps are asked of; ``good_step`` runs on it."""
    lines = """
        p = Placeholder() shape=(2,)
        negative = Neg(p)
        a = Placeholder()
        b = Placeholder()
        product = MatMul(a, b)
        bad = Neg(product)
        v = VariableV2() shape=(2,)
        read = Identity(v)
        nothing = NoOp()
    """
    result = graph_def(lines)
    for node in result.node:
        node.device = device
    return result


def good_step(client: RawClient, session: str) -> None:
    """Runs a step that works in a session of ``base``, whatever went wrong before."""
    (result,) = client.run(session, "negative:0", feeds={"p:0": [1, 2]})
    np.testing.assert_array_equal(result, [-1, -2])


# Graphs: a session must neither be made of them nor be extended by them


def _without(text: str, attr: str) -> graph_pb2.GraphDef:
    graph = graph_def(text)
    del graph.node[-1].attr[attr]
    return graph


def _with(text: str, change: Callable[[graph_pb2.NodeDef], None]) -> graph_pb2.GraphDef:
    graph = graph_def(text)
    change(graph.node[-1])
    return graph


def _set_int(node: graph_pb2.NodeDef) -> None:
    node.attr["dtype"].i = 1


def _set_bytes(node: graph_pb2.NodeDef) -> None:
    node.attr["value"].tensor.tensor_content = b"123"


def _newer(text: str) -> graph_pb2.GraphDef:
    graph = graph_def(text)
    graph.versions.min_consumer = 10**6
    return graph


def _bad(
    graph: graph_pb2.GraphDef, code: int, text: str, node: str | None = "u", **more: Any
) -> Bad[graph_pb2.GraphDef]:
    return Bad(graph, code, text, node, **more)


INVALID, MISSING = errors.INVALID_ARGUMENT, errors.NOT_FOUND

GRAPHS: dict[str, Bad[graph_pb2.GraphDef]] = {
    "unknown op": _bad(
        graph_def("u = NoSuchOp()"), MISSING,
        r"Op type not registered 'NoSuchOp' in binary running on \w+",
    ),
    "unknown input": _bad(
        graph_def("u = Neg(x1)"), INVALID, "Node 'u': Unknown input node 'x1'"
    ),
    "unknown control input": _bad(
        graph_def("u = NoOp(^x1)"), INVALID, r"Node 'u': Unknown input node '\^?x1'"
    ),
    "cycle": _bad(
        graph_def("u = Neg(u2)\nu2 = Neg(u)"), INVALID, "^2 nodes in a cycle"
    ),
    "duplicate": _bad(
        graph_def("u = Const()\nu = Const()"), INVALID, "Node 'u' is not unique"
    ),
    "illegal name": _bad(
        graph_def("-u = Const()"), INVALID, "Illegal op name '-u'", "-u"
    ),
    "missing attribute": _bad(
        _without("u = Placeholder()", "dtype"), MISSING, "No attr named 'dtype' in NodeDef:"
    ),
    "attribute of another kind": _bad(
        _with("u = Placeholder()", _set_int), INVALID, "attr 'dtype'",
        not_tensorflow="it reads the wrong kind as dtype 0 and goes on",
    ),
    "attribute with a bad value": _bad(
        graph_def("x = Const() dtype=string value=b'a'\nu = MatMul(x, x) T=string"), INVALID,
        "Value for attr 'T' of string is not in the list of allowed values",
    ),
    "constant of the wrong size": _bad(
        _with("u = Const()", _set_bytes), INVALID, "",
        not_tensorflow="it says so when the constant runs, on whatever it folds into",
    ),
    "too few inputs": _bad(
        graph_def("x = Const()\nu = AddV2(x)"), INVALID,
        "expected inputs 'float, float' do not match 1 inputs specified",
        not_tensorflow="it dies of that",
    ),
    "too many inputs": _bad(
        graph_def("x = Const()\nu = Neg(x, x)"), INVALID, "",
        not_tensorflow="it has another text, which does not name the op's types",
    ),
    "types that differ along an edge": _bad(
        graph_def("x = Const()\nu = Neg(x) T=int32"), INVALID,
        r"Input 0 of node u was passed float from x:0 incompatible with expected int32\.",
    ),
    "no such output": _bad(
        graph_def("x = Const()\nu = Neg(x:3)"), INVALID,
        "Node 'u': Connecting to invalid output 3 of source node x which has 1 outputs",
    ),
    "no such device": _bad(
        graph_def("u = Const() @/job:nobody/task:3"), INVALID,
        r"Cannot assign a device for operation u: \{\{node u\}\} was explicitly assigned to "
        r"/job:nobody/task:3 but available devices are \[ /job:.*Make sure the device spec",
    ),
    "malformed device": _bad(
        graph_def("u = Const() @/jab:x"), INVALID, "Malformed device specification '/jab:x'"
    ),
    "newer graph": _bad(
        _newer("u = Const()"), INVALID, "GraphDef min consumer version 1000000 above current", None
    ),
}  # fmt: skip


# What goes wrong in a session of ``base``, and leaves it as it was


def _run(*fetches: str, **more: Any) -> Ask:
    return lambda client, session: client.run(session, *fetches, **more)


def _run_request(
    change: Callable[[master_pb2.RunStepRequest], None], *fetches: str, **more: Any
) -> Ask:
    def ask(client: RawClient, session: str) -> None:
        request = step(session, *fetches, **more)
        change(request)
        response = client.call("RunStep", request)
        if response.status_code:
            raise errors.from_code(response.status_code, response.status_error_message)

    return ask


def _feed_bytes(request: master_pb2.RunStepRequest) -> None:
    feed = request.feed.add(name="p:0").tensor
    feed.dtype = 1  # type: ignore[assignment]
    feed.tensor_shape.dim.add(size=2)
    feed.tensor_content = b"123"


def _feed_dtype(request: master_pb2.RunStepRequest) -> None:
    request.feed.add(name="p:0").tensor.dtype = 99  # type: ignore[assignment]


def _feed_twice(request: master_pb2.RunStepRequest) -> None:
    request.feed.append(request.feed[0])


def _run_elsewhere(client: RawClient, session: str) -> None:
    client.run("0123456789abcdef", "negative:0", feeds={"p:0": [1, 2]})


def _run_in_closed(client: RawClient, session: str) -> None:
    closed = client.create(base())
    client.close_session(closed)
    client.run(closed, "negative:0", feeds={"p:0": [1, 2]})


def _run_twice(client: RawClient, session: str) -> None:
    number = np.random.default_rng().integers(1, 2**62)
    for _ in range(2):
        client.run(session, "negative:0", feeds={"p:0": [1, 2]}, request_id=number)


def _close_twice(client: RawClient, session: str) -> None:
    closed = client.create(base())
    for _ in range(2):
        client.close_session(closed)


def _extend_again(client: RawClient, session: str) -> None:
    client.extend(session, base())


def _extend_another_version(client: RawClient, session: str) -> None:
    client.extend(session, graph_def("more = NoOp()"), 7)


def _list_devices_of_nobody(client: RawClient, session: str) -> None:
    client.call("ListDevices", master_pb2.ListDevicesRequest(session_handle="beef"))


STEPS: dict[str, Bad[Ask]] = {
    "feed of another dtype": Bad(
        _run("negative:0", feeds={"p:0": np.ones(2, np.int32)}), errors.INTERNAL,
        "Output 0 of type int32 does not match declared output type float for node", "p",
    ),
    "feed of another shape": Bad(
        _run("negative:0", feeds={"p:0": [1, 2, 3]}), INVALID,
        r"Cannot feed value of shape \[3\] for tensor 'p:0', which has shape \[2\]", "p",
        not_tensorflow="it runs the step",
    ),
    "feed of no node": Bad(
        _run("nothing:0", targets=["nothing"], feeds={"zz:0": 1}), MISSING,
        "FeedInputs: unable to find feed output zz:0",
    ),
    "feed of no output": Bad(
        _run("read:0", feeds={"p:3": 1}), INVALID, "p:3 should have output index < 1", "p",
    ),
    "feed twice": Bad(
        _run_request(_feed_twice, "negative:0", feeds={"p:0": [1, 2]}), INVALID,
        'Endpoint "p:0" fed more than once',
    ),
    "feed that is not a tensor": Bad(_run_request(_feed_bytes, "negative:0"), INVALID, ""),
    "feed of no dtype": Bad(_run_request(_feed_dtype, "negative:0"), INVALID, ""),
    "fetch of no node": Bad(
        _run("zz:0"), MISSING, "FetchOutputs node zz:0: not found"
    ),
    "fetch of no output": Bad(
        _run("negative:1", feeds={"p:0": [1, 2]}), INVALID,
        "FetchOutputs negative:1: output index too large, must be < 1", "negative",
    ),
    "fetch of a node without outputs": Bad(
        _run("nothing:0"), INVALID,
        "Tried to fetch data for 'nothing:0', which produces no output", "nothing",
    ),
    "fed and fetched": Bad(
        _run("p:0", feeds={"p:0": [1, 2]}), INVALID, "p:0 is both fed and fetched", "p",
    ),
    "target of no node": Bad(
        _run(targets=["zz", "nothing"]), MISSING,
        "PruneForTargets: Some target nodes not found: zz ",
    ),
    "nothing to run": Bad(
        _run(), INVALID, "Must specify at least one target to fetch or execute",
    ),
    "no feed": Bad(
        _run("negative:0"), INVALID,
        r"You must feed a value for placeholder tensor 'p' with dtype float and shape \[2\]", "p",
    ),
    "uninitialized variable": Bad(
        _run("read:0"), errors.FAILED_PRECONDITION, "Attempting to use uninitialized value v",
        "read",
    ),
    "uninitialized variable that is fetched": Bad(
        _run("v:0"), errors.FAILED_PRECONDITION, "Attempting to use uninitialized value v",
    ),
    "shapes that do not fit a kernel": Bad(
        _run("bad:0", feeds={"a:0": [[1, 2, 3]] * 2, "b:0": [[1, 2, 3]] * 2}), INVALID,
        r"Matrix size-incompatible: In\[0\]: \[2,3\], In\[1\]: \[2,3\]", "product",
    ),
    "unknown session": Bad(
        _run_elsewhere, errors.ABORTED, r"Session 0123456789abcdef is not found\."
    ),
    "closed session": Bad(
        _run_in_closed, errors.ABORTED, r"Session [0-9a-f]{16} is not found\."
    ),
    "closing twice": Bad(
        _close_twice, errors.ABORTED, r"is not found\. Possibly, this master has restarted\."
    ),
    "repeated request": Bad(
        _run_twice, errors.ABORTED, r"The same RunStep \(Master\) request was received twice\."
    ),
    "extension by known nodes": Bad(
        _extend_again, INVALID,
        "GraphDef argument to Extend includes node 'p', which was created by a previous call", "p",
    ),
    "extension of another version": Bad(
        _extend_another_version, errors.ABORTED, "Current version is 0 but caller expected 7"
    ),
    "devices of an unknown session": Bad(
        _list_devices_of_nobody, INVALID, "Session beef is not found"
    ),
    "partial run without a setup": Bad(
        _run("negative:0", feeds={"p:0": [1, 2]}, partial_run_handle="3"), INVALID,
        "Must run PartialRunSetup before performing partial runs",
    ),
    **{
        f"bytes that are no {method}Request": Bad(
            lambda client, session, method=method: client.bytes_call(method, b"\xff\xff\xff"),
            errors.INTERNAL, "Unable to parse request",
        )
        for method in service.METHODS
    },
    "an unknown method": Bad(
        lambda client, session: client.bytes_call("NoSuchMethod", b""), errors.UNIMPLEMENTED, ""
    ),
}  # fmt: skip
