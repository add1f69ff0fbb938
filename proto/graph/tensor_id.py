"""Names of tensors: ``node:index``, the output ``index`` of the node ``node``.

This module is the only one that takes such names apart. An input of a NodeDef is the name of a
tensor, where ``node`` alone stands for ``node:0``, or ``^node``: a control input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class TensorId(NamedTuple):
    """Output ``index`` of a node; ``str`` gives ``node:index``."""

    node: str
    index: int  # type: ignore[assignment]  # it hides tuple.index, which nobody needs

    def __str__(self) -> str:
        return f"{self.node}:{self.index}"

    @classmethod
    def parse(cls, name: str) -> TensorId:
        """Returns the tensor called ``node:index`` or, for output 0, just ``node``.

        A name whose part after the colon is not an index is taken for the name of a node: no node
        is called so, and the look-up that follows reports the name as it was given.
        """
        node, colon, index = name.rpartition(":")
        if colon and index.isascii() and index.isdecimal() and len(index) < 10:
            return cls(node, int(index))
        return cls(name, 0)

    @property
    def input_name(self) -> str:
        """The name as TensorFlow writes it into a NodeDef: without the index if that is 0."""
        return self.node if self.index == 0 else f"{self.node}:{self.index}"


def is_control(text: str) -> bool:
    """Returns whether an input of a NodeDef is a control input."""
    return text.startswith("^")


def node_of(text: str) -> str:
    """Returns the node that an input of a NodeDef names, by data or by control."""
    return text[1:] if is_control(text) else TensorId.parse(text).node


def data_inputs(inputs: Iterable[str]) -> list[TensorId]:
    """Returns the tensors among the inputs of a NodeDef."""
    return [TensorId.parse(text) for text in inputs if not is_control(text)]


def control_inputs(inputs: Iterable[str]) -> list[str]:
    """Returns the nodes that the control inputs among the inputs of a NodeDef name."""
    return [text[1:] for text in inputs if is_control(text)]
