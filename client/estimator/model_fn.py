"""The arguments and results of a model function: ``ModeKeys`` and ``EstimatorSpec``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flowray.client.framework import nest
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Operation, Tensor, get_default_graph
from flowray.client.ops.array_ops import reshape
from flowray.client.tf_export import tf_export
from flowray.client.train.sessions.monitored_session import Scaffold
from flowray.client.train.sessions.session_run_hook import SessionRunHook

LOSS_METRIC_KEY = "loss"


@tf_export("estimator.ModeKeys")
class ModeKeys:
    """The purposes for which a model function is called."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


@tf_export("estimator.EstimatorSpec")
class EstimatorSpec(
    NamedTuple(
        "EstimatorSpec",
        [
            ("mode", str),
            ("predictions", Any),
            ("loss", Any),
            ("train_op", Any),
            ("eval_metric_ops", dict[str, Any]),
            ("export_outputs", Any),
            ("training_chief_hooks", Sequence[SessionRunHook]),
            ("training_hooks", Sequence[SessionRunHook]),
            ("scaffold", Scaffold),
            ("evaluation_hooks", Sequence[SessionRunHook]),
            ("prediction_hooks", Sequence[SessionRunHook]),
        ],
    )
):
    """The ops of a model.

    Args:
        mode: one of ``ModeKeys``.
        predictions: a Tensor or a dict of Tensors; needed to predict.
        loss: a scalar (or of shape ``[1]``); needed to train and to evaluate.
        train_op: does one training step; needed to train.
        eval_metric_ops: by name, ``(value, update_op)`` each.
        export_outputs: kept as it is.
        training_chief_hooks, training_hooks, evaluation_hooks, prediction_hooks: hooks.
        scaffold: a ``Scaffold``; a default one if None.

    Raises:
        ValueError: an argument that the mode needs is missing, or is of another graph.
        TypeError: something is of the wrong type.
    """

    __slots__ = ()

    def __new__(
        cls,
        mode: str,
        predictions: Any = None,
        loss: Any = None,
        train_op: Any = None,
        eval_metric_ops: Mapping[str, Any] | None = None,
        export_outputs: Any = None,
        training_chief_hooks: Sequence[SessionRunHook] | None = None,
        training_hooks: Sequence[SessionRunHook] | None = None,
        scaffold: Scaffold | None = None,
        evaluation_hooks: Sequence[SessionRunHook] | None = None,
        prediction_hooks: Sequence[SessionRunHook] | None = None,
    ) -> EstimatorSpec:
        if mode == ModeKeys.TRAIN and train_op is None:
            raise ValueError("Missing train_op.")
        if mode in (ModeKeys.TRAIN, ModeKeys.EVAL) and loss is None:
            raise ValueError("Missing loss.")
        if mode == ModeKeys.PREDICT and predictions is None:
            raise ValueError("Missing predictions.")
        if train_op is not None:
            if not isinstance(train_op, Operation | Tensor) and not hasattr(
                train_op, "_as_graph_element"
            ):
                raise TypeError(f"train_op must be Operation or Tensor, given: {train_op}")
            _check_graph("train_op", train_op)
        hooks = {
            "training_chief_hooks": training_chief_hooks,
            "training_hooks": training_hooks,
            "evaluation_hooks": evaluation_hooks,
            "prediction_hooks": prediction_hooks,
        }
        for hook in (hook for some in hooks.values() for hook in some or ()):
            if not isinstance(hook, SessionRunHook):
                raise TypeError(f"All hooks must be SessionRunHook instances, given: {hook}")
        if scaffold is not None and not isinstance(scaffold, Scaffold):
            raise TypeError(f"scaffold must be tf.train.Scaffold. Given: {scaffold}")
        return super().__new__(
            cls,
            mode=mode,
            predictions=_checked_predictions(predictions, mode),
            loss=None if loss is None else _checked_loss(loss),
            train_op=train_op,
            eval_metric_ops=_checked_metrics(eval_metric_ops or {}),
            export_outputs=export_outputs,
            training_chief_hooks=tuple(training_chief_hooks or ()),
            training_hooks=tuple(training_hooks or ()),
            scaffold=scaffold or Scaffold(),
            evaluation_hooks=tuple(evaluation_hooks or ()),
            prediction_hooks=tuple(prediction_hooks or ()),
        )


def _checked_loss(loss: Any) -> Tensor:
    tensor = convert_to_tensor(loss)
    shape = tensor.get_shape()
    if shape.num_elements() not in (None, 1):
        raise ValueError(f"Loss must be scalar, given: {tensor}")
    _check_graph("loss", tensor)
    if shape.ndims != 0:
        tensor = reshape(tensor, [])
    return tensor


def _checked_predictions(predictions: Any, mode: str) -> Any:
    if predictions is None:
        return {}
    if isinstance(predictions, Mapping):
        for key, value in predictions.items():
            _check_tensor(f"predictions[{key}]", value)
        return dict(predictions)
    _check_tensor("predictions", predictions)
    return predictions


def _checked_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(metrics, Mapping):
        raise TypeError(f"eval_metric_ops must be a dict, given: {metrics}")
    for key, pair in metrics.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(
                "Values of eval_metric_ops must be (metric_value, update_op) tuples, given: "
                f"{pair} for key: {key}"
            )
        for item in nest.flatten(pair):
            _check_graph(f"eval_metric_ops[{key}]", item)
    return dict(metrics)


def _check_tensor(what: str, value: Any) -> None:
    if not isinstance(value, Tensor) and not hasattr(value, "_as_graph_element"):
        raise TypeError(f"{what} must be Tensor, given: {value}")
    _check_graph(what, value)


def _check_graph(what: str, value: Any) -> None:
    if getattr(value, "graph", None) is not get_default_graph():
        raise ValueError(
            f'{what} with "{getattr(value, "name", value)}" must be from the default graph. '
            "Possible causes of this error include: it was created outside of the input_fn or "
            "model_fn."
        )
