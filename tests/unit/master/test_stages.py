from __future__ import annotations

import textwrap

from flowray.master.passes.placer import place
from flowray.master.passes.prune import prune
from flowray.master.passes.stages import StageGraph, cut
from flowray.master.passes.validate import validate
from flowray.proto.graph.tensor_id import TensorId
from tests.unit.master.fakes import PS, W0, W1, describe, device, graph_def

DEVICES = [device(PS), device(W0), device(W0, "GPU", 0), device(W1)]
_SHORT = {PS: "ps", W0: "w0", W1: "w1"}
_LONG = {"@ps": "@/job:ps", "@w0": "@/job:worker/task:0/cpu:0", "@w1": "@/job:worker/task:1"}


def stages(text: str, feeds: str = "", fetches: str = "", targets: str = "") -> list[StageGraph]:
    """The stages of a graph whose devices are @ps, @w0 and @w1, for a step of these."""
    for short, long in _LONG.items():
        text = text.replace(short, long)
    graph = validate(graph_def(text))
    places = place(graph, graph.nodes.values(), {}, DEVICES, default_task=W0)
    fed, fetched = ([TensorId.parse(n) for n in names.split()] for names in (feeds, fetches))
    pruned = prune(graph, fed, fetched, targets.split())
    return cut(pruned, places, fed, fetched, targets.split())


def told(stage_graphs: list[StageGraph]) -> str:
    """Stages as text: ``task(inputs) -> outputs [stages before]``, and the nodes of each."""
    result = []
    for stage in stage_graphs:
        outputs = [f"&{t}" if t in stage.ref_outputs else str(t) for t in stage.outputs]
        result.append(
            f"{_SHORT[stage.task]}({', '.join(map(str, stage.inputs))}) -> {', '.join(outputs)}"
            f" [{', '.join(map(str, stage.after))}]"
        )
        result += [f"    {line}" for line in describe(stage.graph)]
    return "\n".join(result)


def expect(stage_graphs: list[StageGraph], text: str) -> None:
    assert told(stage_graphs) == textwrap.dedent(text).strip()


def test_one_task_is_one_stage() -> None:
    expect(
        stages("p = Placeholder() @w0\na = Neg(p) @w0\nb = AddV2(a, p) @w0", "p", "b a"),
        """
        w0(p:0) -> b:0, a:0 []
            a = Neg(p)
            b = AddV2(a, p)
        """,
    )


def test_a_step_without_fetches_has_no_output() -> None:
    expect(stages("n = NoOp() @w1", targets="n"), "w1() ->  []\n    n = NoOp()")


def test_a_step_of_training_is_three_stages() -> None:
    """Parameters go to the worker, a gradient comes back."""
    expect(
        stages(
            """
            v = VariableV2() @ps
            r = Identity(v) @ps
            p = Placeholder() @w0
            y = Mul(r, p) @w0
            g = Neg(y) @w0
            rate = Const() @ps
            step = Mul(g, rate) @ps
            train = AssignAdd(v, step) @ps
            """,
            feeds="p", fetches="y", targets="train",
        ),
        """
        ps() -> r:0 []
            v = VariableV2()
            r = Identity(v)
        w0(r:0, p:0) -> y:0, g:0 [0]
            y = Mul(r, p)
            g = Neg(y)
        ps(g:0) ->  [1]
            rate = Const()
            step = Mul(g, rate)
            v = VariableV2()
            train = AssignAdd(v, step)
        """,
    )  # fmt: skip


def test_a_node_that_only_a_later_stage_needs_moves_there() -> None:
    """Else what it makes would leave its stage and come back."""
    expect(
        stages(
            """
            p = Placeholder() @w0
            q = Neg(p) @w0
            a = Neg(p) @w0
            b = Neg(a) @w1
            c = AddV2(q, b) @w0
            """,
            "p", "c",
        ),
        """
        w0(p:0) -> a:0 []
            a = Neg(p)
        w1(a:0) -> b:0 [0]
            b = Neg(a)
        w0(p:0, b:0) -> c:0 [1]
            q = Neg(p)
            c = AddV2(q, b)
        """,
    )  # fmt: skip


