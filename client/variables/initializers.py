"""``tf.initializers``: functions of a shape that give a variable its initial value.

An initializer is called as ``initializer(shape, dtype=None, partition_info=None)`` and makes the
ops of TensorFlow 1.15 in its order, so that equal seeds give equal numbers. For a part of a
partitioned variable, ``partition_info`` tells the shape of the whole and where the part begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.client.framework.conversion import constant as constant_op
from flowray.client.framework.graph import Tensor
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops, layout_ops, random_ops
from flowray.client.tf_export import tf_export
from flowray.proto import errors
from flowray.proto.ops import op_registry
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType


class Initializer:
    """The base of initializers: a call makes the value, ``get_config`` gives the arguments.

    Args of the subclasses:
        seed: of the random ops.
        dtype: what a call makes if it is not told; float32 unless given.
    """

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal initializer, as JSON can hold them."""
        config = {key: value for key, value in vars(self).items() if key != "dtype"}
        return {**config, "dtype": self.dtype.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """Returns the initializer that ``get_config`` describes."""
        return cls(**config)

    def _dtype(self, dtype: Any) -> DType:
        return self.dtype if dtype is None else dtypes.as_dtype(dtype)


@tf_export("zeros_initializer", "initializers.zeros")
class zeros(Initializer):  # noqa: N801 - these classes have TensorFlow's names
    """Zeros (False, empty strings)."""

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        return array_ops.zeros(shape, self._dtype(dtype))


@tf_export("ones_initializer", "initializers.ones")
class ones(Initializer):  # noqa: N801
    """Ones (True)."""

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        return array_ops.ones(shape, self._dtype(dtype))


@tf_export("constant_initializer", "initializers.constant")
class constant(Initializer):  # noqa: N801
    """A given value.

    Args:
        value: a number or string, or (nested) lists or an array of them, in the order of the
            elements. If there are too few, the last one fills the rest.
        verify_shape: whether the value must have just the variable's shape.
    """

    def __init__(
        self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False
    ) -> None:
        if not np.isscalar(value) and not isinstance(value, list | tuple | np.ndarray):
            raise TypeError(
                f"Invalid type for initial value={value} of type: {type(value).__name__}. "
                "Expected Python scalar, list or tuple of values, or numpy.ndarray."
            )
        super().__init__(dtype)
        self.value = value
        self._verify_shape = verify_shape

    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        partition_info: Any = None,
        verify_shape: bool | None = None,
    ) -> Tensor:
        verify = self._verify_shape if verify_shape is None else verify_shape
        return constant_op(self.value, self._dtype(dtype), shape, verify_shape=verify)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value, "dtype": self.dtype.name}


