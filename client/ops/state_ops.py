"""User functions for reference and resource variables.

They take variables of both kinds, and references (the outputs of reference ops). The result for a
reference is the reference after the write; for a resource variable it is the variable, which is
read after the write if it is used.

They take variables of both kinds, and references (the outputs of reference ops). For a reference
the result is the reference after the write; for a resource variable it is the variable, read after
the write where it is read at all.
"""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops
from flowray.client.tf_export import tf_export


class _Reference:
    """The writes to the result of a reference op, or to a reference variable."""

    def __init__(self, ref: Any) -> None:
        self._ref = ref

    def _write_whole(self, kind: str, value: Any, name: str | None, **attrs: Any) -> Any:
        return apply_op(kind, self._ref, value, name=name, **attrs)

    def _scatter(
        self, kind: str, indices: Any, updates: Any, name: str | None, **attrs: Any
    ) -> Any:
        return apply_op(f"Scatter{kind}", self._ref, indices, updates, name=name, **attrs)

    def _count_up_to(self, limit: int, name: str | None) -> Tensor:
        return output_of("CountUpTo", self._ref, limit=limit, name=name)


def _written(ref: Any) -> Any:
    """Returns the object that adds the write ops for ``ref``: itself, if it has its own ops."""
    return ref if hasattr(ref, "_write_whole") else _Reference(ref)


# The whole variable -------------------------------------------------------------------------------


@tf_export("assign")
def assign(
    ref: Any,
    value: Any,
    validate_shape: bool | None = None,
    use_locking: bool | None = None,
    name: str | None = None,
) -> Any:
    """Sets ``ref`` to ``value``.

    Args:
        ref: a variable; it may be uninitialized.
        value: a tensor of its dtype.
        validate_shape: whether the shape must be the variable's (the default); if not, a reference
            variable takes the shape of ``value``.
        use_locking: accepted for TensorFlow's sake; an assignment is atomic.
        name: of the op.
    """
    attrs = {"validate_shape": validate_shape, "use_locking": use_locking}
    return _written(ref)._write_whole("Assign", value, name, **attrs)


@tf_export("assign_add")
def assign_add(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Adds ``value``, which has the shape of ``ref``; the arguments are those of ``assign``."""
    return _written(ref)._write_whole("AssignAdd", value, name, use_locking=use_locking)


@tf_export("assign_sub")
def assign_sub(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Subtracts ``value``, which has the shape of ``ref``."""
    return _written(ref)._write_whole("AssignSub", value, name, use_locking=use_locking)


@tf_export("count_up_to")
def count_up_to(ref: Any, limit: int, name: str | None = None) -> Any:
    """Adds 1 to a scalar int32 or int64 variable and returns the old value.

    A run in which the variable is at ``limit`` fails with OutOfRangeError.
    """
    return _written(ref)._count_up_to(limit, name)


# Rows of it ---------------------------------------------------------------------------------------


def _scatter(
    kind: str, ref: Any, indices: Any, updates: Any, use_locking: bool, name: str | None
) -> Any:
    return _written(ref)._scatter(kind, indices, updates, name, use_locking=use_locking)


@tf_export("scatter_update")
def scatter_update(
    ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Any:
    """Sets the rows ``ref[indices[i]]`` to ``updates[i]``; of equal indices one of them wins.

    Args:
        ref: a variable.
        indices: int32 or int64, of any shape. InvalidArgumentError in a run if one is out of range.
        updates: shaped ``indices.shape + ref.shape[1:]``, or a scalar.
        use_locking: accepted for TensorFlow's sake; a write is atomic.
        name: of the op.
    """
    return _scatter("Update", ref, indices, updates, use_locking, name)


@tf_export("scatter_add")
def scatter_add(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Adds ``updates[i]`` to the row ``indices[i]``; of equal indices all count."""
    return _scatter("Add", ref, indices, updates, use_locking, name)


@tf_export("scatter_sub")
def scatter_sub(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Subtracts ``updates[i]`` from the row ``indices[i]``."""
    return _scatter("Sub", ref, indices, updates, use_locking, name)


@tf_export("scatter_mul")
def scatter_mul(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Multiplies the row ``indices[i]`` by ``updates[i]``."""
    return _scatter("Mul", ref, indices, updates, use_locking, name)


@tf_export("scatter_div")
def scatter_div(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Divides the row ``indices[i]`` by ``updates[i]``."""
    return _scatter("Div", ref, indices, updates, use_locking, name)


@tf_export("scatter_min")
def scatter_min(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Takes the minimum of the row ``indices[i]`` and ``updates[i]``."""
    return _scatter("Min", ref, indices, updates, use_locking, name)


@tf_export("scatter_max")
def scatter_max(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Takes the maximum of the row ``indices[i]`` and ``updates[i]``."""
    return _scatter("Max", ref, indices, updates, use_locking, name)


# Slices by index vectors --------------------------------------------------------------------------


@tf_export("scatter_nd_update")
def scatter_nd_update(
    ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Any:
    """Sets the slices ``ref[indices[i, ..., :]]`` to ``updates[i, ...]``.

    Args:
        ref: a variable of some rank P.
        indices: int32 or int64 of shape [..., K], K <= P: index vectors of elements (K = P) or
            slices. InvalidArgumentError in a run if one is out of range.
        updates: shaped ``indices.shape[:-1] + ref.shape[K:]``.
        use_locking: accepted for TensorFlow's sake; a write is atomic.
        name: of the op.
    """
    return _scatter("NdUpdate", ref, indices, updates, use_locking, name)


@tf_export("scatter_nd_add")
def scatter_nd_add(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Adds to slices; the arguments are those of ``scatter_nd_update``. Repeats all count."""
    return _scatter("NdAdd", ref, indices, updates, use_locking, name)


@tf_export("scatter_nd_sub")
def scatter_nd_sub(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Any:
    """Subtracts from slices; the arguments are those of ``scatter_nd_update``."""
    return _scatter("NdSub", ref, indices, updates, use_locking, name)


@tf_export("batch_scatter_update")
def batch_scatter_update(
    ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Any:
    """Updates rows as ``scatter_update`` in each of several batches (leading dimensions).

    Args:
        ref: a variable shaped ``batch + [rows] + rest``.
        indices: integer, shaped ``batch + [n]``: which rows of its batch.
        updates: shaped ``batch + [n] + rest``.
        use_locking: accepted for TensorFlow's sake.
        name: of the op.

    Raises:
        ValueError: the shape of ``indices`` is not known.
    """
    with name_scope(name, "batch_scatter_update", [ref, indices, updates]):
        indices = convert_to_tensor(indices, name="indices")
        rank = indices.shape.rank
        if rank is None:
            raise ValueError("batch_scatter_update needs indices of a known rank")
        rows = array_ops.expand_dims(indices, axis=-1)
        sizes = array_ops.shape(indices, out_type=indices.dtype.base_dtype)
        ones = array_ops.ones_like(rows)
        # The index vectors: the place in each batch dimension, then the row.
        places = [
            array_ops.reshape(
                apply_op("Range", 0, sizes[axis], 1),
                [-1 if i == axis else 1 for i in range(rank + 1)],
            )
            for axis in range(rank - 1)
        ]
        vectors = array_ops.concat([*(place * ones for place in places), rows], axis=-1)
        return scatter_nd_update(ref, vectors, updates, use_locking)
