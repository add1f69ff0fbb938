"""``tf.train.MonitoredSession``: a session with hooks that recovers when a task was lost."""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowray.client.framework.graph import Graph, GraphKeys, get_default_graph
from flowray.client.ops import summary_ops
from flowray.client.ops.array_ops import concat
from flowray.client.ops.control_flow_ops import group
from flowray.client.platform import logging
from flowray.client.session.session import Session
from flowray.client.tf_export import tf_export
from flowray.client.train.checkpoints.saver import get_saver_or_default
from flowray.client.train.sessions import queue_runner
from flowray.client.train.sessions.basic_session_run_hooks import (
    CheckpointSaverHook,
    StepCounterHook,
    SummarySaverHook,
)
from flowray.client.train.sessions.coordinator import Coordinator
from flowray.client.train.sessions.session_manager import SessionManager
from flowray.client.train.sessions.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from flowray.client.variables.variables import (
    global_variables,
    global_variables_initializer,
    local_variables_initializer,
    report_uninitialized_variables,
)
from flowray.proto import errors
from flowray.proto.messages import config_pb2

USE_DEFAULT: Any = object()

_LOST = (errors.AbortedError, errors.UnavailableError)
"""A task was lost, with its state: the session cannot go on, a new one can."""


@tf_export("train.Scaffold")
class Scaffold:
    """The ops that a training program needs besides its own: initialization, saving, summaries.

    The attributes are named as the arguments. ``finalize`` finds those that are not given in the
    graph's collections, or makes them.

    Args:
        init_op: initializes the global variables.
        init_feed_dict: the feeds of ``init_op``.
        init_fn: called with (scaffold, session) after ``init_op``.
        ready_op: gives the names of variables that have no value.
        ready_for_local_init_op: the same for what ``local_init_op`` needs.
        local_init_op: initializes local variables and tables.
        summary_op: the merged summaries.
        saver: a Saver.
        copy_from_scaffold: another one, with values for those that are not given here.
        local_init_feed_dict: the feeds of ``local_init_op``.
    """

    def __init__(
        self,
        init_op: Any = None,
        init_feed_dict: Mapping[Any, Any] | None = None,
        init_fn: Callable[[Scaffold, Session], Any] | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        local_init_op: Any = None,
        summary_op: Any = None,
        saver: Any = None,
        copy_from_scaffold: Scaffold | None = None,
        local_init_feed_dict: Mapping[Any, Any] | None = None,
    ) -> None:
        if copy_from_scaffold is not None and not isinstance(copy_from_scaffold, Scaffold):
            raise TypeError("copy_from_scaffold is not a Scaffold instance.")

        def chosen(name: str, value: Any) -> Any:
            return getattr(copy_from_scaffold, name, None) if value is None else value

        self._user_init_fn = chosen("_user_init_fn", init_fn)
        self.init_op = chosen("init_op", init_op)
        self.init_feed_dict = chosen("init_feed_dict", init_feed_dict)
        self.ready_op = chosen("ready_op", ready_op)
        self.ready_for_local_init_op = chosen("ready_for_local_init_op", ready_for_local_init_op)
        self.local_init_op = chosen("local_init_op", local_init_op)
        self.local_init_feed_dict = chosen("local_init_feed_dict", local_init_feed_dict)
        self.summary_op = chosen("summary_op", summary_op)
        self.saver = chosen("saver", saver)

    @property
    def init_fn(self) -> Callable[[Session], Any] | None:
        """A function of the session that runs after ``init_op``; None if there is none."""
        if self._user_init_fn is None:
            return None
        return lambda session: self._user_init_fn(self, session)

    def finalize(self) -> Scaffold:
        """Makes the missing attributes, and finalizes the graph."""
        get = Scaffold.get_or_default
        if self.init_op is None:
            self.init_op = get(
                "init_op",
                GraphKeys.INIT_OP,
                lambda: group(global_variables_initializer(), *_initializers(GraphKeys.RESOURCES)),
            )
        if self.ready_op is None:
            self.ready_op = get(
                "ready_op",
                GraphKeys.READY_OP,
                lambda: concat([report_uninitialized_variables()], 0),
            )
        if self.ready_for_local_init_op is None:
            self.ready_for_local_init_op = get(
                "ready_for_local_init_op",
                GraphKeys.READY_FOR_LOCAL_INIT_OP,
                lambda: concat([report_uninitialized_variables(global_variables())], 0),
            )
        if self.local_init_op is None:
            self.local_init_op = get(
                "local_init_op", GraphKeys.LOCAL_INIT_OP, Scaffold.default_local_init_op
            )
        if self.summary_op is None:
            self.summary_op = get("summary_op", GraphKeys.SUMMARY_OP, summary_ops.merge_all)
        if self.saver is None:
            self.saver = get_saver_or_default()
        self.saver.build()
        get_default_graph().finalize()
        logging.info("Graph was finalized.")
        return self

    @staticmethod
    def get_or_default(
        arg_name: str, collection_key: str, default_constructor: Callable[[], Any]
    ) -> Any:
        """Returns the one item of a collection; made, and put there, if it is empty.

        Raises:
            RuntimeError: the collection has several.
        """
        found = get_default_graph().get_collection(collection_key)
        if len(found) > 1:
            raise RuntimeError(
                f"More than one item in the collection '{collection_key}'. Please indicate which "
                f"one to use by passing it to the tf.Scaffold constructor as:  tf.Scaffold("
                f"{arg_name}=item to use)"
            )
        if found:
            return found[0]
        made = default_constructor()
        if made is not None:
            get_default_graph().add_to_collection(collection_key, made)
        return made

    @staticmethod
    def default_local_init_op() -> Any:
        """Initializes local variables, tables and local resources."""
        return group(
            local_variables_initializer(),
            *get_default_graph().get_collection(GraphKeys.TABLE_INITIALIZERS),
            *_initializers(GraphKeys.LOCAL_RESOURCES),
        )


