"""TensorBoard shows of a run of the dogs-and-cats example what the run wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowray as tf
from flowray.proto.files.records import RecordReader
from flowray.proto.messages import graph_pb2
from tests.browser.pages import Browser, TimeSeries

pytestmark = pytest.mark.timeout(1200)

TRAINING, EVALUATION = ".", "eval"
LEARNED = ("accuracy", "loss")
RATE = "global_step/sec"


def events(directory: Path) -> list[tf.Event]:
    found = []
    for path in sorted(directory.glob("events.*")):
        reader = RecordReader(str(path))
        found += [tf.Event.FromString(record) for record in iter(reader.read, None)]
    return found


def scalars(directory: Path, tag: str) -> list[tuple[int, float]]:
    """The steps and values of a tag, as they were written."""
    return [
        (event.step, value.simple_value)
        for event in events(directory)
        for value in event.summary.value
        if value.tag == tag
    ]


def test_scalars(model_dir: Path, tensorboard: str, browser: Browser, screenshots: Path) -> None:
    page = TimeSeries(browser, tensorboard, [*LEARNED, RATE])
    assert sorted(page.titles()) == sorted([*LEARNED, RATE])
    for tag in (*LEARNED, RATE):
        expected = {TRAINING: scalars(model_dir, tag)}
        if tag in LEARNED:
            expected[EVALUATION] = scalars(model_dir / "eval", tag)
        runs = set(expected)
        rows = browser.until(
            lambda tag=tag, runs=runs: set(found := page.rows(tag)) == runs and found,
            f"the table of {tag}",
        )
        for run, written in expected.items():
            step, value = written[-1]
            assert rows[run].step == step
            assert rows[run].value == pytest.approx(value, abs=1e-4)
        assert len(expected[TRAINING]) >= 8
        # The line goes over most of the chart, not just one of its points.
        browser.until(lambda tag=tag: page.drawn(tag)[TRAINING] > 150, f"the line of {tag}")
    browser.screenshot(screenshots / "tensorboard.png")
    assert browser.complaints() == []


def test_graph(model_dir: Path, tensorboard: str, browser: Browser, screenshots: Path) -> None:
    # The last one counts: when the writer is made, the graph is not complete.
    *_, serialized = (event.graph_def for event in events(model_dir) if event.graph_def)
    nodes = graph_pb2.GraphDef.FromString(serialized).node
    scopes = {node.name.split("/")[0] for node in nodes if "/" in node.name}
    layers = {"conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1"}
    assert layers < scopes
    browser.open(f"{tensorboard}#graphs", width=1500, height=950)
    shown = browser.until(browser.graph_nodes, "nodes")
    assert shown >= {*layers, "gradients", "global_step", "GradientDescent", "save"}
    # Nothing is there that the graph does not have, apart from boxes for repeated parts.
    names = {node.name for node in nodes} | scopes
    assert {name for name in shown if "__" not in name} <= names
    browser.screenshot(screenshots / "tensorboard_graph.png")
    assert browser.complaints() == []
