"""Gradients of the ops that order others or let them run under a condition."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Operation, Tensor, control_dependencies
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.framework.shape_inference import variable_of
from flowray.client.gradients.registry import gradient
from flowray.client.ops.control_flow_ops import merge, switch
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes


@gradient("Switch", "RefSwitch")
def switch_(op: Operation, *grads: Any) -> Any:
    """Returns the gradient of the branch that was taken; zeros if that gives none."""
    data, pred = op.inputs
    # As for any use of a tensor that is not a number, no gradient flows to it.
    if all(grad is None for grad in grads):
        return None, None
    branches = [
        _zeros_of_branch(data, pred, branch) if grad is None else grad
        for branch, grad in enumerate(grads)
    ]
    merged, _ = merge(branches, name="cond_grad")
    return merged, None


def _zeros_of_branch(data: Tensor, pred: Tensor, branch: int) -> Tensor:
    """Makes zeros like ``data`` that are live only in one branch."""
    alive = switch(data, pred)[branch]
    if alive.dtype.base_dtype == dtypes.resource:
        shape = apply_op("VariableShape", alive)
        variable = variable_of(data)
        dtype = dtypes.float32 if variable is None else variable[0]
    else:
        shape, dtype = apply_op("Shape", alive), alive.dtype.base_dtype
    with control_dependencies([apply_op("Identity", alive)]):
        zero = constant(0, dtype)
    return output_of("Fill", shape, zero)


@gradient("Enter", "RefEnter")
def enter(op: Operation, grad: Any) -> Any:
    """Passes on the gradient of a value that is the same in all iterations (``_check_level``)."""
    return grad


@gradient("Merge", "RefMerge")
def merge_(op: Operation, grad: Any, _: Any) -> Any:
    """Passes the gradient to the input that was live."""
    condition = _switch_before(op.inputs[0].op)
    if condition is None:
        raise LookupError(f"no Switch leads to Merge '{op.name}': it has no gradient")
    return switch(grad, condition, name="cond_grad")


def _switch_before(op: Operation) -> Tensor | None:
    """Returns the innermost predicate under which ``op`` runs, by its context or the graph."""
    context = op._control_flow_context
    if context is not None:
        predicate: Tensor | None = context.pred
        return predicate
    pending, seen = [op], set[Operation]()
    while pending:
        op = pending.pop(0)
        if op in seen:
            continue
        seen.add(op)
        if op._kind is OpKind.SWITCH:
            return op.inputs[1]
        before = [tensor.op for tensor in op._inputs] + op._control_inputs
        if op._kind is OpKind.MERGE:  # the end of an inner condition: the outer one counts
            inner = _switch_before(before[0])
            before = [] if inner is None else [inner.op]
        pending.extend(before)
    return None
