"""The steps that ``tf.gradients`` walks over: the ops of one level; a loop is one step.

A level is a loop, or what is in none. A loop of the level is a step from what enters it to what
leaves it: its gradient is a loop as well (``loops.py``), in which a walk goes over its body.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from flowray.client.control_flow.context import loop_around, loops_around
from flowray.client.control_flow.while_context import WhileContext
from flowray.client.framework.graph import Operation, Tensor
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes

Step = Operation | WhileContext

_TRAINABLE = dtypes.FLOATING | dtypes.COMPLEX | {dtypes.resource, dtypes.variant}


def is_trainable(tensor_or_dtype: object) -> bool:
    """Tells whether gradients flow through tensors of this dtype."""
    dtype = dtypes.as_dtype(getattr(tensor_or_dtype, "dtype", tensor_or_dtype)).base_dtype
    return dtype in _TRAINABLE


class Walk:
    """The steps of a level.

    Args:
        level: the loop whose body is gone over; None for ops outside of all loops.
    """

    def __init__(self, level: WhileContext | None) -> None:
        self.level = level
        self._around = loops_around(level)
        self._inputs: dict[WhileContext, list[Tensor]] = {}

    def step(self, op: Operation) -> Step:
        """Returns the step that ``op`` is, or is a part of."""
        loops = loops_around(op._control_flow_context)
        if op._kind is OpKind.EXIT:  # it is made around the loop that it leaves
            loops = loops_around(loop_around(op._inputs[0].op))
        for here, there in zip(self._around, loops, strict=False):
            if here is not there:
                return there
        return op if len(loops) <= len(self._around) else loops[len(self._around)]

    def inputs(self, step: Step) -> list[Tensor]:
        """Returns the inputs of a step; for a loop those of its variables come first.

        They stay the same in this walk, though gradients bring more into a loop.
        """
        if isinstance(step, Operation):
            return step._inputs
        if step not in self._inputs:
            entered = [variable.first for variable in step.variables]
            self._inputs[step] = [t.op._inputs[0] for t in (*entered, *step.constants.values())]
        return self._inputs[step]

    def outputs(self, step: Step) -> list[Tensor]:
        """Returns the tensors that a step makes."""
        if isinstance(step, Operation):
            return step._outputs
        return [variable.exit for variable in step.variables if variable.exit is not None]

    def position(self, tensor: Tensor) -> int:
        """Returns the index of a tensor among the outputs of its step."""
        step = self.step(tensor.op)
        return tensor._value_index if isinstance(step, Operation) else _index(tensor, step)

    def reached_from(self, ops: Iterable[Operation]) -> set[Step]:
        """Returns the steps that ``ops`` have a differentiable path to, themselves included."""
        reached: set[Step] = set()
        queue: deque[Step] = deque(map(self.step, ops))
        while queue:
            step = queue.popleft()
            if step not in reached:
                reached.add(step)
                for output in self.outputs(step):
                    if is_trainable(output):
                        queue.extend(self._steps_after(output))
        return reached

    def _steps_after(self, tensor: Tensor) -> Iterator[Step]:
        # The next iteration is another one.
        return (self.step(op) for op in tensor._consumers if op._kind is not OpKind.NEXT_ITERATION)

    def between(self, to_ops: Iterable[Operation], reached: set[Step]) -> dict[Step, None]:
        """Returns those of ``reached`` that ``to_ops`` depend on, themselves included."""
        between: dict[Step, None] = {}
        queue: deque[Step] = deque(map(self.step, to_ops))
        while queue:
            step = queue.popleft()
            if step in reached and step not in between:
                between[step] = None
                queue.extend(self.step(tensor.op) for tensor in self.inputs(step))
        return between


def _index(tensor: Tensor, loop: WhileContext) -> int:
    last = [variable.exit for variable in loop.variables if variable.exit is not None]
    return next(i for i, found in enumerate(last) if found is tensor)
