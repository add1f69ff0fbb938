"""Cells and recurrent networks: what their arguments may be, and what they share."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf

CELLS = tf.nn.rnn_cell


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture
def x():
    return tf.placeholder(tf.float32, [2, 3, 4])


def names(variables):
    return [v.name for v in variables]


def test_the_variables_of_a_cell(x):
    inner = CELLS.BasicLSTMCell(5)
    cell = CELLS.MultiRNNCell([CELLS.DropoutWrapper(inner, 0.5), CELLS.GRUCell(6)])
    assert cell.state_size == (CELLS.LSTMStateTuple(5, 5), 6)
    assert cell.output_size == 6
    tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    lstm = [f"rnn/multi_rnn_cell/cell_0/basic_lstm_cell/{part}:0" for part in ("kernel", "bias")]
    gru = [
        f"rnn/multi_rnn_cell/cell_1/gru_cell/{part}:0"
        for part in ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")
    ]
    assert names(inner.trainable_variables) == lstm
    assert names(cell.trainable_variables) == lstm + gru == names(tf.trainable_variables())
    assert not cell.non_trainable_variables


def test_variables_are_outside_of_the_loop(x):
    tf.nn.dynamic_rnn(CELLS.GRUCell(5), x, dtype=tf.float32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(tf.trainable_variables()[0]).shape == (9, 10)


def test_a_cell_that_is_called_twice_has_its_variables_once(x):
    cell = CELLS.LSTMCell(5)
    first, _ = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    second, _ = tf.nn.static_rnn(cell, tf.unstack(x, axis=1), dtype=tf.float32)
    assert len(tf.trainable_variables()) == 2
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        dynamic, static = session.run([first, second], {x: np.random.rand(2, 3, 4)})
    np.testing.assert_allclose(dynamic, np.stack(static, 1), rtol=1e-5)


def test_reused_variables(x):
    with tf.variable_scope("net"):
        tf.nn.dynamic_rnn(CELLS.GRUCell(5), x, dtype=tf.float32)
    with tf.variable_scope("net", reuse=True):
        tf.nn.dynamic_rnn(CELLS.GRUCell(5), x, dtype=tf.float32)
    assert len(tf.trainable_variables()) == 4
    with pytest.raises(ValueError, match="already exists"), tf.variable_scope("net"):
        tf.nn.dynamic_rnn(CELLS.GRUCell(5), x, dtype=tf.float32)


def test_zero_states():
    n = tf.placeholder(tf.int32, [])
    state = CELLS.LSTMCell(5, num_proj=3).zero_state(n, tf.float64)
    assert [t.shape.as_list() for t in state] == [[None, 5], [None, 3]]
    assert state.dtype == tf.float64
    assert CELLS.GRUCell(5).zero_state(2, tf.float32).shape.as_list() == [2, 5]
    inputs = tf.zeros([7, 4])
    assert CELLS.BasicRNNCell(5).get_initial_state(inputs).dtype == tf.float32
    with pytest.raises(ValueError, match="batch_size and dtype cannot be None"):
        CELLS.BasicRNNCell(5).get_initial_state(batch_size=2)


def test_bad_cells():
    for arguments, error, message in (
        (([],), ValueError, "Must specify at least one cell"),
        ((CELLS.GRUCell(2),), TypeError, "cells must be a list or tuple"),
        (([CELLS.LSTMCell(2)], False), ValueError, "state_is_tuple is not set"),
    ):
        with pytest.raises(error, match=message):
            CELLS.MultiRNNCell(*arguments)
    with pytest.raises(TypeError, match="is not an RNNCell: 'output_size' property is missing"):
        CELLS.DropoutWrapper(lambda x, s: (x, s))
    with pytest.raises(ValueError, match="output_keep_prob must be between 0 and 1"):
        CELLS.DropoutWrapper(CELLS.GRUCell(2), output_keep_prob=1.5)
    with pytest.raises(ValueError, match="dtype must be provided"):
        CELLS.DropoutWrapper(CELLS.GRUCell(2), variational_recurrent=True)
    with pytest.raises(ValueError, match="input_size must be provided"):
        CELLS.DropoutWrapper(CELLS.GRUCell(2), 0.5, variational_recurrent=True, dtype=tf.float32)
    with pytest.raises(NotImplementedError):
        CELLS.RNNCell().state_size  # noqa: B018


def test_bad_arguments_of_dynamic_rnn(x):
    cell = CELLS.GRUCell(5)
    for arguments, keywords, error, message in (
        ((cell, x), {}, ValueError, "you must give a dtype"),
        ((None, x), {"dtype": tf.float32}, TypeError, "is not an RNNCell"),
        ((cell, tf.placeholder(tf.float32, [2, 3, None])), {"dtype": tf.float32}, ValueError,
         "must be accessible via shape inference"),
        ((cell, tf.zeros([3])), {"dtype": tf.float32}, ValueError, "rank at least 2"),
        ((cell, x), {"dtype": tf.float32, "sequence_length": 2}, ValueError, "must be a vector"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            tf.nn.dynamic_rnn(*arguments, **keywords)


def test_bad_arguments_of_static_rnn(x):
    cell = CELLS.GRUCell(5)
    with pytest.raises(TypeError, match="inputs must be a sequence"):
        tf.nn.static_rnn(cell, x, dtype=tf.float32)
    with pytest.raises(ValueError, match="inputs must not be empty"):
        tf.nn.static_rnn(cell, [], dtype=tf.float32)
    with pytest.raises(ValueError, match="dtype must be specified"):
        tf.nn.static_rnn(cell, [x[0]])


def test_wrong_lengths_are_found_in_the_run(x):
    lengths = tf.placeholder(tf.int32, [None])
    outputs, _ = tf.nn.dynamic_rnn(CELLS.GRUCell(5), x, sequence_length=lengths, dtype=tf.float32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.InvalidArgumentError, match="Expected shape for Tensor"):
            session.run(outputs, {x: np.zeros([2, 3, 4]), lengths: [1, 2, 3]})


def test_a_network_learns_the_last_of_its_inputs():
    """The sum of the last two inputs; a few hundred steps of Adam."""
    tf.set_random_seed(1)
    x = tf.placeholder(tf.float32, [None, 6, 1])
    outputs, _ = tf.nn.dynamic_rnn(CELLS.BasicLSTMCell(8), x, dtype=tf.float32)
    weights = tf.get_variable("weights", [8, 1])
    loss = tf.reduce_mean((tf.matmul(outputs[:, -1], weights) - x[:, -1] - x[:, -2]) ** 2)
    step = tf.train.AdamOptimizer(0.02).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        batches = np.random.RandomState(0).uniform(-0.5, 0.5, (400, 16, 6, 1))
        losses = [session.run([loss, step], {x: batch})[0] for batch in batches]
    assert np.mean(losses[-20:]) < 0.1 * np.mean(losses[:20])
