"""Event files that a worker writes: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import no_outputs, scalar
from flowray.proto.ops.op_registry import op

op(
    "SummaryWriter",
    "-> writer: resource",
    shared_name="",
    container="",
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=scalar,
)
op(
    "CreateSummaryFileWriter",
    "writer: resource, logdir: string, max_queue: int32, flush_millis: int32, "
    "filename_suffix: string ->",
    stateful=True,
    host_only=True,
    shape=no_outputs,
)
op(
    "ImportEvent",
    "writer: resource, event: string ->",
    stateful=True,
    host_only=True,
    shape=no_outputs,
)
for _name in ("FlushSummaryWriter", "CloseSummaryWriter"):
    op(_name, "writer: resource ->", stateful=True, host_only=True, shape=no_outputs)
