"""Branch selection: the conditions that XLA programs select, and those at which they are cut."""

from __future__ import annotations

import pytest

from flowray.worker.program.branch_selection import select
from flowray.worker.program.instruction import Condition
from tests.unit.worker.program.programs import expect, function, program

CHEAP = """
    s = Switch(x, p)
    n = Neg(s:1)
    m = Merge(s, n) N=2
    y = Neg(m)
"""


def test_cheap_branches_are_selected() -> None:
    found = program(CHEAP, "x:0 p:0", "y:0")
    expect(
        found,
        """
        %0 = input x:0
        %1 = input p:0
        xla (%0, %1) -> %7
            %2, %3 = Switch(%0, %1) 's'
            %4 = Neg(%3) 'n' if %1, masked
            %5, %6 = Merge([%2, %4]) 'm' merging not %1 | %1, selected
            %7 = Neg(%5) 'y'
        return %7 y:0
        """,
    )
    assert found.selection.masks == {"n": (Condition(1, True),)}
    assert found.selection.choices == {"m": Condition(1, False)}
    assert found.selection.cut == frozenset()


def test_a_selection_can_be_switched_off() -> None:
    """The runtime does that where XLA finds that the branches do not go together."""
    expect(
        program(CHEAP, "x:0 p:0", "y:0", select=False),
        """
        %0 = input x:0
        %1 = input p:0
        host (%0, %1) -> %2, %3
            %2, %3 = Switch(%0, %1) 's'
        xla (%3, %1) -> %4 if %1
            %4 = Neg(%3) 'n' if %1
        host (%2, %4, %1) -> %5
            %5, %6 = Merge([%2, %4]) 'm' merging not %1 | %1
        xla (%5) -> %7
            %7 = Neg(%5) 'y'
        return %7 y:0
        """,
    )


def test_an_expensive_branch_is_cut() -> None:
    found = program(CHEAP.replace("Neg(s:1)", "MatMul(s:1, s:1)"), "x:0 p:0", "y:0")
    expect(
        found,
        """
        %0 = input x:0
        %1 = input p:0
        host (%0, %1) -> %2, %3
            %2, %3 = Switch(%0, %1) 's'
        xla (%3, %1) -> %4 if %1
            %4 = MatMul(%3, %3) 'n' if %1
        host (%2, %4, %1) -> %5
            %5, %6 = Merge([%2, %4]) 'm' merging not %1 | %1
        xla (%5) -> %7
            %7 = Neg(%5) 'y'
        return %7 y:0
        """,
    )
    assert found.selection.cut == {1}
    assert not found.selection.masks
    assert not found.selection.choices


def test_a_branch_with_a_host_op_is_cut() -> None:
    expect(
        program(
            """
            s = Switch(x, p)
            n = AsString(s:1)
            l = StringLength(n)
            c = Cast(l) SrcT=int32 DstT=float32
            m = Merge(s, c) N=2
            """,
            "x:0 p:0", "m:0",
        ),
        """
        %0 = input x:0
        %1 = input p:0
        host (%0, %1) -> %2, %3
            %2, %3 = Switch(%0, %1) 's'
        host (%3, %1) -> %5 if %1
            %4 = AsString(%3) 'n' if %1
            %5 = StringLength(%4) 'l' if %1
        xla (%5, %1) -> %6 if %1
            %6 = Cast(%5) 'c' if %1
        host (%2, %6, %1) -> %7
            %7, %8 = Merge([%2, %6]) 'm' merging not %1 | %1
        return %7 m:0
        """,
    )  # fmt: skip


def test_a_condition_on_several_devices_is_cut() -> None:
    expect(
        program(
            """
            s = Switch(x, p) @/cpu:0
            n = Neg(s:1) @/gpu:0
            m = Merge(s, n) N=2 @/cpu:0
            """,
            "x:0 p:0", "m:0",
        ),
        """
        %0 = input x:0
        %1 = input p:0
        host on /cpu:0 (%0, %1) -> %2, %3
            %2, %3 = Switch(%0, %1) 's'
        xla on /gpu:0 (%3, %1) -> %4 if %1
            %4 = Neg(%3) 'n' if %1
        host on /cpu:0 (%2, %4, %1) -> %5
            %5, %6 = Merge([%2, %4]) 'm' merging not %1 | %1
        return %5 m:0
        """,
    )  # fmt: skip


def test_a_merge_that_no_single_predicate_decides_cuts_its_conditions() -> None:
    expect(
        program("s = Switch(x, p)\nt = Switch(x, q)\nm = Merge(s, t:1) N=2", "x:0 p:0 q:0", "m:0"),
        """
        %0 = input x:0
        %1 = input p:0
        %2 = input q:0
        host (%0, %1, %2) -> %7
            %3, %4 = Switch(%0, %1) 's'
            %5, %6 = Switch(%0, %2) 't'
            %7, %8 = Merge([%3, %6]) 'm' merging not %1 | %2
        return %7 m:0
        """,
    )


