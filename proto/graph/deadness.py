"""Which tensors of a graph are there only under a condition, and are dead otherwise.

In TensorFlow 1's control flow, ``Switch(data, pred)`` gives its data at output 1 if ``pred`` is
true and at output 0 otherwise; the other output is dead. What has a dead input does not run, and
its outputs are dead; ``Merge`` passes on the input that is not. So a tensor is alive if every
condition holds that it, or anything it was made from, has collected since the last Merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from flowray.proto.graph.tensor_id import TensorId


class _Dead:
    """The value of a tensor that was not computed; there is one, in every process."""

    def __repr__(self) -> str:
        return "DEAD"

    def __reduce__(self) -> str:
        return "DEAD"


DEAD: Final = _Dead()

SWITCHES: Final = frozenset({"Switch", "RefSwitch"})
MERGES: Final = frozenset({"Merge", "RefMerge"})


class Condition(NamedTuple):
    """That the predicate ``predicate`` (a tensor's name) is ``value``."""

    predicate: str
    value: bool


Conditions = frozenset[Condition]
NONE: Final[Conditions] = frozenset()


@dataclass(slots=True)
class ConditionAnalysis:
    """The conditions of the tensors of a graph; nodes are added in topological order."""

    given: Mapping[str, Conditions] = field(default_factory=dict)
    """Those of tensors whose value a run brings, whatever nodes there are."""
    _nodes: dict[str, Conditions] = field(default_factory=dict)
    _tensors: dict[str, Conditions] = field(default_factory=dict)
    _same: dict[str, str] = field(default_factory=dict)  # an Identity's output and its input

    def add(
        self,
        name: str,
        op: str,
        inputs: Sequence[str],
        controls: Iterable[str] = (),
        more: Conditions = NONE,
        copies: bool = True,
    ) -> Conditions:
        """Adds a node; gives the conditions under which it runs.

        Args:
            inputs: its data inputs, named ``node:index``.
            controls: the nodes that it waits for.
            more: conditions that come from elsewhere.
            copies: False for an Identity that reads a variable, whose value may change.
        """
        found = [self.of_tensor(tensor) for tensor in inputs]
        waits = more.union(*(self.of_node(control) for control in controls))
        if op in MERGES:
            conditions = waits.union(frozenset.intersection(*found)) if found else waits
        elif op == "ControlTrigger":
            conditions = NONE
        else:
            conditions = waits.union(*found)
        self._nodes[name] = conditions
        if op in SWITCHES:
            predicate = self.root(inputs[1])
            for value in (False, True):
                output = f"{name}:{int(value)}"
                self._tensors[output] = conditions | {Condition(predicate, value)}
        if op == "Identity" and copies:
            self._same[f"{name}:0"] = inputs[0]
        return conditions

    def of_node(self, name: str) -> Conditions:
        """Under which conditions the node runs."""
        return self._nodes.get(name, NONE)

    def of_tensor(self, name: str) -> Conditions:
        """Under which conditions the tensor is alive."""
        for known in (self.given, self._tensors):
            if name in known:
                return known[name]
        return self._nodes.get(TensorId.parse(name).node, NONE)

    def root(self, tensor: str) -> str:
        """The tensor that ``tensor`` is a copy of."""
        while tensor in self._same and tensor not in self.given:
            tensor = self._same[tensor]
        return tensor
