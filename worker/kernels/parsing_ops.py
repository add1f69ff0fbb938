"""Kernels that turn records (raw bytes, CSV, protos, tf.train.Example) into tensors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.messages.tensor_pb2 import TensorProto
from flowray.proto.types import dtypes, tensors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape, format_shape
from flowray.worker.formats import csv
from flowray.worker.formats.examples import DenseFeature, Record, SparseFeature, type_name
from flowray.worker.formats.sequence_examples import SequenceRecord
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.string_ops import parse_number, strings, text

Array = np.ndarray[Any, Any]


@kernel("DecodeRaw")
def decode_raw(xp: Any, contents: Array, *, out_type: DType, little_endian: bool) -> Array:
    """Reads the bytes of each string as numbers of ``out_type``, along a new last dimension.

    All strings must have the same length, a multiple of the type's size.
    """
    values = contents.reshape(-1).tolist()
    dtype = np.dtype(out_type.as_numpy_dtype)
    if not values:
        return np.zeros((*contents.shape, 0), dtype)
    for i, value in enumerate(values):
        if len(value) != len(values[0]):
            raise errors.invalid_argument(
                "DecodeRaw requires input strings to all be the same size, but element "
                f"{i} has size {len(values[0])} != {len(value)}"
            )
    size = len(values[0])
    if size % dtype.itemsize:
        raise errors.invalid_argument(
            f"Input to DecodeRaw has length {size} that is not a multiple of {dtype.itemsize}, "
            f"the size of {type_name(out_type)}"
        )
    # A copy of the bytes, since a tensor's memory may be written to by what follows.
    data = np.frombuffer(bytearray(b"".join(values)), np.uint8)
    if not little_endian:
        part = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
        data = np.ascontiguousarray(data.reshape(-1, part)[:, ::-1]).reshape(-1)
    return data.view(dtype).reshape(*contents.shape, size // dtype.itemsize)


@kernel("DecodeCSV")
def decode_csv(
    xp: Any,
    records: Array,
    record_defaults: list[Array],
    *,
    field_delim: bytes,
    use_quote_delim: bool,
    na_value: bytes,
    select_cols: Sequence[int],
) -> list[Array]:
    """Splits records of CSV; returns a tensor for each field.

    Fields that are empty or ``na_value`` get the default; a field without a default is required.
    """
    _check_csv_options(record_defaults, field_delim, select_cols)
    split = csv.splitter(field_delim, use_quote_delim)
    rows = []
    for number, record in enumerate(records.reshape(-1).tolist()):
        fields = split(record)
        if select_cols:
            fields = [fields[i] for i in select_cols if i < len(fields)]
        if len(fields) != len(record_defaults):
            raise errors.invalid_argument(
                f"Expect {len(record_defaults)} fields but have {len(fields)} in record {number}"
            )
        rows.append(fields)
    columns = list(zip(*rows, strict=True)) or [()] * len(record_defaults)
    return [
        _column(column, default, number, na_value).reshape(records.shape)
        for number, (column, default) in enumerate(zip(columns, record_defaults, strict=True))
    ]


def _check_csv_options(
    defaults: Sequence[Array], field_delim: bytes, select_cols: Sequence[int]
) -> None:
    if len(field_delim) != 1:
        raise errors.invalid_argument("field_delim should be only 1 char")
    if select_cols and len(select_cols) != len(defaults):
        raise errors.invalid_argument("select_cols should match output size")
    if any(i < 0 for i in select_cols):
        raise errors.invalid_argument("select_cols should be non-negative indices")
    if any(a >= b for a, b in itertools.pairwise(select_cols)):
        raise errors.invalid_argument("select_cols should be strictly increasing indices")
    for i, default in enumerate(defaults):
        if default.ndim > 1:
            raise errors.invalid_argument("Each record default should be at most rank 1")
        if default.size > 1:
            raise errors.invalid_argument(
                f"There should only be 1 default per field but field {i} has {default.size}"
            )


def _column(column: Sequence[bytes], default: Array, number: int, na_value: bytes) -> Array:
    """Converts one field of all records to an array."""
    dtype = dtypes.as_dtype(default.dtype)
    result = np.empty(len(column), default.dtype)
    for record, field in enumerate(column):
        if field in (b"", na_value):
            if not default.size:
                raise errors.invalid_argument(
                    f"Field {number} is required but missing in record {record}!"
                )
            result[record] = default.reshape(-1)[0]
            continue
        value = field if dtype == dtypes.string else parse_number(field, dtype)
        if value is None:
            raise errors.invalid_argument(
                f"Field {number} in record {record} is not a valid "
                f"{'double' if dtype == dtypes.float64 else type_name(dtype)}: {text(field)}"
            )
        result[record] = value
    return result


@kernel("ParseTensor")
def parse_tensor(xp: Any, serialized: Array, *, out_type: DType) -> Array:
    """Decodes a serialized TensorProto, a string scalar, whose dtype must be ``out_type``."""
    if serialized.ndim:
        raise errors.invalid_argument(
            f"Expected `serialized` to be a scalar, got shape: {format_shape(serialized.shape)}"
        )
    try:
        proto = TensorProto.FromString(serialized.item())
        value = tensors.make_ndarray(proto)
    except (DecodeError, TypeError, errors.InvalidArgumentError):
        raise errors.invalid_argument("Cannot parse tensor from proto") from None
    actual = dtypes.as_dtype(proto.dtype)
    if actual != out_type:
        raise errors.invalid_argument(
            f"Type mismatch between parsed tensor ({type_name(actual)}) and dtype "
            f"({type_name(out_type)})"
        )
    return np.array(value)


@kernel("SerializeTensor")
def serialize_tensor(xp: Any, tensor: Array) -> Array:
    """Serializes a tensor to a TensorProto with TensorFlow's bytes, a string scalar."""
    proto = tensors.encode(tensor)
    if tensor.dtype == object:
        proto.ClearField("tensor_content")
        proto.string_val.extend(tensor.reshape(-1).tolist())
    return strings([proto.SerializeToString(deterministic=True)], ())


