"""Kernels of tensor arrays, which live as long as a step.

The flow, a float32 scalar, only orders the ops on an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import Shape, format_shape
from flowray.worker.execution import traced_resources
from flowray.worker.execution.structured import NotCompilableError
from flowray.worker.execution.traced_resources import TracedArray
from flowray.worker.kernel_registry import kernel
from flowray.worker.state.step_resources import ArrayLike, TensorArray, check_dtype


@kernel("TensorArrayV3")
def tensor_array(
    xp: Any,
    size: Any,
    *,
    dtype: DType,
    element_shape: Shape,
    dynamic_size: bool,
    clear_after_read: bool,
    identical_element_shapes: bool,
    tensor_array_name: bytes,
) -> tuple[Any, Any]:
    """Makes a tensor array of ``size`` elements and returns it with a flow.

    In a trace it raises NotCompilableError if the array may grow.
    """
    if size.shape:
        raise errors.invalid_argument(
            f"TensorArray size must be scalar, but had shape: {format_shape(size.shape)}"
        )
    if size < 0:
        raise errors.invalid_argument("Size should be >= 0.")
    name = tensor_array_name.decode()
    if xp is np:
        array = TensorArray(
            name,
            dtype,
            int(size),
            element_shape,
            dynamic=dynamic_size,
            clear_after_read=clear_after_read,
            identical=identical_element_shapes,
        )
        return array, _FLOW
    if dynamic_size:
        raise NotCompilableError(f"tensor array {name} may grow")
    traced = TracedArray(name, dtype, int(size), element_shape, clear_after_read=clear_after_read)
    return traced_resources.adopt(traced), _FLOW


_FLOW = np.float32(0)


@kernel("TensorArrayGradV3")
def gradient(xp: Any, handle: ArrayLike, flow_in: Any, *, source: bytes) -> tuple[Any, Any]:
    """Returns the array of gradients for ``source``, made at the first call."""
    return handle.gradient(source), flow_in


@kernel("TensorArrayGradWithShape")
def gradient_with_shape(
    xp: Any, handle: ArrayLike, flow_in: Any, shape_to_prepend: Any, *, source: bytes
) -> tuple[Any, Any]:
    """Returns the array of gradients whose elements have ``shape_to_prepend`` in front."""
    return handle.gradient(source, tuple(shape_to_prepend.tolist())), flow_in


@kernel("TensorArrayWriteV3")
def write(xp: Any, handle: ArrayLike, index: Any, value: Any, flow_in: Any) -> Any:
    """Writes one element; InvalidArgumentError for a bad index, or one that was written before."""
    _check_scalar(index)
    check_dtype(handle.dtype, as_dtype(value.dtype), "is trying to write")
    handle.write(index, value)
    return flow_in


@kernel("TensorArrayReadV3")
def read(xp: Any, handle: ArrayLike, index: Any, flow_in: Any, *, dtype: DType) -> Any:
    """Reads one element, which must have been written."""
    _check_scalar(index)
    check_dtype(handle.dtype, dtype, "requested")
    return handle.read(index)


def _check_scalar(index: Any) -> None:
    if index.shape:
        raise errors.invalid_argument(
            f"TensorArray index must be scalar, but had shape: {format_shape(index.shape)}"
        )


@kernel("TensorArrayGatherV3")
def gather(
    xp: Any, handle: ArrayLike, indices: Any, flow_in: Any, *, dtype: DType, element_shape: Shape
) -> Any:
    """Stacks the elements at ``indices`` along a new first axis."""
    if len(indices.shape) != 1:
        raise errors.invalid_argument(
            f"Expected indices to be a vector, but received shape: {format_shape(indices.shape)}"
        )
    check_dtype(handle.dtype, dtype, "requested")
    return handle.gather(indices, element_shape)


@kernel("TensorArrayScatterV3")
def scatter(xp: Any, handle: ArrayLike, indices: Any, value: Any, flow_in: Any) -> Any:
    """Writes the rows of ``value`` at ``indices``."""
    if len(indices.shape) != 1:
        raise errors.invalid_argument(
            f"Expected indices to be a vector, but received shape: {format_shape(indices.shape)}"
        )
    if not value.shape:
        raise errors.invalid_argument(
            "Expected value to be at least a vector, but received shape: []"
        )
    if indices.shape[0] != value.shape[0]:
        raise errors.invalid_argument(
            "Expected len(indices) == values.shape[0], but saw: "
            f"{indices.shape[0]} vs. {value.shape[0]}"
        )
    check_dtype(handle.dtype, as_dtype(value.dtype), "is trying to write")
    handle.scatter(indices, value)
    return flow_in


@kernel("TensorArrayConcatV3")
def concat(
    xp: Any, handle: ArrayLike, flow_in: Any, *, dtype: DType, element_shape_except0: Shape
) -> tuple[Any, Any]:
    """Concatenates all elements along their first axis; returns also their lengths, int64."""
    check_dtype(handle.dtype, dtype, "requested")
    return handle.concat(element_shape_except0)


@kernel("TensorArraySplitV3")
def split(xp: Any, handle: ArrayLike, value: Any, lengths: Any, flow_in: Any) -> Any:
    """Writes consecutive parts of ``value``, with these lengths, as the elements."""
    if len(lengths.shape) != 1:
        raise errors.invalid_argument(
            f"Expected lengths to be a vector, received shape: {format_shape(lengths.shape)}"
        )
    check_dtype(handle.dtype, as_dtype(value.dtype), "is trying to write")
    handle.split(value, lengths)
    return flow_in


@kernel("TensorArraySizeV3")
def size(xp: Any, handle: ArrayLike, flow_in: Any) -> Any:
    """Returns the number of elements, int32."""
    return np.int32(handle.size)


@kernel("TensorArrayCloseV3")
def close(xp: Any, handle: TensorArray | TracedArray) -> None:
    """Frees the array's elements."""
    handle.close()
