"""Kernels that save tensors to checkpoints and restore them (``proto/files/checkpoint``).

Paths are those of the machine that runs the op.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.files.checkpoint import BundleReader, BundleWriter
from flowray.proto.files.checkpoint import merge as merge_checkpoints
from flowray.proto.files.checkpoint.slices import parse_shape_and_slice
from flowray.proto.files.filesystem import local_path
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel

Array = np.ndarray[Any, Any]

_TYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
"""The names of some types in TensorFlow's runtime, where they differ from its Python API."""


@kernel("SaveV2")
def save(
    xp: Any, prefix: Array, tensor_names: Array, shape_and_slices: Array, tensors: list[Array]
) -> None:
    """Writes tensors to the bundle ``prefix``, whole or as slices.

    Args:
        shape_and_slices: for each tensor "" or the full shape and the slice, such as ``"4 3
            0,2:-"``.
    """
    _check_inputs(prefix, tensor_names, shape_and_slices, len(tensors))
    with BundleWriter(_path(prefix)) as writer:
        for name, spec, tensor in zip(tensor_names, shape_and_slices, tensors, strict=True):
            value = np.asarray(tensor)
            if not spec:
                writer.add(name, value)
                continue
            full, part = parse_shape_and_slice(spec.decode())
            if part.shape(full) != value.shape:
                raise errors.invalid_argument(
                    "Slice in shape_and_slice specification does not match the shape of the "
                    f"tensor to  save: {spec.decode()}, tensor: {format_shape(value.shape)}"
                )
            writer.add_slice(name, full, part, value)


@kernel("RestoreV2")
def restore(
    xp: Any, prefix: Array, tensor_names: Array, shape_and_slices: Array, *, dtypes: list[DType]
) -> list[Array]:
    """Reads tensors from the bundle ``prefix``.

    Raises:
        InvalidArgumentError: a stored dtype is not the one in ``dtypes``; nothing is converted.
        NotFoundError: the bundle or a tensor does not exist.
    """
    _check_inputs(prefix, tensor_names, shape_and_slices, len(dtypes))
    values = []
    with BundleReader(_path(prefix)) as reader:
        for name, spec, dtype in zip(tensor_names, shape_and_slices, dtypes, strict=True):
            stored = reader.dtype(name)
            if stored is not dtype:
                raise errors.invalid_argument(
                    f"tensor_name = {name.decode()}; expected dtype {_type_name(dtype)} does not "
                    f"equal original dtype {_type_name(stored)}"
                )
            if spec:
                values.append(reader.read_slice(name, *parse_shape_and_slice(spec.decode())))
            else:
                values.append(reader.read(name))
    return values


@kernel("MergeV2Checkpoints")
def merge(
    xp: Any,
    checkpoint_prefixes: Array,
    destination_prefix: Array,
    *,
    delete_old_dirs: bool,
    allow_missing_files: bool,
) -> None:
    """Merges the bundles of several tasks into one by moving their data files."""
    if checkpoint_prefixes.ndim != 1:
        raise errors.invalid_argument(
            "Input checkpoint_prefixes should be an 1-D tensor, got "
            f"{format_shape(checkpoint_prefixes.shape)} instead."
        )
    merge_checkpoints(
        [_path(p) for p in checkpoint_prefixes.reshape(-1, 1)],
        _path(destination_prefix, "destination_prefix"),
        delete_old_dirs=delete_old_dirs,
        allow_missing_files=allow_missing_files,
    )


@kernel("ShardedFilename")
def sharded_filename(xp: Any, basename: Array, shard: Array, num_shards: Array) -> Array:
    """Returns ``basename-00001-of-00004`` as a string scalar."""
    for name, value in (("basename", basename), ("shard", shard), ("num_shards", num_shards)):
        if value.shape:
            raise errors.invalid_argument(
                f"{name} must be a scalar, got shape {format_shape(value.shape)}"
            )
    name = b"%s-%05d-of-%05d" % (basename[()], int(shard), int(num_shards))
    return np.array(name, np.object_)


def _check_inputs(prefix: Array, names: Array, specs: Array, count: int) -> None:
    _path(prefix)
    if names.ndim != 1:
        raise errors.invalid_argument(
            f"Input tensor_names should be an 1-D tensor, got {names.ndim} instead."
        )
    if specs.ndim != 1:
        raise errors.invalid_argument(
            f"Input shape_and_slices should be an 1-D tensor, got {specs.ndim} instead."
        )
    if names.size != specs.size:
        raise errors.invalid_argument(
            "tensor_names and shape_and_slices have different number of elements: "
            f"{names.size} vs. {specs.size}"
        )
    if names.size != count:
        raise errors.invalid_argument(f"Got {names.size} tensor names but {count} tensors.")


def _path(value: Array, name: str = "prefix") -> str:
    if value.size != 1:
        raise errors.invalid_argument(
            f"Input {name} should have a single element, got {value.size} instead."
        )
    return os.fsdecode(local_path(value.ravel()[0]))


def _type_name(dtype: DType) -> str:
    return _TYPE_NAMES.get(dtype.name, dtype.name)
