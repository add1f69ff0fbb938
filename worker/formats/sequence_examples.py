"""Conversion of tf.train.SequenceExamples, a context and lists with a feature for each step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.messages.example_pb2 import Feature, FeatureList, SequenceExample
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape, format_shape, num_elements
from flowray.worker.formats.examples import KINDS, array, could_not_parse, type_name

Array = np.ndarray[Any, Any]


class SequenceRecord:
    """One parsed record; errors call it ``name``.

    All methods raise InvalidArgumentError with TensorFlow's text if the record lacks something.
    """

    def __init__(self, data: bytes, name: str) -> None:
        try:
            record = SequenceExample.FromString(data)
        except DecodeError:
            raise could_not_parse(data) from None
        self._context = record.context.feature
        self._lists = record.feature_lists.feature_list
        self._prefix = f"Name: {name}, "

    def _error(self, text: str) -> errors.OpError:
        return errors.invalid_argument(self._prefix + text)

    def _values(self, feature: Feature, dtype: DType, where: str) -> Sequence[Any]:
        kind = feature.WhichOneof("kind")
        if kind is None or KINDS[kind] != dtype:
            raise self._error(
                f"{where}.  Data types don't match. Expected type: {type_name(dtype)}  "
                f"Feature is: {feature}"
            )
        values: Sequence[Any] = getattr(feature, kind).value
        return values

    def _filled(
        self, values: Sequence[Any], key: str, step: int, dtype: DType, shape: Shape
    ) -> Array:
        if len(values) != num_elements(shape):
            raise self._error(
                f"Key: {key}, Index: {step}.  Number of {type_name(dtype)} values != expected.  "
                f"values size: {len(values)} but output shape: {format_shape(shape)}"
            )
        return array(values, dtype)

    # The context ----------------------------------------------------------------------------

    def _in_context(self, key: str, dtype: DType) -> Sequence[Any] | None:
        if key not in self._context or self._context[key].WhichOneof("kind") is None:
            return None
        return self._values(self._context[key], dtype, f"Context feature: {key}")

    def sparse(self, key: str, dtype: DType) -> tuple[Array, Array, Array]:
        """Makes a sparse vector of a feature of the context: indices, values and dense shape."""
        values = array(self._in_context(key, dtype) or (), dtype)
        indices = np.arange(len(values), dtype=np.int64)[:, None]
        return indices, values, np.array([len(values)], np.int64)

    def dense(self, key: str, dtype: DType, shape: Shape, default: Array) -> Array:
        """Returns a feature of the context of a fixed ``shape``.

        Required if the default is empty.
        """
        assert shape is not None
        values = self._in_context(key, dtype)
        if values is not None:
            return self._filled(values, key, 0, dtype, shape).reshape(shape)
        if not default.size:
            raise self._error(f"Context feature '{key}' is required but could not be found.")
        return default.reshape(shape)

    # The lists ------------------------------------------------------------------------------

    def _steps(self, key: str) -> Sequence[Feature] | None:
        feature_list: FeatureList | None = self._lists.get(key) if key in self._lists else None
        return None if feature_list is None else feature_list.feature

    def sparse_list(self, key: str, dtype: DType) -> tuple[Array, Array, Array]:
        """Makes a sparse matrix with a row for each step: indices, values and dense shape."""
        rows: list[Sequence[Any]] = []
        for step, feature in enumerate(self._steps(key) or ()):
            missing = feature.WhichOneof("kind") is None
            where = f"Feature List: {key}, Index: {step}"
            rows.append(() if missing else self._values(feature, dtype, where))
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        values = array(list(chain.from_iterable(rows)), dtype)
        row = np.repeat(np.arange(len(rows)), lengths)
        column = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        indices = np.stack([row, column], axis=1).astype(np.int64)
        return indices, values, np.array([len(rows), lengths.max(initial=0)], np.int64)

    def dense_list(self, key: str, dtype: DType, shape: Shape, may_lack: bool) -> Array:
        """Returns an array of shape ``[steps, *shape]``.

        If the record has no such list, there are no steps with ``may_lack``, and an error without.
        """
        assert shape is not None
        steps = self._steps(key)
        if steps is None and not may_lack:
            raise self._error(
                f"Feature list '{key}' is required but could not be found.  Did you mean to "
                "include it in feature_list_dense_missing_assumed_empty or "
                "feature_list_dense_defaults?"
            )
        rows = []
        for step, feature in enumerate(steps or ()):
            values = self._values(feature, dtype, f"Feature list: {key}, Index: {step}")
            rows.append(self._filled(values, key, step, dtype, shape))
        if not rows:
            return np.zeros((0, *shape), dtype.as_numpy_dtype)
        return np.stack(rows).reshape(len(rows), *shape)
