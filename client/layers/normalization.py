"""``tf.layers``: batch normalization (Ioffe and Szegedy, 2015)."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import colocate_with, control_dependencies, name_scope
from flowray.client.layers.arguments import as_function, as_initializer
from flowray.client.layers.base import InputSpec, Layer
from flowray.client.layers.conditions import known, smart_cond
from flowray.client.ops import array_ops, math_ops, nn_ops, norm_ops, reduction_ops, state_ops
from flowray.client.tf_export import tf_export
from flowray.client.variables import initializers
from flowray.client.variables.variable_modes import VariableAggregation, VariableSynchronization
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import TensorShape, as_shape

_CLIPPING = ("rmax", "rmin", "dmax")


@tf_export("layers.BatchNormalization")
class BatchNormalization(Layer):
    """``(inputs - mean) / sqrt(variance + epsilon) * gamma + beta``, along an axis.

    In training, mean and variance are those of the batch, and moving averages of them are kept; in
    inference the averages take their place. Whoever trains must run the updates of the averages,
    which are in the collection ``GraphKeys.UPDATE_OPS``, too.

    Args:
        axis: the axis (or list of axes) that has its own mean and variance at each index: usually
            that of the channels.
        momentum: how much of a moving average an update leaves as it was.
        epsilon: keeps the quotient finite.
        center, scale: whether there are ``beta`` and ``gamma``.
        *_initializer, *_regularizer, *_constraint: of the four variables.
        renorm: whether to correct the batch's moments towards averages (Ioffe, 2017).
        renorm_clipping: numbers or scalar tensors, ``rmin`` and ``rmax`` for the correction's
            factor, ``dmax`` for its offset.
        renorm_momentum: as ``momentum``, for those averages.
        fused: whether to use one op for it all where that is possible; if None, too.
        trainable: whether optimizers change beta and gamma; False also keeps the updates of the
            averages from ``UPDATE_OPS``.
        virtual_batch_size: in training, parts of the batch of this size are normalized each by
            itself.
        adjustment: a function from the shape of the inputs to a factor and an offset, which
            training applies to the normalized values.

    A call takes ``training``: a bool or a bool tensor.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = initializers.zeros(),  # noqa: B008 - has no state
        gamma_initializer: Any = initializers.ones(),  # noqa: B008
        moving_mean_initializer: Any = initializers.zeros(),  # noqa: B008
        moving_variance_initializer: Any = initializers.ones(),  # noqa: B008
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, Any] | None = None,
        renorm_momentum: float = 0.99,
        fused: bool | None = None,
        trainable: bool = True,
        virtual_batch_size: int | None = None,
        adjustment: Callable[[Any], tuple[Any, Any]] | None = None,
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable, name, **kwargs)
        if not isinstance(axis, numbers.Integral | list):
            raise TypeError(f"axis must be int or list, type given: {type(axis)}")
        self.axis = list(axis) if isinstance(axis, list) else axis
        self.momentum, self.epsilon = momentum, epsilon
        self.center, self.scale = center, scale
        self.beta_initializer = as_initializer(beta_initializer)
        self.gamma_initializer = as_initializer(gamma_initializer)
        self.moving_mean_initializer = as_initializer(moving_mean_initializer)
        self.moving_variance_initializer = as_initializer(moving_variance_initializer)
        self.beta_regularizer = as_function(beta_regularizer, "regularizer")
        self.gamma_regularizer = as_function(gamma_regularizer, "regularizer")
        self.beta_constraint = as_function(beta_constraint, "constraint")
        self.gamma_constraint = as_function(gamma_constraint, "constraint")
        self.renorm = renorm
        self.renorm_clipping = dict(renorm_clipping or {})
        self.renorm_momentum = renorm_momentum
        if renorm and not set(self.renorm_clipping).issubset(_CLIPPING):
            raise ValueError(
                f"renorm_clipping {renorm_clipping} contains keys not in {list(_CLIPPING)}"
            )
        self.fused = True if fused is None else fused
        self.virtual_batch_size = virtual_batch_size
        self.adjustment = adjustment
        self.supports_masking = True

    # Building -------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        shape = as_shape(input_shape)
        if not shape.rank:
            raise ValueError("Input has undefined rank:", shape)
        sizes, rank = shape.as_list(), shape.rank
        self.axis = _checked_axes(self.axis, rank)
        self._check_virtual_batches()
        self.fused = (
            bool(self.fused)
            and rank == 4
            and self.axis in ([1], [3])
            and self.dtype != "float64"  # which the op does not take
            and not self.renorm
            and self.virtual_batch_size is None
            and self.adjustment is None
        )
        by_axis: dict[int, Any] = {axis: sizes[axis] for axis in self.axis}
        if None in by_axis.values():
            raise ValueError("Input has undefined `axis` dimension. Input shape: ", shape)
        self.input_spec = InputSpec(ndim=rank, axes=by_axis)
        if len(by_axis) == 1 and self.virtual_batch_size is None:
            parameters = [by_axis[self.axis[0]]]
        else:
            parameters = [by_axis.get(i, 1) for i in range(rank)]
            if self.virtual_batch_size is not None:  # there will be one more dimension, at 1
                parameters.insert(1, 1)
                self.axis = [axis + 1 for axis in self.axis]
        self.gamma = self._parameter("gamma", parameters) if self.scale else None
        if self.gamma is None and self.fused:
            self._ones = constant(1.0, self._parameter_dtype, parameters)
        self.beta = self._parameter("beta", parameters) if self.center else None
        if self.beta is None and self.fused:
            self._zeros = constant(0.0, self._parameter_dtype, parameters)
        self._add_averages(parameters)
        self.built = True

    def _check_virtual_batches(self) -> None:
        assert isinstance(self.axis, list)
        if self.virtual_batch_size is None:
            return
        if self.virtual_batch_size <= 0:
            raise ValueError(
                "virtual_batch_size must be a positive integer that divides the true batch size of "
                "the input Tensor"
            )
        if 0 in self.axis:
            raise ValueError(
                "When using virtual_batch_size, the batch dimension must be 0 and thus axis cannot "
                "include 0"
            )
        if self.adjustment is not None:
            raise ValueError("When using virtual_batch_size, adjustment cannot be specified")

    @property
    def _parameter_dtype(self) -> DType:
        """Averages of 16-bit floats would lose too much."""
        dtype = dtypes.as_dtype(self.dtype or dtypes.float32)
        return dtypes.float32 if dtype in (dtypes.float16, dtypes.bfloat16) else dtype

    def _parameter(self, name: str, shape: list[int]) -> Any:
        return self.add_weight(
            name,
            shape,
            self._parameter_dtype,
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
        )

    def _add_averages(self, shape: list[int]) -> None:
        assert self._scope is not None
        partitioner = self._scope.partitioner
        self._scope.set_partitioner(None)
        try:
            variance = self.moving_variance_initializer
            self.moving_mean = self._average("moving_mean", shape, self.moving_mean_initializer)
            self.moving_variance = self._average("moving_variance", shape, variance)
            if self.renorm:

                def stddev(*args: Any, **kwargs: Any) -> Any:
                    return math_ops.sqrt(variance(*args, **kwargs))

                mean = self.moving_mean_initializer
                with colocate_with(self.moving_variance):
                    self.moving_stddev = self._average("moving_stddev", shape, stddev)
                with colocate_with(self.moving_mean):
                    self.renorm_mean = self._average("renorm_mean", shape, mean)
                with colocate_with(self.moving_stddev):
                    self.renorm_stddev = self._average("renorm_stddev", shape, stddev)
        finally:
            self._scope.set_partitioner(partitioner)

    def _average(self, name: str, shape: list[int], initializer: Any) -> Any:
        return self.add_weight(
            name,
            shape,
            self._parameter_dtype,
            initializer=initializer,
            trainable=False,
            synchronization=VariableSynchronization.ON_READ,
            aggregation=VariableAggregation.MEAN,
        )

    # Calling --------------------------------------------------------------------------------

    def call(self, inputs: Any, training: Any = False) -> Any:
        if self.fused:
            return self._fused(inputs, training)
        if self.virtual_batch_size is None:
            return self._composed(inputs, training)
        original = [-1, *inputs.shape.as_list()[1:]]
        expanded = [self.virtual_batch_size, -1, *original[1:]]
        outputs = self._composed(array_ops.reshape(inputs, expanded), training)
        return array_ops.reshape(outputs, original)

    def _fused(self, inputs: Any, training: Any) -> Any:
        """Normalizes by one op, for four dimensions with the channels first or last."""
        data_format = "NCHW" if self.axis == [1] else "NHWC"
        gamma = self._ones if self.gamma is None else self.gamma
        beta = self._zeros if self.beta is None else self.beta
        outputs, mean, variance = smart_cond(
            training,
            lambda: norm_ops.fused_batch_norm(
                inputs, gamma, beta, epsilon=self.epsilon, data_format=data_format
            ),
            lambda: norm_ops.fused_batch_norm(
                inputs,
                gamma,
                beta,
                self.moving_mean,
                self.moving_variance,
                self.epsilon,
                data_format,
                is_training=False,
            ),
        )
        value = known(training)
        if value is None:
            momentum = smart_cond(training, lambda: self.momentum, lambda: 1.0)
        else:
            momentum = convert_to_tensor(self.momentum)
        if value is not False:
            self.add_update(self._moved(self.moving_mean, mean, momentum))
            self.add_update(self._moved(self.moving_variance, variance, momentum))
        return outputs

    def _composed(self, inputs: Any, training: Any) -> Any:
        """Normalizes by several ops, for all cases that the fused op cannot do."""
        assert isinstance(self.axis, list)
        shape, rank = inputs.shape, inputs.shape.rank
        reduced = [i for i in range(rank) if i not in self.axis]
        if self.virtual_batch_size is not None:
            del reduced[1]  # each virtual batch has its own moments

        def broadcast(v: Any) -> Any:
            if v is None or v.shape.rank == rank or reduced == list(range(rank - 1)):
                return v
            sizes = [1] * rank
            sizes[self.axis[0]] = shape[self.axis[0]].value
            return array_ops.reshape(v, sizes)

        scale, offset = broadcast(self.gamma), broadcast(self.beta)
        if known(training) is False:
            mean, variance = self.moving_mean, self.moving_variance
        else:
            if self.adjustment is not None:
                scale, offset = _composition(*self._adjustment(inputs, training), scale, offset)
            mean, variance = self._moments(inputs, reduced, training)
            new_mean, new_variance = mean, variance
            if self.virtual_batch_size is not None:
                new_mean = reduction_ops.reduce_mean(mean, axis=1, keepdims=True)
                new_variance = reduction_ops.reduce_mean(variance, axis=1, keepdims=True)
            if self.renorm:
                r, d, new_mean, new_variance = self._renorm(new_mean, new_variance, training)
                r = broadcast(array_ops.stop_gradient(r, name="renorm_r"))
                d = broadcast(array_ops.stop_gradient(d, name="renorm_d"))
                scale, offset = _composition(r, d, scale, offset)
            self._update_averages(new_mean, new_variance, training)
        mean, variance = (math_ops.cast(v, inputs.dtype) for v in (mean, variance))
        offset, scale = (
            v if v is None else math_ops.cast(v, inputs.dtype) for v in (offset, scale)
        )
        outputs = norm_ops.batch_normalization(
            inputs, broadcast(mean), broadcast(variance), offset, scale, self.epsilon
        )
        outputs.set_shape(shape)
        return outputs

    def _adjustment(self, inputs: Any, training: Any) -> tuple[Any, Any]:
        assert self.adjustment is not None
        scale, offset = self.adjustment(array_ops.shape(inputs))
        return (
            smart_cond(training, lambda: scale, lambda: array_ops.ones_like(scale)),
            smart_cond(training, lambda: offset, lambda: array_ops.zeros_like(offset)),
        )

    def _moments(self, inputs: Any, axes: list[int], training: Any) -> tuple[Any, Any]:
        """Returns the moments of the batch in training, else the moving averages."""
        assert isinstance(self.axis, list)
        keepdims = self.virtual_batch_size is not None or len(self.axis) > 1
        wide = math_ops.cast(inputs, self._parameter_dtype)
        mean, variance = norm_ops.moments(wide, axes, keepdims=keepdims)
        return (
            smart_cond(training, lambda: mean, lambda: convert_to_tensor(self.moving_mean)),
            smart_cond(training, lambda: variance, lambda: convert_to_tensor(self.moving_variance)),
        )

    def _renorm(self, mean: Any, variance: Any, training: Any) -> tuple[Any, Any, Any, Any]:
        """Returns factor and offset of the correction, and the moments after the update."""
        stddev: Any = math_ops.sqrt(variance + self.epsilon)
        # At first, while the average may be 0.
        average = math_ops.maximum(self.renorm_stddev, math_ops.sqrt(float(self.epsilon)))
        r = stddev / average
        d = (mean - self.renorm_mean) / average
        with control_dependencies([r, d]):  # which take the averages as they are before
            mean, stddev = array_ops.identity(mean), array_ops.identity(stddev)
        rmin, rmax, dmax = (self.renorm_clipping.get(key) for key in ("rmin", "rmax", "dmax"))
        if rmin is not None:
            r = math_ops.maximum(r, rmin)
        if rmax is not None:
            r = math_ops.minimum(r, rmax)
        if dmax is not None:
            d = math_ops.minimum(math_ops.maximum(d, -dmax), dmax)
        r, d = (
            smart_cond(training, lambda: r, lambda: array_ops.ones_like(r)),
            smart_cond(training, lambda: d, lambda: array_ops.zeros_like(d)),
        )
        moved = [
            self._moved_in_training(average, array_ops.identity(value), training)
            for average, value in ((self.renorm_mean, mean), (self.renorm_stddev, stddev))
        ]
        with control_dependencies(moved):
            return r, d, array_ops.identity(mean), array_ops.identity(variance)

    def _moved_in_training(self, average: Any, value: Any, training: Any) -> Any:
        return smart_cond(
            training,
            lambda: self._moved(average, value, self.renorm_momentum),
            lambda: array_ops.identity(average),
        )

    # Updates --------------------------------------------------------------------------------

    def _update_averages(self, mean: Any, variance: Any, training: Any) -> None:
        def move_mean() -> Any:
            return self._moved(self.moving_mean, mean, self.momentum)

        def move_variance() -> Any:
            if not self.renorm:
                return self._moved(self.moving_variance, variance, self.momentum)
            # As in training, epsilon is part of the deviation.
            stddev = math_ops.sqrt(variance + self.epsilon)
            moved = self._moved(self.moving_stddev, stddev, self.momentum)
            return self._assigned(self.moving_variance, nn_ops.relu(moved * moved - self.epsilon))

        self.add_update(smart_cond(training, move_mean, lambda: self.moving_mean))
        self.add_update(smart_cond(training, move_variance, lambda: self.moving_variance))

    def _moved(self, variable: Any, value: Any, momentum: Any) -> Any:
        """Moves ``variable`` towards ``value``."""
        with name_scope("AssignMovingAvg") as scope, colocate_with(variable):
            decay = convert_to_tensor(1.0 - momentum, name="decay")
            if decay.dtype != variable.dtype.base_dtype:
                decay = math_ops.cast(decay, variable.dtype.base_dtype)
            delta = (variable - math_ops.cast(value, variable.dtype.base_dtype)) * decay
            return state_ops.assign_sub(variable, delta, name=scope)

    def _assigned(self, variable: Any, value: Any) -> Any:
        with name_scope("AssignNewValue") as scope, colocate_with(variable):
            return state_ops.assign(variable, value, name=scope)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        return as_shape(input_shape)


