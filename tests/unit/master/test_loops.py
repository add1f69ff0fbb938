"""Loops become While nodes; whole graphs are compared, functions included."""

from __future__ import annotations

import pytest

from flowray.master.passes.loops import with_while_nodes
from flowray.master.passes.placer import place
from flowray.master.passes.validate import validate
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from tests.unit.master.fakes import PS, W0, describe, device, graph_def, lines

CPU = f"{W0}/device:CPU:0"

# while i < 10: i += 1
COUNT = """
    zero = Const() dtype=int32 value=0
    enter = Enter(zero) T=int32 frame_name='loop' parallel_iterations=7
    merge = Merge(enter, next) T=int32 N=2
    ten = Const(^merge) dtype=int32 value=10
    less = Less(merge, ten) T=int32
    cond = LoopCond(less)
    switch = Switch(merge, cond) T=int32
    i = Identity(switch:1) T=int32
    one = Const(^i) dtype=int32 value=1
    add = AddV2(i, one) T=int32
    next = NextIteration(add) T=int32
    exit = Exit(switch) T=int32
"""


class Result:
    def __init__(self, text, feeds="", fetches="", targets="", gpu=False):
        graph = validate(graph_def(text))
        machines = [device(W0), device(PS)] + ([device(W0, "GPU")] if gpu else [])
        places = place(graph, graph.nodes.values(), {}, machines, default_task=W0)
        graph, self.devices = with_while_nodes(
            graph,
            places,
            [TensorId.parse(n) for n in feeds.split()],
            [TensorId.parse(n) for n in fetches.split()],
            targets.split(),
        )
        self.graph_def = graph.to_graph_def()
        self.nodes = describe(self.graph_def)

    def function(self, name):
        """The arguments, the nodes and the results of a function."""
        found = next(f for f in self.graph_def.library.function if f.signature.name == name)
        arguments = [a.name for a in found.signature.input_arg]
        results = [found.ret[a.name] for a in found.signature.output_arg]
        nodes = [f"{n.name} = {n.op}({', '.join(n.input)})" for n in found.node_def]
        return arguments, sorted(nodes), results

    def node(self, name):
        return next(n for n in self.graph_def.node if n.name == name)


def test_a_graph_without_loops_stays_what_it_is():
    graph = validate(graph_def("a = Const()\nb = Neg(a)"))
    devices = {"a": CPU, "b": CPU}
    result = with_while_nodes(graph, devices, [], [TensorId("b", 0)])
    assert result[0] is graph
    assert result[1] is devices


def test_a_loop():
    result = Result(COUNT, fetches="exit")
    assert result.nodes == lines("""
        zero = Const()
        _loop/cond = StatelessWhile(zero)
        exit = Identity(_loop/cond)
    """)
    node = result.node("_loop/cond")
    assert node.attr["parallel_iterations"].i == 7
    assert node.attr["cond"].func.name == "_loop/cond/cond"
    assert result.function("_loop/cond/cond") == (
        ["merge"], ["less = Less(merge, ten:output:0)", "ten = Const()"], ["less:z:0"],
    )  # fmt: skip
    assert result.function("_loop/cond/body") == (
        ["merge"],
        ["add = AddV2(i:output:0, one:output:0)", "i = Identity(merge)", "one = Const(^i)"],
        ["add:z:0"],
    )


def test_constants_are_passed_once_and_small_ones_are_copied():
    result = Result("""
        x = Placeholder()
        two = Const()
        zero = Const()
        enter = Enter(zero) frame_name='loop'
        x1 = Enter(x) frame_name='loop' is_constant=True
        x2 = Enter(x) frame_name='loop' is_constant=True
        two1 = Enter(two) frame_name='loop' is_constant=True
        merge = Merge(next, enter) N=2
        less = Less(merge, two1)
        cond = LoopCond(less)
        switch = Switch(merge, cond)
        a = AddV2(switch:1, x1)
        b = Mul(a, x2)
        next = NextIteration(b)
        exit = Exit(switch)
    """)
    assert result.nodes == lines("""
        x = Placeholder()
        two = Const()
        zero = Const()
        _loop/cond = StatelessWhile(zero, x)
        exit = Identity(_loop/cond)
    """)
    assert result.function("_loop/cond/cond") == (
        ["merge", "x1"],
        ["less = Less(merge, two1:output:0)", "two1 = Const()"],
        ["less:z:0"],
    )
    assert result.function("_loop/cond/body") == (
        ["merge", "x1"], ["a = AddV2(merge, x1)", "b = Mul(a:z:0, x1)"], ["b:z:0", "x1"],
    )  # fmt: skip


