"""Rewrites of a function's body that give the same results for less work.

The function of a dataset is interpreted for each element, so XLA has no say in it. The rewrites do
by hand what matters most of what XLA would do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from flowray.proto.graph.functions import FunctionBody
from flowray.proto.graph.tensor_id import is_control, node_of
from flowray.proto.messages import graph_pb2
from flowray.proto.types import dtypes

_RESIZING = frozenset({"ResizeArea", "ResizeBicubic", "ResizeBilinear"})
_UINT8, _FLOAT32 = dtypes.uint8.as_datatype_enum, dtypes.float32.as_datatype_enum


def scale_after_resizing(body: FunctionBody) -> FunctionBody:
    """Returns the body with images resized as bytes before they become floats between 0 and 1.

    ``convert_image_dtype`` followed by ``resize_images`` converts all pixels, most of which
    resizing then drops. Both are linear, so they can change places; the results differ in the last
    bit. All nodes stay but the Cast, since resizing gives floats.
    """
    nodes = {node.name: node for node in body.graph.node}
    readers = Counter(name for node in nodes.values() for name in _inputs(node))
    readers.update(node_of(name) for name in body.outputs)
    for node in list(body.graph.node):
        chain = _chain_to_bytes(node, nodes, readers) if node.op in _RESIZING else None
        if chain is not None:
            body = _swapped(body, node, chain)
    return body


def _inputs(node: graph_pb2.NodeDef) -> Iterable[str]:
    return (node_of(name) for name in node.input)


def _chain_to_bytes(
    resize: graph_pb2.NodeDef, nodes: Mapping[str, graph_pb2.NodeDef], readers: Counter[str]
) -> list[graph_pb2.NodeDef] | None:
    """Returns the nodes before ``resize``: ExpandDims if any, Mul by a scalar constant, Cast of bytes.

    Returns None if the nodes are others, or if their outputs have other readers.
    """  # noqa: E501
    chain = []
    node = nodes.get(node_of(resize.input[0]))
    if node is not None and node.op == "ExpandDims":
        chain.append(node)
        node = nodes.get(node_of(node.input[0]))
    if node is None or node.op != "Mul":
        return None
    cast, factor = (nodes.get(node_of(name)) for name in node.input[:2])
    if cast is None or cast.op != "Cast" or factor is None or factor.op != "Const":
        return None
    chain += [node, cast]
    if any(readers[n.name] != 1 or is_control(n.input[-1]) for n in chain):
        return None
    from_bytes = cast.attr["SrcT"].type == _UINT8 and cast.attr["DstT"].type == _FLOAT32
    return None if factor.attr["value"].tensor.tensor_shape.dim or not from_bytes else chain


def _swapped(
    body: FunctionBody, resize: graph_pb2.NodeDef, chain: list[graph_pb2.NodeDef]
) -> FunctionBody:
    *expand, multiply, cast = chain
    resized, result = f"{resize.name}:0", f"{multiply.name}:0"
    for node in body.graph.node:
        # Control inputs stay: a node that waits for the resizing need not wait for the scaling.
        for i, name in enumerate(node.input):
            if name in (resized, resize.name):
                node.input[i] = result
    (expand[0] if expand else resize).input[0] = cast.input[0]
    multiply.input[0] = resized
    for node in (*expand, resize):
        node.attr["T"].type = _UINT8
    order = []
    for node in body.graph.node:
        if node is not multiply and node is not cast:
            order.append(node)
        if node is resize:
            order.append(multiply)
    graph = graph_pb2.GraphDef(node=order)
    outputs = tuple(result if name == resized else name for name in body.outputs)
    return replace(body, graph=graph, outputs=outputs)
