"""``tensorflow.python.util.deprecation``: marks functions that are to go."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flowray.client.platform import logging


def deprecated(
    date: str | None, instructions: str, warn_once: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that logs a warning when the function is called.

    Args:
        date: when it goes, as "2020-01-31"; None if that is open.
        instructions: what to use instead.
        warn_once: warn at the first call only.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        warned = False

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal warned
            if not (warned and warn_once):
                warned = True
                logging.warning(
                    "From: %s (from %s) is deprecated and will be removed %s.\n"
                    "Instructions for updating:\n%s",
                    function.__qualname__,
                    function.__module__,
                    f"after {date}" if date else "in a future version",
                    instructions,
                )
            return function(*args, **kwargs)

        return call

    return decorate


def deprecated_argument_lookup(new_name: str, new_value: Any, old_name: str, old_value: Any) -> Any:
    """Returns the value of an argument that has an old name, too; ValueError if both are given."""
    if old_value is not None and new_value is not None:
        raise ValueError(f"Cannot specify both '{old_name}' and '{new_name}'")
    return new_value if old_value is None else old_value
