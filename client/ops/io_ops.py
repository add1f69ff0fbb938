"""User functions for whole files. Paths are those of the task that runs the op."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Operation, Tensor
from flowray.client.framework.op_builder import make_op, output_of
from flowray.client.tf_export import tf_export


@tf_export("read_file", "io.read_file")
def read_file(filename: Any, name: str | None = None) -> Tensor:
    """Reads the file ``filename`` as a string scalar; a run fails with NotFoundError without it."""
    return output_of("ReadFile", filename, name=name)


@tf_export("write_file", "io.write_file")
def write_file(filename: Any, contents: Any, name: str | None = None) -> Operation:
    """Makes an operation that writes ``contents`` to ``filename``, and creates its directories."""
    return make_op("WriteFile", filename, contents, name=name)


@tf_export("matching_files", "io.matching_files")
def matching_files(pattern: Any, name: str | None = None) -> Tensor:
    """Returns the sorted paths that match a glob pattern, or any of a vector of patterns."""
    return output_of("MatchingFiles", pattern, name=name)