def _initializers(collection: str) -> list[Any]:
    return [resource.create for resource in get_default_graph().get_collection(collection)]


# Making sessions ----------------------------------------------------------------------------------


@tf_export("train.SessionCreator")
class SessionCreator(abc.ABC):
    """Makes sessions: the first one, and those that replace lost ones."""

    @abc.abstractmethod
    def create_session(self) -> Session:
        """Creates a session that is ready to run."""
        ...


@tf_export("train.ChiefSessionCreator")
class ChiefSessionCreator(SessionCreator):
    """For the process that restores or initializes the model."""

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: config_pb2.ConfigProto | None = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | None = None,
    ) -> None:
        self._scaffold = scaffold or Scaffold()
        self._master = master
        self._config = config
        self._checkpoint_dir = checkpoint_dir
        self._checkpoint_file = checkpoint_filename_with_path
        self._manager: SessionManager | None = None

    def create_session(self) -> Session:
        scaffold = self._scaffold.finalize()
        return _manager_of(self, scaffold, get_default_graph()).prepare_session(
            self._master,
            saver=scaffold.saver,
            checkpoint_dir=self._checkpoint_dir,
            checkpoint_filename_with_path=self._checkpoint_file,
            config=self._config,
            init_op=scaffold.init_op,
            init_feed_dict=scaffold.init_feed_dict,
            init_fn=scaffold.init_fn,
        )


@tf_export("train.WorkerSessionCreator")
class WorkerSessionCreator(SessionCreator):
    """For processes that wait until the chief has made the model ready."""

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: config_pb2.ConfigProto | None = None,
        max_wait_secs: float = 30 * 60,
    ) -> None:
        self._scaffold = scaffold or Scaffold()
        self._master = master
        self._config = config
        self._max_wait_secs = max_wait_secs
        self._manager: SessionManager | None = None

    def create_session(self) -> Session:
        scaffold = self._scaffold.finalize()
        return _manager_of(self, scaffold, get_default_graph()).wait_for_session(
            self._master, config=self._config, max_wait_secs=self._max_wait_secs
        )


def _manager_of(
    creator: ChiefSessionCreator | WorkerSessionCreator, scaffold: Scaffold, graph: Graph
) -> SessionManager:
    if creator._manager is None:
        creator._manager = SessionManager(
            local_init_op=scaffold.local_init_op,
            local_init_feed_dict=scaffold.local_init_feed_dict,
            ready_op=scaffold.ready_op,
            ready_for_local_init_op=scaffold.ready_for_local_init_op,
            graph=graph,
        )
    return creator._manager


# The session --------------------------------------------------------------------------------------


