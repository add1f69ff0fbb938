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
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.ops import op_registry

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
    """States that the outputs of ``op_types`` do not vary with their inputs.

    The definitions of flowray's own ops say that themselves (``differentiable=False``).
    """
    for op_type in op_types:
        _add(op_type, None)


def _add(op_type: str, function: GradientFunction | None) -> None:
    if not _may_have_a_gradient(op_type):
        raise ValueError(f"the op {op_type!r} is defined as not differentiable")
    if op_type in _registry:
        earlier = _registry[op_type]
        where = (
            "not differentiable"
            if earlier is None
            else f"{earlier.__code__.co_filename}:{earlier.__code__.co_firstlineno}"
        )
        raise ValueError(f"the gradient of {op_type!r} is registered already: {where}")
    _registry[op_type] = function


def _may_have_a_gradient(op_type: str) -> bool:
    definition = op_registry.registered_ops().get(op_type)
    return definition is None or definition.differentiable


def is_registered(op_type: str) -> bool:
    """Returns whether the op has a gradient function or is known not to be differentiable."""
    return op_type in _registry or not _may_have_a_gradient(op_type)


def lookup(op_type: str) -> GradientFunction | None:
    """Returns the gradient function of ``op_type``; None if it is not differentiable.

    Raises:
        LookupError: neither is registered; the text is TensorFlow's.
    """
    if not is_registered(op_type):
        raise LookupError(f"gradient registry has no entry for: {op_type}")
    return _registry.get(op_type)


RegisterGradient: Any = tf_export("RegisterGradient")(gradient)
"""``tf.RegisterGradient(name)``: the public name, used with ``Graph.gradient_override_map``."""


@tf_export("NoGradient", "NotDifferentiable", "no_gradient")
def NoGradient(op_type: str) -> None:
    """``tf.NoGradient``, also ``tf.NotDifferentiable``."""
    not_differentiable(op_type)