def test_copies_of_a_predicate_are_one_condition() -> None:
    """``tf.cond`` puts an Identity between the predicate and the Switches."""
    expect(
        program(
            """
            i = Identity(p) T=bool
            s = Switch(x, i)
            t = Switch(x, p)
            a = AddV2(s:1, t:1)
            m = Merge(s, a) N=2
            """,
            "x:0 p:0", "m:0",
        ),
        """
        %0 = input x:0
        %1 = input p:0
        xla (%1, %0) -> %8
            %2 = Identity(%1) 'i'
            %3, %4 = Switch(%0, %2) 's'
            %5, %6 = Switch(%0, %1) 't'
            %7 = AddV2(%4, %6) 'a' if %1, masked
            %8, %9 = Merge([%3, %7]) 'm' merging not %1 | %1, selected
        return %8 m:0
        """,
    )  # fmt: skip


NESTED = """
    s = Switch(x, p)
    q = Switch(r, {outer}) T=bool
    t = Switch(s:1, q:1)
    e = {op}
    m = Merge(t, e) N=2
    o = Merge(s, m) N=2
"""


def test_a_condition_in_a_condition() -> None:
    expect(
        program(NESTED.format(outer="p", op="Neg(t:1)"), "x:0 p:0 r:0", "o:0"),
        """
        %0 = input x:0
        %1 = input p:0
        %2 = input r:0
        xla (%0, %1, %2) -> %12
            %3, %4 = Switch(%0, %1) 's'
            %5, %6 = Switch(%2, %1) 'q'
            %7, %8 = Switch(%4, %6) 't' if %1, masked
            %9 = Neg(%8) 'e' if %1 and %6, masked
            %10, %11 = Merge([%7, %9]) 'm' if %1 merging %1 and not %6 | %1 and %6, masked, selected
            %12, %13 = Merge([%3, %10]) 'o' merging not %1 | %1, selected
        return %12 o:0
        """,
    )


def test_one_of_two_conditions_may_be_cut() -> None:
    """The string hangs on q alone: the cut segments of q select by p."""
    found = program(
        """
        s = Switch(x, p)
        n = Neg(s:1)
        m = Merge(s, n) N=2
        t = Switch(m, q)
        a = AsString(t:1)
        w = Switch(t:1, p)
        b = Neg(w:1)
        """,
        "x:0 p:0 q:0", "m:0 a:0 b:0",
    )  # fmt: skip
    expect(
        found,
        """
        %0 = input x:0
        %1 = input p:0
        %2 = input q:0
        xla (%0, %1) -> %6
            %3, %4 = Switch(%0, %1) 's'
            %5 = Neg(%4) 'n' if %1, masked
            %6, %7 = Merge([%3, %5]) 'm' merging not %1 | %1, selected
        host (%6, %2) -> %9
            %8, %9 = Switch(%6, %2) 't'
        host (%9, %2) -> %10 if %2
            %10 = AsString(%9) 'a' if %2
        xla (%9, %1, %2) -> %13 if %2
            %11, %12 = Switch(%9, %1) 'w' if %2
            %13 = Neg(%12) 'b' if %1 and %2, masked by %1
        return %6 m:0
        return %10 a:0 if %2
        return %13 b:0 if %1 and %2
        """,
    )


def test_writes_in_branches_are_masked() -> None:
    expect(
        program(
            """
            v = VariableV2()
            s = RefSwitch(v, p)
            a = AssignAdd(s:1, x)
            b = AssignSub(s, x)
            m = Merge(b, a) N=2
            """,
            "x:0 p:0", "m:0",
        ),
        """
        %0 = input x:0
        %1 = input p:0
        %2 = resource v
        xla (%2, %1, %0) -> %7
            %3, %4 = RefSwitch(%2, %1) 's'
            %5 = AssignAdd(%4, %0) 'a' if %1, masked
            %6 = AssignSub(%3, %0) 'b' if not %1, masked
            %7, %8 = Merge([*%6, *%5]) 'm' merging not %1 | %1, selected
        return %7 m:0
        """,
    )  # fmt: skip


@pytest.mark.parametrize(("op", "traceable"), [("Neg(s:1)", True), ("MatMul(s:1, s:1)", False)])
def test_a_trace_runs_a_function_whose_conditions_are_selected(op: str, traceable: bool) -> None:
    body = CHEAP.replace("Neg(s:1)", op)
    found = program(
        "c = f(x, p)", "x:0 p:0", "c:0", library=[function("f", body, "x p=bool", "y:0")]
    )
    (called,) = found.instructions[0].functions
    assert called.program.is_traceable is traceable
    assert called.is_compilable is traceable
    assert str(found.segments[0]).startswith("xla" if traceable else "host")


def test_selection_is_a_pure_function() -> None:
    instructions = program(CHEAP, "x:0 p:0", "y:0").instructions
    compilable = [True] * len(instructions)
    first = select(instructions, compilable)
    assert first == select(instructions, compilable)
    assert compilable == [True] * len(instructions)
    branch = [i.node for i in instructions].index("n")
    compilable[branch] = False
    cut = select(instructions, compilable)
    assert cut.cut == {1}
    assert [i.node for i in instructions if cut.needs_host(i)] == ["s", "m"]
    assert cut.unmasked(instructions[branch]) == (Condition(1, True),)
    assert first.unmasked(instructions[branch]) == ()
