"""Event files: TensorBoard's own reader finds in them what was written."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.proto import errors
from flowray.proto.messages import event_pb2, graph_pb2, meta_graph_pb2

# TensorBoard's own switch: it is not to load TensorFlow, which takes seconds, where there is one.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
event_file_loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")


def accumulated(directory: Path) -> Any:
    everything = dict.fromkeys(("scalars", "histograms", "images", "audio", "tensors"), 0)
    return event_accumulator.EventAccumulator(str(directory), everything).Reload()


def events(directory: Path) -> list[event_pb2.Event]:
    """Returns all events of the directory's files, in their order."""
    result = []
    for path in sorted(directory.iterdir()):
        for record in event_file_loader.RawEventFileLoader(str(path)).Load():
            result.append(event_pb2.Event.FromString(record))
    return result


def test_tensorboard_reads_the_summaries_of_a_run(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, [None])
        with tf.name_scope("train"):
            tf.summary.scalar("total", tf.reduce_sum(x))
            tf.summary.histogram("x", x)
        tf.summary.image("pixels", tf.reshape(x, [1, 1, -1, 1]), max_outputs=1)
        tf.summary.audio("sound", tf.reshape(x, [1, -1]), 8000, max_outputs=1)
        tf.summary.text("note", tf.constant("hello"))
        merged = tf.summary.merge_all()
        with tf.summary.FileWriter(str(tmp_path), graph) as writer:
            for step in range(3):
                writer.add_summary(session.run(merged, {x: [0.25, step]}), step)
    found = accumulated(tmp_path)
    assert [(e.step, e.value) for e in found.Scalars("train/total")] == [
        (0, 0.25), (1, 1.25), (2, 2.25),
    ]  # fmt: skip
    histograms = [e.histogram_value for e in found.Histograms("train/x")]
    assert [(h.min, h.max, h.num, h.sum) for h in histograms] == [
        (0, 0.25, 2, 0.25), (0.25, 1, 2, 1.25), (0.25, 2, 2, 2.25),
    ]  # fmt: skip
    assert [(e.width, e.height) for e in found.Images("pixels/image")] == [(2, 1)] * 3
    assert [e.sample_rate for e in found.Audio("sound/audio")] == [8000] * 3
    notes = found.Tensors("note")
    assert [e.tensor_proto.string_val[0] for e in notes] == [b"hello"] * 3
    assert found.SummaryMetadata("note").plugin_data.plugin_name == "text"
    shown = graph_pb2.GraphDef.FromString(found.Graph().SerializeToString())
    assert {n.name for n in shown.node} == {op.name for op in graph.get_operations()}


def test_metadata_is_written_once(tmp_path: Path) -> None:
    value = tf.Summary.Value(tag="t", simple_value=1)
    value.metadata.summary_description = "says what it is"
    summary = tf.Summary(value=[value])
    with tf.summary.FileWriter(str(tmp_path)) as writer:
        writer.add_summary(summary, 0)
        writer.add_summary(summary.SerializeToString(), 1)
    assert summary.value[0].HasField("metadata")
    values = [e.summary.value[0] for e in events(tmp_path) if e.HasField("summary")]
    assert [v.metadata.summary_description for v in values] == ["says what it is", ""]


def test_the_other_events(tmp_path: Path) -> None:
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.graph_def.node.add(name="n", op="NoOp")
    metadata = tf.RunMetadata()
    metadata.partition_graphs.add().node.add(name="p", op="NoOp")
    with tf.summary.FileWriter(str(tmp_path)) as writer:
        writer.add_meta_graph(meta_graph, 5)
        writer.add_run_metadata(metadata, "first", 6)
        writer.add_session_log(tf.summary.SessionLog(status=tf.summary.SessionLog.START), 7)
        with pytest.raises(ValueError, match="already used"):
            writer.add_run_metadata(metadata, "first", 7)
        with pytest.raises(TypeError, match="must be type MetaGraphDef"):
            writer.add_meta_graph(meta_graph.graph_def)
    first, *written = events(tmp_path)
    assert first.file_version == "brain.Event:2"
    assert [e.step for e in written] == [5, 6, 7]
    assert meta_graph_pb2.MetaGraphDef.FromString(written[0].meta_graph_def) == meta_graph
    assert tf.RunMetadata.FromString(written[1].tagged_run_metadata.run_metadata) == metadata
    assert written[2].session_log.status == tf.summary.SessionLog.START


