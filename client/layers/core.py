"""``tf.layers``: dense layers, dropout, flattening."""

from __future__ import annotations

import math
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.layers.arguments import (
    as_activation,
    as_data_format,
    as_function,
    as_initializer,
)
from flowray.client.layers.base import InputSpec, Layer
from flowray.client.layers.conditions import smart_cond
from flowray.client.layers.functional import layer_function
from flowray.client.ops import array_ops, math_ops, nn_ops, reduction_ops
from flowray.client.tf_export import tf_export
from flowray.client.variables import initializers
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import TensorShape, as_shape


@tf_export("layers.Dense")
class Dense(Layer):
    """``activation(inputs * kernel + bias)``, along the last dimension.

    Args:
        units: the size of the last dimension of the output.
        activation: a function; None for none.
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer: initializers; None is the variable scope's, else
            Glorot's uniform one.
        kernel_regularizer, bias_regularizer, activity_regularizer: functions of the kernel, the
            bias and the output to losses.
        kernel_constraint, bias_constraint: functions from a new value to the one to keep.
        trainable: whether optimizers change the variables.
        name: the name; of layers with the same name one must have ``reuse``.
    """

    takes_reuse = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = initializers.zeros(),  # noqa: B008 - has no state
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **kwargs)
        self.units = int(units)
        self.activation = as_activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = as_initializer(kernel_initializer)
        self.bias_initializer = as_initializer(bias_initializer)
        self.kernel_regularizer = as_function(kernel_regularizer, "regularizer")
        self.bias_regularizer = as_function(bias_regularizer, "regularizer")
        self.kernel_constraint = as_function(kernel_constraint, "constraint")
        self.bias_constraint = as_function(bias_constraint, "constraint")
        self.input_spec = InputSpec(min_ndim=2)
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        dtype = dtypes.as_dtype(self.dtype or dtypes.float32)
        if not (dtype.is_floating or dtype.is_complex):
            raise TypeError(
                f"Unable to build `Dense` layer with non-floating point dtype {dtype!r}"
            )
        size = as_shape(input_shape)[-1].value
        if size is None:
            raise ValueError(
                "The last dimension of the inputs to `Dense` should be defined. Found `None`."
            )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})
        self.kernel = self.add_weight(
            "kernel",
            [size, self.units],
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                "bias",
                [self.units],
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        rank = inputs.shape.rank
        if rank > 2:
            outputs = reduction_ops.tensordot(inputs, self.kernel, [[rank - 1], [0]])
            outputs.set_shape([*inputs.shape.as_list()[:-1], self.units])
        else:
            inputs = math_ops.cast(inputs, self.dtype)
            outputs = math_ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            outputs = nn_ops.bias_add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        shape = as_shape(input_shape).with_rank_at_least(2)
        if shape[-1].value is None:
            raise ValueError(
                f"The innermost dimension of input_shape must be defined, but saw: {input_shape}"
            )
        return TensorShape([*shape.as_list()[:-1], self.units])


@tf_export("layers.Dropout")
class Dropout(Layer):
    """Sets a part of the elements to 0 in training, and scales up the others.

    Args:
        rate: the part, a number or a tensor.
        noise_shape: the shape of the choices, which are broadcast: where it is 1, elements are
            dropped or kept together. A None in it is the size of the inputs.
        seed: of the random op.

    A call takes ``training``: a bool or a bool tensor; False leaves the inputs as they are.
    """

    def __init__(
        self,
        rate: Any = 0.5,
        noise_shape: Any = None,
        seed: int | None = None,
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed
        self.supports_masking = True

    def call(self, inputs: Any, training: Any = False) -> Any:
        return smart_cond(
            training,
            lambda: nn_ops.dropout(
                inputs, noise_shape=self._noise_shape_for(inputs), seed=self.seed, rate=self.rate
            ),
            lambda: array_ops.identity(inputs),
        )

    def _noise_shape_for(self, inputs: Any) -> Any:
        if self.noise_shape is None or not isinstance(self.noise_shape, list | tuple):
            return self.noise_shape
        shape = array_ops.shape(inputs)
        return convert_to_tensor(
            [shape[i] if size is None else size for i, size in enumerate(self.noise_shape)]
        )

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        return as_shape(input_shape)


@tf_export("layers.Flatten")
class Flatten(Layer):
    """``[batch, ...]`` as ``[batch, size]``; ``[batch]`` as ``[batch, 1]``.

    Args:
        data_format: ``channels_first`` brings the channels last before, so that the order is that
            of ``channels_last``.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = as_data_format(data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        rank = inputs.shape.rank
        if self.data_format == "channels_first" and rank is not None and rank > 1:
            inputs = array_ops.transpose(inputs, [0, *range(2, rank), 1])
        batch = inputs.shape[0].value or array_ops.shape(inputs)[0]
        outputs = array_ops.reshape(inputs, [batch, -1])
        outputs.set_shape(self.compute_output_shape(inputs.shape))
        return outputs

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        shape = as_shape(input_shape).as_list()
        if not shape:
            return TensorShape([1])
        batch, *sizes = shape
        return TensorShape([batch, None if None in sizes else math.prod(sizes)])


@tf_export("layers.dropout")
def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: int | None = None,
    training: Any = False,
    name: str | None = None,
) -> Any:
    """Makes a layer ``Dropout`` and calls it."""
    return Dropout(rate, noise_shape, seed, name)(inputs, training=training)


@tf_export("layers.flatten")
def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Any:
    """Makes a layer ``Flatten`` and calls it."""
    return Flatten(data_format, name=name)(inputs)


dense = tf_export("layers.dense")(layer_function(Dense, "dense"))
