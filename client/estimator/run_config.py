"""``tf.estimator.RunConfig``: the settings for the runs of an Estimator."""

from __future__ import annotations

import copy
import json
import numbers
import os
from collections.abc import Callable
from typing import Any

from flowray.client.tf_export import tf_export
from flowray.proto import errors
from flowray.proto.messages import config_pb2

_DEFAULT: Any = object()

_REPLACEABLE = (
    "model_dir", "tf_random_seed", "save_summary_steps", "save_checkpoints_steps",
    "save_checkpoints_secs", "session_config", "keep_checkpoint_max",
    "keep_checkpoint_every_n_hours", "log_step_count_steps", "train_distribute", "device_fn",
    "protocol", "eval_distribute", "experimental_distribute",
    "experimental_max_worker_delay_secs", "session_creation_timeout_secs",
)  # fmt: skip


@tf_export("estimator.TaskType")
class TaskType:
    """The roles of tasks in ``TF_CONFIG``."""

    MASTER = "master"
    PS = "ps"
    WORKER = "worker"
    CHIEF = "chief"
    EVALUATOR = "evaluator"


@tf_export("estimator.RunConfig")
class RunConfig:
    """The settings of an Estimator's sessions, checkpoints and summaries.

    The environment variable ``TF_CONFIG`` (JSON) tells the rest: ``session_master`` is the target
    of sessions (and ``eval_session_master`` of those that evaluate), ``task`` is what this process
    is in the ``cluster``, ``model_dir`` the directory.

    Args:
        model_dir: the directory of checkpoints and summaries.
        tf_random_seed: the graphs' seed.
        save_summary_steps: how often to write summaries.
        save_checkpoints_steps, save_checkpoints_secs: how often to save; every 600 seconds if
            neither is given.
        session_config: a ConfigProto.
        keep_checkpoint_max, keep_checkpoint_every_n_hours: see ``tf.train.Saver``.
        log_step_count_steps: how often to log the loss and the steps per second; None for never.
        device_fn: a device function for the model; on a cluster with parameter servers variables
            go there by default.
        train_distribute, eval_distribute, experimental_distribute, protocol,
            experimental_max_worker_delay_secs: accepted where they are None.
        session_creation_timeout_secs: how long a worker waits for the chief.

    Raises:
        ValueError: a setting is out of range, two contradict each other, or ``TF_CONFIG`` does not
            hold together.
    """

    model_dir: str | None
    tf_random_seed: int | None
    save_summary_steps: int
    save_checkpoints_steps: int | None
    save_checkpoints_secs: float | None
    session_config: config_pb2.ConfigProto | None
    keep_checkpoint_max: int
    keep_checkpoint_every_n_hours: float
    log_step_count_steps: int | None
    device_fn: Callable[[Any], str] | None
    protocol: str | None
    train_distribute: None
    eval_distribute: None
    experimental_distribute: None
    experimental_max_worker_delay_secs: float | None
    session_creation_timeout_secs: float

    def __init__(
        self,
        model_dir: str | None = None,
        tf_random_seed: int | None = None,
        save_summary_steps: int = 100,
        save_checkpoints_steps: Any = _DEFAULT,
        save_checkpoints_secs: Any = _DEFAULT,
        session_config: config_pb2.ConfigProto | None = None,
        keep_checkpoint_max: int = 5,
        keep_checkpoint_every_n_hours: float = 10000,
        log_step_count_steps: int | None = 100,
        train_distribute: Any = None,
        device_fn: Callable[[Any], str] | None = None,
        protocol: str | None = None,
        eval_distribute: Any = None,
        experimental_distribute: Any = None,
        experimental_max_worker_delay_secs: Any = None,
        session_creation_timeout_secs: float = 7200,
    ) -> None:
        if save_checkpoints_steps is _DEFAULT and save_checkpoints_secs is _DEFAULT:
            save_checkpoints_steps, save_checkpoints_secs = None, 600
        elif save_checkpoints_secs is _DEFAULT:
            save_checkpoints_secs = None
        elif save_checkpoints_steps is _DEFAULT:
            save_checkpoints_steps = None
        for name, value in (
            ("train_distribute", train_distribute),
            ("eval_distribute", eval_distribute),
            ("experimental_distribute", experimental_distribute),
        ):
            if value is not None:
                raise errors.unimplemented(f"flowray has no distribution strategies ({name})")
        settings = json.loads(os.environ.get("TF_CONFIG", "") or "{}")
        self._read_cluster(settings)
        model_dir = None if model_dir is None else os.fspath(model_dir)
        from_environment = settings.get("model_dir") or None
        if model_dir and from_environment and model_dir != from_environment:
            raise ValueError(
                "`model_dir` provided in RunConfig construct, if set, must have the same value as "
                f"the model_dir in TF_CONFIG. Got {model_dir} and {from_environment}."
            )
        self._set(
            model_dir=model_dir or from_environment,
            tf_random_seed=tf_random_seed,
            save_summary_steps=save_summary_steps,
            save_checkpoints_steps=save_checkpoints_steps,
            save_checkpoints_secs=save_checkpoints_secs,
            session_config=session_config,
            keep_checkpoint_max=keep_checkpoint_max,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            log_step_count_steps=log_step_count_steps,
            train_distribute=None,
            device_fn=device_fn,
            protocol=protocol,
            eval_distribute=None,
            experimental_distribute=None,
            experimental_max_worker_delay_secs=experimental_max_worker_delay_secs,
            session_creation_timeout_secs=session_creation_timeout_secs,
        )

    def _read_cluster(self, settings: dict[str, Any]) -> None:
        self.cluster_spec: dict[str, Any] = settings.get("cluster") or {}
        task = settings.get("task") or {}
        self.service = settings.get("service")
        has_chief = TaskType.CHIEF in self.cluster_spec or TaskType.MASTER in self.cluster_spec
        if self.cluster_spec and not has_chief:
            raise ValueError(
                'If "cluster" is set in TF_CONFIG, it must have one "chief" node. '
                f"Got {sorted(self.cluster_spec)}."
            )
        self.task_type = task.get("type", TaskType.WORKER)
        self.task_id = int(task.get("index", 0))
        if self.cluster_spec and not task:
            raise ValueError('If "cluster" is set in TF_CONFIG, task type and index must be set.')
        if self.task_id < 0:
            raise ValueError("Task index must be non-negative number.")
        own = _address(self.cluster_spec, self.task_type, self.task_id)
        self.master: str = settings.get("session_master", own)
        self.evaluation_master: str = settings.get("eval_session_master", self.master)
        self.is_chief = not self.cluster_spec or self.task_type in (
            TaskType.CHIEF,
            TaskType.MASTER,
        )
        self.num_ps_replicas = _count(self.cluster_spec, TaskType.PS)
        self.num_worker_replicas = (
            1
            if not self.cluster_spec
            else sum(
                _count(self.cluster_spec, kind)
                for kind in (TaskType.WORKER, TaskType.CHIEF, TaskType.MASTER)
            )
        )
        self.global_id_in_cluster = 0 if self.is_chief else self.task_id + 1

    def _set(self, **settings: Any) -> None:
        for name, value in settings.items():
            _check(name, value)
            setattr(self, name, value)
        if self.save_checkpoints_steps is not None and self.save_checkpoints_secs is not None:
            raise ValueError(
                "Can not provide both save_checkpoints_steps and save_checkpoints_secs."
            )

    def replace(self, **kwargs: Any) -> RunConfig:
        """Returns a copy with some settings replaced.

        Raises:
            ValueError: a name is unknown, or a value is out of range.
        """
        unknown = set(kwargs) - set(_REPLACEABLE)
        if unknown:
            raise ValueError(
                f"Replacing {sorted(unknown)} is not supported. Allowed properties are "
                f"{list(_REPLACEABLE)}."
            )
        result = copy.copy(self)
        for given, other in (
            ("save_checkpoints_steps", "save_checkpoints_secs"),
            ("save_checkpoints_secs", "save_checkpoints_steps"),
        ):
            if kwargs.get(given) is not None and other not in kwargs:
                setattr(result, other, None)
        result._set(**kwargs)
        return result


