"""Variables against TensorFlow's: the same programs give the same nodes, and the same values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray

tf1 = pytest.importorskip("tensorflow").compat.v1

Program = Callable[[Any], Any]
"""Builds a graph with flowray or TensorFlow, whichever it is given."""

SAME_OPS = {"AddV2": "Add", "MatrixDiagV3": "MatrixDiag", "MatrixSetDiagV3": "MatrixSetDiag"}
"""TensorFlow 2's ops for those of 1.15; the diagonals' have more inputs."""
ATTRS = ("_class", "container", "dtype", "shape", "shared_name", "seed", "seed2", "value")


pytestmark = pytest.mark.usefixtures("tensorflow_1")


def nodes(program: Program, api: Any) -> list[Any]:
    """Describes a graph: names, ops, inputs, devices and some attributes, in order."""
    with api.Graph().as_default() as graph:
        program(api)
        found = []
        for node in graph.as_graph_def().node:
            if "/eye/diag/" in node.name or "/eye/set_diag/" in node.name:
                continue
            data = [name for name in node.input if not name.startswith("^")]
            control = sorted(name for name in node.input if name.startswith("^"))
            if node.op in ("MatrixDiagV3", "MatrixSetDiagV3"):
                data = [name for name in data if name.rpartition("/")[2] not in ("k", "num_rows")]
                data = [name for name in data if f"{node.name}/" not in name]
            attrs = {key: str(node.attr[key]) for key in ATTRS if key in node.attr}
            op = SAME_OPS.get(node.op, node.op)
            found.append((node.name, op, data + control, node.device, attrs))
        return found


def check_nodes(program: Program) -> None:
    ours, theirs = nodes(program, flowray), nodes(program, tf1)
    for our, their in zip(ours, theirs, strict=False):
        assert our == their
    assert len(ours) == len(theirs)


def initial_values(program: Program, api: Any) -> dict[str, Any]:
    with api.Graph().as_default(), api.Session() as session:
        program(api)
        variables = api.global_variables()
        session.run(api.global_variables_initializer())
        return dict(zip([v.name for v in variables], session.run(variables), strict=True))


def check_values(program: Program) -> None:
    ours, theirs = initial_values(program, flowray), initial_values(program, tf1)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        if value.dtype.kind == "f":
            np.testing.assert_allclose(ours[name], value, 1e-6, 1e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], value, name)


# Programs -----------------------------------------------------------------------------------------


def plain(tf: Any) -> None:
    tf.Variable([1.0, 2.0], name="v")
    tf.Variable(lambda: tf.ones([2]), name="callable")
    tf.Variable(3, trainable=False)
    tf.Variable(np.arange(3), name="v", caching_device="/cpu:0")
    with tf.device("/job:ps/task:1"), tf.name_scope("n"):
        tf.Variable(tf.zeros([2, 2]), name="v")
        with tf.control_dependencies([tf.no_op()]):
            tf.Variable(1.0, name="free")
    tf.Variable(tf.placeholder(tf.float32), name="shapeless", validate_shape=False)
    a = tf.Variable(2.0, name="a")
    tf.Variable(a.initialized_value() * 2.0, name="b")
    with tf.container("mine"):
        tf.Variable([1], name="contained")
    with tf.device(lambda op: "/job:ps" if op.type in ("VariableV2", "VarHandleOp") else ""):
        tf.get_variable("placed", [2], initializer=tf.ones_initializer())


def scopes(tf: Any) -> None:
    ones = tf.ones_initializer()
    tf.get_variable("w", [2, 3], initializer=tf.glorot_uniform_initializer(seed=3))
    with tf.variable_scope("s"):
        a = tf.get_variable("a", [3], initializer=tf.zeros_initializer())
        tf.Variable(3, name="b")
        with tf.variable_scope("t", initializer=tf.constant_initializer(4)) as t:
            tf.get_variable("c", [2])
            tf.get_variable("d", [3, 4], initializer=tf.truncated_normal_initializer(seed=4))
            tf.add(a, 1.0)
    with tf.variable_scope("s", reuse=True):
        assert tf.get_variable("a", [3]) is a
        tf.add(a, 1.0)
        tf.Variable(3, name="b")
    with tf.variable_scope(t):
        tf.get_variable("e", [2])
        tf.add(a, 1.0)
        with tf.variable_scope("u"):
            tf.get_variable("e", [2])
            tf.add(a, 1.0)
    with tf.variable_scope(t, auxiliary_name_scope=False):
        tf.get_variable("f", [2])
        tf.add(a, 1.0)
    for _ in range(2):
        with tf.variable_scope(None, "dense"):
            tf.get_variable("k", [2], initializer=ones)
    with tf.name_scope("n"):
        with tf.variable_scope("dense"):
            tf.get_variable("k2", [2], initializer=tf.random_normal_initializer(1.0, 2.0, seed=9))
            tf.add(a, 1.0)
        with tf.variable_scope(None, "dense"):
            tf.get_variable("k", [2], initializer=ones)
    with tf.variable_scope(""):
        tf.get_variable("g", [2], initializer=ones)
        tf.add(a, 1.0)
    with tf.variable_scope("a/b"):
        tf.get_variable("g", [2], initializer=ones)
        tf.add(a, 1.0)
    with tf.variable_scope(tf.get_variable_scope()):
        tf.add(a, 1.0)
    tf.get_variable("values", initializer=[[1, 2], [3, 4]])
    tf.get_variable("tensor", initializer=tf.constant(3.0), dtype=tf.float32)
    tf.get_variable("callable", initializer=lambda: tf.ones([3]))
    tf.get_variable("class", [50, 50], initializer=tf.zeros_initializer)
    for dtype in (tf.int32, tf.string, tf.bool):
        tf.get_variable(dtype.name, [2], dtype=dtype)
    tf.get_variable("cached", [2], caching_device="/cpu:0", initializer=ones)
    tf.get_local_variable("local", [2], initializer=ones)
    tf.reduce_sum(a)
    tf.global_variables_initializer()


def all_initializers(tf: Any) -> None:
    seeded = (
        "random_uniform", "random_normal", "truncated_normal", "uniform_unit_scaling",
        "glorot_uniform", "glorot_normal", "he_normal", "he_uniform", "lecun_normal",
        "lecun_uniform",
    )  # fmt: skip
    for name in seeded:
        for number, shape in enumerate([[3, 4], [2, 2, 3, 4], [5], []]):
            initializer = getattr(tf.initializers, name)(seed=11)
            tf.get_variable(f"{name}{number}", shape, initializer=initializer)
    for mode in ("fan_in", "fan_out", "fan_avg"):
        for distribution in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
            initializer = tf.initializers.variance_scaling(2.5, mode, distribution, seed=5)
            tf.get_variable(
                f"{mode}_{distribution}", [4, 6], dtype=tf.float64, initializer=initializer
            )
    for number, shape in enumerate([[3, 3], [3, 4], [5, 2]]):
        tf.get_variable(f"identity{number}", shape, initializer=tf.initializers.identity(2.0))
    tf.get_variable("constant", [2, 3], initializer=tf.initializers.constant([1, 2]))
    tf.get_variable("text", [2], dtype=tf.string, initializer=tf.initializers.constant("x"))
    tf.get_variable(
        "integers", [7], dtype=tf.int32,
        initializer=tf.initializers.random_uniform(1, 9, seed=2, dtype=tf.int32),
    )  # fmt: skip


def partitioned(tf: Any) -> None:
    three = tf.fixed_size_partitioner(3)
    uniform = tf.glorot_uniform_initializer(seed=1)
    with tf.variable_scope("p", partitioner=three, initializer=uniform):
        v = tf.get_variable("v", [7, 2])
        tf.get_variable("scalar", [])
        tf.identity(v)
        tf.get_variable("w", [5, 3], partitioner=tf.fixed_size_partitioner(2, axis=1))
        tf.get_variable("tensor", initializer=tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        tf.get_variable("whole", [6, 2], initializer=tf.initializers.uniform_unit_scaling(seed=3))
        tf.get_variable("identity", [4, 4], initializer=tf.initializers.identity())
    with tf.variable_scope("p", reuse=True):
        assert tf.get_variable("v") is v
    tf.create_partitioned_variables([4, 3], [2, 1], tf.zeros_initializer())
    v.assign(tf.zeros([7, 2]))
    v.assign_add(tf.zeros([7, 2]))
    for name, partitioner in (
        ("m", tf.min_max_variable_partitioner(4, 0, 16)),
        ("s", tf.variable_axis_size_partitioner(40)),
        ("t", tf.variable_axis_size_partitioner(4, axis=1, max_shards=2)),
    ):
        with tf.variable_scope(name, partitioner=partitioner):
            tf.get_variable("v", [9, 2], initializer=tf.ones_initializer())


def getters_and_creators(tf: Any) -> None:
    ones = tf.ones_initializer()

    def named(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getter(f"{name}_g", *args, **kwargs)

    def wrapped(getter: Any, *args: Any, **kwargs: Any) -> Any:
        return tf.identity(getter(*args, **kwargs), name="wrapped")

    def creator(next_creator: Any, **kwargs: Any) -> Any:
        return next_creator(**{**kwargs, "name": f"{kwargs['name']}_c"})

    with tf.variable_scope("a", custom_getter=named):
        tf.get_variable("x", [2], initializer=ones)
        with tf.variable_scope("b", custom_getter=wrapped):
            tf.get_variable("y", [2], initializer=ones)
        tf.get_variable("z", [2], initializer=ones, custom_getter=wrapped)
    with tf.variable_creator_scope(creator):
        tf.get_variable("u", [2], initializer=ones)
        tf.Variable(1.0, name="k")


def resources(program: Program) -> Program:
    """``program`` with resource variables."""

    def with_resources(tf: Any) -> None:
        with tf.variable_scope("r", use_resource=True):
            program(tf)

    with_resources.__name__ = f"{program.__name__} with resources"
    return with_resources


def writes(tf: Any) -> None:
    for use_resource in (False, True):
        with tf.variable_scope("s", use_resource=use_resource, reuse=tf.AUTO_REUSE):
            name = "r" if use_resource else "v"
            v = tf.get_variable(name, [4, 3], initializer=tf.ones_initializer())
            counter = tf.get_variable(f"{name}n", [], tf.int64)
        new, row = tf.constant(np.ones((4, 3), np.float32)), tf.constant(np.ones(3, np.float32))
        tf.assign(v, new, name="named")
        v.assign(new)
        tf.assign_add(v, new)
        tf.assign_sub(v, new)
        tf.count_up_to(counter, 4)
        tf.scatter_update(v, [0], [[1.0, 2.0, 3.0]])
        tf.scatter_nd_add(v, [[0]], [[1.0, 2.0, 3.0]])
        v[1].assign(row)
        with tf.name_scope("n"):
            tf.scatter_max(v, [1, 2], [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], name="maximum")
        tf.gather(v, [1, 2])
        tf.gather_nd(v, [[1, 2]])
        v.read_value()
        tf.is_variable_initialized(v)
        tf.matmul(v, v, transpose_b=True)


PROGRAMS = [
    plain, scopes, all_initializers, partitioned, getters_and_creators, resources(scopes),
    resources(partitioned), resources(getters_and_creators),
]  # fmt: skip


@pytest.mark.parametrize("program", [*PROGRAMS, writes], ids=lambda p: p.__name__)
def test_the_same_nodes(program: Program) -> None:
    check_nodes(program)


@pytest.mark.parametrize("program", PROGRAMS[1:], ids=lambda p: p.__name__)
def test_the_same_initial_values(program: Program) -> None:
    check_values(program)


@pytest.mark.parametrize("program", [*PROGRAMS, writes], ids=lambda p: p.__name__)
def test_the_same_collections_and_protos(program: Program) -> None:
    found = []
    for api in (flowray, tf1):
        with api.Graph().as_default() as graph:
            program(api)
            found.append(
                {
                    key: [
                        (v.name, v.to_proto().SerializeToString())
                        for v in graph.get_collection(key)
                    ]
                    for key in ("variables", "trainable_variables", "local_variables")
                }
            )
    assert found[0] == found[1]


# Errors -------------------------------------------------------------------------------------------


def made_twice(tf: Any) -> None:
    tf.get_variable("v", [2], use_resource=True)
    tf.get_variable("v", [2])


def made_in_parts(tf: Any) -> None:
    tf.get_variable("v", [4], partitioner=tf.fixed_size_partitioner(2))


def reusing(**arguments: Any) -> Program:
    def program(tf: Any) -> None:
        tf.get_variable("v", [2])
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            tf.get_variable(**{"name": "v", "shape": [2], **arguments})

    return program


ERRORS: list[Program] = [
    made_twice,
    reusing(name="w"),
    reusing(shape=[3]),
    reusing(dtype="int32"),
    reusing(partitioner=lambda **_: [2]),
    lambda tf: (made_in_parts(tf), made_in_parts(tf)),
    lambda tf: (made_in_parts(tf), tf.get_variable("v", [4])),
    lambda tf: tf.get_variable("v"),
    lambda tf: tf.get_variable("v", [None, 3]),
    lambda tf: tf.get_variable("v", [3], initializer=[1, 2, 3]),
    lambda tf: tf.get_variable("v", [3], dtype=tf.complex64),
    lambda tf: tf.get_variable("v", dtype=tf.float32, initializer=[1, 2]),
    lambda tf: tf.get_variable("v", [3], partitioner=lambda **_: [2, 2]),
    lambda tf: tf.get_variable("v", [3], partitioner=3),
    lambda tf: tf.get_variable("v", [3], custom_getter=3),
    lambda tf: tf.variable_scope(None),
    lambda tf: tf.variable_scope(3).__enter__(),
    lambda tf: tf.variable_scope("a", reuse=3),
    lambda tf: tf.variable_scope("a", auxiliary_name_scope=3),
    lambda tf: tf.variable_scope(None, "d", reuse=True).__enter__(),
    lambda tf: tf.random_normal_initializer(dtype=tf.int32),
    lambda tf: tf.variance_scaling_initializer(scale=-1),
    lambda tf: tf.variance_scaling_initializer(mode="x"),
    lambda tf: tf.orthogonal_initializer()([3]),
    lambda tf: tf.initializers.identity()([3]),
]  # fmt: skip


@pytest.mark.parametrize("program", ERRORS, ids=range(len(ERRORS)))
def test_the_same_errors(program: Program) -> None:
    found = []
    for api in (flowray, tf1):
        with api.Graph().as_default(), pytest.raises((TypeError, ValueError)) as info:
            program(api)
        found.append((type(info.value), str(info.value)))
    assert found[0] == found[1]


# Runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_resource", [False, True])
def test_the_same_values_after_writes(use_resource: bool) -> None:
    """Each write in a run of its own, on one variable."""
    found: list[list[Any]] = []
    for tf in (flowray, tf1):
        values: list[Any] = []
        with tf.Graph().as_default(), tf.Session() as session:
            v = tf.get_variable(
                "v", [4, 3], initializer=tf.ones_initializer(), use_resource=use_resource
            )
            n = tf.get_variable("n", [], tf.int32, use_resource=use_resource)
            batches = tf.Variable(np.zeros((2, 3, 2)), use_resource=use_resource)
            rows = tf.constant([3, 0])
            updates = tf.constant([[2.0, 3.0, 4.0], [5.0, 6.0, -7.0]])
            operations = [
                tf.assign(v, tf.reshape(tf.range(12.0), [4, 3])),
                v.assign_add(tf.ones([4, 3])),
                tf.assign_sub(v, tf.fill([4, 3], 0.5)),
                *[
                    scatter(v, rows, updates)
                    for scatter in (
                        tf.scatter_update, tf.scatter_add, tf.scatter_sub, tf.scatter_mul,
                        tf.scatter_div, tf.scatter_min, tf.scatter_max,
                    )
                ],
                tf.scatter_add(v, [1, 1], 3.0),
                tf.scatter_nd_update(v, [[0, 1], [3, 2]], [9.0, 8.0]),
                tf.scatter_nd_add(v, [[0], [0]], updates),
                tf.scatter_nd_sub(v, [[1, 1]], [4.0]),
                v[1:, 0].assign([1.0, 2.0, 3.0]),
                v.scatter_add(tf.IndexedSlices(updates, rows)),
                tf.batch_scatter_update(
                    batches, [[0, 2], [1, 0]], np.arange(8.0).reshape(2, 2, 2)
                ),
                *[tf.count_up_to(n, 2)] * 2,
            ]  # fmt: skip
            session.run(tf.global_variables_initializer())
            for operation in operations:
                session.run(getattr(operation, "op", operation))
                values += session.run([v, n, batches])
            with pytest.raises(tf.errors.OutOfRangeError, match="Reached limit of 2"):
                session.run(operations[-1])
        found.append(values)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-6)


@pytest.mark.parametrize("use_resource", [False, True])
def test_the_same_gradients(use_resource: bool) -> None:
    found: list[Any] = []
    for tf in (flowray, tf1):
        with tf.Graph().as_default(), tf.Session() as session:
            v = tf.Variable(np.arange(12.0).reshape(4, 3), use_resource=use_resource)
            w = tf.Variable(2.0, dtype=tf.float64, use_resource=use_resource)
            table = tf.get_variable(
                "table", initializer=tf.constant(np.arange(15.0).reshape(5, 3)), dtype=tf.float64,
                partitioner=tf.fixed_size_partitioner(2), use_resource=use_resource,
            )  # fmt: skip
            rows = tf.nn.embedding_lookup(v, [[2, 0], [2, 1]])
            parts = tf.nn.embedding_lookup(table, [4, 1, 1], partition_strategy="div")
            loss = (
                tf.reduce_sum(tf.square(rows)) * w
                + tf.reduce_sum(tf.sin(parts))
                + tf.reduce_sum(tf.gather_nd(v, [[1, 2], [0, 0], [1, 2]]) ** 2)
            )
            by_rows = tf.gradients(tf.reduce_sum(rows * w), [v, w])
            dense = tf.gradients(tf.reduce_sum(v * v * w), [v, w])
            session.run(tf.global_variables_initializer())
            assert isinstance(by_rows[0], tf.IndexedSlices)
            found.append(session.run([
                [tf.convert_to_tensor(g) for g in tf.gradients(loss, [v, w, *table])],
                [by_rows[0].indices, by_rows[0].values, by_rows[0].dense_shape, by_rows[1]],
                dense,
            ]))  # fmt: skip
    for ours, theirs in zip(*found, strict=True):
        for our, their in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our, their, 1e-9)
            assert our.dtype == their.dtype
