from __future__ import annotations

from flowray.master.passes.placer import place
from flowray.master.passes.reads import order_reads
from flowray.master.passes.validate import validate
from flowray.proto.graph.tensor_id import TensorId
from tests.unit.master.fakes import PS, W0, describe, device, graph_def, lines

DEVICES = [device(PS), device(W0)]

# A write on ps whose value comes from the worker.
LATE_WRITE = """
    v = VariableV2() @/job:ps
    x = Neg(v) @/job:worker
    w = Assign(v, x) @/job:ps
"""


def ordered(text: str, feeds: str = "") -> list[str]:
    graph = validate(graph_def(text))
    places = place(graph, graph.nodes.values(), {}, DEVICES, default_task=W0)
    result, devices = order_reads(graph, places, [TensorId.parse(n) for n in feeds.split()])
    for name in result.nodes:
        if name.startswith("_read"):
            assert devices[name] == f"{PS}/device:CPU:0"
    return describe(result.to_graph_def())


def unchanged(text: str) -> list[str]:
    return describe(validate(graph_def(text)).to_graph_def())


def test_a_read_elsewhere_that_waits_for_a_write() -> None:
    assert ordered(LATE_WRITE + "y = Neg(v, ^w) @/job:worker") == lines("""
        v = VariableV2()
        x = Neg(v)
        w = Assign(v, x)
        _read/y_0 = Identity(v, ^w)
        y = Neg(_read/y_0, ^w)
    """)


def test_a_read_elsewhere_whose_other_input_comes_after_a_write() -> None:
    assert ordered(LATE_WRITE + "s = Neg(w) @/job:worker\ny = AddV2(v, s) @/job:worker") == lines(
        """
        v = VariableV2()
        x = Neg(v)
        w = Assign(v, x)
        s = Neg(w)
        _read/y_0 = Identity(v, ^s)
        y = AddV2(_read/y_0, s)
        """
    )


def test_a_read_of_what_a_write_gives_waits_for_both() -> None:
    text = (
        LATE_WRITE
        + """
        w2 = AssignAdd(v, x, ^w) @/job:ps
        y = AddV2(w, w, ^w2) @/job:worker
    """
    )
    assert ordered(text)[-3:] == lines("""
        _read/y_0 = Identity(v, ^w, ^w2)
        _read/y_1 = Identity(v, ^w, ^w2)
        y = AddV2(_read/y_0, _read/y_1, ^w2)
    """)


def test_a_read_beside_the_variable_reads_the_variable_itself() -> None:
    text = (
        LATE_WRITE
        + """
        w2 = AssignAdd(v, x, ^w) @/job:ps
        y = Neg(w, ^w2) @/job:ps
    """
    )
    assert ordered(text)[-1] == "y = Neg(v, ^w2, ^w)"


def test_an_identity_of_a_reference_is_the_variable_itself_on_its_task() -> None:
    text = LATE_WRITE + "i = Identity(v) @/job:ps\n"
    assert ordered(text + "y = Neg(i, ^w) @/job:ps")[-1] == "y = Neg(v, ^w, ^i)"
    for same in ("y = Neg(i, ^w) @/job:worker", "y = Neg(i) @/job:ps"):
        assert ordered(text + same) == unchanged(text + same)
    copy = text + "c = Identity(i) @/job:ps\ny = Neg(c, ^w) @/job:ps"
    assert ordered(copy) == unchanged(copy)


def test_nothing_changes_without_a_write_before() -> None:
    text = """
        v = VariableV2() @/job:ps
        p = Placeholder() @/job:worker
        n = NoOp(^p) @/job:worker
        y = AddV2(v, p, ^n) @/job:worker
        w = Assign(v, y) @/job:ps
        z = Neg(w) @/job:worker
        r = Neg(v, ^w) @/job:ps
    """
    assert ordered(text) == unchanged(text)


def test_a_fed_reference_is_a_value() -> None:
    text = LATE_WRITE + "y = Neg(v, ^w) @/job:worker"
    assert ordered(text, feeds="v") == unchanged(text)
    text = (
        LATE_WRITE
        + """
        w2 = AssignAdd(v, x) @/job:ps
        y = Neg(w, ^w2) @/job:worker
    """
    )
    assert ordered(text, feeds="w") == unchanged(text)


def test_a_merge_reads_what_its_branches_give() -> None:
    """It must not wait for a write in the branch that is not taken."""
    for task in ("ps", "worker"):
        text = (
            LATE_WRITE
            + f"""
            p = Placeholder() dtype=bool @/job:{task}
            s = RefSwitch(v, p) @/job:ps
            a = AssignAdd(s, x) @/job:ps
            b = AssignSub(s:1, x) @/job:ps
            m = Merge(a, b, ^w) N=2 @/job:{task}
        """
        )
        assert ordered(text) == unchanged(text)
