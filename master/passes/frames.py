"""The frames of a graph: the loop of TensorFlow 1 that each node is in.

``Enter`` brings a value into the frame that its attribute names, a child of the frame where its
input is; ``Exit`` brings one out. All other nodes are in the frame of what they come after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from flowray.proto import errors
from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.ops.op_registry import OpKind


@dataclass(frozen=True, slots=True)
class Frame:
    """A loop, or, as ``ROOT``, the nodes that are in no loop."""

    name: str
    parent: Frame | None = None

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else 1 + self.parent.depth


ROOT: Final = Frame("")


def frames_of(nodes: Mapping[str, Node], feeds: frozenset[TensorId]) -> dict[str, Frame]:
    """Returns the frame of each node. ``nodes`` are in topological order; fed values have none.

    Raises:
        InvalidArgumentError: a node has inputs from different frames, or leaves one that it is not
            in (TensorFlow's text).
    """
    frames: dict[str, Frame] = {}
    for name, node in nodes.items():
        before = [t.node for t in node.inputs if t not in feeds and t.node not in node.back_inputs]
        before += node.control_inputs
        around = _common(node, (n for n in before if n in nodes), nodes, frames)
        if node.op.kind is OpKind.ENTER:
            around = Frame(node.attrs["frame_name"].decode(errors="replace"), around)
        elif node.op.kind is OpKind.EXIT and around.parent is None:
            raise errors.invalid_argument(
                "Invalid Exit op: Cannot find a corresponding Enter op.", node=name
            )
        frames[name] = around
    for node in nodes.values():
        _common(node, sorted(node.back_inputs), nodes, frames, frames[node.name])
    return frames


def frame_after(node: Node, frames: Mapping[str, Frame]) -> Frame:
    """Returns the frame of the outputs of ``node``."""
    frame = frames[node.name]
    if node.op.kind is not OpKind.EXIT:
        return frame
    assert frame.parent is not None
    return frame.parent


def _common(
    node: Node,
    before: Iterable[str],
    nodes: Mapping[str, Node],
    frames: Mapping[str, Frame],
    wanted: Frame | None = None,
) -> Frame:
    first, found = node.name, wanted
    for name in before:
        frame = frame_after(nodes[name], frames)
        if found is None:
            first, found = name, frame
        elif frame != found:
            raise errors.invalid_argument(
                f"{{{{node {node.name}}}}} has inputs from different frames. The input "
                f"{{{{node {first}}}}} is in frame '{found.name}'. The input {{{{node {name}}}}} "
                f"is in frame '{frame.name}'.",
                node=node.name,
            )
    return ROOT if found is None else found
