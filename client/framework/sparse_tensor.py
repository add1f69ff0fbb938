"""SparseTensor: a tensor given by the places and values of its elements that are not zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flowray.client.framework.constant_value import constant_value_as_shape
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.default_session import session_for
from flowray.client.framework.graph import (
    Graph,
    Operation,
    Tensor,
    name_scope,
)
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import TensorShape, merge_dims, with_rank


@tf_export("SparseTensorValue")
class SparseTensorValue(NamedTuple):
    """The value of a SparseTensor, as ``Session.run`` returns it and a feed takes it."""

    indices: Any
    values: Any
    dense_shape: Any


@tf_export("SparseTensor", "sparse.SparseTensor")
class SparseTensor:
    """Three tensors that stand for one with mostly zeros (or empty strings).

    Attributes:
        indices: int64 [N, rank], the place of each element, usually in row-major order.
        values: [N], the elements.
        dense_shape: int64 [rank], the shape of the dense tensor.

    Raises:
        ValueError: the static shapes of the three do not go together.
    """

    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        with name_scope(None, "SparseTensor", [indices, values, dense_shape]):
            self._indices = convert_to_tensor(indices, dtypes.int64, name="indices")
            # A variable stays one, so that a session can feed it.
            self._values = convert_to_tensor(values, name="values", as_ref=True)
            self._dense_shape = convert_to_tensor(dense_shape, dtypes.int64, name="dense_shape")
        self._stated_shape = TensorShape(None)
        number, rank = with_rank(self._indices.shape_tuple, 2)
        merge_dims(number, with_rank(self._values.shape_tuple, 1)[0])
        merge_dims(rank, with_rank(self._dense_shape.shape_tuple, 1)[0])

    @classmethod
    def from_value(cls, sparse_tensor_value: SparseTensorValue | SparseTensor) -> SparseTensor:
        """Makes the SparseTensor of a SparseTensorValue, or a copy of a SparseTensor."""
        if not isinstance(sparse_tensor_value, SparseTensorValue | SparseTensor):
            raise TypeError(f"Neither a SparseTensor nor SparseTensorValue: {sparse_tensor_value}.")
        return cls(
            sparse_tensor_value.indices, sparse_tensor_value.values, sparse_tensor_value.dense_shape
        )

    @property
    def indices(self) -> Tensor:
        """The places of the values: an int64 Tensor of shape ``[N, rank]``."""
        return self._indices

    @property
    def values(self) -> Tensor:
        """The values: a Tensor of shape ``[N]``."""
        return self._values

    @property
    def dense_shape(self) -> Tensor:
        """The shape of the dense tensor: an int64 Tensor of shape ``[rank]``."""
        return self._dense_shape

    @property
    def shape(self) -> TensorShape:
        """The static shape of the dense tensor, as far as it is known."""
        return self.get_shape()

    def get_shape(self) -> TensorShape:
        """Returns the static dense shape, as far as it is known."""
        return self._stated_shape.merge_with(constant_value_as_shape(self._dense_shape))

    def set_shape(self, shape: Any) -> None:
        """Merges ``shape`` into the static shape; ValueError if they are incompatible."""
        self._stated_shape = self.get_shape().merge_with(shape)

    @property
    def dtype(self) -> DType:
        """The dtype of the values."""
        return self._values.dtype

    @property
    def op(self) -> Operation:
        """The operation that makes the values."""
        return self._values.op

    @property
    def name(self) -> str:
        """The name of ``values``."""
        return self._values.name

    @property
    def graph(self) -> Graph:
        """The graph that all parts belong to."""
        return self._values.graph

    def eval(
        self, feed_dict: Mapping[Any, Any] | None = None, session: Any = None
    ) -> SparseTensorValue:
        """Returns the value in ``session``, or in the default session."""
        run = session_for(self.graph, session, "evaluate sparse tensor", "eval").run
        value: SparseTensorValue = run(self, feed_dict)
        return value

    def __str__(self) -> str:
        return (
            f"SparseTensor(indices={self._indices}, values={self._values}, "
            f"dense_shape={self._dense_shape})"
        )

    __repr__ = __str__