class _MonitoredSession:
    """A session, its hooks and its coordinator; see ``MonitoredSession``."""

    def __init__(
        self,
        session_creator: SessionCreator | None,
        hooks: Sequence[SessionRunHook] | None,
        should_recover: bool,
        stop_grace_period_secs: float = 120,
    ) -> None:
        self._graph_was_finalized = get_default_graph().finalized
        self._hooks = list(hooks or ())
        for hook in self._hooks:
            hook.begin()
        self._creator = session_creator or ChiefSessionCreator()
        self._should_recover = should_recover
        self._stop_grace_period_secs = stop_grace_period_secs
        self._stop_requested = False
        self._closed = False
        self._session: Session | None = None
        self._coordinator: Coordinator | None = None
        self._create()

    # Making and losing sessions

    def _create(self) -> None:
        while True:
            try:
                self._session = self._creator.create_session()
                self._coordinator = Coordinator()
                if get_default_graph().get_collection(GraphKeys.QUEUE_RUNNERS):
                    queue_runner.start_queue_runners(self._session, self._coordinator)
                for hook in self._hooks:
                    hook.after_create_session(self._session, self._coordinator)
                self._stop_requested = False
                return
            except BaseException as error:
                self._drop_session()  # nobody gets this object, and so nobody else can
                if not (isinstance(error, _LOST) and self._should_recover):
                    raise
                self._tell_lost("while a session was created", error)

    def _tell_lost(self, when: str, error: errors.OpError) -> None:
        logging.info(
            "An error was raised %s. This may be due to a preemption in a connected worker or "
            "parameter server. A new session will be created. Error: %s",
            when,
            error,
        )

    def _drop_session(self) -> None:
        """Closes a session that is of no use any more."""
        session, self._session = self._session, None
        coordinator, self._coordinator = self._coordinator, None
        if coordinator is not None:
            coordinator.request_stop()
        if session is not None:
            try:
                session.close()
            except errors.OpError as error:
                logging.info("Closing a lost session: %s", error)
        if coordinator is not None:
            try:
                coordinator.join(stop_grace_period_secs=self._stop_grace_period_secs)
            except Exception as error:
                logging.info("A thread of a lost session: %s", error)

    # Running

    @property
    def graph(self) -> Graph | None:
        """The graph that was launched; None once the session is closed."""
        return None if self._session is None else self._session.graph

    def run(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: config_pb2.RunOptions | None = None,
        run_metadata: config_pb2.RunMetadata | None = None,
    ) -> Any:
        """Runs as ``Session.run``, with the hooks before and after it.

        A lost task, in a session that recovers, makes it run again in a new session.
        """
        return self._recovering(
            "while a step ran",
            lambda _: self._run_once(fetches, feed_dict, options, run_metadata),
        )

    def _recovering(self, when: str, use: Callable[[Session], Any]) -> Any:
        """Calls ``use(session)``, again with a new session if a task was lost."""
        while True:
            if self._session is None:
                if self._closed:
                    raise RuntimeError("Run called even after should_stop requested.")
                self._create()
            assert self._session is not None
            try:
                return use(self._session)
            except _LOST as error:
                if not self._should_recover:
                    raise
                self._tell_lost(when, error)
                self._drop_session()

    def _run_once(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: config_pb2.RunOptions | None = None,
        run_metadata: config_pb2.RunMetadata | None = None,
    ) -> Any:
        if self._stop_requested:
            raise RuntimeError("Run called even after should_stop requested.")
        session, coordinator = self._session, self._coordinator
        assert session is not None
        assert coordinator is not None
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict, options), session)
        feeds = dict(feed_dict or {})
        merged = config_pb2.RunOptions()
        if options is not None:
            merged.CopyFrom(options)
        asked: dict[Any, Any] = {"caller": fetches}
        wants_metadata = run_metadata is not None or options is not None
        for hook in self._hooks:
            request = hook.before_run(context)
            if request is None:
                continue
            if request.fetches is not None:
                asked[hook] = request.fetches
            for key, value in (request.feed_dict or {}).items():
                if key in feeds:
                    raise RuntimeError("Same tensor is fed by two hooks.")
                feeds[key] = value
            if request.options is not None:
                _merge_options(merged, request.options)
                wants_metadata = True
        metadata = run_metadata
        if metadata is None and wants_metadata:
            metadata = config_pb2.RunMetadata()
        try:
            results = session.run(
                asked,
                feed_dict=feeds or None,
                options=merged if wants_metadata else None,
                run_metadata=metadata,
            )
        except _LOST:
            raise
        except Exception:
            # A thread's exception is the cause of this run's.
            coordinator.raise_requested_exception()
            raise
        for hook in self._hooks:
            hook.after_run(context, SessionRunValues(results.get(hook), merged, metadata))
        if context.stop_requested or coordinator.should_stop():
            self._stop_requested = True
        return results["caller"]

    def run_step_fn(self, step_fn: Callable[[Any], Any]) -> Any:
        """Calls ``step_fn(step_context)``, which runs what it likes.

        ``step_context.session.run`` calls no hooks, ``step_context.run_with_hooks`` does once.
        """
        return self._recovering(
            "in a step function",
            lambda session: step_fn(MonitoredSession.StepContext(session, self._run_once)),
        )

    def should_stop(self) -> bool:
        """Tells whether a hook or the coordinator asked to stop, or the session is closed."""
        if self._closed:
            return True
        if self._coordinator is not None and self._coordinator.should_stop():
            return True
        return self._stop_requested

    # Ending

    def close(self) -> None:
        """Ends the session; hooks' ``end`` are called."""
        self._close(failed=False)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, exception_type: Any, exception_value: Any, traceback: Any) -> bool:
        ended = exception_type is not None and issubclass(
            exception_type, errors.OutOfRangeError | StopIteration
        )
        self._close(failed=exception_type is not None and not ended)
        # The end of the input is the normal end of training.
        return bool(ended)

    def _close(self, failed: bool) -> None:
        session, coordinator = self._session, self._coordinator
        try:
            if not failed and session is not None:
                for hook in self._hooks:
                    hook.end(session)
        finally:
            self._closed = True
            self._session = self._coordinator = None
            self._stop_threads(session, coordinator)
            if not self._graph_was_finalized:
                get_default_graph()._unsafe_unfinalize()

    def _stop_threads(self, session: Session | None, coordinator: Coordinator | None) -> None:
        if coordinator is not None:
            coordinator.request_stop()
        if session is not None:
            try:
                session.close()
            except _LOST as error:
                logging.info("Closing a session whose cluster is gone: %s", error)
        if coordinator is not None:
            in_error = sys.exc_info()[0] is not None
            try:
                coordinator.join(
                    stop_grace_period_secs=self._stop_grace_period_secs,
                    ignore_live_threads=True,
                )
            except errors.CancelledError:
                # A queue's thread that was waiting when the session closed.
                logging.info("A thread was cancelled when the session closed.")
            except Exception:
                if not in_error:
                    raise


