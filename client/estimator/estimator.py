"""``tf.estimator.Estimator``: trains, evaluates and predicts with a model function."""

from __future__ import annotations

import copy
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from flowray.client.data.dataset import Dataset
from flowray.client.estimator import evaluation
from flowray.client.estimator.model_fn import (
    LOSS_METRIC_KEY,
    EstimatorSpec,
    ModeKeys,
)
from flowray.client.estimator.run_config import RunConfig
from flowray.client.framework import nest
from flowray.client.framework.graph import (
    Graph,
    GraphKeys,
    add_to_collection,
    get_collection,
    get_default_graph,
)
from flowray.client.framework.random_seed import set_random_seed
from flowray.client.metrics.means import mean
from flowray.client.ops.summary_ops import scalar
from flowray.client.platform import logging
from flowray.client.summary.file_writer import FileWriterCache
from flowray.client.tf_export import tf_export
from flowray.client.train import training_util
from flowray.client.train.checkpoints.checkpoint_management import latest_checkpoint
from flowray.client.train.checkpoints.checkpoint_reader import load_checkpoint
from flowray.client.train.checkpoints.saver import Saver
from flowray.client.train.device_setter import replica_device_setter
from flowray.client.train.sessions import basic_session_run_hooks
from flowray.client.train.sessions.basic_session_run_hooks import (
    CheckpointSaverHook,
    CheckpointSaverListener,
    LoggingTensorHook,
    NanTensorHook,
    StopAtStepHook,
)
from flowray.client.train.sessions.monitored_session import (
    ChiefSessionCreator,
    MonitoredSession,
    MonitoredTrainingSession,
)
from flowray.client.train.sessions.session_run_hook import SessionRunHook
from flowray.proto import errors
from flowray.proto.messages import event_pb2
from flowray.proto.types.tensors import make_tensor_proto

InputFn = Callable[..., Any]
Hooks = Sequence[SessionRunHook]


