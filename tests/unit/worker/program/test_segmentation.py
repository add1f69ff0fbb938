"""Segmentation: modes, phases, the order of state, and resources of a step."""

from __future__ import annotations

from tests.unit.worker.program.programs import expect, program


def test_what_can_be_compiled_is_one_segment() -> None:
    expect(
        program("a = Neg(x)\nb = Exp(a)\nc = AddV2(a, b)", "x:0", "c:0"),
        """
        %0 = input x:0
        xla (%0) -> %3
            %1 = Neg(%0) 'a'
            %2 = Exp(%1) 'b'
            %3 = AddV2(%1, %2) 'c'
        return %3 c:0
        """,
    )


def test_strings_are_the_hosts() -> None:
    """A node that does not need them (``f``) is in the first segment, so there are only three."""
    expect(
        program(
            """
            a = Neg(x)
            b = AsString(a)
            c = StringLength(b)
            d = Cast(c) SrcT=int32 DstT=float32
            e = AddV2(d, a)
            f = Neg(a)
            """,
            "x:0", "e:0 f:0",
        ),
        """
        %0 = input x:0
        xla (%0) -> %1, %6
            %1 = Neg(%0) 'a'
            %6 = Neg(%1) 'f'
        host (%1) -> %3
            %2 = AsString(%1) 'b'
            %3 = StringLength(%2) 'c'
        xla (%3, %1) -> %5
            %4 = Cast(%3) 'd'
            %5 = AddV2(%4, %1) 'e'
        return %5 e:0
        return %6 f:0
        """,
    )  # fmt: skip


def test_an_output_whose_shape_depends_on_data_is_made_on_the_host() -> None:
    expect(
        program("a = Neg(x)\nw = Where(a)\nb = Cast(w) SrcT=int64", "x:0", "b:0"),
        """
        %0 = input x:0
        xla (%0) -> %1
            %1 = Neg(%0) 'a'
        host (%1) -> %2
            %2 = Where(%1) 'w'
        xla (%2) -> %3
            %3 = Cast(%2) 'b'
        return %3 b:0
        """,
    )


def test_a_node_that_xla_refused_is_the_hosts() -> None:
    expect(
        program("a = Neg(x)\nb = Exp(a)\nc = Neg(b)", "x:0", "c:0", hosted=["b"]),
        """
        %0 = input x:0
        xla (%0) -> %1
            %1 = Neg(%0) 'a'
        host (%1) -> %2
            %2 = Exp(%1) 'b'
        xla (%2) -> %3
            %3 = Neg(%2) 'c'
        return %3 c:0
        """,
    )


def test_a_static_input_that_depends_on_data_is_computed_before() -> None:
    expect(
        program(
            """
            axes = Const() value=[0] dtype=int32
            s = Sum(x, axes)
            c = Cast(s) DstT=int32
            r = Reshape(x, c)
            n = Neg(r)
            """,
            "x:0", "n:0",
        ),
        """
        %0 = input x:0
        %1 = constant int32[1]
        xla (%0, %1) -> %3
            %2 = Sum(%0, %1) 's'
            %3 = Cast(%2) 'c'
        xla (%0, %3) -> %5
            %4 = Reshape(%0, %3) 'r'
            %5 = Neg(%4) 'n'
        return %5 n:0
        """,
    )  # fmt: skip


def test_a_static_input_that_depends_on_shapes_is_known_to_the_trace() -> None:
    expect(
        program(
            """
            begin = Const() value=[0] dtype=int32
            size = Const() value=[1] dtype=int32
            s = Shape(x)
            t = Slice(s, begin, size) T=int32 Index=int32
            r = Reshape(y, t)
            """,
            "x:0 y:0", "r:0",
        ),
        """
        %0 = input x:0
        %1 = input y:0
        %2 = constant int32[1]
        %3 = constant int32[1]
        xla (%0, %2, %3, %1) -> %6
            %4 = Shape(%0) 's'
            %5 = Slice(%4, %2, %3) 't'
            %6 = Reshape(%1, %5) 'r'
        return %6 r:0
        """,
    )  # fmt: skip


def test_each_device_has_segments_of_its_own() -> None:
    expect(
        program(
            """
            a = Neg(x) @/gpu:0
            b = Neg(a) @/cpu:0
            c = Neg(a) @/gpu:0
            d = AddV2(b, c) @/gpu:0
            """,
            "x:0", "d:0",
        ),
        """
        %0 = input x:0
        xla on /gpu:0 (%0) -> %1, %3
            %1 = Neg(%0) 'a'
            %3 = Neg(%1) 'c'
        xla on /cpu:0 (%1) -> %2
            %2 = Neg(%1) 'b'
        xla on /gpu:0 (%2, %3) -> %4
            %4 = AddV2(%2, %3) 'd'
        return %4 d:0
        """,
    )  # fmt: skip


# State


def test_a_write_waits_for_the_reads_before_it_that_nothing_orders() -> None:
    """The host reads between two writes: without the order, both would be in one segment."""
    expect(
        program(
            "v = VariableV2()\na = Assign(v, x)\nt = AsString(v)\nb = AssignAdd(v, x)",
            "x:0", "t:0",
        ),
        """
        %0 = input x:0
        %1 = resource v
        xla (%1, %0) -> nothing
            %2 = Assign(%1, %0) 'a'
        host (%1) -> %3
            %3 = AsString(*%1) 't'
        xla (%1, %0) -> nothing
            %4 = AssignAdd(%1, %0) 'b'
        return %3 t:0
        """,
    )  # fmt: skip


