"""Checkpoints that are damaged, and those of another model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray as tf

KERNEL = np.arange(6, dtype=np.float32).reshape(3, 2)
BIAS = np.array([7, 8], np.float32)


@pytest.fixture(autouse=True)
def _graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


def model(
    kernel: tuple[int, ...] = (3, 2), names: tuple[str, ...] = ("kernel", "bias"), **options: Any
) -> list[Any]:
    initial = {"kernel": KERNEL, "bias": BIAS}
    shapes = {"kernel": kernel}
    return [
        tf.get_variable(
            f"dense/{name}",
            shapes.get(name, (2,)),
            initializer=lambda shape, name=name, **_: np.resize(initial.get(name, BIAS), shape),
            **options,
        )
        for name in names
    ]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    with tf.Graph().as_default(), tf.Session() as session:
        model()
        session.run(tf.global_variables_initializer())
        return tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 7)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("use_resource", [False, True])
def test_whatever_byte_is_damaged(prefix: str, suffix: str, use_resource: bool) -> None:
    path = Path(prefix + suffix)
    good = path.read_bytes()
    variables = model(use_resource=use_resource)
    saver = tf.train.Saver()
    refused = []
    with tf.Session() as session:
        for i in range(len(good)):
            damaged = bytearray(good)
            damaged[i] ^= 0xFF
            path.write_bytes(damaged)
            try:
                saver.restore(session, prefix)
            except tf.errors.DataLossError as error:
                refused.append(error.message)
            else:
                for restored, saved in zip(session.run(variables), (KERNEL, BIAS), strict=True):
                    np.testing.assert_array_equal(restored, saved)
        path.write_bytes(good)
        saver.restore(session, prefix)
    # Some bytes of the index mean nothing.
    assert len(refused) > (len(good) / 2 if suffix == ".index" else len(good) - 1)
    for message in refused:
        assert f"checkpoint {prefix} failed: its files are damaged" in message
        assert f"name that in {path.parent}/checkpoint instead" in message


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_wherever_a_file_is_cut_off(prefix: str, suffix: str) -> None:
    path = Path(prefix + suffix)
    good = path.read_bytes()
    model()
    saver = tf.train.Saver()
    with tf.Session() as session:
        for length in range(len(good)):
            path.write_bytes(good[:length])
            # Not TensorFlow's OutOfRangeError, which is the normal end of training.
            with pytest.raises(tf.errors.DataLossError, match=f"{prefix} failed: its files are"):
                saver.restore(session, prefix)


def test_a_part_that_is_missing(prefix: str) -> None:
    model()
    saver = tf.train.Saver()
    data = Path(prefix + ".data-00000-of-00001")
    data.unlink()
    with tf.Session() as session:
        with pytest.raises(tf.errors.NotFoundError, match=f"{data}; No such file"):
            saver.restore(session, prefix)
        Path(prefix + ".index").unlink()
        with pytest.raises(ValueError, match=f"not a valid checkpoint: {prefix}"):
            saver.restore(session, prefix)


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_variable_of_another_dtype(tmp_path: Path, use_resource: bool) -> None:
    def save_or_restore(dtype: tf.DType) -> None:
        with tf.Graph().as_default(), tf.Session() as session:
            v = tf.get_variable("w", [2], dtype, tf.zeros_initializer(), use_resource=use_resource)
            if dtype == tf.float32:
                session.run(v.initializer)
                tf.train.Saver([v]).save(session, str(tmp_path / "m"))
            else:
                tf.train.Saver([v]).restore(session, str(tmp_path / "m"))

    save_or_restore(tf.float32)
    text = "tensor_name = w; expected dtype int32 does not equal original dtype float"
    with pytest.raises(tf.errors.InvalidArgumentError, match=text) as info:
        save_or_restore(tf.int32)
    assert info.value.op.type == "RestoreV2"


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_variable_of_another_shape(prefix: str, use_resource: bool) -> None:
    model((3, 5), use_resource=use_resource)
    with tf.Session() as session, pytest.raises(tf.errors.InvalidArgumentError) as info:
        tf.train.Saver().restore(session, prefix)
    message = info.value.message
    assert f"In {prefix}, dense/kernel has shape [3,2], and [3,5] in the graph" in message
    assert "If this is another model, give it a directory of its own" in message
    assert "Assign requires shapes of both tensors to match. lhs shape= [3,5] rhs shape= [3,2]" in (
        message
    )


def test_another_shape_that_is_asked_for(prefix: str) -> None:
    kernel, _ = model((6, 1), use_resource=True)
    with tf.Session() as session:
        tf.train.Saver(reshape=True).restore(session, prefix)
        np.testing.assert_array_equal(session.run(kernel), KERNEL.reshape(6, 1))


@pytest.mark.parametrize("use_resource", [False, True])
def test_variables_that_are_missing(prefix: str, use_resource: bool) -> None:
    more = tuple(f"more_{i}" for i in range(7))
    model(names=("kernel", "bias", *more), use_resource=use_resource)
    with tf.Session() as session, pytest.raises(tf.errors.NotFoundError) as info:
        tf.train.Saver().restore(session, prefix)
    names = "; ".join(f"dense/more_{i} is missing" for i in range(5))
    assert f"In {prefix}, {names}; and 2 more." in info.value.message
    assert "Key dense/more_" in info.value.message


def test_an_estimator_in_the_directory_of_another_one(tmp_path: Path) -> None:
    def model_fn(features: Any, mode: str, params: Any) -> Any:
        weights = tf.get_variable("weights", [params["size"]])
        loss = tf.reduce_sum(tf.square(weights)) + 0 * tf.reduce_sum(features)
        step = tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, predictions=weights, loss=loss, train_op=step)

    def estimator(size: int) -> Any:
        return tf.estimator.Estimator(model_fn, str(tmp_path), params={"size": size})

    def input_fn() -> Any:
        return tf.data.Dataset.range(10).map(tf.to_float)

    estimator(2).train(input_fn)
    expected = f"In {tmp_path}/model.ckpt-10, weights has shape \\[2\\], and \\[3\\] in the graph"
    other = estimator(3)
    for use in (other.train, other.evaluate, lambda f: next(other.predict(f))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
            use(input_fn)
    tf.summary.FileWriterCache.clear()
