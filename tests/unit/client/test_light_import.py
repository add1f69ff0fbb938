"""The client stays light: numpy, protobuf, grpcio; ml_dtypes and absl when they are asked for."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def _run(code: str, environment: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )
    return result.stdout.strip()


def test_importing_flowray_loads_neither_jax_nor_ray() -> None:
    heavy = ("absl", "jax", "ray", "tensorflow", "tensorboard", "scipy", "matplotlib", "click")
    code = f"import flowray, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert _run(code) == "[]"


def test_importing_flowray_takes_little_longer_than_importing_what_it_stands_on(
    tmp_path: Path,
) -> None:
    code = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"
    # As installed: with the bytecode that Python keeps, and may be told here not to write.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    base, whole = code.format("numpy, grpc, google.protobuf"), code.format("flowray")
    _run(whole, environment)
    # CPU time, both in turn: the machine's speed and its other work are not what this is about.
    times = [(float(_run(base, environment)), float(_run(whole, environment))) for _ in range(5)]
    bases, wholes = zip(*times, strict=True)
    # Measured: 0.13 s and 0.22 s. The extension of ml_dtypes alone would take 0.5 s more.
    assert statistics.median(wholes) < 2.5 * statistics.median(bases)


def test_a_graph_of_float32_and_a_session_do_not_load_ml_dtypes() -> None:
    code = (
        "import flowray as tf, sys\n"
        "x = tf.placeholder(tf.float32, [None, 3])\n"
        "w = tf.get_variable('w', [3, 2])\n"
        "tf.train.AdamOptimizer().minimize(tf.reduce_mean(tf.matmul(x, w)))\n"
        "assert tf.bfloat16 != tf.float32 and tf.as_dtype('bfloat16') is tf.bfloat16\n"
        "with tf.Session() as s: pass\n"
        "print('ml_dtypes' in sys.modules)\n"
        "print(tf.bfloat16.as_numpy_dtype is sys.modules['ml_dtypes'].bfloat16)\n"
    )
    assert _run(code).split() == ["False", "True"]


@pytest.mark.parametrize(
    "touch",
    [
        "assert tf.bfloat16.size == 2",
        "assert tf.bfloat16._as_ref.np_dtype.name == 'bfloat16'",
        "assert tf.DType(14) == tf.bfloat16",
        "import ml_dtypes; assert tf.as_dtype(ml_dtypes.bfloat16) is tf.bfloat16",
        "import ml_dtypes; assert tf.as_dtype(np.zeros(2, ml_dtypes.bfloat16)) is tf.bfloat16",
        "import ml_dtypes; assert tf.bfloat16 == np.dtype(ml_dtypes.bfloat16)",
        "import ml_dtypes; assert tf.constant(ml_dtypes.bfloat16(2)).dtype == tf.bfloat16",
        "import pickle; assert pickle.loads(pickle.dumps(tf.bfloat16)) is tf.bfloat16",
        "p = tf.make_tensor_proto([1.0, 2.0], tf.bfloat16); assert tf.make_ndarray(p)[1] == 2",
        "x = tf.cast(tf.constant([1.5]), tf.bfloat16); assert constant_value(x)[0] == 1.5",
        "import ml_dtypes; p = tensors.encode(np.ones(2, ml_dtypes.bfloat16))\n"
        "assert p.dtype == 14 and tensors.decode(p).dtype == ml_dtypes.bfloat16",
        "p = TensorProto(dtype=14, tensor_content=b'\\x80?'); assert tensors.decode(p) == 1",
        "p = TensorProto(dtype=14, half_val=[0x3F80]); assert tensors.decode(p) == 1",
    ],
)
def test_bfloat16_works_whichever_way_it_is_touched_first(touch: str) -> None:
    code = (
        "import sys\n"
        "import numpy as np\n"
        "import flowray as tf\n"
        "from flowray.client.framework.constant_value import constant_value\n"
        "from flowray.proto.messages.tensor_pb2 import TensorProto\n"
        "from flowray.proto.types import tensors\n"
        "assert 'ml_dtypes' not in sys.modules\n"
        f"{touch}\n"
        "print('done')\n"
    )
    assert _run(code) == "done"


def test_a_session_without_a_target_needs_no_ray() -> None:
    code = (
        "import flowray as tf, sys\n"
        "x = tf.placeholder(tf.float32)\n"
        "with tf.Session() as s: print(s.run(x + 1.0, {x: 2.0}))\n"
        "print('ray' in sys.modules, 'jax' in sys.modules)\n"
    )
    assert _run(code).split() == ["3.0", "False", "False"]
