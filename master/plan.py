"""The plan of a run signature, made once: its stages, and the sources of their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowray.master.passes.graph import Graph
from flowray.master.passes.loops import with_while_nodes
from flowray.master.passes.partition import by_device
from flowray.master.passes.prune import prune
from flowray.master.passes.reads import order_reads
from flowray.master.passes.stages import StageGraph, cut, value_of
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from flowray.proto.ops.array_ops import SCALAR_PLACEHOLDERS_VERSION
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes, shapes
from flowray.proto.types.dtypes import DType, type_name
from flowray.proto.types.shapes import Shape
from flowray.proto.wire.stage import Stage

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of a value: output ``index`` of a stage, or feed ``index`` if there is none."""

    stage: int | None
    index: int


@dataclass(frozen=True, slots=True)
class FeedCheck:
    """The dtype and shape that a fed value must have."""

    tensor: TensorId
    dtype: DType
    numpy_dtype: np.dtype[Any]
    shape: Shape
    """Of a placeholder that states one; else unknown."""

    def check(self, value: Any) -> Array:
        """Returns ``value`` as an array.

        Raises:
            InternalError: it has another dtype (TensorFlow's code and text).
            InvalidArgumentError: it has a shape that the placeholder does not admit.
        """
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if array.dtype != self.numpy_dtype:
            try:
                given = type_name(dtypes.as_dtype(array.dtype))
            except TypeError:
                given = str(array.dtype)
            if array.dtype.kind not in "SU" or self.dtype is not dtypes.string:
                raise errors.internal(
                    f"Output 0 of type {given} does not match declared output type "
                    f"{type_name(self.dtype)} for node {{{{node {self.tensor.node}}}}}",
                    node=self.tensor.node,
                )
        if self.shape is not None and not shapes.is_compatible(self.shape, array.shape):
            raise errors.invalid_argument(
                f"Cannot feed value of shape {shapes.format_shape(array.shape)} for tensor "
                f"'{self.tensor}', which has shape {shapes.format_shape(self.shape)}",
                node=self.tensor.node,
            )
        return array


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step of some feeds, fetches and targets. Feeds and outputs are known by position."""

    feeds: tuple[FeedCheck, ...]
    stages: tuple[Stage, ...]
    tasks: tuple[str, ...]
    after: tuple[tuple[int, ...], ...]
    """For each stage, those that must be done before."""
    inputs: tuple[tuple[Source, ...], ...]
    """For each stage, where its inputs come from."""
    fetches: tuple[Source, ...]
    partition_graphs: tuple[graph_pb2.GraphDef, ...]
    """One per device, for RunMetadata."""


def make_plan(
    graph: Graph,
    devices: Mapping[str, str],
    feeds: Sequence[TensorId],
    fetches: Sequence[TensorId],
    targets: Sequence[str],
    *,
    session: str,
    prefix: str,
    state_scope: str = "",
) -> StepPlan:
    """Makes the plan of a step over a placed graph. Stage handles begin with ``prefix``.

    Raises:
        InvalidArgumentError, NotFoundError, UnimplementedError: see ``passes.prune`` and
            ``passes.loops``.
    """
    pruned = prune(graph, feeds, fetches, targets)
    functional, places = with_while_nodes(pruned, devices, feeds, fetches, targets)
    ordered, places = order_reads(functional, places, feeds)
    cuts = cut(ordered, places, feeds, fetches, targets)
    stages = tuple(
        Stage(
            handle=f"{prefix}/{i}",
            session=session,
            graph=part.graph,
            inputs=tuple(map(str, part.inputs)),
            outputs=tuple(map(str, part.outputs)),
            ref_outputs=frozenset(map(str, part.ref_outputs)),
            blocks=part.blocks,
            keeps_step_resources=part.keeps_step_resources,
            state_scope=state_scope,
            input_conditions=part.input_conditions,
            node_conditions=part.node_conditions,
        )
        for i, part in enumerate(cuts)
    )
    fed = {tensor: Source(None, i) for i, tensor in enumerate(feeds)}
    made = _made(cuts)
    return StepPlan(
        tuple(_feed_check(graph, tensor) for tensor in feeds),
        stages,
        tuple(part.task for part in cuts),
        tuple(part.after for part in cuts),
        tuple(tuple(fed[t] if t in fed else made[t] for t in part.inputs) for part in cuts),
        tuple(made.get(value_of(t)) or made[t] for t in fetches),
        tuple(by_device(pruned, devices)),
    )


def _made(cuts: Sequence[StageGraph]) -> dict[TensorId, Source]:
    return {
        tensor: Source(stage, i)
        for stage, part in enumerate(cuts)
        for i, tensor in enumerate(part.outputs)
    }


def _feed_check(graph: Graph, tensor: TensorId) -> FeedCheck:
    node = graph.nodes[tensor.node]
    dtype = node.output_types[tensor.index].base_dtype
    shape: Shape = None
    if node.op.kind is OpKind.PLACEHOLDER:
        shape = node.attrs["shape"]
        is_old = graph.versions.producer < SCALAR_PLACEHOLDERS_VERSION
        if shape == () and is_old and node.op.name == "Placeholder":
            shape = None
    return FeedCheck(tensor, dtype, dtype.np_dtype or np.dtype(object), shape)