def _merge_options(merged: config_pb2.RunOptions, added: config_pb2.RunOptions) -> None:
    merged.trace_level = max(merged.trace_level, added.trace_level)
    merged.timeout_in_ms = max(merged.timeout_in_ms, added.timeout_in_ms)
    merged.inter_op_thread_pool = max(merged.inter_op_thread_pool, added.inter_op_thread_pool)
    merged.output_partition_graphs |= added.output_partition_graphs


@tf_export("train.MonitoredSession")
class MonitoredSession(_MonitoredSession):
    """A session that is ready to train, calls hooks, and recovers from lost tasks.

    On entry the hooks begin, the graph is finalized and the model restored or initialized. When a
    run fails because a task was lost, a new session takes its place, from the last checkpoint. The
    end of the input (``OutOfRangeError``) ends a ``with`` block normally.

    Args:
        session_creator: makes sessions; a ``ChiefSessionCreator()`` if None.
        hooks: ``SessionRunHook`` objects.
        stop_grace_period_secs: how long threads get to stop at the end.
    """

    def __init__(
        self,
        session_creator: SessionCreator | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
        stop_grace_period_secs: float = 120,
    ) -> None:
        super().__init__(session_creator, hooks, True, stop_grace_period_secs)

    class StepContext:
        """The argument that a function gets from ``run_step_fn``."""

        def __init__(self, session: Any, run_with_hooks_fn: Callable[..., Any]) -> None:
            self._session = session
            self._run_with_hooks = run_with_hooks_fn

        @property
        def session(self) -> Any:
            """The session that calls no hooks."""
            return self._session

        def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
            """Runs once with the hooks."""
            return self._run_with_hooks(*args, **kwargs)

        def request_stop(self) -> None:
            """Ends the step function, and with it the loop around it."""
            raise StopIteration("step_fn has requested the iterations to stop.")


