"""User functions that clip values and gradients. They are made of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import (
    constant,
    convert_to_tensor,
    convert_to_tensor_or_indexed_slices,
)
from flowray.client.framework.graph import Tensor, colocate_with, name_scope
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops import array_ops, math_ops, reduction_ops
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


@tf_export("clip_by_value")
def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Clips ``t`` to the range from ``clip_value_min`` to ``clip_value_max``.

    Args:
        t: a Tensor or IndexedSlices.
        clip_value_min, clip_value_max: scalars, or tensors that broadcast to the shape of ``t``.
        name: the name of the op.

    Raises:
        ValueError: a bound would make the result larger than ``t``.
    """
    values_of = t.values if isinstance(t, IndexedSlices) else t
    with name_scope(name, "clip_by_value", [values_of, clip_value_min, clip_value_max]) as scope:
        values = convert_to_tensor(values_of, name="t")
        below = math_ops.minimum(values, clip_value_max)
        values.shape.assert_is_compatible_with(below.shape)
        result = math_ops.maximum(below, clip_value_min, name=scope)
        values.shape.assert_is_compatible_with(result.shape)
    if isinstance(t, IndexedSlices):
        return IndexedSlices(result, t.indices, t.dense_shape)
    return result


@tf_export("clip_by_norm")
def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Scales ``t`` down so that its L2 norm is at most ``clip_norm``.

    Args:
        t: a Tensor or IndexedSlices.
        clip_norm: a positive scalar.
        axes: over which to take the norm; None: all.
        name: the name of the op.
    """
    values_of = t.values if isinstance(t, IndexedSlices) else t
    with name_scope(name, "clip_by_norm", [values_of, clip_norm]) as scope:
        values = convert_to_tensor(values_of, name="t")
        squares: Tensor = reduction_ops.reduce_sum(
            math_ops.multiply(values, values, "mul"), axes, keepdims=True
        )
        # The root of 0 has no gradient: take that of 1 there instead, and put the 0 back.
        positive = math_ops.greater(squares, 0)
        safe = apply_op("Select", positive, squares, array_ops.ones_like(squares))
        norm = apply_op("Select", positive, math_ops.sqrt(safe), squares)
        scaled = math_ops.multiply(values, clip_norm, "mul")
        values.shape.assert_is_compatible_with(scaled.shape)
        clipped = math_ops.truediv(scaled, math_ops.maximum(norm, clip_norm))
        result = apply_op("Identity", clipped, name=scope)
    if isinstance(t, IndexedSlices):
        return IndexedSlices(result, t.indices, t.dense_shape)
    return result


@tf_export("clip_by_average_norm")
def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """Scales ``t`` down so that its L2 norm per element is at most ``clip_norm``."""
    with name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        t = convert_to_tensor(t, name="t")
        count = math_ops.cast(array_ops.size(t), dtypes.float32)
        squares = math_ops.multiply(t, t, "mul")
        axes = math_ops.range(array_ops.rank(t))
        inverse = math_ops.rsqrt(reduction_ops.reduce_sum(squares, axes))
        scaled = math_ops.multiply(t, clip_norm, "mul")
        by_norm = math_ops.multiply(inverse, count, "mul")
        factor = math_ops.minimum(by_norm, math_ops.truediv(constant(1.0), clip_norm))
        return output_of("Identity", math_ops.multiply(scaled, factor, "mul"), name=scope)


def _tensor_list(t_list: Sequence[Any]) -> list[Any]:
    if isinstance(t_list, str | bytes | Tensor) or not isinstance(t_list, Sequence):
        raise TypeError("t_list should be a sequence")
    return [
        None if t is None else convert_to_tensor_or_indexed_slices(t, name=f"t_{i}")
        for i, t in enumerate(t_list)
    ]


def _values(t: Any) -> Tensor:
    return t.values if isinstance(t, IndexedSlices) else t


@tf_export("global_norm", "linalg.global_norm")
def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """Computes the L2 norm of several tensors taken as one vector; Nones are left out.

    Args:
        t_list: Tensors, IndexedSlices and Nones.
        name: the name of the op.

    Raises:
        TypeError: ``t_list`` is not a sequence.
    """
    tensors = _tensor_list(t_list)
    with name_scope(name, "global_norm", [t for t in tensors if t is not None]):
        halves = []
        for t in tensors:
            if t is not None:
                with colocate_with(_values(t)):
                    halves.append(apply_op("L2Loss", _values(t)))
        total = reduction_ops.reduce_sum(apply_op("Pack", halves, name="stack"))
        double = math_ops.multiply(total, constant(2.0, total.dtype.base_dtype), "mul")
        return math_ops.sqrt(double, name="global_norm")


@tf_export("clip_by_global_norm")
def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """Scales tensors by one factor so that their global norm is at most ``clip_norm``.

    Args:
        t_list: Tensors, IndexedSlices and Nones.
        clip_norm: a positive scalar.
        use_norm: the global norm, if it is known already.
        name: the name of the op.

    Returns:
        The scaled tensors (NaN where the norm is infinite or NaN), and the global norm.

    Raises:
        TypeError: ``t_list`` is not a sequence.
    """
    tensors = _tensor_list(t_list)
    norm = global_norm(tensors, name) if use_norm is None else convert_to_tensor(use_norm)
    with name_scope(
        name, "clip_by_global_norm", [*(t for t in tensors if t is not None), clip_norm]
    ) as scope:
        by_norm = math_ops.truediv(1.0, norm)
        limit = math_ops.truediv(constant(1.0, norm.dtype.base_dtype), clip_norm)
        factor = math_ops.minimum(by_norm, limit)
        scale = math_ops.multiply(clip_norm, factor, "mul")
        # Adds 0, or NaN if the norm is not finite: a broken gradient should be seen.
        scale = scale + (norm - norm)
        clipped: dict[int, Tensor] = {}
        results: list[Any] = []
        for i, t in enumerate(tensors):
            if t is None:
                results.append(None)
                continue
            values = _values(t)
            if id(values) not in clipped:
                with colocate_with(values):
                    scaled = math_ops.multiply(values, scale, "mul")
                    clipped[id(values)] = apply_op("Identity", scaled, name=f"{scope}_{i}")
            result: Any = clipped[id(values)]
            if isinstance(t, IndexedSlices):
                result = IndexedSlices(result, t.indices, t.dense_shape)
            results.append(result)
    return results, norm
