"""``tensorflow.examples.tutorials.mnist.input_data``: the MNIST digits as arrays, read from files.

It reads the four IDX files of the data set from a directory, as they are or compressed with gzip.
It downloads nothing.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowray.client.framework.random_seed import get_seed
from flowray.proto.types import dtypes

Array = np.ndarray[Any, Any]

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
"""The files of the data set."""

_CLASSES = 10


class Datasets(NamedTuple):
    """The three parts of a data set."""

    train: DataSet
    validation: DataSet
    test: DataSet


class DataSet:
    """Images and their labels, given out in batches.

    The order comes from numpy's global generator, which the constructor seeds, as in TensorFlow.

    Args:
        images: uint8 [number, rows, columns, 1].
        labels: [number], or [number, classes] if they are one-hot.
        fake_data: gives a constant image and label instead, for tests of speed.
        one_hot: the kind of fake labels.
        dtype: ``tf.uint8`` keeps the values; ``tf.float32`` scales them to [0, 1].
        reshape: make the images [number, rows * columns].
        seed: of the order.

    Raises:
        TypeError: another dtype.
        ValueError: there are not as many labels as images, or ``reshape`` meets several channels.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        fake_data: bool = False,
        one_hot: bool = False,
        dtype: Any = dtypes.float32,
        reshape: bool = True,
        seed: int | None = None,
    ) -> None:
        graph_seed, op_seed = get_seed(seed)
        np.random.seed(graph_seed if seed is None else op_seed)
        dtype = dtypes.as_dtype(dtype).base_dtype
        if dtype not in (dtypes.uint8, dtypes.float32):
            raise TypeError(f"Invalid image dtype {dtype!r}, expected uint8 or float32")
        self.one_hot = one_hot
        self._num_examples = 10000 if fake_data else len(images)
        if not fake_data:
            if len(images) != len(labels):
                raise ValueError(f"images.shape: {images.shape} labels.shape: {labels.shape}")
            if reshape:
                if images.shape[3] != 1:
                    raise ValueError(f"images of several channels: {images.shape}")
                images = images.reshape(len(images), images.shape[1] * images.shape[2])
            if dtype == dtypes.float32:
                images = np.multiply(images.astype(np.float32), np.float32(1.0 / 255.0))
        self._images: Any = images
        self._labels: Any = labels
        self._epochs_completed = 0
        self._index_in_epoch = 0

    @property
    def images(self) -> Any:
        return self._images

    @property
    def labels(self) -> Any:
        return self._labels

    @property
    def num_examples(self) -> int:
        return self._num_examples

    @property
    def epochs_completed(self) -> int:
        return self._epochs_completed

    def next_batch(self, batch_size: int, fake_data: bool = False, shuffle: bool = True) -> Any:
        """Returns the next images and labels: ``batch_size`` of each.

        A batch at the end of an epoch has what is left of it and the first examples of the next
        one. With ``shuffle``, each epoch has an order of its own.
        """
        if fake_data:
            label: Any = [1] + [0] * (_CLASSES - 1) if self.one_hot else 0
            return [[1] * 784 for _ in range(batch_size)], [label for _ in range(batch_size)]
        start = self._index_in_epoch
        if start == 0 and self._epochs_completed == 0 and shuffle:
            self._shuffle()
        end = start + batch_size
        if end <= self._num_examples:
            self._index_in_epoch = end
            return self._images[start:end], self._labels[start:end]
        self._epochs_completed += 1
        images, labels = self._images[start:], self._labels[start:]
        if shuffle:
            self._shuffle()
        self._index_in_epoch = rest = end - self._num_examples
        return (
            np.concatenate((images, self._images[:rest])),
            np.concatenate((labels, self._labels[:rest])),
        )

    def _shuffle(self) -> None:
        order = np.arange(self._num_examples)
        np.random.shuffle(order)
        self._images, self._labels = self._images[order], self._labels[order]


