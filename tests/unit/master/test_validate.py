from __future__ import annotations

import random

import pytest
from google.protobuf.message import DecodeError

from flowray.master.passes.graph import Graph
from flowray.master.passes.validate import GRAPH_DEF_VERSION, validate
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from tests.unit.master.fakes import describe, graph_def


def test_nodes_come_in_topological_order_with_all_attributes() -> None:
    graph = validate(
        graph_def("""
            c = AddV2(a, b:0, ^d)
            a = Placeholder()
            b = Const()
            d = NoOp(^b)
        """)
    )
    assert describe(graph.to_graph_def()) == [
        "a = Placeholder()",
        "b = Const()",
        "d = NoOp(^b)",
        "c = AddV2(a, b, ^d)",
    ]
    assert graph.nodes["a"].definition.attr["shape"].shape.unknown_rank
    assert TensorId.parse("b") == TensorId.parse("b:0") == graph.nodes["c"].inputs[1]


def test_the_input_is_not_changed() -> None:
    given = graph_def("a = Placeholder()")
    copy = graph_pb2.GraphDef()
    copy.CopyFrom(given)
    validate(given)
    assert given == copy


def test_unknown_attributes_are_left_alone() -> None:
    given = graph_def("a = Const()\nb = MatMul(a, a)")
    given.node[1].attr["a_newer_one"].b = True
    assert validate(given).nodes["b"].definition.attr["a_newer_one"].b


def test_extending_adds_to_the_graph() -> None:
    first = validate(graph_def("a = Const()"))
    second = validate(graph_def("b = Neg(a)"), first)
    assert list(second.nodes) == ["a", "b"]
    assert list(first.nodes) == ["a"]
    assert second.nodes["a"] is first.nodes["a"]


def test_a_reference_goes_where_a_value_is_expected() -> None:
    graph = validate(graph_def("v = VariableV2()\nr = Identity(v)\nw = Assign(v, r)"))
    assert graph.nodes["w"].reads_reference(0)
    assert not graph.nodes["r"].reads_reference(0)


