"""Graph building: names, scopes, devices, control dependencies, collections (TensorFlow 1.15's)."""

from __future__ import annotations

import numpy as np
import pytest

from flowray.client.framework import graph as graph_lib
from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Graph, name_scope
from flowray.client.framework.op_builder import apply_op, make_op
from flowray.proto.types import dtypes


@pytest.fixture(autouse=True)
def graph():
    with Graph().as_default() as graph:
        yield graph


def noop(name: str | None = None):
    return apply_op("NoOp", name=name)


def test_names_are_made_unique_without_regard_to_case(graph: Graph) -> None:
    assert [noop(n).name for n in ("a", "a", "A", "a_1", None, None)] == [
        "a", "a_1", "A_2", "a_1_1", "NoOp", "NoOp_1",
    ]  # fmt: skip


def test_name_scopes_nest_and_are_numbered(graph: Graph) -> None:
    with name_scope("s") as scope:
        assert scope == "s/"
        assert noop("x").name == "s/x"
        with name_scope("t"):
            assert noop("x").name == "s/t/x"
        with name_scope(None, "default"):
            assert noop("x").name == "s/default/x"
    with name_scope("s"):
        assert noop("x").name == "s_1/x"
    with name_scope("s/"):
        assert noop("y").name == "s/y"
        with graph.name_scope(None):
            assert noop("z").name == "z"


@pytest.mark.parametrize("name", ["-a", "a b", "a:0", "_a", "a^"])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        noop(name)


def test_inner_device_scopes_override_field_by_field(graph: Graph) -> None:
    with graph.device("/job:ps/task:0"):
        assert noop().device == "/job:ps/task:0"
        with graph.device("/gpu:1"):
            assert noop().device == "/job:ps/task:0/device:GPU:1"
        with graph.device("/job:worker"):
            assert noop().device == "/job:worker/task:0"
        with graph.device(None):
            assert noop().device == ""
    with graph.device(lambda op: "/job:a" if op.type == "NoOp" else "/job:b"):
        assert noop().device == "/job:a"
        assert constant(1).device == "/job:b"


def test_colocation_takes_the_device_and_names_the_groups(graph: Graph) -> None:
    with graph.device("/job:ps"):
        a = noop("a")
    b = noop("b")
    with graph.colocate_with(a), graph.device("/job:worker"):
        c = noop("c")
    with graph.colocate_with(b), graph.colocate_with(c):
        d = noop("d")
    assert c.device == "/job:ps"
    assert c.colocation_groups() == [b"loc:@a"]
    assert d.colocation_groups() == [b"loc:@a", b"loc:@b"]
    assert noop("e").colocation_groups() == [b"loc:@e"]


def test_control_dependencies_leave_out_what_the_inputs_wait_for(graph: Graph) -> None:
    a, b = constant(1.0, name="a"), noop("b")
    with graph.control_dependencies([a, b]):
        c = apply_op("Identity", a, name="c")
        d = apply_op("Identity", c, name="d")
        with graph.control_dependencies([d]):
            e = noop("e")
        with graph.control_dependencies(None):
            f = noop("f")
    # c's own input a needs no control edge; d waits for b through c, which is in the scope.
    assert list(c.op.node_def.input) == ["a", "^b"]
    assert list(d.op.node_def.input) == ["c"]
    assert sorted(e.node_def.input) == ["^a", "^b", "^d"]
    assert list(f.node_def.input) == []


def test_elements_are_found_by_name_with_tensorflows_errors(graph: Graph) -> None:
    c = constant(1, name="c")
    assert graph.get_tensor_by_name("c:0") is c
    assert graph.get_operation_by_name("c") is c.op
    with pytest.raises(KeyError, match="refers to a Tensor which does not exist"):
        graph.get_tensor_by_name("zz:0")
    with pytest.raises(KeyError, match="exists but only has 1 outputs"):
        graph.get_tensor_by_name("c:3")
    with pytest.raises(ValueError, match="refers to an Operation, not a Tensor"):
        graph.get_tensor_by_name("c")
    with pytest.raises(KeyError, match="not in the graph"):
        graph.get_operation_by_name("zz")
    with Graph().as_default(), pytest.raises(ValueError, match="is not an element of this graph"):
        graph_lib.get_default_graph().as_graph_element(c)


