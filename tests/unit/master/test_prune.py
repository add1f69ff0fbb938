from __future__ import annotations

import pytest

from flowray.master.passes.prune import connect, prune
from flowray.master.passes.validate import validate
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from tests.unit.master.fakes import describe, graph_def, lines


def pruned(text: str, feeds: str = "", fetches: str = "", targets: str = "") -> list[str]:
    """The graph of ``text``, pruned for feeds, fetches and targets that spaces separate."""
    graph = prune(
        validate(graph_def(text)),
        [TensorId.parse(name) for name in feeds.split()],
        [TensorId.parse(name) for name in fetches.split()],
        targets.split(),
    )
    return describe(graph.to_graph_def())


CHAIN = """
    a = Const()
    b = Neg(a)
    c = Neg(b)
    d = Neg(c)
"""

TWO_OUTPUTS = """
    p = Placeholder()
    u = Unpack(p) num=2
    x = Neg(u)
    y = Neg(u:1)
"""


def test_only_what_a_fetch_needs_stays() -> None:
    assert pruned(CHAIN, fetches="b") == lines("""
        a = Const()
        b = Neg(a)
    """)


def test_only_what_a_target_needs_stays() -> None:
    assert pruned(CHAIN + "n = NoOp(^b)", targets="n") == lines("""
        a = Const()
        b = Neg(a)
        n = NoOp(^b)
    """)


def test_a_node_that_two_need_stays_once() -> None:
    assert pruned("a = Const()\nb = AddV2(a, a)", fetches="b a b", targets="a b") == lines("""
        a = Const()
        b = AddV2(a, a)
    """)


def test_a_feed_cuts_off_what_makes_it() -> None:
    assert pruned(CHAIN, feeds="b", fetches="d") == lines("""
        c = Neg(b)
        d = Neg(c)
    """)


def test_a_fed_output_leaves_the_others_of_its_node() -> None:
    assert pruned(TWO_OUTPUTS, feeds="u:1", fetches="x y") == lines("""
        p = Placeholder()
        u = Unpack(p)
        x = Neg(u)
        y = Neg(u:1)
    """)


def test_a_node_whose_outputs_are_all_fed_does_not_run() -> None:
    assert pruned(TWO_OUTPUTS, feeds="u u:1", fetches="x y") == lines("""
        x = Neg(u)
        y = Neg(u:1)
    """)


def test_a_fed_node_that_is_a_target_runs_all_the_same() -> None:
    assert pruned(CHAIN, feeds="b", fetches="c", targets="b") == lines("""
        a = Const()
        b = Neg(a)
        c = Neg(b)
    """)


def test_a_control_edge_runs_a_fed_node() -> None:
    assert pruned("a = Const()\nb = Neg(a)\nc = Neg(b, ^b)", feeds="b", fetches="c") == lines("""
        a = Const()
        b = Neg(a)
        c = Neg(b, ^b)
    """)


def test_a_feed_skips_the_side_effects_before_it() -> None:
    text = """
        a = Const()
        effect = NoOp()
        b = Neg(a, ^effect)
        c = Neg(b)
    """
    assert pruned(text, feeds="b", fetches="c") == ["c = Neg(b)"]


@pytest.mark.parametrize("op", ["Placeholder", "PlaceholderV2"])
def test_a_fed_placeholder_fulfills_its_control_edges(op: str) -> None:
    text = f"p = {op}()\na = Const()\nb = Neg(a, ^p)"
    assert pruned(text, feeds="p", fetches="b") == lines("a = Const()\nb = Neg(a)")
    assert pruned(text, fetches="b") == lines(f"p = {op}()\na = Const()\nb = Neg(a, ^p)")


def test_a_fed_placeholder_that_is_a_target_runs() -> None:
    """TensorFlow runs it, too; it then misses its feed."""
    assert pruned("p = Placeholder()", feeds="p", targets="p") == ["p = Placeholder()"]


