from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.ops import op_registry
from flowray.proto.ops.common_shapes import unchanged
from flowray.proto.ops.op_registry import OpKind, attr, op
from flowray.proto.types import dtypes

OPS = op_registry.registered_ops()


@pytest.fixture
def define() -> Iterator[Any]:
    """``op``, whose definitions end with the test."""
    before = dict(op_registry._registry)
    yield op
    op_registry._registry.clear()
    op_registry._registry.update(before)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (OpKind.CONST, "Const"),
        (OpKind.PLACEHOLDER, "Placeholder PlaceholderV2"),
        (OpKind.VARIABLE, "VarHandleOp Variable VariableV2"),
        (OpKind.IDENTITY, "Identity"),
        (OpKind.CONTROL_TRIGGER, "ControlTrigger"),
        (OpKind.SWITCH, "RefSwitch Switch"),
        (OpKind.MERGE, "Merge RefMerge"),
        (OpKind.ENTER, "Enter RefEnter"),
        (OpKind.EXIT, "Exit RefExit"),
        (OpKind.NEXT_ITERATION, "NextIteration RefNextIteration"),
        (OpKind.LOOP_COND, "LoopCond"),
    ],
)
def test_kinds(kind: OpKind, names: str) -> None:
    assert sorted(name for name, op in OPS.items() if op.kind is kind) == names.split()


def test_the_form_that_takes_a_reference_has_the_kind_of_the_plain_one() -> None:
    for name, definition in OPS.items():
        if name.startswith("Ref"):
            plain = OPS[name.removeprefix("Ref")]
            assert definition.kind is plain.kind
            assert definition.forwards_resource == plain.forwards_resource


def test_what_forwards_its_input_has_outputs_of_its_type() -> None:
    for definition in OPS.values():
        if definition.forwards_resource:
            first = definition.inputs[0]
            assert {o.type_attr for o in definition.outputs} == {first.type_attr}
            assert {o.is_ref for o in definition.outputs} == {first.is_ref}


def test_ref_variables() -> None:
    assert OPS["VariableV2"].is_ref_variable
    assert not OPS["VarHandleOp"].is_ref_variable
    assert not OPS["RefSwitch"].is_ref_variable


@pytest.mark.parametrize(
    ("signature", "attributes", "expected"),
    [
        ("x: T -> y: T", {}, True),
        ("x: T -> y: T", {"T": {dtypes.int32, dtypes.float32}}, True),
        ("x: T -> y: T", {"T": {dtypes.int32, dtypes.string}}, False),
        ("x: T -> y: string", {}, False),
        ("x: T -> y: bool, z: float32", {}, True),
        ("x: T -> y: resource", {}, True),
        ("x: T ->", {}, False),
        ("x: T -> y: [U]", {"U": attr("list(type)", allowed=[dtypes.int64])}, False),
        ("x: T -> y: [U]", {"U": attr("list(type)")}, True),
        ("x: T -> y: T", {"differentiable": False}, False),
    ],
)
def test_gradients_flow_only_through_outputs_that_can_vary(
    define: Any, signature: str, attributes: dict[str, Any], expected: bool
) -> None:
    definition = define("TestOp", signature, **attributes, shape=unchanged)
    assert definition.differentiable is expected


DEFINITIONS = """
from flowray.proto.ops.common_shapes import unchanged
from flowray.proto.ops.op_registry import op

def outer(name):
    def inner():
        return op(name, "x: T -> y: T", shape=unchanged)
    return inner()

op("TestPlain", "x: T -> y: T", shape=unchanged)
for _name in ("TestInner",):
    outer(
        _name
    )
"""


def test_an_op_is_defined_where_the_module_states_it(define: Any) -> None:
    exec(compile(DEFINITIONS, "/somewhere/odd_ops.py", "exec"), {})
    assert OPS["TestPlain"].defined_at == "/somewhere/odd_ops.py:10"
    assert OPS["TestInner"].defined_at == "/somewhere/odd_ops.py:12"
    assert OPS["TestInner"].family == "odd_ops"


def test_a_name_is_taken_once(define: Any) -> None:
    with pytest.raises(ValueError, match=r"'MatMul' is already defined at .*math_ops\.py:\d+"):
        define("MatMul", "x: T -> y: T", shape=unchanged)
