"""Steps by names, for tests that do not care about handles of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowray.master.master import Master
from flowray.proto.messages import config_pb2
from flowray.proto.wire.signature import RunSignature


def run_step(
    transport: Any,
    handle: str,
    feed_names: Sequence[str],
    feed_values: Sequence[Any],
    fetches: Sequence[str],
    targets: Sequence[str],
    options: config_pb2.RunOptions | None = None,
) -> tuple[Sequence[Any], config_pb2.RunMetadata | None]:
    """Prepares and runs a step over a transport; returns the fetched values and the metadata."""
    signature = RunSignature(tuple(feed_names), tuple(fetches), tuple(targets))
    result: tuple[Sequence[Any], config_pb2.RunMetadata | None] = transport.run(
        handle, transport.prepare_run(handle, signature), feed_values, options
    )
    return result


def run_on_master(
    master: Master,
    handle: str,
    feeds: Mapping[str, Any],
    fetches: Sequence[str],
    targets: Sequence[str] = (),
    options: config_pb2.RunOptions | None = None,
    metadata: config_pb2.RunMetadata | None = None,
) -> list[Any]:
    """Prepares and runs a step on a master; returns the fetched values, fills in ``metadata``."""
    signature = RunSignature(tuple(feeds), tuple(fetches), tuple(targets))
    result = master.run(
        handle, master.prepare_run(handle, signature), list(feeds.values()), options
    )
    if metadata is not None and result.metadata is not None:
        metadata.CopyFrom(result.metadata)
    return list(result.tensors)
