"""scikit-learn's 1,797 handwritten digits, as images of 28x28 pixels."""

import numpy as np
from sklearn.datasets import load_digits


def load(channels=1, held_out=360, seed=0):
    """Returns (train images, train labels), (held-out images, held-out labels).

    Images are float32 in [0, 1] of shape [n, 28, 28, channels], labels one-hot float32 [n, 10].
    """
    digits = load_digits()
    images = _resize(digits.images.astype(np.float32) / 16.0, 28)
    images = np.repeat(images[..., np.newaxis], channels, axis=-1)
    labels = np.eye(10, dtype=np.float32)[digits.target]
    order = np.random.RandomState(seed).permutation(len(images))
    images, labels = images[order], labels[order]
    return (images[held_out:], labels[held_out:]), (images[:held_out], labels[:held_out])


def batches(images, labels, size, seed=0):
    """Yields shuffled batches for ever."""
    random = np.random.RandomState(seed)
    while True:
        order = random.permutation(len(images))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield images[chosen], labels[chosen]


def _resize(images, size):
    """Bilinear interpolation of [n, h, w] to [n, size, size]."""
    for axis in (1, 2):
        n = images.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        shape = [1, 1, 1]
        shape[axis] = size
        weight = (at - low).astype(np.float32).reshape(shape)
        images = np.take(images, low, axis) * (1 - weight) + np.take(images, high, axis) * weight
    return images
