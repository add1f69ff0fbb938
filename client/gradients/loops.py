"""The gradient of a loop: a loop that goes through the iterations backwards.

What it needs of an iteration, the forward loop pushes on a stack, from which it is popped. The
stacks are outside of all loops, also those of loops in loops: what was pushed last is needed first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.control_flow.cond import CondContext
from flowray.client.control_flow.context import in_context
from flowray.client.control_flow.while_context import (
    LoopVariable,
    WhileContext,
)
from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Operation, Tensor, control_dependencies
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.framework.shape_inference import variable_of
from flowray.client.gradients.walk import Walk, is_trainable
from flowray.client.ops.control_flow_ops import switch
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import Shape, is_fully_defined

Gradient = Tensor | IndexedSlices
Differentiate = Callable[[list[Tensor], list[Tensor], list[Tensor], WhileContext], list[Any]]
"""``(ys, xs, grad_ys, level)`` -> the gradients of ``ys`` by ``xs`` in the body of ``level``."""


class BackwardLoop(WhileContext):
    """The loop that is the gradient of another; ops in it may use tensors of the other's body."""

    def __init__(self, forward: WhileContext) -> None:
        super().__init__(forward.parallel_iterations, swap_memory=forward.swap_memory)
        self._forward = forward
        self.count, self._pushed = _counted(forward)

    def add_variable(self, first: Tensor, shape: Shape) -> LoopVariable:
        variable = super().add_variable(first, shape)
        self.variables.append(variable)
        return variable

    def AddValue(self, tensor: Tensor) -> Tensor:
        if tensor in self._inside or not self._forward.holds(tensor.op):
            return super().AddValue(tensor)
        self._inside.add(tensor)
        value = self._recalled(tensor)
        self._inside.add(value)
        self._brought[tensor] = value
        return value

    @property
    def constants(self) -> dict[Tensor, Tensor]:
        return {t: e for t, e in self._brought.items() if e.op._kind is OpKind.ENTER}

    def _recalled(self, tensor: Tensor) -> Tensor:
        """Returns the value of ``tensor`` in the iteration of the forward loop."""
        if tensor.op._kind is OpKind.ENTER and tensor in self._forward.constants.values():
            return super().AddValue(tensor.op._inputs[0])
        value = constant_value(tensor)
        if value is not None:
            with in_context(self):
                return constant(value, tensor.dtype.base_dtype)
        return self._popped(tensor)

    def _popped(self, tensor: Tensor) -> Tensor:
        dtype = tensor.dtype.base_dtype
        with in_context(None):
            size = constant(-1, dtypes.int32)
            stack = apply_op(
                "StackV2", size, elem_type=dtype, stack_name=tensor.op.name, name="f_acc"
            )
        context = tensor.op._control_flow_context
        with in_context(context):
            push = apply_op("StackPushV2", stack, tensor, swap_memory=self._forward.swap_memory)
        self._pushed._add_control_input(push.op)
        with in_context(self):
            if isinstance(context, CondContext):  # only a pushed value can be popped
                stack = switch(stack, context.pred)[context.branch]
            value: Tensor = apply_op("StackPopV2", stack, elem_type=dtype)
        value.set_shape(tensor._shape)
        return value


def _counted(loop: WhileContext) -> tuple[Tensor, Operation]:
    """Returns the number of iterations of a loop, and the ops that each iteration waits for."""
    with in_context(loop.outer_context):
        variable = loop.add_variable(constant(0, name="f_count"), ())
    with in_context(loop):
        pushed = apply_op("ControlTrigger", name="f_sync")
        with control_dependencies([pushed]):
            following = apply_op("AddV2", variable.value, 1)
        loop.close(variable, following)
    return loop.leave(variable), pushed


def loop_gradients(
    loop: WhileContext,
    inputs: Sequence[Tensor],
    out_grads: Sequence[Gradient | None],
    differentiate: Differentiate,
) -> list[Gradient | None]:
    """Returns the gradients by the inputs of a loop, for gradients of its last values.

    Args:
        loop: the loop.
        inputs: first the initial values of its variables, then the invariants.
        out_grads: the gradients by its last values.
        differentiate: see there.

    Raises:
        TypeError: the loop is a gradient itself (TensorFlow's words).
    """
    if not loop.back_prop:
        return [None] * len(inputs)
    if isinstance(loop, BackwardLoop):
        raise TypeError("Second-order gradient for while loops not supported.")
    active = _active(loop, out_grads)
    entered = {enter.op._inputs[0]: enter for enter in loop.constants.values()}
    constants = [t for t in inputs[len(loop.variables) :] if is_trainable(t)]
    backward = BackwardLoop(loop)
    index = _begin(backward)
    carried: dict[int, LoopVariable] = {}
    for i in active:
        variable, grad = loop.variables[i], out_grads[i]
        assert variable.exit is not None
        first = _zeros_like(variable.exit) if grad is None else convert_to_tensor(grad)
        carried[i] = backward.add_variable(first, variable.merged._shape)
    with in_context(backward):
        grads = differentiate(
            [_following(loop.variables[i]) for i in active],
            [*(_value(loop.variables[i]) for i in active), *(entered[t] for t in constants)],
            [_value(carried[i]) for i in active],
            loop,
        )
        for i, grad in zip(active, grads, strict=False):
            before = _value(carried[i])
            following = _zeros_like(before) if grad is None else convert_to_tensor(grad)
            following.set_shape(carried[i].merged._shape)
            backward.close(carried[i], following)
        backward.close(index, apply_op("Sub", index.value, 1))
    sums = dict(zip(constants, grads[len(active) :], strict=True))
    return [
        (backward.leave(carried[i]) if i in carried else None)
        if i < len(loop.variables)
        else _summed(backward, tensor, sums.get(tensor))
        for i, tensor in enumerate(inputs)
    ]


