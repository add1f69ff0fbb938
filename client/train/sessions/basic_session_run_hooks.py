"""The hooks that training loops use: stopping, logging, checkpoints, summaries.

Hooks read the global step with the step that runs anyway, as it was before that step; a step of its
own reads it again only where the exact value matters (the name of a checkpoint, the end).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flowray.client.framework.graph import GraphKeys, Tensor, get_default_graph
from flowray.client.framework.graph_io import write_graph
from flowray.client.framework.meta_graph import export_scoped_meta_graph
from flowray.client.platform import logging
from flowray.client.platform.timeline import Timeline
from flowray.client.session.session import Session
from flowray.client.summary.file_writer import FileWriter, FileWriterCache
from flowray.client.tf_export import tf_export
from flowray.client.train import training_util
from flowray.client.train.sessions.coordinator import Coordinator
from flowray.client.train.sessions.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from flowray.proto.messages import config_pb2, event_pb2
from flowray.proto.messages.checkpoint_pb2 import SaverDef


@tf_export("estimator.SecondOrStepTimer", "train.SecondOrStepTimer")
class SecondOrStepTimer:
    """Says at which steps something is due: every so many steps, or seconds.

    Raises:
        ValueError: not exactly one of ``every_secs`` and ``every_steps`` is given.
    """

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None) -> None:
        if every_secs is None and every_steps is None:
            raise ValueError("Either every_secs or every_steps should be provided.")
        if every_secs is not None and every_steps is not None:
            raise ValueError("Can not provide both every_secs and every_steps.")
        self._every_secs = every_secs
        self._every_steps = every_steps
        self.reset()

    def reset(self) -> None:
        """Makes it due at once."""
        self._last_triggered_step: int | None = None
        self._last_triggered_time: float | None = None

    def should_trigger_for_step(self, step: int) -> bool:
        """Tells whether it is due at ``step``; never twice at the same one."""
        if self._last_triggered_step is None or self._last_triggered_time is None:
            return True
        if self._last_triggered_step == step:
            return False
        if self._every_secs is not None:
            return time.time() >= self._last_triggered_time + self._every_secs
        assert self._every_steps is not None
        return step >= self._last_triggered_step + self._every_steps

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """Notes that it was done at ``step``; gives the seconds and steps since the last time."""
        now = time.time()
        if self._last_triggered_step is None or self._last_triggered_time is None:
            elapsed: tuple[float | None, int | None] = (None, None)
        else:
            elapsed = (now - self._last_triggered_time, step - self._last_triggered_step)
        self._last_triggered_time = now
        self._last_triggered_step = step
        return elapsed

    def last_triggered_step(self) -> int | None:
        """Returns the step at which it was triggered last; None before."""
        return self._last_triggered_step


def _global_step_of(graph_what: str) -> Tensor:
    step = training_util._get_or_create_global_step_read()
    if step is None:
        raise RuntimeError(f"Global step should be created to use {graph_what}.")
    return step


# Stopping -----------------------------------------------------------------------------------------


@tf_export("estimator.StopAtStepHook", "train.StopAtStepHook")
class StopAtStepHook(SessionRunHook):
    """Stops after ``num_steps`` more steps, or at the global step ``last_step``.

    Raises:
        ValueError: not exactly one of them is given.
    """

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        if num_steps is None and last_step is None:
            raise ValueError("One of num_steps or last_step must be specified.")
        if num_steps is not None and last_step is not None:
            raise ValueError("Only one of num_steps or last_step can be specified.")
        self._num_steps = num_steps
        self._last_step = last_step

    def begin(self) -> None:
        self._global_step_tensor = _global_step_of("StopAtStepHook")

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        if self._last_step is None:
            assert self._num_steps is not None
            self._last_step = int(session.run(self._global_step_tensor)) + self._num_steps

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._global_step_tensor)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        assert self._last_step is not None
        if run_values.results + 1 >= self._last_step:
            # The step may not have counted, and other workers count as well.
            step = run_context.session.run(self._global_step_tensor)
            if step >= self._last_step:
                run_context.request_stop()


@tf_export("estimator.GlobalStepWaiterHook", "train.GlobalStepWaiterHook")
class GlobalStepWaiterHook(SessionRunHook):
    """Delays a worker until the global step has come to ``wait_until_step``."""

    def __init__(self, wait_until_step: int) -> None:
        self._wait_until_step = wait_until_step
        self._done = wait_until_step <= 0

    def begin(self) -> None:
        self._global_step_tensor = _global_step_of("GlobalStepWaiterHook")

    def before_run(self, run_context: SessionRunContext) -> None:
        if self._done:
            return
        logging.info("Waiting for global step %d before starting training.", self._wait_until_step)
        reported = -1
        while True:
            step = int(run_context.session.run(self._global_step_tensor))
            if step >= self._wait_until_step:
                self._done = True
                return
            if step - reported > 1000 or reported < 0:
                logging.info("Waiting for global step %d: it is %d.", self._wait_until_step, step)
                reported = step
            time.sleep(0.5)  # another process trains; only its steps end the waiting


@tf_export("estimator.NanLossDuringTrainingError", "train.NanLossDuringTrainingError")
class NanLossDuringTrainingError(RuntimeError):
    """The loss became NaN."""

    def __str__(self) -> str:
        return "NaN loss during training."


@tf_export("estimator.NanTensorHook", "train.NanTensorHook")
class NanTensorHook(SessionRunHook):
    """Stops when ``loss_tensor`` is NaN; with ``fail_on_nan_loss``, by an exception."""

    def __init__(self, loss_tensor: Tensor, fail_on_nan_loss: bool = True) -> None:
        self._loss_tensor = loss_tensor
        self._fail_on_nan_loss = fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._loss_tensor)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if not np.isnan(run_values.results).any():
            return
        if self._fail_on_nan_loss:
            logging.error("Model diverged with loss = NaN.")
            raise NanLossDuringTrainingError
        logging.warning("Model diverged with loss = NaN.")
        # Only checkpoints of before are of use now.
        run_context.request_stop()


# Telling ------------------------------------------------------------------------------------------


@tf_export("estimator.LoggingTensorHook", "train.LoggingTensorHook")
class LoggingTensorHook(SessionRunHook):
    """Logs values every N runs, every N seconds, or at the end.

    Args:
        tensors: a dict from tags to tensors (or their names), or a list of tensors.
        every_n_iter, every_n_secs: how often; one of them.
        at_end: whether to log at the end, too.
        formatter: makes the text of the dict from tags to values.
    """

    def __init__(
        self,
        tensors: Any,
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        only_at_end = at_end and every_n_iter is None and every_n_secs is None
        if not only_at_end and (every_n_iter is None) == (every_n_secs is None):
            raise ValueError(
                "either at_end and/or exactly one of every_n_iter and every_n_secs must be "
                "provided."
            )
        if every_n_iter is not None and every_n_iter <= 0:
            raise ValueError(f"invalid every_n_iter={every_n_iter}.")
        if not isinstance(tensors, Mapping):
            tensors = {getattr(item, "name", item): item for item in tensors}
        self._tensors = dict(tensors)
        self._formatter = formatter
        self._at_end = at_end
        self._timer = None if only_at_end else SecondOrStepTimer(every_n_secs, every_n_iter)

    def begin(self) -> None:
        if self._timer is not None:
            self._timer.reset()
        self._runs = 0
        graph = get_default_graph()
        self._fetches = {tag: graph.as_graph_element(t) for tag, t in self._tensors.items()}

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._is_due = self._timer is not None and self._timer.should_trigger_for_step(self._runs)
        return SessionRunArgs(self._fetches) if self._is_due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if self._is_due:
            self._log(run_values.results)
        self._runs += 1

    def end(self, session: Session) -> None:
        if self._at_end:
            self._log(session.run(self._fetches))

    def _log(self, values: dict[str, Any]) -> None:
        elapsed = None
        if self._timer is not None:
            elapsed, _ = self._timer.update_last_triggered_step(self._runs)
        if self._formatter is not None:
            logging.info(self._formatter(values))
            return
        text = ", ".join(f"{tag} = {values[tag]}" for tag in self._fetches)
        logging.info(text if elapsed is None else f"{text} ({elapsed:.3f} sec)")


@tf_export("estimator.StepCounterHook", "train.StepCounterHook")
class StepCounterHook(SessionRunHook):
    """Logs and summarizes how many steps are done per second."""

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: str | None = None,
        summary_writer: FileWriter | None = None,
    ) -> None:
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("exactly one of every_n_steps and every_n_secs should be provided.")
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._writer = summary_writer
        self._output_dir = output_dir

    def begin(self) -> None:
        if self._writer is None and self._output_dir:
            self._writer = FileWriterCache.get(self._output_dir)
        self._global_step_tensor = _global_step_of("StepCounterHook")
        self._summary_tag = training_util.get_global_step().op.name + "/sec"

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._global_step_tensor)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        # As good as exact for a rate, and costs no step of its own.
        step = int(run_values.results) + 1
        if not self._timer.should_trigger_for_step(step):
            return
        seconds, steps = self._timer.update_last_triggered_step(step)
        if seconds is not None and steps is not None:
            self._log_and_record(steps, seconds, step)

    def _log_and_record(self, elapsed_steps: int, elapsed_time: float, global_step: int) -> None:
        rate = elapsed_steps / elapsed_time
        if self._writer is not None:
            value = event_pb2.Summary.Value(tag=self._summary_tag, simple_value=rate)
            self._writer.add_summary(event_pb2.Summary(value=[value]), global_step)
        logging.info("%s: %g", self._summary_tag, rate)


@tf_export("estimator.SummarySaverHook", "train.SummarySaverHook")
class SummarySaverHook(SessionRunHook):
    """Writes summaries every N steps or seconds.

    Args:
        save_steps, save_secs: how often; one of them.
        output_dir, summary_writer: where to; one of them.
        scaffold, summary_op: what; one of them. ``summary_op`` may be a list.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str | None = None,
        summary_writer: FileWriter | None = None,
        scaffold: Any = None,
        summary_op: Any = None,
    ) -> None:
        if (scaffold is None) == (summary_op is None):
            raise ValueError("Exactly one of scaffold or summary_op must be provided.")
        self._summary_op = summary_op
        self._writer = summary_writer
        self._output_dir = output_dir
        self._scaffold = scaffold
        self._timer = SecondOrStepTimer(save_secs, save_steps)

    def begin(self) -> None:
        if self._writer is None and self._output_dir:
            self._writer = FileWriterCache.get(self._output_dir)
        self._is_first = True
        self._global_step_tensor = _global_step_of("SummarySaverHook")
        self._step = 0  # of the next run, as far as is known

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        self._is_due = self._is_first or self._timer.should_trigger_for_step(self._step)
        fetches: dict[str, Any] = {"global_step": self._global_step_tensor}
        summary = self._summary() if self._is_due else None
        if summary is not None:
            fetches["summary"] = summary
        return SessionRunArgs(fetches)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if self._writer is None:
            return
        step = int(run_values.results["global_step"]) + 1
        if self._is_first:
            self._writer.add_session_log(
                event_pb2.SessionLog(status=event_pb2.SessionLog.START), step
            )
        if self._is_due:
            self._timer.update_last_triggered_step(step)
            for summary in run_values.results.get("summary", ()):
                self._writer.add_summary(summary, step)
        self._is_first = False
        self._step = step + 1

    def end(self, session: Session) -> None:
        if self._writer is not None:
            self._writer.flush()

    def _summary(self) -> list[Tensor] | None:
        summary = self._summary_op if self._scaffold is None else self._scaffold.summary_op
        if summary is None:
            return None
        return list(summary) if isinstance(summary, list | tuple) else [summary]


