"""User functions for sparse tensors."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.framework.sparse_tensor import SparseTensor, SparseTensorValue
from flowray.client.ops.array_ops import zeros
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


def _parts(sp_input: Any) -> tuple[Any, Any, Any]:
    if isinstance(sp_input, SparseTensorValue):
        sp_input = SparseTensor.from_value(sp_input)
    if not isinstance(sp_input, SparseTensor):
        raise TypeError("Input must be a SparseTensor.")
    return sp_input.indices, sp_input.values, sp_input.dense_shape


@tf_export("serialize_sparse", "io.serialize_sparse")
def serialize_sparse(
    sp_input: Any, name: str | None = None, out_type: Any = dtypes.string
) -> Tensor:
    """Packs indices, values and dense shape of a sparse tensor into one tensor: [3].

    Args:
        out_type: the dtype of the result: string or variant.
    """
    return output_of("SerializeSparse", *_parts(sp_input), out_type=out_type, name=name)


@tf_export("serialize_many_sparse", "io.serialize_many_sparse")
def serialize_many_sparse(
    sp_input: Any, name: str | None = None, out_type: Any = dtypes.string
) -> Tensor:
    """Packs every row of a sparse tensor of rank 2 or more: [rows, 3]."""
    return output_of("SerializeManySparse", *_parts(sp_input), out_type=out_type, name=name)


def deserialize_sparse(
    serialized_sparse: Any, dtype: Any, rank: int | None = None, name: str | None = None
) -> SparseTensor:
    """Unpacks the sparse tensor that ``serialize_sparse`` packed; several become one.

    Args:
        serialized_sparse: [..., 3]. Other dimensions come before those of the sparse tensors.
        dtype: of the values.
        rank: of the result, where it is known.
    """
    return _sparse(apply_op("DeserializeSparse", serialized_sparse, dtype=dtype, name=name), rank)


@tf_export("deserialize_many_sparse", "io.deserialize_many_sparse")
def deserialize_many_sparse(
    serialized_sparse: Any, dtype: Any, rank: int | None = None, name: str | None = None
) -> SparseTensor:
    """Unpacks [rows, 3] strings to the sparse tensor with these rows of rank ``rank``."""
    parts = apply_op("DeserializeManySparse", serialized_sparse, dtype=dtype, name=name)
    return _sparse(parts, None if rank is None else rank + 1)


def _sparse(parts: Any, rank: int | None) -> SparseTensor:
    indices, values, shape = parts
    assert isinstance(indices, Tensor)
    indices.set_shape([None, rank])
    shape.set_shape([rank])
    return SparseTensor(indices, values, shape)


@tf_export("sparse_to_dense")
def sparse_to_dense(
    sparse_indices: Any,
    output_shape: Any,
    sparse_values: Any,
    default_value: Any = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """Makes a tensor of ``default_value`` with ``sparse_values`` at ``sparse_indices``.

    Args:
        sparse_indices: ``[n, rank]``; for a vector also ``[n]``, or a scalar.
        output_shape: int32 or int64 vector.
        sparse_values: ``[n]``, or a scalar for all.
        validate_indices: whether the indices must be in lexicographic order without repeats.
    """
    return output_of(
        "SparseToDense",
        sparse_indices,
        output_shape,
        sparse_values,
        default_value,
        validate_indices=validate_indices,
        name=name,
    )


@tf_export("sparse_tensor_to_dense", "sparse.to_dense")
def sparse_tensor_to_dense(
    sp_input: SparseTensor,
    default_value: Any = None,
    validate_indices: bool = True,
    name: str | None = None,
) -> Any:
    """Converts a SparseTensor to a Tensor; ``default_value`` (None: 0 or "") fills it."""
    if not isinstance(sp_input, SparseTensor):
        raise TypeError("Input must be a SparseTensor.")
    if default_value is None:
        default_value = zeros([], sp_input.dtype)
    return sparse_to_dense(
        sp_input.indices,
        sp_input.dense_shape,
        sp_input.values,
        default_value,
        validate_indices,
        name,
    )
