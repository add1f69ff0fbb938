"""``tf.layers``: convolutions over one, two or three dimensions."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.layers.arguments import (
    as_activation,
    as_data_format,
    as_function,
    as_initializer,
    as_padding,
    as_tuple,
    layout,
)
from flowray.client.layers.base import InputSpec, Layer
from flowray.client.layers.functional import layer_function
from flowray.client.ops import array_ops, conv_ops, layout_ops, nn_ops
from flowray.client.tf_export import tf_export
from flowray.client.variables import initializers
from flowray.proto.ops.windows import output_size
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import TensorShape, as_shape


class _Conv(Layer):
    """The base class of convolutions.

    Args:
        filters: the number of channels of the output.
        kernel_size: the size of a window, one number or one per spatial dimension.
        strides: the steps from window to window, likewise.
        padding: ``valid``, or ``same``: padded so that there is a window for every step.
        data_format: ``channels_last`` or ``channels_first``.
        dilation_rate: the distances of a window's elements; above 1, the strides must be 1.
        activation: a function; None for none.
        use_bias: whether there is a bias, one number per channel of the output.
        kernel_initializer, bias_initializer: initializers; None is the variable scope's, else
            Glorot's uniform one.
        kernel_regularizer, bias_regularizer, activity_regularizer: functions of the kernel, the
            bias and the output to losses.
        kernel_constraint, bias_constraint: functions from a new value to the one to keep.
        trainable: whether optimizers change the variables.
        name: the name; of layers with the same name one must have ``reuse``.
    """

    rank: int
    takes_reuse = True

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
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
        self.filters = filters
        self.kernel_size = as_tuple(kernel_size, self.rank, "kernel_size")
        self.strides = as_tuple(strides, self.rank, "strides")
        self.padding = as_padding(padding)
        if self.padding == "causal" and self.rank != 1:
            raise ValueError("Causal padding is only supported for `Conv1D` and `SeparableConv1D`.")
        self.data_format = as_data_format(data_format)
        self.dilation_rate = as_tuple(dilation_rate, self.rank, "dilation_rate")
        self.activation = as_activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = as_initializer(kernel_initializer)
        self.bias_initializer = as_initializer(bias_initializer)
        self.kernel_regularizer = as_function(kernel_regularizer, "regularizer")
        self.bias_regularizer = as_function(bias_regularizer, "regularizer")
        self.kernel_constraint = as_function(kernel_constraint, "constraint")
        self.bias_constraint = as_function(bias_constraint, "constraint")
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.bias: Any = None

    # Building -------------------------------------------------------------------------------

    @property
    def _channels_first(self) -> bool:
        return self.data_format == "channels_first"

    def _input_channels(self, input_shape: Any) -> int:
        """Returns the number of channels, which ``input_spec`` demands from here on."""
        axis = 1 if self._channels_first else -1
        channels = as_shape(input_shape)[axis].value
        if channels is None:
            raise ValueError("The channel dimension of the inputs should be defined. Found `None`.")
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _add_bias(self) -> None:
        if self.use_bias:
            self.bias = self.add_weight(
                "bias",
                (self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def build(self, input_shape: Any) -> None:
        shape = (*self.kernel_size, self._input_channels(input_shape), self.filters)
        self.kernel = self.add_weight(
            "kernel",
            shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self._add_bias()
        # A node of TensorFlow 1.15 that nobody reads; but the seeds of random ops after it go by
        # the number of nodes.
        convert_to_tensor(list(self.dilation_rate), dtypes.int32, name="dilation_rate")
        self.built = True

    # Calling --------------------------------------------------------------------------------

    def call(self, inputs: Any) -> Any:
        padding = self.padding.upper()
        if self.padding == "causal":
            inputs, padding = layout_ops.pad(inputs, self._causal_padding()), "VALID"
        function: Any = {1: conv_ops.conv1d, 2: conv_ops.conv2d, 3: conv_ops.conv3d}[self.rank]
        strides, dilations = list(self.strides), list(self.dilation_rate)
        outputs = function(
            inputs,
            self.kernel,
            strides,
            padding,
            data_format=layout(self.data_format, self.rank + 2),
            dilations=dilations,
        )
        return self._finished(outputs)

    def _causal_padding(self) -> list[list[int]]:
        """Pads at the beginning, so that no output depends on later inputs."""
        before = [self.dilation_rate[0] * (self.kernel_size[0] - 1), 0]
        return [[0, 0], [0, 0], before] if self._channels_first else [[0, 0], before, [0, 0]]

    def _finished(self, outputs: Any) -> Any:
        """Adds bias and activation."""
        if self.bias is not None:
            if self._channels_first and self.rank == 1:
                outputs += array_ops.reshape(self.bias, (1, self.filters, 1))
            else:
                data_format = "NCHW" if self._channels_first else "NHWC"
                outputs = nn_ops.bias_add(outputs, self.bias, data_format=data_format)
        return outputs if self.activation is None else self.activation(outputs)

    # Shapes ---------------------------------------------------------------------------------

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        batch, sizes = self._sizes(input_shape)
        return self._shape(batch, [self._output_size(i, size) for i, size in enumerate(sizes)])

    def _sizes(self, input_shape: Any) -> tuple[int | None, list[int | None]]:
        """Returns the batch's and the spatial dimensions."""
        batch, *rest = as_shape(input_shape).as_list()
        return batch, rest[1:] if self._channels_first else rest[:-1]

    def _shape(self, batch: int | None, sizes: list[int | None]) -> TensorShape:
        if self._channels_first:
            return TensorShape([batch, self.filters, *sizes])
        return TensorShape([batch, *sizes, self.filters])

    def _output_size(self, i: int, size: int | None) -> int | None:
        padding = b"VALID" if self.padding == "valid" else b"SAME"  # causal keeps the length, too
        return output_size(
            size, self.kernel_size[i], self.strides[i], padding, self.dilation_rate[i]
        )


