"""Sparse tensors to serialized and to dense tensors, and back: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import Shape, with_rank, with_rank_at_least, with_value

_CARRIER = attr("type", dtypes.string, allowed=[dtypes.string, dtypes.variant])
_SPARSE = "sparse_indices: int64, sparse_values: T, sparse_shape: int64"


def _check_sparse(c: ShapeContext) -> None:
    for shape, rank in zip(c.inputs, (2, 1, 1), strict=True):
        with_rank(shape, rank)


def _serialize_shape(c: ShapeContext) -> Shape:
    _check_sparse(c)
    return (3,)


def _serialize_many_shape(c: ShapeContext) -> Shape:
    _check_sparse(c)
    return (None, 3)


def _deserialize_shape(c: ShapeContext) -> list[Shape]:
    serialized = with_rank_at_least(c.inputs[0], 1)
    if serialized is not None:
        with_value(serialized[-1], 3)
    return [(None, None), (None,), (None,)]


def _deserialize_many_shape(c: ShapeContext) -> list[Shape]:
    with_value(with_rank(c.inputs[0], 2)[1], 3)
    return [(None, None), (None,), (None,)]


op(
    "SerializeSparse",
    f"{_SPARSE} -> serialized_sparse: out_type",
    out_type=_CARRIER,
    host_only=True,
    differentiable=False,
    shape=_serialize_shape,
)
op(
    "SerializeManySparse",
    f"{_SPARSE} -> serialized_sparse: out_type",
    out_type=_CARRIER,
    host_only=True,
    differentiable=False,
    shape=_serialize_many_shape,
)
_PARTS = "sparse_indices: int64, sparse_values: dtype, sparse_shape: int64"
op(
    "DeserializeSparse",
    f"serialized_sparse: Tserialized -> {_PARTS}",
    Tserialized=_CARRIER,
    host_only=True,
    differentiable=False,
    shape=_deserialize_shape,
)
op(
    "DeserializeManySparse",
    f"serialized_sparse: string -> {_PARTS}",
    host_only=True,
    differentiable=False,
    shape=_deserialize_many_shape,
)


def _to_dense_shape(c: ShapeContext) -> Shape:
    with_rank(c.inputs[1], 1)
    with_rank(c.inputs[3], 0)
    return c.constant_shape(1)


op(
    "SparseToDense",
    "sparse_indices: Tindices, output_shape: Tindices, sparse_values: T, default_value: T "
    "-> dense: T",
    validate_indices=True,
    Tindices=dtypes.INDEX,
    static_inputs=[1],
    shape=_to_dense_shape,
)