def test_a_value_that_was_read_lets_the_write_go_on() -> None:
    expect(
        program(
            "v = VariableV2()\nr = Identity(v)\nt = AsString(r)\nw = AssignAdd(v, x)",
            "x:0", "t:0",
        ),
        """
        %0 = input x:0
        %1 = resource v
        xla (%1, %0) -> %2
            %2 = Identity(*%1) 'r'
            %4 = AssignAdd(%1, %0) 'w'
        host (%2) -> %3
            %3 = AsString(%2) 't'
        return %3 t:0
        """,
    )  # fmt: skip


def test_variables_are_ordered_one_by_one() -> None:
    """``b`` writes another variable than the host reads, and so comes before."""
    expect(
        program(
            """
            v = VariableV2()
            w = VariableV2()
            a = Assign(v, x)
            t = AsString(v)
            b = Assign(w, x)
            """,
            "x:0", "t:0",
        ),
        """
        %0 = input x:0
        %1 = resource v
        %2 = resource w
        xla (%1, %0, %2) -> nothing
            %3 = Assign(%1, %0) 'a'
            %5 = Assign(%2, %0) 'b'
        host (%1) -> %4
            %4 = AsString(*%1) 't'
        return %4 t:0
        """,
    )  # fmt: skip


def test_an_instruction_with_two_slots_of_one_variable_does_not_wait_for_itself() -> None:
    expect(
        program("v = VariableV2()\ns = RefSwitch(v, p)\nm = RefMerge(s, s:1) N=2", "p:0", "m:1"),
        """
        %0 = input p:0
        %1 = resource v
        xla (%1, %0) -> %5
            %2, %3 = RefSwitch(%1, %0) 's'
            %4, %5 = RefMerge([%2, %3]) 'm' merging not %0 | %0, selected
        return %5 m:1
        """,
    )


def test_a_reference_that_only_a_run_knows_is_used_on_the_host() -> None:
    """It may be either variable, so that a read of one comes after the write to it."""
    expect(
        program(
            """
            v = VariableV2()
            w = VariableV2()
            f = RefSwitch(v, p)
            g = RefSwitch(w, p)
            m = RefMerge(f, g:1) N=2
            a = AssignAdd(m, x)
            r = Identity(w)
            """,
            "x:0 p:0", "r:0",
        ),
        """
        %0 = input x:0
        %1 = input p:0
        %2 = resource v
        %3 = resource w
        host (%2, %1, %3, %0) -> nothing
            %4, %5 = RefSwitch(%2, %1) 'f'
            %6, %7 = RefSwitch(%3, %1) 'g'
            %8, %9 = RefMerge([%4, %7]) 'm' merging not %1 | %1
            %10 = AssignAdd(%8, %0) 'a'
        xla (%3) -> %11
            %11 = Identity(*%3) 'r'
        return %11 r:0
        """,
    )  # fmt: skip


# Resources that live as long as a step

STACK = """
    n = Const() value=3 dtype=int32
    s = StackV2(n) elem_type=float32
    p = StackPushV2(s, x)
    q = StackPopV2(s, ^p) elem_type=float32
    y = Neg(q)
"""


def test_a_stack_lives_in_one_segment() -> None:
    expect(
        program(STACK, "x:0", "y:0"),
        """
        %0 = input x:0
        %1 = constant int32[]
        xla (%1, %0) -> %5
            %2 = StackV2(%1) 's'
            %3 = StackPushV2(%2, %0) 'p'
            %4 = StackPopV2(%2) 'q' after 'p'
            %5 = Neg(%4) 'y'
        return %5 y:0
        """,
    )


def test_a_stack_that_leaves_is_the_hosts() -> None:
    expect(
        program(STACK, "x:0", "y:0 s:0"),
        """
        %0 = input x:0
        %1 = constant int32[]
        host (%1, %0) -> %2, %4
            %2 = StackV2(%1) 's'
            %3 = StackPushV2(%2, %0) 'p'
            %4 = StackPopV2(%2) 'q' after 'p'
        xla (%4) -> %5
            %5 = Neg(%4) 'y'
        return %5 y:0
        return handle %2 s:0
        """,
    )


def test_a_stack_with_a_host_op_between_its_uses_is_the_hosts() -> None:
    """One segment could not hold it: the pop waits for the host, and the host for the push."""
    expect(
        program(
            """
            n = Const() value=3 dtype=int32
            s = StackV2(n) elem_type=float32
            p = StackPushV2(s, x)
            t = AsString(p)
            l = StringLength(t)
            q = StackPopV2(s, ^l) elem_type=float32
            y = Neg(q)
            """,
            "x:0", "y:0",
        ),
        """
        %0 = input x:0
        %1 = constant int32[]
        host (%1, %0) -> %6
            %2 = StackV2(%1) 's'
            %3 = StackPushV2(%2, %0) 'p'
            %4 = AsString(%3) 't'
            %5 = StringLength(%4) 'l'
            %6 = StackPopV2(%2) 'q' after 'l'
        xla (%6) -> %7
            %7 = Neg(%6) 'y'
        return %7 y:0
        """,
    )  # fmt: skip
