"""``tf.while_loop`` and what is made of it: arguments, structures, gradients, functions."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.function import trace
from flowray.client.ops.functional_ops import call
from flowray.deploy.in_process import InProcessTransport
from flowray.proto import errors
from flowray.worker.runtime import RuntimeOptions
from tests.steps import run_step

X = np.float32([1, 2, 3])


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture
def x():
    return tf.placeholder(tf.float32, [3], name="x")


@pytest.fixture(params=["never", "eager"])
def run(request, graph):
    """Runs steps of one session in which segments are compiled at once, or never."""
    transport = InProcessTransport(tf.ConfigProto(), RuntimeOptions(compile=request.param, gpus=0))
    handles = []

    def run(fetches, feeds=None):
        if not handles:
            handles.append(transport.create_session(graph.as_graph_def(), tf.ConfigProto()))
        values = {t.name: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in (feeds or {}).items()}
        tensors = [f.name for f in fetches if isinstance(f, tf.Tensor)]
        targets = [f.name for f in fetches if isinstance(f, tf.Operation)]
        fetched, _ = run_step(
            transport, handles[0], list(values), list(values.values()), tensors, targets, None
        )
        return list(fetched)

    return run


def powers(x, n=3, **keywords):
    return tf.while_loop(lambda i, _: i < n, lambda i, y: (i + 1, y * x), [0, x], **keywords)[1]


# Arguments and results -----------------------------------------------------------------------


def test_the_result_has_the_structure_that_the_body_gives(run, x):
    assert isinstance(tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0]), tf.Tensor)
    kept = tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0], return_same_structure=True)
    assert isinstance(kept, list)
    pair = tf.while_loop(lambda i, y: i < 3, lambda i, y: [i + 1, y], (0, x))
    assert isinstance(pair, list)
    nested = tf.while_loop(
        lambda a, b: a["i"] < 3, lambda a, b: ({"i": a["i"] + 1}, [b[0] * x]), ({"i": 0}, [x])
    )
    assert isinstance(nested, tuple)
    np.testing.assert_array_equal(run([nested[1][0]], {x: X})[0], X**4)
    counted = tf.while_loop(lambda y: True, lambda y: y * x, [x], maximum_iterations=2)
    assert isinstance(counted, tf.Tensor)


def test_sparse_tensors_as_loop_variables(run):
    start = tf.SparseTensor([[0, 1]], [2.0], [2, 2])
    result = tf.while_loop(
        lambda i, _: i < 3,
        lambda i, s: (i + 1, tf.SparseTensor(s.indices, s.values * 2.0, s.dense_shape)),
        [0, start],
    )[1]
    assert isinstance(result, tf.SparseTensor)
    assert run([result.values]) == [[16]]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, lambda i: i, [0]), TypeError, "cond must be callable"),
        ((lambda i: i < 3, None, [0]), TypeError, "body must be callable"),
        ((lambda i: i < 3, lambda i: i, []), ValueError, "No loop variables provided"),
        ((lambda i: i < 3, lambda i: (i, i), [0]), ValueError, "same nested structure"),
        ((lambda i: i, lambda i: i, [0]), TypeError, "LoopCond"),
        ((lambda i: [True], lambda i: i, [0]), ValueError, "rank 0"),
        ((lambda i: i < 3, lambda i: tf.cast(i, tf.float32), [0]), errors.InvalidArgumentError,
         "was passed float32 from while/NextIteration:0 incompatible with expected int32"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        tf.while_loop(*arguments)


def test_bad_options(x):
    for keywords, error, message in (
        ({"parallel_iterations": 0}, TypeError, "must be a positive integer"),
        ({"maximum_iterations": [3]}, ValueError, "maximum_iterations must be a scalar"),
        ({"shape_invariants": [tf.TensorShape([])] * 2}, ValueError, "same nested structure"),
        (
            {"shape_invariants": [tf.TensorShape([2])]},
            ValueError,
            "not compatible with the initial",
        ),
    ):
        with pytest.raises(error, match=message):
            tf.while_loop(lambda y: True, lambda y: y, [x], **keywords)


def test_a_shape_that_changes_has_to_be_announced(run, x):
    def grow(y):
        return tf.concat([y, x], 0)

    with pytest.raises(
        ValueError, match=r"'x:0' enters the loop with shape \(3,\), but has shape \(6,\) after"
    ):
        tf.while_loop(lambda y: tf.size(y) < 10, grow, [x])
    y = tf.while_loop(
        lambda y: tf.size(y) < 10, grow, [x], shape_invariants=[tf.TensorShape([None])]
    )
    assert y.shape.as_list() == [None]
    assert len(run([y], {x: X})[0]) == 12


def test_nobody_feeds_or_fetches_what_is_in_a_loop(x):
    powers(x)
    inside = tf.get_default_graph().get_tensor_by_name("while/mul:0")
    with tf.Session() as session:
        with pytest.raises(ValueError, match="not fetchable"):
            session.run(inside, {x: X})
        with pytest.raises(ValueError, match="may not be fed"):
            session.run(x, {inside: X})


def test_an_error_names_the_node_in_the_loop(run, x):
    y = tf.while_loop(
        lambda i, _: i < 3, lambda i, y: (i + 1, tf.check_numerics(tf.log(-y), "bad")), [0, x]
    )[1]
    with pytest.raises(
        errors.InvalidArgumentError, match=r"(?s)bad.*\{\{node while/CheckNumerics\}\}"
    ):
        run([y], {x: X})


def test_a_loop_that_does_not_end_can_be_cancelled(x):
    forever = tf.while_loop(lambda y: tf.reduce_sum(y) > 0.0, lambda y: y + 0.0 * x, [x])
    with tf.Session() as session, pytest.raises(errors.DeadlineExceededError):
        session.run(forever, {x: X}, options=tf.RunOptions(timeout_in_ms=200))


def test_loops_of_a_graph_that_was_imported_twice(run, x):
    with tf.Graph().as_default() as other:
        powers(tf.placeholder(tf.float32, [3], name="x"))
    results = [
        tf.import_graph_def(other.as_graph_def(), {"x": x * factor}, ["while/Exit_1:0"], name=name)[
            0
        ]
        for name, factor in (("a", 1.0), ("b", 2.0))
    ]
    first, second = run(results, {x: X})
    np.testing.assert_array_equal(first, X**4)
    np.testing.assert_array_equal(second, (2 * X) ** 4)


# Gradients -----------------------------------------------------------------------------------


def test_the_forward_loop_does_not_keep_what_no_gradient_needs(x):
    powers(x)
    before = len(tf.get_default_graph().get_operations())
    assert not [op for op in tf.get_default_graph().get_operations() if "Stack" in op.type]
    y = powers(x)
    tf.gradients(y, x)
    pushes = [op for op in tf.get_default_graph().get_operations() if op.type == "StackPushV2"]
    assert [push.inputs[1].name for push in pushes] == ["while_1/Identity_1:0"]
    assert before < len(tf.get_default_graph().get_operations())


def test_gradients_after_the_loop_has_run(x):
    y = powers(x)
    with tf.Session() as session:
        np.testing.assert_array_equal(session.run(y, {x: X}), X**4)
        gradient = tf.gradients(y, x)[0]
        for _ in range(4):
            np.testing.assert_array_equal(session.run(gradient, {x: X}), 4 * X**3)
        again = tf.gradients(y * y, x)[0]
        results = session.run([gradient, again, y], {x: X})
    for result, expected in zip(results, (4 * X**3, 8 * X**7, X**4), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_no_gradient_flows_through_a_loop_without_back_prop(x):
    assert tf.gradients(powers(x, back_prop=False), x) == [None]


def test_gradients_of_gradients_are_refused(x):
    gradient = tf.gradients(powers(x), x)[0]
    with pytest.raises(TypeError, match="Second-order gradient for while loops not supported"):
        tf.gradients(gradient, x)


def test_the_first_value_has_no_gradient_within_the_loop(x):
    def body(i, y):
        return i + 1, tf.gradients(y * y, x)[0]

    with pytest.raises(ValueError, match="Cannot compute gradient inside while loop with respect"):
        tf.while_loop(lambda i, _: i < 3, body, [0, x * 2.0])


def test_what_the_loop_does_not_depend_on(x):
    unused = tf.placeholder(tf.float32, [])
    y, z = tf.while_loop(
        lambda y, z: tf.reduce_sum(y) < 100.0, lambda y, z: (y * x, z + unused), [x, unused]
    )
    assert tf.gradients(y, unused) == [None]
    assert tf.gradients(z, x) == [None]
    assert tf.gradients(y, x)[0] is not None


@pytest.mark.parametrize("options", [
    {"colocate_gradients_with_ops": True},
    {"gate_gradients": True},
    {"aggregation_method": tf.AggregationMethod.EXPERIMENTAL_TREE},
])  # fmt: skip
def test_options_of_gradients(run, x, options):
    y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * x + x), [0, x])[1]
    gradient = tf.gradients(y, x, **options)[0]
    expected = 4 * X**3 + 3 * X**2 + 2 * X + 1
    np.testing.assert_allclose(run([gradient], {x: X})[0], expected, rtol=1e-6)


def test_an_optimizer_minimizes_what_a_loop_gives():
    w = tf.Variable([0.5, 0.5])
    y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * w), [0, tf.ones([2])])[1]
    loss = tf.reduce_sum((y - [1.0, 8.0]) ** 2)
    step = tf.train.GradientDescentOptimizer(0.002).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(2000):
            session.run(step)
        np.testing.assert_allclose(session.run(w), [1, 2], atol=0.05)


# Functions -----------------------------------------------------------------------------------


def test_in_a_function_a_loop_is_a_while(run, x):
    scale = x * 2.0

    def function(y):
        n = tf.constant(3)
        return tf.while_loop(
            lambda i, _: i < n, lambda i, z: (i + 1, z * y + scale), [0, tf.ones([3])]
        )[1]

    traced = trace(function, [(tf.float32, [3])], "f")
    (loop,) = [op for op in traced.graph.get_operations() if "While" in op.type]
    assert loop.type == "StatelessWhile"
    assert loop.name == "while"
    (y,) = call(traced, [x])
    expected = np.ones(3, np.float32)
    for _ in range(3):
        expected = expected * X + 2 * X
    np.testing.assert_allclose(run([y], {x: X})[0], expected, rtol=1e-6)


def test_in_a_function_shapes_stay_as_well():
    def function(y):
        return tf.while_loop(lambda y: tf.size(y) < 10, lambda y: tf.concat([y, y], 0), [y])

    with pytest.raises(
        ValueError, match=r"enters the loop with shape \(3,\), but has shape \(6,\)"
    ):
        trace(function, [(tf.float32, [3])], "f")


def test_rows_in_a_function(run, x):
    def function(y):
        squares = tf.map_fn(lambda e: e * e, y)
        return tf.foldl(lambda a, e: a + e, squares)

    (y,) = call(trace(function, [(tf.float32, [3])], "f"), [x])
    assert run([y], {x: X}) == [14]


# Rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [tf.map_fn, tf.scan, tf.foldl, tf.foldr])
def test_bad_arguments_of_functions_over_rows(function, x):
    with pytest.raises(TypeError, match="fn must be callable"):
        function(None, x)
    with pytest.raises(ValueError, match="not a scalar"):
        function(lambda *a: a[0], tf.constant(1.0))
    with pytest.raises(ValueError, match=r"must be equal|not compatible"):
        function(lambda *a: a[0], (x, tf.zeros([4])))


def test_the_result_of_map_fn_has_the_structure_of_dtype(x):
    with pytest.raises((ValueError, TypeError), match="same nested structure"):
        tf.map_fn(lambda e: e, x, dtype=(tf.float32, tf.int32))
    result = tf.map_fn(lambda e: {"a": e, "b": tf.cast(e, tf.int32)}, x,
                       dtype={"a": tf.float32, "b": tf.int32})  # fmt: skip
    assert result["b"].dtype == tf.int32
    assert result["a"].shape.as_list() == [3]


def test_no_rows(run):
    x = tf.placeholder(tf.float32, [None, 2])
    results = [
        tf.map_fn(lambda row: row * 2.0, x),
        tf.scan(lambda a, row: a + row, x, initializer=tf.ones([2])),
        tf.foldl(lambda a, row: a + row, x, initializer=tf.ones([2])),
    ]
    mapped, scanned, folded = run(results, {x: np.zeros([0, 2])})
    assert mapped.shape == scanned.shape == (0, 2)
    np.testing.assert_array_equal(folded, [1, 1])


# Arrays --------------------------------------------------------------------------------------


def test_bad_arguments_of_arrays():
    handle = tf.TensorArray(tf.float32, 3).handle
    for keywords, error, message in (
        ({}, ValueError, "Size must be provided if handle is not provided"),
        ({"size": 3, "handle": handle}, ValueError, "both a handle and size"),
        ({"handle": handle, "dynamic_size": True}, ValueError, "both a handle and dynamic_size"),
        ({"handle": handle, "tensor_array_name": "a"}, ValueError, "both handle and tensor_array"),
        ({"handle": 3}, TypeError, "Handle must be a Tensor"),
    ):
        with pytest.raises(error, match=message):
            tf.TensorArray(tf.float32, **keywords)


def test_shapes_of_elements():
    array = tf.TensorArray(tf.float32, 3).write(0, tf.zeros([2]))
    assert array.element_shape.as_list() == [2]
    assert array.read(0).shape.as_list() == [2]
    assert array.stack().shape.as_list() == [3, 2]
    assert array.concat().shape.as_list() == [6]
    with pytest.raises(ValueError, match=r"saw \(3,\) but expected \(2,\)"):
        array.write(1, tf.zeros([3]))
    loose = tf.TensorArray(tf.float32, 3, infer_shape=False).write(0, tf.zeros([2]))
    assert loose.element_shape.dims is None
    loose.write(1, tf.zeros([3]))


def test_gradients_of_arrays_need_a_scope_called_gradients(x):
    y = tf.TensorArray(tf.float32, 3).unstack(x).stack()
    with pytest.raises(ValueError, match="Expected op/tensor name to start with gradients"):
        tf.gradients(y, x, name="mine")


@pytest.mark.parametrize("declared", [None, [None, 2]])
def test_unwritten_elements_have_the_shape_of_the_first_one(declared):
    """Also where the declared shape says something, but not all."""
    array = tf.TensorArray(tf.float32, 3, element_shape=declared)
    stacked = array.write(0, tf.ones([4, 2])).stack()
    with tf.Session() as session:
        value = session.run(stacked)
    np.testing.assert_array_equal(value, [np.ones([4, 2]), np.zeros([4, 2]), np.zeros([4, 2])])


def test_elements_of_two_shapes_in_an_array_that_infers_one():
    first, second = (tf.placeholder(tf.float32, [None, 2]) for _ in range(2))
    array = tf.TensorArray(tf.float32, 2, element_shape=[None, 2])
    element = array.write(0, first).write(1, second).read(1)
    feeds = {first: np.ones([4, 2]), second: np.ones([3, 2])}
    message = r"index 1 because the value shape is \[3,2\] which is incompatible"
    with tf.Session() as session, pytest.raises(errors.InvalidArgumentError, match=message):
        session.run(element, feeds)
