"""tf.variable_scope and tf.get_variable: names, defaults, reuse (texts as in TensorFlow 1.15)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.function import trace
from flowray.client.ops.functional_ops import call


@pytest.fixture(autouse=True)
def graph() -> Iterator[tf.Graph]:
    with tf.Graph().as_default() as graph:
        yield graph


def names() -> list[str]:
    return [node.name for node in tf.get_default_graph().as_graph_def().node]


def initial(variable: Any) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tf.convert_to_tensor(variable))


# Names --------------------------------------------------------------------------------------------


def test_a_variable_has_the_nodes_of_tensorflow() -> None:
    with tf.variable_scope("scope"):
        tf.get_variable("v", [2], initializer=tf.zeros_initializer())
    assert names() == [
        "scope/v/Initializer/zeros", "scope/v", "scope/v/Assign", "scope/v/read",
    ]  # fmt: skip


def test_variable_names_depend_on_variable_scopes_and_op_names_on_name_scopes() -> None:
    with tf.name_scope("n"), tf.variable_scope("a") as a:
        v = tf.get_variable("v", [2])
        assert (v.name, tf.no_op("x").name) == ("a/v:0", "n/a/x")
        assert (a.name, a.original_name_scope) == ("a", "n/a/")
    with tf.variable_scope("a"):
        assert tf.get_variable("w", [2]).name == "a/w:0"
        assert tf.no_op("x").name == "a/x"
    with tf.variable_scope("a"):
        assert tf.no_op("x").name == "a_1/x"
        assert tf.Variable(1.0, name="u").name == "a_1/u:0"
    with tf.variable_scope(a, auxiliary_name_scope=False), tf.name_scope("y"):
        assert tf.get_variable("z", [2]).name == "a/z:0"
        assert tf.no_op("x").name == "y/x"


def test_a_scope_object_goes_back_to_its_variables() -> None:
    with tf.variable_scope("a"), tf.variable_scope("b") as b:
        v = tf.get_variable("v", [2])
    with tf.variable_scope("other"), tf.variable_scope(b, reuse=True) as again:
        assert again.original_name_scope == "a/b/"
        assert tf.get_variable("v", [2]) is v
        assert tf.no_op("x").name == "other/b/x"
    assert tf.get_variable_scope().name == ""


def test_default_names_are_unique_within_the_variable_scope() -> None:
    def layer() -> str:
        with tf.variable_scope(None, "layer"):
            return tf.get_variable("k", [1]).name

    with tf.variable_scope("a") as a:
        assert [layer(), layer()] == ["a/layer/k:0", "a/layer_1/k:0"]
    with tf.variable_scope("a"), pytest.raises(ValueError, match="Variable a/layer/k already"):
        layer()  # a scope counts its subscopes from the beginning each time it is opened
    with tf.variable_scope(a), pytest.raises(ValueError, match="Variable a/layer/k already"):
        layer()
    assert layer() == "layer/k:0"


def test_the_root_scope_opens_no_name_scope() -> None:
    with tf.variable_scope(tf.get_variable_scope()), tf.variable_scope(""):
        assert tf.get_variable("v", [1]).name == "v:0"
        assert tf.no_op("x").name == "x"


# Defaults -----------------------------------------------------------------------------------------


def test_subscopes_keep_the_defaults_of_outer_ones() -> None:
    with tf.variable_scope(
        "a", initializer=tf.constant_initializer(7), dtype=tf.float64, use_resource=True
    ):
        with tf.variable_scope("b", initializer=tf.ones_initializer()) as b:
            v = tf.get_variable("v", [2])
        w = tf.get_variable("w", [2], dtype=tf.float32)
        assert b.use_resource is True
    assert (v.dtype, w.dtype) == (tf.float64, tf.float32)
    assert v.op.type == w.op.type == "VarHandleOp"
    np.testing.assert_array_equal(initial(v), [1, 1])
    np.testing.assert_array_equal(initial(w), [7, 7])


def test_setters_change_what_comes_after() -> None:
    with tf.variable_scope("a") as scope:
        scope.set_initializer(tf.constant_initializer(3))
        scope.set_dtype(tf.int32)
        assert initial(tf.get_variable("v", [1])).tolist() == [3]
        scope.reuse_variables()
        assert tf.get_variable("v", [1]).dtype.base_dtype == tf.int32
        assert scope.reuse is True


def test_the_default_initializer_goes_by_the_dtype() -> None:
    limit = np.sqrt(6 / (30 + 50))
    weights = initial(tf.get_variable("f", [30, 50]))
    assert 0.9 * limit < np.abs(weights).max() <= limit
    assert initial(tf.get_variable("i", [2], tf.int32)).tolist() == [0, 0]
    assert initial(tf.get_variable("b", [2], tf.bool)).tolist() == [False, False]
    assert initial(tf.get_variable("s", [2], tf.string)).tolist() == [b"", b""]
    with pytest.raises(ValueError, match=r"An initializer for variable c of .*complex64.* is req"):
        tf.get_variable("c", [2], tf.complex64)


def test_initializers_may_be_classes_functions_or_values() -> None:
    assert initial(tf.get_variable("a", [2], initializer=tf.ones_initializer)).tolist() == [1, 1]
    assert initial(tf.get_variable("b", initializer=lambda: tf.ones([3]))).tolist() == [1, 1, 1]
    assert initial(tf.get_variable("c", initializer=[[4, 5]])).tolist() == [[4, 5]]
    with pytest.raises(ValueError, match="If initializer is a constant, do not specify shape"):
        tf.get_variable("d", [2], initializer=[1, 2])
    with pytest.raises(ValueError, match=r"Initializer type '.*int32.*' and explicit dtype '.*fl"):
        tf.get_variable("d", dtype=tf.float32, initializer=[1, 2])
    with pytest.raises(ValueError, match="The initializer passed is not valid"):
        tf.get_variable("d", [None, 2], initializer=tf.ones_initializer())
    with pytest.raises(ValueError, match="its `shape` argument must be specified"):
        tf.get_variable("d")


def test_regularizers_give_losses_and_no_regularizer_none() -> None:
    def regularizer(value: Any) -> Any:
        return tf.reduce_sum(value) * 0.5

    with tf.variable_scope("a", regularizer=regularizer):
        tf.get_variable("v", [4], initializer=tf.ones_initializer())
        tf.get_variable("w", [4], regularizer=tf.no_regularizer)
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert loss.name == "a/v/Regularizer/mul:0"
    assert initial(loss) == 2.0


def test_collections() -> None:
    with tf.variable_scope("a") as a:
        v = tf.get_variable("v", [1])
        w = tf.get_variable("w", [1], trainable=False, collections=["mine", "variables"])
        x = tf.get_local_variable("x", [1])
    u = tf.get_variable("u", [1])
    assert a.global_variables() == [v, w]
    assert a.trainable_variables() == [v]
    assert a.local_variables() == tf.local_variables() == [x]
    assert tf.get_variable_scope().global_variables() == [v, w, u]
    assert tf.get_collection("mine") == [w]
    assert not x.trainable


def test_statistics_that_are_synchronized_on_read_are_not_trainable() -> None:
    on_read = tf.VariableSynchronization.ON_READ
    assert not tf.get_variable("v", [1], synchronization=on_read).trainable
    assert tf.get_variable("w", [1]).trainable
    with pytest.raises(ValueError, match="Invalid variable synchronization mode: x for variable"):
        tf.get_variable("x", [1], synchronization="x")


# Reuse --------------------------------------------------------------------------------------------


def test_reuse_takes_variables_and_is_kept_by_subscopes() -> None:
    with tf.variable_scope("a"), tf.variable_scope("b"):
        v = tf.get_variable("v", [2])
    with tf.variable_scope("a", reuse=True) as a, tf.variable_scope("b", reuse=False) as b:
        assert tf.get_variable("v") is v
        assert a.reuse is b.reuse is True
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE), tf.variable_scope("b"):
        assert tf.get_variable("v", [2]) is v
        assert tf.get_variable("new", [2]) is tf.get_variable("new", [2])


def test_what_reuse_refuses() -> None:
    tf.get_variable("v", [2])
    with pytest.raises(
        ValueError, match=r"Variable v already exists, disallowed\. Did you mean"
    ) as e:
        tf.get_variable("v", [2])
    assert f'Originally defined at:\n\n  File "{__file__}"' in str(e.value)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        with pytest.raises(ValueError, match="Variable w does not exist, or was not created with"):
            tf.get_variable("w", [2])
        with pytest.raises(ValueError, match=r"but specified shape \(3,\) and found shape \(2,\)"):
            tf.get_variable("v", [3])
        with pytest.raises(
            ValueError, match="but specified dtype int32 and found dtype float32_ref"
        ):
            tf.get_variable("v", [2], tf.int32)
    with pytest.raises(ValueError, match="reuse=True cannot be used without a name_or_scope"):
        tf.variable_scope(None, "d", reuse=True).__enter__()


def test_wrong_arguments_of_variable_scope() -> None:
    with pytest.raises(TypeError, match="If default_name is None then name_or_scope is required"):
        tf.variable_scope(None)
    with pytest.raises(TypeError, match="name_or_scope must be a string or VariableScope"):
        tf.variable_scope(3).__enter__()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="The reuse parameter must be True or False or None"):
        tf.variable_scope("a", reuse="yes")
    with pytest.raises(TypeError, match="auxiliary_name_scope must be `True` or `False`"):
        tf.variable_scope("a", auxiliary_name_scope=None)  # type: ignore[arg-type]
    assert tf.get_variable_scope().name == ""
    assert tf.get_default_graph().get_name_scope() == ""


def test_graphs_have_their_own_variables() -> None:
    v = tf.get_variable("v", [1])
    with tf.Graph().as_default():
        w = tf.get_variable("v", [1])
        with tf.variable_scope(None, "s", values=[v]):
            u = tf.get_variable("u", [1])
    assert w.graph is not v.graph
    assert u.graph is v.graph


def test_a_function_has_the_variables_of_the_graph_around_it(graph: tf.Graph) -> None:
    def function(x: Any) -> Any:
        with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
            v = tf.get_variable("v", [], initializer=tf.zeros_initializer())
            w = tf.get_variable("w", initializer=lambda: tf.constant(3.0), use_resource=True)
        return x * v + w

    with tf.variable_scope("s"):
        v = tf.get_variable("v", [], initializer=tf.constant_initializer(5.0))
    (y,) = call(trace(function, [(tf.float32, [])], "f"), [tf.constant(2.0)])
    assert [x.name for x in tf.global_variables()] == ["s/v:0", "s/w:0"]
    assert all(x.graph is graph for x in tf.global_variables())
    assert tf.global_variables()[0] is v
    assert initial(y) == 13.0


def test_a_variable_of_a_branch_is_initialized_outside_of_it() -> None:
    def branch() -> Any:
        v = tf.get_variable("v", [2], initializer=tf.ones_initializer(), regularizer=tf.reduce_sum)
        return v * 2.0

    taken = tf.placeholder(tf.bool, [])
    y = tf.cond(taken, branch, lambda: tf.zeros([2]))
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([y, loss], {taken: False})[1] == 2.0
        assert session.run(y, {taken: True}).tolist() == [2, 2]


# Getters and creators -----------------------------------------------------------------------------


def test_custom_getters_are_chained() -> None:
    calls = []

    def outer(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(("outer", name))
        return getter(f"{name}_o", *args, **kwargs)

    def inner(getter: Any, name: str, shape: Any, **kwargs: Any) -> Any:
        calls.append(("inner", name))
        return tf.identity(getter(name, [*shape, 2], **kwargs), name="wrapped")

    with (
        tf.variable_scope("a", custom_getter=outer),
        tf.variable_scope("b", custom_getter=inner),
    ):
        v = tf.get_variable("v", [1])
    assert calls == [("inner", "a/b/v"), ("outer", "a/b/v")]
    assert v.op.inputs[0].op.inputs[0].name == "a/b/v_o:0"
    assert v.shape == [1, 2]
    with pytest.raises(ValueError, match="Passed a custom_getter which is not callable: 3"):
        tf.get_variable("v", [1], custom_getter=3)


def test_a_getter_of_older_times_gets_no_constraint() -> None:
    seen = {}

    def getter(
        getter, name, shape, dtype, initializer, regularizer, reuse, trainable, collections,
        caching_device, partitioner, validate_shape, use_resource, synchronization, aggregation,
    ):  # fmt: skip
        seen.update(name=name, shape=shape, reuse=reuse)
        return getter(name, shape)

    tf.get_variable("v", [3], custom_getter=getter, constraint=tf.abs)
    assert seen == {"name": "v", "shape": [3], "reuse": False}


def test_creators_stand_around_every_variable() -> None:
    calls = []

    def outer(next_creator: Any, **kwargs: Any) -> Any:
        calls.append(("outer", kwargs["name"], kwargs["trainable"]))
        return next_creator(**{**kwargs, "trainable": False})

    def inner(next_creator: Any, **kwargs: Any) -> Any:
        calls.append(("inner", kwargs["name"], kwargs["trainable"]))
        return next_creator(**kwargs)

    with tf.variable_creator_scope(outer):
        with tf.variable_creator_scope(inner):
            v = tf.Variable(1.0, name="v")
            assert isinstance(v, tf.Variable)
        with tf.variable_scope("s"):
            w = tf.get_variable("w", [1])
    assert calls == [
        ("inner", "v", None), ("outer", "v", None), ("outer", "s/w", True),
    ]  # fmt: skip
    assert not v.trainable
    assert not w.trainable
    assert tf.Variable(1.0).trainable


def test_resource_variables_by_default() -> None:
    assert not tf.resource_variables_enabled()
    tf.enable_resource_variables()
    try:
        assert tf.resource_variables_enabled()
        assert tf.get_variable("v", [1]).op.type == "VarHandleOp"
        assert tf.Variable(1.0).op.type == "VarHandleOp"
        assert tf.get_variable("r", [1], use_resource=False).op.type == "VariableV2"
    finally:
        tf.disable_resource_variables()
    assert tf.Variable(1.0).op.type == "VariableV2"
    with tf.variable_scope("s", use_resource=True):
        assert tf.Variable(1.0).op.type == "VarHandleOp"
        assert tf.Variable(1.0, use_resource=False).op.type == "VariableV2"


def test_constraints_are_the_scopes_own() -> None:
    with tf.variable_scope("a", constraint=tf.abs):
        assert tf.get_variable("v", [1]).constraint is tf.abs
        with tf.variable_scope("b"):
            assert tf.get_variable("v", [1]).constraint is None


def test_variable_op_scope_takes_the_values_first() -> None:
    with tf.variable_op_scope([], None, "d", tf.ones_initializer()) as scope:
        assert scope.name == "d"
        assert initial(tf.get_variable("v", [1])).tolist() == [1]


def test_init_scope_leads_out_of_everything_but_the_name_scope(graph: tf.Graph) -> None:
    def function() -> Any:
        with tf.name_scope("s"), tf.control_dependencies([tf.no_op()]), tf.init_scope():
            outside = tf.constant(1.0)
        assert outside.graph is graph
        assert outside.op.control_inputs == []
        assert outside.name == "s/Const:0"
        return tf.identity(outside)

    assert initial(call(trace(function, [], "f"), [])[0]) == 1.0


# Partitioned variables ----------------------------------------------------------------------------


def test_a_partitioner_cuts_a_variable_into_parts() -> None:
    with tf.variable_scope("s", partitioner=tf.fixed_size_partitioner(3)):
        v = tf.get_variable(
            "v", initializer=tf.constant(np.arange(14, dtype=np.float32).reshape(7, 2))
        )
        assert tf.get_variable("scalar", []).name == "s/scalar:0"
    assert [part.name for part in v] == ["s/v/part_0:0", "s/v/part_1:0", "s/v/part_2:0"]
    assert [part._get_save_slice_info().spec for part in v] == [
        "7 2 0,3:0,2", "7 2 3,2:0,2", "7 2 5,2:0,2",
    ]  # fmt: skip
    assert (v.name, v.shape, v.dtype, len(v)) == ("s/v", [7, 2], tf.float32, 3)
    assert v.as_tensor().name == "s/v:0"
    np.testing.assert_array_equal(initial(v), np.arange(14.0).reshape(7, 2))
    with tf.variable_scope("s", reuse=True):
        assert tf.get_variable("v") is v


def test_an_initializer_knows_which_part_it_makes() -> None:
    v = tf.get_variable(
        "v", [5, 4], partitioner=tf.fixed_size_partitioner(2, axis=1),
        initializer=tf.initializers.identity(gain=3.0),
    )  # fmt: skip
    np.testing.assert_array_equal(initial(v), 3 * np.eye(5, 4))


def test_writing_to_a_partitioned_variable() -> None:
    v = tf.get_variable(
        "v", [5], partitioner=tf.fixed_size_partitioner(2), initializer=tf.zeros_initializer()
    )
    whole = tf.convert_to_tensor(v)
    with tf.Session() as session:
        session.run(v.assign(np.arange(5, dtype=np.float32)))
        session.run(v.assign_add(tf.ones([5]), read_value=False))
        session.run(v.assign_sub([tf.fill([3], 2.0), tf.fill([2], 3.0)]))
        assert session.run(whole).tolist() == [-1, 0, 1, 1, 2]


def test_what_partitioning_refuses() -> None:
    half = tf.fixed_size_partitioner(2)
    tf.get_variable("v", [4], partitioner=half)
    tf.get_variable("w", [4])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": "v", "partitioner": half}, "Partitioned variable with name v already exists"),
        ({"name": "v"}, "a partitioned version of the variable was found: v/part_0"),
        ({"name": "w", "partitioner": half}, "an unpartitioned version of the variable was found"),
        ({"name": "x", "partitioner": 3}, "Partitioner must be callable, but received: 3"),
        ({"name": "x", "partitioner": lambda **_: [2, 2]}, "does not match the Variable's rank"),
        ({"name": "x", "partitioner": lambda **_: [0]}, "returned zero partitions for some axes"),
        ({"name": "x", "partitioner": lambda **_: 2}, "must return a sequence, but saw: 2"),
        (
            {"name": "x", "partitioner": lambda **_: [2, 2], "shape": [4, 4]},
            "Can only slice a variable along one dimension",
        ),
        ({"name": "x", "partitioner": half, "shape": [None]}, "must be fully defined, but instead"),
    ]
    for arguments, text in cases:
        with pytest.raises(ValueError, match=text):
            tf.get_variable(**{"shape": [4], **arguments})
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        with pytest.raises(ValueError, match=r"specified partitions \[4\] and found partitions"):
            tf.get_variable("v", [4], partitioner=tf.fixed_size_partitioner(4))
        with pytest.raises(ValueError, match="PartitionedVariable x does not exist"):
            tf.get_variable("x", [4], partitioner=half)


def test_partitioners() -> None:
    shape = tf.TensorShape([30, 10])  # of float32: rows of 40 bytes
    by_size = tf.variable_axis_size_partitioner
    assert by_size(100)(shape, tf.float32) == [15, 1]
    assert by_size(100, max_shards=4)(shape, tf.float32) == [4, 1]
    assert by_size(10)(shape, tf.float32) == [30, 1]
    assert by_size(240, axis=1)(shape, tf.float32) == [1, 5]
    assert by_size(160)(shape, tf.string) == [30, 1]
    between = tf.min_max_variable_partitioner
    assert between(4, min_slice_size=1)(shape, tf.float32) == [4, 1]
    assert between(100, min_slice_size=500)(shape, tf.float32) == [2, 1]
    assert between(100, axis=1, min_slice_size=1)(shape, tf.float32) == [1, 10]
    assert between(4)(shape, tf.float32) == [1, 1]
    assert tf.fixed_size_partitioner(40)(shape, dtype=tf.float32) == [30, 1]
    with pytest.raises(ValueError, match="max_shard_bytes and bytes_per_string_element must be"):
        by_size(0)
    with pytest.raises(ValueError, match="`max_partitions` must be an integer greater than 0"):
        between(0)


def test_create_partitioned_variables() -> None:
    parts = tf.create_partitioned_variables([5, 2], [2, 1], tf.ones_initializer(), name="p")
    assert [(v.name, v.shape.as_list()) for v in parts] == [
        ("p/part_0:0", [3, 2]), ("p/part_1:0", [2, 2]),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="must have the length"):
        tf.create_partitioned_variables([5, 2], [2], tf.ones_initializer())
