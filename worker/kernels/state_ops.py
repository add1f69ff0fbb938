"""Kernels of reference variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.ops import strided_slice
from flowray.proto.types.shapes import format_shape, is_fully_defined
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.array_ops import as_array
from flowray.worker.kernels.slice_ops import check_indices, resolve_slice, scatter_slices
from flowray.worker.state.store import Variable

"""Ops without a kernel: loading a stage looks their resources up in the state store."""


def replaced(xp: Any, variable: Variable, value: Any, dtype: Any) -> None:
    """Assigns a new value that was computed from the old one, in the old one's ``dtype``."""
    variable.assign(as_array(value, dtype) if xp is np else value.astype(dtype))


@kernel("IsVariableInitialized")
def is_variable_initialized(xp: Any, ref: Variable) -> Any:
    """Tells whether the variable has a value, as a bool scalar."""
    return np.array(ref.is_initialized)


@kernel("Assign")
def assign(xp: Any, ref: Variable, value: Any, *, validate_shape: bool) -> Variable:
    """Sets the variable and returns it.

    With ``validate_shape`` the value must have the variable's shape; otherwise the variable takes
    the shape of the value.
    """
    if validate_shape:
        shape = ref._value.shape if ref.is_initialized else ref.shape
        if shape is not None and is_fully_defined(shape) and shape != value.shape:
            raise errors.invalid_argument(
                "Assign requires shapes of both tensors to match. lhs shape= "
                f"{format_shape(shape)} rhs shape= {format_shape(value.shape)}"
            )
    ref.assign(value)
    return ref


def _assign_update(symbol: str) -> Callable[..., Variable]:
    def update(xp: Any, ref: Variable, value: Any) -> Variable:
        old = ref.read()
        if old.shape != value.shape:
            raise errors.invalid_argument("Parameters and update must be the same size")
        replaced(xp, ref, old + value if symbol == "+" else old - value, old.dtype)
        return ref

    return update


add_kernel("AssignAdd", _assign_update("+"))
add_kernel("AssignSub", _assign_update("-"))


def count_up(xp: Any, variable: Variable, limit: int) -> Any:
    """Adds 1 to a counter and returns the old value; OutOfRangeError once it is at ``limit``."""
    old = variable.read()
    if old.shape:
        raise errors.invalid_argument("Input is not a scalar")
    check(old < limit, lambda: errors.out_of_range(f"Reached limit of {limit}"))
    # A traced check cannot stop the update, so the update stops itself.
    replaced(xp, variable, xp.where(old < limit, old + old.dtype.type(1), old), old.dtype)
    return old


@kernel("CountUpTo")
def count_up_to(xp: Any, ref: Variable, *, limit: int) -> Any:
    """Adds 1 to the scalar and returns the old value; OutOfRangeError at ``limit``."""
    return count_up(xp, ref, limit)


# Scattering ---------------------------------------------------------------------------------------


_NUMPY: dict[str, Any] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def scatter_rows(xp: Any, old: Any, indices: Any, updates: Any, function: str) -> Any:
    """Returns a copy of ``old`` with ``updates`` brought in at the rows ``indices``.

    A row may be named several times: it takes all its updates (for "set" the last one).

    Args:
        updates: ``indices.shape + old.shape[1:]``, or a scalar for all.
        function: a value of ``SCATTER_FUNCTIONS``.
    """
    rest = old.shape[1:]
    if not old.shape or (updates.shape and updates.shape != indices.shape + rest):
        raise errors.invalid_argument(
            "Must have updates.shape = indices.shape + params.shape[1:] or updates.shape = [], "
            f"got updates.shape {format_shape(updates.shape)}, indices.shape "
            f"{format_shape(indices.shape)}, params.shape {format_shape(old.shape)}"
        )
    check_indices(xp, indices, old.shape[0])
    if 0 in indices.shape or 0 in old.shape:
        return old
    rows = indices.reshape(-1)
    slices = xp.broadcast_to(updates, indices.shape + rest).reshape((math.prod(rows.shape), *rest))
    if function == "divide" and old.dtype.kind in "iu":
        # Dividing by one divisor after the other, each time towards zero, is dividing by their
        # product.
        divisors = scatter_rows(xp, xp.ones_like(old), indices, updates, "multiply")
        return (old - xp.fmod(old, divisors)) // divisors
    if xp is not np:
        # Negative rows fail the check above, so here they must not count from the end.
        rows = xp.where(rows < 0, old.shape[0], rows)
        return getattr(old.at[rows], function)(slices, mode="drop")
    new = old.copy()
    if function == "set":
        new[rows] = slices
    else:
        _NUMPY[function].at(new, rows, slices)
    return new


