"""The loader: slots, instructions, conditions, functions and errors of a stage."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from flowray.proto import errors
from tests.unit.worker.program.programs import conditions, expect, function, program


def test_constants_and_variables_are_in_their_slots_before_a_run() -> None:
    """``*%1`` is the value of the variable: an op that takes values reads it."""
    found = program(
        """
        v = VariableV2() shared_name=b'w'
        c = Const() value=[1.0,2.0]
        r = Identity(v)
        y = AddV2(r, x)
        z = Sub(y, c)
        """,
        "x:0", "z:0 y:0",
    )  # fmt: skip
    expect(
        found,
        """
        %0 = input x:0
        %1 = resource w
        %2 = constant float32[2]
        xla (%1, %0, %2) -> %4, %5
            %3 = Identity(*%1) 'r'
            %4 = AddV2(%3, %0) 'y'
            %5 = Sub(%4, %2) 'z'
        return %5 z:0
        return %4 y:0
        """,
    )
    slots = found.slots()
    np.testing.assert_array_equal(slots[2], [1, 2])
    assert not slots[2].flags.writeable
    slots[0] = 1.0
    assert found.base[0] is None, "a run has slots of its own"


def test_list_arguments_and_several_outputs() -> None:
    expect(
        program(
            """
            p = Pack(a, b) N=2 axis=0
            u = Unpack(p) num=2
            n = AddN(u, u:1, a) N=3
            """,
            "a:0 b:0", "n:0",
        ),
        """
        %0 = input a:0
        %1 = input b:0
        xla (%0, %1) -> %5
            %2 = Pack([%0, %1]) 'p'
            %3, %4 = Unpack(%2) 'u'
            %5 = AddN([%3, %4, %0]) 'n'
        return %5 n:0
        """,
    )  # fmt: skip


def test_an_op_may_take_one_variable_as_reference_and_as_value() -> None:
    """The reference that an op passes on is the variable, too."""
    found = program(
        """
        v = VariableV2()
        a = Assign(v, x)
        b = AssignAdd(a, a)
        r = Identity(b)
        """,
        "x:0", "r:0",
    )  # fmt: skip
    expect(
        found,
        """
        %0 = input x:0
        %1 = resource v
        %4 = resource v
        xla (%1, %0, %4) -> %5
            %2 = Assign(%1, %0) 'a'
            %3 = AssignAdd(%2, *%4) 'b'
            %5 = Identity(*%3) 'r'
        return %5 r:0
        """,
    )
    assert found.base[1] is found.base[2] is found.base[3] is found.base[4]


def test_a_merged_reference_is_known_if_all_inputs_are_one_variable() -> None:
    def merged(other: str) -> object:
        text = f"""
            v = VariableV2()
            w = VariableV2()
            f = RefSwitch(v, p)
            g = RefSwitch({other}, p)
            m = RefMerge(f, g:1) N=2
        """
        found = program(text, "p:0", "m:0")
        return found.base[found.outputs[0]]

    assert getattr(merged("v"), "name", None) == "v"
    assert merged("w") is None


def test_a_fed_tensor_keeps_the_value_of_the_run() -> None:
    """Its node runs for its other output; nothing reads what it puts into %2."""
    expect(
        program("u = Unpack(p) num=2\na = AddV2(u, u:1)", "p:0 u:0", "a:0"),
        """
        %0 = input p:0
        %1 = input u:0
        xla (%0, %1) -> %4
            %2, %3 = Unpack(%0) 'u'
            %4 = AddV2(%1, %3) 'a'
        return %4 a:0
        """,
    )


def test_a_resource_comes_as_a_handle_and_is_used_on_the_host() -> None:
    expect(
        program(
            "r = ReadVariableOp(h) dtype=float32\nw = AssignVariableOp(h, r) dtype=float32",
            "h:0",
            "r:0",
        ),
        """
        %0 = handle h:0
        host (%0) -> %1
            %1 = ReadVariableOp(%0) 'r'
            AssignVariableOp(%0, %1) 'w'
        return %1 r:0
        """,
    )


def test_references_for_later_stages_and_resources_leave_as_handles() -> None:
    expect(
        program(
            """
            v = VarHandleOp() dtype=float32 shape=()
            w = VariableV2()
            a = Assign(w, x)
            b = AssignAdd(w, x)
            """,
            "x:0", "v:0 a:0 b:0",
            ref_outputs=frozenset({"a:0"}),
        ),
        """
        %0 = input x:0
        %1 = resource v
        %2 = resource w
        xla (%2, %0) -> %3, %4
            %3 = Assign(%2, %0) 'a'
            %4 = AssignAdd(%2, %0) 'b'
        return handle %1 v:0
        return handle %3 a:0
        return %4 b:0
        """,
    )  # fmt: skip


def test_a_stateful_kernel_has_private_state() -> None:
    expect(
        program(
            """
            s = Const() value=[2] dtype=int32
            r = RandomUniform(s) dtype=float32 T=int32 seed=1
            """,
            "", "r:0",
        ),
        """
        %0 = constant int32[1]
        xla (%0) -> %1
            %1 = RandomUniform(%0) 'r' with state r
        return %1 r:0
        """,
    )  # fmt: skip


def test_control_inputs() -> None:
    expect(
        program(
            "v = VariableV2()\na = Assign(v, x)\nr = Identity(v, ^a)\nn = NoOp(^r)", "x:0", "r:0"
        ),
        """
        %0 = input x:0
        %1 = resource v
        xla (%1, %0) -> %3
            %2 = Assign(%1, %0) 'a'
            %3 = Identity(*%1) 'r' after 'a'
            NoOp() 'n' after 'r'
        return %3 r:0
        """,
    )


def test_conditions_of_instructions_and_outputs() -> None:
    expect(
        program("s = Switch(x, p)\nn = Neg(s:1)\nm = Merge(s, n) N=2", "x:0 p:0", "m:0 n:0"),
        """
        %0 = input x:0
        %1 = input p:0
        xla (%0, %1) -> %4, %5
            %2, %3 = Switch(%0, %1) 's'
            %4 = Neg(%3) 'n' if %1, masked
            %5, %6 = Merge([%2, %4]) 'm' merging not %1 | %1, selected
        return %5 m:0
        return %4 n:0 if %1
        """,
    )


def test_conditions_that_come_from_other_stages() -> None:
    expect(
        program(
            "n = Neg(x)\na = NoOp()\nb = NoOp(^a)", "x:0 p:0", "n:0",
            input_conditions=conditions(**{"x:0": "p:0"}),
            node_conditions=conditions(b="!p:0"),
        ),
        """
        %0 = input x:0
        %1 = input p:0
        xla (%0, %1) -> %2
            %2 = Neg(%0) 'n' if %1, masked
            NoOp() 'a'
            NoOp() 'b' if not %1 after 'a', masked
        return %2 n:0 if %1
        """,
    )  # fmt: skip


def test_a_function_is_a_program_of_its_own_and_loaded_once() -> None:
    found = program(
        "a = f(x)\nb = f(a)", "x:0", "b:0", library=[function("f", "n = Neg(y)", "y", "n:0")]
    )
    expect(
        found,
        """
        %0 = input x:0
        xla (%0) -> %2
            %1 = PartitionedCall([%0]) 'a' calls f
            %2 = PartitionedCall([%1]) 'b' calls f
        return %2 b:0
        """,
    )
    (first,), (second,) = (instruction.functions for instruction in found.instructions)
    assert first is second
    expect(first.program, "%0 = input y:0\nxla (%0) -> %1\n    %1 = Neg(%0) 'n'\nreturn %1 n:0")


def test_a_function_may_use_the_resources_that_it_gets_in_an_xla_program() -> None:
    """A trace knows which they are; only a stage must wait for a run to tell."""
    body = "r = ReadVariableOp(h) dtype=float32\na = AssignAddVariableOp(h, r) dtype=float32"
    found = program(
        "v = VarHandleOp() dtype=float32 shape=()\nc = f(v)",
        "", "c:0",
        library=[function("f", body, "h=resource", "r:0")],
    )  # fmt: skip
    expect(
        found,
        """
        %0 = resource v
        xla (%0) -> %1
            %1 = StatefulPartitionedCall([%0]) 'c' calls f
        return %1 c:0
        """,
    )
    expect(
        found.instructions[0].functions[0].program,
        """
        %0 = handle h:0
        xla (%0) -> %1
            %1 = ReadVariableOp(%0) 'r'
            AssignAddVariableOp(%0, %1) 'a'
        return %1 r:0
        """,
    )


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("n = Neg(y)", errors.InternalError, "the stage has no tensor y:0"),
        ("n = Neg(x) T=string", errors.InvalidArgumentError, "Value for attr 'T' of string"),
        ("n = AddV2(x)", errors.InvalidArgumentError, "do not match 1 inputs"),
        ("n = Foo(x)", errors.NotFoundError, "Op type not registered 'Foo'"),
    ],
)
def test_an_error_names_the_node(text: str, kind: type[errors.OpError], message: str) -> None:
    with pytest.raises(kind, match=message) as info:
        program(text, "x:0", "n:0")
    assert "[[{{node n}}]]" in info.value.message or "{{node n}}" in info.value.message


def test_programs_never_change() -> None:
    found = program("n = Neg(x)", "x:0", "n:0")
    for value, name in (
        (found, "base"),
        (found.instructions[0], "run"),
        (found.segments[0], "inputs"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, ())
