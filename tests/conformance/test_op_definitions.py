"""Our op definitions against TensorFlow's: real TensorFlow clients send what theirs promise.

Ours may take fewer dtypes and leave attributes out, for the reasons that stand below; they never
take more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flowray.proto.ops  # noqa: F401 - registers the definitions
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.types import dtypes
from flowray.proto.types.attr_values import from_attr_value

op_def_registry = pytest.importorskip("tensorflow.python.framework.op_def_registry")

QUANTIZED = frozenset({dtypes.qint8, dtypes.quint8, dtypes.qint16, dtypes.quint16, dtypes.qint32})

# TensorFlow 1.15's MatMul has no such attributes; they only tell a quantizer where the op is from.
LEFT_OUT = {
    "MatMul": {"grad_a", "grad_b"},
    "BatchMatMul": {"grad_x", "grad_y"},
    "BatchMatMulV2": {"grad_x", "grad_y"},
    "BatchMatMulV3": {"grad_x", "grad_y"},
}
# What no kernel of flowray takes: quantized elements, and the layout that goes with them.
NEVER_TAKEN = QUANTIZED | {b"NCHW_VECT_C"}
# Sums and conjugates of tensor lists, which only the gradients of functional loops make.
NARROWER = {("AddN", "T"): {dtypes.variant}, ("Conj", "T"): {dtypes.variant}}


def registered() -> list[op_registry.OpDef]:
    return sorted(op_registry.registered_ops().values(), key=lambda definition: definition.name)


def argument_facts(arg: op_registry.ArgDef) -> dict[str, Any]:
    return {
        "name": arg.name,
        "dtype": 0 if arg.dtype is None else arg.dtype.as_datatype_enum,
        "type_attr": arg.type_attr or "",
        "number_attr": arg.number_attr or "",
        "type_list_attr": arg.type_list_attr or "",
        "is_ref": arg.is_ref,
    }


def their_argument_facts(arg: Any) -> dict[str, Any]:
    return {
        "name": arg.name,
        "dtype": arg.type,
        "type_attr": arg.type_attr,
        "number_attr": arg.number_attr,
        "type_list_attr": arg.type_list_attr,
        "is_ref": arg.is_ref,
    }


def their_allowed(attribute: Any) -> set[Any] | None:
    if not attribute.HasField("allowed_values"):
        return None
    values = attribute.allowed_values.list
    return {dtypes.as_dtype(number) for number in values.type} or set(values.s)


def their_default(attribute: Any) -> Any:
    """The default as flowray reads it; REQUIRED for none."""
    if not attribute.HasField("default_value"):
        return op_registry.REQUIRED
    value = graph_pb2.AttrValue.FromString(attribute.default_value.SerializeToString())
    return from_attr_value(value, attribute.type)


def check_allowed(op_name: str, ours: op_registry.AttrDef, theirs: Any) -> None:
    where, allowed = f"{op_name}.{theirs.name}", their_allowed(theirs)
    if ours.allowed is None:
        assert allowed is None, f"{where} takes more than {allowed}"
    elif allowed is not None:
        assert ours.allowed <= allowed, f"{where} takes {set(ours.allowed) - allowed}, too"
        excused = NEVER_TAKEN | NARROWER.get((op_name, theirs.name), set())
        missing = allowed - ours.allowed - excused
        assert not missing, f"{where} does not take {missing}"


@pytest.mark.parametrize("definition", registered(), ids=lambda d: d.name)
def test_definition_is_tensorflows(definition: op_registry.OpDef) -> None:
    theirs = op_def_registry.get(definition.name)
    assert theirs is not None, "TensorFlow has no such op"
    for ours, args in (
        (definition.inputs, theirs.input_arg),
        (definition.outputs, theirs.output_arg),
    ):
        assert [argument_facts(a) for a in ours] == [their_argument_facts(a) for a in args]
    assert definition.stateful == theirs.is_stateful
    # For resources the flag is flowray's own: TensorFlow's kernels look a resource up themselves.
    if any(arg.is_ref for arg in definition.inputs):
        assert definition.allows_uninitialized_input == theirs.allows_uninitialized_input
    attributes = {a.name: a for a in theirs.attr}
    assert set(definition.attrs) | LEFT_OUT.get(definition.name, set()) == set(attributes)
    for name, ours in definition.attrs.items():
        attribute = attributes[name]
        assert ours.kind == attribute.type, name
        assert ours.minimum == (attribute.minimum if attribute.has_minimum else None), name
        default = their_default(attribute)
        if ours.default is op_registry.REQUIRED or default is op_registry.REQUIRED:
            assert ours.default is default, name
        else:
            given = op_registry.default_attr_value(ours)
            np.testing.assert_equal(from_attr_value(given, ours.kind), default, name)
        check_allowed(definition.name, ours, attribute)