def _check(name: str, value: Any) -> None:
    at_least = {"save_summary_steps": 0, "save_checkpoints_steps": 0, "save_checkpoints_secs": 0}
    positive = (
        "log_step_count_steps",
        "keep_checkpoint_every_n_hours",
        "session_creation_timeout_secs",
    )
    if value is None:
        return
    if name in at_least and value < at_least[name]:
        raise ValueError(f"{name} should be >= 0")
    if name == "keep_checkpoint_max" and value < 0:
        raise ValueError("keep_checkpoint_max should be >= 0")
    if name in positive and value <= 0:
        raise ValueError(f"{name} should be > 0")
    if name == "model_dir" and not value:
        raise ValueError("model_dir should be non-empty")
    if name == "session_config" and not isinstance(value, config_pb2.ConfigProto):
        raise ValueError("session_config must be instance of ConfigProto")
    if name == "device_fn" and not callable(value):
        raise ValueError("device_fn must be callable with exactly one argument 'op'")
    if name == "tf_random_seed" and not isinstance(value, numbers.Integral):
        raise ValueError("tf_random_seed must be integer.")
    if name == "protocol" and value not in ("grpc", "grpc+verbs"):
        raise ValueError("protocol should be grpc or grpc+verbs")


def _address(cluster: dict[str, Any], job: str, task: int) -> str:
    tasks = cluster.get(job)
    if not tasks:
        return ""
    address = tasks[str(task)] if isinstance(tasks, dict) else tasks[task]
    return f"grpc://{address}"


def _count(cluster: dict[str, Any], job: str) -> int:
    return len(cluster.get(job) or ())