@tf_export("train.SingularMonitoredSession")
class SingularMonitoredSession(_MonitoredSession):
    """As ``MonitoredSession``, but a lost task is the program's end; it has a raw session."""

    def __init__(
        self,
        hooks: Sequence[SessionRunHook] | None = None,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: config_pb2.ConfigProto | None = None,
        checkpoint_dir: str | None = None,
        stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: str | None = None,
    ) -> None:
        creator = ChiefSessionCreator(
            scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path
        )
        super().__init__(creator, hooks, False, stop_grace_period_secs)

    def raw_session(self) -> Session | None:
        """Returns the session that calls no hooks."""
        return self._session


@tf_export("train.MonitoredTrainingSession")
def MonitoredTrainingSession(
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: str | None = None,
    scaffold: Scaffold | None = None,
    hooks: Sequence[SessionRunHook] | None = None,
    chief_only_hooks: Sequence[SessionRunHook] | None = None,
    save_checkpoint_secs: Any = USE_DEFAULT,
    save_summaries_steps: Any = USE_DEFAULT,
    save_summaries_secs: Any = USE_DEFAULT,
    config: config_pb2.ConfigProto | None = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float = 7200,
    save_checkpoint_steps: Any = USE_DEFAULT,
    summary_dir: str | None = None,
) -> MonitoredSession:
    """Makes a ``MonitoredSession`` for training.

    The chief saves checkpoints (every 600 seconds) and summaries (every 100 steps) if there is a
    ``checkpoint_dir``, and restores the last one; workers wait for it.

    Args:
        save_checkpoint_secs, save_checkpoint_steps: how often to save; 0 and None for never.
        save_summaries_steps, save_summaries_secs: how often to write summaries, likewise.
        log_step_count_steps: how often to log the steps per second.
        max_wait_secs: how long a worker waits for the chief.
        summary_dir: where summaries go; ``checkpoint_dir`` if None.
    """
    if save_summaries_steps is USE_DEFAULT and save_summaries_secs is USE_DEFAULT:
        save_summaries_steps, save_summaries_secs = 100, None
    save_summaries_secs = None if save_summaries_secs is USE_DEFAULT else save_summaries_secs
    save_summaries_steps = None if save_summaries_steps is USE_DEFAULT else save_summaries_steps
    if save_checkpoint_steps is USE_DEFAULT and save_checkpoint_secs is USE_DEFAULT:
        save_checkpoint_steps, save_checkpoint_secs = None, 600
    save_checkpoint_secs = None if save_checkpoint_secs is USE_DEFAULT else save_checkpoint_secs
    save_checkpoint_steps = None if save_checkpoint_steps is USE_DEFAULT else save_checkpoint_steps
    scaffold = scaffold or Scaffold()
    all_hooks: list[SessionRunHook] = []
    creator: SessionCreator
    if not is_chief:
        creator = WorkerSessionCreator(scaffold, master, config, max_wait_secs)
        return MonitoredSession(creator, hooks, stop_grace_period_secs)
    all_hooks.extend(chief_only_hooks or ())
    creator = ChiefSessionCreator(scaffold, master, config, checkpoint_dir)
    summary_dir = summary_dir or checkpoint_dir
    if summary_dir:
        if log_step_count_steps and log_step_count_steps > 0:
            all_hooks.append(
                StepCounterHook(output_dir=summary_dir, every_n_steps=log_step_count_steps)
            )
        if (save_summaries_steps and save_summaries_steps > 0) or (
            save_summaries_secs and save_summaries_secs > 0
        ):
            all_hooks.append(
                SummarySaverHook(
                    scaffold=scaffold,
                    save_steps=save_summaries_steps,
                    save_secs=save_summaries_secs,
                    output_dir=summary_dir,
                )
            )
    if checkpoint_dir and (
        (save_checkpoint_secs and save_checkpoint_secs > 0)
        or (save_checkpoint_steps and save_checkpoint_steps > 0)
    ):
        all_hooks.append(
            CheckpointSaverHook(
                checkpoint_dir,
                save_steps=save_checkpoint_steps,
                save_secs=save_checkpoint_secs,
                scaffold=scaffold,
            )
        )
    all_hooks.extend(hooks or ())
    return MonitoredSession(creator, all_hooks, stop_grace_period_secs)