def test_a_variable_can_be_fed() -> None:
    assert pruned("v = VariableV2()\nr = Identity(v)", feeds="v", fetches="r") == [
        "r = Identity(v)"
    ]


def test_library_versions_and_the_given_graph_stay() -> None:
    given = graph_def(CHAIN, producer=77)
    given.library.function.add().signature.name = "f"
    graph = validate(given)
    result = prune(graph, [], [TensorId.parse("a")], []).to_graph_def()
    assert result.versions.producer == 77
    assert [f.signature.name for f in result.library.function] == ["f"]
    assert list(graph.nodes) == ["a", "b", "c", "d"]


BAD = {
    "nothing": ("", "", "", 3, "Must specify at least one target to fetch or execute."),
    "fetch of no node": ("", "zz:0", "", 5, "FetchOutputs node zz:0: not found"),
    "fetch of no output": (
        "", "a:3", "", 3, "FetchOutputs a:3: output index too large, must be < 1\n\t [[{{node a}}",
    ),
    "fetch of a node without outputs": (
        "", "n", "", 3, "Tried to fetch data for 'n:0', which produces no output.",
    ),
    "feed of no node": ("zz", "a", "", 5, "FeedInputs: unable to find feed output zz:0"),
    "feed of no output": (
        "a:3", "b", "", 3, "FeedInputs: a:3 should have output index < 1\n\t [[{{node a}}]]",
    ),
    "feed twice": ("a a:0", "b", "", 3, 'Endpoint "a:0" fed more than once.'),
    "fed and fetched": ("a", "a", "", 3, "a:0 is both fed and fetched."),
    "target": (
        "", "", "a zz y", 5, "PruneForTargets: Some target nodes not found: zz y ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_signatures(case: str) -> None:
    feeds, fetches, targets, code, message = BAD[case]
    with pytest.raises(errors.OpError) as info:
        pruned("a = Const()\nb = Neg(a)\nn = NoOp()", feeds, fetches, targets)
    assert info.value.error_code == code
    assert info.value.message.startswith(message)


def connected(text: str, *connections: str) -> list[str]:
    """The graph of ``text`` with connections ``from>to``."""
    pairs = [connection.split(">") for connection in connections]
    graph = connect(
        validate(graph_def(text)), [(TensorId.parse(a), TensorId.parse(b)) for a, b in pairs]
    )
    return describe(graph.to_graph_def())


def test_a_connection_replaces_a_tensor_for_its_readers() -> None:
    text = TWO_OUTPUTS + "z = Const()"
    assert connected(text, "z>u:1") == lines("""
        p = Placeholder()
        u = Unpack(p)
        x = Neg(u)
        z = Const()
        y = Neg(z)
    """)


def test_connections_swap_tensors() -> None:
    assert connected(TWO_OUTPUTS, "u>u:1", "u:1>u") == lines("""
        p = Placeholder()
        u = Unpack(p)
        x = Neg(u:1)
        y = Neg(u)
    """)


def test_connecting_nothing_gives_the_graph_itself() -> None:
    graph = validate(graph_def(CHAIN))
    assert connect(graph, []) is graph


@pytest.mark.parametrize(
    ("connections", "code", "message"),
    [
        (["zz>a"], 5, "TensorConnection node zz:0: not found"),
        (["a>zz"], 5, "TensorConnection node zz:0: not found"),
        (["a:1>b"], 3, "TensorConnection a:1: output index too large, must be < 1"),
        (["i>b"], 3, "TensorConnection from i:0 to b:0: their types int32 and float32 differ"),
        (["a>b", "c>b"], 3, 'Endpoint "b:0" fed more than once.'),
        (["c>a"], 3, "3 nodes in a cycle"),
    ],
)
def test_bad_connections(connections: list[str], code: int, message: str) -> None:
    text = "a = Const()\nb = Neg(a)\nc = Neg(b)\nd = Neg(c)\ni = Const() dtype=int32 value=1"
    with pytest.raises(errors.OpError) as info:
        connected(text, *connections)
    assert info.value.error_code == code
    assert info.value.message.startswith(message)