@tf_export("estimator.ProfilerHook", "train.ProfilerHook", "contrib.hooks.ProfilerHook")
class ProfilerHook(SessionRunHook):
    """Writes a Chrome trace of one step every N steps or seconds: ``timeline-<step>.json``."""

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str = "",
        show_dataflow: bool = True,
        show_memory: bool = False,
    ) -> None:
        self._output_file = os.path.join(output_dir, "timeline-{}.json")
        self._writer = FileWriterCache.get(output_dir) if output_dir else None
        self._show_dataflow = show_dataflow
        self._show_memory = show_memory
        self._timer = SecondOrStepTimer(save_secs, save_steps)

    def begin(self) -> None:
        self._step: int | None = None
        self._global_step_tensor = _global_step_of("ProfilerHook")

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        self._is_due = self._step is not None and self._timer.should_trigger_for_step(self._step)
        options = (
            config_pb2.RunOptions(trace_level=config_pb2.RunOptions.FULL_TRACE)
            if self._is_due
            else None
        )
        return SessionRunArgs(self._global_step_tensor, options=options)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        step = int(run_values.results) + 1
        if self._step is None:
            self._timer.update_last_triggered_step(step)
        if self._is_due:
            self._timer.update_last_triggered_step(step)
            self._save(step, run_values.run_metadata)
        self._step = step + 1

    def _save(self, step: int, metadata: config_pb2.RunMetadata | None) -> None:
        assert metadata is not None
        path = self._output_file.format(step)
        logging.info("Saving timeline for %d into '%s'.", step, path)
        trace = Timeline(metadata.step_stats).generate_chrome_trace_format(
            self._show_dataflow, self._show_memory
        )
        with open(path, "w", encoding="utf-8") as file:
            file.write(trace)
        if self._writer is not None:
            self._writer.add_run_metadata(metadata, f"step_{step}")


