"""Checks of values, for kernels that compute and kernels that are traced.

A traced program cannot raise, so there a check becomes one more output of the compiled segment;
the runtime looks at it after the run and raises the error then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flowray.proto import errors

ErrorFunction = Callable[..., errors.OpError]


class RunAgainError(errors.AbortedError):
    """A compiled program exceeded a capacity, so the interpreter has to run instead."""

    def __init__(self, message: str) -> None:
        super().__init__(None, None, message)


class CheckCollector:
    """The checks of one traced segment: ``(node, ok, make_error, values)`` each."""

    def __init__(self) -> None:
        self.checks: list[tuple[str, Any, ErrorFunction, tuple[Any, ...]]] = []
        self.node = ""


class _Current(threading.local):
    collector: CheckCollector | None = None


_current = _Current()


def current() -> CheckCollector:
    """Returns the collector of the segment that is being traced."""
    assert _current.collector is not None, "outside a segment"
    return _current.collector


@contextmanager
def collecting(collector: CheckCollector) -> Iterator[CheckCollector]:
    """Sends the checks that kernels make in the scope to ``collector``."""
    old, _current.collector = _current.collector, collector
    try:
        yield collector
    finally:
        _current.collector = old


def check(ok: Any, make_error: ErrorFunction, *values: Any) -> None:
    """Raises ``make_error(*values)`` unless the boolean scalar ``ok`` is true.

    ``values`` are arrays that the message needs; under tracing they are computed with the segment
    and come to ``make_error`` as numpy arrays.
    """
    if isinstance(ok, bool | np.bool_ | np.ndarray):
        if not ok:
            raise make_error(*values)
        return
    collector = _current.collector
    if collector is None:
        raise AssertionError("a traced check outside a segment")
    collector.checks.append((collector.node, ok, make_error, values))
