"""Tells users about public names of TensorFlow 1.15 that flowray lacks.

``client/api/tensorflow_names.txt`` lists the names of TensorFlow 1.15. The tables here say which
of them flowray leaves out on purpose, and what a program can use instead.
``docs/api_coverage.md`` is generated from both. An entry is also about the names below it: "lite"
is about ``tf.lite.Interpreter``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

NAMES_FILE = Path(__file__).resolve().parent.parent / "api" / "tensorflow_names.txt"
LIST = "docs/api_coverage.md"

ON_PURPOSE: Mapping[str, str] = {
    "CXX11_ABI_FLAG": "there is no C++ library to build against",
    "LMDBReader": "it would need the LMDB library",
    "MONOLITHIC_BUILD": "there is no C++ library to build against",
    "contrib.all_reduce": "gradients travel through Ray",
    "contrib.bigtable": "it is for a service of Google's cloud",
    "contrib.cloud": "it is for services of Google's cloud",
    "contrib.cluster_resolver": "Ray finds the machines of a cluster",
    "contrib.cudnn_rnn": "XLA compiles the cells of tf.nn.rnn_cell for GPUs",
    "contrib.hadoop": "it would need Hadoop",
    "contrib.ignite": "it would need Apache Ignite",
    "contrib.kafka": "it would need Apache Kafka",
    "contrib.kinesis": "it is for a service of Amazon's cloud",
    "contrib.mpi_collectives": "gradients travel through Ray",
    "contrib.remote_fused_graph": "it is for signal processors of phones",
    "contrib.tensorrt": "XLA compiles the graph",
    "contrib.tpu": "it drives the TPUs of Google's cloud",
    "estimator.tpu": "it drives the TPUs of Google's cloud",
    "lite": "flowray does not make models for phones",
    "load_file_system_library": "it loads C++ code that was built for TensorFlow",
    "load_library": "it loads C++ code that was built for TensorFlow",
    "load_op_library": "it loads C++ code that was built for TensorFlow",
    "sysconfig": "there is no C++ library to build against",
    "tpu": "it drives the TPUs of Google's cloud",
}
"""Names that flowray leaves out on purpose, with the reason."""

_DATA = "tf.data, for instance tf.data.TFRecordDataset, with shuffle() and batch()"
_NUMPY = "numpy's function through tf.py_func"
_OWN_MODEL = "tf.estimator.Estimator with a model_fn of your own"
_SERVER = '"flowray up", and tf.Session("grpc://host:port")'

INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(
        ["FIFOQueue", "FixedLengthRecordReader", "IdentityReader", "PaddingFIFOQueue",
         "PriorityQueue", "QueueBase", "RandomShuffleQueue", "ReaderBase", "TFRecordReader",
         "TextLineReader", "WholeFileReader", "contrib.input_pipeline", "queue",
         "train.batch", "train.batch_join", "train.input_producer", "train.limit_epochs",
         "train.maybe_batch", "train.maybe_shuffle_batch", "train.range_input_producer",
         "train.shuffle_batch", "train.shuffle_batch_join", "train.slice_input_producer",
         "train.string_input_producer"],
        _DATA,
    ),
    **dict.fromkeys(
        ["cholesky", "fft", "fft2d", "fft3d", "ifft", "ifft2d", "ifft3d", "matrix_determinant",
         "matrix_inverse", "matrix_solve", "qr", "self_adjoint_eig", "signal", "spectral", "svd",
         "linalg.cholesky", "linalg.det", "linalg.eigh", "linalg.inv", "linalg.qr", "linalg.solve",
         "linalg.svd", "contrib.signal"],
        _NUMPY,
    ),
    **dict.fromkeys(
        ["contrib.estimator", "contrib.learn", "estimator.BaselineClassifier",
         "estimator.DNNClassifier", "estimator.DNNRegressor", "estimator.LinearClassifier",
         "estimator.LinearRegressor", "estimator.DNNLinearCombinedClassifier"],
        _OWN_MODEL,
    ),
    "GradientTape": "tf.gradients",
    "add_check_numerics_ops": "tf.check_numerics",
    **dict.fromkeys(
        [f"contrib.rnn.{name}" for name in ("GRUBlockCell", "LSTMBlockCell", "LSTMBlockFusedCell")],
        "the cells of tf.nn.rnn_cell",
    ),
    "contrib.eager": "graphs: flowray has no eager execution",
    "contrib.keras": "tf.layers",
    "contrib.legacy_seq2seq": "tf.nn.dynamic_rnn",
    "contrib.lookup": "a dictionary of Python through tf.py_func",
    "contrib.losses": "tf.losses",
    "contrib.metrics": "tf.metrics",
    "contrib.opt": "the optimizers of tf.train",
    "contrib.seq2seq": "tf.nn.raw_rnn, or tf.while_loop over a cell of tf.nn.rnn_cell",
    "contrib.summary": "tf.summary",
    "contrib.tensorboard": "the tensorboard package",
    "contrib.training": "tf.train, and a dictionary in place of HParams",
    "custom_gradient": "tf.RegisterGradient with Graph.gradient_override_map",
    "debugging": "tf.Assert and tf.check_numerics",
    "distribute": "tf.train.replica_device_setter",
    "einsum": "tf.tensordot, tf.matmul and tf.transpose",
    "feature_column": "tf.one_hot and tf.nn.embedding_lookup",
    "get_session_handle": "variables, which stay on the workers",
    "hessians": "tf.gradients of tf.gradients",
    "keras": "tf.layers",
    "linalg.einsum": "tf.tensordot, tf.matmul and tf.transpose",
    "lookup": "a dictionary of Python through tf.py_func",
    "make_template": "tf.variable_scope with reuse=tf.AUTO_REUSE",
    "op_scope": "tf.name_scope",
    "profiler": "a trace: tf.RunOptions and tensorflow.python.client.timeline",
    "py_function": "tf.py_func",
    "saved_model": "tf.train.Saver and tf.train.export_meta_graph",
    "test.TestCase": "unittest.TestCase",
    "test.is_gpu_available": "Session.list_devices()",
    "test.main": "unittest.main",
    "train.ClusterSpec": _SERVER,
    "train.Server": _SERVER,
    "train.Supervisor": "tf.train.MonitoredTrainingSession",
    "train.SyncReplicasOptimizer": "one worker that averages the gradients of its towers",
    "verify_tensor_all_finite": "tf.check_numerics",
}  # fmt: skip
"""Replacements for names that are not there."""


@functools.cache
def tensorflow_names() -> frozenset[str]:
    """Returns the public names of TensorFlow 1.15: "nn.relu", and "nn" for the namespace."""
    return frozenset(
        name if namespace == "." else f"{namespace}.{name}"
        for namespace, names in read_lists(NAMES_FILE).items()
        for name in names
    )


def read_lists(path: Path) -> dict[str, list[str]]:
    """Reads a file of lists: ``key:`` on a line of its own, then indented lines of words."""
    lists: dict[str, list[str]] = {}
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        if line.startswith(" "):
            words.extend(line.split())
        else:
            words = lists[line.removesuffix(":")] = []
    return lists


def explain(name: str) -> str:
    """Returns what to tell a user who asked for a name that flowray lacks.

    Args:
        name: the public name, without ``tf``: "contrib.seq2seq".
    """
    known = tensorflow_names()
    whole_namespaces = ("keras", "raw_ops")  # the list has no names of these
    if name not in known and name.partition(".")[0] not in whole_namespaces:
        return f"flowray has no tf.{name}, nor has TensorFlow 1.15"
    reason = about(ON_PURPOSE, name)
    text = f"flowray does not have tf.{name}" + (f": {reason}" if reason else " yet")
    replacement = about(INSTEAD, name)
    use = f" Use {replacement}." if replacement else ""
    return f"{text}.{use} {LIST} lists what flowray has of TensorFlow 1.15."


def about(table: Mapping[str, str], name: str) -> str | None:
    """Returns the entry of ``table`` for a name, or for the closest namespace around it."""
    while name:
        if name in table:
            return table[name]
        name = name.rpartition(".")[0]
    return None
