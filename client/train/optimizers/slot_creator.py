"""Slots: the variables that are kept beside others, such as an optimizer's accumulators.

A slot of variable ``W`` is called ``W/<name>``, lies where ``W`` lies, is of its kind (reference or
resource) and is not trainable.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from flowray.client.framework.graph import Tensor, colocate_with
from flowray.client.ops.array_ops import shape as shape_of
from flowray.client.ops.array_ops import zeros
from flowray.client.variables import initializers
from flowray.client.variables.ref_variable import RefVariable
from flowray.client.variables.resource_variable import is_resource_variable
from flowray.client.variables.save_slice_info import SaveSliceInfo
from flowray.client.variables.variable_scope import (
    get_variable,
    get_variable_scope,
    variable_scope,
)
from flowray.client.variables.variables import Variable


def create_slot(primary: Any, val: Tensor, name: str, colocate_with_primary: bool = True) -> Any:
    """Makes a slot that starts with the tensor ``val``.

    Args:
        primary: the variable (or Tensor) that the slot is kept for.
        val: its initial value; the slot has its shape and dtype.
        name: what comes behind the name of ``primary``.
        colocate_with_primary: whether it lies where ``primary`` does.
    """
    validate_shape = val.get_shape().is_fully_defined()
    return _create(primary, val, name, None, None, validate_shape, colocate_with_primary)


def create_slot_with_initializer(
    primary: Any,
    initializer: Any,
    shape: Any,
    dtype: Any,
    name: str,
    colocate_with_primary: bool = True,
) -> Any:
    """Makes a slot of the given shape and dtype; see ``create_slot``."""
    validate_shape = shape.is_fully_defined()
    return _create(primary, initializer, name, shape, dtype, validate_shape, colocate_with_primary)


def create_zeros_slot(
    primary: Any, name: str, dtype: Any = None, colocate_with_primary: bool = True
) -> Any:
    """Makes a slot that is shaped like ``primary`` and starts with zeros."""
    dtype = primary.dtype if dtype is None else dtype
    shape = primary.get_shape()
    if shape.is_fully_defined():
        return create_slot_with_initializer(
            primary, initializers.zeros(), shape, dtype, name, colocate_with_primary
        )
    like = primary.initialized_value() if isinstance(primary, Variable) else primary
    value = zeros(shape_of(like), dtype=dtype.base_dtype)
    return create_slot(primary, value, name, colocate_with_primary)


def _create(
    primary: Any,
    initializer: Any,
    name: str,
    shape: Any,
    dtype: Any,
    validate_shape: bool,
    colocate: bool,
) -> Any:
    prefix = primary._shared_name if isinstance(primary, Variable) else primary.op.name
    # As a default name it is made unique, if another optimizer has made a slot of that name.
    with (
        variable_scope(None, prefix + "/" + name),
        colocate_with(primary) if colocate else nullcontext(),
    ):
        return _create_variable(primary, initializer, shape, dtype, validate_shape)


def _create_variable(
    primary: Any, initializer: Any, shape: Any, dtype: Any, validate_shape: bool
) -> Any:
    """Makes the variable of the current scope: it has no name but the scope's."""
    use_resource = None
    if is_resource_variable(primary):
        use_resource = True
    elif isinstance(primary, RefVariable):
        use_resource = False
    scope = get_variable_scope()
    partitioner = scope.partitioner
    scope.set_partitioner(None)  # the slot of a part is not cut
    try:
        slot = get_variable(
            "",
            initializer=initializer,
            trainable=False,
            use_resource=use_resource,
            dtype=dtype,
            shape=shape if callable(initializer) else None,
            validate_shape=validate_shape,
        )
    finally:
        scope.set_partitioner(partitioner)
    piece = primary._get_save_slice_info() if isinstance(primary, Variable) else None
    rank = slot.get_shape().ndims
    if piece is not None and (rank is None or rank > 0):
        slot_name = slot.op.name[len(primary.op.name) + 1 :]
        slot._set_save_slice_info(
            SaveSliceInfo(
                piece.full_name + "/" + slot_name,
                piece.full_shape[:rank],
                piece.var_offset[:rank],
                piece.var_shape[:rank],
            )
        )
    return slot
