"""``tf.estimator.inputs``: input functions over arrays of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flowray.client.data.dataset import Dataset
from flowray.client.framework.graph import GraphKeys, Tensor, add_to_collection
from flowray.client.ops.array_ops import placeholder
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


class _ArrayFeeder:
    """Feeds arrays to the initializer of a dataset's iterator when a session starts.

    It is started as queue runners are, since it stands for TensorFlow's feeding queue; arrays of a
    dataset must not become constants of the graph.
    """

    def __init__(self, initializer: Any, feeds: dict[Any, Any]) -> None:
        self.name = initializer.name
        self._initializer = initializer
        self._feeds = feeds

    def create_threads(
        self, sess: Any, coord: Any = None, daemon: bool = False, start: bool = False
    ) -> list[threading.Thread]:
        """Feeds at once; there is no thread to start."""
        sess.run(self._initializer, self._feeds)
        return []

    def to_proto(self, export_scope: str | None = None) -> None:
        """Returns None: arrays of a process do not travel with a graph."""


@tf_export("estimator.inputs.numpy_input_fn")
def numpy_input_fn(
    x: Any,
    y: Any = None,
    batch_size: int = 128,
    num_epochs: int | None = 1,
    shuffle: bool | None = None,
    queue_capacity: int = 1000,
    num_threads: int = 1,
) -> Callable[[], Any]:
    """Returns an input function that gives batches of arrays.

    Args:
        x: an array, or a dict of arrays; all of the same length.
        y: labels: the same; or None.
        batch_size: the rows of a batch; the last one has the rest.
        num_epochs: how often to go over the data; None for ever.
        shuffle: whether to shuffle; must be said.
        queue_capacity: how many rows to shuffle among.
        num_threads: accepted; one reads.

    Returns:
        A function that returns ``features`` or ``(features, labels)``.

    Raises:
        ValueError: shuffle is not said, arrays differ in length or are empty, or a name of x and y
            is the same.
        TypeError: x is neither an array nor a dict.
    """
    if not isinstance(shuffle, bool):
        raise ValueError(
            "shuffle must be provided and explicitly set as boolean (it is recommended to set it "
            f"as True for training); got {shuffle}"
        )

    def input_fn() -> Any:
        features = _arrays(x, "x")
        labels = None if y is None else _arrays(y, "y")
        if isinstance(y, Mapping) and not y:
            raise ValueError("y cannot be empty dict, use None instead.")
        parts: dict[str, np.ndarray[Any, Any]] = {f"x/{key}": v for key, v in features.items()}
        parts.update({f"y/{key}": v for key, v in (labels or {}).items()})
        lengths = {name: len(array) for name, array in parts.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                "Length of tensors in x and y is mismatched. All elements in x and y must have "
                f"the same length. Got {lengths}"
            )
        batch = _batches(parts, batch_size, num_epochs, shuffle, queue_capacity)
        found = {key: batch[f"x/{key}"] for key in features}
        given = found if isinstance(x, Mapping) else found[""]
        if labels is None:
            return given
        wanted = {key: batch[f"y/{key}"] for key in labels}
        return given, wanted if isinstance(y, Mapping) else wanted[""]

    return input_fn


@tf_export("estimator.inputs.pandas_input_fn")
def pandas_input_fn(
    x: Any,
    y: Any = None,
    batch_size: int = 128,
    num_epochs: int | None = 1,
    shuffle: bool | None = None,
    queue_capacity: int = 1000,
    num_threads: int = 1,
    target_column: str = "target",
) -> Callable[[], Any]:
    """Returns an input function as ``numpy_input_fn`` does, over columns of DataFrames.

    Raises:
        ValueError: as there; or the indices of x and y differ.
        TypeError: ``target_column`` is not a string.
    """
    if not isinstance(target_column, str):
        raise TypeError("target_column must be a string type")
    if y is not None and not np.array_equal(x.index, y.index):
        raise ValueError("Index for x and y are mismatched.")
    features = {str(column): x[column].values for column in x.columns}
    labels = None
    if y is not None:
        labels = (
            {str(column): y[column].values for column in y.columns}
            if hasattr(y, "columns")
            else y.values
        )
    return numpy_input_fn(
        features, labels, batch_size, num_epochs, shuffle, queue_capacity, num_threads
    )


def _arrays(value: Any, what: str) -> dict[str, np.ndarray[Any, Any]]:
    if isinstance(value, Mapping):
        if not value and what == "x":
            raise ValueError("x cannot be an empty dict")
        return {key: np.asarray(value[key]) for key in sorted(value)}
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{what} must be a dict or array; got {type(value).__name__}")
    return {"": value}


def _batches(
    parts: dict[str, np.ndarray[Any, Any]],
    batch_size: int,
    num_epochs: int | None,
    shuffle: bool,
    capacity: int,
) -> dict[str, Any]:
    feeds = {
        placeholder(dtypes.as_dtype(array.dtype), array.shape, name="numpy_input"): array
        for array in parts.values()
    }
    dataset = Dataset.from_tensor_slices(dict(zip(parts, feeds, strict=True)))
    if shuffle:
        dataset = dataset.shuffle(max(capacity, batch_size))
    iterator = dataset.repeat(num_epochs).batch(batch_size).make_initializable_iterator()
    add_to_collection(GraphKeys.QUEUE_RUNNERS, _ArrayFeeder(iterator.initializer, feeds))
    batch: dict[str, Tensor] = iterator.get_next()
    return batch
