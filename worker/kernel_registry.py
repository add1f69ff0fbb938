"""The registry of kernels, the functions that compute the ops.

    @kernel("MatMul")
    def matmul(xp, a, b, *, transpose_a, transpose_b): ...

``xp`` is ``numpy`` when every tensor among the inputs is a numpy array, else ``jax.numpy``; one
definition serves both, so that shape arithmetic is done while XLA traces. Positional parameters
are the op's input arguments (a list for list arguments); keyword-only parameters are attributes
(Python values of ``flowray.proto.types.attr_values``). A kernel must take every attribute of its op
but those that the inputs tell and those that the definition calls hints: a missing one fails here,
at import.

The forms of the inputs:

=====================  ==========================================================================
a tensor               array of ``xp``; strings: numpy object arrays of bytes
a static input         always a numpy array (``static_inputs`` of the op definition)
``Ref(T)``, resource   ``worker.state.store.Variable`` (or another resource of the state store)
=====================  ==========================================================================

A kernel returns one value for one output, a tuple for several outputs, and None without outputs; a
``Ref`` output is the Variable itself. Errors are raised with ``flowray.proto.errors`` without a
node's name (the runtime adds it); checks on *values* go through
``flowray.worker.execution.checks``, since a traced program cannot raise.

``@kernel(..., state=make)``: the op has private state per session and node. ``make(**attrs)`` gives
the first value (a numpy array); the kernel takes it as keyword-only parameter ``state``, a
Variable, which it reads and assigns.

A kernel that makes or looks up resources takes the keyword-only parameter ``context``, a
``flowray.worker.state.store.KernelContext``. One that may wait or loop for long looks at
``flowray.worker.execution.interpreter.current_cancellation()``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from flowray.proto import errors
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.ops import op_registry

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel: its function and the names of the attributes that it takes."""

    op: op_registry.OpDef
    function: Callable[..., Any]
    attrs: tuple[str, ...]
    make_state: Callable[..., Any] | None = None
    wants_context: bool = False


_registry: dict[str, Kernel] = {}


def kernel(*op_names: str, state: Callable[..., Any] | None = None) -> Callable[[F], F]:
    """Registers a kernel for each of ``op_names``.

    Raises:
        ValueError: an op has a kernel already (the message names it), or the parameters are not
            those of the op's definition.
    """

    def register(function: F) -> F:
        for name in op_names:
            add_kernel(name, function, state)
        return function

    return register


def add_kernel(
    op_name: str, function: Callable[..., Any], state: Callable[..., Any] | None = None
) -> None:
    """Registers ``function`` for ``op_name``, as ``@kernel`` does; for tables of ops."""
    if op_name in _registry:
        earlier = _registry[op_name].function.__code__
        raise ValueError(
            f"op {op_name!r} already has a kernel, defined at "
            f"{earlier.co_filename}:{earlier.co_firstlineno}"
        )
    definition = op_registry.lookup(op_name)
    parameters = inspect.signature(function).parameters.values()
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    given = keywords - {"state", "context"}
    wanted = definition.kernel_attrs()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ValueError(f"kernel of {op_name!r}: **kwargs would hide attributes that it ignores")
    if not wanted <= given or not given <= set(definition.attrs):
        raise ValueError(
            f"kernel of {op_name!r} takes the attributes {sorted(given)}, but the definition at "
            f"{definition.defined_at} has {sorted(wanted)}"
        )
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not variadic and len(positional) != 1 + len(definition.inputs):
        raise ValueError(
            f"kernel of {op_name!r} takes {len(positional) - 1} inputs, but the definition at "
            f"{definition.defined_at} has {len(definition.inputs)}"
        )
    _registry[op_name] = Kernel(
        definition, function, tuple(sorted(given)), state, "context" in keywords
    )


def lookup(op_name: str) -> Kernel:
    """Returns the kernel of ``op_name``; UnimplementedError if there is none."""
    try:
        return _registry[op_name]
    except KeyError:
        raise errors.unimplemented(
            f"flowray knows op '{op_name}' but has no kernel for it yet"
        ) from None


def registered_kernels() -> Mapping[str, Kernel]:
    """Returns all kernels by op, as a view that changes with the registry."""
    return MappingProxyType(_registry)
