"""The MNIST files as TensorFlow's tutorials read them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import flowray as tf
from flowray.client.data.mnist_input_data import FILES, DataSet, read_data_sets


def idx(array: np.ndarray) -> bytes:
    header = (0x800 + array.ndim).to_bytes(4, "big")
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """20 training images of 2x3 whose pixels are their number, and 10 test images."""
    for count, (images, labels) in zip((20, 10), (FILES[:2], FILES[2:]), strict=True):
        pixels = np.arange(count, dtype=np.uint8).repeat(6).reshape(count, 2, 3)
        (tmp_path / images).write_bytes(gzip.compress(idx(pixels)))
        (tmp_path / labels).write_bytes(gzip.compress(idx(np.arange(count, dtype=np.uint8) % 10)))
    return tmp_path


def test_the_parts_of_the_data_set(digits: Path) -> None:
    mnist = read_data_sets(digits, one_hot=True, validation_size=5)
    assert [part.num_examples for part in mnist] == [15, 5, 10]
    assert mnist.train.images.shape == (15, 6)
    assert mnist.train.images.dtype == np.float32
    np.testing.assert_allclose(mnist.validation.images[:, 0], np.arange(5) / 255, rtol=1e-6)
    np.testing.assert_array_equal(mnist.train.labels[0], np.eye(10)[5])
    assert mnist.train.labels.shape == (15, 10)


def test_values_and_shapes_as_they_are_in_the_files(digits: Path) -> None:
    for file in digits.iterdir():  # files that somebody has unpacked
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    mnist = read_data_sets(str(digits), dtype=tf.uint8, reshape=False, validation_size=0)
    assert mnist.train.images.shape == (20, 2, 3, 1)
    assert mnist.train.images.dtype == np.uint8
    np.testing.assert_array_equal(mnist.test.labels, np.arange(10))
    assert mnist.validation.num_examples == 0


def test_batches_go_through_epochs(digits: Path) -> None:
    train = read_data_sets(digits, dtype=tf.uint8, validation_size=0).train
    batches = [train.next_batch(8, shuffle=False)[1].tolist() for _ in range(5)]
    labels = [*range(10), *range(10)] * 2
    assert batches == [labels[i : i + 8] for i in range(0, 40, 8)]
    assert train.epochs_completed == 1


def test_each_epoch_has_an_order_of_its_own(digits: Path) -> None:
    def epochs(seed: int) -> list[list[int]]:
        data = read_data_sets(digits, dtype=tf.uint8, validation_size=0, seed=seed).train
        return [data.next_batch(20)[0][:, 0].tolist() for _ in range(2)]

    first, second = epochs(seed=1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != list(range(20))
    assert epochs(seed=1) == [first, second]
    assert epochs(seed=2) != [first, second]


def test_missing_files_are_named(tmp_path: Path, digits: Path) -> None:
    (digits / FILES[1]).unlink()
    (digits / FILES[2]).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        read_data_sets(digits)
    text = str(caught.value)
    assert str(digits) in text
    assert f"{FILES[1]}, {FILES[2]}. flowray does not download them" in text
    assert FILES[0] not in text


def test_bad_files_and_arguments(digits: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Validation size should be between 0 and 20\. Received: 5"
    ):
        read_data_sets(digits)
    (digits / FILES[1]).write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x14\1\2"))
    with pytest.raises(ValueError, match="cut off: 2 of 20 values"):
        read_data_sets(digits)
    (digits / FILES[0]).write_bytes(gzip.compress(b"\0\0\0\7"))
    with pytest.raises(ValueError, match="Invalid magic number 7 in MNIST image file"):
        read_data_sets(digits)
    images = np.zeros((2, 1, 1, 1), np.uint8)
    with pytest.raises(TypeError, match="expected uint8 or float32"):
        DataSet(images, np.zeros(2), dtype=tf.int32)
    with pytest.raises(ValueError, match=r"labels\.shape"):
        DataSet(images, np.zeros(3))


def test_fake_data() -> None:
    data = DataSet([], [], fake_data=True, one_hot=True)
    images, labels = data.next_batch(3, fake_data=True)
    assert len(images) == 3
    assert len(images[0]) == 784
    assert labels == [[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]] * 3
