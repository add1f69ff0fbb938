"""Summaries on a cluster: made there, and written there if the writer is told to."""

from __future__ import annotations

from pathlib import Path

import flowray as tf
from flowray.proto.files.records import RecordReader
from tests.integration.cluster import Cluster


def test_a_worker_makes_and_writes_summaries(cluster: Cluster, tmp_path: Path) -> None:
    with tf.Graph().as_default():
        with tf.device("/job:worker/task:1"):
            x = tf.placeholder(tf.float32, [None])
            tf.summary.scalar("total", tf.reduce_sum(x))
            tf.summary.histogram("x", x)
        merged = tf.summary.merge_all()
        with tf.Session(cluster.target) as session:
            writer = tf.summary.FileWriter(str(tmp_path), session=session)
            for step in range(3):
                writer.add_summary(session.run(merged, {x: [1.0, step]}), step)
            writer.close()
    (path,) = tmp_path.iterdir()
    reader = RecordReader(str(path))
    written = [tf.Event.FromString(record) for record in iter(reader.read, None)]
    totals = [(e.step, e.summary.value[0].simple_value) for e in written[1:]]
    assert totals == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert [e.summary.value[1].histo.num for e in written[1:]] == [2, 2, 2]
