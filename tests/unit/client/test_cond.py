"""``tf.cond`` and ``tf.case``: the graph, and what runs, interpreted and compiled."""

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
def p():
    return tf.placeholder(tf.bool, [], name="p")


@pytest.fixture
def x():
    return tf.placeholder(tf.float32, [3], name="x")


class Runner:
    """Runs steps of one session in which segments are compiled at once, or never."""

    def __init__(self, graph: tf.Graph, mode) -> None:
        self._transport = InProcessTransport(tf.ConfigProto(), RuntimeOptions(compile=mode))
        self._graph = graph
        self._handle = None

    def __call__(self, fetches, feeds=None, targets=()):
        if self._handle is None:
            self._handle = self._transport.create_session(
                self._graph.as_graph_def(), tf.ConfigProto()
            )
        feeds = {t.name: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in (feeds or {}).items()}
        fetched, _ = run_step(
            self._transport,
            self._handle,
            list(feeds),
            list(feeds.values()),
            [t.name for t in fetches],
            [op.name for op in targets],
        )
        return fetched


@pytest.fixture(params=["never", "eager"])
def run(request, graph):
    return Runner(graph, request.param)


def test_the_nodes_are_those_of_tensorflow(p, x):
    tf.cond(p, lambda: x * 2.0, lambda: tf.constant([0.0, 0.0, 0.0]))
    nodes = [(op.name, op.type) for op in tf.get_default_graph().get_operations()[2:]]
    assert nodes == [
        ("cond/Switch", "Switch"),
        ("cond/switch_t", "Identity"),
        ("cond/switch_f", "Identity"),
        ("cond/pred_id", "Identity"),
        ("cond/mul/y", "Const"),
        ("cond/mul", "Mul"),
        ("cond/mul/Switch", "Switch"),
        ("cond/Const", "Const"),
        ("cond/Merge", "Merge"),
    ]
    graph = tf.get_default_graph()
    assert graph.get_operation_by_name("cond/mul/y").control_inputs == [
        graph.get_operation_by_name("cond/switch_t")
    ]


def test_takes_the_branch(run, p, x):
    result = tf.cond(p, lambda: x * 2.0, lambda: x + 1.0)
    np.testing.assert_array_equal(run([result], {p: True, x: X})[0], X * 2)
    np.testing.assert_array_equal(run([result], {p: False, x: X})[0], X + 1)


def test_constants_of_the_branches(run, p):
    result = tf.cond(p, lambda: 0, lambda: 1)
    assert [run([result], {p: v})[0] for v in (True, False)] == [0, 1]


def test_conditions_in_conditions(run, p, x):
    q = tf.placeholder(tf.bool, [])
    result = tf.cond(p, lambda: tf.cond(q, lambda: x, lambda: -x), lambda: tf.zeros([3]))
    for first in (True, False):
        for second in (True, False):
            expected = (X if second else -X) if first else 0 * X
            got = run([result], {p: first, q: second, x: X})[0]
            np.testing.assert_array_equal(got, expected)


def test_branches_of_different_shapes(run, p, x):
    result = tf.cond(p, lambda: x[:2], lambda: x)
    assert result.shape.as_list() == [None]
    for _ in range(3):
        assert run([result], {p: True, x: X})[0].shape == (2,)
        assert run([result], {p: False, x: X})[0].shape == (3,)


def test_gradients_flow_to_the_branch_that_was_taken(run, p, x):
    y = tf.cond(p, lambda: x * x, lambda: 3.0 * x)
    (gradient,) = tf.gradients(y, x)
    np.testing.assert_array_equal(run([gradient], {p: True, x: X})[0], 2 * X)
    np.testing.assert_array_equal(run([gradient], {p: False, x: X})[0], [3, 3, 3])


def test_a_branch_that_ignores_a_tensor_gives_it_zeros(run, p, x):
    (gradient,) = tf.gradients(tf.cond(p, lambda: x * x, lambda: tf.zeros([3])), x)
    np.testing.assert_array_equal(run([gradient], {p: False, x: X})[0], [0, 0, 0])


def test_only_the_branch_that_is_taken_has_effects(run, p):
    v = tf.Variable(1.0, use_resource=False)
    w = tf.Variable(1.0, use_resource=True)
    add = tf.cond(p, lambda: v.assign_add(1.0) + 0.0, lambda: tf.constant(-1.0))
    write = tf.cond(p, lambda: tf.group(w.assign_add(1.0)), lambda: tf.no_op())
    values = [v.value(), w.value()]
    run([], targets=[v.initializer, w.initializer])
    for value in (True, False, True, False):
        run([add], {p: value}, targets=[write.op])
    assert run(values) == [3, 3]


