"""Run signatures, which a client prepares once and then runs by a handle."""

from __future__ import annotations

from dataclasses import dataclass

from flowray.proto.errors import AbortedError


@dataclass(frozen=True, slots=True)
class RunSignature:
    """The feeds, fetches and targets of a run. Values are sent in this order."""

    feeds: tuple[str, ...] = ()
    """Names of tensors, ``node:index`` or ``node``."""
    fetches: tuple[str, ...] = ()
    """Names of tensors."""
    targets: tuple[str, ...] = ()
    """Names of nodes that run without a result."""


class UnknownRunHandleError(AbortedError):
    """The session has no run of that handle. Nothing was run: the client may prepare it again."""

    def __init__(self, message: str) -> None:
        super().__init__(None, None, message)
