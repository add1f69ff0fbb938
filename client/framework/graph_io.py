"""Writing graphs to files."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf import text_format

from flowray.client.framework.graph import Graph
from flowray.client.tf_export import tf_export
from flowray.proto.files import durable_files
from flowray.proto.files.file_errors import translated


@tf_export("io.write_graph", "train.write_graph")
def write_graph(
    graph_or_graph_def: Any, logdir: str | os.PathLike[str], name: str, as_text: bool = True
) -> str:
    """Writes a graph, or any proto, into the file ``name`` in ``logdir`` and returns its path.

    The directory is made if it does not exist. An old file stays whole until the new one is.

    Args:
        as_text: whether to write it as text, and not in its binary form.
    """
    proto = graph_or_graph_def
    if isinstance(proto, Graph):
        proto = proto.as_graph_def()
    path = os.path.join(logdir, name)
    content = text_format.MessageToString(proto).encode() if as_text else proto.SerializeToString()
    with translated(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        durable_files.replace(path, content)
    return path
