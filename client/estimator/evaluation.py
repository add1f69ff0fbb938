"""Evaluating a checkpoint once: steps that update metrics, then the metrics' values."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowray.client.framework.graph import GraphKeys, control_dependencies, get_default_graph
from flowray.client.ops.control_flow_ops import group
from flowray.client.platform import logging
from flowray.client.train.sessions.basic_session_run_hooks import FinalOpsHook
from flowray.client.train.sessions.monitored_session import (
    ChiefSessionCreator,
    MonitoredSession,
    Scaffold,
)
from flowray.client.train.sessions.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from flowray.client.variables.initializers import zeros
from flowray.client.variables.variable_scope import get_variable
from flowray.proto.messages import config_pb2
from flowray.proto.types import dtypes


def get_or_create_eval_step() -> Any:
    """Returns the local variable that counts the steps of an evaluation."""
    found = get_default_graph().get_collection(GraphKeys.EVAL_STEP)
    if len(found) > 1:
        raise ValueError("Multiple tensors added to tf.GraphKeys.EVAL_STEP")
    if found:
        return found[0]
    return get_variable(
        "eval_step",
        shape=[],
        dtype=dtypes.int64,
        initializer=zeros(),
        trainable=False,
        collections=[GraphKeys.LOCAL_VARIABLES, GraphKeys.EVAL_STEP],
    )


class StopAfterNEvalsHook(SessionRunHook):
    """Stops an evaluation after ``num_evals`` steps, if given, and logs how far it is."""

    def __init__(self, num_evals: int | None, log_progress: bool = True) -> None:
        self._num_evals = num_evals
        self._log_progress = log_progress
        self._every = 1 if num_evals is None or num_evals < 20 else math.floor(num_evals / 10)
        self._evals_completed: Any = None

    def set_counter(self, evals_completed: Any) -> None:
        """Sets the tensor that counts the steps, after each."""
        self._evals_completed = evals_completed

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs({"evals_completed": self._evals_completed})

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        done = run_values.results["evals_completed"]
        if self._log_progress:
            if self._num_evals is None:
                logging.info("Evaluation [%d]", done)
            elif done % self._every == 0 or done == self._num_evals:
                logging.info("Evaluation [%d/%d]", done, self._num_evals)
        if self._num_evals is not None and done >= self._num_evals:
            run_context.request_stop()


def evaluate_once(
    checkpoint_path: str | None,
    master: str = "",
    scaffold: Scaffold | None = None,
    eval_ops: Any = None,
    final_ops: Mapping[str, Any] | None = None,
    hooks: Sequence[SessionRunHook] = (),
    config: config_pb2.ConfigProto | None = None,
) -> dict[str, Any]:
    """Runs ``eval_ops`` until the input or a hook ends it; gives the values of ``final_ops``."""
    eval_step = get_or_create_eval_step()
    all_hooks = list(hooks)
    ops = [] if eval_ops is None else [eval_ops]
    with control_dependencies(ops):
        counted = eval_step.assign_add(1, use_locking=True)
    counter = counted if not hasattr(counted, "value") else counted.value()
    for hook in all_hooks:
        if isinstance(hook, StopAfterNEvalsHook):
            hook.set_counter(counter)
    step_op = group(counter, *ops)
    final = FinalOpsHook(dict(final_ops or {}))
    all_hooks.append(final)
    logging.info("Starting evaluation at %s", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    start = time.monotonic()
    creator = ChiefSessionCreator(
        scaffold=scaffold,
        checkpoint_filename_with_path=checkpoint_path,
        master=master,
        config=config,
    )
    with MonitoredSession(creator, all_hooks) as session:
        while not session.should_stop():
            session.run(step_op)
    logging.info("Inference Time : %.5fs", time.monotonic() - start)
    logging.info("Finished evaluation at %s", time.strftime("%Y-%m-%d-%H:%M:%S", time.gmtime()))
    values: dict[str, Any] = final.final_ops_values
    return values


def metric_ops(metrics: Mapping[str, tuple[Any, Any]]) -> tuple[Any, dict[str, Any]]:
    """Returns one op that updates all metrics, and their values by name."""
    updates = [update for _, update in metrics.values()]
    return group(*updates), {name: value for name, (value, _) in metrics.items()}


def log_text(values: Mapping[str, Any]) -> str:
    """Formats all as ``name = value``, sorted."""
    return ", ".join(f"{key} = {values[key]}" for key in sorted(values))


def is_scalar_number(value: Any) -> bool:
    """Tells whether ``value`` is a number or a numpy scalar of numbers."""
    return isinstance(value, np.floating | np.integer | float | int)
