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
    """The additions of a hook to a run: fetches (in any structure), feeds, options."""

    fetches: Any = None
    feed_dict: Any = None
    options: config_pb2.RunOptions | None = None


@tf_export("estimator.SessionRunValues", "train.SessionRunValues")
class SessionRunValues(NamedTuple):
    """The results of a run for a hook: the values of its fetches, in their structure."""

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
        """The fetches and feeds of the user's call, without those of hooks."""
        return self._original_args

    @property
    def session(self) -> Session:
        """The session that runs; runs of it call no hooks."""
        return self._session

    @property
    def stop_requested(self) -> bool:
        """True if a hook asked to stop."""
        return self._stop_requested

    def request_stop(self) -> None:
        """Makes ``MonitoredSession.should_stop()`` true from now on."""
        self._stop_requested = True


@tf_export("estimator.SessionRunHook", "train.SessionRunHook")
class SessionRunHook:
    """The base class of hooks; every method here does nothing."""

    def begin(self) -> None:
        """Is called once before the session is made; the last chance to change the graph."""

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Is called when a session has been made, also one that replaces a lost one."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Is called before each run; the returned fetches are run as well."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Is called after each run that did not fail."""

    def end(self, session: Session) -> None:
        """Is called at the end, unless that is due to an error; ``session`` can still run."""
