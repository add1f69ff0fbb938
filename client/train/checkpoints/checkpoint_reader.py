"""Reading checkpoints without a graph."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flowray.client.tf_export import tf_export
from flowray.client.train.checkpoints.checkpoint_management import latest_checkpoint
from flowray.proto.files.checkpoint import BundleReader
from flowray.proto.files.checkpoint.bundle_reader import HEADER_KEY
from flowray.proto.messages.checkpoint_pb2 import BundleEntryProto
from flowray.proto.messages.types_pb2 import DataType
from flowray.proto.types import shapes
from flowray.proto.types.dtypes import DType


class CheckpointReader:
    """A reader of the tensors of a checkpoint, as ``tf.train.NewCheckpointReader`` returns it.

    Raises:
        NotFoundError: there is no checkpoint with this prefix.
        DataLossError: it is damaged.
    """

    def __init__(self, filepattern: str | os.PathLike[str]) -> None:
        self._reader = BundleReader(os.fspath(filepattern))

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shapes of all tensors, by name."""
        names = self._reader.names()
        return {name.decode(): list(self._reader.shape(name)) for name in names}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Returns the dtypes of all tensors, by name."""
        names = self._reader.names()
        return {name.decode(): self._reader.dtype(name) for name in names}

    def has_tensor(self, tensor_str: str) -> bool:
        """Tells whether there is a tensor called ``tensor_str``."""
        return tensor_str.encode() in self._reader

    def get_tensor(self, tensor_str: str) -> Any:
        """Returns the value: a numpy array, a numpy scalar for a scalar, bytes for a string.

        Raises:
            NotFoundError: there is no such tensor.
            DataLossError: its bytes are damaged.
        """
        if not isinstance(tensor_str, str | bytes):
            raise TypeError(f"Expected binary or unicode string, got {tensor_str!r}")
        name = tensor_str.encode() if isinstance(tensor_str, str) else tensor_str
        value: np.ndarray[Any, Any] = self._reader.read(name)
        return value if value.shape else value[()]

    def debug_string(self) -> bytes:
        """Returns a line for each entry: its key, dtype and shape.

        Parts of variables have entries of their own.
        """
        lines = [
            _line(key, entry)
            for key, entry in self._reader.entries()
            if key != HEADER_KEY and not entry.slices
        ]
        return b"".join(lines)


def _line(key: bytes, entry: BundleEntryProto) -> bytes:
    shape = shapes.format_shape(shapes.from_proto(entry.shape))
    return key + f" ({DataType.Name(entry.dtype)}) {shape}\n".encode()


@tf_export("train.NewCheckpointReader")
def NewCheckpointReader(filepattern: str | os.PathLike[str]) -> CheckpointReader:
    """Returns a reader of the checkpoint with the prefix ``filepattern``."""
    return CheckpointReader(filepattern)


def checkpoint_prefix(ckpt_dir_or_file: str | os.PathLike[str]) -> str:
    """Returns the prefix itself, or that of the latest checkpoint in a directory.

    Raises:
        ValueError: there is none in the directory.
    """
    path = os.fspath(ckpt_dir_or_file)
    prefix = latest_checkpoint(path) if os.path.isdir(path) else path
    if prefix is None:
        raise ValueError(
            f"Couldn't find 'checkpoint' file or checkpoints in given directory {path}"
        )
    return prefix


@tf_export("train.load_checkpoint")
def load_checkpoint(ckpt_dir_or_file: str | os.PathLike[str]) -> CheckpointReader:
    """Returns a reader of a checkpoint, or of the latest one in a directory."""
    return NewCheckpointReader(checkpoint_prefix(ckpt_dir_or_file))


@tf_export("train.load_variable")
def load_variable(ckpt_dir_or_file: str | os.PathLike[str], name: str) -> Any:
    """Returns the value of the variable ``name`` (or ``name:0``) in a checkpoint."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


@tf_export("train.list_variables")
def list_variables(ckpt_dir_or_file: str | os.PathLike[str]) -> list[tuple[str, list[int]]]:
    """Returns the names and shapes of all variables in a checkpoint, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())