def test_a_loop_in_a_loop():
    inner = (
        COUNT.replace("zero = Const() dtype=int32 value=0", "")
        .replace("enter = Enter(zero)", "enter = Enter(oi)")
        .replace("'loop'", "'loop/inner'")
    )
    result = Result(f"""
        zero = Const() dtype=int32 value=0
        oenter = Enter(zero) T=int32 frame_name='loop'
        omerge = Merge(oenter, onext) T=int32 N=2
        hundred = Const(^omerge) dtype=int32 value=100
        oless = Less(omerge, hundred) T=int32
        ocond = LoopCond(oless)
        oswitch = Switch(omerge, ocond) T=int32
        oi = Identity(oswitch:1) T=int32
        {inner}
        twice = AddV2(exit, oi) T=int32
        onext = NextIteration(twice) T=int32
        oexit = Exit(oswitch) T=int32
    """)
    assert result.nodes == lines("""
        zero = Const()
        _loop/ocond = StatelessWhile(zero)
        oexit = Identity(_loop/ocond)
    """)
    assert result.function("_loop/ocond/body") == (
        ["omerge"],
        [
            "_loop/cond = StatelessWhile(oi:output:0)",
            "exit = Identity(_loop/cond:output:0)",
            "oi = Identity(omerge)",
            "twice = AddV2(exit:output:0, oi:output:0)",
        ],
        ["twice:z:0"],
    )


def test_a_condition_in_a_loop_stays_switch_and_merge():
    result = Result(
        COUNT.replace(
            "add = AddV2(i, one) T=int32",
            """
            p = Less(i, one) T=int32
            inner = Switch(i, p) T=int32
            neg = Neg(inner:1) T=int32
            add = Merge(inner, neg) T=int32 N=2
        """,
        )
    )
    assert result.function("_loop/cond/body")[1] == [
        "add = Merge(inner:output_false:0, neg:y:0)",
        "i = Identity(merge)",
        "inner = Switch(i:output:0, p:z:0)",
        "neg = Neg(inner:output_true:0)",
        "one = Const(^i)",
        "p = Less(i:output:0, one:output:0)",
    ]


VARIABLE = """
    v = VariableV2() dtype=int32 shape=()
    w = RefEnter(v) T=int32 frame_name='loop' is_constant=True
"""


def test_a_variable_that_is_only_read_goes_in_as_a_value():
    result = Result(VARIABLE + COUNT.replace("AddV2(i, one)", "AddV2(i, w)"))
    node = result.node("_loop/cond")
    assert node.op == "StatelessWhile"
    assert list(node.input) == ["zero", "v"]
    assert list(node.attr["T"].list.type) == [3, 3]


def test_a_variable_that_is_written_goes_in_as_such():
    write = "write = AssignAdd(w, one) T=int32\n add = AddV2(i, one, ^write) T=int32"
    result = Result(VARIABLE + COUNT.replace("add = AddV2(i, one) T=int32", write))
    node = result.node("_loop/cond")
    assert node.op == "While"
    assert list(node.input) == ["zero", "v"]
    assert list(node.attr["T"].list.type) == [3, 103]
    assert "write = AssignAdd(w, one:output:0)" in result.function("_loop/cond/body")[1]


def test_control_edges():
    """Those of Enters are the While's; those that order the body stay in it."""
    text = COUNT.replace("enter = Enter(zero)", "enter = Enter(zero, ^init)")
    text = text.replace("next = NextIteration(add)", "next = NextIteration(add, ^check)")
    text += """
        init = NoOp()
        check = Assert(less2, i) T=[3]
        less2 = Less(i, one) T=int32
    """
    text = text.replace("T=[3]", "")
    graph = graph_def(text)
    for node in graph.node:
        if node.name == "check":
            node.attr["T"].list.type.append(3)
    result = Result.__new__(Result)
    validated = validate(graph)
    places = place(validated, validated.nodes.values(), {}, [device(W0)], default_task=W0)
    done, _ = with_while_nodes(validated, places, [])
    result.graph_def = done.to_graph_def()
    assert list(result.node("_loop/cond").input) == ["zero", "^init"]
    assert result.node("_loop/cond").op == "While"
    body = next(f for f in result.graph_def.library.function if f.signature.name.endswith("body"))
    assert list(body.control_ret) == ["check"]


def test_two_loops_of_one_name_are_two():
    other = "\n".join(
        line.replace("(", "(b_", 1).replace(", ", ", b_").replace("^b_", "^").replace("^", "^b_")
        if "()" not in line
        else line
        for line in COUNT.splitlines()
    )
    other = "\n".join("b_" + line.strip() if line.strip() else "" for line in other.splitlines())
    other = other.replace("(b_^b_", "(^b_").replace("b_^b_", "^b_")
    result = Result(COUNT + other)
    assert [n for n in result.nodes if "While" in n] == [
        "_loop/cond = StatelessWhile(zero)",
        "_loop/b_cond = StatelessWhile(b_zero)",
    ]


