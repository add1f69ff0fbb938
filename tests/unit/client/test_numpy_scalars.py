"""Numpy scalars where a function takes a Python number: the graph is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.layers.arguments import as_tuple

IMAGES = np.zeros((2, 6, 6, 3), np.float32)
SERIES = IMAGES[0]
FILTER = np.zeros((2, 2, 3, 3), np.float32)

Number = Callable[[int], Any]
Build = Callable[[Number], Any]

FUNCTIONS: dict[str, Build] = {
    "conv2d": lambda n: tf.nn.conv2d(IMAGES, FILTER, n(2), "SAME", dilations=n(1)),
    "conv2d_explicit": lambda n: tf.nn.conv2d(
        IMAGES, FILTER, n(1), [[0, 0], [n(1), n(0)], [n(0), n(1)], [0, 0]]
    ),
    "conv2d_transpose": lambda n: tf.nn.conv2d_transpose(IMAGES, FILTER, (2, 12, 12, 3), n(2)),
    "conv1d": lambda n: tf.nn.conv1d(SERIES, FILTER[0], n(2), "SAME"),
    "conv1d_transpose": lambda n: tf.nn.conv1d_transpose(SERIES, FILTER[0], (6, 12, 3), n(2)),
    "convolution": lambda n: tf.nn.convolution(IMAGES, FILTER, "SAME", strides=n(2)),
    "atrous": lambda n: tf.nn.atrous_conv2d(IMAGES, FILTER, n(2), "SAME"),
    "atrous_transpose": lambda n: tf.nn.atrous_conv2d_transpose(
        IMAGES, FILTER, (2, 6, 6, 3), n(2), "SAME"
    ),
    "max_pool": lambda n: tf.nn.max_pool(IMAGES, n(2), n(2), "SAME"),
    "max_pool1d": lambda n: tf.nn.max_pool1d(SERIES, n(2), n(2), "SAME"),
    "max_pool3d": lambda n: tf.nn.max_pool3d(IMAGES[None], n(2), n(2), "SAME"),
    "avg_pool": lambda n: tf.nn.avg_pool(IMAGES, n(2), n(2), "SAME"),
    "pool": lambda n: tf.nn.pool(IMAGES, [2, 2], "MAX", "SAME", dilation_rate=n(1)),
    "space_to_batch": lambda n: tf.space_to_batch(IMAGES, [[0, 0], [0, 0]], n(2)),
    "batch_to_space": lambda n: tf.batch_to_space(np.zeros((4, 2, 2, 1)), [[0, 0], [0, 0]], n(2)),
    "matrix_diag": lambda n: tf.matrix_diag(SERIES, k=n(0)),
    "adjust_jpeg_quality": lambda n: tf.image.adjust_jpeg_quality(SERIES, n(90)),
    "dense": lambda n: tf.layers.dense(SERIES, n(4)),
    "layers_conv2d": lambda n: tf.layers.conv2d(IMAGES, n(4), n(3), n(1), dilation_rate=n(2)),
    "layers_conv2d_transpose": lambda n: tf.layers.conv2d_transpose(IMAGES, n(4), n(3), n(2)),
    "layers_separable_conv2d": lambda n: tf.layers.separable_conv2d(IMAGES, n(4), n(3)),
    "layers_max_pooling2d": lambda n: tf.layers.max_pooling2d(IMAGES, n(2), n(2)),
    "batch_normalization": lambda n: tf.layers.batch_normalization(IMAGES, axis=n(-1)),
    "lstm_cell": lambda n: tf.nn.dynamic_rnn(
        tf.nn.rnn_cell.LSTMCell(n(4), num_proj=n(2)), SERIES, dtype=tf.float32
    ),
    "zero_state": lambda n: tf.nn.rnn_cell.GRUCell(n(4)).zero_state(3, tf.float32),
    "variational_dropout": lambda n: tf.nn.rnn_cell.DropoutWrapper(
        tf.nn.rnn_cell.GRUCell(4), 0.5, variational_recurrent=True, input_size=n(3),
        dtype=tf.float32, seed=n(7),
    ),
    "one_hot": lambda n: tf.one_hot([1, 2], n(4), axis=n(0)),
    "split": lambda n: tf.split(IMAGES, n(2), n(1)),
    "unstack": lambda n: tf.unstack(IMAGES, axis=n(1)),
    "index": lambda n: tf.constant(IMAGES)[n(1), n(2) : n(4)],
    "random_uniform": lambda n: tf.random_uniform([2], seed=n(3)),
    "dataset": lambda n: tf.data.Dataset.range(9).shuffle(n(3), n(1)).batch(n(2)).repeat(n(2)),
}  # fmt: skip

# These make a constant of the number. As in TensorFlow, a np.int64 makes one of int64.
OF_INT32: dict[str, Build] = {
    "range": lambda n: tf.range(n(5)),
    "reduce_sum": lambda n: tf.reduce_sum(IMAGES, n(1)),
    "piecewise_constant": lambda n: tf.train.piecewise_constant(
        tf.constant(5), [n(3), n(8)], [1.0, 2.0, 3.0]
    ),
    "cosine_decay": lambda n: tf.train.cosine_decay(0.1, tf.constant(5), n(10)),
}


def graph_of(build: Build, number: Number) -> Any:
    with tf.Graph().as_default() as graph:
        result = build(number)
        if isinstance(result, tf.data.Dataset):
            tf.data.make_one_shot_iterator(result)
    return graph.as_graph_def()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_integer_builds_the_same_graph(name: str, dtype: Any) -> None:
    assert graph_of(FUNCTIONS[name], dtype) == graph_of(FUNCTIONS[name], int)


@pytest.mark.parametrize("name", OF_INT32)
def test_np_int32_builds_the_same_graph(name: str) -> None:
    assert graph_of(OF_INT32[name], np.int32) == graph_of(OF_INT32[name], int)


def test_saver_names_checkpoints_by_numpy_steps(tmp_path: Any) -> None:
    with tf.Graph().as_default():
        variable = tf.Variable([1.0])
        saver = tf.train.Saver([variable], max_to_keep=np.int64(2))
        with tf.Session() as session:
            session.run(variable.initializer)
            for step in (np.int32(3), np.int64(4), np.uint8(5)):
                assert saver.save(session, str(tmp_path / "m"), step) == str(tmp_path / f"m-{step}")
    assert saver.last_checkpoints == [str(tmp_path / "m-4"), str(tmp_path / "m-5")]


def test_hooks_take_numpy_steps(tmp_path: Any) -> None:
    with tf.Graph().as_default():
        step = tf.train.get_or_create_global_step()
        increment = tf.assign_add(step, 1)
        hooks = [
            tf.train.StopAtStepHook(last_step=np.int64(5)),
            tf.train.LoggingTensorHook([step], every_n_iter=np.int64(2)),
            tf.train.StepCounterHook(every_n_steps=np.int32(2)),
        ]
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=str(tmp_path), save_checkpoint_steps=np.int64(2), hooks=hooks,
            save_summaries_steps=np.int64(2), log_step_count_steps=np.int32(2),
        ) as session:  # fmt: skip
            steps = 0
            while not session.should_stop():
                session.run(increment)
                steps += 1
    assert steps == 5
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-5")


def test_run_config_takes_a_numpy_seed() -> None:
    assert tf.estimator.RunConfig(tf_random_seed=np.int64(3)).tf_random_seed == 3


def test_layer_takes_a_numpy_scalar_as_input() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        assert session.run(tf.layers.Dropout(0.5)(np.float32(3.0))) == 3.0


def test_as_tuple_repeats_a_numpy_integer() -> None:
    assert as_tuple(np.int64(3), 2, "strides") == (3, 3)
    with pytest.raises(ValueError, match=r"must be a tuple of 2 integers\. Received: 2\.5"):
        as_tuple(np.float32(2.5), 2, "strides")


def test_collections_of_numpy_numbers_are_exported() -> None:
    with tf.Graph().as_default():
        tf.add_to_collection("integers", np.int64(3))
        tf.add_to_collection("floats", np.float32(0.5))
        collections = tf.train.export_meta_graph().collection_def
    assert collections["integers"].int64_list.value == [3]
    assert collections["floats"].float_list.value == [0.5]


def test_tables_of_embeddings_may_be_arrays() -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    with tf.Graph().as_default(), tf.Session() as session:
        rows = session.run(tf.nn.embedding_lookup(table, np.int64(1)))
        np.testing.assert_array_equal(rows, [2, 3])
        rows = session.run(tf.nn.embedding_lookup([[1.0, 2.0], [3.0, 4.0]], [0, 2]))
        np.testing.assert_array_equal(rows, [1, 2])
        halves = session.run(tf.nn.embedding_lookup([table[:2], table[2:]], [1, 2], "div"))
    np.testing.assert_array_equal(halves, [[2, 3], [4, 5]])
