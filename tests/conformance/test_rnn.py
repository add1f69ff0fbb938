"""Recurrent networks: the variables, values and gradients that TensorFlow has."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

import flowray

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow's cells are in the old Keras
tf1 = pytest.importorskip("tensorflow").compat.v1
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        HAS_CELLS = hasattr(tf1.nn.rnn_cell, "BasicLSTMCell")
    except ImportError:
        HAS_CELLS = False
pytestmark = [
    pytest.mark.skipif(not HAS_CELLS, reason="this TensorFlow has no cells"),
    pytest.mark.usefixtures("tensorflow_1"),
]

X = np.random.RandomState(0).uniform(-1, 1, (3, 4, 5)).astype(np.float32)
PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


def known(tf):
    return tf.placeholder(tf.float32, [3, 4, 5])


def unknown(tf):
    return tf.placeholder(tf.float32, [None, None, 5])


def lengths(tf):
    return tf.placeholder(tf.int32, [None])


@program
def basic(tf):
    return tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicRNNCell(4), known(tf), dtype=tf.float32)


@program
def other_activation(tf):
    cell = tf.nn.rnn_cell.BasicRNNCell(4, activation=tf.nn.relu, name="mine")
    return tf.nn.dynamic_rnn(cell, known(tf), dtype=tf.float32, scope="net")


@program
def lstm_of_unknown_shapes(tf):
    return tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(4), unknown(tf), dtype=tf.float32)


@program
def gru_with_lengths(tf):
    cell = tf.nn.rnn_cell.GRUCell(4)
    return tf.nn.dynamic_rnn(cell, unknown(tf), sequence_length=lengths(tf), dtype=tf.float32)


@program
def gru_with_initializers(tf):
    ones = tf.constant_initializer(0.1)
    cell = tf.nn.rnn_cell.GRUCell(4, kernel_initializer=ones, bias_initializer=ones)
    return tf.nn.dynamic_rnn(cell, known(tf), initial_state=tf.ones([3, 4]))


@program
def lstm_with_everything(tf):
    cell = tf.nn.rnn_cell.LSTMCell(4, use_peepholes=True, num_proj=3, cell_clip=0.5, proj_clip=0.4)
    return tf.nn.dynamic_rnn(cell, known(tf), sequence_length=[2, 1, 3], dtype=tf.float32)


@program
def lstm_in_shards(tf):
    cell = tf.nn.rnn_cell.LSTMCell(4, num_unit_shards=2, num_proj=3, num_proj_shards=2)
    return tf.nn.dynamic_rnn(cell, known(tf), dtype=tf.float32)


@program
def several_cells(tf):
    cells = [tf.nn.rnn_cell.BasicLSTMCell(4), tf.nn.rnn_cell.GRUCell(3)]
    cell = tf.nn.rnn_cell.MultiRNNCell(cells)
    return tf.nn.dynamic_rnn(cell, known(tf), dtype=tf.float32, time_major=True)


@program
def several_cells_side_by_side(tf):
    cells = [tf.nn.rnn_cell.BasicLSTMCell(4, state_is_tuple=False), tf.nn.rnn_cell.GRUCell(3)]
    cell = tf.nn.rnn_cell.MultiRNNCell(cells, state_is_tuple=False)
    return tf.nn.dynamic_rnn(cell, known(tf), dtype=tf.float32)


@program
def static(tf):
    steps = tf.unstack(known(tf), axis=1)
    return tf.nn.static_rnn(tf.nn.rnn_cell.LSTMCell(4), steps, dtype=tf.float32)


@program
def static_with_lengths(tf):
    cell = tf.nn.rnn_cell.BasicLSTMCell(4, state_is_tuple=False)
    steps = tf.unstack(known(tf), axis=1)
    return tf.nn.static_rnn(cell, steps, sequence_length=[2, 1, 3], dtype=tf.float32)


@program
def bidirectional(tf):
    cells = tf.nn.rnn_cell.GRUCell(4), tf.nn.rnn_cell.BasicLSTMCell(2)
    return tf.nn.bidirectional_dynamic_rnn(
        *cells, known(tf), sequence_length=[2, 1, 4], dtype=tf.float32
    )


@program
def bidirectional_without_lengths(tf):
    cells = tf.nn.rnn_cell.GRUCell(4), tf.nn.rnn_cell.GRUCell(2)
    return tf.nn.bidirectional_dynamic_rnn(*cells, known(tf), dtype=tf.float32, time_major=True)


@program
def static_bidirectional(tf):
    cells = tf.nn.rnn_cell.GRUCell(4), tf.nn.rnn_cell.GRUCell(4)
    steps = tf.unstack(known(tf), axis=1)
    return tf.nn.static_bidirectional_rnn(
        *cells, steps, sequence_length=[2, 1, 4], dtype=tf.float32
    )


@program
def residual_on_a_device(tf):
    cell = tf.nn.rnn_cell.DeviceWrapper(tf.nn.rnn_cell.GRUCell(5), "/cpu:0")
    return tf.nn.dynamic_rnn(tf.nn.rnn_cell.ResidualWrapper(cell), known(tf), dtype=tf.float32)


@program
def dropout(tf):
    """One iteration at a time, since TensorFlow else draws numbers in any order."""
    cell = tf.nn.rnn_cell.DropoutWrapper(tf.nn.rnn_cell.BasicLSTMCell(4), 0.5, 0.6, 0.7, seed=3)
    return tf.nn.dynamic_rnn(cell, known(tf), dtype=tf.float32, parallel_iterations=1)


@program
def variational_dropout(tf):
    cell = tf.nn.rnn_cell.DropoutWrapper(
        tf.nn.rnn_cell.LSTMCell(4), 0.5, 0.6, 0.7, variational_recurrent=True, input_size=5,
        dtype=tf.float32, seed=3,
    )  # fmt: skip
    return tf.nn.dynamic_rnn(cell, known(tf), dtype=tf.float32)


@program
def own_cell(tf):
    """Its variables are made by ``get_variable`` when it is called."""

    class Cell(tf.nn.rnn_cell.RNNCell):
        state_size = output_size = 5

        def __call__(self, inputs, state, scope=None):
            with tf.variable_scope(scope or type(self).__name__):
                w = tf.get_variable("w", [5])
            state = tf.tanh(inputs * w + state)
            return state, state

        def zero_state(self, batch_size, dtype):
            return tf.zeros([batch_size, 5], dtype)

    return tf.nn.dynamic_rnn(Cell(), known(tf), dtype=tf.float32)


@program
def raw(tf):
    """Feeds each output in again, until it is large enough or there were five steps."""
    x = known(tf)
    cell = tf.nn.rnn_cell.LSTMCell(5)

    def loop(time, output, state, loop_state):
        if output is None:
            return tf.zeros([3], tf.bool), x[:, 0], cell.zero_state(3, tf.float32), None, None
        over = tf.logical_or(time >= 5, output[:, 0] > 0.1)
        return over, output + x[:, 1], state, output, None

    emitted, state, _ = tf.nn.raw_rnn(cell, loop)
    return emitted.stack(), state


def flat(structure):
    if isinstance(structure, list | tuple):
        return [leaf for item in structure for leaf in flat(item)]
    return [structure]


def outcome(tf, build):
    """Variables, static shapes, and what two steps give, gradients included."""
    with tf.Graph().as_default() as graph, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = flat(build(tf))
        variables = tf.global_variables()
        loss = tf.add_n([tf.reduce_sum(t * t) for t in results])
        fetches = results + tf.gradients(loss, tf.trainable_variables())
        placeholders = [op.outputs[0] for op in graph.get_operations() if op.type == "Placeholder"]
        feeds = {p: [4, 1, 3] if p.dtype == tf.int32 else X for p in placeholders}
        values = np.random.RandomState(1)
        initial = [values.uniform(-1, 1, v.shape.as_list()).astype(np.float32) for v in variables]
        assigns = [v.assign(value) for v, value in zip(variables, initial, strict=True)]
        with tf.Session() as session:
            session.run(assigns)
            found = session.run(fetches, feeds) + session.run(fetches, feeds)
        names = [(v.name, v.shape.as_list()) for v in variables]
        return names, [t.shape.as_list() for t in results], found


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_tensorflow(name):
    ours, theirs = outcome(flowray, PROGRAMS[name]), outcome(tf1, PROGRAMS[name])
    assert ours[:2] == theirs[:2]
    for i, (mine, wanted) in enumerate(zip(ours[2], theirs[2], strict=True)):
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-5, err_msg=str(i))