def test_what_reads_a_variable_does_not_move() -> None:
    """A later read could see what the step writes in between."""
    expect(
        stages(
            """
            v = VariableV2() @w0
            r = Identity(v) @w0
            p = Placeholder() @w1
            b = Neg(p) @w1
            c = AddV2(r, b) @w0
            d = Neg(b) @w0
            e = Neg(c) @w1
            f = AddV2(d, e) @w0
            """,
            "p", "f",
        ),
        """
        w1(p:0) -> b:0 []
            b = Neg(p)
        w0(b:0) -> c:0 [0]
            v = VariableV2()
            r = Identity(v)
            c = AddV2(r, b)
        w1(c:0) -> e:0 [1]
            e = Neg(c)
        w0(b:0, e:0) -> f:0 [0, 2]
            d = Neg(b)
            f = AddV2(d, e)
        """,
    )  # fmt: skip


def test_stages_with_nothing_in_between_become_one() -> None:
    """y and z are on different levels, but nothing has to run between them."""
    expect(
        stages(
            """
            p = Placeholder() @w0
            a = Neg(p) @w0
            y = Neg(a) @w1
            q = Placeholder() @w1
            z = Neg(q) @w1
            """,
            "p q", "y z",
        ),
        """
        w0(p:0) -> a:0 []
            a = Neg(p)
        w1(q:0, a:0) -> y:0, z:0 [0]
            z = Neg(q)
            y = Neg(a)
        """,
    )  # fmt: skip


def test_stages_with_another_between_them_stay_apart() -> None:
    expect(
        stages(
            """
            p = Placeholder() @w0
            a = Neg(p) @w0
            b = Neg(a) @w1
            c = Neg(b) @w0
            d = Neg(c) @w1
            """,
            "p", "a b c d",
        ),
        """
        w0(p:0) -> a:0 []
            a = Neg(p)
        w1(a:0) -> b:0 [0]
            b = Neg(a)
        w0(b:0) -> c:0 [1]
            c = Neg(b)
        w1(c:0) -> d:0 [2]
            d = Neg(c)
        """,
    )  # fmt: skip


def test_a_constant_is_copied_to_whoever_reads_it() -> None:
    expect(
        stages("c = Const() @w0\na = Neg(c) @w0\nb = AddV2(a, c) @w1", fetches="b"),
        """
        w0() -> a:0 []
            c = Const()
            a = Neg(c)
        w1(a:0) -> b:0 [0]
            c = Const()
            b = AddV2(a, c)
        """,
    )


def test_a_fetched_constant_comes_from_its_own_stage() -> None:
    expect(
        stages("c = Const() @w0\nb = Neg(c) @w1", fetches="b c"),
        """
        w0() -> c:0 []
            c = Const()
        w1() -> b:0 []
            c = Const()
            b = Neg(c)
        """,
    )


def test_copies_have_the_device_of_their_reader() -> None:
    (stage,) = stages("c = Const() @ps\nb = Neg(c) @/job:worker/task:0/gpu:0", fetches="b")
    assert describe(stage.graph, devices=True) == [
        f"c = Const() @{W0}/device:GPU:0",
        f"b = Neg(c) @{W0}/device:GPU:0",
    ]


def test_devices_of_one_task_share_a_stage() -> None:
    expect(
        stages(
            "p = Placeholder() @w0\nx = Neg(p) @/job:worker/task:0/gpu:0\ny = Neg(x) @w0", "p", "y"
        ),
        """
        w0(p:0) -> y:0 []
            x = Neg(p)
            y = Neg(x)
        """,
    )


def test_control_edges_order_stages_but_bring_nothing() -> None:
    expect(
        stages(
            """
            v = VariableV2() @ps
            p = Placeholder() @ps
            init = Assign(v, p) @ps
            a = NoOp(^init) @w0
            b = NoOp(^a, ^init) @ps
            """,
            "p", targets="b",
        ),
        """
        ps(p:0) ->  []
            v = VariableV2()
            init = Assign(v, p)
        w0() ->  [0]
            a = NoOp()
        ps() ->  [0, 1]
            b = NoOp()
        """,
    )  # fmt: skip


def test_control_edges_within_a_stage_stay() -> None:
    expect(
        stages("a = NoOp() @w0\nb = NoOp(^a) @w0", targets="b"),
        """
        w0() ->  []
            a = NoOp()
            b = NoOp(^a)
        """,
    )