# tf.train.Example --------------------------------------------------------------------------------


def _sparse_features(keys: Sequence[bytes], types: Sequence[DType]) -> list[SparseFeature]:
    return [SparseFeature(text(key), dtype) for key, dtype in zip(keys, types, strict=True)]


def _dense_features(
    keys: Sequence[bytes], shapes: Sequence[Shape], defaults: Sequence[Array]
) -> list[DenseFeature]:
    features = [
        DenseFeature(text(key), dtypes.as_dtype(default.dtype), shape, default)
        for key, shape, default in zip(keys, shapes, defaults, strict=True)
    ]
    for i, feature in enumerate(features):
        feature.check(i)
    return features


def _records(serialized: Array, names: Array) -> list[Record]:
    if names.size and names.shape != serialized.shape:
        raise errors.invalid_argument(
            "Expected names have the same shape as serialized: "
            f"name.shape={format_shape(names.shape)}, "
            f"serialized.shape={format_shape(serialized.shape)}"
        )
    named = map(text, names.tolist()) if names.size else ["<unknown>"] * serialized.size
    return [
        Record.parse(data, f"Name: {name}, ")
        for data, name in zip(serialized.tolist(), named, strict=True)
    ]


def _transposed(triples: Sequence[tuple[Array, ...]], count: int) -> tuple[list[Array], ...]:
    """Returns ``count`` lists: the first arrays of all tuples, the second ones, and so on."""
    return tuple([t[i] for t in triples] for i in range(count))


@kernel("ParseExample")
def parse_example(
    xp: Any,
    serialized: Array,
    names: Array,
    sparse_keys: list[Array],
    dense_keys: list[Array],
    dense_defaults: list[Array],
    *,
    sparse_types: Sequence[DType],
    dense_shapes: Sequence[Shape],
) -> Any:
    """Parses a vector of serialized tf.train.Examples.

    Returns:
        Indices, values and shapes of the sparse features, then the dense ones ``[batch, *shape]``.
    """
    if serialized.ndim != 1:
        raise errors.invalid_argument(
            f"Expected serialized to be a vector, got shape: {format_shape(serialized.shape)}"
        )
    sparse = _sparse_features([k.item() for k in sparse_keys], sparse_types)
    dense = _dense_features([k.item() for k in dense_keys], dense_shapes, dense_defaults)
    records = _records(serialized, names)
    parts = _transposed([feature.batch(records) for feature in sparse], 3)
    return (*parts, [feature.batch(records) for feature in dense])


