"""``tf.nn.raw_rnn``: a recurrent network whose inputs a function makes, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowray.client.control_flow.while_loop import while_loop
from flowray.client.framework import nest
from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Tensor
from flowray.client.ops import array_ops, math_ops, reduction_ops
from flowray.client.ops.tensor_array_ops import TensorArray
from flowray.client.rnn.cells import check_cell, with_batch
from flowray.client.rnn.functions import caching_scope, keep_where
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


@tf_export("nn.raw_rnn")
def raw_rnn(
    cell: Any,
    loop_fn: Callable[[Any, Any, Any, Any], Any],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:
    """Calls a cell until ``loop_fn`` tells that all examples have ended.

    Args:
        cell: an RNNCell.
        loop_fn: gets the time (an int32 scalar), the cell's output and state, and the loop state
            (the first time, at 0, None for all but the time); gives which examples are over (bool
            [batch]), the next input, the next state, what to emit, and the next loop state. The
            first time, what to emit is an example of its form without the batch (None: the cell's
            output), and the loop state may be None if there is none.
        parallel_iterations, swap_memory: hints.
        scope: the variable scope, "rnn" by default.

    Returns:
        TensorArrays of what was emitted, the last state, and the last loop state.

    Raises:
        TypeError: ``cell`` is not an RNNCell, or ``loop_fn`` is not callable.
        ValueError, TypeError: the structures of what ``loop_fn`` gives change.
    """
    check_cell("cell", cell)
    if not callable(loop_fn):
        raise TypeError("loop_fn must be a callable")
    with caching_scope(scope, "rnn"):
        time = constant(0, dtypes.int32)
        over, first_input, state, form, loop_state = loop_fn(time, None, None, None)
        nest.assert_same_structure(state, cell.state_size)
        has_loop_state = loop_state is not None
        first = nest.flatten(first_input)[0]
        known_batch = first.shape.with_rank_at_least(1).as_list()[0]
        batch_size = array_ops.shape(first)[0] if known_batch is None else known_batch
        if form is None:
            form, types = cell.output_size, nest.flatten(state)[0].dtype
        zeros = [
            _zeros(batch_size, part, part.dtype if isinstance(part, Tensor) else types)
            for part in nest.flatten(form)
        ]
        arrays = [
            TensorArray(
                zero.dtype,
                0,
                dynamic_size=True,
                name=f"rnn_output_{i}",
                element_shape=[known_batch, *zero.shape.as_list()[1:]],
            )
            for i, zero in enumerate(zeros)
        ]
        zero = nest.pack_sequence_as(form, zeros)

        def step(time: Any, over: Any, given: Any, arrays: Any, state: Any, loop_state: Any) -> Any:
            output, cell_state = cell(given, state)
            nest.assert_same_structure(state, cell_state)
            nest.assert_same_structure(cell.output_size, output)
            next_over, next_input, next_state, emitted, next_loop_state = loop_fn(
                time + 1, output, cell_state, loop_state
            )
            nest.assert_same_structure(state, next_state)
            nest.assert_same_structure(given, next_input)
            nest.assert_same_structure(zero, emitted)
            emitted = keep_where(over, zero, emitted)
            return (
                time + 1,
                math_ops.logical_or(over, next_over),
                next_input,
                nest.map_structure(lambda a, part: a.write(time, part), arrays, emitted),
                keep_where(over, state, next_state),
                loop_state if next_loop_state is None else next_loop_state,
            )

        results = while_loop(
            lambda time, over, *_: math_ops.logical_not(reduction_ops.reduce_all(over)),
            step,
            (
                time,
                over,
                first_input,
                nest.pack_sequence_as(form, arrays),
                state,
                loop_state if has_loop_state else constant(0, dtypes.int32),
            ),
            parallel_iterations=parallel_iterations or 32,
            swap_memory=swap_memory,
        )
        emitted, state, loop_state = results[3:]
        return emitted, state, loop_state if has_loop_state else None


def _zeros(batch_size: Any, form: Any, dtype: Any) -> Tensor:
    """Returns the output of an example that has ended."""
    size = form.shape if isinstance(form, Tensor) else form
    shape, known = with_batch(batch_size, size)
    result: Tensor = array_ops.zeros(shape, dtype)
    result.set_shape(known)
    return result
