"""Summaries hold TensorFlow's values, under TensorFlow's tags; ``tf.print`` prints its text."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import flowray
from flowray.proto.messages import event_pb2

tf = pytest.importorskip("tensorflow").compat.v1
RNG = np.random.default_rng(1)

Build = Callable[[Any], Any]
"""Builds a graph with flowray or TensorFlow, whichever it is given, and gives what to fetch."""


def on_both(build: Build) -> tuple[Any, Any]:
    """Runs the graph of ``build`` on flowray and on TensorFlow."""
    results = []
    for api in (flowray, tf):
        with api.Graph().as_default(), api.Session() as session:
            results.append(session.run(build(api)))
    return results[0], results[1]


def on_both_nodes(build: Build) -> tuple[Any, Any]:
    """Name, op and inputs of the nodes that flowray and TensorFlow make."""
    results = []
    for api in (flowray, tf):
        with api.Graph().as_default() as graph:
            build(api)
            results.append([(n.name, n.op, list(n.input)) for n in graph.as_graph_def().node])
    return results[0], results[1]


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


SOUND = normal(2, 30, 2)
WEIGHTS = normal(50, 40) * 10.0 ** RNG.integers(-10, 10, (50, 40))


def build_all(api: Any) -> Any:
    """Each kind of summary but images, in scopes, with families and collections."""
    x = api.constant(1.5)
    api.summary.scalar("loss", x)
    api.summary.scalar("loss", x)
    api.summary.scalar("bad name!", x)
    api.summary.scalar("/absolute", x)
    with api.name_scope("scope"):
        api.summary.scalar("loss", x)
        api.summary.scalar("part", x, family="family")
        api.summary.scalar("part", x, family="family")
        api.summary.histogram("weights", api.constant(WEIGHTS))
    api.summary.audio("sound", api.constant(SOUND), 8000.0)
    api.summary.audio("one", api.constant(SOUND), 8000.0, max_outputs=1)
    api.summary.text("text", api.constant(["a", "b"]))
    api.summary.tensor_summary("t", api.constant([1, 2]), summary_description="says what it is",
                               display_name="shown", family="f")  # fmt: skip
    api.summary.scalar("mine", x, collections=["mine"])
    api.summary.scalar("nobody's", x, collections=[])
    merged = api.summary.merge([api.summary.scalar("inner", x)], collections=["merged"])
    return [
        merged,
        api.summary.merge_all(),
        api.summary.merge_all("mine", name="of_mine"),
        api.summary.merge_all(scope="scope"),
    ]


def test_the_same_bytes() -> None:
    ours, theirs = on_both(build_all)
    assert ours == theirs


def test_the_same_nodes() -> None:
    ours, theirs = on_both_nodes(build_all)
    assert ours == theirs


def test_the_same_collections() -> None:
    found = []
    for api in (flowray, tf):
        with api.Graph().as_default() as graph:
            build_all(api)
            assert api.summary.merge_all("nothing") is None
            found.append(
                [[t.name for t in graph.get_collection(k)] for k in ("summaries", "mine", "merged")]
            )
    assert found[0] == found[1]


BRIGHT = np.abs(normal(4, 6, 7, 3)) * 50
HOLES = normal(1, 5, 5, 4)
HOLES[0, 1, 2, 3], HOLES[0, 3, 3, 0], HOLES[0, 0, 0] = np.nan, np.inf, -np.inf


@pytest.mark.parametrize(
    "images",
    [
        RNG.integers(0, 256, (2, 9, 8, 3)).astype(np.uint8),
        normal(2, 9, 8, 1),
        BRIGHT,
        BRIGHT.astype(np.float64),
        BRIGHT.astype(np.float16),
        normal(2, 9, 8, 3).astype(np.float16),
        normal(2, 9, 8, 3).astype(np.float64),
        HOLES,
        np.full((1, 2, 2, 1), np.nan, np.float32),
        np.full((1, 2, 2, 1), 1e-7, np.float32),
        np.full((1, 2, 2, 1), -1e-7, np.float32),
        np.full((1, 2, 2, 3), 3e38, np.float32),
    ],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)
@pytest.mark.parametrize("max_outputs", [1, 3])
def test_the_same_images(images: np.ndarray, max_outputs: int) -> None:
    ours, theirs = on_both(
        lambda api: api.summary.image("i", api.constant(images), max_outputs=max_outputs)
    )
    ours, theirs = (event_pb2.Summary.FromString(s) for s in (ours, theirs))
    assert len(ours.value) == len(theirs.value) == min(max_outputs, len(images))
    for a, b in zip(ours.value, theirs.value, strict=True):
        assert a.tag == b.tag
        for field in ("height", "width", "colorspace"):
            assert getattr(a.image, field) == getattr(b.image, field)
        np.testing.assert_array_equal(pixels(a), pixels(b))


def pixels(value: event_pb2.Summary.Value) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(value.image.encoded_image_string)))


@pytest.mark.parametrize("summarize", [None, 1, -1])
def test_the_same_print(summarize: int | None, capfd: pytest.CaptureFixture[str]) -> None:
    values = normal(7, 2)

    def build(api: Any) -> Any:
        x = api.constant(values)
        return [
            api.print("x:", x, {"b": (x[0], "q"), "a": [None, 1.5]}, sep=" | ", end="!\n",
                      summarize=summarize),
        ]  # fmt: skip

    shown = []
    for api in (flowray, tf):
        with api.Graph().as_default(), api.Session() as session:
            op = build(api)
            capfd.readouterr()
            session.run(op)
            shown.append(capfd.readouterr().err)
    assert "x: | [[" in shown[0]
    assert shown[0] == shown[1]
    ours, theirs = on_both_nodes(build)
    assert ours == theirs


@pytest.mark.parametrize("summarize", [None, 1, -1])
def test_the_same_v1_print(summarize: int | None, capfd: pytest.CaptureFixture[str]) -> None:
    values = normal(7, 2)
    shown = []
    for api in (flowray, tf):
        with api.Graph().as_default(), api.Session() as session:
            x = api.constant(values)
            y = api.Print(x, [x, api.constant("text"), x[0] > 0], "m ", summarize=summarize)
            capfd.readouterr()
            session.run(y)
            shown.append(capfd.readouterr().err)
    assert shown[0].startswith("m [")
    assert shown[0] == shown[1]