def test_writes_come_after_reads_that_nothing_orders() -> None:
    expect(
        stages(
            """
            v = VariableV2() @ps
            p = Placeholder() @ps
            w = Assign(v, p) @ps
            r = Identity(v) @ps
            x = Neg(r) @ps
            """,
            "p", "x", "w",
        ),
        """
        ps(p:0) -> x:0 []
            v = VariableV2()
            r = Identity(v)
            x = Neg(r)
            w = Assign(v, p)
        """,
    )  # fmt: skip


def test_a_read_that_waits_for_a_write_comes_after_it() -> None:
    expect(
        stages(
            """
            v = VariableV2() @ps
            p = Placeholder() @ps
            w = Assign(v, p) @ps
            r = Identity(v, ^w) @ps
            """,
            "p", "r",
        ),
        """
        ps(p:0) -> r:0 []
            v = VariableV2()
            w = Assign(v, p)
            r = Identity(v, ^w)
        """,
    )  # fmt: skip


def test_a_fed_tensor_is_an_input_of_each_stage_that_reads_it() -> None:
    expect(
        stages(
            """
            p = Placeholder() @w0
            u = Unpack(p) num=2 @w0
            a = Neg(u) @w1
            b = AddV2(u:1, a) @w0
            """,
            "u u:1", "b",
        ),
        """
        w1(u:0) -> a:0 []
            a = Neg(u)
        w0(u:1, a:0) -> b:0 [0]
            b = AddV2(u:1, a)
        """,
    )  # fmt: skip


def test_a_node_that_is_fed_in_part() -> None:
    """It runs for its other output, and who reads the fed one reads the fed value."""
    expect(
        stages(
            """
            p = Placeholder() @w0
            u = Unpack(p) num=2 @w0
            a = AddV2(u, u:1) @w0
            """,
            "p u", "a",
        ),
        """
        w0(p:0, u:0) -> a:0 []
            u = Unpack(p)
            a = AddV2(u, u:1)
        """,
    )  # fmt: skip


def test_a_reference_goes_to_a_later_stage_as_such() -> None:
    """The later stage of the task writes to the variable that the earlier one made."""
    expect(
        stages(
            """
            v = VariableV2() @ps
            p = Placeholder() @ps
            w = Assign(v, p) @ps
            r = Identity(w) @ps
            x = Neg(r) @w0
            again = AssignAdd(w, x) @ps
            """,
            "p", targets="again",
        ),
        """
        ps(p:0) -> r:0, &w:0 []
            v = VariableV2()
            w = Assign(v, p)
            r = Identity(w)
        w0(r:0) -> x:0 [0]
            x = Neg(r)
        ps(w:0, x:0) ->  [0, 1]
            again = AssignAdd(w, x)
        """,
    )  # fmt: skip


def test_a_reference_that_others_read_as_a_value_leaves_twice() -> None:
    expect(
        stages(
            """
            v = VariableV2() @ps
            p = Placeholder() @ps
            w = Assign(v, p) @ps
            x = Neg(w) @w0
            again = AssignAdd(w, x) @ps
            """,
            "p", "w", targets="again",
        ),
        """
        ps(p:0) -> _value/w_0:0, &w:0 []
            v = VariableV2()
            w = Assign(v, p)
            _value/w_0 = Identity(w:0)
        w0(_value/w_0:0) -> x:0 [0]
            x = Neg(_value/w_0)
        ps(w:0, x:0) ->  [0, 1]
            again = AssignAdd(w, x)
        """,
    )  # fmt: skip


def test_a_stage_knows_whether_it_may_block() -> None:
    from flowray.proto.ops import op_registry

    blocking = next((o for o in op_registry.registered_ops().values() if o.blocks), None)
    (stage,) = stages("p = Placeholder() @w0\na = Neg(p) @w0", "p", "a")
    assert not stage.blocks
    if blocking is not None and not blocking.inputs:
        (stage,) = stages(f"b = {blocking.name}() @w0", targets="b")
        assert stage.blocks


def test_every_stage_has_the_versions_and_the_functions_that_it_calls() -> None:
    given = graph_def("a = Const()", producer=99)
    given.node[0].attr["_calls"].func.name = "f"
    for name in "fgh":
        given.library.function.add().signature.name = name
    given.library.function[0].node_def.add(name="n", op="h")
    graph = validate(given)
    places = place(graph, graph.nodes.values(), {}, DEVICES, default_task=W0)
    (stage,) = cut(graph, places, [], [TensorId.parse("a")])
    assert [f.signature.name for f in stage.graph.library.function] == ["f", "h"]
    assert stage.graph.versions == given.versions
