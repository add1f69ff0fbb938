"""``tf.Variable`` of both kinds: its nodes, its values, and what reads and writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.op_builder import apply_op
from flowray.proto import errors


@pytest.fixture(autouse=True)
def graph() -> Iterator[tf.Graph]:
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=[False, True], ids=["reference", "resource"])
def use_resource(request: Any) -> bool:
    return bool(request.param)


@pytest.fixture
def session(graph: tf.Graph) -> Iterator[tf.Session]:
    with tf.Session(graph=graph) as session:
        yield session


def names() -> list[str]:
    return [node.name for node in tf.get_default_graph().as_graph_def().node]


# Making -------------------------------------------------------------------------------------------


def test_a_reference_variable_has_the_nodes_of_tensorflow() -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    assert names() == ["v/initial_value", "v", "v/Assign", "v/read"]
    assert (v.name, v.dtype, v.shape.as_list()) == ("v:0", tf.float32._as_ref, [2])
    assert v.op.colocation_groups() == [b"loc:@v"]
    assert v.value().op.colocation_groups() == [b"loc:@v"]


def test_a_resource_variable_has_the_nodes_of_tensorflow() -> None:
    v = tf.Variable([1.0, 2.0], name="v", use_resource=True)
    assert names() == [
        "v/Initializer/initial_value", "v", "v/IsInitialized/VarIsInitializedOp", "v/Assign",
        "v/Read/ReadVariableOp",
    ]  # fmt: skip
    assert (v.name, v.dtype, v.shape.as_list()) == ("v:0", tf.float32, [2])
    assert v.op.get_attr("shared_name") == b"v"


def test_collections_and_trainability(use_resource: bool) -> None:
    v = tf.Variable(1.0, use_resource=use_resource)
    w = tf.Variable(1.0, trainable=False, use_resource=use_resource)
    x = tf.Variable(1.0, collections=["mine"], use_resource=use_resource)
    assert tf.global_variables() == [v, w]
    assert tf.trainable_variables() == [v, x]
    assert tf.get_collection("mine") == [x]
    assert [y.name for y in (v, w, x)] == ["Variable:0", "Variable_1:0", "Variable_2:0"]


def test_wrong_arguments(use_resource: bool) -> None:
    with pytest.raises(ValueError, match="initial_value must be specified"):
        tf.Variable(use_resource=use_resource)
    with pytest.raises(ValueError, match="collections argument to Variable constructor must be a"):
        tf.Variable(1.0, collections="mine", use_resource=use_resource)
    with pytest.raises(ValueError, match="The `constraint` argument must be a callable"):
        tf.Variable(1.0, constraint=1, use_resource=use_resource)
    with pytest.raises(TypeError, match="unexpected keyword argument 'shared_name'"):
        tf.Variable(1.0, shared_name="v", use_resource=use_resource)
    with pytest.raises(TypeError, match="not iterable"):
        list(tf.Variable([1.0], use_resource=use_resource))
    with pytest.raises(ValueError, match="initial_value must have a shape specified"):
        tf.Variable(tf.placeholder(tf.float32))


def test_a_variable_does_not_wait_for_what_is_around_it(use_resource: bool) -> None:
    with tf.control_dependencies([tf.no_op()]):
        v = tf.Variable(1.0, use_resource=use_resource)
        read = v.read_value()
    assert all(not op.control_inputs for op in (v.op, v.initializer, v.initial_value.op))
    reading = read.op.inputs[0].op if use_resource else read.op
    assert [op.name for op in reading.control_inputs] == ["NoOp"]


# Values -------------------------------------------------------------------------------------------


def test_values_live_between_runs(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable(3, use_resource=use_resource)
    assert not session.run(tf.is_variable_initialized(v))
    assert session.run(tf.report_uninitialized_variables()).tolist() == [b"Variable"]
    with pytest.raises(errors.FailedPreconditionError):
        session.run(v)
    session.run(tf.global_variables_initializer())
    assert session.run(tf.is_variable_initialized(v))
    assert session.run(tf.report_uninitialized_variables()).tolist() == []
    add = v.assign_add(2)
    assert [session.run(add), session.run(add), session.run(v)] == [5, 7, 7]
    assert session.run(v.assign_sub(1, read_value=False)) is None
    assert v.eval(session) == 6
    v.load(40, session)
    assert session.run(v + 2) == 42


def test_writes_can_be_chained(session: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0], use_resource=True)
    session.run(v.initializer)
    first = v.assign([3.0, 4.0])
    second = first.assign_add([1.0, 1.0])
    assert session.run(second).tolist() == [4, 5]
    assert first.op.type == "AssignVariableOp"
    assert second.op.inputs[1].op.control_inputs == [first.op]
    assert session.run(first.assign([7.0, 8.0]).sparse_read([1])).tolist() == [8]


def test_reads_are_ordered_by_control_dependencies(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable(1.0, use_resource=use_resource)
    before = v.read_value()
    with tf.control_dependencies([before]):
        write = v.assign(5.0)
    with tf.control_dependencies([write.op]):
        after = v.read_value()
    session.run(v.initializer)
    if use_resource:
        assert session.run([before, after]) == [1.0, 5.0]
    assert session.run(after) == 5.0


def test_an_initializer_may_depend_on_another_variable(
    session: tf.Session, use_resource: bool
) -> None:
    a = tf.Variable(tf.random_uniform([3]), use_resource=use_resource)
    b = tf.Variable(a.initialized_value() * 2.0, use_resource=use_resource)
    c = tf.Variable(a * 3.0) if not use_resource else b
    session.run(tf.global_variables_initializer())
    x, y, z = session.run([a, b, c])
    np.testing.assert_array_equal(y, x * 2)
    np.testing.assert_array_equal(z, x * (2 if use_resource else 3))
    session.run(b.initializer)  # reads a, and does not draw again
    np.testing.assert_array_equal(session.run(b), x * 2)


def test_shapes_may_change_where_they_are_not_validated(session: tf.Session) -> None:
    v = tf.Variable([1.0], validate_shape=False)
    session.run(v.initializer)
    assert v.shape.rank is None
    session.run(tf.assign(v, [[1.0, 2.0]], validate_shape=False))
    assert session.run(v).shape == (1, 2)
    w = tf.Variable([1.0])
    session.run(w.initializer)
    with pytest.raises(ValueError, match="Dimension 0 in both shapes must be equal"):
        tf.assign(w, [1.0, 2.0])
    value = tf.placeholder(tf.float32)
    with pytest.raises(errors.InvalidArgumentError, match="Assign requires shapes of both"):
        session.run(tf.assign(w, value), {value: [1.0, 2.0]})


def test_a_handle_of_another_dtype_is_refused(session: tf.Session) -> None:
    v = tf.Variable(1, name="v", use_resource=True)
    other = apply_op("VarHandleOp", dtype=tf.float32, shape=[], shared_name="v")
    session.run(v.initializer)
    with pytest.raises(errors.InvalidArgumentError, match=r"wrong dtype\. Expected float"):
        session.run(apply_op("ReadVariableOp", other, dtype=tf.float32))


def test_operators_and_conversions(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable([[1.0, 2.0], [3.0, 4.0]], use_resource=use_resource)
    session.run(v.initializer)
    results = session.run([v + 1.0, 2.0 * v, -v, v @ v, v > 2.0, abs(v - 3.0), v[0], v[:, 1]])
    value = np.float32([[1, 2], [3, 4]])
    wanted = [
        value + 1, 2 * value, -value, value @ value, value > 2, abs(value - 3), value[0],
        value[:, 1],
    ]  # fmt: skip
    for result, want in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(result, want)
    assert tf.convert_to_tensor(v).dtype == tf.float32
    with pytest.raises(ValueError, match="Incompatible type conversion requested to type 'int32'"):
        tf.convert_to_tensor(v, tf.int32)


def test_slices_can_be_assigned(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable(np.zeros((3, 4), np.float32), use_resource=use_resource)
    session.run(v.initializer)
    write = v[1:, 2].assign([5.0, 6.0])
    assert write.op.name == "strided_slice/_assign"
    session.run(write.op)
    session.run(v[0].assign(tf.ones([4])).op)
    assert session.run(v).tolist() == [[1, 1, 1, 1], [0, 0, 5, 0], [0, 0, 6, 0]]


def test_scatters_by_methods_and_functions(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable([1.0, 2.0, 3.0], use_resource=use_resource)
    session.run(v.initializer)
    rows = tf.IndexedSlices(tf.constant([10.0, 20.0]), tf.constant([2, 2]))
    assert session.run(v.scatter_add(rows)).tolist() == [1, 2, 33]
    assert session.run(v.scatter_sub(rows)).tolist() == [1, 2, 3]
    assert session.run(v.scatter_mul(rows)).tolist() == [1, 2, 600]
    assert session.run(v.scatter_div(rows)).tolist() == [1, 2, 3]
    assert session.run(v.scatter_max(rows)).tolist() == [1, 2, 20]
    rows = tf.IndexedSlices(tf.constant([3.0]), tf.constant([2]))
    assert session.run(v.scatter_min(rows)).tolist() == [1, 2, 3]
    assert session.run(tf.scatter_update(v, [0], 7.0)).tolist() == [7, 2, 3]
    assert session.run(tf.scatter_div(v, [0], 2.0)).tolist() == [3.5, 2, 3]
    assert session.run(v.scatter_nd_update([[1]], [9.0])).tolist() == [3.5, 9, 3]
    with pytest.raises(TypeError, match="sparse_delta is not IndexedSlices"):
        v.scatter_add([1.0])
    with pytest.raises(errors.InvalidArgumentError, match=r"indices\[0\] = 3 is not in \[0, 3\)"):
        session.run(tf.scatter_add(v, [3], 1.0))


def test_scatters_want_a_reference() -> None:
    with pytest.raises(TypeError, match="requires that input 'ref' be a mutable tensor"):
        tf.scatter_add(tf.constant([1.0]), [0], 1.0)


def test_count_up_to(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable(0, use_resource=use_resource)
    session.run(v.initializer)
    count = tf.count_up_to(v, 2)
    assert [session.run(count), session.run(count)] == [0, 1]
    with pytest.raises(errors.OutOfRangeError, match="Reached limit of 2"):
        session.run(count)
    assert session.run(v) == 2


def test_batch_scatter_update(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable(np.zeros((2, 3, 2), np.float32), use_resource=use_resource)
    session.run(v.initializer)
    updates = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    result = session.run(tf.batch_scatter_update(v, [[0, 2], [1, 0]], updates))
    assert result.tolist() == [[[0, 1], [0, 0], [2, 3]], [[6, 7], [4, 5], [0, 0]]]
    again = tf.IndexedSlices(-updates, tf.constant([[0, 2], [1, 0]]))
    assert session.run(v.batch_scatter_update(again)).tolist() == (-result).tolist()
    with pytest.raises(ValueError, match="known rank"):
        tf.batch_scatter_update(v, tf.placeholder(tf.int32), updates)


# Gradients ----------------------------------------------------------------------------------------


def test_gradients_by_variables(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable([1.0, 2.0], use_resource=use_resource)
    w = tf.Variable(3.0, use_resource=use_resource)
    unused = tf.Variable(3.0, use_resource=use_resource)
    grads = tf.gradients(tf.reduce_sum(v * v * w), [v, w, unused])
    assert grads[2] is None
    session.run(tf.global_variables_initializer())
    dv, dw = session.run(grads[:2])
    assert (dv.tolist(), dw) == ([6, 12], 5)


def test_gathers_have_sparse_gradients(session: tf.Session, use_resource: bool) -> None:
    v = tf.Variable(np.ones((4, 2), np.float32), use_resource=use_resource)
    (by_rows,) = tf.gradients(tf.gather(v, [3, 1, 3]) * 2.0, v)
    (by_places,) = tf.gradients(tf.gather_nd(v, [[3, 1], [0, 0]]), v)
    assert isinstance(by_rows, tf.IndexedSlices)
    session.run(v.initializer)
    indices, values, shape = session.run([by_rows.indices, by_rows.values, by_rows.dense_shape])
    assert (indices.tolist(), values.tolist(), shape.tolist()) == ([3, 1, 3], [[2, 2]] * 3, [4, 2])
    assert session.run(by_places).tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]


def test_nothing_flows_through_a_write(use_resource: bool) -> None:
    v = tf.Variable(1.0, use_resource=use_resource)
    x = tf.constant(2.0)
    assert tf.gradients(tf.convert_to_tensor(v.assign(x)) * 3.0, x) == [None]


# Places and protos --------------------------------------------------------------------------------


def test_writes_go_where_the_variable_is(use_resource: bool) -> None:
    with tf.device("/job:ps/task:1"):
        v = tf.Variable(1.0, use_resource=use_resource)
    assert v.device == "/job:ps/task:1"
    with tf.device("/job:worker"):
        write = v.assign(2.0)
        add = tf.add(v, 1.0)
        with tf.colocate_with(v):
            beside = tf.constant(1.0)
    if not use_resource:
        assert write.op.device == "/job:ps/task:1"
        assert write.op.colocation_groups() == [b"loc:@Variable"]
    assert v.initializer.device == "/job:ps/task:1"
    assert add.device == "/job:worker"
    assert beside.op.colocation_groups() == [b"loc:@Variable"]


def test_a_caching_device_keeps_a_copy_for_readers(use_resource: bool) -> None:
    with tf.device("/job:ps"):
        v = tf.Variable(1.0, use_resource=use_resource, caching_device="/job:worker")
    assert v.value().device == "/job:worker"
    assert v.value() is v.value()


def test_protos_go_both_ways(session: tf.Session, use_resource: bool) -> None:
    v = tf.get_variable(
        "s/v", [4], initializer=tf.ones_initializer(), use_resource=use_resource, trainable=False,
        partitioner=tf.fixed_size_partitioner(2), caching_device="/cpu:0",
    )  # fmt: skip
    part = list(v)[1]
    proto = part.to_proto()
    assert proto.is_resource == use_resource
    assert proto.save_slice_info_def.full_name == "s/v"
    again = tf.Variable.from_proto(proto)
    assert type(again) is type(part)
    assert again.to_proto() == proto
    assert not again.trainable
    assert again._get_save_slice_info().spec == "4 2,2"
    session.run(tf.global_variables_initializer())
    assert session.run(again).tolist() == [1, 1]
    inside = part.to_proto(export_scope="s")
    assert (inside.variable_name, inside.save_slice_info_def.full_name) == ("v/part_1:0", "v")
    assert part.to_proto(export_scope="other") is None
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(part.graph.as_graph_def(), name="imported")
        moved = tf.Variable.from_proto(proto, import_scope="imported")
        assert moved.name == "imported/s/v/part_1:0"
        assert moved._get_save_slice_info().full_name == "imported/s/v"
        assert moved.graph is graph
