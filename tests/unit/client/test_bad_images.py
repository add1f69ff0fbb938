"""Training on broken image files: each fault ends it with TensorFlow's error."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import flowray as tf
from tests.dogs_and_cats import BAD_FILES, draw, input_fn, only_one_class


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn"), 6)


@pytest.fixture
def images(drawn: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(drawn, tmp_path / "images"))
    tf.summary.FileWriterCache.clear()


def model_fn(features: Any, labels: Any, mode: str) -> Any:
    """The mean color tells the class."""
    colors = tf.reduce_mean(features["image"], [1, 2])
    logits = tf.matmul(colors, tf.get_variable("w", [3, 2], initializer=tf.zeros_initializer()))
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)


def train(pattern: str, model_dir: Path) -> Any:
    return tf.estimator.Estimator(model_fn, str(model_dir)).train(input_fn(pattern))


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_broken_image_file(images: Path, tmp_path: Path, fault: str) -> None:
    spoil, kind, text = BAD_FILES[fault]
    path = images / "train" / "cats" / "0001.jpg"
    spoil(path)
    with pytest.raises(tf.OpError) as info:
        train(f"{images}/train/*/*.jpg", tmp_path / "model")
    assert type(info.value).__name__ == kind
    message = info.value.message
    assert text.format(path=path) in message
    node = "ReadFile" if "{path}" in text else "DecodeJpeg"
    assert f"[[{{{{node {node}}}}}]]" in message
    assert "[[{{node IteratorGetNext}}]]" in message


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pattern_that_matches_no_file(images: Path, tmp_path: Path, shuffle: bool) -> None:
    pattern = f"{images}/train/*/*.png"
    estimator = tf.estimator.Estimator(model_fn, str(tmp_path / "model"))
    with pytest.raises(tf.errors.InvalidArgumentError) as info:
        estimator.train(input_fn(pattern, shuffle=shuffle, num_epochs=None))
    assert f"No files matched pattern: {pattern}" in info.value.message
    assert "list_files/assert_not_empty" in info.value.message


def test_a_file_that_may_not_be_read() -> None:
    # Not tmp_path, which only its owner may enter.
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        path = draw(directory, 2) / "train" / "cats" / "0000.jpg"
        path.chmod(0)
        with tf.Graph().as_default(), tf.Session() as session, unprivileged():
            element = input_fn(f"{directory}/train/*/*.jpg")()
            with pytest.raises(tf.errors.PermissionDeniedError) as info:
                session.run(element)
        assert f"{path}; Permission denied" in info.value.message
    finally:
        shutil.rmtree(directory)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root, who may read everything, is nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_one_class_only(images: Path, tmp_path: Path) -> None:
    only_one_class(images)
    estimator = train(f"{images}/train/*/*.jpg", tmp_path / "model")
    assert estimator.get_variable_value("global_step") == 1
    assert estimator.evaluate(input_fn(f"{images}/train/*/*.jpg"))["loss"] < 0.69


def test_images_beside_the_directories_of_the_classes(images: Path, tmp_path: Path) -> None:
    (images / "train" / "cats" / "0000.jpg").rename(images / "train" / "0000.jpg")
    with tf.Graph().as_default(), tf.Session() as session:
        # Its directory is named train, so it is not a dog.
        features, labels = session.run(input_fn(f"{images}/train/*.jpg")())
    assert features["image"].shape == (1, 16, 16, 3)
    assert labels.tolist() == [1]