def test_random_numbers_are_drawn_only_in_the_branch(run, p):
    drawn = tf.cond(p, lambda: tf.random_uniform([2], seed=1), lambda: tf.zeros([2]))
    expected = tf.random_uniform([2], seed=1)
    first = run([drawn], {p: True})[0]
    assert not run([drawn], {p: False})[0].any()
    second = run([drawn], {p: True})[0]
    np.testing.assert_array_equal([first, second], [run([expected])[0], run([expected])[0]])


def test_a_check_in_the_other_branch_does_not_fail(run, p):
    index = tf.placeholder(tf.int32, [])
    result = tf.cond(p, lambda: tf.gather([1.0, 2.0], index), lambda: 0.0)
    assert run([result], {p: False, index: 7}) == [0]
    with pytest.raises(errors.InvalidArgumentError, match="GatherV2"):
        run([result], {p: True, index: 7})


def test_a_tensor_of_a_branch_that_was_not_taken_cannot_be_fetched(run, p, x, graph):
    tf.cond(p, lambda: x * 2.0, lambda: x)
    inner = graph.get_tensor_by_name("cond/mul:0")
    np.testing.assert_array_equal(run([inner], {p: True, x: X})[0], X * 2)
    with pytest.raises(errors.InvalidArgumentError, match="cond/mul:0 was not valid"):
        run([inner], {p: False, x: X})


def test_structures(p, x):
    result = tf.cond(p, lambda: {"a": x, "b": [x]}, lambda: {"a": -x, "b": [x]})
    assert sorted(result) == ["a", "b"]
    with pytest.raises(ValueError, match="Incompatible return types"):
        tf.cond(p, lambda: [x, x], lambda: [x])
    with pytest.raises(ValueError, match="must have the same type: float32, int32"):
        tf.cond(p, lambda: x, lambda: 1)
    with pytest.raises(TypeError, match="pred must not be a Python bool"):
        tf.cond(True, lambda: x, lambda: x)


def test_case_takes_the_first_that_holds(run, p):
    q = tf.placeholder(tf.bool, [])
    result = tf.case([(p, lambda: 1), (q, lambda: 2)], default=lambda: 3)
    got = [run([result], {p: a, q: b})[0] for a in (True, False) for b in (True, False)]
    assert got == [1, 1, 2, 3]


def test_an_exclusive_case_checks(run, p):
    q = tf.placeholder(tf.bool, [])
    result = tf.case([(p, lambda: 1), (q, lambda: 2)], default=lambda: 3, exclusive=True)
    assert run([result], {p: False, q: True}) == [2]
    with pytest.raises(errors.InvalidArgumentError, match="more than 1 conditions"):
        run([result], {p: True, q: True})


def test_in_a_function_it_is_an_if(run, p, x):
    def body(x):
        return tf.cond(p, lambda: x * 2.0, lambda: tf.cond(x[0] > 0, lambda: x, lambda: -x))

    function = trace(body, [(tf.float32, [3])], "body")
    assert [n.op for n in function.definition.node_def] == ["StatelessIf"]
    (result,) = call(function, [x])
    np.testing.assert_array_equal(run([result], {p: True, x: X})[0], X * 2)
    np.testing.assert_array_equal(run([result], {p: False, x: -X})[0], X)


def test_an_if_assigns_only_in_its_branch(run, p):
    v = tf.Variable(1.0, use_resource=True)

    def body():
        return tf.cond(p, lambda: v.assign_add(1.0).value(), lambda: tf.constant(0.0))

    (result,) = call(trace(body, [], "body"), [])
    run([], targets=[v.initializer])
    assert [run([result], {p: value})[0] for value in (True, False, True)] == [2, 0, 3]


def test_gradients_through_an_imported_condition(p, x):
    """Its nodes know no contexts: the Switches tell."""
    tf.cond(p, lambda: tf.cond(x[0] > 0, lambda: x * x, lambda: x), lambda: 3.0 * x)
    graph_def = tf.get_default_graph().as_graph_def()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        pred, inner, y = (graph.get_tensor_by_name(n) for n in ("p:0", "x:0", "cond/Merge:0"))
        (gradient,) = tf.gradients(y, inner)
        run = Runner(graph, "never")
        np.testing.assert_array_equal(run([gradient], {pred: True, inner: X})[0], 2 * X)
        np.testing.assert_array_equal(run([gradient], {pred: True, inner: -X})[0], [1, 1, 1])
        np.testing.assert_array_equal(run([gradient], {pred: False, inner: X})[0], [3, 3, 3])


