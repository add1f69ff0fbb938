"""Conversions to tensors that add operations: of lists that hold tensors, and of IndexedSlices.

They stand above ``op_builder``, which itself converts its inputs with ``conversion``; importing
this module registers them there.
"""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import (
    constant,
    contains_tensor,
    convert_to_tensor,
    dtype_of_tensors,
    register_tensor_conversion_function,
)
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.proto.types.dtypes import DType


def as_indexed_slices(value: Tensor | IndexedSlices) -> IndexedSlices:
    """Returns a dense tensor as slices of all its rows, and IndexedSlices as they are."""
    if isinstance(value, IndexedSlices):
        return value
    shape = value.shape_tuple
    if shape is not None and None not in shape:
        size = constant(list(shape), "int32", shape=[len(shape)], name="Shape")
    else:
        size = apply_op("Shape", value)
    rows = apply_op("StridedSlice", size, [0], [1], [1], shrink_axis_mask=1, name="strided_slice")
    return IndexedSlices(value, apply_op("Range", 0, rows, 1, name="range"), size)


def _packed_sequence(
    value: Any, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Any:
    """Stacks a list with tensors among its items; the constants take the tensors' dtype."""
    if not contains_tensor(value):
        return NotImplemented
    inferred = dtype or dtype_of_tensors(value)

    def pack(item: Any, item_name: str) -> Tensor:
        if isinstance(item, list | tuple):
            parts = [pack(part, str(i)) for i, part in enumerate(item)]
            packed = apply_op("Pack", parts, axis=0, name=scope if item is value else item_name)
            assert isinstance(packed, Tensor)
            return packed
        return convert_to_tensor(item, inferred, name=item_name)

    with name_scope(name or "packed") as scope:
        return pack(value, "packed")


def _densified(
    value: IndexedSlices, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    """Adds up the slices in a tensor of their dense shape, with ``UnsortedSegmentSum``."""
    if value.dense_shape is None:
        raise ValueError(
            "Tensor conversion requested for IndexedSlices without dense_shape: " + str(value)
        )
    rows = apply_op("StridedSlice", value.dense_shape, [0], [1], [1], shrink_axis_mask=1)
    return output_of("UnsortedSegmentSum", value.values, value.indices, rows, name=name)


# Before the conversion of other lists to constants.
register_tensor_conversion_function((list, tuple), _packed_sequence, 94)
register_tensor_conversion_function(IndexedSlices, _densified, 95)
