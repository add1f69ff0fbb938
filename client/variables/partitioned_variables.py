"""Variables that are cut into parts, which may lie on different tasks.

A partitioner is a function of ``(shape, dtype)`` that tells the number of parts along each axis;
all but one of them must be 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowray.client.framework.conversion import register_tensor_conversion_function
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.array_ops import split
from flowray.client.tf_export import tf_export
from flowray.client.variables.variables import Variable
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import TensorShape, as_shape

Partitioner = Callable[..., Sequence[int]]


class PartitionInfo:
    """The shape of the whole and the offset of the part that an initializer makes."""

    def __init__(self, full_shape: Sequence[int], var_offset: Sequence[int]) -> None:
        if len(full_shape) != len(var_offset):
            raise ValueError(
                f"Expected equal length, but `var_offset` is of length {len(var_offset)} while "
                f"full_shape is of length {len(full_shape)}."
            )
        for offset, size in zip(var_offset, full_shape, strict=True):
            if not 0 <= offset < size:
                raise ValueError(
                    f"Expected 0 <= offset < shape but found offset={var_offset}, "
                    f"shape={full_shape}."
                )
        self._full_shape = list(full_shape)
        self._var_offset = list(var_offset)

    @property
    def full_shape(self) -> list[int]:
        """The shape of the whole variable: a list of ints."""
        return self._full_shape

    @property
    def var_offset(self) -> list[int]:
        """The index at which this part begins, in each dimension."""
        return self._var_offset

    def single_slice_dim(self, shape: Sequence[int]) -> int | None:
        """Returns the axis along which a part of ``shape`` is cut; None if it is the whole."""
        if len(shape) != len(self._full_shape):
            raise ValueError(
                f"Expected equal length, but received shape={shape} of length {len(shape)} while "
                f"self.full_shape={self._full_shape} is of length {len(self._full_shape)}."
            )
        cut = [i for i, size in enumerate(shape) if size != self._full_shape[i]]
        if len(cut) > 1:
            raise ValueError(
                f"Cannot use single_slice_dim() with shape={shape} and "
                f"full_shape={self._full_shape} since slice dim could be either dimension "
                f"{cut[0]} or {cut[1]}."
            )
        return cut[0] if cut else None

    def single_offset(self, shape: Sequence[int]) -> int:
        """Returns the offset of a part of ``shape`` on the axis of the cut; 0 for the whole."""
        axis = self.single_slice_dim(shape)
        return 0 if axis is None else self._var_offset[axis]


class PartitionedVariable:
    """Several variables that are the parts of one. Converted to a tensor, they are concatenated.

    Args:
        name: the name of the whole.
        shape, dtype: of the whole.
        variable_list: the parts in order, each with its ``SaveSliceInfo``.
        partitions: the number of parts along each axis.
    """

    def __init__(
        self,
        name: str,
        shape: Any,
        dtype: Any,
        variable_list: Sequence[Variable],
        partitions: Sequence[int],
    ) -> None:
        for variable in variable_list:
            info = variable._get_save_slice_info()
            if info is None or info.full_name != name:
                raise ValueError(
                    f"All variables must have a SaveSliceInfo of the variable {name!r}; that of "
                    f"{variable.name} is {info}"
                )
        self._name = name
        self._shape = as_shape(shape)
        self._dtype = dtypes.as_dtype(dtype)
        self._variable_list = list(variable_list)
        self._partitions = list(partitions)

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._variable_list)

    def __len__(self) -> int:
        return len(self._variable_list)

    @property
    def name(self) -> str:
        """The name of the whole, without the suffixes of the parts."""
        return self._name

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The shape of the whole."""
        return self._shape

    def get_shape(self) -> TensorShape:
        """Returns the shape of the whole."""
        return self._shape

    def _get_variable_list(self) -> list[Variable]:
        return self._variable_list

    def _get_partitions(self) -> list[int]:
        return self._partitions

    def _partition_axes(self) -> list[int]:
        """Returns the axes with several parts; [0] if there are none."""
        return [i for i, parts in enumerate(self._partitions) if parts > 1] or [0]

    def as_tensor(self) -> Tensor:
        """Returns the value of the whole, concatenated anew where this is called."""
        if len(self._variable_list) == 1:
            with name_scope(None):
                return output_of("Identity", self._variable_list[0], name=self._name)
        axes = self._partition_axes()
        if len(axes) > 1:
            raise NotImplementedError(
                f"Cannot concatenate along more than one dimension: {axes}. "
                "Multi-axis partition concat is not supported"
            )
        with name_scope(self._name + "/ConcatPartitions/"):
            whole = apply_op("ConcatV2", self._variable_list, axes[0], name="concat")
        with name_scope(None):
            return output_of("Identity", whole, name=self._name)

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> list[Any]:
        """Sets the parts to their pieces of ``value``; a list of one result for each part."""
        return self._write("assign", value, use_locking, name, read_value)

    def assign_add(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> list[Any]:
        """Adds to the parts their pieces of ``value``."""
        return self._write("assign_add", value, use_locking, name, read_value)

    def assign_sub(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> list[Any]:
        """Subtracts from each part its slice of ``value``."""
        return self._write("assign_sub", value, use_locking, name, read_value)

    def _write(
        self, method: str, value: Any, use_locking: bool, name: str | None, read_value: bool
    ) -> list[Any]:
        axes = self._partition_axes()
        if len(axes) > 1:
            raise NotImplementedError(
                "Cannot do assign action along more than one dimension: "
                f"{axes}.  Multi-axis partition assign action is not supported "
            )
        if isinstance(value, list):
            pieces = value
            if len(pieces) != len(self._variable_list):
                raise ValueError(f"{len(pieces)} values for {len(self)} parts of {self._name}")
        else:
            sizes = [v.shape.as_list()[axes[0]] for v in self._variable_list]
            if len(sizes) == 1:
                pieces = [value]
            else:
                pieces = split(value, sizes, axes[0])
        results = [
            getattr(variable, method)(piece, use_locking, name, read_value)
            for variable, piece in zip(self._variable_list, pieces, strict=True)
        ]
        return results if read_value else [getattr(result, "op", result) for result in results]


def _to_tensor(
    variable: PartitionedVariable,
    dtype: DType | None = None,
    name: str | None = None,
    as_ref: bool = False,
) -> Tensor:
    if dtype is not None and not dtype.is_compatible_with(variable.dtype):
        raise ValueError(
            f"Incompatible type conversion requested to type '{dtype.name}' for variable of type "
            f"'{variable.dtype.name}'"
        )
    if as_ref:
        raise NotImplementedError("PartitionedVariable doesn't support being used as a reference.")
    return variable.as_tensor()


register_tensor_conversion_function(PartitionedVariable, _to_tensor)


# How a partitioner's answer is applied -----------------------------------------------------------


def partitions_for(partitioner: Any, shape: TensorShape, dtype: DType) -> list[int]:
    """Calls ``partitioner`` for a variable and checks its result."""
    if not shape.is_fully_defined():
        raise ValueError(
            f"Shape of a new partitioned variable must be fully defined, but instead was {shape}."
        )
    if not shape.as_list():
        raise ValueError(f"A partitioned Variable must have rank at least 1, shape: {shape}")
    partitions = partitioner(shape=shape, dtype=dtype)
    if not isinstance(partitions, Sequence):
        raise ValueError(f"Partitioner must return a sequence, but saw: {partitions}")
    if len(partitions) != len(shape.as_list()):
        raise ValueError(
            "Partitioner returned a partition list that does not match the Variable's rank: "
            f"{partitions} vs. {shape}"
        )
    if any(parts < 1 for parts in partitions):
        raise ValueError(f"Partitioner returned zero partitions for some axes: {partitions}")
    if sum(parts > 1 for parts in partitions) > 1:
        raise ValueError(
            f"Can only slice a variable along one dimension: shape: {shape}, partitioning: "
            f"{partitions}"
        )
    return list(partitions)


def slice_axis(partitions: Sequence[int]) -> tuple[int, int]:
    """Returns the axis that is cut, and into how many parts."""
    return next(((axis, parts) for axis, parts in enumerate(partitions) if parts > 1), (0, 1))


def slices(shape: Sequence[int], axis: int, count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yields offset and shape of each part; the first ones are longer if sizes differ."""
    least, longer = divmod(shape[axis], count)
    begin = 0
    for index in range(count):
        offset, size = [0] * len(shape), list(shape)
        offset[axis], size[axis] = begin, least + (index < longer)
        begin += size[axis]
        yield offset, size


# The partitioners ---------------------------------------------------------------------------------


@tf_export("variable_axis_size_partitioner")
def variable_axis_size_partitioner(
    max_shard_bytes: int,
    axis: int = 0,
    bytes_per_string_element: int = 16,
    max_shards: int | None = None,
) -> Partitioner:
    """Makes a partitioner: parts along ``axis`` of at most ``max_shard_bytes``, or of one slice.

    Args:
        bytes_per_string_element: what a string counts.
        max_shards: a limit on the number of parts.
    """
    if max_shard_bytes < 1 or bytes_per_string_element < 1:
        raise ValueError(
            "Both max_shard_bytes and bytes_per_string_element must be positive. Currently, "
            f"max_shard_bytes is {max_shard_bytes} and"
            f"bytes_per_string_element is {bytes_per_string_element}"
        )
    if max_shards and max_shards < 1:
        raise ValueError(f"max_shards must be positive. Currently {max_shards}.")

    def partitioner(shape: Any, dtype: Any) -> list[int]:
        sizes, item = _checked(shape, dtype, axis, bytes_per_string_element)
        slice_bytes = item * math.prod(sizes[:axis] + sizes[axis + 1 :])
        partitions = [1] * len(sizes)
        if slice_bytes == 0:
            return partitions
        # Of slices that alone are larger there is one in each part.
        per_shard = max(1, max_shard_bytes // slice_bytes)
        shards = math.ceil(sizes[axis] / per_shard)
        partitions[axis] = max(1, min(shards, max_shards) if max_shards else shards)
        return partitions

    return partitioner


@tf_export("min_max_variable_partitioner")
def min_max_variable_partitioner(
    max_partitions: int = 1,
    axis: int = 0,
    min_slice_size: int = 256 << 10,
    bytes_per_string_element: int = 16,
) -> Partitioner:
    """Makes a partitioner: at most ``max_partitions`` parts of at least ``min_slice_size`` bytes.

    Args:
        bytes_per_string_element: what a string counts.
    """
    if max_partitions < 1:
        raise ValueError(
            "Argument `max_partitions` must be an integer greater than 0. Received "
            f"{max_partitions}"
        )
    if min_slice_size < 1:
        raise ValueError(
            "Argument `min_slice_size` must be an integer greater than 0. Received "
            f"{min_slice_size}"
        )
    if bytes_per_string_element < 1:
        raise ValueError(
            "Argument `bytes_per_string_element` must be an integer greater than 0. Received "
            f"{bytes_per_string_element}"
        )

    def partitioner(shape: Any, dtype: Any) -> list[int]:
        sizes, item = _checked(shape, dtype, axis, bytes_per_string_element)
        partitions = [1] * len(sizes)
        most = max(1, item * math.prod(sizes) // min_slice_size)
        partitions[axis] = max(1, min(sizes[axis], max_partitions, most))
        return partitions

    return partitioner


@tf_export("fixed_size_partitioner")
def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """Makes a partitioner: ``num_shards`` parts along ``axis``, or as many as it is long."""

    def partitioner(shape: Any, **_: Any) -> list[int]:
        sizes = as_shape(shape).as_list()
        partitions = [1] * len(sizes)
        partitions[axis] = min(num_shards, sizes[axis] or 0)
        return partitions

    return partitioner


def _checked(shape: Any, dtype: Any, axis: int, string_bytes: int) -> tuple[list[int], int]:
    """Returns the shape as a list, and the size of an element in bytes."""
    if not isinstance(shape, TensorShape):
        raise ValueError(f"shape is not a TensorShape: {shape}")
    if not shape.is_fully_defined():
        raise ValueError(f"shape is not fully defined: {shape}")
    sizes = [size or 0 for size in shape.as_list()]
    if len(sizes) <= axis:
        raise ValueError(f"Cannot partition along axis {axis} of a variable of shape {shape}")
    dtype = dtypes.as_dtype(dtype)
    if dtype.base_dtype == dtypes.string:
        return sizes, string_bytes
    return sizes, dtype.size
