"""Functions such as ``tf.nn.dynamic_rnn``, which call a cell for one step after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowray.client.control_flow.cond import cond
from flowray.client.control_flow.while_loop import while_loop
from flowray.client.framework import nest
from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import (
    Tensor,
    colocate_with,
    control_dependencies,
    name_scope,
)
from flowray.client.ops import array_ops, layout_ops, math_ops, reduction_ops, slice_ops
from flowray.client.ops.control_flow_ops import Assert
from flowray.client.ops.tensor_array_ops import TensorArray
from flowray.client.rnn.cells import check_cell, with_batch
from flowray.client.tf_export import tf_export
from flowray.client.variables.variable_scope import VariableScope, variable_scope
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import is_fully_defined


@tf_export("nn.dynamic_rnn")
def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """Calls a cell for every time step of ``inputs``, in a loop.

    Args:
        cell: an RNNCell.
        inputs: [batch, time, ...], or a structure of such tensors.
        sequence_length: int vector [batch]: after so many steps of an example its outputs are
            zeros, and its state stays.
        initial_state: the state to begin with; zeros of ``dtype`` by default.
        parallel_iterations, swap_memory: hints.
        time_major: whether inputs and outputs are [time, batch, ...].
        scope: the variable scope, "rnn" by default.

    Returns:
        The outputs of all steps, and the last state.

    Raises:
        TypeError: ``cell`` is not an RNNCell.
        ValueError: neither a state nor a dtype is given, or static shapes do not fit.
    """
    check_cell("cell", cell)
    with caching_scope(scope, "rnn"):
        flat = [convert_to_tensor(tensor) for tensor in nest.flatten(inputs)]
        if not time_major:
            flat = [_transposed(tensor) for tensor in flat]
        batch_size = _batch_size(flat)
        if sequence_length is not None:
            sequence_length = _checked_lengths(sequence_length, batch_size)
        state = _first_state(cell, initial_state, batch_size, dtype)
        loop = _Loop(cell, nest.pack_sequence_as(inputs, flat), flat, state, batch_size, dtype)
        outputs, state = loop.run(sequence_length, parallel_iterations or 32, swap_memory)
        if not time_major:
            outputs = nest.map_structure(_transposed, outputs)
        return outputs, state


@contextmanager
def caching_scope(scope: Any, default: str) -> Iterator[VariableScope]:
    """A variable scope in which variables are cached where they are used."""
    with variable_scope(scope or default) as opened:
        if opened.caching_device is None:
            opened.set_caching_device(lambda op: op.device)
        yield opened


def _transposed(tensor: Tensor) -> Tensor:
    """Exchanges batch and time."""
    rank = tensor.shape.ndims
    if rank is not None and rank < 2:
        raise ValueError(
            f"Expected input tensor {tensor.name} to have rank at least 2, but saw shape: "
            f"{tensor.shape}"
        )
    axes = array_ops.concat([[1, 0], math_ops.range(2, array_ops.rank(tensor))], 0)
    result: Tensor = array_ops.transpose(tensor, axes)
    if rank is not None:
        time, batch, *rest = tensor.shape.as_list()
        result.set_shape([batch, time, *rest])
    return result


def _batch_size(flat: Sequence[Tensor]) -> Any:
    """Returns the batch size of tensors [time, batch, ...]: a number if one of them tells."""
    for tensor in flat:
        if tensor.shape.ndims is None:
            continue
        if tensor.shape.ndims < 2:
            raise ValueError(f"Expected input tensor {tensor.name} to have rank at least 2")
        size = tensor.shape.as_list()[1]
        if size is not None:
            return size
    return array_ops.shape(flat[0])[1]


def _checked_lengths(lengths: Any, batch_size: Any) -> Tensor:
    lengths = math_ops.cast(lengths, dtypes.int32)
    if lengths.shape.ndims not in (None, 1):
        raise ValueError(
            f"sequence_length must be a vector of length batch_size, but saw shape: {lengths.shape}"
        )
    lengths = array_ops.identity(lengths, name="sequence_length")
    actual, wanted = array_ops.shape(lengths), array_ops.stack([batch_size])
    fits = reduction_ops.reduce_all(math_ops.equal(actual, wanted))
    text = f"Expected shape for Tensor {lengths.name} is "
    with control_dependencies([Assert(fits, [text, wanted, " but saw shape: ", actual])]):
        return array_ops.identity(lengths, name="CheckSeqLen")


def _first_state(cell: Any, initial_state: Any, batch_size: Any, dtype: Any) -> Any:
    if initial_state is not None:
        return initial_state
    if not dtype:
        raise ValueError("If there is no initial_state, you must give a dtype.")
    if getattr(cell, "get_initial_state", None) is not None:
        return cell.get_initial_state(inputs=None, batch_size=batch_size, dtype=dtype)
    return cell.zero_state(batch_size, dtype)


def _output_dtype(dtype: Any, state: Any) -> Any:
    if dtype is not None:
        return dtypes.as_dtype(dtype)
    found = {tensor.dtype for tensor in nest.flatten(state)}
    if not found:
        raise ValueError("Unable to infer dtype from empty state.")
    if len(found) > 1:
        raise ValueError("State has tensors of different inferred_dtypes. Unable to infer a single")
    return found.pop()


class _Loop:
    """The loop of ``dynamic_rnn``, over inputs [time, batch, ...]."""

    def __init__(
        self,
        cell: Any,
        inputs: Any,
        flat: Sequence[Tensor],
        state: Any,
        batch_size: Any,
        dtype: Any,
    ) -> None:
        self._cell = cell
        self._inputs = inputs
        self._flat = flat
        self._state = state
        self._batch_size = batch_size
        self._dtype = _output_dtype(dtype, state)
        self._sizes = nest.flatten(cell.output_size)
        self._known_steps, self._known_batch = self._checked_shapes()

    def _checked_shapes(self) -> tuple[int | None, int | None]:
        shapes = [tensor.shape.with_rank_at_least(3).as_list() for tensor in self._flat]
        for shape in shapes:
            if not is_fully_defined(tuple(shape[2:])):
                raise ValueError(
                    "Input size (depth of inputs) must be accessible via shape inference, but saw "
                    "value None."
                )
            for what, position in (("Time steps", 0), ("Batch_size", 1)):
                if shape[position] != shapes[0][position]:
                    raise ValueError(
                        f"{what} is not the same for all the elements in the input in a batch."
                    )
        return shapes[0][0], shapes[0][1]

    def run(
        self, lengths: Tensor | None, parallel_iterations: int, swap_memory: bool
    ) -> tuple[Any, Any]:
        """Returns the outputs [time, batch, ...] and the last state."""
        steps = array_ops.shape(self._flat[0])[0]
        lengths_of_steps = None
        longest = steps
        if lengths is not None:
            lengths_of_steps = _Lengths(self._cell, lengths, self._batch_size, self._dtype)
            longest = lengths_of_steps.longest
        time = constant(0, dtypes.int32, name="time")
        with name_scope("dynamic_rnn") as base:
            pass
        outputs = [
            TensorArray(
                self._dtype,
                steps,
                element_shape=with_batch(self._known_batch, size)[1],
                tensor_array_name=f"{base}output_{i}",
            )
            for i, size in enumerate(self._sizes)
        ]
        inputs = [
            TensorArray(
                tensor.dtype,
                steps,
                element_shape=tensor.shape[1:],
                tensor_array_name=f"{base}input_{i}",
            ).unstack(tensor)
            for i, tensor in enumerate(self._flat)
        ]

        def step(time: Any, outputs: Any, state: Any) -> Any:
            rows = [array.read(time) for array in inputs]
            for row, tensor in zip(rows, self._flat, strict=True):
                row.set_shape(tensor.shape[1:])
            row = nest.pack_sequence_as(self._inputs, rows)
            if lengths_of_steps is None:
                output, new_state = self._cell(row, state)
            else:
                output, new_state = lengths_of_steps.step(
                    time, state, lambda: self._cell(row, state)
                )
            written = [
                array.write(time, part)
                for array, part in zip(outputs, nest.flatten(output), strict=True)
            ]
            return time + 1, tuple(written), new_state

        # At least one step is done, so that the arrays know the shape of their elements.
        bound = math_ops.minimum(steps, math_ops.maximum(1, longest))
        _, outputs, state = while_loop(
            lambda time, *_: time < bound,
            step,
            (time, tuple(outputs), self._state),
            parallel_iterations=parallel_iterations,
            maximum_iterations=steps,
            swap_memory=swap_memory,
        )
        stacked = [array.stack() for array in outputs]
        for tensor, size in zip(stacked, self._sizes, strict=True):
            tensor.set_shape([self._known_steps, *with_batch(self._known_batch, size)[1]])
        return nest.pack_sequence_as(self._cell.output_size, stacked), state


class _Lengths:
    """Replaces the results of the examples of a batch that have ended."""

    def __init__(self, cell: Any, lengths: Tensor, batch_size: Any, dtype: Any) -> None:
        def zeros(size: Any) -> Tensor:
            shape, known = with_batch(batch_size, size)
            result: Tensor = array_ops.zeros(shape, dtype)
            result.set_shape(known)
            return result

        self._zero = nest.map_structure(zeros, cell.output_size)
        self._lengths = lengths
        self._shortest = reduction_ops.reduce_min(lengths)
        self.longest = reduction_ops.reduce_max(lengths)

    def step(self, time: Any, state: Any, call: Callable[[], Any]) -> tuple[Any, Any]:
        """Returns the cell's output and state; zeros and the old state for ended examples."""
        output, new_state = call()
        nest.assert_same_structure(self._zero, output)
        nest.assert_same_structure(state, new_state)
        over = time >= self._lengths
        return keep_where(over, self._zero, output), keep_where(over, state, new_state)

    def step_if_any(self, time: int, state: Any, call: Callable[[], Any]) -> tuple[Any, Any]:
        """Computes ``step``, but does not run the cell when all examples have ended."""
        flat: list[Any] = []

        def some() -> list[Tensor]:
            output, new_state = self.step(time, state, call)
            flat[:] = [output, new_state]
            return nest.flatten((output, new_state))

        def none() -> list[Tensor]:
            return nest.flatten((self._zero, state))

        results = cond(time >= self.longest, none, some, strict=True)
        for result, before in zip(results, none(), strict=True):
            result.set_shape(before.shape)
        output, new_state = nest.pack_sequence_as(tuple(flat), results)
        return output, new_state


