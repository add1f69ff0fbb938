"""Waiting kernels and the resources that they wait for: cancellation, ownership, ends."""

from __future__ import annotations

import threading

import pytest

from flowray.proto import errors
from flowray.proto.messages import tensor_pb2
from flowray.worker.execution.interpreter import (
    Cancellation,
    Interpreter,
    current_cancellation,
)
from flowray.worker.program.executor import running
from flowray.worker.state.store import KernelContext, Resource, StateStore


class Closing(Resource):
    __slots__ = ("closed",)

    def __init__(self, container: str, name: str) -> None:
        super().__init__(name, container)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def context(store: StateStore, session: str, node: str) -> KernelContext:
    return KernelContext(store, "/job:worker/replica:0/task:0/device:CPU:0", "", session, node)


def test_cancelling_wakes_those_that_wait_and_ready_ends_a_wait() -> None:
    cancellation, condition = Cancellation(), threading.Condition()
    ready: list[int] = []
    outcomes: list[str] = []
    entered = threading.Semaphore(0)

    def wait() -> None:
        with condition:
            entered.release()
            try:
                cancellation.wait(condition, lambda: bool(ready))
                outcomes.append("ready")
            except errors.CancelledError:
                outcomes.append("cancelled")

    def waiting() -> threading.Thread:
        thread = threading.Thread(target=wait)
        thread.start()
        assert entered.acquire(timeout=10)
        return thread

    first = waiting()
    with condition:
        ready.append(1)
        condition.notify_all()
    first.join(10)
    ready.clear()
    second = waiting()
    cancellation.cancel()
    second.join(10)
    assert outcomes == ["ready", "cancelled"]
    ready.append(1)
    with condition, pytest.raises(errors.CancelledError):
        cancellation.wait(condition, lambda: bool(ready))


def test_a_kernel_finds_the_cancellation_of_its_step() -> None:
    step = Cancellation()
    with running(Interpreter(step)):
        assert current_cancellation() is step
    assert current_cancellation() is not step


def test_a_resource_without_a_name_is_the_nodes_and_ends_with_the_session() -> None:
    store = StateStore("worker")
    here, there = context(store, "a", "it"), context(store, "b", "it")
    made = here.resource(b"", b"", Closing, Closing)
    assert here.resource(b"", b"", Closing, Closing) is made
    other = there.resource(b"", b"", Closing, Closing)
    assert other is not made
    handle = tensor_pb2.ResourceHandleProto.FromString(here.handle(made).SerializeToString())
    assert there.by_handle(handle) is made  # a handle works in every session
    store.remove_scope("private:a")
    assert (made.closed, other.closed) == (1, 0)
    with pytest.raises(errors.NotFoundError):
        there.by_handle(handle)
    store.reset([])
    assert other.closed == 1


def test_a_named_resource_is_shared_until_reset() -> None:
    store = StateStore("worker")
    made = context(store, "a", "x").resource(b"", b"name", Closing, Closing)
    assert context(store, "b", "y").resource(b"", b"name", Closing, Closing) is made
    store.remove_scope("private:a")
    assert made.closed == 0
    store.reset([])
    assert made.closed == 1
    assert context(store, "b", "y").resource(b"", b"name", Closing, Closing) is not made
