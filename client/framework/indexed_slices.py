"""IndexedSlices: a sparse gradient, ``values[i]`` belonging to row ``indices[i]``."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Graph, Operation, Tensor
from flowray.client.tf_export import tf_export
from flowray.proto.types.dtypes import DType


@tf_export("IndexedSlices")
class IndexedSlices:
    """Slices of a larger tensor, as ``tf.gradients`` gives them for gathers.

    Attributes:
        values: Tensor of shape ``[D0, D1, ...]``.
        indices: 1-D integer Tensor of shape ``[D0]``; an index may repeat (its values add up).
        dense_shape: None, or a 1-D Tensor with the shape of the dense tensor.
    """

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Tensor | None = None) -> None:
        self._values = values
        self._indices = indices
        self._dense_shape = dense_shape

    @property
    def values(self) -> Tensor:
        """The slices: a Tensor of shape ``[D0, D1, ...]``."""
        return self._values

    @property
    def indices(self) -> Tensor:
        """The row of each slice: an integer Tensor of shape ``[D0]``."""
        return self._indices

    @property
    def dense_shape(self) -> Tensor | None:
        """The shape of the dense tensor: a 1-D integer Tensor, or None."""
        return self._dense_shape

    @property
    def name(self) -> str:
        """The name of ``values``."""
        return self._values.name

    @property
    def device(self) -> str:
        """The device of ``values``."""
        return self._values.device

    @property
    def op(self) -> Operation:
        """The operation that computes ``values``."""
        return self._values.op

    @property
    def dtype(self) -> DType:
        """The dtype of ``values``."""
        return self._values.dtype

    @property
    def graph(self) -> Graph:
        """The graph that all parts belong to."""
        return self._values.graph

    def __str__(self) -> str:
        shape = "" if self._dense_shape is None else f", dense_shape={self._dense_shape}"
        return f"IndexedSlices(indices={self._indices}, values={self._values}{shape})"

    __repr__ = __str__

    def __neg__(self) -> Any:
        return IndexedSlices(-self._values, self._indices, self._dense_shape)
