"""``tf.contrib.framework``: default arguments by scope, and names that moved to the core."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from flowray.client.framework.stacks import DefaultStack
from flowray.client.tf_export import tf_export

_Defaults = dict[str, dict[str, Any]]
"""Default arguments, by function and name."""

_scopes: DefaultStack[_Defaults] = DefaultStack("arg_scope", dict)


@tf_export("contrib.framework.add_arg_scope", "contrib.slim.add_arg_scope")
def add_arg_scope(func: Callable[..., Any]) -> Callable[..., Any]:
    """Lets ``arg_scope`` give default arguments to a function."""

    @functools.wraps(func)
    def with_defaults(*args: Any, **kwargs: Any) -> Any:
        defaults = _scopes.get().get(_key(with_defaults), {})
        return func(*args, **{**defaults, **kwargs})

    with_defaults._takes_arg_scope = True  # type: ignore[attr-defined]
    return with_defaults


@tf_export("contrib.framework.arg_scope", "contrib.slim.arg_scope")
@contextmanager
def arg_scope(
    list_ops_or_scope: Sequence[Callable[..., Any]] | Mapping[str, Any], **kwargs: Any
) -> Iterator[_Defaults]:
    """Sets defaults for arguments of some functions in this scope, over those of outer scopes.

    Args:
        list_ops_or_scope: functions with ``@add_arg_scope``, or the value of an earlier
            ``arg_scope``, whose defaults are then in force again.
        kwargs: the arguments.

    Raises:
        TypeError, ValueError: it is something else, or a scope comes with more arguments.
    """
    if isinstance(list_ops_or_scope, Mapping):
        if kwargs:
            raise ValueError(
                "When attempting to re-use a scope by suppling a dictionary, kwargs must be empty."
            )
        scope = dict(list_ops_or_scope)
    elif isinstance(list_ops_or_scope, list | tuple):
        scope = dict(_scopes.get())
        for function in list_ops_or_scope:
            if not has_arg_scope(function):
                raise ValueError(f"{_key(function)} is not decorated with @add_arg_scope")
            scope[_key(function)] = {**scope.get(_key(function), {}), **kwargs}
    else:
        raise TypeError("list_ops_or_scope must either be a list/tuple or reused scope (i.e. dict)")
    with _scopes.pushed(scope):
        yield scope


@tf_export("contrib.framework.has_arg_scope")
def has_arg_scope(func: Callable[..., Any]) -> bool:
    """Tells whether ``func`` has been decorated with ``@add_arg_scope``."""
    return getattr(func, "_takes_arg_scope", False)


def _key(func: Callable[..., Any]) -> str:
    return f"{func.__module__}.{func.__qualname__}"
