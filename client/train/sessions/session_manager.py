"""``tf.train.SessionManager``: sessions whose variables are restored, initialized or waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flowray.client.framework.graph import Graph, Operation, get_default_graph
from flowray.client.platform import logging
from flowray.client.session.session import Session
from flowray.client.tf_export import tf_export
from flowray.client.train.checkpoints.checkpoint_management import get_checkpoint_state
from flowray.proto import errors
from flowray.proto.messages import config_pb2


@tf_export("train.SessionManager")
class SessionManager:
    """Makes sessions that are ready to train.

    Args:
        local_init_op: initializes what belongs to this process only.
        ready_op: gives the names of variables that have no value yet; none means ready.
        ready_for_local_init_op: the same for what ``local_init_op`` needs.
        graph: the graph; the default one if None.
        recovery_wait_secs: how long to wait between looking for a checkpoint, or whether a model
            is ready.
        local_init_run_options, local_init_feed_dict: for running ``local_init_op``.

    Raises:
        ValueError: there is a ``ready_for_local_init_op`` without a ``local_init_op``.
    """

    def __init__(
        self,
        local_init_op: Operation | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        graph: Graph | None = None,
        recovery_wait_secs: float = 30,
        local_init_run_options: config_pb2.RunOptions | None = None,
        local_init_feed_dict: Mapping[Any, Any] | None = None,
    ) -> None:
        if ready_for_local_init_op is not None and local_init_op is None:
            raise ValueError(
                "If you pass a ready_for_local_init_op you must also pass a local_init_op , "
                f"ready_for_local_init_op [{ready_for_local_init_op}]"
            )
        self._local_init_op = local_init_op
        self._ready_op = ready_op
        self._ready_for_local_init_op = ready_for_local_init_op
        self._graph = graph or get_default_graph()
        self._recovery_wait_secs = recovery_wait_secs
        self._local_init_run_options = local_init_run_options
        self._local_init_feed_dict = local_init_feed_dict

    def prepare_session(
        self,
        master: str,
        init_op: Any = None,
        saver: Any = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | None = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        config: config_pb2.ConfigProto | None = None,
        init_feed_dict: Mapping[Any, Any] | None = None,
        init_fn: Callable[[Session], Any] | None = None,
    ) -> Session:
        """Makes a session with a model restored from the last checkpoint, or initialized.

        A good start takes three steps, TensorFlow's takes five: what must hold before is only
        looked at where something failed.

        Raises:
            RuntimeError: nothing says how to initialize, or the model is not ready afterwards.
            ValueError: both kinds of checkpoint location are given.
        """
        session, is_loaded = self._restored(
            master,
            saver,
            checkpoint_dir,
            checkpoint_filename_with_path,
            wait_for_checkpoint,
            max_wait_secs,
            config,
        )
        try:
            if not is_loaded:
                if init_op is None and init_fn is None and self._local_init_op is None:
                    raise RuntimeError(
                        "Model is not initialized and no init_op or init_fn or local_init_op was "
                        "given"
                    )
                if init_op is not None:
                    session.run(init_op, feed_dict=init_feed_dict)
                if init_fn is not None:
                    init_fn(session)
            problem = self._run_local_init(session, check_first=False)
            if problem is not None:
                raise RuntimeError(
                    "Init operations did not make model ready for local_init.  Init op: "
                    f"{_name(init_op)}, init fn: {init_fn}, error: {problem}"
                )
            problem = _not_ready(self._ready_op, session, "Model not ready")
            if problem is not None:
                raise RuntimeError(
                    "Init operations did not make model ready.  Init op: "
                    f"{_name(init_op)}, init fn: {init_fn}, local_init_op: "
                    f"{_name(self._local_init_op)}, error: {problem}"
                )
        except BaseException:
            session.close()
            raise
        return session

    def recover_session(
        self,
        master: str,
        saver: Any = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | None = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        config: config_pb2.ConfigProto | None = None,
    ) -> tuple[Session, bool]:
        """Makes a session, restored if there is a checkpoint; tells if its model is ready."""
        session, is_loaded = self._restored(
            master,
            saver,
            checkpoint_dir,
            checkpoint_filename_with_path,
            wait_for_checkpoint,
            max_wait_secs,
            config,
        )
        problem = self._run_local_init(session, check_first=True)
        if problem is not None:
            logging.info("Restoring model did not make it ready for local initialization.")
            return session, False
        problem = _not_ready(self._ready_op, session, "Model not ready")
        if problem is not None:
            logging.info("Restoring model did not make it ready: %s", problem)
            return session, False
        return session, is_loaded

    def wait_for_session(
        self,
        master: str,
        config: config_pb2.ConfigProto | None = None,
        max_wait_secs: float = float("inf"),
    ) -> Session:
        """Makes a session of a model that another process initializes.

        Raises:
            DeadlineExceededError: it is not ready after ``max_wait_secs``.
        """
        deadline = time.monotonic() + max_wait_secs
        while True:
            session = Session(master, graph=self._graph, config=config)
            problem = self._run_local_init(session, check_first=True)
            if problem is None:
                problem = _not_ready(self._ready_op, session, "Model not ready")
            if problem is None:
                return session
            session.close()
            left = deadline - time.monotonic()
            if left < self._recovery_wait_secs:
                raise errors.DeadlineExceededError(
                    None, None, f"Session was not ready after waiting {max_wait_secs} secs."
                )
            logging.info("Waiting for model to be ready.  Problem: %s", problem)
            time.sleep(self._recovery_wait_secs)

    # Parts ----------------------------------------------------------------------------------

    def _restored(
        self,
        master: str,
        saver: Any,
        checkpoint_dir: str | None,
        checkpoint_file: str | None,
        wait_for_checkpoint: bool,
        max_wait_secs: float,
        config: config_pb2.ConfigProto | None,
    ) -> tuple[Session, bool]:
        if checkpoint_dir and checkpoint_file:
            raise ValueError(
                "Can not provide both checkpoint_dir and checkpoint_filename_with_path."
            )
        session = Session(master, graph=self._graph, config=config)
        if not saver or not (checkpoint_dir or checkpoint_file):
            return session, False
        if checkpoint_file:
            saver.restore(session, checkpoint_file)
            return session, True
        assert checkpoint_dir is not None
        waited = 0.0
        state = get_checkpoint_state(checkpoint_dir)
        while not (state and state.model_checkpoint_path):
            if not wait_for_checkpoint or waited >= max_wait_secs:
                return session, False
            logging.info("Waiting for checkpoint to be available.")
            time.sleep(self._recovery_wait_secs)
            waited += self._recovery_wait_secs
            state = get_checkpoint_state(checkpoint_dir)
        saver.restore(session, state.model_checkpoint_path)
        saver.recover_last_checkpoints(state.all_model_checkpoint_paths)
        return session, True

    def _run_local_init(self, session: Session, check_first: bool) -> str | None:
        """Runs the local initialization; what keeps it from running, if something does."""
        if self._local_init_op is None:
            return None
        if check_first:
            problem = self._not_ready_for_local_init(session)
            if problem is not None:
                return problem
        logging.info("Running local_init_op.")
        try:
            session.run(
                self._local_init_op,
                feed_dict=self._local_init_feed_dict,
                options=self._local_init_run_options,
            )
        except errors.FailedPreconditionError:
            problem = self._not_ready_for_local_init(session)
            if problem is None:
                raise
            return problem
        logging.info("Done running local_init_op.")
        return None

    def _not_ready_for_local_init(self, session: Session) -> str | None:
        return _not_ready(self._ready_for_local_init_op, session, "Model not ready for local init")


def _not_ready(op: Any, session: Session, what: str) -> str | None:
    """Returns what is missing, as ``op`` tells; None if nothing is."""
    if op is None:
        return None
    try:
        missing = session.run(op)
    except errors.FailedPreconditionError as error:
        if "uninitialized" not in str(error):
            logging.warning("%s : error [%s]", what, error)
            raise
        return str(error)
    if missing is None or np.asarray(missing).dtype == np.int32 or np.size(missing) == 0:
        return None
    names = ", ".join(name.decode() for name in np.asarray(missing).reshape(-1))
    return f"Variables not initialized: {names}"


def _name(op: Any) -> str | None:
    return None if op is None else str(getattr(op, "name", op))
