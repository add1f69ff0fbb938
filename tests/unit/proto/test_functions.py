"""FunctionDefs as graphs: instantiation, calls by name, what does not hold together."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from flowray.proto import errors
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.graph import functions
from flowray.proto.messages import graph_pb2
from flowray.proto.types.dtypes import float32, int32

DOUBLE = """
signature {
  name: "double"
  input_arg { name: "x" type_attr: "T" }
  output_arg { name: "y" type_attr: "T" }
  attr { name: "T" type: "type" }
}
node_def { name: "sum" op: "AddV2" input: "x" input: "x"
           attr { key: "T" value { placeholder: "T" } } }
node_def { name: "unused" op: "Neg" input: "x" attr { key: "T" value { placeholder: "T" } } }
ret { key: "y" value: "sum:z:0" }
"""


def parsed(text: str) -> graph_pb2.FunctionDef:
    return text_format.Parse(text, graph_pb2.FunctionDef())


def of_type(dtype) -> dict[str, graph_pb2.AttrValue]:
    return {"T": graph_pb2.AttrValue(type=dtype.as_datatype_enum)}


def test_attributes_replace_placeholders():
    body = functions.body_of(parsed(DOUBLE), of_type(int32), {})
    assert body.input_types == body.output_types == (int32,)
    assert body.outputs == ("sum:0",)
    (node,) = body.graph.node  # what no result needs is left out
    assert node.attr["T"].type == int32.as_datatype_enum
    assert list(node.input) == ["x:0", "x:0"]


def test_a_missing_attribute_is_named():
    with pytest.raises(errors.InvalidArgumentError, match="double is not given its attribute T"):
        functions.body_of(parsed(DOUBLE), {}, {})


def test_an_unknown_input_is_named():
    with pytest.raises(errors.InvalidArgumentError, match=r"'sum' of function double.*'w'"):
        functions.body_of(parsed(DOUBLE.replace('input: "x" input', 'input: "w" input')),
                          of_type(int32), {})  # fmt: skip


def test_a_cycle_is_an_error():
    text = DOUBLE.replace('input: "x" input: "x"', 'input: "x" input: "sum:z:0"')
    with pytest.raises(errors.InvalidArgumentError, match="double form a cycle"):
        functions.body_of(parsed(text), of_type(int32), {})


def test_a_function_as_an_op_becomes_a_call():
    node = graph_pb2.NodeDef(name="n", op="double", input=["a"], device="/cpu:0")
    node.attr["T"].type = float32.as_datatype_enum
    call = functions.as_call(node, {"double": parsed(DOUBLE)})
    assert (call.op, call.name, list(call.input), call.device) == (
        "PartitionedCall", "n", ["a"], "/cpu:0",
    )  # fmt: skip
    assert call.attr["f"].func.name == "double"
    assert call.attr["f"].func.attr["T"].type == float32.as_datatype_enum
    assert list(call.attr["Tin"].list.type) == [float32.as_datatype_enum]
    assert functions.as_call(node, {}) is node


def test_reachable_functions():
    caller = parsed('signature { name: "caller" } node_def { name: "c" op: "double" }')
    other = parsed('signature { name: "other" }')
    library = {"double": parsed(DOUBLE), "caller": caller, "other": other}
    node = graph_pb2.NodeDef(name="n", op="MapDataset")
    node.attr["f"].func.name = "caller"
    found = functions.reachable([node], library)
    assert [f.signature.name for f in found] == ["double", "caller"]