def read_data_sets(
    train_dir: str | os.PathLike[str],
    fake_data: bool = False,
    one_hot: bool = False,
    dtype: Any = dtypes.float32,
    reshape: bool = True,
    validation_size: int = 5000,
    seed: int | None = None,
    source_url: str | None = None,
) -> Datasets:
    """Reads the data set.

    Args:
        train_dir: the directory with the files of ``FILES``.
        fake_data: read no files; see ``DataSet``.
        one_hot: make labels of [number, 10].
        validation_size: so many of the first training images become the validation set.
        source_url: where TensorFlow would download the files from. flowray does not.
        dtype, reshape, seed: see ``DataSet``.

    Raises:
        FileNotFoundError: a file is missing; the text names it.
        ValueError: a file is not of its kind, or there are fewer than ``validation_size`` images.
    """
    if fake_data:
        fake = [
            DataSet([], [], fake_data=True, one_hot=one_hot, dtype=dtype, seed=seed)
            for _ in Datasets._fields
        ]
        return Datasets(*fake)
    train_images, train_labels, test_images, test_labels = _read_files(Path(train_dir), one_hot)
    if not 0 <= validation_size <= len(train_images):
        raise ValueError(
            f"Validation size should be between 0 and {len(train_images)}. "
            f"Received: {validation_size}."
        )

    def data_set(images: Array, labels: Array) -> DataSet:
        return DataSet(images, labels, dtype=dtype, reshape=reshape, seed=seed)

    return Datasets(
        train=data_set(train_images[validation_size:], train_labels[validation_size:]),
        validation=data_set(train_images[:validation_size], train_labels[:validation_size]),
        test=data_set(test_images, test_labels),
    )


def load_mnist(train_dir: str = "MNIST-data") -> Datasets:
    """Reads the data set with all defaults."""
    return read_data_sets(train_dir)


def dense_to_one_hot(labels_dense: Array, num_classes: int) -> Array:
    """Returns float64 [number, num_classes] with a 1 at each label."""
    return np.eye(num_classes)[labels_dense.ravel()]


def extract_images(f: Any) -> Array:
    """Reads a compressed IDX file of images: uint8 [number, rows, columns, 1]."""
    with gzip.GzipFile(fileobj=f) as file:
        return _idx(file.read(), 3, getattr(f, "name", "image file"))[..., np.newaxis]


def extract_labels(f: Any, one_hot: bool = False, num_classes: int = _CLASSES) -> Array:
    """Reads a compressed IDX file of labels: uint8 [number], or one-hot."""
    with gzip.GzipFile(fileobj=f) as file:
        labels = _idx(file.read(), 1, getattr(f, "name", "label file"))
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def _read_files(directory: Path, one_hot: bool) -> Sequence[Array]:
    """The arrays of the four files."""
    paths = [_existing(directory / name) for name in FILES]
    missing = [name for name, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"MNIST is not complete in {directory.absolute()}. Put there, with or without .gz: "
            f"{', '.join(missing)}. flowray does not download them; the data set is the one of "
            "http://yann.lecun.com/exdb/mnist, which has copies in many places."
        )
    arrays = []
    for path, dimensions in zip(paths, (3, 1, 3, 1), strict=True):
        assert path is not None
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        array = _idx(data, dimensions, str(path))
        if dimensions == 3:
            array = array[..., np.newaxis]
        elif one_hot:
            array = dense_to_one_hot(array, _CLASSES)
        arrays.append(array)
    return arrays


def _existing(path: Path) -> Path | None:
    return next((p for p in (path, path.with_suffix("")) if p.is_file()), None)


def _idx(data: bytes, dimensions: int, name: str) -> Array:
    """The bytes of an IDX file as an array.

    Raises:
        ValueError: it does not hold bytes in that many dimensions, or is cut off.
    """
    magic = int.from_bytes(data[:4], "big")
    if magic != 0x800 + dimensions:
        kind = "image" if dimensions == 3 else "label"
        raise ValueError(f"Invalid magic number {magic} in MNIST {kind} file: {name}")
    begin = 4 + 4 * dimensions
    shape = np.frombuffer(data[4:begin], ">u4").astype(int)
    values = np.frombuffer(data[begin:], np.uint8)
    if values.size < shape.prod():
        raise ValueError(f"{name} is cut off: {values.size} of {shape.prod()} values")
    return values[: shape.prod()].reshape(shape)
