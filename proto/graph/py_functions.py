"""The Python functions that graphs of this process call, by the tokens that name them there.

Client and worker share them: a ``PyFunc`` op runs only in the process that registered its function.
"""

from __future__ import annotations

import itertools
import uuid
import weakref
from collections.abc import Callable
from typing import Any, Final

_process: Final = uuid.uuid4().hex[:12]
_numbers: Final = itertools.count()


class PyFunction:
    """A function that is registered as long as this object lives. A graph holds it."""

    __slots__ = ("__weakref__", "function", "token")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.token = f"pyfunc_{next(_numbers)}_{_process}"


_functions: Final[weakref.WeakValueDictionary[str, PyFunction]] = weakref.WeakValueDictionary()


def register(function: Callable[..., Any]) -> PyFunction:
    """Registers ``function``."""
    registered = PyFunction(function)
    _functions[registered.token] = registered
    return registered


def lookup(token: str) -> Callable[..., Any] | None:
    """Returns the function that ``token`` stands for; None if this process has no such function."""
    registered = _functions.get(token)
    return None if registered is None else registered.function