BAD = {
    "duplicate": (
        "c = Const()\nc = Const()",
        errors.InvalidArgumentError,
        "Node 'c' is not unique",
    ),
    "op": (
        "u = NoSuchOp()",
        errors.NotFoundError,
        "Op type not registered 'NoSuchOp' in binary running on",
    ),
    "name": ("-u = Const()", errors.InvalidArgumentError, "Illegal op name '-u'"),
    "internal name": ("_u = Const()", errors.InvalidArgumentError, "Illegal op name '_u'"),
    "input name": (
        "u = Neg(a:b)",
        errors.InvalidArgumentError,
        "Illegal op input name 'a:b'",
    ),
    "control input with index": (
        "a = Const()\nu = NoOp(^a:0)",
        errors.InvalidArgumentError,
        "Illegal op input name '^a:0'",
    ),
    "input of an internal name": (
        "u = Neg(_a)",
        errors.InvalidArgumentError,
        "Illegal op input name '_a'",
    ),
    "control input of an internal name": (
        "a = Const()\nu = NoOp(^a, ^_b)",
        errors.InvalidArgumentError,
        "Illegal op input name '^_b'",
    ),
    "order of inputs": (
        "a = Const()\nu = Neg(^a, a)",
        errors.InvalidArgumentError,
        "Control dependencies must come after regular dependencies",
    ),
    "unknown input": (
        "u = Neg(pp)",
        errors.InvalidArgumentError,
        "Node 'u': Unknown input node 'pp'",
    ),
    "unknown control input": (
        "u = NoOp(^pp)",
        errors.InvalidArgumentError,
        "Node 'u': Unknown input node 'pp'",
    ),
    "index": (
        "a = Const()\nu = Neg(a:1)",
        errors.InvalidArgumentError,
        "Node 'u': Connecting to invalid output 1 of source node a which has 1 outputs.",
    ),
    "too few inputs": (
        "a = Const()\nu = AddV2(a)",
        errors.InvalidArgumentError,
        "NodeDef expected inputs 'float, float' do not match 1 inputs specified",
    ),
    "too many inputs": (
        "a = Const()\nu = Neg(a, a)",
        errors.InvalidArgumentError,
        "NodeDef expected inputs 'float' do not match 2 inputs specified",
    ),
    "dtype": (
        "p = Placeholder()\nu = Neg(p) T=int32",
        errors.InvalidArgumentError,
        "Input 0 of node u was passed float from p:0 incompatible with expected int32.",
    ),
    "value for a reference": (
        "p = Placeholder()\nu = Assign(p, p)",
        errors.InvalidArgumentError,
        "Input 0 of node u was passed float from p:0 incompatible with expected float_ref.",
    ),
    "cycle": (
        "p = Const()\nu = AddV2(p, b)\nb = Neg(u)",
        errors.InvalidArgumentError,
        "2 nodes in a cycle",
    ),
    "attribute not allowed": (
        "p = Const() dtype=string value=b'x'\nu = MatMul(p, p) T=string",
        errors.InvalidArgumentError,
        "Value for attr 'T' of string is not in the list of allowed values",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_graphs_name_the_node(case: str) -> None:
    text, error, message = BAD[case]
    with pytest.raises(error) as info:
        validate(graph_def(text))
    assert message in info.value.message
    if case not in ("name", "internal name"):
        assert any(f"[[{{{{node {name}}}}}]]" in info.value.message for name in "uc")


def test_missing_attribute() -> None:
    given = graph_def("u = Placeholder()")
    del given.node[0].attr["dtype"]
    with pytest.raises(errors.NotFoundError) as info:
        validate(given)
    assert info.value.message == "No attr named 'dtype' in NodeDef:\n\t [[{{node u}}]]"


def test_attribute_of_another_kind() -> None:
    given = graph_def("u = Placeholder()")
    given.node[0].attr["dtype"].i = 1
    with pytest.raises(errors.InvalidArgumentError, match=r"(?s)attr 'dtype'.*\{\{node u\}\}"):
        validate(given)


def test_unknown_dtype() -> None:
    given = graph_def("u = Placeholder()")
    given.node[0].attr["dtype"].type = 77  # type: ignore[assignment]
    with pytest.raises(errors.InvalidArgumentError, match=r"\{\{node u\}\}"):
        validate(given)


def test_an_attribute_cannot_make_us_allocate_without_limit() -> None:
    given = graph_def("a = Const()\nu = AddN(a) N=1")
    given.node[1].attr["N"].i = 1 << 62
    with pytest.raises(errors.InvalidArgumentError, match=r"\{\{node u\}\}"):
        validate(given)


def test_extending_with_a_known_name() -> None:
    first = validate(graph_def("i = Const()"))
    with pytest.raises(errors.InvalidArgumentError) as info:
        validate(graph_def("i = Const()"), first)
    assert info.value.message.startswith(
        "GraphDef argument to Extend includes node 'i', which was created by a previous call to "
        "Create or Extend in this session."
    )


def test_min_consumer() -> None:
    given = graph_def("i = Const()")
    given.versions.min_consumer = GRAPH_DEF_VERSION + 1
    with pytest.raises(errors.InvalidArgumentError, match="GraphDef min consumer version 2475"):
        validate(given)


def _function(name: str, description: str = "") -> graph_pb2.FunctionDef:
    function = graph_pb2.FunctionDef()
    function.signature.name = name
    function.signature.description = description
    return function


def test_the_function_library_is_kept() -> None:
    given = graph_def("i = Const()")
    given.library.function.append(_function("f"))
    first = validate(given)
    more = graph_def("j = Const()")
    more.library.function.extend([_function("f"), _function("g")])
    names = [f.signature.name for f in validate(more, first).library.function]
    assert names == ["f", "g"]
    more.library.function[0].signature.description = "another"
    with pytest.raises(errors.InvalidArgumentError, match="Cannot add function 'f' because"):
        validate(more, first)


def test_a_while_loop_is_not_a_cycle() -> None:
    validate(
        graph_def("""
            a = Const()
            e = Enter(a) frame_name='f'
            m = Merge(e, n) N=2
            n = NextIteration(m)
        """)
    )


def test_any_bytes_end_in_an_op_error_or_a_graph() -> None:
    """Random changes of a good graph's bytes give a graph or an OpError, nothing else."""
    data = graph_def("""
        a = Placeholder() shape=(None,2)
        b = Const() value=[1.0,2.0]
        c = AddV2(a, b)
        v = VariableV2() shape=(2,)
        w = Assign(v, b, ^c)
        n = AddN(a, b, c) N=3
    """).SerializeToString()
    rng = random.Random(7)
    outcomes = set()
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            given = graph_pb2.GraphDef.FromString(bytes(changed))
        except DecodeError:
            continue
        try:
            assert isinstance(validate(given), Graph)
            outcomes.add("graph")
        except errors.OpError:
            outcomes.add("error")
    assert outcomes == {"graph", "error"}