@tf_export("random_uniform_initializer", "initializers.random_uniform")
class random_uniform(Initializer):  # noqa: N801
    """Numbers drawn uniformly from [minval, maxval); ``maxval`` is 1 for floating types if None."""

    def __init__(
        self,
        minval: Any = 0.0,
        maxval: Any = None,
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        super().__init__(dtype)
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        dtype = self._dtype(dtype)
        return random_ops.random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


@tf_export("random_normal_initializer", "initializers.random_normal")
class random_normal(Initializer):  # noqa: N801
    """Normally distributed numbers.

    Args:
        mean, stddev: numbers or scalar tensors.
    """

    def __init__(
        self,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        super().__init__(_floating(dtype))
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        dtype = self._dtype(dtype)
        return random_ops.random_normal(shape, self.mean, self.stddev, dtype, self.seed)


@tf_export("truncated_normal_initializer", "initializers.truncated_normal")
class truncated_normal(Initializer):  # noqa: N801
    """Normally distributed numbers within two standard deviations of the mean."""

    def __init__(
        self,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        super().__init__(_floating(dtype))
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        dtype = self._dtype(dtype)
        return random_ops.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


@tf_export("uniform_unit_scaling_initializer", "initializers.uniform_unit_scaling")
class uniform_unit_scaling(Initializer):  # noqa: N801
    """Uniform numbers that keep the scale of a layer's input: within ±sqrt(3 / inputs) * factor.

    The inputs of a unit are counted as the product of all dimensions but the last.
    """

    def __init__(
        self, factor: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        super().__init__(_floating(dtype))
        self.factor, self.seed = factor, seed

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        whole = shape if partition_info is None else partition_info.full_shape
        inputs = max(math.prod(float(size) for size in whole[:-1]), 1.0)
        limit = math.sqrt(3 / inputs) * self.factor
        return random_ops.random_uniform(shape, -limit, limit, self._dtype(dtype), self.seed)


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("normal", "uniform", "truncated_normal", "untruncated_normal")
_TRUNCATED_STDDEV = 0.87962566103423978
"""The standard deviation of a unit normal distribution cut off at ±2."""


@tf_export("variance_scaling_initializer", "initializers.variance_scaling")
class variance_scaling(Initializer):  # noqa: N801
    """Numbers of the variance ``scale / n``, where n goes by the size of the layer.

    Args:
        scale: a positive factor.
        mode: what n is: "fan_in", the number of inputs of a unit; "fan_out", of its outputs; or
            "fan_avg", the mean of the two.
        distribution: "truncated_normal" or its older name "normal"; "untruncated_normal"; or
            "uniform".
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        if scale <= 0.0:
            raise ValueError(f"Argument `scale` must be a positive float. Received: {scale}")
        if mode not in _MODES:
            raise ValueError(f"Argument `mode` should be one of {_MODES}. Received: {mode}")
        distribution = distribution.lower()
        if distribution not in _DISTRIBUTIONS:
            raise ValueError(
                f"Argument `distribution` should be one of {_DISTRIBUTIONS}. Received: "
                f"{distribution}"
            )
        super().__init__(_floating(dtype))
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        dtype = self._dtype(dtype)
        fan_in, fan_out = _fans(shape if partition_info is None else partition_info.full_shape)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, count[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random_ops.random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random_ops.random_normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return random_ops.truncated_normal(shape, 0.0, stddev, dtype, self.seed)


@tf_export("glorot_uniform_initializer", "initializers.glorot_uniform")
class glorot_uniform(variance_scaling):  # noqa: N801
    """Glorot's (Xavier's) uniform initializer: within ±sqrt(6 / (fan_in + fan_out))."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


@tf_export("glorot_normal_initializer", "initializers.glorot_normal")
class glorot_normal(variance_scaling):  # noqa: N801
    """Glorot's (Xavier's) normal initializer: of the variance 2 / (fan_in + fan_out)."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


@tf_export("initializers.he_normal")
def he_normal(seed: int | None = None) -> variance_scaling:
    """Makes He's normal initializer, of the variance 2 / fan_in (He et al., 2015)."""
    return variance_scaling(2.0, "fan_in", "truncated_normal", seed)


@tf_export("initializers.he_uniform")
def he_uniform(seed: int | None = None) -> variance_scaling:
    """Makes He's uniform initializer, within ±sqrt(6 / fan_in) (He et al., 2015)."""
    return variance_scaling(2.0, "fan_in", "uniform", seed)


@tf_export("initializers.lecun_normal")
def lecun_normal(seed: int | None = None) -> variance_scaling:
    """Makes LeCun's normal initializer, of the variance 1 / fan_in (LeCun et al., 1998)."""
    return variance_scaling(1.0, "fan_in", "truncated_normal", seed)


@tf_export("initializers.lecun_uniform")
def lecun_uniform(seed: int | None = None) -> variance_scaling:
    """Makes LeCun's uniform initializer, within ±sqrt(3 / fan_in) (LeCun et al., 1998)."""
    return variance_scaling(1.0, "fan_in", "uniform", seed)


@tf_export("orthogonal_initializer", "initializers.orthogonal")
class orthogonal(Initializer):  # noqa: N801
    """A random orthogonal matrix, times ``gain``.

    A shape of more than two dimensions is filled as the matrix of all but the last one by the last
    one. If that is not square, its rows or columns, whichever are fewer, are orthonormal.
    """

    def __init__(
        self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        super().__init__(_floating(dtype))
        self.gain, self.seed = gain, seed

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        sizes = [int(size) for size in shape]
        if len(sizes) < 2:
            raise ValueError(
                "The tensor to initialize, specified by argument `shape` must be at least "
                f"two-dimensional. Received shape={shape}"
            )
        if "Qr" not in op_registry.registered_ops():
            raise errors.unimplemented(
                "tf.initializers.orthogonal needs the op Qr, which flowray lacks"
            )
        rows, columns = math.prod(sizes[:-1]), sizes[-1]
        tall = max(rows, columns), min(rows, columns)
        draws = random_ops.random_normal(tall, dtype=self._dtype(dtype), seed=self.seed)
        q, r = apply_op("Qr", draws, full_matrices=False)
        # Signs are chosen so that q is distributed uniformly over the orthogonal matrices.
        q = apply_op("Mul", q, apply_op("Sign", layout_ops.diag_part(r)), name="mul")
        if rows < columns:
            q = array_ops.matrix_transpose(q)
        gain = constant_op(self.gain, q.dtype.base_dtype, name="mul_1/x")
        return output_of("Mul", gain, array_ops.reshape(q, sizes), name="mul_1")


@tf_export("initializers.identity")
class identity(Initializer):  # noqa: N801
    """The identity matrix, times ``gain``; for two dimensions only."""

    def __init__(self, gain: float = 1.0, dtype: Any = dtypes.float32) -> None:
        super().__init__(_floating(dtype))
        self.gain = gain

    def __call__(
        self, shape: Sequence[int], dtype: Any = None, partition_info: Any = None
    ) -> Tensor:
        whole = shape if partition_info is None else partition_info.full_shape
        if len(whole) != 2:
            raise ValueError(
                "The tensor to initialize, specified by argument `shape` must be at least "
                f"two-dimensional. Received shape={shape}"
            )
        dtype = self._dtype(dtype)
        value = layout_ops.eye(whole[0], whole[1], dtype=dtype)
        if partition_info is not None:
            value = apply_op("Slice", value, partition_info.var_offset, shape)
        gain = constant_op(self.gain, dtype, name="mul/x")
        return output_of("Mul", gain, value, name="mul")


def _floating(dtype: Any) -> DType:
    wanted: DType = dtypes.as_dtype(dtype)
    if not wanted.is_floating:
        raise ValueError(f"Argument `dtype` is expected to be floating point. Received: {wanted}.")
    return wanted


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    """Returns the numbers of inputs and outputs of a unit whose weights have ``shape``.

    The last two dimensions are inputs and outputs, those before them a convolution's window.
    """
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return int(size), int(size)
    window = math.prod(int(size) for size in shape[:-2])
    return int(shape[-2]) * window, int(shape[-1]) * window
