"""A run signature that is ready to run: its plan, with feeds and fetches in the caller's order.

A plan does not depend on the order in which a caller names feeds and fetches. A prepared run does:
it says for each input of a stage which of the caller's values that is, and for each of the caller's
fetches which output of which stage, so that a step looks nothing up by name and reorders nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowray.master.plan import FeedCheck, Source, StepPlan
from flowray.master.step_state import StageOrder
from flowray.master.worker_api import Worker
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from flowray.proto.wire.stage import Stage


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """The data that all steps of one run signature share."""

    checks: tuple[FeedCheck, ...]
    """Of the caller's feeds, in their order."""
    stages: tuple[Stage, ...]
    workers: tuple[Worker, ...]
    """The worker of each stage."""
    worker_of: Mapping[str, Worker]
    """All workers by task."""
    order: StageOrder
    inputs: tuple[tuple[tuple[int | None, int], ...], ...]
    """For each input of each stage, the stage that makes it and the position among its outputs; or
    None, and the position among the caller's feeds."""
    fetches: tuple[tuple[int, int], ...]
    """For each of the caller's fetches, the stage and the position among its outputs."""
    partition_graphs: tuple[graph_pb2.GraphDef, ...]
    """One per device, for RunMetadata."""
    takes_feeds_as_inputs: bool
    """True for a run of one stage whose inputs are the caller's feeds as they come."""
    gives_outputs_as_fetches: bool
    """True for a run of one stage whose outputs are the caller's fetches as they are."""


def prepare(
    plan: StepPlan,
    feeds: Sequence[TensorId],
    fetches: Sequence[TensorId],
    workers: Mapping[str, Worker],
) -> PreparedRun:
    """Returns ``plan`` for a caller that brings ``feeds`` and wants ``fetches``, in these orders.

    Args:
        plan: made for the same feeds, and for the sorted set of ``fetches``.
        feeds, fetches: in the caller's order.
        workers: by task.
    """
    positions = [feeds.index(check.tensor) for check in plan.feeds]
    checks = {check.tensor: check for check in plan.feeds}
    inputs = tuple(
        tuple(
            (None, positions[source.index])
            if source.stage is None
            else (source.stage, source.index)
            for source in sources
        )
        for sources in plan.inputs
    )
    sources = dict(zip(sorted(set(fetches)), plan.fetches, strict=True))
    fetched = tuple(_output(sources[tensor]) for tensor in fetches)
    is_single = len(plan.stages) == 1
    return PreparedRun(
        tuple(checks[tensor] for tensor in feeds),
        plan.stages,
        tuple(workers[task] for task in plan.tasks),
        workers,
        StageOrder(plan.tasks, plan.after),
        inputs,
        fetched,
        plan.partition_graphs,
        is_single and inputs[0] == tuple((None, i) for i in range(len(feeds))),
        is_single and fetched == tuple((0, i) for i in range(len(plan.stages[0].outputs))),
    )


def _output(source: Source) -> tuple[int, int]:
    if source.stage is None:
        raise errors.internal("a fetched tensor is fed; the pass prune refuses those")
    return source.stage, source.index
