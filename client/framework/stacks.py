"""Per-thread stacks of defaults: the default graph, the default session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class DefaultStack(threading.local, Generic[T]):
    """A stack per thread; below it, one default for the whole process, made when first needed."""

    _shared: dict[str, object] = {}  # noqa: RUF012 - one for all threads, on purpose

    def __init__(self, what: str, make: Callable[[], T] | None = None) -> None:
        self._what = what
        self._make = make
        self._stack: list[T] = []

    def get(self) -> T:
        """Returns the innermost default, making one if there is none. LookupError if it cannot."""
        if self._stack:
            return self._stack[-1]
        if self._make is None:
            raise LookupError(f"no default {self._what}")
        if self._what not in self._shared:
            # dict.setdefault is atomic, so that two threads agree on one default.
            self._shared.setdefault(self._what, self._make())
        return self._shared[self._what]  # type: ignore[return-value]

    def get_or_none(self) -> T | None:
        """Returns the innermost default of this thread's scopes, or None."""
        return self._stack[-1] if self._stack else None

    def reset(self) -> None:
        """Forgets the process-wide default; AssertionError inside a ``pushed`` scope."""
        if self._stack:
            raise AssertionError(
                f"Do not use tf.reset_default_{self._what}() to clear nested graphs. If you need "
                f"a cleared {self._what}, exit the nesting and create a new one."
            )
        self._shared.pop(self._what, None)

    @contextmanager
    def pushed(self, item: T) -> Iterator[T]:
        """Makes ``item`` the default inside the scope."""
        self._stack.append(item)
        try:
            yield item
        finally:
            if not self._stack or self._stack[-1] is not item:
                raise AssertionError(
                    f"Nesting violated for default stack of {type(item).__name__} objects"
                )
            self._stack.pop()

    def push(self, item: T) -> None:
        """Makes ``item`` the default until ``remove``."""
        self._stack.append(item)

    def remove(self, item: T) -> None:
        """Takes ``item`` from the stack, wherever it is there."""
        if item in self._stack:
            self._stack.remove(item)