def test_both_branches_assign_one_variable(run, p):
    v = tf.Variable(0.0)
    result = tf.cond(p, lambda: tf.assign_add(v, 1.0), lambda: tf.assign_sub(v, 10.0))
    doubled = result * 2.0
    run([], targets=[v.initializer])
    found = [run([result, doubled], {p: taken}) for taken in (True, True, False, True)]
    assert found == [[1, 2], [2, 4], [-8, -16], [-7, -14]]


def test_each_branch_assigns_a_variable_of_its_own(run, p):
    v, w = tf.Variable(0.0), tf.Variable(5.0)
    result = tf.cond(p, lambda: tf.assign_add(v, 1.0), lambda: tf.assign_sub(w, 10.0))
    run([], targets=[v.initializer, w.initializer])
    assert [run([result], {p: taken}) for taken in (True, False, True)] == [[1], [-5], [2]]


def test_nested_branches_assign_one_variable(run, p):
    v, q = tf.Variable(0.0), tf.placeholder(tf.bool, [])
    result = tf.cond(
        p,
        lambda: tf.cond(q, lambda: tf.assign_add(v, 1.0), lambda: tf.assign_add(v, 2.0)),
        lambda: tf.assign_sub(v, 10.0),
    )
    run([], targets=[v.initializer])
    feeds = [{p: a, q: b} for a in (True, False) for b in (True, False)]
    assert [run([result], each) for each in feeds] == [[1], [3], [-7], [-17]]


def test_a_case_that_assigns_after_another_write(run, p):
    v = tf.Variable(0.0)
    with tf.control_dependencies([tf.assign_add(v, 100.0)]):
        result = tf.case(
            [(p, lambda: tf.assign_add(v, 1.0)), (~p, lambda: tf.assign_sub(v, 10.0))],
            default=lambda: tf.assign(v, 0.0),
        )
    run([], targets=[v.initializer])
    assert [run([result], {p: taken}) for taken in (True, True, False)] == [[101], [202], [292]]


def ref_switch(data, predicate):
    create_op = tf.get_default_graph().create_op
    return create_op("RefSwitch", [data, predicate], attrs={"T": data.dtype.base_dtype}).outputs


def ref_merge(inputs):
    create_op = tf.get_default_graph().create_op
    attrs = {"T": inputs[0].dtype.base_dtype, "N": len(inputs)}
    return create_op("RefMerge", list(inputs), attrs=attrs).outputs


def test_a_merge_of_one_variables_references(run, p):
    v = tf.Variable([42.0])
    output, index = ref_merge(ref_switch(v._variable, p))
    run([], targets=[v.initializer])
    for taken in (True, False):
        assert run([output, index], {p: taken}) == [[42], taken]


def test_what_is_merged_after_writes_in_both_branches(run, p):
    v = tf.Variable([1.0])
    off, on = ref_switch(v._variable, p)
    output, index = ref_merge([tf.assign_add(off, [10.0]), tf.assign_add(on, [100.0])])
    doubled = tf.identity(output) * 2.0
    run([], targets=[v.initializer])
    found = [run([doubled, index], {p: taken}) for taken in (True, False, True)]
    assert found == [[[202], 1], [[222], 0], [[422], 1]]


def test_a_write_through_a_merge_of_two_variables(run, p):
    v, w = tf.Variable([1.0]), tf.Variable([2.0])
    output, _ = ref_merge([ref_switch(v._variable, p)[0], ref_switch(w._variable, p)[1]])
    write = tf.assign_add(output, [10.0])
    with tf.control_dependencies([write]):
        after = tf.identity(w._variable)
    run([], targets=[v.initializer, w.initializer])
    found = [run([write, after], {p: taken}) for taken in (True, False, True)]
    assert found == [[[12], [12]], [[11], [12]], [[22], [22]]]
    assert run([v, w]) == [[11], [22]]


def test_a_variable_that_an_op_takes_as_reference_and_as_value(run):
    v = tf.Variable(3.0)
    attrs = {"T": tf.float32, "use_locking": False}
    reference = v._variable
    create_op = tf.get_default_graph().create_op
    write = create_op("AssignAdd", [reference, reference], attrs=attrs).outputs[0]
    run([], targets=[v.initializer])
    assert [run([write]) for _ in range(2)] == [[6], [12]]
