"""``Session()`` without a target: master and worker in this process, neither Ray nor gRPC.

Each session has a runtime of its own, so that, as in TensorFlow, sessions without a target share no
variables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from flowray.master.master import Master
from flowray.master.worker_api import StageResult
from flowray.proto import errors
from flowray.proto.messages import config_pb2, graph_pb2
from flowray.proto.wire.signature import RunSignature
from flowray.proto.wire.stage import Stage
from flowray.worker.runtime import Runtime, RuntimeOptions

_log = logging.getLogger(__name__)

TASK = "/job:localhost/replica:0/task:0"


class InProcessWorker:
    """A ``worker_api.Worker`` that calls its runtime in the caller's thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.task = runtime.task
        self.devices: Sequence[config_pb2.DeviceAttributes] = runtime.devices()

    def register(self, stage: Stage) -> None:
        """Loads a stage; see ``Worker.register``."""
        self._runtime.register(stage)

    def run(
        self,
        handle: str,
        step_id: int,
        inputs: Sequence[Any],
        done: Callable[[StageResult], None],
        *,
        trace: bool = False,
    ) -> None:
        """Runs a stage in the caller's thread; ``done`` is called before this returns."""
        try:
            outputs, stats = self._runtime.run(handle, step_id, inputs, trace=trace)
        except errors.OpError as error:
            result = StageResult(error=error)
        except BaseException:  # KeyboardInterrupt: the step must come to its end all the same
            done(StageResult(error=errors.cancelled("Step was cancelled.")))
            raise
        else:
            result = StageResult(outputs, step_stats=stats)
        done(result)

    def cancel(self, step_id: int) -> None:
        """Cancels the runs of a step; see ``Worker.cancel``."""
        self._runtime.cancel(step_id)

    def end_step(self, step_id: int) -> None:
        """Drops what the runtime holds for a step."""
        self._runtime.end_step(step_id)

    def end_session(self, session: str, handles: Sequence[str]) -> None:
        """Drops the stages and the private state of a session."""
        self._runtime.end_session(session, handles)

    def reset(self, containers: Sequence[str]) -> None:
        """Clears resource containers; with none named, the default one."""
        self._runtime.reset(containers)


class InProcessTransport:
    """A ``client.transport.Transport`` onto a master in this process."""

    def __init__(
        self, config: config_pb2.ConfigProto, options: RuntimeOptions | None = None
    ) -> None:
        if options is None:
            gpus = config.device_count.get("GPU")
            options = RuntimeOptions(gpus=gpus)
        worker = InProcessWorker(Runtime(TASK, options))
        self._master = Master([worker])

    def create_session(self, graph_def: graph_pb2.GraphDef, config: config_pb2.ConfigProto) -> str:
        """Creates a session; returns its handle."""
        return self._master.create_session(graph_def, config)

    def extend_session(self, handle: str, graph_def: graph_pb2.GraphDef, version: int) -> int:
        """Adds nodes to a session's graph; returns its new version."""
        return self._master.extend_session(handle, graph_def, version)

    def prepare_run(self, handle: str, signature: RunSignature) -> int:
        """Prepares a run of a session; returns the run's handle."""
        return self._master.prepare_run(handle, signature)

    def run(
        self,
        handle: str,
        run_handle: int,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None,
    ) -> tuple[Sequence[Any], config_pb2.RunMetadata | None]:
        """Runs a step of a prepared run; returns the values of its fetches and the metadata."""
        result = self._master.run(handle, run_handle, values, options)
        return result.tensors, result.metadata

    def list_devices(self, handle: str) -> Sequence[config_pb2.DeviceAttributes]:
        """Returns the devices of a session."""
        return self._master.list_devices(handle)

    def close_session(self, handle: str) -> None:
        """Closes a session; AbortedError if there is no such session."""
        self._master.close_session(handle)

    def reset(self, containers: Sequence[str]) -> None:
        """Clears resource containers; with none named, the default one."""
        self._master.reset(containers)

    def close(self) -> None:
        """Does nothing: the runtime ends with the last reference to it."""

    def close_all(self, seconds: float) -> None:
        """Closes the sessions that are open. That only asks their steps to stop, and is quick."""
        for handle in list(self._master.sessions):
            try:
                self._master.close_session(handle)
            except errors.OpError as error:
                _log.debug("a forgotten session: %s", error.message)
