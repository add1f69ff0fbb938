"""Savers on a cluster: each task writes the variables that it holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray
from tests.integration.cluster import Cluster

PS, WORKER = "/job:ps/task:0", "/job:worker/task:1"


@pytest.fixture(params=["flowray", "tensorflow"])
def tf(request: pytest.FixtureRequest) -> Any:
    """The client's API: flowray's own, or a real TensorFlow."""
    if request.param == "flowray":
        return flowray
    return pytest.importorskip("tensorflow").compat.v1


def model(tf: Any) -> tuple[Any, Any]:
    with tf.device(PS):
        a = tf.Variable([1.0, 2.0], name="a", use_resource=False)
    with tf.device(WORKER):
        b = tf.Variable([[3], [4]], name="b", use_resource=True)
    return a, b


@pytest.mark.parametrize("sharded", [False, True])
def test_save_and_restore(cluster: Cluster, tf: Any, tmp_path: Path, sharded: bool) -> None:
    flowray.Session.reset(cluster.target)
    with tf.Graph().as_default():
        a, b = model(tf)
        saver = tf.train.Saver(sharded=sharded)
        with tf.Session(cluster.target) as sess:
            sess.run(tf.global_variables_initializer())
            prefix = saver.save(sess, str(tmp_path / "model"), global_step=1)
            data = sorted(n for n in os.listdir(tmp_path) if ".data" in n)
            count = 2 if sharded else 1
            assert data == [f"model-1.data-{i:05d}-of-{count:05d}" for i in range(count)]
            a.load([0.0, 0.0], sess)
        flowray.Session.reset(cluster.target)
        with tf.Session(cluster.target) as sess:
            saver.restore(sess, tf.train.latest_checkpoint(str(tmp_path)))
            values = sess.run([a, b])
        np.testing.assert_array_equal(values[0], [1, 2])
        np.testing.assert_array_equal(values[1], [[3], [4]])
        reader = flowray.train.load_checkpoint(prefix)
        np.testing.assert_array_equal(reader.get_tensor("b"), [[3], [4]])


def test_errors_come_through(cluster: Cluster, tf: Any, tmp_path: Path) -> None:
    with flowray.Graph().as_default(), flowray.Session() as sess:
        flowray.Variable(1.0, name="other")
        sess.run(flowray.global_variables_initializer())
        prefix = flowray.train.Saver().save(sess, str(tmp_path / "model"))
    with tf.Graph().as_default(), tf.Session(cluster.target) as sess:
        model(tf)
        saver = tf.train.Saver()
        with pytest.raises(tf.errors.NotFoundError, match="Key a not found in checkpoint"):
            saver.restore(sess, prefix)
        sess.run(tf.global_variables_initializer())
        with pytest.raises(ValueError, match=r"Parent directory of .* doesn't exist, can't save"):
            saver.save(sess, str(tmp_path / "no/such/model"))
