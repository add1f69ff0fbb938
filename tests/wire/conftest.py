"""A real gRPC server on a free port, over workers in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from flowray.deploy.in_process import InProcessWorker
from flowray.master.master import Master
from flowray.master.server import ServerThread
from flowray.master.service import ServiceOptions
from flowray.master.worker_api import StageResult, Worker
from flowray.worker.runtime import Runtime, RuntimeOptions
from tests.unit.master.fakes import PS, W0, W1, FakeWorker
from tests.wire.raw import RawClient


class ThreadWorker(InProcessWorker):
    """A real runtime; a stage runs in a thread of its own, as in another process."""

    def __init__(self, task: str) -> None:
        super().__init__(Runtime(task, RuntimeOptions(compile="never", gpus=0)))

    def run(
        self,
        handle: str,
        step_id: int,
        inputs: Sequence[Any],
        done: Callable[[StageResult], None],
        *,
        trace: bool = False,
    ) -> None:
        def work() -> None:
            super(ThreadWorker, self).run(handle, step_id, inputs, done, trace=trace)

        threading.Thread(target=work, daemon=True).start()


class Service:
    """A served master, and a raw client of it."""

    def __init__(self, workers: Sequence[Worker], options: ServiceOptions | None = None) -> None:
        self.master = Master(workers, W0)
        self._server = ServerThread(self.master, "127.0.0.1:0", options)
        self.address = f"127.0.0.1:{self._server.port}"
        self.target = f"grpc://{self.address}"
        self.client = RawClient(self.address)

    def stop(self) -> None:
        self.client.close()
        self._server.stop()


class HeldService(Service):
    """Over fake workers: stages with a node called "held" wait until they are told."""

    def __init__(self, options: ServiceOptions | None = None) -> None:
        self.w0 = FakeWorker(W0, threads=True)
        self.w0.held = {"held"}
        super().__init__([self.w0], options)

    def calls(self) -> list[str]:
        """Returns the calls of the master to its worker, in order."""
        return [call[0] for call in self.w0.calls]


@pytest.fixture
def service() -> Iterator[Service]:
    """Real runtimes: a parameter server and two workers."""
    service = Service([ThreadWorker(task) for task in (PS, W0, W1)])
    yield service
    service.stop()


@pytest.fixture
def held() -> Iterator[HeldService]:
    service = HeldService()
    yield service
    service.stop()
