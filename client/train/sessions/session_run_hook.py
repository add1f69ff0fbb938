"""Hooks: what a ``MonitoredSession`` calls before and after every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flowray.client.tf_export import tf_export

if TYPE_CHECKING:
    from flowray.client.session.session import Session
    from flowray.client.train.sessions.coordinator import Coordinator
    from flowray.proto.messages import config_pb2


@tf_export("estimator.SessionRunArgs", "train.SessionRunArgs")
class SessionRunArgs(NamedTuple):
    """What a hook adds to a run: fetches (in any structure), feeds, options."""

    fetches: Any = None
    feed_dict: Any = None
    options: config_pb2.RunOptions | None = None


@tf_export("estimator.SessionRunValues", "train.SessionRunValues")
class SessionRunValues(NamedTuple):
    """What a run gave a hook: the values of its fetches, in their structure."""

    results: Any
    options: config_pb2.RunOptions | None = None
    run_metadata: config_pb2.RunMetadata | None = None


@tf_export("estimator.SessionRunContext", "train.SessionRunContext")
class SessionRunContext:
    """The run that a hook is called for."""

    def __init__(self, original_args: SessionRunArgs, session: Session) -> None:
        self._original_args = original_args
        self._session = session
        self._stop_requested = False

    @property
    def original_args(self) -> SessionRunArgs:
        """What the user's call asked for, without what hooks add."""
        return self._original_args

    @property
    def session(self) -> Session:
        """The session that runs; runs of it call no hooks."""
        return self._session

    @property
    def stop_requested(self) -> bool:
        return self._stop_requested

    def request_stop(self) -> None:
        """Makes ``MonitoredSession.should_stop()`` true from now on."""
        self._stop_requested = True


@tf_export("estimator.SessionRunHook", "train.SessionRunHook")
class SessionRunHook:
    """What may be overridden; every method here does nothing."""

    def begin(self) -> None:
        """Called once before the session is made; the last time that the graph can change."""

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Called when a session has been made, also one that replaces a lost one."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Called before each run; what it returns is run as well."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Called after each run that did not fail."""

    def end(self, session: Session) -> None:
        """Called at the end, unless that is due to an error; ``session`` can still run."""
