"""``tf.contrib.data``: functions that moved to ``tf.data.experimental``, and a few that did not."""

from __future__ import annotations

from typing import Any

from flowray.client.data import nest
from flowray.client.data.dataset import Dataset, _int64
from flowray.client.data.experimental import Transformation
from flowray.client.data.structure import TensorStructure
from flowray.client.ops.array_ops import ensure_shape
from flowray.client.tf_export import tf_export


@tf_export("contrib.data.batch_and_drop_remainder")
def batch_and_drop_remainder(batch_size: Any) -> Transformation:
    """Returns a function for ``Dataset.apply``: ``batch`` without an incomplete last batch."""
    return lambda dataset: dataset.batch(batch_size, drop_remainder=True)


@tf_export("contrib.data.padded_batch_and_drop_remainder")
def padded_batch_and_drop_remainder(
    batch_size: Any, padded_shapes: Any, padding_values: Any = None
) -> Transformation:
    """Returns a function for ``Dataset.apply``: padded batches, all of them complete."""
    return lambda dataset: dataset.padded_batch(
        batch_size, padded_shapes, padding_values, drop_remainder=True
    )


@tf_export("contrib.data.assert_element_shape")
def assert_element_shape(expected_shapes: Any) -> Transformation:
    """States the shapes of the elements, nested like them; a run checks them."""

    def apply(dataset: Dataset) -> Dataset:
        shapes = nest.flatten_up_to(dataset._structure, expected_shapes)

        def check(*parts: Any) -> Any:
            value = parts if nest.is_nested(dataset._structure) else parts[0]
            tensors = [
                ensure_shape(tensor, shape)
                for tensor, shape in zip(nest.flatten(value), shapes, strict=True)
            ]
            return nest.pack_sequence_as(dataset._structure, tensors)

        return dataset.map(check)

    return apply


@tf_export("contrib.data.sliding_window_batch")
def sliding_window_batch(
    window_size: Any, stride: Any = None, window_shift: Any = None, window_stride: Any = 1
) -> Transformation:
    """Makes stacked windows of ``window_size`` elements, ``window_shift`` elements apart.

    Args:
        stride: the old name of ``window_shift``.
        window_stride: how far the elements of a window are apart.

    Raises:
        ValueError: both ``stride`` and ``window_shift`` are given.
    """
    if stride is not None and window_shift is not None:
        raise ValueError("Cannot specify both `stride` and `window_shift`")
    shift = window_shift if stride is None else stride

    def apply(dataset: Dataset) -> Dataset:
        element = nest.map_structure(_batched, dataset._structure)
        return dataset._derived(
            "SlidingWindowDataset",
            _int64(window_size, "window_size"),
            _int64(1 if shift is None else shift, "window_shift"),
            _int64(window_stride, "window_stride"),
            element=element,
        )

    return apply


def _batched(leaf: TensorStructure) -> TensorStructure:
    return leaf.batched(None)