def _checked_axes(axis: int | list[int], rank: int) -> list[int]:
    axes = [a + rank if a < 0 else a for a in (axis if isinstance(axis, list) else [axis])]
    for a in axes:
        if not 0 <= a < rank:
            raise ValueError(f"Invalid axis: {a}")
    if len(axes) != len(set(axes)):
        raise ValueError(f"Duplicate axis: {axes}")
    return axes


def _composition(scale: Any, offset: Any, then_scale: Any, then_offset: Any) -> tuple[Any, Any]:
    """Returns scale and offset of two transformations, one after the other."""
    if then_scale is not None:
        scale *= then_scale
        offset *= then_scale
    if then_offset is not None:
        offset += then_offset
    return scale, offset


@tf_export("layers.batch_normalization")
def batch_normalization(
    inputs: Any,
    axis: int | Sequence[int] = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Any = initializers.zeros(),  # noqa: B008 - has no state
    gamma_initializer: Any = initializers.ones(),  # noqa: B008
    moving_mean_initializer: Any = initializers.zeros(),  # noqa: B008
    moving_variance_initializer: Any = initializers.ones(),  # noqa: B008
    beta_regularizer: Any = None,
    gamma_regularizer: Any = None,
    beta_constraint: Any = None,
    gamma_constraint: Any = None,
    training: Any = False,
    trainable: bool = True,
    name: str | None = None,
    reuse: Any = None,
    renorm: bool = False,
    renorm_clipping: Mapping[str, Any] | None = None,
    renorm_momentum: float = 0.99,
    fused: bool | None = None,
    virtual_batch_size: int | None = None,
    adjustment: Callable[[Any], tuple[Any, Any]] | None = None,
) -> Any:
    """Makes a layer ``BatchNormalization`` and calls it; ``training`` may be a bool tensor."""
    layer = BatchNormalization(
        axis,
        momentum,
        epsilon,
        center,
        scale,
        beta_initializer,
        gamma_initializer,
        moving_mean_initializer,
        moving_variance_initializer,
        beta_regularizer,
        gamma_regularizer,
        beta_constraint,
        gamma_constraint,
        renorm,
        renorm_clipping,
        renorm_momentum,
        fused,
        trainable,
        virtual_batch_size,
        adjustment,
        name,
        _reuse=reuse,
        _scope=name,
    )
    return layer(inputs, training=training)