@tf_export("estimator.Estimator")
class Estimator:
    """A model that keeps itself in a directory: checkpoints, summaries, the graph.

    Args:
        model_fn: makes the model: ``model_fn(features, labels, mode, params, config)``, of which it
            takes those that it names; returns an ``EstimatorSpec``.
        model_dir: the directory; that of ``config``, or a temporary one, if None.
        config: a ``RunConfig``.
        params: a dict that ``model_fn`` (and the input function) gets.
        warm_start_from: not supported.

    Raises:
        ValueError: ``model_fn`` takes arguments that it should not, or two directories are given.
    """

    def __init__(
        self,
        model_fn: Callable[..., EstimatorSpec],
        model_dir: str | os.PathLike[str] | None = None,
        config: RunConfig | None = None,
        params: Any = None,
        warm_start_from: Any = None,
    ) -> None:
        if model_fn is None:
            raise ValueError("model_fn must be provided to Estimator.")
        if warm_start_from is not None:
            raise errors.unimplemented("flowray has no Estimator(warm_start_from=...) yet")
        _check_model_fn(model_fn, params)
        self._model_fn = model_fn
        self._params = copy.deepcopy(params or {})
        self._config = _with_model_dir(config, model_dir)
        assert self._config.model_dir is not None
        self._model_dir = self._config.model_dir
        logging.info("Using config: %s", vars(self._config))
        self._device_fn = self._config.device_fn or replica_device_setter(
            ps_tasks=self._config.num_ps_replicas,
            worker_device=f"/job:{self._config.task_type}/task:{self._config.task_id}",
        )

    @property
    def model_dir(self) -> str:
        """The directory of the model."""
        return self._model_dir

    @property
    def config(self) -> RunConfig:
        """The RunConfig."""
        return copy.deepcopy(self._config)

    @property
    def params(self) -> Any:
        """A copy of the hyperparameters that the model function gets."""
        return copy.deepcopy(self._params)

    @property
    def model_fn(self) -> Callable[..., EstimatorSpec]:
        """The model function as ``(features, labels, mode, config)``."""

        def public(features: Any, labels: Any, mode: str, config: RunConfig) -> EstimatorSpec:
            return self._call_model_fn(features, labels, mode, config)

        return public

    def eval_dir(self, name: str | None = None) -> str:
        """The directory of the summaries of an evaluation."""
        return os.path.join(self._model_dir, f"eval_{name}" if name else "eval")

    def latest_checkpoint(self) -> str | None:
        """Returns the last checkpoint of ``model_dir``; None if there is none."""
        return latest_checkpoint(self._model_dir)

    def get_variable_names(self) -> list[str]:
        """Returns the names of the trained variables. ValueError before training."""
        return list(self._reader().get_variable_to_shape_map())

    def get_variable_value(self, name: str) -> np.ndarray[Any, Any]:
        """Returns the trained value of a variable. ValueError before training."""
        value: np.ndarray[Any, Any] = self._reader().get_tensor(name)
        return value

    def _reader(self) -> Any:
        if self.latest_checkpoint() is None:
            raise ValueError("Estimator has not been trained yet.")
        return load_checkpoint(self._model_dir)

    # Training -------------------------------------------------------------------------------

    def train(
        self,
        input_fn: InputFn,
        hooks: Hooks | None = None,
        steps: int | None = None,
        max_steps: int | None = None,
        saving_listeners: Sequence[CheckpointSaverListener] | None = None,
    ) -> Estimator:
        """Trains from the last checkpoint on, until the input or a number of steps ends it.

        Args:
            input_fn: makes the input: a Dataset, ``(features, labels)`` or features; it gets
                ``mode``, ``params`` and ``config`` if it takes them.
            hooks: more hooks.
            steps: how many steps more.
            max_steps: the global step to stop at; one of the two.
            saving_listeners: called when a checkpoint is saved.

        Raises:
            ValueError: a number is not positive, both are given, or the model function returns
                what does not do.
        """
        if steps is not None and max_steps is not None:
            raise ValueError("Can not provide both steps and max_steps.")
        if steps is not None and steps <= 0:
            raise ValueError(f"Must specify steps > 0, given: {steps}")
        if max_steps is not None:
            if max_steps <= 0:
                raise ValueError(f"Must specify max_steps > 0, given: {max_steps}")
            if self._trained_steps() >= max_steps:
                logging.info("Skipping training since max_steps has already saved.")
                return self
        all_hooks = _checked_hooks(hooks)
        if steps is not None or max_steps is not None:
            all_hooks.append(StopAtStepHook(steps, max_steps))
        loss = self._train(input_fn, all_hooks, _checked_listeners(saving_listeners))
        logging.info("Loss for final step: %s.", loss)
        return self

    def _trained_steps(self) -> int:
        path = self.latest_checkpoint()
        if path is None:
            return 0
        reader = load_checkpoint(path)
        if not reader.has_tensor(GraphKeys.GLOBAL_STEP):
            return 0
        return int(reader.get_tensor(GraphKeys.GLOBAL_STEP))

    def _train(
        self,
        input_fn: InputFn,
        hooks: list[SessionRunHook],
        listeners: Sequence[CheckpointSaverListener],
    ) -> Any:
        config = self._config
        with self._graph() as graph, graph.device(self._device_fn):
            step = _create_global_step(graph)
            features, labels = self._inputs(input_fn, ModeKeys.TRAIN)
            spec = self._call_model_fn(features, labels, ModeKeys.TRAIN, config)
            hooks = [*hooks, NanTensorHook(spec.loss)]
            if config.log_step_count_steps is not None:
                hooks.append(
                    LoggingTensorHook(
                        {
                            "loss": spec.loss,
                            "step": training_util._get_or_create_global_step_read(),
                        },
                        every_n_iter=config.log_step_count_steps,
                    )
                )
            hooks.extend(spec.training_hooks)
            del step
            if not any(t.op.name == "loss" for t in get_collection(GraphKeys.SUMMARIES)):
                scalar("loss", spec.loss)
            add_to_collection(GraphKeys.LOSSES, spec.loss)
            if spec.scaffold.saver is None and not get_collection(GraphKeys.SAVERS):
                add_to_collection(
                    GraphKeys.SAVERS,
                    Saver(
                        sharded=True,
                        max_to_keep=config.keep_checkpoint_max,
                        keep_checkpoint_every_n_hours=config.keep_checkpoint_every_n_hours,
                        defer_build=True,
                        save_relative_paths=True,
                    ),
                )
            chief_hooks = [*spec.training_chief_hooks]
            chief_hooks.extend(self._saver_hooks(spec, [*hooks, *chief_hooks], listeners))
            loss, any_step_done = None, False
            with MonitoredTrainingSession(
                master=config.master,
                is_chief=config.is_chief,
                checkpoint_dir=self._model_dir,
                scaffold=spec.scaffold,
                hooks=hooks,
                chief_only_hooks=chief_hooks,
                save_checkpoint_secs=0,  # its own hook does that
                save_summaries_steps=config.save_summary_steps,
                config=config.session_config,
                max_wait_secs=config.session_creation_timeout_secs,
                log_step_count_steps=config.log_step_count_steps,
            ) as session:
                while not session.should_stop():
                    _, loss = session.run([spec.train_op, spec.loss])
                    any_step_done = True
            if not any_step_done:
                logging.warning(
                    "Training with estimator made no steps. Perhaps input is empty or misspecified."
                )
            return loss

    def _saver_hooks(
        self,
        spec: EstimatorSpec,
        hooks: Hooks,
        listeners: Sequence[CheckpointSaverListener],
    ) -> list[SessionRunHook]:
        """Returns the hook that saves checkpoints, unless the user has one."""
        given = [hook for hook in hooks if isinstance(hook, CheckpointSaverHook)]
        if given:
            given[0]._listeners.extend(listeners)
            return []
        config = self._config
        if not (config.save_checkpoints_secs or config.save_checkpoints_steps):
            if listeners:
                raise ValueError(
                    "There should be a CheckpointSaverHook to use saving_listeners. Please set "
                    "one of the RunConfig.save_checkpoints_steps or "
                    "RunConfig.save_checkpoints_secs."
                )
            return []
        return [
            CheckpointSaverHook(
                self._model_dir,
                save_secs=config.save_checkpoints_secs,
                save_steps=config.save_checkpoints_steps,
                scaffold=spec.scaffold,
                listeners=listeners,
            )
        ]

    # Evaluating -----------------------------------------------------------------------------

    def evaluate(
        self,
        input_fn: InputFn,
        steps: int | None = None,
        hooks: Hooks | None = None,
        checkpoint_path: str | None = None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Computes the metrics of a checkpoint over an input, and writes them as summaries.

        Args:
            steps: how many batches; until the input ends if None.
            hooks: more hooks.
            checkpoint_path: the checkpoint; the last one if None, and an initialized model if
                there is none.
            name: tells evaluations apart: part of the summaries' directory.

        Returns:
            The metrics of the model function, ``loss`` (the mean over the batches) and
            ``global_step``.

        Raises:
            ValueError: ``steps`` is not positive, or the model function returns an invalid spec.
        """
        if steps is not None and steps <= 0:
            raise ValueError(f"Must specify steps > 0, given: {steps}")
        all_hooks = _checked_hooks(hooks)
        all_hooks.append(evaluation.StopAfterNEvalsHook(steps))
        checkpoint_path = checkpoint_path or self.latest_checkpoint()
        if checkpoint_path is None:
            logging.info(
                "Could not find trained model in model_dir: %s, running initialization to "
                "evaluate.",
                self._model_dir,
            )
        with self._graph() as graph, graph.device(self._device_fn):
            step = _create_global_step(graph)
            features, labels = self._inputs(input_fn, ModeKeys.EVAL)
            spec = self._call_model_fn(features, labels, ModeKeys.EVAL, self._config)
            wanted = dict(spec.eval_metric_ops)
            if LOSS_METRIC_KEY in wanted:
                raise ValueError(
                    f'Metric with name "{LOSS_METRIC_KEY}" is not allowed, because Estimator '
                    "already defines a default metric with the same name."
                )
            wanted[LOSS_METRIC_KEY] = mean(spec.loss)
            update, values = evaluation.metric_ops(wanted)
            if GraphKeys.GLOBAL_STEP in values:
                raise ValueError(
                    "Metric with name `global_step` is not allowed, because Estimator already "
                    "defines a default metric with the same name."
                )
            values[GraphKeys.GLOBAL_STEP] = step
            results = evaluation.evaluate_once(
                checkpoint_path,
                master=self._config.evaluation_master,
                scaffold=spec.scaffold,
                eval_ops=update,
                final_ops=values,
                hooks=[*all_hooks, *spec.evaluation_hooks],
                config=self._config.session_config,
            )
        self._write_results(self.eval_dir(name), results, checkpoint_path)
        return results

    def _write_results(
        self, directory: str, results: Mapping[str, Any], checkpoint_path: str | None
    ) -> None:
        step = int(results[GraphKeys.GLOBAL_STEP])
        logging.info("Saving dict for global step %d: %s", step, evaluation.log_text(results))
        proto = event_pb2.Summary()
        for key, value in sorted(results.items()):
            if key == GraphKeys.GLOBAL_STEP:
                continue
            if isinstance(value, bytes):
                proto.value.extend(event_pb2.Summary.FromString(value).value)
            elif evaluation.is_scalar_number(value):
                proto.value.add(tag=key, simple_value=float(value))
            else:
                logging.warning("Skipping summary for %s, it is not a scalar number.", key)
        writer = FileWriterCache.get(directory)
        writer.add_summary(proto, step)
        if checkpoint_path:
            logging.info(
                "Saving 'checkpoint_path' summary for global step %d: %s", step, checkpoint_path
            )
            text = event_pb2.Summary()
            value = text.value.add(tag="checkpoint_path/" + GraphKeys.GLOBAL_STEP)
            value.metadata.plugin_data.plugin_name = "text"
            value.tensor.CopyFrom(make_tensor_proto(checkpoint_path))
            writer.add_summary(text, step)
        writer.flush()

    # Predicting -----------------------------------------------------------------------------

    def predict(
        self,
        input_fn: InputFn,
        predict_keys: Sequence[str] | str | None = None,
        hooks: Hooks | None = None,
        checkpoint_path: str | None = None,
        yield_single_examples: bool = True,
    ) -> Iterator[Any]:
        """Yields predictions for an input.

        Args:
            predict_keys: which of the model's predictions; all if None.
            hooks: more hooks.
            checkpoint_path: the checkpoint; the last one if None, and an initialized model if
                there is none.
            yield_single_examples: whether to yield the rows of a batch one by one.

        Raises:
            ValueError: the predictions are of different lengths, or none of the keys is there.
        """
        all_hooks = _checked_hooks(hooks)
        checkpoint_path = checkpoint_path or self.latest_checkpoint()
        if checkpoint_path is None:
            logging.info(
                "Could not find trained model in model_dir: %s, running initialization to predict.",
                self._model_dir,
            )
        with self._graph() as graph, graph.device(self._device_fn):
            _create_global_step(graph)
            features, _ = self._inputs(input_fn, ModeKeys.PREDICT)
            spec = self._call_model_fn(features, None, ModeKeys.PREDICT, self._config)
            predictions = _chosen(spec.predictions, predict_keys)
            creator = ChiefSessionCreator(
                checkpoint_filename_with_path=checkpoint_path,
                master=self._config.master,
                scaffold=spec.scaffold,
                config=self._config.session_config,
            )
            with MonitoredSession(creator, [*all_hooks, *spec.prediction_hooks]) as session:
                while not session.should_stop():
                    batch = session.run(predictions)
                    if not yield_single_examples:
                        yield batch
                    elif not isinstance(predictions, dict):
                        yield from batch
                    else:
                        for i in range(_batch_length(batch)):
                            yield {key: value[i] for key, value in batch.items()}

    # Parts ----------------------------------------------------------------------------------

    @contextmanager
    def _graph(self) -> Iterator[Graph]:
        """Opens a graph as the default one, with the seed of the configuration."""
        with Graph().as_default() as graph:
            set_random_seed(self._config.tf_random_seed)
            yield graph

    def _inputs(self, input_fn: InputFn, mode: str) -> tuple[Any, Any]:
        """Returns the features and labels that ``input_fn`` makes."""
        result = self._call_input_fn(input_fn, mode)
        if isinstance(result, Dataset):
            iterator = result.make_initializable_iterator()
            # With the other local initialization, so that it costs no step of its own.
            add_to_collection(GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
            result = iterator.get_next()
        if isinstance(result, list | tuple):
            if len(result) != 2:
                raise ValueError("input_fn should return (features, labels) as a len 2 tuple.")
            return result[0], result[1]
        return result, None

    def _call_input_fn(self, input_fn: InputFn, mode: str) -> Any:
        takes = _parameters(input_fn)
        given: dict[str, Any] = {"mode": mode, "params": self.params, "config": self.config}
        with get_default_graph().device("/cpu:0"):
            return input_fn(**{key: value for key, value in given.items() if key in takes})

    def _call_model_fn(
        self, features: Any, labels: Any, mode: str, config: RunConfig
    ) -> EstimatorSpec:
        takes = _parameters(self._model_fn)
        given: dict[str, Any] = {"mode": mode, "params": self.params, "config": config}
        if "labels" in takes:
            given["labels"] = labels
        elif labels is not None:
            raise ValueError("model_fn does not take labels, but input_fn returns labels.")
        logging.info("Calling model_fn.")
        spec = self._model_fn(
            features=features, **{key: value for key, value in given.items() if key in takes}
        )
        logging.info("Done calling model_fn.")
        if not isinstance(spec, EstimatorSpec):
            raise ValueError("model_fn should return an EstimatorSpec.")
        return spec


def _create_global_step(graph: Graph) -> Any:
    step = training_util.create_global_step(graph)
    training_util._get_or_create_global_step_read(graph)
    return step


def _parameters(function: Callable[..., Any]) -> set[str]:
    """Returns the names of the arguments that ``function`` takes."""
    return set(inspect.signature(function).parameters)


def _check_model_fn(model_fn: Callable[..., Any], params: Any) -> None:
    takes = inspect.signature(model_fn).parameters
    if "features" not in takes:
        raise ValueError(f"model_fn ({model_fn}) must include features argument.")
    if params is not None and "params" not in takes:
        raise ValueError(
            f"model_fn ({model_fn}) does not include params argument, but params "
            f"({params}) is passed to Estimator."
        )
    allowed = {"features", "labels", "mode", "params", "config"}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    unknown = set(takes) - allowed
    if unknown and not open_ended:
        raise ValueError(f"model_fn ({model_fn}) has following not expected args: {unknown}")


def _with_model_dir(
    config: RunConfig | None, model_dir: str | os.PathLike[str] | None
) -> RunConfig:
    config = config or RunConfig()
    if not isinstance(config, RunConfig):
        raise ValueError(f"config must be an instance of `RunConfig`, but provided {config}.")
    given = None if model_dir is None else os.fspath(model_dir)
    if given and config.model_dir and given != config.model_dir:
        raise ValueError(
            "`model_dir` are set both in constructor and `RunConfig`, but with different values. "
            f"In constructor: '{given}', in `RunConfig`: '{config.model_dir}' "
        )
    chosen = given or config.model_dir
    if chosen is None:
        chosen = tempfile.mkdtemp()
        logging.warning("Using temporary folder as model directory: %s", chosen)
    return config.replace(model_dir=chosen)


def _checked_hooks(hooks: Hooks | None) -> list[SessionRunHook]:
    result = list(hooks or ())
    for hook in result:
        if not isinstance(hook, SessionRunHook):
            raise TypeError(f"Hooks must be a SessionRunHook, given: {hook}")
    return result


def _checked_listeners(
    listeners: Sequence[CheckpointSaverListener] | None,
) -> list[CheckpointSaverListener]:
    result = list(listeners or ())
    for listener in result:
        if not isinstance(listener, basic_session_run_hooks.CheckpointSaverListener):
            raise TypeError(
                f"saving_listeners must be a list of CheckpointSaverListener, given: {listener}"
            )
    return result


def _chosen(predictions: Any, keys: Sequence[str] | str | None) -> Any:
    if not keys:
        return predictions
    if not isinstance(predictions, dict):
        raise ValueError("predict_keys argument is not valid in case of non-dict predictions.")
    wanted = {keys} if isinstance(keys, str) else set(keys)
    chosen = {key: value for key, value in predictions.items() if key in wanted}
    if not chosen:
        raise ValueError(
            f"Expected to run at least one output from {sorted(predictions)}, provided "
            f"{sorted(wanted)}."
        )
    return chosen


def _batch_length(batch: Mapping[str, Any]) -> int:
    lengths = {len(value) for value in nest.flatten(dict(batch))}
    if len(lengths) != 1:
        raise ValueError(
            "Batch length of predictions should be same. "
            + ", ".join(f"{key} has batch length {len(value)}" for key, value in batch.items())
        )
    return lengths.pop()
