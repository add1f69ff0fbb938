"""Cells around other cells: dropout, residuals, devices."""

from __future__ import annotations

import functools
import hashlib
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.client.framework import nest
from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, device, name_scope
from flowray.client.ops import math_ops, nn_ops, random_ops
from flowray.client.ops.tensor_array_ops import TensorArray
from flowray.client.rnn.cells import LSTMStateTuple, RNNCell, check_cell
from flowray.client.tf_export import tf_export
from flowray.proto.types.shapes import as_shape


class _Wrapper(RNNCell):
    """A cell that has another one's sizes and variables, and no variable scope of its own."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        check_cell("cell", cell)
        self.cell = cell

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        raise NotImplementedError

    @property
    def wrapped_cell(self) -> Any:
        return self.cell

    @property
    def state_size(self) -> Any:
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        return self.cell.output_size

    @property
    def trainable_weights(self) -> list[Any]:
        return list(self.cell.trainable_weights)

    @property
    def non_trainable_weights(self) -> list[Any]:
        return list(self.cell.non_trainable_weights)

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        with name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            return self.cell.zero_state(batch_size, dtype)


@tf_export("contrib.rnn.DropoutWrapper", "nn.rnn_cell.DropoutWrapper")
class DropoutWrapper(_Wrapper):
    """Applies dropout to the inputs, the state and the outputs of a cell.

    Args:
        cell: an RNNCell.
        input_keep_prob, state_keep_prob, output_keep_prob: the probabilities to keep an element.
        variational_recurrent: whether the same elements are dropped in all steps.
        input_size: the size of the inputs; for variational dropout of inputs.
        dtype: of inputs, state and outputs; for variational dropout.
        seed: an integer that makes the choice repeatable.
        dropout_state_filter_visitor: a function of a part of the state that tells whether (or a
            structure of bools which parts) to drop; all but an LSTM's ``c`` by default.
    """

    def __init__(
        self,
        cell: Any,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        dtype: Any = None,
        seed: int | None = None,
        dropout_state_filter_visitor: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(cell)
        if dropout_state_filter_visitor is not None and not callable(dropout_state_filter_visitor):
            raise TypeError("dropout_state_filter_visitor must be callable")
        self._drops = dropout_state_filter_visitor or _all_but_c
        self._seed = seed
        self._keep: dict[str, Any] = {}
        given = {
            "input_keep_prob": input_keep_prob,
            "state_keep_prob": state_keep_prob,
            "output_keep_prob": output_keep_prob,
        }
        with name_scope("DropoutWrapperInit"):
            for name, value in given.items():
                known = constant_value(convert_to_tensor(value))
                if known is None:
                    self._keep[name.partition("_")[0]] = convert_to_tensor(value)
                    continue
                if not 0 <= known <= 1:
                    raise ValueError(f"Parameter {name} must be between 0 and 1: {known}")
                self._keep[name.partition("_")[0]] = float(known)
        self._variational = variational_recurrent
        self._noise: dict[str, Any] = {}
        if variational_recurrent:
            if dtype is None:
                raise ValueError("When variational_recurrent=True, dtype must be provided")
            sizes = {"state": cell.state_size, "output": cell.output_size}
            if self._drops_some("input"):
                if input_size is None:
                    raise ValueError(
                        "When variational_recurrent=True and input_keep_prob < 1.0 or "
                        "is unknown, input_size must be provided"
                    )
                sizes["input"] = input_size

            def noise(what: str, i: int, size: Any) -> Tensor:
                shape = as_shape([size] if isinstance(size, numbers.Integral) else size)
                return random_ops.random_uniform(
                    [1, *shape.as_list()], seed=self._derived_seed(what, i), dtype=dtype
                )

            self._noise = {
                what: self._numbered(functools.partial(noise, what), size)
                for what, size in sizes.items()
            }

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """Returns the outputs and the next state of the cell, some elements dropped."""
        if self._drops_some("input"):
            inputs = self._dropped("input", inputs, inputs)
        output, state = self.cell(inputs, state, scope=scope)
        if self._drops_some("state"):
            state = self._dropped("state", state, self._filtered(state))
        if self._drops_some("output"):
            output = self._dropped("output", output, output)
        return output, state

    def _drops_some(self, what: str) -> bool:
        keep = self._keep[what]
        return not isinstance(keep, float) or keep < 1

    def _filtered(self, state: Any) -> Any:
        """Returns the state with a bool for each part: drop it or not."""
        chosen = self._drops(state)
        if not isinstance(chosen, bool | np.bool_):
            return chosen
        if not chosen or not nest.is_nested(state):
            return chosen
        if hasattr(state, "_fields"):
            return type(state)(*map(self._filtered, state))
        return type(state)(map(self._filtered, state))

    def _dropped(self, what: str, values: Any, chosen: Any) -> Any:
        """Returns ``values``, dropped where ``chosen`` has True or a tensor."""
        keep = self._keep[what]
        numbers = iter(range(len(nest.flatten(chosen))))
        noise = iter(nest.flatten(self._noise[what]) if self._variational else [])

        def visit(choice: Any, value: Any) -> Any:
            if nest.is_nested(choice):
                parts = [visit(c, v) for c, v in zip(choice, value, strict=True)]
                return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
            i = next(numbers)
            if isinstance(choice, bool | np.bool_) and not choice:
                if self._variational:
                    next(noise)
                return value
            if self._variational:
                kept = math_ops.floor(keep + next(noise))
                result = math_ops.div(value, keep) * kept
                result.set_shape(value.get_shape())
                return result
            return nn_ops.dropout(value, keep_prob=keep, seed=self._derived_seed(what, i))

        return visit(chosen, values)

    def _numbered(self, function: Callable[[int, Any], Any], structure: Any) -> Any:
        leaves = [function(i, leaf) for i, leaf in enumerate(nest.flatten(structure))]
        return nest.pack_sequence_as(structure, leaves)

    def _derived_seed(self, what: str, number: int) -> int | None:
        """Derives a seed for one of the dropped tensors, as TensorFlow does."""
        if self._seed is None:
            return None
        text = f"{self._seed}{what}_{number}".encode()
        return int(hashlib.md5(text, usedforsecurity=False).hexdigest()[:8], 16) & 0x7FFFFFFF


def _all_but_c(part: Any) -> Any:
    if isinstance(part, LSTMStateTuple):
        return LSTMStateTuple(c=False, h=True)
    return not isinstance(part, TensorArray)


@tf_export("contrib.rnn.ResidualWrapper", "nn.rnn_cell.ResidualWrapper")
class ResidualWrapper(_Wrapper):
    """Adds a cell's inputs to its outputs.

    Args:
        cell: an RNNCell.
        residual_fn: a function of inputs and outputs to use instead.
    """

    def __init__(self, cell: Any, residual_fn: Callable[[Any, Any], Any] | None = None) -> None:
        super().__init__(cell)
        self._residual_fn = residual_fn

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """Returns the outputs and the next state."""
        outputs, state = self.cell(inputs, state, scope=scope)
        return (self._residual_fn or _sum)(inputs, outputs), state


def _sum(inputs: Any, outputs: Any) -> Any:
    nest.assert_same_structure(inputs, outputs)
    for before, after in zip(nest.flatten(inputs), nest.flatten(outputs), strict=True):
        before.get_shape().assert_is_compatible_with(after.get_shape())
    return nest.map_structure(lambda before, after: before + after, inputs, outputs)


@tf_export("contrib.rnn.DeviceWrapper", "nn.rnn_cell.DeviceWrapper")
class DeviceWrapper(_Wrapper):
    """Puts a cell on a device.

    Args:
        cell: an RNNCell.
        device: a device name or function.
    """

    def __init__(self, cell: Any, device: Any) -> None:
        super().__init__(cell)
        self._device = device

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """Returns the outputs and the next state."""
        with device(self._device):
            return self.cell(inputs, state, scope=scope)

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        with device(self._device):
            return super().zero_state(batch_size, dtype)