# Where they run ------------------------------------------------------------------------------


def on_ps(text, *names):
    return "\n".join(
        f"{line} @/job:ps" if line.strip().split(" ")[0] in names else line
        for line in text.splitlines()
    )


def test_a_loop_without_state_runs_where_most_of_it_is():
    assert Result(on_ps(COUNT, "add")).devices["_loop/cond"] == CPU
    there = Result(on_ps(COUNT, "add", "i", "less", "one"))
    assert there.devices["_loop/cond"] == f"{PS}/device:CPU:0"
    assert there.devices["exit"] == f"{PS}/device:CPU:0"
    assert Result(COUNT, gpu=True).devices["_loop/cond"] == f"{W0}/device:GPU:0"


def test_a_loop_runs_where_its_state_is():
    write = "write = AssignAdd(w, one) T=int32\n add = AddV2(i, one, ^write) T=int32"
    text = on_ps(VARIABLE, "v") + COUNT.replace("add = AddV2(i, one) T=int32", write)
    assert Result(text).devices["_loop/cond"] == f"{PS}/device:CPU:0"


STACK_AND_VARIABLE = """
    size = Const() dtype=int32 value=-1
    s = StackV2(size) elem_type=int32 @/job:worker
    h = VarHandleOp() dtype=int32 shape=() @/job:ps
    s1 = Enter(s) T=resource frame_name='loop' is_constant=True
    h1 = Enter(h) T=resource frame_name='loop' is_constant=True
    push = StackPushV2(s1, i) T=int32
    read = ReadVariableOp(h1) dtype=int32
"""


def test_a_variable_of_another_task_is_read_before_the_loop():
    adds = "mul = Mul(push, read) T=int32\n add = AddV2(mul, one) T=int32"
    result = Result(STACK_AND_VARIABLE + COUNT.replace("add = AddV2(i, one) T=int32", adds))
    assert result.devices["_loop/cond"] == CPU
    assert result.devices["_read/read"] == f"{PS}/device:CPU:0"
    assert "_read/read = ReadVariableOp(h)" in result.nodes
    assert list(result.node("_loop/cond").input) == ["zero", "s", "_read/read"]


def test_state_on_several_tasks_is_refused():
    adds = """
        write = AssignAddVariableOp(h1, one) dtype=int32
        mul = Mul(push, read, ^write) T=int32
        add = AddV2(mul, one) T=int32
    """
    text = STACK_AND_VARIABLE + COUNT.replace("add = AddV2(i, one) T=int32", adds)
    with pytest.raises(errors.UnimplementedError) as caught:
        Result(text)
    for part in ("The loop 'loop'", PS, W0):
        assert part in caught.value.message


# What is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [{"fetches": "add"}, {"targets": "i"}, {"feeds": "i", "fetches": "exit"}]
)
def test_nobody_reaches_into_a_loop(arguments):
    with pytest.raises(errors.InvalidArgumentError, match="is in the loop 'loop'"):
        Result(COUNT, **arguments)


def test_an_exit_may_be_a_target():
    assert Result(COUNT, targets="exit").nodes[-1] == "exit = Identity(_loop/cond)"


def test_inputs_from_different_frames():
    with pytest.raises(
        errors.InvalidArgumentError,
        match=r"\{\{node bad\}\} has inputs from different frames. The input \{\{node add\}\} is "
        r"in frame 'loop'. The input \{\{node zero\}\} is in frame ''.",
    ):
        Result(COUNT + "bad = AddV2(add, zero) T=int32")


def test_an_exit_without_a_loop():
    with pytest.raises(errors.InvalidArgumentError, match="Invalid Exit op"):
        Result(COUNT + "bad = Exit(zero) T=int32")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cond = LoopCond(less)", "cond = Identity(less) T=bool", "has 0 LoopCond nodes"),
        ("exit = Exit(switch)", "exit = Exit(add)", "left by a value that is not a loop variable"),
        ("add = AddV2(i, one)", "add = AddV2(i, enter)", "uses a first value beyond its Merge"),
        ("add = AddV2(i, one)", "add = AddV2(i, merge:1)", "whether this is its first iteration"),
        ("add = AddV2(i, one)", "add = AddV2(switch, one)", "computes with what leaves it"),
    ],
)
def test_loops_that_no_client_builds(old, new, message):
    assert old in COUNT
    with pytest.raises(errors.UnimplementedError, match=message):
        Result(COUNT.replace(old, new))
