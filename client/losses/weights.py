"""Weights of losses and metrics: their allowed shapes, and their broadcasting."""

from __future__ import annotations

from typing import Any

from flowray.client.control_flow.cond import cond
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Operation, Tensor, control_dependencies, name_scope
from flowray.client.ops.array_ops import ones_like, rank, shape
from flowray.client.ops.control_flow_ops import Assert, no_op
from flowray.client.ops.math_ops import equal, logical_or, multiply
from flowray.client.ops.reduction_ops import reduce_all

_PROBLEM = "weights can not be broadcast to values."


def assert_broadcastable(weights: Any, values: Any) -> Operation:
    """Adds an op that fails if ``weights`` are neither a scalar nor broadcastable to ``values``.

    Weights must have the rank of the values, and each dimension must be 1 or that of the values.

    Raises:
        ValueError: the static shapes already tell that they are not.
    """
    with name_scope(None, "assert_broadcastable", [weights, values]):
        weights, weights_shape, weights_rank = _parts("weights", weights)
        values, values_shape, values_rank = _parts("values", values)
        of, to = weights.shape_tuple, values.shape_tuple
        if of is not None and to is not None:
            if not of:
                return no_op("static_scalar_check_success")
            if len(of) != len(to):
                raise ValueError(
                    f"{_PROBLEM} values.rank={len(to)}. weights.rank={len(of)}. "
                    f"values.shape={values.shape}. weights.shape={weights.shape}."
                )
            if any(w not in (None, 1, v) and v is not None for w, v in zip(of, to, strict=True)):
                raise ValueError(
                    f"{_PROBLEM} values.shape={values.shape}. weights.shape={weights.shape}."
                )
            if None not in of and None not in to:
                return no_op("static_dims_check_success")
        is_scalar = equal(0, weights_rank, name="is_scalar")
        told = [
            _PROBLEM, "weights.shape=", weights.name, weights_shape, "values.shape=", values.name,
            values_shape, "is_scalar=", is_scalar,
        ]  # fmt: skip

        def has_valid_shape() -> Any:
            with name_scope(None, "has_valid_nonscalar_shape"):
                same_rank = equal(values_rank, weights_rank, name="is_same_rank")
                return cond(same_rank, has_valid_dims, lambda: same_rank)

        def has_valid_dims() -> Any:
            return reduce_all(
                logical_or(equal(weights_shape, values_shape), equal(weights_shape, 1))
            )

        valid = cond(is_scalar, lambda: is_scalar, has_valid_shape, name="is_valid_shape")
        return Assert(valid, told, name="assert_broadcastable")


def _parts(name: str, tensor: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the tensor, its shape and its rank, in a scope of that name."""
    with name_scope(None, name, [tensor]) as scope:
        tensor = convert_to_tensor(tensor, name=scope)
        return tensor, shape(tensor, name="shape"), rank(tensor, name="rank")


def broadcast_weights(weights: Any, values: Any) -> Tensor:
    """Broadcasts ``weights`` to the dtype and shape of ``values``; see ``assert_broadcastable``."""
    with name_scope(None, "broadcast_weights", [weights, values]) as scope:
        values = convert_to_tensor(values, name="values")
        given = convert_to_tensor(weights, dtype=values.dtype.base_dtype, name="weights")
        of, to = given.shape, values.shape
        if of.is_fully_defined() and to.is_fully_defined() and of.is_compatible_with(to):
            return given
        with control_dependencies([assert_broadcastable(given, values)]):
            result: Tensor = multiply(given, ones_like(values), name=scope)
            return result
