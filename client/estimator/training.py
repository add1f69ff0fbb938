"""``tf.estimator.train_and_evaluate``: training with an evaluation after each checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flowray.client.estimator.estimator import Estimator
from flowray.client.platform import logging
from flowray.client.session.session import Session
from flowray.client.tf_export import tf_export
from flowray.client.train.sessions.basic_session_run_hooks import (
    CheckpointSaverListener,
    SecondOrStepTimer,
)
from flowray.client.train.sessions.session_run_hook import SessionRunHook
from flowray.proto import errors


@tf_export("estimator.TrainSpec")
class TrainSpec(
    NamedTuple(
        "TrainSpec",
        [
            ("input_fn", Callable[..., Any]),
            ("max_steps", int | None),
            ("hooks", Sequence[SessionRunHook]),
        ],
    )
):
    """The input of a training and its last global step. ValueError if that is not positive."""

    __slots__ = ()

    def __new__(
        cls,
        input_fn: Callable[..., Any],
        max_steps: int | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
    ) -> TrainSpec:
        if max_steps is not None and max_steps <= 0:
            raise ValueError(f"Must specify max_steps > 0, given: {max_steps}")
        return super().__new__(cls, input_fn, max_steps, tuple(hooks or ()))


@tf_export("estimator.EvalSpec")
class EvalSpec(
    NamedTuple(
        "EvalSpec",
        [
            ("input_fn", Callable[..., Any]),
            ("steps", int | None),
            ("name", str | None),
            ("hooks", Sequence[SessionRunHook]),
            ("exporters", Any),
            ("start_delay_secs", float),
            ("throttle_secs", float),
        ],
    )
):
    """The input of an evaluation, and how often to evaluate.

    Raises:
        ValueError: a number is out of range.
        UnimplementedError: there are exporters.
    """

    __slots__ = ()

    def __new__(
        cls,
        input_fn: Callable[..., Any],
        steps: int | None = 100,
        name: str | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
        exporters: Any = None,
        start_delay_secs: float = 120,
        throttle_secs: float = 600,
    ) -> EvalSpec:
        if steps is not None and steps <= 0:
            raise ValueError(f"Must specify steps > 0, given: {steps}")
        if start_delay_secs < 0:
            raise ValueError(f"Must specify start_delay_secs >= 0, given: {start_delay_secs}")
        if throttle_secs < 0:
            raise ValueError(f"Must specify throttle_secs >= 0, given: {throttle_secs}")
        if exporters:
            raise errors.unimplemented("flowray has no exporters of SavedModels yet")
        return super().__new__(
            cls, input_fn, steps, name, tuple(hooks or ()), (), start_delay_secs, throttle_secs
        )


class _Evaluator(CheckpointSaverListener):
    """Evaluates after checkpoints, at most every ``throttle_secs`` seconds."""

    def __init__(self, estimator: Estimator, spec: EvalSpec) -> None:
        self._estimator = estimator
        self._spec = spec
        self._timer = SecondOrStepTimer(every_secs=spec.throttle_secs)
        self._is_first = True
        self._evaluated: int | None = None
        self.result: dict[str, Any] | None = None

    def begin(self) -> None:
        self._timer.reset()

    def after_save(self, session: Session, global_step_value: int) -> None:
        if self._is_first:  # the one of the start
            self._is_first = False
            self._timer.update_last_triggered_step(global_step_value)
            return
        if self._timer.should_trigger_for_step(global_step_value):
            self._evaluate(global_step_value)
        else:
            logging.info(
                "Skip the current checkpoint eval due to throttle secs (%g secs).",
                self._spec.throttle_secs,
            )

    def end(self, session: Session, global_step_value: int) -> None:
        if self._evaluated != global_step_value:
            self._evaluate(global_step_value)

    def _evaluate(self, step: int) -> None:
        self._timer.update_last_triggered_step(step)
        self._evaluated = step
        spec = self._spec
        self.result = self._estimator.evaluate(
            spec.input_fn, steps=spec.steps, hooks=spec.hooks, name=spec.name
        )


@tf_export("estimator.train_and_evaluate")
def train_and_evaluate(
    estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec
) -> tuple[dict[str, Any] | None, list[Any]]:
    """Trains, and evaluates after checkpoints and at the end.

    In a cluster (``TF_CONFIG``) the chief does both; workers only train.

    Returns:
        The last evaluation's metrics, and an empty list (there are no exporters).
    """
    config = estimator.config
    evaluator = _Evaluator(estimator, eval_spec)
    listeners = [evaluator] if config.is_chief else []
    if not config.is_chief:
        time.sleep(min(5.0 * config.task_id, 60.0))  # workers start one by one, as TensorFlow's
    estimator.train(
        train_spec.input_fn,
        hooks=train_spec.hooks,
        max_steps=train_spec.max_steps,
        saving_listeners=listeners,
    )
    if config.is_chief and evaluator.result is None:  # trained far enough before
        evaluator.result = estimator.evaluate(
            eval_spec.input_fn, steps=eval_spec.steps, hooks=eval_spec.hooks, name=eval_spec.name
        )
    return evaluator.result, []
