"""The registry of gradient functions.

    @gradient("MatMul")
    def matmul(op, grad):
        return grad_a, grad_b

A gradient function gets the operation and one gradient per output (a Tensor, IndexedSlices or
None), and returns one gradient per input in the same way; it builds graph, as in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flowray.client.tf_export import tf_export

GradientFunction = Callable[..., Any]
F = TypeVar("F", bound=GradientFunction)

_registry: dict[str, GradientFunction | None] = {}


def gradient(*op_types: str) -> Callable[[F], F]:
    """Registers a gradient function for each of ``op_types``; ValueError if one has any."""

    def register(function: F) -> F:
        for op_type in op_types:
            _add(op_type, function)
        return function

    return register


def not_differentiable(*op_types: str) -> None:
    """States that the outputs of ``op_types`` do not vary with their inputs."""
    for op_type in op_types:
        _add(op_type, None)


def _add(op_type: str, function: GradientFunction | None) -> None:
    if op_type in _registry:
        earlier = _registry[op_type]
        where = (
            "not differentiable"
            if earlier is None
            else f"{earlier.__code__.co_filename}:{earlier.__code__.co_firstlineno}"
        )
        raise ValueError(f"the gradient of {op_type!r} is registered already: {where}")
    _registry[op_type] = function


def is_registered(op_type: str) -> bool:
    """Whether the op has a gradient function or is known not to be differentiable."""
    return op_type in _registry


@tf_export("lookup")
def lookup(op_type: str) -> GradientFunction | None:
    """The gradient function of ``op_type``; None if it is not differentiable.

    Raises:
        LookupError: neither is registered; the text is TensorFlow's.
    """
    if op_type not in _registry:
        raise LookupError(f"gradient registry has no entry for: {op_type}")
    return _registry[op_type]


RegisterGradient: Any = tf_export("RegisterGradient")(gradient)
"""``tf.RegisterGradient(name)``: the public name, used with ``Graph.gradient_override_map``."""


@tf_export("NoGradient")
def NoGradient(op_type: str) -> None:
    """``tf.NoGradient``, also ``tf.NotDifferentiable``."""
    not_differentiable(op_type)
