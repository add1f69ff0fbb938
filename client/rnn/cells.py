"""The cells of ``tf.nn.rnn_cell``: one step of a recurrent network."""

from __future__ import annotations

import numbers
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flowray.client.framework import nest
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.layers.arguments import as_activation, as_initializer
from flowray.client.layers.base import InputSpec, Layer
from flowray.client.ops import array_ops, clip_ops, math_ops, nn_ops
from flowray.client.tf_export import tf_export
from flowray.client.variables import initializers
from flowray.client.variables.partitioned_variables import (
    PartitionedVariable,
    fixed_size_partitioner,
)
from flowray.client.variables.variable_scope import (
    VariableScope,
    get_variable_scope,
    variable_scope,
)
from flowray.client.variables.variables import trainable_variables
from flowray.proto.types.shapes import as_shape


def check_cell(name: str, cell: Any) -> None:
    """Raises TypeError unless ``cell`` has sizes and a zero state and is callable."""
    wanted = ("output_size", "state_size")
    missing = [
        f"'{attribute}' property is missing" for attribute in wanted if not hasattr(cell, attribute)
    ]
    if not (hasattr(cell, "zero_state") or hasattr(cell, "get_initial_state")):
        missing.append("either 'zero_state' or 'get_initial_state' method is required")
    if not callable(cell):
        missing.append("is not callable")
    if missing:
        raise TypeError(f"The argument '{name}' ({cell}) is not an RNNCell: {', '.join(missing)}.")


def with_batch(batch_size: Any, size: Any) -> tuple[Any, tuple[int | None, ...]]:
    """Returns the shape of a batch of tensors of ``size``: for an op, and the static one."""
    rest = as_shape([size] if isinstance(size, numbers.Integral) else size).as_list()
    if isinstance(batch_size, Tensor):
        return array_ops.concat([[batch_size], rest], 0), (None, *rest)
    return [batch_size, *rest], (batch_size, *rest)


def zero_states(state_size: Any, batch_size: Any, dtype: Any) -> Any:
    """Makes zeros in the structure of ``state_size``."""

    def zeros(size: Any) -> Tensor:
        shape, known = with_batch(batch_size, size)
        result: Tensor = array_ops.zeros(shape, dtype)
        result.set_shape(known)
        return result

    return nest.map_structure(zeros, state_size)


