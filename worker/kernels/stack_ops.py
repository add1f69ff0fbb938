"""Kernels of stacks, which live as long as a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType, as_dtype, resource, type_name
from flowray.worker.execution import traced_resources
from flowray.worker.execution.traced_resources import TracedStack
from flowray.worker.kernel_registry import kernel
from flowray.worker.state.step_resources import Stack
from flowray.worker.state.store import KernelContext, Resource


@kernel("StackV2")
def stack(
    xp: Any, max_size: Any, *, elem_type: DType, stack_name: bytes, context: KernelContext
) -> Any:
    """Makes a stack of at most ``max_size`` values (any number if negative)."""
    if max_size.shape:
        raise errors.invalid_argument(f"Stack size must be a scalar, but is {max_size.shape}")
    name, limit = stack_name.decode(), int(max_size)
    sizes = context.store.stack_sizes
    key = f"{context.session}/{context.node}"
    if xp is not np:
        made = TracedStack(name, elem_type, limit, sizes.get(key, 0))
        return traced_resources.adopt(made)

    def note(size: int) -> None:
        sizes[key] = max(size, sizes.get(key, 0))

    return Stack(name, elem_type, limit, note)


@kernel("StackPushV2")
def push(xp: Any, handle: Stack | TracedStack, elem: Any) -> Any:
    """Pushes ``elem`` and returns it; InvalidArgumentError for another dtype or a full stack."""
    dtype = resource if isinstance(elem, Resource) else as_dtype(elem.dtype)
    if dtype != handle.elem_type:
        raise errors.invalid_argument(
            f"Must have type {type_name(handle.elem_type)} but got {type_name(dtype)}"
        )
    handle.push(elem)
    return elem


@kernel("StackPopV2")
def pop(xp: Any, handle: Stack | TracedStack, *, elem_type: DType) -> Any:
    """Removes the last value and returns it; InvalidArgumentError if the stack is empty."""
    if elem_type != handle.elem_type:
        raise errors.internal(
            f"Output 0 of type {type_name(handle.elem_type)} does not match declared output type "
            f"{type_name(elem_type)}"
        )
    return handle.pop()


@kernel("StackCloseV2")
def close(xp: Any, handle: Stack | TracedStack) -> None:
    """Frees the stack's values."""
    handle.close()
