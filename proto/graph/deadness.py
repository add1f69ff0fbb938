"""Deadness analysis: the conditions under which each tensor of a graph is live.

TensorFlow 1 writes a condition with Switch and Merge. ``Switch(data, pred)`` gives its data at
output 1 if ``pred`` is true and at output 0 otherwise; the other output is dead. A node with a dead
input does not run, and its outputs are dead. A Merge runs if one of its inputs is live, and passes
that one on.

The analysis computes for each node the conjunction of conditions under which it runs, in one pass
in topological order (loops are functions by then, so the graph has no cycle):

=================  ============================================================================
a node             the union of the conditions of its inputs and of the nodes that it waits for
output b of a      the conditions of the Switch, and ``pred`` (b = 1) or ``not pred`` (b = 0)
Switch
a Merge            the intersection of the conditions of its inputs, and the union of those of
                   the nodes that it waits for
a ControlTrigger   none: it runs whatever is dead
=================  ============================================================================

The intersection is an approximation. It is exact for a Merge of the two outputs of a Switch, which
is what ``tf.cond`` and ``tf.case`` build: ``{a, p}`` and ``{a, not p}`` give ``{a}``. A Merge of
branches of different predicates gets fewer conditions than it has, so that a tensor that is live
under "p or q" counts as always live; the Merge itself gives DEAD if it has no live input.

A predicate is named by the tensor that computes it: ``root`` follows the Identities that
``tf.cond`` puts in between, so that two conditions on one value are found to be the same or to
exclude each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.ops.op_registry import OpKind


class _Dead:
    """The value of a tensor that was not computed; there is one, in every process."""

    def __repr__(self) -> str:
        return "DEAD"

    def __reduce__(self) -> str:
        return "DEAD"


DEAD: Final = _Dead()


class Condition(NamedTuple):
    """That the predicate ``predicate`` (a tensor's name) is ``value``."""

    predicate: str
    value: bool

    def __str__(self) -> str:
        return self.predicate if self.value else f"not {self.predicate}"


Conditions = frozenset[Condition]
"""All of them hold."""
NONE: Final[Conditions] = frozenset()


def describe(conditions: Conditions) -> str:
    """The conditions as text: ``p:0 and not q:0``; ``always`` without any."""
    return " and ".join(map(str, sorted(conditions))) or "always"


@dataclass(slots=True)
class DeadnessAnalysis:
    """The conditions of the nodes and tensors of a graph; nodes are added in topological order."""

    input_conditions: Mapping[str, Conditions] = field(default_factory=dict)
    """Those of tensors whose value a run brings, whatever nodes there are."""
    _nodes: dict[str, Conditions] = field(default_factory=dict)
    _tensors: dict[str, Conditions] = field(default_factory=dict)
    _same: dict[str, str] = field(default_factory=dict)  # an Identity's output and its input

    def add(self, node: Node, more: Conditions = NONE, *, copies: bool = True) -> Conditions:
        """Adds a node; returns the conditions under which it runs.

        Args:
            node: its predecessors have been added.
            more: conditions that come from nodes that are not in the graph.
            copies: False for an Identity that reads a variable, whose value may change.
        """
        kind, name = node.op.kind, node.name
        inputs = [str(tensor) for tensor in node.inputs]
        found = [self.of_tensor(tensor) for tensor in inputs]
        waits = more.union(*(self.of_node(control) for control in node.control_inputs))
        if kind is OpKind.MERGE:
            conditions = waits.union(frozenset.intersection(*found)) if found else waits
        elif kind is OpKind.CONTROL_TRIGGER:
            conditions = NONE
        else:
            conditions = waits.union(*found)
        self._nodes[name] = conditions
        if kind is OpKind.SWITCH:
            predicate = self.root(inputs[1])
            for value in (False, True):
                output = str(node.output(int(value)))
                self._tensors[output] = conditions | {Condition(predicate, value)}
        if kind is OpKind.IDENTITY and copies:
            self._same[str(node.output(0))] = inputs[0]
        return conditions

    def of_node(self, name: str) -> Conditions:
        """Returns the conditions under which the node runs."""
        return self._nodes.get(name, NONE)

    def of_tensor(self, name: str) -> Conditions:
        """Returns the conditions under which the tensor is live."""
        for known in (self.input_conditions, self._tensors):
            if name in known:
                return known[name]
        return self._nodes.get(TensorId.parse(name).node, NONE)

    def root(self, tensor: str) -> str:
        """Returns the tensor that ``tensor`` is a copy of."""
        while tensor in self._same and tensor not in self.input_conditions:
            tensor = self._same[tensor]
        return tensor

    def __str__(self) -> str:
        """One line per node: ``name: conditions``."""
        return "\n".join(f"{name}: {describe(found)}" for name, found in self._nodes.items())