@tf_export("contrib.rnn.RNNCell", "nn.rnn_cell.RNNCell")
class RNNCell(Layer):
    """The base class of cells, which map inputs and a state to outputs and a state.

    Subclasses define ``call(inputs, state)`` (or ``__call__`` itself), ``state_size`` and
    ``output_size``. Variables that ``call`` makes with ``get_variable`` are those of the layer.
    """

    def __init__(
        self, trainable: bool = True, name: Any = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(trainable, name, dtype, **kwargs)
        self._opened: VariableScope | None = None

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """Returns the outputs and the next state.

        Args:
            inputs: [batch, size], or a structure of such tensors.
            state: tensors of ``state_size``, with the batch as first dimension.
            scope: the variable scope to use; one of the class's name by default.
        """
        if scope is not None:
            with variable_scope(scope, custom_getter=self._noting) as opened:
                return super().__call__(inputs, state, scope=opened)
        if self._opened is None:
            self._opened = get_variable_scope()
        with variable_scope(self._opened, custom_getter=self._noting):
            return super().__call__(inputs, state)

    def _noting(self, getter: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls ``get_variable`` and notes the variable as one of the layer's."""
        variable = getter(*args, **kwargs)
        known = [*self._trainable_weights, *self._non_trainable_weights]
        trainable = trainable_variables()
        is_partitioned = isinstance(variable, PartitionedVariable)
        for part in list(variable) if is_partitioned else [variable]:
            if not any(part is other for other in known):
                is_trainable = any(part is other for other in trainable)
                own = self._trainable_weights if is_trainable else self._non_trainable_weights
                own.append(part)
        return variable

    @property
    def state_size(self) -> Any:
        """The size of the state: an integer, a TensorShape, or a structure of them."""
        raise NotImplementedError("Abstract method")

    @property
    def output_size(self) -> Any:
        """The size of the output: an integer, a TensorShape, or a structure of them."""
        raise NotImplementedError("Abstract method")

    def build(self, input_shape: Any) -> None:
        """Does nothing: ``call`` makes the variables."""

    def get_initial_state(
        self, inputs: Any = None, batch_size: Any = None, dtype: Any = None
    ) -> Any:
        """Returns a zero state for ``inputs``, or for ``batch_size`` and ``dtype``."""
        if inputs is not None:
            inputs = convert_to_tensor(inputs, name="inputs")
            batch_size, dtype = array_ops.shape(inputs)[0], inputs.dtype
        if batch_size is None or dtype is None:
            raise ValueError(
                "batch_size and dtype cannot be None while constructing initial state: "
                f"batch_size={batch_size}, dtype={dtype}"
            )
        return self.zero_state(batch_size, dtype)

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """Returns zeros for the state of a batch."""
        with name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            return zero_states(self.state_size, batch_size, dtype)


class _LayerCell(RNNCell):
    """A cell that makes its variables in ``build``."""

    def __init__(self, activation: Any, reuse: Any, name: Any, dtype: Any, **kwargs: Any) -> None:
        super().__init__(name=name, dtype=dtype, _reuse=reuse, **kwargs)
        self.input_spec = InputSpec(ndim=2)
        chosen = as_activation(activation) if activation else None
        self._activation: Callable[[Any], Any] = chosen or math_ops.tanh

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        return Layer.__call__(self, inputs, state, scope=scope)

    def _depth(self, input_shape: Any) -> int:
        depth = as_shape(input_shape)[-1].value
        if depth is None:
            raise ValueError(
                f"Expected inputs.shape[-1] to be known, saw shape: {as_shape(input_shape)}"
            )
        return int(depth)

    def build(self, input_shape: Any) -> None:
        self.built = True


@tf_export("contrib.rnn.BasicRNNCell", "nn.rnn_cell.BasicRNNCell")
class BasicRNNCell(_LayerCell):
    """The cell ``output = state = activation(W * [inputs, state] + b)``.

    Args:
        num_units: the size of the output.
        activation: tanh by default.
        reuse: whether the variables are there already.
    """

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        name: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation, reuse, name, dtype, **kwargs)
        self._num_units = num_units

    @property
    def state_size(self) -> int:
        return self._num_units

    @property
    def output_size(self) -> int:
        return self._num_units

    def build(self, input_shape: Any) -> None:
        depth = self._depth(input_shape)
        self._kernel = self.add_variable("kernel", [depth + self._num_units, self._num_units])
        self._bias = self.add_variable("bias", [self._num_units], initializer=initializers.zeros())
        self.built = True

    def call(self, inputs: Any, state: Any) -> Any:
        output = self._activation(_affine([inputs, state], self._kernel, self._bias))
        return output, output


@tf_export("contrib.rnn.GRUCell", "nn.rnn_cell.GRUCell")
class GRUCell(_LayerCell):
    """A gated recurrent unit (Cho et al., 2014).

    Args:
        num_units: the size of the output.
        activation: of the candidate; tanh by default.
        reuse: whether the variables are there already.
        kernel_initializer: of both kernels.
        bias_initializer: of both biases; ones for the gates and zeros for the candidate by default.
    """

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation, reuse, name, dtype, **kwargs)
        self._num_units = num_units
        self._kernel_initializer = as_initializer(kernel_initializer)
        self._bias_initializer = as_initializer(bias_initializer)

    @property
    def state_size(self) -> int:
        return self._num_units

    @property
    def output_size(self) -> int:
        return self._num_units

    def build(self, input_shape: Any) -> None:
        units = self._num_units
        depth = self._depth(input_shape) + units
        self._gate_kernel = self.add_variable(
            "gates/kernel", [depth, 2 * units], initializer=self._kernel_initializer
        )
        self._gate_bias = self.add_variable(
            "gates/bias", [2 * units], initializer=self._bias_initializer or initializers.ones()
        )
        self._candidate_kernel = self.add_variable(
            "candidate/kernel", [depth, units], initializer=self._kernel_initializer
        )
        self._candidate_bias = self.add_variable(
            "candidate/bias", [units], initializer=self._bias_initializer or initializers.zeros()
        )
        self.built = True

    def call(self, inputs: Any, state: Any) -> Any:
        gates = math_ops.sigmoid(_affine([inputs, state], self._gate_kernel, self._gate_bias))
        reset, update = array_ops.split(gates, 2, axis=1)
        candidate = self._activation(
            _affine([inputs, reset * state], self._candidate_kernel, self._candidate_bias)
        )
        output = update * state + (1 - update) * candidate
        return output, output