@kernel("ParseSingleExample")
def parse_single_example(
    xp: Any,
    serialized: Array,
    dense_defaults: list[Array],
    *,
    num_sparse: int,
    sparse_keys: Sequence[bytes],
    dense_keys: Sequence[bytes],
    sparse_types: Sequence[DType],
    dense_shapes: Sequence[Shape],
) -> Any:
    """Parses one serialized tf.train.Example, a string scalar."""
    if serialized.ndim:
        raise errors.invalid_argument(
            f"Expected serialized to be a scalar, got shape: {format_shape(serialized.shape)}"
        )
    if num_sparse != len(sparse_keys):
        raise errors.invalid_argument(
            f"num_sparse ({num_sparse}) must match the size of sparse_keys ({len(sparse_keys)})"
        )
    sparse = _sparse_features(sparse_keys, sparse_types)
    dense = _dense_features(dense_keys, dense_shapes, dense_defaults)
    record = Record.parse(serialized.item())
    parts = _transposed([feature.single(record) for feature in sparse], 3)
    return (*parts, [feature.single(record) for feature in dense])


@kernel("ParseExampleV2")
def parse_example_v2(
    xp: Any,
    serialized: Array,
    names: Array,
    sparse_keys: Array,
    dense_keys: Array,
    ragged_keys: Array,
    dense_defaults: list[Array],
    *,
    num_sparse: int,
    sparse_types: Sequence[DType],
    ragged_value_types: Sequence[DType],
    ragged_split_types: Sequence[DType],
    dense_shapes: Sequence[Shape],
) -> Any:
    """Parses one Example or a vector of them, also to ragged features (TensorFlow 2's op)."""
    if serialized.ndim > 1:
        raise errors.invalid_argument(
            "Expected serialized to be a scalar or vector, got shape: "
            f"{format_shape(serialized.shape)}"
        )
    if num_sparse != sparse_keys.size:
        raise errors.invalid_argument(
            f"len(sparse_keys) != num_sparse: {sparse_keys.size} vs. {num_sparse}"
        )
    sparse = _sparse_features(sparse_keys.tolist(), sparse_types)
    dense = _dense_features(dense_keys.tolist(), dense_shapes, dense_defaults)
    ragged = _sparse_features(ragged_keys.tolist(), ragged_value_types)
    if serialized.ndim:
        records = _records(serialized, names)
        parts = _transposed([feature.batch(records) for feature in sparse], 3)
        values = [feature.batch(records) for feature in dense]
        rows = [f.ragged(records, s) for f, s in zip(ragged, ragged_split_types, strict=True)]
    else:
        record = Record.parse(serialized.item())
        parts = _transposed([feature.single(record) for feature in sparse], 3)
        values = [feature.single(record) for feature in dense]
        rows = [
            (feature.ragged([record], splits)[0], np.zeros(0, splits.as_numpy_dtype))
            for feature, splits in zip(ragged, ragged_split_types, strict=True)
        ]
    return (*parts, values, *_transposed(rows, 2))


@kernel("ParseSingleSequenceExample")
def parse_single_sequence_example(
    xp: Any,
    serialized: Array,
    missing_assumed_empty: Array,
    context_sparse_keys: list[Array],
    context_dense_keys: list[Array],
    list_sparse_keys: list[Array],
    list_dense_keys: list[Array],
    context_dense_defaults: list[Array],
    debug_name: Array,
    *,
    context_sparse_types: Sequence[DType],
    feature_list_dense_types: Sequence[DType],
    context_dense_shapes: Sequence[Shape],
    feature_list_sparse_types: Sequence[DType],
    feature_list_dense_shapes: Sequence[Shape],
) -> Any:
    """Parses one SequenceExample: the features of its context and, for each step, of its lists."""
    if serialized.ndim:
        raise errors.invalid_argument(
            f"Expected serialized to be a scalar, got shape: {format_shape(serialized.shape)}"
        )
    name = text(debug_name.item()) if debug_name.size else "<unknown>"
    record = SequenceRecord(serialized.item(), name)

    def each_of(keys: list[Array], *others: Sequence[Any]) -> Any:
        return zip((text(key.item()) for key in keys), *others, strict=True)

    may_lack = set(map(text, missing_assumed_empty.reshape(-1).tolist()))
    context = [record.sparse(*f) for f in each_of(context_sparse_keys, context_sparse_types)]
    defaults = context_dense_defaults
    dense = [
        record.dense(key, dtypes.as_dtype(default.dtype), shape, default)
        for key, shape, default in each_of(context_dense_keys, context_dense_shapes, defaults)
    ]
    lists = [record.sparse_list(*f) for f in each_of(list_sparse_keys, feature_list_sparse_types)]
    dense_lists = [
        record.dense_list(key, dtype, shape, key in may_lack)
        for key, dtype, shape in each_of(
            list_dense_keys, feature_list_dense_types, feature_list_dense_shapes
        )
    ]
    return (*_transposed(context, 3), dense, *_transposed(lists, 3), dense_lists)