# Checkpoints --------------------------------------------------------------------------------------


@tf_export("estimator.CheckpointSaverListener", "train.CheckpointSaverListener")
class CheckpointSaverListener:
    """Methods that a ``CheckpointSaverHook`` calls around each save."""

    def begin(self) -> None:
        """Is called as a hook's ``begin``."""

    def before_save(self, session: Session, global_step_value: int) -> None:
        """Is called before a checkpoint is written."""

    def after_save(self, session: Session, global_step_value: int) -> bool | None:
        """Is called after a checkpoint was written; True asks to stop training."""

    def end(self, session: Session, global_step_value: int) -> None:
        """Is called at the end of training, after the last save."""


@tf_export("estimator.CheckpointSaverHook", "train.CheckpointSaverHook")
class CheckpointSaverHook(SessionRunHook):
    """Saves at the beginning, every N steps or seconds, and at the end.

    Args:
        checkpoint_dir: the directory; it also gets ``graph.pbtxt`` and the graph's events.
        save_secs, save_steps: how often; one of them.
        saver: what saves; the scaffold's, or that of the collection ``SAVERS``, if None.
        checkpoint_basename: what the files' names begin with.
        scaffold: a ``Scaffold``.
        listeners: ``CheckpointSaverListener`` objects.
    """

    def __init__(
        self,
        checkpoint_dir: str,
        save_secs: float | None = None,
        save_steps: int | None = None,
        saver: Any = None,
        checkpoint_basename: str = "model.ckpt",
        scaffold: Any = None,
        listeners: Sequence[CheckpointSaverListener] | None = None,
    ) -> None:
        logging.info("Create CheckpointSaverHook.")
        if saver is not None and scaffold is not None:
            raise ValueError("You cannot provide both saver and scaffold.")
        self._saver = saver
        self._checkpoint_dir = checkpoint_dir
        self._save_path = os.path.join(checkpoint_dir, checkpoint_basename)
        self._scaffold = scaffold
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._listeners = list(listeners or ())

    def begin(self) -> None:
        self._writer = FileWriterCache.get(self._checkpoint_dir)
        self._global_step_tensor = _global_step_of("CheckpointSaverHook")
        for listener in self._listeners:
            listener.begin()

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        step = int(session.run(self._global_step_tensor))
        graph = get_default_graph()
        graph_def = graph.as_graph_def(add_shapes=True)
        write_graph(graph_def, self._checkpoint_dir, "graph.pbtxt")
        self._writer.add_graph(graph)
        meta_graph, _ = export_scoped_meta_graph(graph_def=graph_def, saver_def=self._saver_def())
        self._writer.add_meta_graph(meta_graph)
        # So that a failure before the first regular save loses nothing.
        self._save(session, step)
        self._timer.update_last_triggered_step(step)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._global_step_tensor)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        stale = int(run_values.results)
        if not self._timer.should_trigger_for_step(stale + 1):
            return
        step = int(run_context.session.run(self._global_step_tensor))
        if self._timer.should_trigger_for_step(step):
            self._timer.update_last_triggered_step(step)
            if self._save(run_context.session, step):
                run_context.request_stop()

    def end(self, session: Session) -> None:
        step = int(session.run(self._global_step_tensor))
        if step != self._timer.last_triggered_step():
            self._save(session, step)
        for listener in self._listeners:
            listener.end(session, step)

    def _saver_def(self) -> SaverDef | None:
        saver = self._get_saver()
        return None if saver is None else saver.saver_def

    def _save(self, session: Session, step: int) -> bool:
        """Saves; whether a listener asks to stop."""
        logging.info("Saving checkpoints for %d into %s.", step, self._save_path)
        for listener in self._listeners:
            listener.before_save(session, step)
        self._get_saver().save(session, self._save_path, global_step=step)
        self._writer.add_session_log(
            event_pb2.SessionLog(
                status=event_pb2.SessionLog.CHECKPOINT, checkpoint_path=self._save_path
            ),
            step,
        )
        stop = False
        for listener in self._listeners:
            if listener.after_save(session, step):
                logging.info(
                    "A CheckpointSaverListener requested that training be stopped. listener: %s",
                    listener,
                )
                stop = True
        return stop

    def _get_saver(self) -> Any:
        if self._saver is not None:
            return self._saver
        if self._scaffold is not None:
            return self._scaffold.saver
        savers = get_default_graph().get_collection(GraphKeys.SAVERS)
        if not savers:
            raise RuntimeError(
                "No items in collection SAVERS. Please add a saver to the collection or provide a "
                "saver or scaffold."
            )
        if len(savers) > 1:
            raise RuntimeError(
                "More than one item in collection SAVERS. Please indicate which one to use by "
                "passing it to the constructor."
            )
        self._saver = savers[0]
        return self._saver


# Small ones ---------------------------------------------------------------------------------------


@tf_export("estimator.FinalOpsHook", "train.FinalOpsHook")
class FinalOpsHook(SessionRunHook):
    """Runs ``final_ops`` at the end; ``final_ops_values`` then has what they gave."""

    def __init__(self, final_ops: Any, final_ops_feed_dict: Any = None) -> None:
        self._final_ops = final_ops
        self._feed_dict = final_ops_feed_dict
        self._values: Any = None

    @property
    def final_ops_values(self) -> Any:
        """The values of the ops after the last run; None before."""
        return self._values

    def end(self, session: Session) -> None:
        if self._final_ops is not None:
            self._values = session.run(self._final_ops, feed_dict=self._feed_dict)


@tf_export("estimator.FeedFnHook", "train.FeedFnHook")
class FeedFnHook(SessionRunHook):
    """Feeds each run what ``feed_fn()`` returns: a dict from tensors to values."""

    def __init__(self, feed_fn: Callable[[], dict[Any, Any]]) -> None:
        self._feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(None, feed_dict=self._feed_fn())
