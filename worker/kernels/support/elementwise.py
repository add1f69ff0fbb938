"""Parts that elementwise kernels share: functions of both backends, broadcasting, 16-bit floats."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from flowray.proto import errors
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support.precision import is_half, widened

F = TypeVar("F", bound=Callable[..., Any])


def is_integer(x: Any) -> bool:
    """Tells whether ``x`` is an array of integers; booleans do not count."""
    return bool(x.dtype.kind in "iu")


def is_complex(x: Any) -> bool:
    """Tells whether ``x`` is an array of complex numbers."""
    return bool(x.dtype.kind == "c")


def in_float32(function: F) -> F:
    """Makes ``function(xp, x, ...)`` compute 16-bit floats in float32 and round once at the end."""

    @functools.wraps(function)
    def compute(xp: Any, x: Any, *others: Any, **attrs: Any) -> Any:
        if not is_half(x.dtype):
            return function(xp, x, *others, **attrs)
        wide = [widened(v) if v.dtype == x.dtype else v for v in (x, *others)]
        return function(xp, *wide, **attrs).astype(x.dtype)

    return compute  # type: ignore[return-value]


def unary(name: str) -> Callable[[Any, Any], Any]:
    """Returns a kernel that calls the function ``name`` of numpy and of jax.numpy."""
    of_numpy = getattr(np, name)

    def compute(xp: Any, x: Any) -> Any:
        return of_numpy(x) if xp is np else getattr(xp, name)(x)

    return compute


def broadcast_error(error: Exception, operands: Sequence[Any]) -> Exception:
    """Returns TensorFlow's error if the operands' shapes do not broadcast, else ``error``."""
    try:
        np.broadcast_shapes(*(x.shape for x in operands))
    except ValueError:
        listed = " vs. ".join(format_shape(x.shape) for x in operands)
        return errors.invalid_argument(f"Incompatible shapes: {listed}")
    return error


def broadcasting(*op_names: str) -> Callable[[F], F]:
    """Registers a kernel whose operands must broadcast, as ``@kernel`` does.

    If they do not, the kernel raises InvalidArgumentError with TensorFlow's text.
    """

    def register(function: F) -> F:
        @functools.wraps(function)
        def compute(xp: Any, *operands: Any, **attrs: Any) -> Any:
            # Trying is cheaper than checking first: the shapes almost always fit.
            try:
                return function(xp, *operands, **attrs)
            except (TypeError, ValueError) as error:
                raise broadcast_error(error, operands) from None

        kernel(*op_names)(compute)
        return function

    return register


def binary(name: str) -> Callable[[Any, Any, Any], Any]:
    """Returns a kernel of two operands that calls the function ``name`` of numpy and of jax.numpy.

    Operands that do not broadcast raise InvalidArgumentError with TensorFlow's text.
    """
    of_numpy = getattr(np, name)

    def compute(xp: Any, x: Any, y: Any) -> Any:
        try:
            return of_numpy(x, y) if xp is np else getattr(xp, name)(x, y)
        except (TypeError, ValueError) as error:
            raise broadcast_error(error, (x, y)) from None

    return compute
