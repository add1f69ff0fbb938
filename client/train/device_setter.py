"""``tf.train.replica_device_setter``: variables on the parameter servers, the rest on a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.framework.graph import Operation
from flowray.client.tf_export import tf_export
from flowray.proto.graph.device_names import DeviceSpec, merge

STANDARD_PS_OPS = (
    "Variable", "VariableV2", "AutoReloadVariable", "MutableHashTable", "MutableHashTableV2",
    "MutableHashTableOfTensors", "MutableHashTableOfTensorsV2", "MutableDenseHashTable",
    "MutableDenseHashTableV2", "VarHandleOp", "BoostedTreesEnsembleResourceHandleOp",
    "BoostedTreesQuantileStreamResourceHandleOp", "ResourceConditionalAccumulator",
    "DecisionTreeResource",
)  # fmt: skip


class _RoundRobin:
    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._next = 0

    def __call__(self, op: Operation) -> int:
        task = self._next
        self._next = (task + 1) % self._tasks
        return task


@tf_export("train.replica_device_setter")
def replica_device_setter(
    ps_tasks: int = 0,
    ps_device: str = "/job:ps",
    worker_device: str = "/job:worker",
    merge_devices: bool = True,
    cluster: Any = None,
    ps_ops: Sequence[str] | None = None,
    ps_strategy: Callable[[Operation], int] | None = None,
) -> Callable[[Operation], str] | None:
    """A device function for one replica of a model.

    Args:
        ps_tasks: the number of parameter servers; with 0 there is nothing to set (None).
        ps_device: the device of variables; the task is chosen among ``ps_tasks``.
        worker_device: the device of all other ops.
        merge_devices: accepted; devices that an op asks for itself always win.
        cluster: a dict from jobs to addresses; gives ``ps_tasks``.
        ps_ops: the ops that belong on parameter servers; those of variables if None.
        ps_strategy: chooses the task for such an op; in turns if None.

    Raises:
        TypeError: ``cluster`` or ``ps_strategy`` is of the wrong type.
    """
    if cluster is not None:
        tasks = cluster.as_dict() if hasattr(cluster, "as_dict") else cluster
        if not isinstance(tasks, dict):
            raise TypeError("cluster must be a dict from jobs to lists of addresses")
        ps_job = DeviceSpec.from_string(ps_device).job
        ps_tasks = len(tasks.get(ps_job) or ())
    if ps_tasks == 0:
        return None
    strategy = ps_strategy or _RoundRobin(ps_tasks)
    if not callable(strategy):
        raise TypeError("ps_strategy must be callable")
    served = frozenset(STANDARD_PS_OPS if ps_ops is None else ps_ops)
    ps_spec, worker_spec = DeviceSpec.from_string(ps_device), DeviceSpec.from_string(worker_device)

    def choose(op: Operation) -> str:
        wanted = DeviceSpec.from_string(op.device or "")
        if op.type not in served:
            return merge(worker_spec, wanted).to_string()
        spec = ps_spec
        if spec.job and spec.task is None and spec.job == (wanted.job or spec.job):
            spec = merge(spec, DeviceSpec(task=strategy(op)))
        return merge(spec, wanted).to_string()

    return choose
