"""Kernels of resource variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.ops import strided_slice
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.slice_ops import gather_nd, gather_v2
from flowray.worker.kernels.state_ops import (
    SCATTER_FUNCTIONS,
    assign_slice,
    count_up,
    replaced,
    scatter_places,
    scatter_rows,
)
from flowray.worker.state.store import Variable


def _missing(resource: Variable) -> str:
    return f"Resource {resource.container}/{resource.name}/N10tensorflow3VarE does not exist."


def existing(resource: Variable) -> Any:
    """Returns the variable's value; NotFoundError if it has none."""
    if not resource.is_initialized:
        raise errors.not_found(_missing(resource))
    return resource.read()


@kernel("VarIsInitializedOp")
def var_is_initialized(xp: Any, resource: Variable) -> Any:
    """Tells whether the variable has a value, as a bool scalar."""
    return np.array(resource.is_initialized)


@kernel("DestroyResourceOp")
def destroy(xp: Any, resource: Variable, *, ignore_lookup_error: bool) -> None:
    """Removes the variable's value.

    NotFoundError if it has none, unless ``ignore_lookup_error``.
    """
    if not ignore_lookup_error and not resource.is_initialized:
        raise errors.not_found(_missing(resource))
    resource.clear()


@kernel("ReadVariableOp")
def read(xp: Any, resource: Variable, *, dtype: DType) -> Any:
    """Returns the variable's value.

    Raises:
        FailedPreconditionError: the variable is not initialized.
        InvalidArgumentError: its dtype is not ``dtype``.
    """
    if not resource.is_initialized:
        raise errors.failed_precondition(
            f"Could not find variable {resource.name}. This could mean that the variable has been "
            "deleted. In TF1, it can also mean the variable is uninitialized. Debug info: "
            f"container={resource.container}, status error message={_missing(resource)}"
        )
    value = resource.read()
    if as_dtype(value.dtype) != dtype:
        raise errors.invalid_argument(
            f"Trying to read variable {resource.name} with wrong dtype. Expected {dtype.name} got "
            f"{as_dtype(value.dtype).name}"
        )
    return value


@kernel("VariableShape")
def shape(xp: Any, input: Variable, *, out_type: DType) -> Any:
    """Returns the variable's shape as a vector of ``out_type``."""
    return np.array(existing(input).shape, out_type.as_numpy_dtype)


@kernel("AssignVariableOp")
def assign(xp: Any, resource: Variable, value: Any, *, validate_shape: bool) -> None:
    """Sets the variable; with ``validate_shape`` the shape of an earlier value must be kept."""
    if validate_shape and resource.is_initialized and resource._value.shape != value.shape:
        raise errors.invalid_argument(
            "Assign requires shapes of both tensors to match. lhs shape= "
            f"{format_shape(resource._value.shape)} rhs shape= {format_shape(value.shape)}"
        )
    resource.assign(value)


def _assign_update(symbol: str) -> Callable[..., None]:
    def update(xp: Any, resource: Variable, value: Any) -> None:
        old = existing(resource)
        if old.shape != value.shape:
            raise errors.invalid_argument(
                f"Cannot update variable with shape {format_shape(old.shape)} using a Tensor with "
                f"shape {format_shape(value.shape)}, shapes must be equal."
            )
        replaced(xp, resource, old + value if symbol == "+" else old - value, old.dtype)

    return update


add_kernel("AssignAddVariableOp", _assign_update("+"))
add_kernel("AssignSubVariableOp", _assign_update("-"))


@kernel("ResourceCountUpTo")
def resource_count_up_to(xp: Any, resource: Variable, *, limit: int, T: DType) -> Any:
    """Adds 1 to the scalar and returns the old value; OutOfRangeError at ``limit``."""
    existing(resource)
    return count_up(xp, resource, limit)


# Slices -------------------------------------------------------------------------------------------


@kernel("ResourceGather")
def resource_gather(
    xp: Any, resource: Variable, indices: Any, *, dtype: DType, batch_dims: int
) -> Any:
    """Gathers rows of the variable; see Gather."""
    params = existing(resource)
    if not params.shape:
        raise errors.invalid_argument("params must be at least 1 dimensional")
    return gather_v2(xp, params, indices, np.array(batch_dims), batch_dims=batch_dims)


@kernel("ResourceGatherNd")
def resource_gather_nd(xp: Any, resource: Variable, indices: Any, *, dtype: DType) -> Any:
    """Gathers slices of the variable at index vectors; see GatherNd."""
    return gather_nd(xp, existing(resource), indices, bad_indices_policy=b"")


@kernel("ResourceStridedSliceAssign")
def resource_strided_slice_assign(
    xp: Any,
    ref: Variable,
    begin: Any,
    end: Any,
    strides: Any,
    value: Any,
    *,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> None:
    """Assigns to a slice of the variable; the value is broadcast."""
    existing(ref)
    masks = strided_slice.Masks(
        begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask
    )
    assign_slice(xp, ref, begin, end, strides, value, masks)


def _scatter(function: str) -> Callable[..., None]:
    def scatter(xp: Any, resource: Variable, indices: Any, updates: Any) -> None:
        resource.assign(scatter_rows(xp, existing(resource), indices, updates, function))

    return scatter


def _scatter_nd(function: str) -> Callable[..., None]:
    def scatter(
        xp: Any, ref: Variable, indices: Any, updates: Any, *, bad_indices_policy: bytes
    ) -> None:
        ref.assign(
            scatter_places(xp, existing(ref), indices, updates, bad_indices_policy, function)
        )

    return scatter


for _name, _function in SCATTER_FUNCTIONS.items():
    add_kernel(f"ResourceScatter{_name}", _scatter(_function))
for _name in ("Update", "Add", "Sub"):
    add_kernel(f"ResourceScatterNd{_name}", _scatter_nd(SCATTER_FUNCTIONS[_name]))
