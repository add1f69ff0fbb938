"""Unit tests cannot cheat: neither Ray nor a gRPC server starts in them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import grpc
import pytest

os.environ["FLOWRAY_CACHE_DIR"] = ""  # a program compiled by an earlier run would hide a fault


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a unit test must not start Ray or a gRPC server")

    monkeypatch.setattr(grpc, "server", refuse)
    monkeypatch.setattr(grpc.aio, "server", refuse)
    try:
        import ray
    except ImportError:
        pass  # the light client's environment has no Ray, so nothing can start it
    else:
        monkeypatch.setattr(ray, "init", refuse)
    yield  # noqa: PT022
