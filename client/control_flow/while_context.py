"""A loop while it is built, of the nodes of which TensorFlow 1 makes loops.

A loop variable ``v`` is

    Enter(first) -> Merge(Enter, NextIteration) -> Switch(Merge, LoopCond) -> Exit, and
    Switch:1 -> Identity -> (the body) -> NextIteration

and whatever else the loop takes from outside comes through an Enter that is constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowray.client.control_flow.context import ControlFlowContext, in_context, loop_around
from flowray.client.framework.graph import Operation, Tensor, get_default_graph
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.control_flow_ops import merge, switch
from flowray.proto import errors
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types.shapes import Shape, TensorShape, is_compatible
from flowray.proto.types.shapes import merge as merge_shapes


@dataclass(slots=True)
class LoopVariable:
    """The nodes of a loop variable, as far as they are there."""

    first: Tensor
    """The output of the Enter."""
    merged: Tensor
    switch: Operation | None = None
    value: Tensor | None = None
    """The value in the body."""
    following: Tensor | None = None
    """The value that the body returned."""
    exit: Tensor | None = None


class WhileContext(ControlFlowContext):
    """A loop.

    Attributes:
        name: the frame's.
        condition: the LoopCond's output, once it is there.
        variables: the loop variables of the user's program, in order.
        back_prop: whether gradients flow through it.
    """

    def __init__(
        self,
        parallel_iterations: int = 10,
        back_prop: bool = True,
        swap_memory: bool = False,
        name: str = "while_context",
    ) -> None:
        super().__init__()
        self.name = get_default_graph().unique_name(name)
        self.parallel_iterations = parallel_iterations
        self.back_prop = back_prop
        self.swap_memory = swap_memory
        self.condition: Tensor | None = None
        self.variables: list[LoopVariable] = []
        self._enters: list[Tensor] = []

    @property
    def loop(self) -> WhileContext:
        """This loop itself."""
        return self

    @property
    def outer_loop(self) -> WhileContext | None:
        """The loop around this one, or None."""
        return None if self.outer_context is None else self.outer_context.loop

    @property
    def constants(self) -> dict[Tensor, Tensor]:
        """The tensors from outside that do not vary in the loop, and their Enters."""
        return self._brought

    # For the graph --------------------------------------------------------------------------

    def _bring(self, tensor: Tensor) -> Tensor:
        return self._enter(tensor, constant=True)

    def _enter(self, tensor: Tensor, constant: bool) -> Tensor:
        op_type = "RefEnter" if tensor.dtype._is_ref_dtype else "Enter"
        return output_of(
            op_type,
            tensor,
            frame_name=self.name,
            is_constant=constant,
            parallel_iterations=self.parallel_iterations,
            name=op_type,
        )

    def _free(self, op: Operation) -> Tensor | None:
        """Returns the op that a new op with only constants as inputs waits for."""
        if op._control_inputs or not all(_is_constant(tensor) for tensor in op._inputs):
            return None
        if self.variables and self.variables[0].value is not None:
            return self.variables[0].value
        return self.variables[0].merged if self.variables else None

    def take_over_waits(self, op: Operation) -> None:
        """Gives the loop as a whole the control inputs of ``op`` that are outside of it."""
        outside = [c for c in op._control_inputs if not self.holds(c)]
        if outside:
            op._remove_control_inputs(outside)
            for other in outside:
                self.wait_for(other)

    def wait_for(self, op: Operation) -> None:
        """Lets the loop, or the one around it that ``op`` is not in, begin when ``op`` is done."""
        outer = self.outer_loop
        if outer is None or loop_around(op) is outer:
            self._enters[0].op._add_control_input(op)
        else:
            outer.wait_for(op)

    # Building -------------------------------------------------------------------------------

    def enter(self, first: Tensor, shape: Shape) -> Tensor:
        """Brings in the first value of a loop variable that has ``shape`` in every iteration.

        To be called in the context around the loop.
        """
        entered = self._enter(first, constant=False)
        entered._shape = shape
        entered.op._control_flow_context = self
        entered.graph.prevent_fetching(entered.op)
        entered.graph.prevent_feeding(entered)
        self._note([entered])
        self._enters.append(entered)
        return entered

    def merge(self, entered: Tensor) -> LoopVariable:
        """Returns a loop variable; its Merge gets its other input in ``close``."""
        return LoopVariable(entered, merge([entered, entered])[0])

    def decide(self, condition: Any) -> None:
        """Makes ``condition`` that of the loop."""
        self.condition = apply_op("LoopCond", condition, name="LoopCond")

    def switch(self, variable: LoopVariable) -> Tensor:
        """Lets the variable round again only if the condition holds."""
        assert self.condition is not None
        again: Tensor = switch(variable.merged, self.condition)[1]
        variable.switch = again.op
        return again

    def close(self, variable: LoopVariable, following: Tensor) -> None:
        """Makes ``following`` the variable's value in the next iteration.

        Raises:
            InvalidArgumentError: it has another dtype.
            ValueError: its shape is one that the variable has not.
        """
        following = apply_op("NextIteration", following)
        merged = variable.merged
        if following.dtype.base_dtype != merged.dtype.base_dtype:
            raise errors.invalid_argument(
                f"Input 1 of node {merged.op.name} was passed {following.dtype.base_dtype.name} "
                f"from {following.name} incompatible with expected {merged.dtype.base_dtype.name}."
            )
        check_invariant(variable.first.op._inputs[0], merged._shape, following)
        merged.op._update_input(1, following)
        variable.following = following

    def leave(self, variable: LoopVariable) -> Tensor:
        """Returns the variable's last value, in the context around the loop."""
        assert variable.switch is not None
        with in_context(self.outer_context):
            variable.exit = apply_op("Exit", variable.switch._outputs[0])
        return variable.exit

    def add_variable(self, first: Tensor, shape: Shape) -> LoopVariable:
        """Adds a variable to a loop that has its condition.

        To be called in the context around the loop.
        """
        entered = self.enter(first, shape)
        with in_context(self):
            variable = self.merge(entered)
            variable.value = apply_op("Identity", self.switch(variable))
        return variable


def _is_constant(tensor: Tensor) -> bool:
    return tensor.op._kind is OpKind.ENTER and bool(tensor.op.get_attr("is_constant"))


def check_invariant(first: Tensor, shape: Shape, following: Tensor) -> None:
    """Raises ValueError if a variable of ``shape`` may have another one after an iteration."""
    after = following._shape
    if not is_compatible(after, shape) or merge_shapes(after, shape) != after:
        raise ValueError(
            f"Input tensor '{first.name}' enters the loop with shape {TensorShape(shape)}, but has "
            f"shape {following.get_shape()} after one iteration. To allow the shape to vary across "
            "iterations, use the `shape_invariants` argument of tf.while_loop to specify a "
            "less-specific shape."
        )
