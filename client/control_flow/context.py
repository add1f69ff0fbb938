"""Control-flow contexts: the branches of conditions and the loops in which ops are made.

The graph calls the context that is open for every new op. It sees to it that what the op takes from
outside is brought in, by a Switch or an Enter, and that the op runs only where it should.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowray.client.framework.graph import Operation, Tensor, get_default_graph

if TYPE_CHECKING:
    from flowray.client.control_flow.while_context import WhileContext


class ControlFlowContext(ABC):
    """A branch or a loop.

    Attributes:
        outer_context: the context that it is in itself; None if it is in none.
    """

    def __init__(self) -> None:
        self.outer_context: ControlFlowContext | None = (
            get_default_graph()._get_control_flow_context()
        )
        self._inside: set[Tensor] = set()
        """The tensors that are the context's own, or have been brought into it."""
        self._brought: dict[Tensor, Tensor] = {}
        """Tensors from outside, and the tensor that stands for each in here."""

    @property
    @abstractmethod
    def loop(self) -> WhileContext | None:
        """The innermost loop that it is in, or is."""

    @abstractmethod
    def _bring(self, tensor: Tensor) -> Tensor:
        """Returns a new tensor in here for one of the context just outside."""

    @abstractmethod
    def _free(self, op: Operation) -> Tensor | None:
        """Returns the tensor that a new op without inputs must wait for, or None."""

    def AddValue(self, tensor: Tensor) -> Tensor:
        """Returns the tensor that stands in here for ``tensor``."""
        if tensor in self._inside:
            return self._brought.get(tensor, tensor)
        self._inside.add(tensor)
        outer = tensor if self.outer_context is None else self.outer_context.AddValue(tensor)
        with in_context(None):
            brought = self._bring(outer)
        brought.op._control_flow_context = self
        brought.graph.prevent_fetching(brought.op)
        self._note([brought])
        self._brought[tensor] = brought
        return brought

    def AddOp(self, op: Operation) -> None:
        """Makes a new op one of this context."""
        for index, tensor in enumerate(op._inputs):
            brought = self.AddValue(tensor)
            if brought is not tensor:
                op._update_input(index, brought)
        if self.loop is not None:
            self.loop.take_over_waits(op)
        pivot = self._free(op)
        if pivot is not None:
            op._add_control_input(pivot.op)
        self._note(op._outputs)
        op.graph.prevent_fetching(op)
        for tensor in op._outputs:
            op.graph.prevent_feeding(tensor)

    def _note(self, tensors: Sequence[Tensor]) -> None:
        """Marks tensors as made in here, and so in the contexts around."""
        for context in contexts_around(self):
            context._inside.update(tensors)

    def holds(self, op: Operation) -> bool:
        """Returns True if ``op`` was made in here, or in a context in here."""
        return any(context is self for context in contexts_around(op._control_flow_context))


def contexts_around(context: ControlFlowContext | None) -> Iterator[ControlFlowContext]:
    """Returns the context itself, the one that it is in, and so on."""
    while context is not None:
        yield context
        context = context.outer_context


def loops_around(context: ControlFlowContext | None) -> list[WhileContext]:
    """Returns the loops that the context is in, itself included, from the outermost one on."""
    loops = [c.loop for c in contexts_around(context) if c is c.loop]
    return [loop for loop in reversed(loops) if loop is not None]


def loop_around(op: Operation) -> WhileContext | None:
    """Returns the innermost loop that an op is in."""
    context: ControlFlowContext | None = op._control_flow_context
    return None if context is None else context.loop


@contextmanager
def in_context(context: ControlFlowContext | None) -> Iterator[None]:
    """Makes ops of the scope belong to ``context``, without the control inputs of outer scopes."""
    graph = get_default_graph()
    with graph.control_dependencies(None):
        graph._set_control_flow_context(context)
        yield


def bring(context: ControlFlowContext | None, values: Iterable[Any]) -> list[Any]:
    """Returns the tensors that stand in ``context`` for tensors of outside."""
    return [value if context is None else context.AddValue(value) for value in values]
