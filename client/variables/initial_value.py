"""The initial values of variables: where their ops go, and what they may read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flowray.client.framework.graph import (
    GraphKeys,
    Operation,
    Tensor,
    device,
    get_default_graph,
    name_scope,
)
from flowray.proto.messages import graph_pb2


def located_at(scope: str) -> AbstractContextManager[None]:
    """Places the ops of the block where the variable ``scope`` is."""
    location = graph_pb2.AttrValue()
    location.list.s.append(b"loc:@" + scope.rstrip("/").encode())
    return get_default_graph()._attr_scope_context({"_class": location})


@contextmanager
def initializer_scope(scope: str) -> Iterator[None]:
    """Opens the name scope "Initializer" and places ops where the variable ``scope`` will be."""
    with located_at(scope), name_scope("Initializer"), device(None):
        yield


def guarded(scope: str, initial_value: Tensor) -> Tensor:
    """Rebuilds ``initial_value`` on the initial values of the reference variables that it reads.

    So one run can initialize them all, though nothing orders the initializers.
    """
    return _Guard(scope).rebuilt(initial_value)


def _asks_about_variable(op: Operation) -> bool:
    """Returns True if the op reads a variable itself, or asks whether it has a value."""
    definition = op.op_def
    return (
        definition is not None
        and definition.reads_only
        and len(definition.inputs) == 1
        and not definition.outputs[0].is_ref
    )


class _Guard:
    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._graph = get_default_graph()
        self._outputs: dict[Operation, Sequence[Tensor]] = {}

    def rebuilt(self, tensor: Tensor) -> Tensor:
        pending, entered = [tensor.op], set()
        while pending:
            op = pending[-1]
            missing = [] if _asks_about_variable(op) else [t.op for t in op._inputs]
            missing = [i for i in missing if i not in self._outputs]
            if missing and op not in entered:
                entered.add(op)
                if not entered.isdisjoint(missing):
                    return tensor  # a loop: it is left as it is
                pending.extend(missing)
                continue
            pending.pop()
            if op not in self._outputs:
                self._outputs[op] = self._outputs_of(op)
        return self._outputs[tensor.op][tensor._value_index]

    def _outputs_of(self, op: Operation) -> Sequence[Tensor]:
        """Returns the outputs of ``op``, or of what stands for it here. Its inputs are done."""
        if op.op_def is not None and op.op_def.is_ref_variable:
            variable = self._variable_of(op)
            return op._outputs if variable is None else [variable.initialized_value()]
        if _asks_about_variable(op):
            return op._outputs
        inputs = [self._outputs[t.op][t._value_index] for t in op._inputs]
        if all(new is old for new, old in zip(inputs, op._inputs, strict=True)):
            return op._outputs
        with name_scope(""):
            name = f"{op.name}_{self._scope.rstrip('/')}"
            types = [t.dtype for t in op._outputs]
            # A value, not a reference, goes through the conditional of another variable.
            op_type = "Switch" if op.type == "RefSwitch" else op.type
            copy = self._graph.create_op(op_type, inputs, types, None, name, op._attrs)
            if "_class" in op._node_def.attr:
                copy._set_attr("_class", op._node_def.attr["_class"])
            return copy._outputs

    def _variable_of(self, op: Operation) -> Any:
        for key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES):
            for variable in self._graph.get_collection(key):
                if variable.op is op and variable.initial_value is not None:
                    return variable
        return None