@tf_export("layers.Conv1D")
class Conv1D(_Conv):
    """A convolution over one dimension: ``(inputs, filters, kernel_size, strides, padding, ...)``.

    Inputs are ``[batch, length, channels]``, or ``[batch, channels, length]``.
    """

    rank = 1


@tf_export("layers.Conv2D")
class Conv2D(_Conv):
    """A convolution over two dimensions: ``(inputs, filters, kernel_size, strides, padding, ...)``.

    Inputs are ``[batch, height, width, channels]``, or ``[batch, channels, height, width]``.
    """

    rank = 2


@tf_export("layers.Conv3D")
class Conv3D(_Conv):
    """A convolution over three dimensions: ``(inputs, filters, kernel_size, strides, ...)``.

    Inputs are ``[batch, depth, height, width, channels]``, or with the channels first.
    """

    rank = 3


# Separable convolutions ---------------------------------------------------------------------------


class _SeparableConv(_Conv):
    """A convolution of each channel, and one of size 1 that mixes the channels.

    Args:
        depth_multiplier: the number of outputs of each channel.
        depthwise_*, pointwise_*: what ``_Conv`` has as ``kernel_*``, of the first and the second.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = None,
        pointwise_initializer: Any = None,
        bias_initializer: Any = initializers.zeros(),  # noqa: B008 - has no state
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            bias_constraint=bias_constraint,
            trainable=trainable,
            name=name,
            **kwargs,
        )
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = as_initializer(depthwise_initializer)
        self.pointwise_initializer = as_initializer(pointwise_initializer)
        self.depthwise_regularizer = as_function(depthwise_regularizer, "regularizer")
        self.pointwise_regularizer = as_function(pointwise_regularizer, "regularizer")
        self.depthwise_constraint = as_function(depthwise_constraint, "constraint")
        self.pointwise_constraint = as_function(pointwise_constraint, "constraint")

    def build(self, input_shape: Any) -> None:
        channels = self._input_channels(input_shape)
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel",
            (*self.kernel_size, channels, self.depth_multiplier),
            initializer=self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
        )
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel",
            (*[1] * self.rank, self.depth_multiplier * channels, self.filters),
            initializer=self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
        )
        self._add_bias()
        self.built = True

    def _convolved(
        self, inputs: Any, depthwise: Any, pointwise: Any, strides: Any, rate: Any, padding: str
    ) -> Any:
        """Convolves over two dimensions and adds the bias."""
        around = (1, 1, *strides) if self._channels_first else (1, *strides, 1)
        data_format = layout(self.data_format, 4)
        outputs = conv_ops.separable_conv2d(
            inputs, depthwise, pointwise, around, padding.upper(), rate, data_format=data_format
        )
        if self.bias is None:
            return outputs
        return nn_ops.bias_add(outputs, self.bias, data_format=data_format)


@tf_export("layers.SeparableConv1D")
class SeparableConv1D(_SeparableConv):
    """A separable convolution over one dimension: ``(inputs, filters, kernel_size, ...)``."""

    rank = 1

    def call(self, inputs: Any) -> Any:
        padding = self.padding
        if padding == "causal":
            inputs, padding = layout_ops.pad(inputs, self._causal_padding()), "valid"
        axis = 2 if self._channels_first else 1
        outputs = self._convolved(
            array_ops.expand_dims(inputs, axis),
            array_ops.expand_dims(self.depthwise_kernel, 0),
            array_ops.expand_dims(self.pointwise_kernel, 0),
            self.strides * 2,
            (1, *self.dilation_rate),
            padding,
        )
        outputs = array_ops.squeeze(outputs, [axis])
        return outputs if self.activation is None else self.activation(outputs)


@tf_export("layers.SeparableConv2D")
class SeparableConv2D(_SeparableConv):
    """A separable convolution over two dimensions: ``(inputs, filters, kernel_size, ...)``."""

    rank = 2

    def call(self, inputs: Any) -> Any:
        outputs = self._convolved(
            inputs,
            self.depthwise_kernel,
            self.pointwise_kernel,
            self.strides,
            self.dilation_rate,
            self.padding,
        )
        return outputs if self.activation is None else self.activation(outputs)


# Transposed convolutions --------------------------------------------------------------------------


class _ConvTranspose(_Conv):
    """The transpose of a convolution: from the shape of its output to that of its input.

    The arguments are those of ``_Conv``, without ``dilation_rate``.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
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
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            1,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            trainable,
            name,
            **kwargs,
        )

    def build(self, input_shape: Any) -> None:
        shape = (*self.kernel_size, self.filters, self._input_channels(input_shape))
        self.kernel = self.add_weight(
            "kernel",
            shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self._add_bias()
        self.built = True

    def call(self, inputs: Any) -> Any:
        shape = array_ops.shape(inputs)
        first = 2 if self._channels_first else 1
        batch, *sizes = [shape[i] for i in (0, *range(first, first + self.rank))]
        sizes = [self._output_size(i, size) for i, size in enumerate(sizes)]
        if self._channels_first:
            output_shape = array_ops.stack([batch, self.filters, *sizes])
        else:
            output_shape = array_ops.stack([batch, *sizes, self.filters])
        if self.rank == 2:
            output_shape[0]  # nobody reads this node, either; see _Conv.build
        function = {2: conv_ops.conv2d_transpose, 3: conv_ops.conv3d_transpose}[self.rank]
        outputs = function(
            inputs,
            self.kernel,
            output_shape,
            list(self.strides),
            padding=self.padding.upper(),
            data_format=layout(self.data_format, self.rank + 2),
        )
        outputs.set_shape(self.compute_output_shape(inputs.shape))
        return self._finished(outputs)

    def _output_size(self, i: int, size: Any) -> Any:
        """Returns the smallest size that a convolution shrinks to ``size``."""
        if size is None:
            return None
        size *= self.strides[i]
        if self.padding == "valid":
            size += max(self.kernel_size[i] - self.strides[i], 0)
        return size


@tf_export("layers.Conv2DTranspose")
class Conv2DTranspose(_ConvTranspose):
    """A transposed convolution over two dimensions: ``(inputs, filters, kernel_size, ...)``."""

    rank = 2


@tf_export("layers.Conv3DTranspose")
class Conv3DTranspose(_ConvTranspose):
    """A transposed convolution over three dimensions: ``(inputs, filters, kernel_size, ...)``."""

    rank = 3


conv1d = tf_export("layers.conv1d")(layer_function(Conv1D, "conv1d"))
conv2d = tf_export("layers.conv2d")(layer_function(Conv2D, "conv2d"))
conv2d_transpose = tf_export("layers.conv2d_transpose")(
    layer_function(Conv2DTranspose, "conv2d_transpose")
)
conv3d = tf_export("layers.conv3d")(layer_function(Conv3D, "conv3d"))
conv3d_transpose = tf_export("layers.conv3d_transpose")(
    layer_function(Conv3DTranspose, "conv3d_transpose")
)
separable_conv1d = tf_export("layers.separable_conv1d")(
    layer_function(SeparableConv1D, "separable_conv1d")
)
separable_conv2d = tf_export("layers.separable_conv2d")(
    layer_function(SeparableConv2D, "separable_conv2d")
)
