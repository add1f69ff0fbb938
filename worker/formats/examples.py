"""Conversion of tf.train.Example records to arrays, which all parsing ops share.

A record that cannot be parsed, lacks a feature, or has one of another kind raises TensorFlow's
InvalidArgumentError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.messages.example_pb2 import Example
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape, format_shape, num_elements

Array = np.ndarray[Any, Any]

KINDS = {"bytes_list": dtypes.string, "float_list": dtypes.float32, "int64_list": dtypes.int64}
"""The dtype that each kind of feature has."""
_C_NAMES = {dtypes.float32: "float"}


def type_name(dtype: DType) -> str:
    """Returns the name of the dtype in TensorFlow's messages."""
    return _C_NAMES.get(dtype, dtype.name)


def could_not_parse(data: bytes) -> errors.InvalidArgumentError:
    """Returns the error for bytes that are not an Example."""
    return errors.invalid_argument(
        f"Could not parse example input, value: '{data.decode('utf-8', 'replace')}'"
    )


@dataclass(frozen=True)
class Record:
    """One parsed record, and the words that its errors begin with."""

    features: Any
    prefix: str

    @classmethod
    def parse(cls, data: bytes, prefix: str = "") -> Record:
        """Parses a serialized Example; InvalidArgumentError if that is impossible."""
        try:
            return cls(Example.FromString(data).features.feature, prefix)
        except DecodeError:
            raise could_not_parse(data) from None

    def values(self, key: str, dtype: DType, mismatch: str) -> Sequence[Any] | None:
        """Returns the values of a feature.

        None if the record does not have it, or has an empty one.

        Args:
            mismatch: the text of the error for another kind, with fields ``got`` and ``wanted``.
        """
        if key not in self.features:
            return None
        feature = self.features[key]
        kind = feature.WhichOneof("kind")
        if kind is None:
            return None
        if KINDS[kind] != dtype:
            text = mismatch.format(got=type_name(KINDS[kind]), wanted=type_name(dtype))
            raise errors.invalid_argument(f"{self.at(key)}Data types don't match. {text}")
        values: Sequence[Any] = getattr(feature, kind).value
        return values

    def at(self, key: str) -> str:
        """Returns the beginning of an error about the feature."""
        index = "Index: 0.  " if self.prefix.startswith("Name") else ""
        return f"{self.prefix}Key: {key}{', ' if index else '.  '}{index}"


def array(values: Sequence[Any], dtype: DType) -> Array:
    """Makes a vector of ``values``."""
    if dtype == dtypes.string:
        result = np.empty(len(values), object)
        result[:] = list(values)
        return result
    return np.fromiter(values, dtype.as_numpy_dtype, len(values))


def _count(shape: Shape) -> int:
    """Returns the number of elements of a shape that is known."""
    count = num_elements(shape)
    assert count is not None
    return count


@dataclass(frozen=True)
class SparseFeature:
    """A feature with any number of values."""

    key: str
    dtype: DType

    def lists(self, records: Sequence[Record]) -> list[Sequence[Any]]:
        """Returns the values of each record; none where it lacks the feature."""
        mismatch = "Expected type: {wanted}, Actual type: {got}"
        return [r.values(self.key, self.dtype, mismatch) or () for r in records]

    def batch(self, records: Sequence[Record]) -> tuple[Array, Array, Array]:
        """Makes a sparse matrix with a row for each record: indices, values and dense shape."""
        lists = self.lists(records)
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        values = array(list(chain.from_iterable(lists)), self.dtype)
        row = np.repeat(np.arange(len(lists)), lengths)
        column = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        indices = np.stack([row, column], axis=1).astype(np.int64)
        return indices, values, np.array([len(lists), lengths.max(initial=0)], np.int64)

    def single(self, record: Record) -> tuple[Array, Array, Array]:
        """Makes a sparse vector: indices, values and dense shape."""
        values = array(self.lists([record])[0], self.dtype)
        indices = np.arange(len(values), dtype=np.int64)[:, None]
        return indices, values, np.array([len(values)], np.int64)

    def ragged(self, records: Sequence[Record], splits: DType) -> tuple[Array, Array]:
        """Returns all values, and the row splits: the beginning of each record and the end of the
        last.
        """
        lists = self.lists(records)
        ends = np.cumsum([0, *map(len, lists)]).astype(splits.as_numpy_dtype)
        return array(list(chain.from_iterable(lists)), self.dtype), ends