def test_collections_keep_order_and_filter_by_scope(graph: Graph) -> None:
    with name_scope("s"):
        inside = constant(1)
    outside = constant(2)
    for tensor in (inside, outside):
        graph.add_to_collection("k", tensor)
    assert graph.get_collection("k") == [inside, outside]
    assert graph.get_collection("k", scope="s/") == [inside]
    graph.get_collection_ref("k").clear()
    assert graph.get_collection("k") == []


def test_a_finalized_graph_refuses_ops_and_collections(graph: Graph) -> None:
    graph.finalize()
    with pytest.raises(RuntimeError, match="finalized"):
        noop()
    with pytest.raises(RuntimeError, match="finalized"):
        graph.add_to_collection("k", 1)


def test_the_graph_def_holds_everything_and_only_the_new_nodes_on_request(graph: Graph) -> None:
    constant(np.float32([1, 2]), name="a")
    version = graph.version
    apply_op("Identity", graph.get_tensor_by_name("a:0"), name="b")
    whole = graph.as_graph_def(add_shapes=True)
    assert [n.name for n in whole.node] == ["a", "b"]
    assert whole.versions.producer == 134
    assert whole.node[1].attr["_output_shapes"].list.shape[0].dim[0].size == 2
    assert [n.name for n in graph.as_graph_def(from_version=version).node] == ["b"]


def test_a_failed_op_leaves_nothing_behind(graph: Graph) -> None:
    a, b = constant(np.ones((2, 3), np.float32)), constant(np.ones((2, 3), np.float32))
    before = len(graph.get_operations())
    with pytest.raises(ValueError, match="Dimensions must be equal.*MatMul.*input shapes"):  # noqa: RUF043
        apply_op("MatMul", a, b)
    assert len(graph.get_operations()) == before


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [(1, "int32", ()), (1.5, "float32", ()), (True, "bool", ()), ("a", "string", ()),
     ([1, 2], "int32", (2,)), (np.ones((2, 1)), "float64", (2, 1)), (2**40, "int64", ())],
)  # fmt: skip
def test_constants_have_tensorflows_dtypes(value, dtype, shape) -> None:
    tensor = constant(value)
    assert (tensor.dtype.name, tensor.shape_tuple) == (dtype, shape)


def test_a_python_number_takes_the_dtype_of_its_peer() -> None:
    x = apply_op("Placeholder", dtype=dtypes.float64, shape=None)
    assert apply_op("Mul", x, 2).dtype == dtypes.float64
    assert apply_op("Mul", 2, x).dtype == dtypes.float64
    with pytest.raises(TypeError, match="type int32 that does not match type float64"):
        apply_op("Mul", x, constant(1))


def test_a_list_with_tensors_becomes_a_pack() -> None:
    x = constant(3.0)
    packed = convert_to_tensor([1, x, 2.5])
    assert packed.op.type == "Pack"
    assert packed.dtype == dtypes.float32
    np.testing.assert_array_equal(constant_value(packed), np.float32([1, 3, 2.5]))


def test_attributes_are_checked_against_the_definition() -> None:
    x = constant(1.0)
    with pytest.raises(TypeError, match="unexpected keyword arguments: no_such"):
        make_op("Neg", x, no_such=1)
    with pytest.raises(TypeError, match="not in list of allowed values"):
        make_op("Neg", constant("a"))
    with pytest.raises(TypeError, match="No argument for attr 'DstT'"):
        make_op("Cast", x)


def test_get_attr_gives_python_values() -> None:
    op = make_op("MatMul", constant([[1.0]]), constant([[1.0]]), transpose_b=True)
    assert op.get_attr("transpose_b") is True
    assert op.get_attr("T") == dtypes.float32
    with pytest.raises(ValueError, match="has no attr named 'zz'"):
        op.get_attr("zz")


def test_where_the_user_made_an_op_is_known() -> None:
    file, _, function, _ = noop().traceback[0]
    assert file == __file__
    assert function == "test_where_the_user_made_an_op_is_known" or function == "noop"
