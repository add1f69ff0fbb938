"""The modules of TensorFlow that scripts import beside ``tensorflow``."""

from __future__ import annotations

import importlib

import pytest

from flowray.client.api import generate
from flowray.client.platform import tensorflow_modules
from flowray.client.platform.tensorflow_modules import INTERNAL, WHOLE, find, public_names
from tests.unit.client.test_tensorflow_alias import check


def test_what_scripts_import() -> None:
    check("""
import tensorflow as tf
from tensorflow.python.framework import ops, dtypes, constant_op, tensor_shape, errors, errors_impl
from tensorflow.python.ops import array_ops, control_flow_ops, embedding_ops, init_ops, math_ops
from tensorflow.python.ops import nn, nn_ops, random_ops, rnn, rnn_cell, rnn_cell_impl, state_ops
from tensorflow.python.ops import tensor_array_ops, variable_scope as vs
from tensorflow.python.ops.losses import losses
from tensorflow.python.client import session
from tensorflow.python.client.timeline import Timeline
from tensorflow.python.platform import app, flags, gfile, tf_logging as logging
from tensorflow.python.training import adam, moving_averages, optimizer, saver, training_util
from tensorflow.python.training.session_run_hook import SessionRunHook
from tensorflow.python.util import compat, deprecation, nest
from tensorflow.python.estimator.estimator import Estimator
from tensorflow.python.data.ops import dataset_ops
import tensorflow.python.ops.gen_math_ops
assert ops.get_default_graph() is tf.get_default_graph() and ops.Tensor is tf.Tensor
assert ops.convert_to_tensor is tf.convert_to_tensor and ops.name_scope is tf.name_scope
assert ops.RegisterGradient is tf.RegisterGradient and ops.GraphKeys is tf.GraphKeys
assert dtypes.as_dtype("int32") is dtypes.int32 is tf.int32
assert math_ops.cast is tf.cast and math_ops.reduce_sum is tf.reduce_sum
assert math_ops.tanh is nn.tanh is tf.tanh and nn.softmax is nn_ops.softmax is tf.nn.softmax
assert array_ops.shape is tf.shape and array_ops.concat is tf.concat
assert init_ops.Zeros is init_ops.zeros_initializer is tf.zeros_initializer
assert rnn_cell.LSTMCell is rnn_cell_impl.LSTMCell is tf.nn.rnn_cell.LSTMCell
assert rnn.dynamic_rnn is tf.nn.dynamic_rnn and vs.get_variable is tf.get_variable
assert embedding_ops.embedding_lookup is tf.nn.embedding_lookup
assert session.Session is tf.Session and errors.OutOfRangeError is tf.errors.OutOfRangeError
assert losses.hinge_loss is tf.losses.hinge_loss and state_ops.assign is tf.assign
assert adam.AdamOptimizer is tf.train.AdamOptimizer and optimizer.Optimizer is tf.train.Optimizer
assert gfile is tf.gfile and flags is tf.flags and logging is tf.logging and app.run is tf.app.run
assert Estimator is tf.estimator.Estimator and dataset_ops.Dataset is tf.data.Dataset
assert SessionRunHook is tf.train.SessionRunHook and saver.Saver is tf.train.Saver
assert tensor_shape.TensorShape is tf.TensorShape and tensor_shape.unknown_shape().ndims is None
assert nest.flatten([1, (2, [3])]) == [1, 2, 3] and nest.is_sequence([1])
assert tensorflow.python.ops.gen_math_ops.sin is tf.sin
deprecation._PRINT_DEPRECATION_WARNINGS = False
ops.reset_default_graph()
array = tensor_array_ops.TensorArray(tf.float32, 3)
_, array = control_flow_ops.while_loop(
    lambda i, t: i < 3, lambda i, t: (i + 1, t.write(i, 1.0)), [0, array])
assert tf.Session().run(tf.reduce_sum(array.stack())) == 3.0
""")


def test_protocol_buffers() -> None:
    check("""
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import graph_pb2, summary_pb2, types_pb2
from tensorflow.core.protobuf import config_pb2, saver_pb2
assert graph_pb2.GraphDef is tf.GraphDef and config_pb2.ConfigProto is tf.ConfigProto
assert summary_pb2.Summary is tf.Summary and example_pb2.Example is tf.train.Example
assert saver_pb2.SaverDef is tf.train.SaverDef
assert types_pb2.DT_FLOAT == tf.float32.as_datatype_enum == types_pb2.DataType.Value("DT_FLOAT")
assert config_pb2.RunOptions.FULL_TRACE == tf.RunOptions.FULL_TRACE
""")