@tf_export("contrib.rnn.LSTMStateTuple", "nn.rnn_cell.LSTMStateTuple")
class LSTMStateTuple(namedtuple("LSTMStateTuple", ("c", "h"))):
    """The state of an LSTM cell: its memory ``c`` and its last output ``h``."""

    __slots__ = ()

    @property
    def dtype(self) -> Any:
        """The dtype of both; TypeError if they differ."""
        if self.c.dtype != self.h.dtype:
            raise TypeError(f"Inconsistent internal state: {self.c.dtype} vs {self.h.dtype}")
        return self.c.dtype


class _LSTM(_LayerCell):
    """The base class of both LSTM cells, with the form of their state."""

    def __init__(self, state_is_tuple: bool, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._state_is_tuple = state_is_tuple

    def _parts(self, state: Any, size: int) -> tuple[Tensor, Tensor]:
        """Returns ``c``, of ``size``, and ``h``."""
        if self._state_is_tuple:
            c, h = state
            return c, h
        rest = state.shape.as_list()[1] - size
        return tuple(array_ops.split(state, [size, rest], axis=1))

    def _state(self, c: Tensor, h: Tensor) -> Any:
        return LSTMStateTuple(c, h) if self._state_is_tuple else array_ops.concat([c, h], 1)


@tf_export("contrib.rnn.BasicLSTMCell", "nn.rnn_cell.BasicLSTMCell")
class BasicLSTMCell(_LSTM):
    """A long short-term memory without peepholes, clipping or projection (Zaremba et al., 2014).

    Args:
        num_units: the size of the output.
        forget_bias: added to the forget gate's input.
        state_is_tuple: whether the state is an ``LSTMStateTuple``, or both parts side by side.
        activation: tanh by default.
        reuse: whether the variables are there already.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(state_is_tuple, activation, reuse, name, dtype, **kwargs)
        self._num_units = num_units
        self._forget_bias = forget_bias

    @property
    def state_size(self) -> Any:
        units = self._num_units
        return LSTMStateTuple(units, units) if self._state_is_tuple else 2 * units

    @property
    def output_size(self) -> int:
        return self._num_units

    def build(self, input_shape: Any) -> None:
        units = self._num_units
        depth = self._depth(input_shape)
        self._kernel = self.add_variable("kernel", [depth + units, 4 * units])
        self._bias = self.add_variable("bias", [4 * units], initializer=initializers.zeros())
        self.built = True

    def call(self, inputs: Any, state: Any) -> Any:
        c, h = self._parts(state, self._num_units)
        sums = _affine([inputs, h], self._kernel, self._bias)
        i, j, f, o = array_ops.split(sums, 4, axis=1)
        kept = c * math_ops.sigmoid(f + self._forget_bias)
        c = kept + math_ops.sigmoid(i) * self._activation(j)
        h = self._activation(c) * math_ops.sigmoid(o)
        return h, self._state(c, h)


@tf_export("contrib.rnn.LSTMCell", "nn.rnn_cell.LSTMCell")
class LSTMCell(_LSTM):
    """A long short-term memory (Sak et al., 2014).

    Args:
        num_units: the size of ``c``.
        use_peepholes: whether the gates see ``c``.
        cell_clip: what ``c`` is clipped to, if anything.
        initializer: of the kernels.
        num_proj: the size of the output, if it is a projection.
        proj_clip: what the projection is clipped to, if anything.
        num_unit_shards, num_proj_shards: into how many variables the kernels are split.
        forget_bias: added to the forget gate's input.
        state_is_tuple: whether the state is an ``LSTMStateTuple``, or both parts side by side.
        activation: tanh by default.
        reuse: whether the variables are there already.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: int | None = None,
        num_proj_shards: int | None = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(state_is_tuple, activation, reuse, name, dtype, **kwargs)
        self._num_units = num_units
        self._use_peepholes = use_peepholes
        self._cell_clip = cell_clip
        self._initializer = as_initializer(initializer)
        self._num_proj = num_proj
        self._proj_clip = proj_clip
        self._num_unit_shards = num_unit_shards
        self._num_proj_shards = num_proj_shards
        self._forget_bias = forget_bias
        self._output_size = num_proj or num_units

    @property
    def state_size(self) -> Any:
        sizes = self._num_units, self._output_size
        return LSTMStateTuple(*sizes) if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> int:
        return self._output_size

    def build(self, input_shape: Any) -> None:
        units = self._num_units
        depth = self._depth(input_shape) + self._output_size
        self._kernel = self.add_variable(
            "kernel",
            [depth, 4 * units],
            initializer=self._initializer,
            partitioner=_shards(self._num_unit_shards),
        )
        self._bias = self.add_variable("bias", [4 * units], initializer=initializers.zeros())
        if self._use_peepholes:
            self._w_f, self._w_i, self._w_o = (
                self.add_variable(f"w_{gate}_diag", [units], initializer=self._initializer)
                for gate in "fio"
            )
        if self._num_proj is not None:
            self._projection = self.add_variable(
                "projection/kernel",
                [units, self._num_proj],
                initializer=self._initializer,
                partitioner=_shards(self._num_proj_shards),
            )
        self.built = True

    def call(self, inputs: Any, state: Any) -> Any:
        c_before, h_before = self._parts(state, self._num_units)
        sums = _affine([inputs, h_before], self._kernel, self._bias)
        i, j, f, o = array_ops.split(sums, 4, axis=1)
        f = f + self._forget_bias
        if self._use_peepholes:
            f, i = f + self._w_f * c_before, i + self._w_i * c_before
        c = math_ops.sigmoid(f) * c_before + math_ops.sigmoid(i) * self._activation(j)
        if self._cell_clip is not None:
            c = clip_ops.clip_by_value(c, -self._cell_clip, self._cell_clip)
        if self._use_peepholes:
            o = o + self._w_o * c
        h = math_ops.sigmoid(o) * self._activation(c)
        if self._num_proj is not None:
            h = math_ops.matmul(h, self._projection)
            if self._proj_clip is not None:
                h = clip_ops.clip_by_value(h, -self._proj_clip, self._proj_clip)
        return h, self._state(c, h)


@tf_export("contrib.rnn.MultiRNNCell", "nn.rnn_cell.MultiRNNCell")
class MultiRNNCell(RNNCell):
    """Cells in a stack: each takes the output of the one before.

    Args:
        cells: the cells, from the input to the output.
        state_is_tuple: whether the state is a tuple of theirs, or all side by side.
    """

    def __init__(self, cells: Sequence[Any], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not cells:
            raise ValueError("Must specify at least one cell for MultiRNNCell.")
        if not isinstance(cells, list | tuple):
            raise TypeError(f"cells must be a list or tuple, but saw: {cells}.")
        self._cells = list(cells)
        self._state_is_tuple = state_is_tuple
        if not state_is_tuple and any(nest.is_nested(cell.state_size) for cell in cells):
            sizes = [str(cell.state_size) for cell in cells]
            raise ValueError(
                f"Some cells return tuples of states, but the flag state_is_tuple is not set.  "
                f"State sizes are: {sizes}"
            )

    @property
    def state_size(self) -> Any:
        sizes = tuple(cell.state_size for cell in self._cells)
        return sizes if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> Any:
        return self._cells[-1].output_size

    @property
    def trainable_weights(self) -> list[Any]:
        """The trainable variables of all cells."""
        return _all(c.trainable_weights for c in self._cells) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The other variables of all cells."""
        frozen = _all(cell.non_trainable_weights for cell in self._cells)
        if self.trainable:
            return frozen
        return _all(cell.trainable_weights for cell in self._cells) + frozen

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        with name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            if self._state_is_tuple:
                return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)
            return super().zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> Any:
        if self._state_is_tuple:
            if not nest.is_nested(state):
                raise ValueError(
                    f"Expected state to be a tuple of length {len(self.state_size)}, but received: "
                    f"{state}"
                )
            states = list(state)
        else:
            states = array_ops.split(state, [cell.state_size for cell in self._cells], axis=1)
        after = []
        for i, (cell, before) in enumerate(zip(self._cells, states, strict=True)):
            with variable_scope(f"cell_{i}"):
                inputs, new = cell(inputs, before)
                after.append(new)
        return inputs, tuple(after) if self._state_is_tuple else array_ops.concat(after, 1)


def _affine(parts: Sequence[Tensor], kernel: Any, bias: Any) -> Tensor:
    product = math_ops.matmul(array_ops.concat(parts, 1), kernel)
    return nn_ops.bias_add(product, bias)


def _shards(count: int | None) -> Any:
    return None if count is None else fixed_size_partitioner(count)


def _all(lists: Iterable[list[Any]]) -> list[Any]:
    return [item for items in lists for item in items]
