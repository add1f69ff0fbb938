"""User functions that turn records into tensors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.framework.sparse_tensor import SparseTensor
from flowray.client.ops import array_ops
from flowray.client.ops.array_ops import _one_of
from flowray.client.tf_export import tf_export
from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape, as_shape

# Numbers and text ---------------------------------------------------------------------------------


@tf_export("decode_raw", "io.decode_raw")
def decode_raw(
    input_bytes: Any = None,
    out_type: Any = None,
    little_endian: bool = True,
    name: str | None = None,
    bytes: Any = None,
) -> Tensor:
    """Reads the bytes of strings as numbers, along a new last dimension.

    Args:
        input_bytes: strings, all of one length (once called ``bytes``).
        out_type: the dtype of the numbers.
        little_endian: whether their least significant bytes come first.
    """
    contents = _one_of("input_bytes", input_bytes, "bytes", bytes)
    if out_type is None:
        raise ValueError("decode_raw() missing 1 required positional argument: 'out_type'")
    return output_of(
        "DecodeRaw", contents, out_type=out_type, little_endian=little_endian, name=name
    )


@tf_export("decode_csv", "io.decode_csv")
def decode_csv(
    records: Any,
    record_defaults: Sequence[Any],
    field_delim: str = ",",
    use_quote_delim: bool = True,
    name: str | None = None,
    na_value: str = "",
    select_cols: Sequence[int] | None = None,
) -> list[Tensor]:
    """Splits lines of comma-separated values into fields, a tensor for each field.

    Args:
        records: strings of any shape, which the results have, too.
        record_defaults: one for each field: its dtype, and the value where it is empty; a tensor
            without elements says that it must not be.
        field_delim: the separator of fields, one character.
        use_quote_delim: whether fields in double quotes may have any characters.
        na_value: another text that stands for an empty field.
        select_cols: the numbers of the fields that are wanted, in ascending order; all if None.
    """
    if select_cols is not None:
        if any(a >= b for a, b in itertools.pairwise(select_cols)):
            raise ValueError("select_cols is not strictly increasing.")
        if select_cols and select_cols[0] < 0:
            raise ValueError("select_cols contains negative values.")
        if len(select_cols) != len(record_defaults):
            raise ValueError("Length of select_cols and record_defaults do not match.")
    columns: list[Tensor] = apply_op(
        "DecodeCSV",
        records,
        record_defaults,
        field_delim=field_delim,
        name=name,
        use_quote_delim=use_quote_delim,
        na_value=na_value,
        select_cols=select_cols,
    )
    return columns


@tf_export("parse_tensor", "io.parse_tensor")
def parse_tensor(serialized: Any, out_type: Any, name: str | None = None) -> Tensor:
    """Decodes a serialized TensorProto, a scalar string."""
    return output_of("ParseTensor", serialized, out_type=out_type, name=name)


@tf_export("serialize_tensor", "io.serialize_tensor")
def serialize_tensor(tensor: Any, name: str | None = None) -> Tensor:
    """Serializes a tensor to a TensorProto, a scalar string."""
    return output_of("SerializeTensor", tensor, name=name)


# tf.train.Example ---------------------------------------------------------------------------------


@tf_export("VarLenFeature", "io.VarLenFeature")
class VarLenFeature(NamedTuple):
    """A feature with any number of values, which becomes a SparseTensor."""

    dtype: Any


@tf_export("FixedLenFeature", "io.FixedLenFeature")
class FixedLenFeature(NamedTuple):
    """A feature whose values have a fixed shape.

    ``default_value`` stands where a record has none; without it every record must have them.
    """

    shape: Any
    dtype: Any
    default_value: Any = None


@tf_export("FixedLenSequenceFeature", "io.FixedLenSequenceFeature")
class FixedLenSequenceFeature(NamedTuple):
    """A feature with any number of entries of a fixed shape.

    Batches are padded to the longest with ``default_value``, or zero or the empty string.
    """

    shape: Any
    dtype: Any
    allow_missing: bool = False
    default_value: Any = None


Features = Mapping[str, VarLenFeature | FixedLenFeature | FixedLenSequenceFeature]


class _Parsed:
    """The features as the ops' arguments, in the order of their names."""

    def __init__(self, features: Features) -> None:
        if not features:
            raise ValueError(f"Argument `features` cannot be None or falsy. Got {features}")
        self.sparse_keys: list[str] = []
        self.sparse_types: list[DType] = []
        self.dense_keys: list[str] = []
        self.dense_shapes: list[Shape] = []
        self.dense_defaults: list[Tensor] = []
        for key in sorted(features):
            feature = features[key]
            if not isinstance(feature, VarLenFeature | FixedLenFeature | FixedLenSequenceFeature):
                raise ValueError(f"Unsupported {type(feature).__name__} {feature} for key '{key}'")
            if not feature.dtype:
                raise ValueError(f"Missing type for feature {key}. Received feature={feature}.")
            if isinstance(feature, VarLenFeature):
                self.sparse_keys.append(key)
                self.sparse_types.append(dtypes.as_dtype(feature.dtype))
            else:
                self._add_dense(key, feature)

    def _add_dense(self, key: str, feature: FixedLenFeature | FixedLenSequenceFeature) -> None:
        if feature.shape is None:
            raise ValueError(f"Missing shape for feature {key}. Received feature={feature}.")
        shape, dtype = as_shape(feature.shape), dtypes.as_dtype(feature.dtype)
        default = feature.default_value
        if isinstance(feature, FixedLenSequenceFeature):
            if not feature.allow_missing:
                raise ValueError(
                    "Unsupported: FixedLenSequenceFeature requires allow_missing to be True."
                )
            padding = default
            if padding is None:
                padding = "" if dtype == dtypes.string else np.zeros((), dtype.as_numpy_dtype)
            value = convert_to_tensor(padding, dtype, name=f"padding_{_as_name(key)}")
            value = array_ops.reshape(value, [])
            self.dense_shapes.append((None, *shape.as_list()))
        else:
            if shape.ndims and shape.as_list()[0] is None:
                raise ValueError(
                    f"First dimension of shape for feature {key} unknown. Consider using "
                    f"FixedLenSequenceFeature. Received feature={feature}."
                )
            if not shape.is_fully_defined():
                raise ValueError(
                    f"All dimensions of shape for feature {key} need to be known but received "
                    f"{shape}."
                )
            if default is None:
                value = constant([], dtype)
            else:
                value = convert_to_tensor(default, dtype, name=f"key_{_as_name(key)}")
                value = array_ops.reshape(value, shape.as_list())
            self.dense_shapes.append(shape.as_tuple())
        self.dense_keys.append(key)
        self.dense_defaults.append(value)

    def result(self, outputs: Any) -> dict[str, Tensor | SparseTensor]:
        """Returns the op's outputs by feature."""
        indices, values, shapes, dense = outputs
        sparse = (SparseTensor(*parts) for parts in zip(indices, values, shapes, strict=True))
        return {
            **dict(zip(self.sparse_keys, sparse, strict=True)),
            **dict(zip(self.dense_keys, dense, strict=True)),
        }