@dataclass(frozen=True)
class DenseFeature:
    """A feature of a fixed shape, or of one whose first dimension differs by record.

    ``default`` is empty if the record must have the feature. With a first dimension of None it is
    the one element that shorter records are padded with.
    """

    key: str
    dtype: DType
    shape: Shape
    default: Array

    @property
    def is_variable(self) -> bool:
        """Tells whether the first dimension differs by record."""
        return bool(self.shape) and self.shape[0] is None  # type: ignore[index]

    @property
    def stride(self) -> int:
        """Returns the number of values in one entry of the first dimension."""
        assert self.shape is not None
        return _count(self.shape[1:])

    def check(self, index: int) -> None:
        """Raises InvalidArgumentError if the shape or the default is not allowed."""
        assert self.shape is not None
        if None in self.shape[1:]:
            raise errors.invalid_argument(
                f"dense_shapes[{index}] has unknown rank or unknown inner dimensions: "
                f"{format_shape(self.shape)}"
            )
        given = format_shape(self.default.shape)
        if self.is_variable:
            if self.default.size != 1:
                raise errors.invalid_argument(
                    f"dense_shape[{index}] is a variable length shape: "
                    f"{format_shape(self.shape)}, therefore def_value[{index}] must contain a "
                    f"single element (the padding element).  But its shape is: {given}"
                )
        elif self.default.size and self.default.shape != self.shape:
            raise errors.invalid_argument(
                f"def_value[{index}].shape() == {given} is not compatible with "
                f"dense_shapes_[{index}] == {format_shape(self.shape)}"
            )

    def _of(self, record: Record) -> Array | None:
        """Returns the flat values of a record; None if it lacks the feature."""
        mismatch = "Data type: {got} but expected type: {wanted}"
        values = record.values(self.key, self.dtype, mismatch)
        return None if values is None else array(values, self.dtype)

    def _or_default(self, values: Array | None, record: Record) -> Array:
        if values is not None:
            return values
        if not self.default.size:
            raise errors.invalid_argument(
                f"{record.prefix}Feature: {self.key} (data type: {type_name(self.dtype)}) is "
                "required but could not be found."
            )
        return self.default.reshape(-1)

    def batch(self, records: Sequence[Record]) -> Array:
        """Stacks the feature of all records."""
        assert self.shape is not None
        if self.is_variable:
            return self._padded(records)
        size = _count(self.shape)
        result = np.empty((len(records), size), self.dtype.as_numpy_dtype)
        for row, record in zip(result, records, strict=True):
            values = self._or_default(self._of(record), record)
            if len(values) != size:
                raise errors.invalid_argument(
                    f"{record.at(self.key)}Number of {type_name(self.dtype)} values != expected.  "
                    f"Values size: {len(values)} but output shape: {format_shape(self.shape)}"
                )
            row[:] = values
        return result.reshape(len(records), *self.shape)

    def _padded(self, records: Sequence[Record]) -> Array:
        assert self.shape is not None
        found = []
        for record in records:
            values = self._of(record)
            found.append(array((), self.dtype) if values is None else values)
            if len(found[-1]) % max(self.stride, 1):
                raise errors.invalid_argument(
                    f"{record.at(self.key)}Number of {type_name(self.dtype)} values is not a "
                    f"multiple of stride length. Saw {len(found[-1])} values but output shape is: "
                    f"{format_shape(self.shape)}"
                )
        longest = max(map(len, found), default=0)
        padding = self.default.reshape(-1)[0]
        result = np.full((len(records), longest), padding, self.dtype.as_numpy_dtype)
        for row, values in zip(result, found, strict=True):
            row[: len(values)] = values
        length = longest // max(self.stride, 1)
        return result.reshape(len(records), length, *self.shape[1:])

    def single(self, record: Record) -> Array:
        """Returns the feature of one record, without padding."""
        assert self.shape is not None
        values = self._of(record)
        if self.is_variable:
            values = array((), self.dtype) if values is None else values
            if len(values) % max(self.stride, 1):
                raise errors.invalid_argument(
                    f"Error while parsing feature with key {self.key}: number of elements should "
                    f"be divisible by {self.stride}, found {len(values)} instead"
                )
            return values.reshape(-1, *self.shape[1:])
        values = self._or_default(values, record)
        if len(values) != _count(self.shape):
            raise errors.invalid_argument(
                f"{record.at(self.key)}Number of {type_name(self.dtype)} values != expected.  "
                f"Values size: {len(values)} but output shape: {format_shape(self.shape)}"
            )
        return values.reshape(self.shape)