def test_a_closed_writer_drops_events_until_it_is_reopened(tmp_path: Path) -> None:
    writer = tf.summary.FileWriter(str(tmp_path))
    writer.close()
    with pytest.warns(UserWarning, match="closed FileWriter"):
        writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag="lost", simple_value=1)]))
    writer.reopen()
    writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag="kept", simple_value=1)]))
    writer.close()
    assert accumulated(tmp_path).Tags()["scalars"] == ["kept"]


def test_writers_are_shared_by_directory(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        tf.constant(1.0, name="c")
        writer = tf.summary.FileWriterCache.get(str(tmp_path))
        assert tf.summary.FileWriterCache.get(str(tmp_path)) is writer
    tf.summary.FileWriterCache.clear()
    assert [n.name for n in accumulated(tmp_path).Graph().node] == ["c"]
    assert tf.summary.FileWriterCache.get(str(tmp_path)) is not writer
    tf.summary.FileWriterCache.clear()


def test_a_session_writes_events_on_its_worker(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "there"
    with tf.Graph().as_default() as graph, tf.Session() as session:
        writer = tf.summary.FileWriter(
            str(directory), graph, filename_suffix=".mine", session=session, flush_secs=1000
        )
        assert [op.name for op in graph.get_operations() if op.type == "ImportEvent"] == [
            "filewriter/ImportEvent"
        ]
        # Another writer of the directory shares the file.
        other = tf.summary.FileWriter(str(directory), session=session, max_queue=0)
        for step in range(2):
            value = tf.Summary.Value(tag="t", simple_value=step)
            writer.add_summary(tf.Summary(value=[value]), step)
        (path,) = directory.iterdir()
        assert path.name.endswith(".mine")
        assert not any(e.HasField("summary") for e in events(directory)), "they wait in the queue"
        other.flush()
        found = accumulated(directory)
        assert [(e.step, e.value) for e in found.Scalars("t")] == [(0, 0), (1, 1)]
        assert found.Graph().node
        writer.close()
        with pytest.raises(errors.FailedPreconditionError, match="is not open"):
            other.add_summary(tf.Summary())
        writer.reopen()
        writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag="more", simple_value=3)]))
        writer.close()
    assert len(list(directory.iterdir())) == 2
    assert "more" in accumulated(directory).Tags()["scalars"]


def test_a_session_writes_queued_events_when_there_are_many(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        writer = tf.summary.FileWriter(str(tmp_path), session=session, max_queue=2)
        for step in range(4):
            writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag="t")]), step)
        assert [e.step for e in events(tmp_path) if e.HasField("summary")] == [0, 1, 2]


def test_a_worker_refuses_bytes_that_are_not_an_event(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.summary.FileWriter(str(tmp_path), session=session)
        event = graph.get_tensor_by_name("filewriter/PlaceholderWithDefault:0")
        with pytest.raises(errors.InvalidArgumentError, match="binary proto tensor string"):
            session.run("filewriter/ImportEvent", {event: b"\xff"})
    (tmp_path / "file").touch()
    with (
        tf.Graph().as_default(),
        tf.Session() as session,
        pytest.raises(errors.OpError, match="Not a directory"),
    ):
        tf.summary.FileWriter(str(tmp_path / "file" / "x"), session=session)


def test_the_end_of_a_worker_writes_what_waits(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        writer = tf.summary.FileWriter(str(tmp_path), session=session)
        writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag="t")]), 7)
    del writer, session
    gc.collect()
    assert [e.step for e in events(tmp_path) if e.HasField("summary")] == [7]


def test_get_summary_description() -> None:
    node = graph_pb2.NodeDef(op="TensorSummary")
    node.attr["description"].s = b'{"type_hint": "loss"}'
    assert tf.summary.get_summary_description(node).type_hint == "loss"
    with pytest.raises(ValueError, match="Can't get_summary_description on NoOp"):
        tf.summary.get_summary_description(graph_pb2.NodeDef(op="NoOp"))


def test_only_strings_are_text() -> None:
    with tf.Graph().as_default(), pytest.raises(ValueError, match="to have dtype string"):
        tf.summary.text("t", tf.constant(np.float32(1)))
