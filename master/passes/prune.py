"""Prunes a graph to the nodes that the fetches and targets of a step need, cut at its feeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flowray.master.passes.graph import Graph, topological
from flowray.proto import errors
from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.ops.op_registry import OpKind


def prune(
    graph: Graph,
    feeds: Sequence[TensorId],
    fetches: Sequence[TensorId],
    targets: Sequence[str],
) -> Graph:
    """Returns the nodes that the step runs.

    A fed tensor is not computed for those who read it; the node that makes it stays only if
    something else needs that node. Who reads a fed tensor still names it. A control edge from a fed
    placeholder counts as fulfilled; the placeholder as a target does not: it runs, and complains.

    Raises:
        InvalidArgumentError, NotFoundError: a feed, fetch or target does not exist, is given twice,
            or there is nothing to run (TensorFlow's texts).
    """
    _check(graph, feeds, fetches, targets)
    fed = frozenset(feeds)
    fulfilled = {t.node for t in feeds if graph.nodes[t.node].op.kind is OpKind.PLACEHOLDER}
    needed: dict[str, Node] = {}
    pending = [t.node for t in fetches]
    pending += targets
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        node = graph.nodes[name]
        if fulfilled and not fulfilled.isdisjoint(node.control_inputs):
            kept = tuple(c for c in node.control_inputs if c not in fulfilled)
            node = replace(node, control_inputs=kept)
        needed[name] = node
        pending.extend(t.node for t in node.inputs if t not in fed)
        pending.extend(node.control_inputs)
    return graph.with_nodes(needed[name] for name in graph.nodes if name in needed)


def connect(graph: Graph, connections: Sequence[tuple[TensorId, TensorId]]) -> Graph:
    """Returns the graph in which readers of ``to`` read ``from`` instead, for each (from, to).

    Raises:
        NotFoundError: an end does not exist.
        InvalidArgumentError: an end has no such output, the dtypes differ, ``to`` occurs twice, or
            there would be a cycle.
    """
    if not connections:
        return graph
    replaced: dict[TensorId, TensorId] = {}
    for source, destination in connections:
        for tensor in (source, destination):
            _output(graph, tensor, "TensorConnection")
        if destination in replaced:
            raise errors.invalid_argument(
                f'Endpoint "{destination}" fed more than once.', node=destination.node
            )
        types = [graph.nodes[t.node].output_types[t.index] for t in (source, destination)]
        if types[0].base_dtype is not types[1].base_dtype:
            raise errors.invalid_argument(
                f"TensorConnection from {source} to {destination}: their types "
                f"{types[0].name} and {types[1].name} differ",
                node=destination.node,
            )
        replaced[destination] = source
    nodes = [
        replace(node, inputs=tuple(replaced.get(t, t) for t in node.inputs))
        for node in graph.nodes.values()
    ]
    order, cyclic = topological(nodes)
    if cyclic:
        raise errors.invalid_argument(f"{len(cyclic)} nodes in a cycle", node=cyclic[0].name)
    return graph.with_nodes(order)


def _check(
    graph: Graph, feeds: Sequence[TensorId], fetches: Sequence[TensorId], targets: Sequence[str]
) -> None:
    if not fetches and not targets:
        raise errors.invalid_argument("Must specify at least one target to fetch or execute.")
    fed: set[TensorId] = set()
    for tensor in feeds:
        if tensor in fed:
            raise errors.invalid_argument(
                f'Endpoint "{tensor}" fed more than once.', node=tensor.node
            )
        fed.add(tensor)
        node = graph.nodes.get(tensor.node)
        if node is None:
            raise errors.not_found(f"FeedInputs: unable to find feed output {tensor}")
        if tensor.index >= len(node.output_types):
            raise errors.invalid_argument(
                f"FeedInputs: {tensor} should have output index < {len(node.output_types)}",
                node=tensor.node,
            )
    for tensor in fetches:
        if tensor in fed:
            raise errors.invalid_argument(f"{tensor} is both fed and fetched.", node=tensor.node)
        _output(graph, tensor, "FetchOutputs")
    missing = [name for name in targets if name not in graph.nodes]
    if missing:
        listed = "".join(f"{name} " for name in missing)
        raise errors.not_found(f"PruneForTargets: Some target nodes not found: {listed}")


def _output(graph: Graph, tensor: TensorId, who: str) -> None:
    node = graph.nodes.get(tensor.node)
    if node is None:
        raise errors.not_found(f"{who} node {tensor}: not found")
    if not node.output_types:
        raise errors.invalid_argument(
            f"Tried to fetch data for '{tensor}', which produces no output.  To run to a node but "
            f"not fetch any data, pass '{tensor.node}' as an argument to the 'target_node_names' "
            "argument of the Session::Run API.",
            node=tensor.node,
        )
    if tensor.index >= len(node.output_types):
        raise errors.invalid_argument(
            f"{who} {tensor}: output index too large, must be < {len(node.output_types)}",
            node=tensor.node,
        )
