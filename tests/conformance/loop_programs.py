"""Programs with loops, for any ``tf``: flowray or TensorFlow's compat.v1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

X = np.random.RandomState(0).uniform(0.2, 1.0, (4, 3)).astype(np.float32)
W = np.random.RandomState(1).uniform(-1, 1, (3, 3)).astype(np.float32)


class Built(NamedTuple):
    """A program to run: tensors, values to feed, and variables to initialize before."""

    fetches: list[Any]
    feeds: dict[Any, Any]
    variables: Sequence[Any] = ()


PROGRAMS: dict[str, Callable[[Any], Built]] = {}


def program(function: Callable[[Any], Built]) -> Callable[[Any], Built]:
    PROGRAMS[function.__name__] = function
    return function


def with_gradients(tf: Any, y: Any, xs: list[Any]) -> list[Any]:
    return [y, *tf.gradients(y, xs)]


def placeholder(tf: Any, known: bool = True) -> Any:
    return tf.placeholder(tf.float32, X.shape if known else [None, None])


@program
def counter(tf: Any) -> Built:
    n = tf.placeholder(tf.int32, [])
    result = tf.while_loop(lambda i: i < n, lambda i: i * 2, [1])
    return Built([result], {n: 1000})


@program
def no_iterations(tf: Any) -> Built:
    x = placeholder(tf)
    _, y = tf.while_loop(lambda i, _: i < 0, lambda i, y: (i + 1, y * x), [0, x + 1.0])
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def several_variables(tf: Any) -> Built:
    x = placeholder(tf)
    results = tf.while_loop(
        lambda i, a, b, c: tf.logical_and(i < 6, tf.reduce_sum(c) < 100.0),
        lambda i, a, b, c: (i + 1, a * x + 1.0, a + b, c + tf.cast(i, tf.float32)),
        [0, tf.ones([4, 3]), x, 0.0],
    )
    _, a, b, _ = results
    return Built([*results, *tf.gradients([a, b], [x])], {x: X})


@program
def structures(tf: Any) -> Built:
    x = placeholder(tf)
    result = tf.while_loop(
        lambda state: state["i"] < 3,
        lambda state: [{"i": state["i"] + 1, "pair": (state["pair"][1], state["pair"][0] * x)}],
        [{"i": tf.constant(0), "pair": (x, tf.ones([4, 3]))}],
    )
    state = result[0] if isinstance(result, list) else result
    return Built([state["i"], *state["pair"], *tf.gradients(state["pair"][0], [x])], {x: X})


@program
def power_of_a_matrix(tf: Any) -> Built:
    x = placeholder(tf)
    w = tf.Variable(W)
    _, h = tf.while_loop(
        lambda i, h: i < 5, lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w) + x[:1])), [0, x * 2.0]
    )
    return Built(with_gradients(tf, h, [x, w]), {x: X}, [w])


@program
def resource_variable(tf: Any) -> Built:
    x = placeholder(tf)
    w = tf.get_variable("w", initializer=W, use_resource=True)
    _, h = tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w))), [0, x])
    return Built(with_gradients(tf, h, [x, w]), {x: X}, [w])


@program
def unknown_shapes(tf: Any) -> Built:
    """Broadcasts whose gradients are reduced by shapes that only a run knows."""
    x = placeholder(tf, known=False)
    _, y = tf.while_loop(
        lambda i, y: i < 4, lambda i, y: (i + 1, y * x + tf.reduce_sum(x, 0)), [0, tf.ones_like(x)]
    )
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def nested(tf: Any) -> Built:
    x = placeholder(tf)

    def body(i, a):
        _, b = tf.while_loop(
            lambda j, b: j < i, lambda j, b: (j + 1, tf.sin(b) * x), [tf.constant(0), a]
        )
        return i + 1, b + a

    _, y = tf.while_loop(lambda i, a: i < 4, body, [tf.constant(0), tf.ones([4, 3])])
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def condition_in_a_loop(tf: Any) -> Built:
    x = placeholder(tf)

    def body(i, a):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: a * x, lambda: tf.sin(a) + x)

    _, y = tf.while_loop(lambda i, a: i < 5, body, [0, tf.ones([4, 3])])
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def conditions_in_conditions_in_a_loop(tf: Any) -> Built:
    x = placeholder(tf)

    def body(i, a):
        inner = lambda: tf.cond(tf.equal(i % 3, 0), lambda: a * x, lambda: tf.exp(-a))  # noqa: E731
        return i + 1, tf.cond(tf.equal(i % 2, 0), inner, lambda: tf.sin(a) + x)

    _, y = tf.while_loop(lambda i, a: i < 7, body, [0, tf.ones([4, 3])])
    return Built(with_gradients(tf, y, [x]), {x: X})


def _loop_in_a_condition(tf: Any, taken: bool) -> Built:
    x, p = placeholder(tf), tf.placeholder(tf.bool, [])

    def loop():
        return tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * x), [0, x])[1]

    y = tf.cond(p, loop, lambda: x * 5.0)
    return Built(with_gradients(tf, y, [x]), {x: X, p: taken})


@program
def loop_in_a_condition(tf: Any) -> Built:
    return _loop_in_a_condition(tf, True)


@program
def loop_in_a_branch_not_taken(tf: Any) -> Built:
    return _loop_in_a_condition(tf, False)


@program
def two_losses_over_one_loop(tf: Any) -> Built:
    x = placeholder(tf)
    _, a, b = tf.while_loop(
        lambda i, a, b: i < 4, lambda i, a, b: (i + 1, a * x, b + a), [0, x, tf.ones([4, 3])]
    )
    first, second = tf.gradients(a, [x])[0], tf.gradients(b * a, [x])[0]
    return Built([a, b, first, second], {x: X})


@program
def a_variable_that_does_not_depend_on_itself(tf: Any) -> Built:
    x = placeholder(tf)
    _, a, b = tf.while_loop(
        lambda i, a, b: i < 4, lambda i, a, b: (i + 1, x * x, b + a), [0, x, tf.ones([4, 3])]
    )
    return Built([a, b, *tf.gradients(b, [x]), *tf.gradients(a, [x])], {x: X})


@program
def stop_gradient_in_a_loop(tf: Any) -> Built:
    x = placeholder(tf)
    _, y = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.stop_gradient(y) * x), [0, x])
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def gathers_in_a_loop(tf: Any) -> Built:
    x = placeholder(tf)
    _, y = tf.while_loop(
        lambda i, y: i < 4,
        lambda i, y: (i + 1, y + tf.gather(x, i) * tf.gather(x, [i, 0])[1]),
        [0, tf.zeros([3])],
    )
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def maximum_iterations(tf: Any) -> Built:
    x = placeholder(tf)
    y = tf.while_loop(lambda y: tf.reduce_sum(y) < 1e9, lambda y: y + x, [x], maximum_iterations=5)
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def shape_invariants(tf: Any) -> Built:
    x = placeholder(tf)
    _, y = tf.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, tf.concat([y, y * x[:1]], 0)),
        [tf.constant(0), x],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 3])],
    )
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def no_back_prop(tf: Any) -> Built:
    x = placeholder(tf)
    _, y = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * x), [0, x], back_prop=False)
    return Built([y], {x: X})


@program
def effects(tf: Any) -> Built:
    v = tf.Variable(1.0)

    def body(i):
        with tf.control_dependencies([v.assign_add(tf.cast(i, tf.float32))]):
            return i + 1

    loop = tf.while_loop(lambda i: i < 5, body, [0])
    with tf.control_dependencies([loop]):
        after = tf.identity(v.read_value())
    return Built([loop, after], {}, [v])


@program
def seeded_numbers(tf: Any) -> Built:
    """Each iteration draws the next numbers of the generator."""
    _, y = tf.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, y + tf.random_uniform([4], seed=7)),
        [0, tf.zeros([4])],
    )
    return Built([y], {})


@program
def slices_of_a_variable(tf: Any) -> Built:
    """Their gradients are IndexedSlices, with as many rows as there were iterations."""
    results, variables = [], []
    for use_resource in (False, True):
        w = tf.get_variable(f"w{use_resource}", initializer=X, use_resource=use_resource)
        _, y = tf.while_loop(
            lambda i, _: i < 6,
            lambda i, y, w=w: (i + 1, y * 0.5 + tf.gather(w, [i % 4, 1])),
            [0, tf.ones([2, 3])],
        )
        grad = tf.gradients(y, [w])[0]
        assert isinstance(grad, tf.IndexedSlices)
        results += [y, tf.convert_to_tensor(grad)]
        variables.append(w)
    return Built(results, {}, variables)


@program
def gradients_in_the_body(tf: Any) -> Built:
    x = placeholder(tf)

    def body(i, y):
        z = tf.sin(y) * x
        return i + 1, y + tf.gradients(z, y)[0] + tf.gradients(z, x)[0]

    _, y = tf.while_loop(lambda i, _: i < 3, body, [0, tf.ones([4, 3])])
    return Built([y], {x: X})


@program
def gradients_of_a_loop_in_the_body(tf: Any) -> Built:
    x = placeholder(tf)

    def body(i, y):
        _, z = tf.while_loop(lambda j, _: j < i, lambda j, z: (j + 1, tf.sin(z) * x), [0, y])
        return i + 1, y + tf.gradients(z, y)[0]

    _, y = tf.while_loop(lambda i, _: i < 3, body, [0, tf.ones([4, 3])])
    return Built([y], {x: X})


@program
def a_loop_in_a_condition_in_a_loop(tf: Any) -> Built:
    x = placeholder(tf)

    def inner(a):
        return tf.while_loop(lambda j, _: j < 2, lambda j, b: (j + 1, tf.sin(b) * x), [0, a])[1]

    def body(i, a):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: inner(a), lambda: a + x)

    _, y = tf.while_loop(lambda i, _: i < 5, body, [0, tf.ones([4, 3])])
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def slices_as_a_variable(tf: Any) -> Built:
    x = placeholder(tf)
    start = tf.IndexedSlices(x, tf.constant([3, 1, 0, 2]), tf.constant([4, 3]))
    _, y = tf.while_loop(
        lambda i, _: i < 3,
        lambda i, y: (i + 1, tf.IndexedSlices(y.values * x, y.indices, y.dense_shape)),
        [0, start],
    )
    return Built([tf.convert_to_tensor(y)], {x: X})


@program
def waits_for_what_is_outside(tf: Any) -> Built:
    """The loop, or its body, comes after writes outside of it."""
    v = tf.Variable(1.0)
    add = v.assign_add(1.0)
    with tf.control_dependencies([add]):
        first = tf.while_loop(lambda i: i < 3, lambda i: i + 1, [0])

    def body(i, total):
        with tf.control_dependencies([add]):
            return i + 1, total + v.read_value()

    _, second = tf.while_loop(lambda i, _: i < 3, body, [0, 0.0])
    return Built([first, second], {}, [v])


# Tensor arrays -------------------------------------------------------------------------------


@program
def array_by_hand(tf: Any) -> Built:
    x = placeholder(tf)
    array = tf.TensorArray(tf.float32, size=5, clear_after_read=False).write(0, x)

    def body(i, array):
        return i + 1, array.write(i, array.read(i - 1) * x)

    _, array = tf.while_loop(lambda i, _: i < 5, body, [1, array])
    stacked = array.stack()
    return Built([*with_gradients(tf, stacked, [x]), array.size()], {x: X})


@program
def array_that_grows(tf: Any) -> Built:
    x = placeholder(tf)
    array = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
    _, array = tf.while_loop(
        lambda i, _: i < 5, lambda i, a: (i + 1, a.write(i, x[i % 4] * x[0])), [0, array]
    )
    return Built(with_gradients(tf, array.stack(), [x]), {x: X})


@program
def split_and_concat(tf: Any) -> Built:
    x = placeholder(tf)
    array = tf.TensorArray(tf.float32, size=2, infer_shape=False).split(x, [1, 3])
    other = tf.TensorArray(tf.float32, size=2, infer_shape=False)
    other = other.write(1, array.read(0) * 2.0)
    other = other.write(0, array.read(1) * x[0])
    return Built(with_gradients(tf, other.concat(), [x]), {x: X})


@program
def gather_and_scatter(tf: Any) -> Built:
    x = placeholder(tf)
    array = tf.TensorArray(tf.float32, size=4, element_shape=[3]).scatter([2, 0, 1, 3], x * x)
    return Built(with_gradients(tf, array.gather([3, 1]), [x]), {x: X})


@program
def unstack_and_identity(tf: Any) -> Built:
    x = placeholder(tf)
    array = tf.TensorArray(tf.float32, size=4).unstack(x)
    with tf.control_dependencies([x]):
        array = array.identity()
    return Built(with_gradients(tf, array.read(2) * array.read(1), [x]), {x: X})


@program
def mapped(tf: Any) -> Built:
    x = placeholder(tf)
    y = tf.map_fn(lambda row: tf.reduce_sum(row * row) * row, x)
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def mapped_over_several(tf: Any) -> Built:
    x = placeholder(tf, known=False)
    a, b = tf.map_fn(
        lambda pair: (pair[0] * pair[1], tf.cast(pair[1], tf.int64)),
        (x, tf.range(4.0)),
        dtype=(tf.float32, tf.int64),
    )
    return Built([a, b, *tf.gradients(a, [x])], {x: X})


@program
def mapped_in_map(tf: Any) -> Built:
    x = placeholder(tf)
    y = tf.map_fn(lambda row: tf.map_fn(lambda e: e * e, row), x)
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def constants_in_inner_loops(tf: Any) -> Built:
    """Small and large constants of the outside, used two and three loops deep."""
    x = placeholder(tf)
    ten, large = tf.constant(10.0), tf.constant(np.linspace(0, 1, 3000, dtype=np.float32))
    twice = tf.map_fn(lambda row: tf.map_fn(lambda e: e * ten + large[7], row), x)
    deep = tf.map_fn(
        lambda row: tf.map_fn(
            lambda e: tf.while_loop(
                lambda i, _: i < 3, lambda i, e: (i + 1, e * ten + large[5]), [0, e]
            )[1],
            row,
        ),
        x,
    )
    chosen = tf.map_fn(
        lambda row: tf.map_fn(lambda e: tf.cond(e < 0.5, lambda: e * ten, lambda: ten), row), x
    )
    return Built([*with_gradients(tf, twice, [x]), *with_gradients(tf, deep, [x]), chosen], {x: X})


@program
def a_constant_in_the_condition_of_an_inner_loop(tf: Any) -> Built:
    limit = tf.constant(5.0)
    y = tf.map_fn(
        lambda row: tf.map_fn(
            lambda e: tf.while_loop(lambda e: e < limit, lambda e: e * 2, [e]), row
        ),
        placeholder(tf),
    )
    return Built([y], {tf.get_default_graph().get_tensor_by_name("Placeholder:0"): X})


@program
def scanned(tf: Any) -> Built:
    x = placeholder(tf)
    y = tf.scan(lambda a, row: a * row + 1.0, x)
    z = tf.scan(lambda a, row: a + row * row, x, initializer=tf.ones([3]))
    return Built([*with_gradients(tf, y, [x]), *with_gradients(tf, z, [x])], {x: X})


@program
def scanned_backwards(tf: Any) -> Built:
    x = placeholder(tf)
    y = tf.scan(lambda a, row: a * row + 1.0, x, reverse=True)
    return Built(with_gradients(tf, y, [x]), {x: X})


@program
def folded(tf: Any) -> Built:
    x = placeholder(tf)
    y = tf.foldl(lambda a, row: a * row + row, x)
    z = tf.foldr(lambda a, row: a * row + row, x, initializer=tf.ones([3]))
    return Built([*with_gradients(tf, y, [x]), *with_gradients(tf, z, [x])], {x: X})


@program
def recurrent_network(tf: Any) -> Built:
    """Builds what tf.nn.dynamic_rnn does: arrays of inputs and outputs, a state, weights."""
    x = placeholder(tf, known=False)
    w = tf.Variable(W)
    inputs = tf.TensorArray(tf.float32, size=tf.shape(x)[0]).unstack(x)
    outputs = tf.TensorArray(tf.float32, size=tf.shape(x)[0], element_shape=[1, 3])

    def step(i, h, outputs):
        h = tf.tanh(tf.matmul(h, w) + tf.reshape(inputs.read(i), [1, 3]))
        return i + 1, h, outputs.write(i, h)

    _, h, outputs = tf.while_loop(
        lambda i, *_: i < tf.shape(x)[0], step, [0, tf.zeros([1, 3]), outputs]
    )
    loss = tf.reduce_sum(outputs.stack() ** 2) + tf.reduce_sum(h)
    return Built(with_gradients(tf, loss, [x, w]), {x: X}, [w])
