"""The interface between the master's sessions and the workers that run stages.

``worker_pool.py`` implements it over Ray; an in-process session over a plain worker runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flowray.proto import errors
from flowray.proto.messages import config_pb2
from flowray.proto.wire.stage import Stage


@dataclass(slots=True)  # not frozen: that triples the time to make one, which every stage does
class StageResult:
    """The result of a run of a stage: its outputs in ``Stage.outputs`` order, or an error."""

    outputs: Sequence[Any] = ()
    """Numpy arrays, or DEAD for those of a branch that was not taken."""
    error: errors.OpError | None = None
    step_stats: Sequence[config_pb2.DeviceStepStats] = ()


class Worker(Protocol):
    """The master's interface to one task, ``/job:worker/replica:0/task:1``.

    No method blocks on the task's work: results come to the callback, from any thread.
    """

    @property
    def task(self) -> str:
        """The task's name, ``/job:J/replica:0/task:N``."""

    @property
    def devices(self) -> Sequence[config_pb2.DeviceAttributes]:
        """Its devices, with full names."""

    def register(self, stage: Stage) -> None:
        """Registers ``stage``, before any ``run`` of it starts. ``run`` reports its errors."""

    def run(
        self,
        handle: str,
        step_id: int,
        inputs: Sequence[Any],
        done: Callable[[StageResult], None],
        *,
        trace: bool = False,
    ) -> None:
        """Runs a registered stage. ``done`` is called once, possibly before ``run`` returns.

        A dead task gives UnavailableError that names it (within 2 s of its death).
        """

    def cancel(self, step_id: int) -> None:
        """Stops the runs of a step on the task; they end with CancelledError.

        It may overtake a ``run`` of the step that another thread is just sending: that one ends
        likewise, if it comes before ``end_step``.
        """

    def end_step(self, step_id: int) -> None:
        """Drops what the task still holds for a step: its resources, and that it was cancelled.

        Called once for every task of every step, when nothing of it runs there any more; so it
        should cost no message of its own where there is nothing to drop.
        """

    def end_session(self, session: str, handles: Sequence[str]) -> None:
        """Drops the stages and the private state of a session."""

    def reset(self, containers: Sequence[str]) -> None:
        """Clears resource containers; with none named, the default one (the job's name)."""
