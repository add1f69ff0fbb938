"""Conversion of the arguments of layers: numbers or tuples, functions or their names."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

from flowray.client.ops import math_ops, nn_ops
from flowray.client.variables import initializers

Function = Callable[[Any], Any]

_ACTIVATIONS: dict[str, Function | None] = {
    "linear": None,
    "elu": nn_ops.elu,
    "exponential": math_ops.exp,
    "relu": nn_ops.relu,
    "selu": nn_ops.selu,
    "sigmoid": math_ops.sigmoid,
    "softmax": nn_ops.softmax,
    "softplus": nn_ops.softplus,
    "softsign": nn_ops.softsign,
    "tanh": math_ops.tanh,
}

# Those that have a deviation take Keras's smaller one if they are asked for by name.
_INITIALIZERS: dict[str, Callable[[], Any]] = {
    "constant": initializers.constant,
    "glorot_normal": initializers.glorot_normal,
    "glorot_uniform": initializers.glorot_uniform,
    "he_normal": initializers.he_normal,
    "he_uniform": initializers.he_uniform,
    "identity": initializers.identity,
    "lecun_normal": initializers.lecun_normal,
    "lecun_uniform": initializers.lecun_uniform,
    "ones": initializers.ones,
    "orthogonal": initializers.orthogonal,
    "random_normal": lambda: initializers.random_normal(stddev=0.05),
    "random_uniform": lambda: initializers.random_uniform(-0.05, 0.05),
    "truncated_normal": lambda: initializers.truncated_normal(stddev=0.05),
    "variance_scaling": initializers.variance_scaling,
    "zeros": initializers.zeros,
}


def as_activation(identifier: Any) -> Function | None:
    """Returns a function, or the one that a name stands for. ValueError for others."""
    if identifier is None:
        return None
    if callable(identifier):
        function: Function = identifier
        return function
    if isinstance(identifier, str):
        if identifier not in _ACTIVATIONS:
            raise ValueError(f"Unknown activation function: {identifier}")
        return _ACTIVATIONS[identifier]
    raise TypeError(f"Could not interpret activation function identifier: {identifier!r}")


def as_initializer(identifier: Any) -> Any:
    """Returns an initializer, or the one that a name stands for. ValueError for others."""
    if identifier is None or callable(identifier):
        return identifier
    if isinstance(identifier, str) and identifier in _INITIALIZERS:
        return _INITIALIZERS[identifier]()
    raise ValueError(f"Could not interpret initializer identifier: {identifier}")


def as_function(identifier: Any, what: str) -> Any:
    """Returns a regularizer or constraint (``what``): a function or None. ValueError for others."""
    if identifier is None or callable(identifier):
        return identifier
    raise ValueError(f"Could not interpret {what} identifier: {identifier}")


def as_tuple(value: Any, n: int, name: str) -> tuple[int, ...]:
    """Returns an integer, or ``n`` of them, as a tuple of ``n``. ValueError for others."""
    if isinstance(value, numbers.Integral):
        return (int(value),) * n
    problem = f"The `{name}` argument must be a tuple of {n} integers. Received: {value}"
    try:
        values = tuple(value)
    except TypeError:
        raise ValueError(problem) from None
    if len(values) != n:
        raise ValueError(problem)
    for one in values:
        try:
            int(one)
        except (TypeError, ValueError):
            raise ValueError(f"{problem} including element {one} of type {type(one)}") from None
    return tuple(map(int, values))


def as_data_format(value: str | None) -> str:
    """Returns ``channels_last`` (the default) or ``channels_first``. ValueError for others."""
    data_format = "channels_last" if value is None else value.lower()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(
            'The `data_format` argument must be one of "channels_first", "channels_last". '
            f"Received: {value}"
        )
    return data_format


def as_padding(value: Any) -> str:
    """Returns ``valid``, ``same`` or ``causal``. ValueError for others."""
    padding = str(value).lower()
    if padding not in ("valid", "same", "causal"):
        raise ValueError(
            'The `padding` argument must be a list/tuple or one of "valid", "same" (or "causal", '
            f"only for `Conv1D). Received: {padding}"
        )
    return padding


def layout(data_format: str, ndim: int) -> str:
    """Returns the ops' name of ``data_format`` for tensors of rank ``ndim``, as ``NHWC``."""
    spatial = {3: "W", 4: "HW", 5: "DHW"}[ndim]
    return f"N{spatial}C" if data_format == "channels_last" else f"NC{spatial}"
