"""Kernels that read and write whole files. Paths are those of the machine that runs the op."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.files import filesystem
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.string_ops import strings

Array = np.ndarray[Any, Any]


def _check_scalar(x: Array, name: str) -> None:
    if x.ndim:
        raise errors.invalid_argument(
            f"{name} tensor must be scalar, but had shape: {format_shape(x.shape)}"
        )


@kernel("ReadFile")
def read_file(xp: Any, filename: Array) -> Array:
    """Reads a file as a string scalar; NotFoundError if it does not exist."""
    _check_scalar(filename, "Input filename")
    return strings([filesystem.read(filename.item())], ())


@kernel("WriteFile")
def write_file(xp: Any, filename: Array, contents: Array) -> None:
    """Writes a string scalar to a file; missing directories are created."""
    _check_scalar(filename, "Input filename")
    _check_scalar(contents, "Contents")
    filesystem.write(filename.item(), contents.item())


@kernel("MatchingFiles")
def matching_files(xp: Any, pattern: Array) -> Array:
    """Returns the sorted paths that match any of the patterns.

    One that matches two appears twice.
    """
    if pattern.ndim > 1:
        raise errors.invalid_argument(
            "Input patterns tensor must be scalar or vector, but had shape: "
            f"{format_shape(pattern.shape)}"
        )
    found = sorted(path for p in pattern.reshape(-1).tolist() for path in filesystem.matching(p))
    return strings(found, (len(found),))