def _as_name(key: str) -> str:
    """Replaces the characters of ``key`` that the name of a node may not have."""
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_.\\-/" else "_" for c in key)


@tf_export("parse_example", "io.parse_example")
def parse_example(
    serialized: Any, features: Features, name: str | None = None, example_names: Any = None
) -> dict[str, Any]:
    """Parses the features of a batch of serialized ``tf.train.Example``.

    Args:
        serialized: a vector of strings.
        features: from feature names to FixedLenFeature (a tensor [batch] + shape), VarLenFeature
            (a SparseTensor [batch, longest]) or FixedLenSequenceFeature (a tensor [batch, longest]
            + shape).
        example_names: a vector of the examples' names in errors.
    """
    with name_scope(name, "ParseExample", [serialized, example_names]):
        parsed = _Parsed(features)
        serialized = convert_to_tensor(serialized, dtypes.string, name="serialized")
        names = constant([], dtypes.string) if example_names is None else example_names
        outputs = apply_op(
            "ParseExample",
            serialized,
            names,
            parsed.sparse_keys,
            parsed.dense_keys,
            parsed.dense_defaults,
            sparse_types=parsed.sparse_types,
            dense_shapes=parsed.dense_shapes,
        )
        return parsed.result(outputs)


@tf_export("parse_single_example", "io.parse_single_example")
def parse_single_example(
    serialized: Any, features: Features, name: str | None = None, example_names: Any = None
) -> dict[str, Any]:
    """Parses the features of one serialized ``tf.train.Example``.

    Args:
        serialized: a scalar string.
        features: as for ``parse_example``; the results lack the batch's dimension.
        example_names: a scalar: the example's name in errors.
    """
    with name_scope(name, "ParseSingleExample", [serialized, example_names]):
        if example_names is not None:
            raise errors.unimplemented("flowray's parse_single_example takes no example_names yet")
        parsed = _Parsed(features)
        serialized = convert_to_tensor(serialized, dtypes.string, name="serialized")
        outputs = apply_op(
            "ParseSingleExample",
            serialized,
            parsed.dense_defaults,
            num_sparse=len(parsed.sparse_keys),
            sparse_keys=parsed.sparse_keys,
            dense_keys=parsed.dense_keys,
            sparse_types=parsed.sparse_types,
            dense_shapes=parsed.dense_shapes,
        )
        return parsed.result(outputs)


