"""Kernels that pack sparse tensors into one tensor, and make them dense.

The one tensor has three elements: the indices, the values and the dense shape, each a tensor in an
element of a variant tensor, or a TensorProto in a string.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.messages import tensor_pb2
from flowray.proto.types import dtypes, tensors
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import format_shape
from flowray.worker.data.dataset import type_name
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import kernel

Array = np.ndarray[Any, Any]
Sparse = tuple[Array, Array, Array]


def _check(indices: Array, values: Array, shape: Array) -> None:
    """Raises InvalidArgumentError unless the three make a sparse tensor."""
    for name, array, rank in (("indices", indices, 2), ("values", values, 1), ("shape", shape, 1)):
        if array.ndim != rank:
            what = "matrix" if rank == 2 else "vector"
            raise errors.invalid_argument(
                f"Input {name} should be a {what} but received shape {format_shape(array.shape)}"
            )
    if len(indices) != len(values):
        raise errors.invalid_argument(
            f"Number of values must match first dimension of indices. Got {len(values)} values, "
            f"indices shape: {format_shape(indices.shape)}"
        )
    if indices.shape[1] != len(shape):
        raise errors.invalid_argument(
            f"Number of dimensions must match second dimension of indices. Got {len(shape)} "
            f"dimensions, indices shape: {format_shape(indices.shape)}"
        )


def _pack(parts: Sparse, out_type: DType) -> Array:
    result = np.empty(3, object)
    for i, part in enumerate(parts):
        as_is = out_type == dtypes.variant
        result[i] = part if as_is else tensors.encode(part).SerializeToString()
    return result


@kernel("SerializeSparse")
def serialize_sparse(
    xp: Any, indices: Array, values: Array, shape: Array, *, out_type: DType
) -> Array:
    """Packs a sparse tensor into a vector of 3 strings or variants."""
    _check(indices, values, shape)
    return _pack((indices, values, shape), out_type)


@kernel("SerializeManySparse")
def serialize_many_sparse(
    xp: Any, indices: Array, values: Array, shape: Array, *, out_type: DType
) -> Array:
    """Packs each row, a sparse tensor of the other dimensions: [rows, 3]."""
    _check(indices, values, shape)
    if len(shape) < 2:
        raise errors.invalid_argument(
            f"Rank of input SparseTensor should be > 1, but saw rank: {len(shape)}"
        )
    rows = indices[:, 0]
    if np.any(rows[1:] < rows[:-1]):
        raise errors.invalid_argument("indices are out of order: the rows must come one by one")
    if len(rows) and not (rows[0] >= 0 and rows[-1] < shape[0]):
        raise errors.invalid_argument(
            f"Received unexpected column 0 value in input SparseTensor: {rows[-1]} < 0 or >= N (= "
            f"{shape[0]})"
        )
    bounds = np.searchsorted(rows, np.arange(shape[0] + 1))
    result = np.empty((int(shape[0]), 3), object)
    for i, (start, end) in enumerate(itertools.pairwise(bounds)):
        row = indices[start:end, 1:], values[start:end], shape[1:]
        result[i] = _pack(row, out_type)
    return result


@kernel("DeserializeSparse")
def deserialize_sparse(xp: Any, serialized_sparse: Array, *, dtype: DType) -> Sparse:
    """Unpacks [..., 3]; the dimensions before the last one come first in the sparse tensor."""
    serialized = serialized_sparse
    if serialized.ndim == 0 or serialized.shape[-1] != 3:
        raise errors.invalid_argument(
            "Serialized sparse should have 3 as the last dimension "
            f"{format_shape(serialized.shape)}"
        )
    parts = [_unpack(row, i, dtype) for i, row in enumerate(serialized.reshape(-1, 3))]
    if serialized.ndim == 1:
        return parts[0]
    return _stacked(parts, serialized.shape[:-1], dtype)


@kernel("DeserializeManySparse")
def deserialize_many_sparse(xp: Any, serialized_sparse: Array, *, dtype: DType) -> Sparse:
    """Unpacks [n, 3] to one sparse tensor with a new first dimension."""
    return deserialize_sparse(xp, serialized_sparse, dtype=dtype)


def _unpack(row: Array, number: int, dtype: DType) -> Sparse:
    indices, values, shape = (_tensor(part) for part in row)
    given = dtypes.string if values.dtype == object else as_dtype(values.dtype)
    if given != dtype:
        raise errors.invalid_argument(
            f"Requested SparseTensor of type {type_name(dtype)} but SparseTensor[{number}]."
            f"values.dtype() == {type_name(given)}"
        )
    _check(indices, values, shape)
    return indices, values, shape


def _tensor(part: Any) -> Array:
    if isinstance(part, np.ndarray):
        return part
    try:
        return tensors.decode(tensor_pb2.TensorProto.FromString(part))
    except (DecodeError, TypeError):
        raise errors.invalid_argument("Could not parse serialized_sparse") from None


def _stacked(parts: list[Sparse], batch: tuple[int, ...], dtype: DType) -> Sparse:
    """Stacks sparse tensors along new first dimensions ``batch``; the largest shape holds all."""
    if not parts:
        raise errors.invalid_argument("Must have at least 1 serialized SparseTensor, found 0")
    rank = len(parts[0][2])
    for i, (_, _, shape) in enumerate(parts):
        if len(shape) != rank:
            raise errors.invalid_argument(
                "Inconsistent shape across SparseTensors: rank prior to SparseTensor"
                f"[{i}] was: {rank} but rank of SparseTensor[{i}] is: {len(shape)}"
            )
    places = np.stack(np.unravel_index(np.arange(len(parts)), batch), axis=1)
    counts = [len(values) for _, values, _ in parts]
    indices = np.concatenate(
        [np.repeat(places, counts, axis=0), np.concatenate([p[0] for p in parts])], axis=1
    )
    values = np.concatenate([p[1] for p in parts])
    largest = np.max(np.stack([p[2] for p in parts]), axis=0)
    return indices, values, np.concatenate([np.array(batch, np.int64), largest])


@kernel("SparseToDense")
def sparse_to_dense(
    xp: Any,
    sparse_indices: Any,
    output_shape: Array,
    sparse_values: Any,
    default_value: Any,
    *,
    validate_indices: bool,
) -> Any:
    """Makes a dense tensor of ``output_shape``.

    With ``validate_indices`` they must be in order and without repetition. An index out of range is
    an InvalidArgumentError in any case.
    """
    if sparse_indices.ndim > 2:
        raise errors.invalid_argument(
            "sparse_indices should be a scalar, vector, or matrix, got shape "
            f"{format_shape(sparse_indices.shape)}"
        )
    if output_shape.ndim != 1:
        raise errors.invalid_argument(
            f"output_shape must be rank 1, got shape {format_shape(output_shape.shape)}"
        )
    rank = sparse_indices.shape[1] if sparse_indices.ndim == 2 else 1
    if len(output_shape) != rank:
        raise errors.invalid_argument(
            f"output_shape has incorrect number of elements: {len(output_shape)} should be: {rank}"
        )
    indices = sparse_indices.reshape(-1, rank)
    count = sparse_indices.size if sparse_indices.ndim < 2 else len(sparse_indices)
    if sparse_values.shape not in ((), (count,)):
        raise errors.invalid_argument(
            f"sparse_values has incorrect shape {format_shape(sparse_values.shape)}, should be [] "
            f"or [{count}]"
        )
    if default_value.ndim:
        raise errors.invalid_argument("default_value should be a scalar.")
    dims = tuple(int(size) for size in output_shape)
    for size in dims:
        if size < 0:
            raise errors.invalid_argument(f"Dimension {size} must be >= 0")
    inside = xp.all((indices >= 0) & (indices < output_shape))
    steps = np.cumprod((1, *dims[:0:-1]), dtype=np.int64)[::-1]
    flat = (indices.astype(xp.int64) * steps).sum(1)
    if validate_indices:
        ordered = xp.all(flat[1:] > flat[:-1])
        check(inside & ordered, lambda i: _bad_index(i, dims), indices)
    else:
        shape = format_shape(dims)
        check(
            inside,
            lambda: errors.invalid_argument(
                f"Indices are not valid (out of bounds).  Shape: {shape}"
            ),
        )
    dense = xp.full(math.prod(dims), default_value, default_value.dtype)
    if xp is np:
        dense[flat] = sparse_values
    else:
        dense = dense.at[flat].set(sparse_values)
    return dense.reshape(dims)


def _bad_index(indices: Array, dims: tuple[int, ...]) -> errors.OpError:
    """Returns the error for the first bad row of indices."""
    for i, row in enumerate(indices.tolist()):
        at = f"indices[{i}] = [{','.join(map(str, row))}]"
        if any(not 0 <= k < size for k, size in zip(row, dims, strict=True)):
            return errors.invalid_argument(
                f"{at} is out of bounds: need 0 <= index < {format_shape(dims)}"
            )
        before = indices[i - 1].tolist() if i else None
        if before is not None and row == before:
            return errors.invalid_argument(f"{at} is repeated")
        if before is not None and row < before:
            return errors.invalid_argument(
                f"{at} is out of order. Many sparse ops require sorted indices.\n    Use "
                "`tf.sparse.reorder` to create a correctly ordered copy.\n\n"
            )
    raise AssertionError("no bad index")
