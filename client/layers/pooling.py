"""``tf.layers``: pools over one, two or three dimensions."""

from __future__ import annotations

from typing import Any

from flowray.client.layers.arguments import as_data_format, as_padding, as_tuple, layout
from flowray.client.layers.base import InputSpec, Layer
from flowray.client.layers.functional import layer_function
from flowray.client.ops import array_ops, pool_ops
from flowray.client.tf_export import tf_export
from flowray.proto.ops.windows import output_size
from flowray.proto.types.shapes import TensorShape, as_shape


class _Pooling(Layer):
    """The base class of pools over windows of ``pool_size``: averages or maxima.

    Args:
        pool_size: the size of a window, one number or one per spatial dimension.
        strides: the steps from window to window, likewise.
        padding: ``valid``, or ``same``: padded so that there is a window for every step.
        data_format: ``channels_last`` or ``channels_first``.
        name: the name.
    """

    rank: int
    pool: Any

    def __init__(
        self,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.pool_size = as_tuple(pool_size, self.rank, "pool_size")
        self.strides = as_tuple(pool_size if strides is None else strides, self.rank, "strides")
        self.padding = as_padding(padding)
        self.data_format = as_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        size, strides, axis = self.pool_size, self.strides, None
        if self.rank == 1:  # a pool over two dimensions, one of them of size 1
            size, strides = (*size, 1), (*strides, 1)
            axis = 2 if self.data_format == "channels_last" else 3
            inputs = array_ops.expand_dims(inputs, axis)
        outputs = type(self).pool(
            inputs,
            size,
            strides,
            padding=self.padding.upper(),
            data_format=layout(self.data_format, max(self.rank, 2) + 2),
        )
        return outputs if axis is None else array_ops.squeeze(outputs, axis)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        shape = as_shape(input_shape).as_list()
        first = 1 if self.data_format == "channels_last" else 2
        for i, (size, stride) in enumerate(zip(self.pool_size, self.strides, strict=True), first):
            shape[i] = output_size(shape[i], size, stride, self.padding.upper().encode())
        return TensorShape(shape)


@tf_export("layers.AveragePooling1D")
class AveragePooling1D(_Pooling):
    """The averages of windows over one dimension: ``(inputs, pool_size, strides, ...)``."""

    rank, pool = 1, staticmethod(pool_ops.avg_pool)


@tf_export("layers.AveragePooling2D")
class AveragePooling2D(_Pooling):
    """The averages of windows over two dimensions: ``(inputs, pool_size, strides, ...)``."""

    rank, pool = 2, staticmethod(pool_ops.avg_pool)


@tf_export("layers.AveragePooling3D")
class AveragePooling3D(_Pooling):
    """The averages of windows over three dimensions: ``(inputs, pool_size, strides, ...)``."""

    rank, pool = 3, staticmethod(pool_ops.avg_pool3d)


@tf_export("layers.MaxPooling1D")
class MaxPooling1D(_Pooling):
    """The maxima of windows over one dimension: ``(inputs, pool_size, strides, ...)``."""

    rank, pool = 1, staticmethod(pool_ops.max_pool)


@tf_export("layers.MaxPooling2D")
class MaxPooling2D(_Pooling):
    """The maxima of windows over two dimensions: ``(inputs, pool_size, strides, ...)``."""

    rank, pool = 2, staticmethod(pool_ops.max_pool)


@tf_export("layers.MaxPooling3D")
class MaxPooling3D(_Pooling):
    """The maxima of windows over three dimensions: ``(inputs, pool_size, strides, ...)``."""

    rank, pool = 3, staticmethod(pool_ops.max_pool3d)


average_pooling1d = tf_export("layers.average_pooling1d")(
    layer_function(AveragePooling1D, "average_pooling1d")
)
average_pooling2d = tf_export("layers.average_pooling2d")(
    layer_function(AveragePooling2D, "average_pooling2d")
)
average_pooling3d = tf_export("layers.average_pooling3d")(
    layer_function(AveragePooling3D, "average_pooling3d")
)
max_pooling1d = tf_export("layers.max_pooling1d")(layer_function(MaxPooling1D, "max_pooling1d"))
max_pooling2d = tf_export("layers.max_pooling2d")(layer_function(MaxPooling2D, "max_pooling2d"))
max_pooling3d = tf_export("layers.max_pooling3d")(layer_function(MaxPooling3D, "max_pooling3d"))