def test_modules_of_contrib() -> None:
    check("""
import tensorflow as tf
import tensorflow.contrib.slim as slim
from tensorflow.contrib.framework.python.ops import add_arg_scope
from tensorflow.contrib.layers.python.layers import initializers
from tensorflow.contrib.rnn import BasicLSTMCell, static_rnn
assert slim is tf.contrib.slim and add_arg_scope is slim.add_arg_scope
assert initializers.xavier_initializer is tf.contrib.layers.xavier_initializer
assert BasicLSTMCell is tf.nn.rnn_cell.BasicLSTMCell and static_rnn is tf.nn.static_rnn
""")


def test_nothing_is_made_before_it_is_imported() -> None:
    check("""
import sys
import tensorflow as tf
assert not [m for m in sys.modules if m.startswith("tensorflow.")]
assert "flowray.client.data.mnist_input_data" not in sys.modules
from tensorflow.examples.tutorials.mnist import input_data
assert input_data.read_data_sets("unused", fake_data=True).train.num_examples == 10000
""")


def test_what_there_is_not() -> None:
    check("""
def problem(statement):
    try:
        exec(statement)
    except ImportError as error:
        return str(error)
    raise AssertionError(statement)

for statement, text in [
    ("from tensorflow.python.ops.rnn_cell import _linear",
     "flowray has no tensorflow.python.ops.rnn_cell._linear: of TensorFlow's own modules it has "),
    ("from tensorflow.python.framework.graph_util import convert_variables_to_constants",
     "flowray does not have tf.graph_util.convert_variables_to_constants yet"),
    ("from tensorflow.python import debug", "flowray has no tensorflow.python.debug: of "),
    ("import tensorflow.python.keras.layers", "flowray has no tensorflow.python.keras: of Tens"),
    ("from tensorflow.contrib import seq2seq", "flowray does not have tf.contrib.seq2seq yet. Use"),
    ("from tensorflow.contrib.learn import ModeKeys",
     "flowray does not have tf.contrib.learn.ModeKeys yet. Use tf.estimator.Estimator"),
    ("from tensorflow.contrib.slim.python.slim import learning",
     "flowray has no tensorflow.contrib.slim.python: of TensorFlow's own modules it has "),
    ("from tensorflow import fft, abs", "flowray does not have tf.fft yet. Use numpy's function"),
    ("import tensorflow.abs", "flowray has no module tensorflow.abs (tf.abs is not a module)"),
    ("from tensorflow.nn import rnn", "flowray has no tf.nn.rnn, nor has TensorFlow 1.15"),
]:
    assert text in problem(statement), problem(statement)
    assert "flowray.client" not in problem(statement)
from tensorflow.python.ops import data_flow_ops
try:
    data_flow_ops.FIFOQueue
except AttributeError as error:
    assert "flowray does not have tf.FIFOQueue yet. Use tf.data" in str(error)
else:
    raise AssertionError
""")


def test_the_devices_of_this_process() -> None:
    check("""
from tensorflow.python.client import device_lib
devices = device_lib.list_local_devices()
assert "CPU" in [device.device_type for device in devices]
assert devices[0].name == "/job:localhost/replica:0/task:0/device:CPU:0", devices[0].name
""")


@pytest.mark.parametrize("module", sorted({*INTERNAL, *WHOLE}))
def test_the_names_of_our_own_tables(module: str) -> None:
    found = find(module)
    assert found is not None
    for name in INTERNAL.get(module, {}):
        assert getattr(found, name) is not None, name


def test_each_public_name_is_in_the_modules_that_have_it() -> None:
    declared = generate.declarations()
    found = 0
    for module, names in public_names().items():
        for name, public_name in names.items():
            if public_name in declared and module not in WHOLE and "_pb2" not in module:
                definition = declared[public_name]
                there = getattr(importlib.import_module(definition.module), definition.name)
                assert getattr(find(module), name) is there, (module, name)
                found += 1
    assert found > 1500


def test_a_name_that_flowray_gets_later_needs_no_entry() -> None:
    assert public_names()["python.ops.linalg_ops"]["svd"] == "svd"
    explained = tensorflow_modules.explain("python.ops.linalg_ops.svd")
    assert explained is not None
    assert explained.startswith("flowray does not have tf.svd yet. Use numpy")
