"""Functions whose bodies are changed before they run: what changes, what stays, and the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.function import trace
from flowray.proto.graph import functions
from flowray.worker.program.rewrites import scale_after_resizing

IMAGE = np.random.RandomState(0).randint(0, 256, (31, 20, 3), np.uint8)


def body_of(function: Callable[[Any], Any]) -> functions.FunctionBody:
    traced = trace(function, [(tf.uint8, [None, None, 3])], "f")
    return functions.body_of(traced.definition, {}, {})


def ops(body: functions.FunctionBody) -> list[str]:
    return [node.op for node in body.graph.node if node.op != "Const"]


def converted(image: Any) -> Any:
    return tf.image.convert_image_dtype(image, tf.float32)


def test_bytes_are_resized_and_then_scaled() -> None:
    with tf.Graph().as_default():
        body = scale_after_resizing(
            body_of(lambda image: tf.image.resize_images(converted(image), [8, 9]))
        )
    assert ops(body) == ["ExpandDims", "ResizeBilinear", "Mul", "Squeeze"]
    nodes = {node.op: node for node in body.graph.node}
    assert nodes["ExpandDims"].input[0] == body.inputs[0]
    assert nodes["Mul"].input[0] == f"{nodes['ResizeBilinear'].name}:0"
    assert nodes["Squeeze"].input[0] == f"{nodes['Mul'].name}:0"
    assert nodes["ResizeBilinear"].attr["T"].type == tf.uint8.as_datatype_enum


def test_the_result_of_resizing_may_be_the_functions() -> None:
    with tf.Graph().as_default():
        body = scale_after_resizing(
            body_of(lambda image: tf.image.resize_bilinear(converted(image)[None], [8, 9]))
        )
        assert ops(body)[-1] == "ResizeBilinear"  # a slice is between them: nothing is changed

        def plain(image: Any) -> Any:
            return tf.image.resize_bilinear(converted(tf.expand_dims(image, 0)), [8, 9])

        body = scale_after_resizing(body_of(plain))
    assert ops(body) == ["ExpandDims", "ResizeBilinear", "Mul"]
    assert body.outputs == (f"{body.graph.node[-1].name}:0",)


@pytest.mark.parametrize(
    "function",
    [
        lambda image: (
            (
                tf.image.resize_images(converted(image), [8, 9]),
                tf.reduce_sum(converted(image)),
            )[0]
            + tf.reduce_max(tf.image.resize_images(image, [4, 4]))
        ),
        lambda image: tf.image.resize_images(tf.cast(image, tf.float32) * [1.0, 2.0, 3.0], [8, 9]),
        lambda image: tf.image.resize_images(tf.cast(image, tf.int32), [8, 9]),
        lambda image: tf.image.resize_images(
            converted(image), [8, 9], tf.image.ResizeMethod.NEAREST_NEIGHBOR
        ),
    ],
)
def test_the_results_are_the_same(function: Callable[[Any], Any]) -> None:
    with tf.Graph().as_default():
        outside = function(tf.constant(IMAGE))
        inside = tf.data.Dataset.from_tensors(IMAGE).map(function)
        element = inside.make_one_shot_iterator().get_next()
        with tf.Session() as session:
            expected, got = session.run([outside, element])
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert got.dtype == expected.dtype


def test_who_else_reads_the_floats_keeps_them() -> None:
    def function(image: Any) -> Any:
        floats = converted(image)
        return tf.image.resize_images(floats, [8, 9]) + tf.reduce_mean(floats)

    with tf.Graph().as_default():
        body = body_of(function)
        assert ops(scale_after_resizing(body)) == ops(body)
        assert "Cast" in ops(body)