SCATTER_FUNCTIONS = {
    "Update": "set", "Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide",
    "Min": "min", "Max": "max",
}  # fmt: skip


def _scatter(function: str) -> Callable[..., Variable]:
    def scatter(xp: Any, ref: Variable, indices: Any, updates: Any) -> Variable:
        old = ref.read()
        if not old.shape:
            raise errors.invalid_argument("params must be at least 1-D, got shape []")
        ref.assign(scatter_rows(xp, old, indices, updates, function))
        return ref

    return scatter


def _check_places(old: Any, indices: Any, updates: Any, outer: tuple[int, ...], depth: int) -> None:
    """Checks that indices are ``outer + [depth]`` and updates ``outer + old.shape[depth:]``."""
    count = len(outer)
    places = f"indices[shape={format_shape(indices.shape)}]"
    given = f"updates[shape={format_shape(updates.shape)}]"
    if outer and updates.shape[:1] != outer[:1]:
        found = updates.shape[0] if updates.shape else 1
        raise errors.invalid_argument(
            f"Dimensions [0,1) of {places} = {outer[0]} must match dimensions [0,1) of {given} = "
            f"{found}"
        )
    if updates.shape[:count] != outer:
        raise errors.invalid_argument(
            f"Dimensions [0,{count}) of {places} must match dimensions [0,{count}) of {given}"
        )
    if depth > old.ndim or updates.shape[count:] != old.shape[depth:]:
        raise errors.invalid_argument(
            f"Dimensions [{depth},{old.ndim}) of input[shape={format_shape(old.shape)}] must "
            f"match dimensions [{depth},{updates.ndim}) of {given}"
        )


def scatter_places(
    xp: Any, old: Any, indices: Any, updates: Any, policy: bytes, function: str
) -> Any:
    """Returns a copy of ``old`` with ``updates`` brought in at the index vectors ``indices``.

    Indices of rank 1 count as so many vectors of length 1, as in TensorFlow's kernels.
    """
    if not old.shape:
        raise errors.invalid_argument("Output must be at least 1-D, got shape: []")
    if not indices.shape:
        raise errors.invalid_argument("Indices shape must have rank at least one. Found:[]")
    elements = [math.prod(array.shape) for array in (indices, updates)]
    if any(elements) and not all([*elements, math.prod(old.shape)]):
        raise errors.invalid_argument(
            "Indices and updates specified for empty output.  indices shape: "
            f"{format_shape(indices.shape)}"
        )
    outer, depth = indices.shape[:-1], indices.shape[-1]
    if indices.ndim == 1:
        outer, depth = indices.shape, 1
    _check_places(old, indices, updates, outer, depth)
    if not all(elements):
        return old
    return scatter_slices(xp, old, indices.reshape((*outer, depth)), updates, policy, function)


def _scatter_nd(function: str) -> Callable[..., Variable]:
    def scatter(
        xp: Any, ref: Variable, indices: Any, updates: Any, *, bad_indices_policy: bytes
    ) -> Variable:
        ref.assign(scatter_places(xp, ref.read(), indices, updates, bad_indices_policy, function))
        return ref

    return scatter


for _name, _function in SCATTER_FUNCTIONS.items():
    add_kernel(f"Scatter{_name}", _scatter(_function))
for _name in ("Update", "Add", "Sub"):
    add_kernel(f"ScatterNd{_name}", _scatter_nd(SCATTER_FUNCTIONS[_name]))


def assign_slice(
    xp: Any,
    variable: Variable,
    begin: Any,
    end: Any,
    strides: Any,
    value: Any,
    masks: strided_slice.Masks,
) -> None:
    """Assigns ``variable[begin:end:strides] = value``; the value is broadcast."""
    old = variable.read()
    selections, where, selected = resolve_slice(old.shape, begin, end, strides, masks)
    try:
        value = xp.broadcast_to(value, selected)
    except ValueError:
        raise errors.invalid_argument(
            f"Cannot broadcast input shape {format_shape(value.shape)} into final shape "
            f"{format_shape(selected)}"
        ) from None
    value = value.reshape(tuple(s.size for s in selections))
    if xp is np:
        new = old.copy()
        new[where] = value
    else:
        new = old.at[where].set(value)
    variable.assign(new)


@kernel("StridedSliceAssign")
def strided_slice_assign(
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
) -> Variable:
    """Assigns to a slice of the variable and returns the variable; the value is broadcast."""
    masks = strided_slice.Masks(
        begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask
    )
    assign_slice(xp, ref, begin, end, strides, value, masks)
    return ref
