from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from flowray.proto import errors
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.graph.node import MAX_LIST, Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from flowray.proto.types import dtypes, tensors


def node_def(text: str) -> graph_pb2.NodeDef:
    return text_format.Parse(text, graph_pb2.NodeDef())


MATMUL = """
    name: "m" op: "MatMul" device: "/job:worker" input: "a" input: "b:1" input: "^c" input: "^d"
    input: "^c" attr { key: "T" value { type: DT_FLOAT } }
    attr { key: "transpose_b" value { b: true } }
    attr { key: "_class" value { list { s: "loc:@a" } } }
"""


def test_a_node_is_decoded() -> None:
    definition = node_def(MATMUL)
    node = Node.from_def(definition)
    assert node.name == "m"
    assert node.op.name == "MatMul"
    assert node.device == "/job:worker"
    assert node.inputs == (TensorId("a", 0), TensorId("b", 1))
    assert node.control_inputs == ("c", "d")
    assert node.input_types == (dtypes.float32, dtypes.float32)
    assert node.output_types == (dtypes.float32,)
    assert node.output(0) == TensorId("m", 0)
    assert node.predecessors() == ["a", "b", "c", "d"]
    assert node.definition is definition


def test_attributes_have_python_values_and_defaults() -> None:
    attrs = Node.from_def(node_def(MATMUL)).attrs
    assert attrs["T"] is dtypes.float32
    assert attrs["transpose_a"] is False
    assert attrs["transpose_b"] is True
    assert "_class" not in attrs


def test_a_constant_has_its_value() -> None:
    definition = graph_pb2.NodeDef(name="c", op="Const")
    definition.attr["dtype"].type = dtypes.int32.as_datatype_enum
    definition.attr["value"].tensor.CopyFrom(tensors.encode(np.array([1, 2], np.int32)))
    node = Node.from_def(definition)
    np.testing.assert_array_equal(node.attrs["value"], [1, 2])
    assert node.output_types == (dtypes.int32,)


def test_lists_are_flat() -> None:
    node = Node.from_def(
        node_def("""
            name: "s" op: "Split" input: "axis" input: "x"
            attr { key: "T" value { type: DT_INT32 } } attr { key: "num_split" value { i: 3 } }
        """)
    )
    assert node.output_types == (dtypes.int32,) * 3


def test_edges_can_be_given() -> None:
    node = Node.from_def(
        node_def("""
            name: "i" op: "Identity" input: "a" input: "b" attr { key: "T" value { type: DT_INT8 } }
        """),
        inputs=(TensorId("v", 2),),
        control_inputs=("w",),
    )
    assert node.inputs == (TensorId("v", 2),)
    assert node.control_inputs == ("w",)


def test_references() -> None:
    node = Node.from_def(
        node_def("""
            name: "w" op: "Assign" input: "v" input: "x" attr { key: "T" value { type: DT_FLOAT } }
        """)
    )
    assert node.reads_reference(0)
    assert not node.reads_reference(1)
    assert node.writes_variable()
    assert node.output_types[0]._is_ref_dtype
    read = Node.from_def(
        node_def("""
            name: "r" op: "ReadVariableOp" input: "v"
            attr { key: "dtype" value { type: DT_FLOAT } }
        """)
    )
    assert not read.writes_variable()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('op: "NoSuchOp"', errors.NotFoundError, "Op type not registered 'NoSuchOp'"),
        ('op: "Identity" input: "a"', errors.NotFoundError, "No attr named 'T' in NodeDef"),
        (
            'op: "Identity" input: "a" attr { key: "T" value { i: 1 } }',
            errors.InvalidArgumentError, "AttrValue of attr 'T' of op Identity is not of type type",
        ),
        (
            'op: "Identity" input: "a" attr { key: "T" value { type: 77 } }',
            errors.InvalidArgumentError, "77",
        ),
        (
            'op: "Sqrt" input: "a" attr { key: "T" value { type: DT_STRING } }',
            errors.InvalidArgumentError, "Value for attr 'T' of string is not in the list",
        ),
        ('op: "NoOp" input: "a b"', errors.InvalidArgumentError, "Illegal op input name 'a b'"),
        ('op: "NoOp" input: "^a:0"', errors.InvalidArgumentError, "Illegal op input name '^a:0'"),
        (
            'op: "Identity" input: "^c" input: "a" attr { key: "T" value { type: DT_INT8 } }',
            errors.InvalidArgumentError, "Control dependencies must come after regular",
        ),
        (
            'op: "Identity" attr { key: "T" value { type: DT_INT8 } }',
            errors.InvalidArgumentError,
            "NodeDef expected inputs 'int8' do not match 0 inputs specified; Op<name=Identity>",
        ),
        (
            f"""op: "AddN" input: "a" attr {{ key: "T" value {{ type: DT_INT8 }} }}
            attr {{ key: "N" value {{ i: {MAX_LIST + 1} }} }}""",
            errors.InvalidArgumentError, "is above the maximum",
        ),
    ],
)  # fmt: skip
def test_what_does_not_hold_together(text: str, error: type[errors.OpError], message: str) -> None:
    with pytest.raises(error) as caught:
        Node.from_def(node_def(f'name: "n" {text}'))
    assert message in caught.value.message
    assert caught.value.message.endswith("[[{{node n}}]]")