def _active(loop: WhileContext, out_grads: Sequence[Gradient | None]) -> list[int]:
    """Returns the variables that gradients flow to.

    Their last values have gradients, or those of others that are made from them.
    """
    walk = Walk(loop)
    reached = {
        i: walk.reached_from([_value(variable).op])
        for i, variable in enumerate(loop.variables)
        if is_trainable(variable.merged)
    }
    active = {i for i, grad in enumerate(out_grads) if grad is not None and i in reached}
    pending = list(active)
    while pending:
        made = walk.step(_following(loop.variables[pending.pop()]).op)
        more = {i for i, steps in reached.items() if made in steps} - active
        active |= more
        pending.extend(more)
    return sorted(active)


def _begin(backward: BackwardLoop) -> LoopVariable:
    """Makes the variable that counts down and ends the loop."""
    entered = backward.enter(backward.count, ())
    with in_context(backward):
        index = backward.merge(entered)
        backward.variables = [index]
        backward.decide(apply_op("GreaterEqual", index.merged, 1))
        index.value = apply_op("Identity", backward.switch(index))
    return index


def _summed(backward: BackwardLoop, tensor: Tensor, grad: Gradient | None) -> Gradient | None:
    """Returns the sum over all iterations of the gradients by a value that does not vary."""
    if grad is None:
        return None
    if isinstance(grad, Tensor):
        with in_context(backward.outer_context):
            total = backward.add_variable(_zeros_like(tensor), grad._shape)
        with in_context(backward):
            backward.close(total, apply_op("AddV2", total.value, grad))
        return backward.leave(total)
    return _collected(backward, tensor, grad)


def _collected(backward: BackwardLoop, tensor: Tensor, grad: IndexedSlices) -> IndexedSlices:
    """Returns the slices of all iterations, concatenated."""
    parts = []
    for part, of_rows in ((grad.values, True), (grad.indices, False)):
        rest = None if part._shape is None else part._shape[1:]
        with in_context(backward.outer_context):
            shape = constant([0], dtypes.int32)
            if of_rows:
                row = apply_op("StridedSlice", _shape_of(tensor), [1], [0], [1], end_mask=1)
                shape = apply_op("ConcatV2", [shape, row], 0)
            nothing = apply_op("Fill", shape, constant(0, part.dtype.base_dtype))
            all_shapes = None if rest is None else (None, *rest)
            total = backward.add_variable(nothing, all_shapes)
        with in_context(backward):
            backward.close(total, apply_op("ConcatV2", [total.value, part], 0))
        parts.append(backward.leave(total))
    with in_context(backward.outer_context):
        return IndexedSlices(parts[0], parts[1], _shape_of(tensor))


def _value(variable: LoopVariable) -> Tensor:
    assert variable.value is not None
    return variable.value


def _following(variable: LoopVariable) -> Tensor:
    """Returns the value that the body gave to a variable."""
    assert variable.following is not None
    return variable.following.op._inputs[0]


def _zeros_like(tensor: Tensor) -> Tensor:
    """Makes zeros like a tensor, or like the variable that a resource names."""
    if tensor.dtype.base_dtype != dtypes.resource:
        return output_of("ZerosLike", tensor)
    known = variable_of(tensor)
    dtype = dtypes.float32 if known is None else known[0]
    return output_of("Fill", _shape_of(tensor), constant(0, dtype))


def _shape_of(tensor: Tensor) -> Tensor:
    """Returns the shape of a tensor, or of the variable that a resource names."""
    if tensor.dtype.base_dtype == dtypes.resource:
        known = variable_of(tensor)
        shape = None if known is None else known[1]
        if shape is None or not is_fully_defined(shape):
            return output_of("VariableShape", tensor)
    else:
        shape = tensor._shape
        if shape is None or not is_fully_defined(shape):
            return output_of("Shape", tensor)
    return constant(list(shape), dtypes.int32, shape=[len(shape)])