@tf_export("parse_single_sequence_example", "io.parse_single_sequence_example")
def parse_single_sequence_example(
    serialized: Any,
    context_features: Features | None = None,
    sequence_features: Features | None = None,
    example_name: Any = None,
    name: str | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parses the context and the sequences of a serialized ``tf.train.SequenceExample``.

    Args:
        serialized: a scalar string.
        context_features: FixedLenFeature and VarLenFeature by name, as for
            ``parse_single_example``.
        sequence_features: FixedLenSequenceFeature (a tensor [steps] + shape) and VarLenFeature (a
            SparseTensor [steps, most values]) by name.
        example_name: the record's name in errors, a scalar string.
    """
    if not (context_features or sequence_features):
        raise ValueError("Both `context_features` and `sequence_features` argument are None")
    with name_scope(name, "ParseSingleSequenceExample", [serialized, example_name]):
        context = _Parsed(context_features) if context_features else None
        lists = _SequenceFeatures(sequence_features or {})
        empty: list[Any] = []
        outputs = apply_op(
            "ParseSingleSequenceExample",
            serialized,
            convert_to_tensor(lists.may_lack or np.zeros(0, object), dtypes.string),
            context.sparse_keys if context else empty,
            context.dense_keys if context else empty,
            lists.sparse_keys,
            lists.dense_keys,
            context.dense_defaults if context else empty,
            "" if example_name is None else example_name,
            context_sparse_types=context.sparse_types if context else empty,
            context_dense_shapes=context.dense_shapes if context else empty,
            feature_list_sparse_types=lists.sparse_types,
            feature_list_dense_types=lists.dense_types,
            feature_list_dense_shapes=lists.dense_shapes,
        )
        sparse = (SparseTensor(*parts) for parts in zip(*outputs[4:7], strict=True))
        return (
            context.result(outputs[:4]) if context else {},
            {
                **dict(zip(lists.sparse_keys, sparse, strict=True)),
                **dict(zip(lists.dense_keys, outputs[7], strict=True)),
            },
        )


class _SequenceFeatures:
    """The features of sequences as the op's arguments, in the order of their names."""

    def __init__(self, features: Features) -> None:
        self.sparse_keys: list[str] = []
        self.sparse_types: list[DType] = []
        self.dense_keys: list[str] = []
        self.dense_types: list[DType] = []
        self.dense_shapes: list[Shape] = []
        self.may_lack: list[str] = []
        for key in sorted(features):
            feature = features[key]
            if not isinstance(feature, VarLenFeature | FixedLenSequenceFeature):
                raise ValueError(f"Unsupported {type(feature).__name__} {feature} for key '{key}'")
            if isinstance(feature, VarLenFeature):
                self.sparse_keys.append(key)
                self.sparse_types.append(dtypes.as_dtype(feature.dtype))
                continue
            if feature.default_value is not None:
                raise ValueError(f"default_value in sequence feature {key} is not supported.")
            self.dense_keys.append(key)
            self.dense_types.append(dtypes.as_dtype(feature.dtype))
            self.dense_shapes.append(as_shape(feature.shape).as_tuple())
            if feature.allow_missing:
                self.may_lack.append(key)