def keep_where(over: Any, before: Any, after: Any) -> Any:
    """Returns ``after``, but ``before`` for the examples that have ended (bool [batch]).

    Scalars and arrays are not an example's: of these, ``after`` is taken.
    """

    def keep(old: Any, new: Any) -> Any:
        if isinstance(old, TensorArray) or old.shape.ndims == 0:
            return new
        with colocate_with(new):
            result = slice_ops.where(over, old, new)
        result.set_shape(new.shape)
        return result

    return nest.map_structure(keep, before, after)


@tf_export("nn.static_rnn", "contrib.rnn.static_rnn")
def static_rnn(
    cell: Any,
    inputs: Any,
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Calls a cell for every one of a list of inputs, each with nodes of its own.

    Args:
        cell: an RNNCell.
        inputs: a list of tensors [batch, ...], or of structures of them: one per step.
        initial_state, dtype, sequence_length: see ``dynamic_rnn``.
        scope: the variable scope, "rnn" by default.

    Returns:
        A list of the outputs of all steps, and the last state.

    Raises:
        TypeError: ``cell`` is not an RNNCell, or ``inputs`` is not a list.
        ValueError: ``inputs`` is empty, or neither a state nor a dtype is given.
    """
    check_cell("cell", cell)
    if not nest.is_nested(inputs):
        raise TypeError("inputs must be a sequence")
    if not inputs:
        raise ValueError("inputs must not be empty")
    outputs: list[Any] = []
    with caching_scope(scope, "rnn") as opened:
        first = [convert_to_tensor(tensor) for tensor in nest.flatten(inputs[0])]
        batch_size = first[0].shape.with_rank_at_least(2).as_list()[0]
        if batch_size is None:
            batch_size = array_ops.shape(first[0])[0]
        if initial_state is None and not dtype:
            raise ValueError("If no initial_state is provided, dtype must be specified")
        state = _first_state(cell, initial_state, batch_size, dtype)
        lengths = None
        if sequence_length is not None:
            vector = convert_to_tensor(sequence_length, name="sequence_length")
            if vector.shape.ndims not in (None, 1):
                raise ValueError("sequence_length must be a vector of length batch_size")
            vector = math_ops.cast(vector, dtypes.int32)
            lengths = _Lengths(cell, vector, batch_size, _output_dtype(dtype, state))
        for time, given in enumerate(inputs):
            if time > 0:
                opened.reuse_variables()
            if lengths is None:
                output, state = cell(given, state)
            else:
                call = functools.partial(cell, given, state)
                output, state = lengths.step_if_any(time, state, call)
            outputs.append(output)
        return outputs, state


@tf_export("nn.bidirectional_dynamic_rnn")
def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Runs one cell over ``inputs`` from the beginning and another one from the end.

    For the arguments see ``dynamic_rnn``.

    Returns:
        The outputs of both, and the last states of both.
    """
    check_cell("cell_fw", cell_fw)
    check_cell("cell_bw", cell_bw)
    time_axis, batch_axis = (0, 1) if time_major else (1, 0)

    def reverse(tensor: Any) -> Any:
        if sequence_length is None:
            return layout_ops.reverse(tensor, axis=[time_axis])
        return layout_ops.reverse_sequence(
            tensor, sequence_length, seq_axis=time_axis, batch_axis=batch_axis
        )

    common = {
        "sequence_length": sequence_length,
        "dtype": dtype,
        "parallel_iterations": parallel_iterations,
        "swap_memory": swap_memory,
        "time_major": time_major,
    }
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as opened:
            output_fw, state_fw = dynamic_rnn(
                cell_fw, inputs, initial_state=initial_state_fw, scope=opened, **common
            )
        with variable_scope("bw") as opened:
            reversed_inputs = nest.map_structure(reverse, inputs)
            output_bw, state_bw = dynamic_rnn(
                cell_bw, reversed_inputs, initial_state=initial_state_bw, scope=opened, **common
            )
    return (output_fw, nest.map_structure(reverse, output_bw)), (state_fw, state_bw)


@tf_export("nn.static_bidirectional_rnn", "contrib.rnn.static_bidirectional_rnn")
def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any, Any]:
    """Runs two cells as ``bidirectional_dynamic_rnn``, over a list of inputs.

    Returns:
        For each step the outputs of both cells, concatenated; the last states of both.
    """
    check_cell("cell_fw", cell_fw)
    check_cell("cell_bw", cell_bw)
    if not nest.is_nested(inputs):
        raise TypeError("inputs must be a sequence")
    if not inputs:
        raise ValueError("inputs must not be empty")
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as opened:
            output_fw, state_fw = static_rnn(
                cell_fw, inputs, initial_state_fw, dtype, sequence_length, scope=opened
            )
        with variable_scope("bw") as opened:
            output_bw, state_bw = static_rnn(
                cell_bw,
                _reversed(inputs, sequence_length),
                initial_state_bw,
                dtype,
                sequence_length,
                scope=opened,
            )
    joined = [
        nest.map_structure(lambda a, b: array_ops.concat([a, b], 1), fw, bw)
        for fw, bw in zip(output_fw, _reversed(output_bw, sequence_length), strict=True)
    ]
    return joined, state_fw, state_bw


def _reversed(steps: Sequence[Any], lengths: Any) -> list[Any]:
    """Reverses a list of steps; each example as far as it goes."""
    if lengths is None:
        return list(reversed(steps))
    columns = zip(*(nest.flatten(step) for step in steps), strict=True)
    turned = [
        array_ops.unstack(
            layout_ops.reverse_sequence(
                array_ops.stack(list(column)), lengths, seq_axis=0, batch_axis=1
            ),
            num=len(steps),
        )
        for column in columns
    ]
    return [
        nest.pack_sequence_as(step, leaves)
        for step, leaves in zip(steps, zip(*turned, strict=True), strict=True)
    ]
