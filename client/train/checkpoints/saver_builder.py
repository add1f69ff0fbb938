"""The nodes of a Saver, which save and restore, named and placed as in TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import (
    Operation,
    Tensor,
    control_dependencies,
    device,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops.array_ops import identity, placeholder_with_default
from flowray.client.ops.control_flow_ops import group, with_dependencies
from flowray.client.ops.slice_ops import where
from flowray.client.train.checkpoints.saveable import (
    SaveableObject,
    saveable_objects,
    shapes_for_reshape,
)
from flowray.proto import errors
from flowray.proto.graph.device_names import canonical, merge
from flowray.proto.messages.checkpoint_pb2 import SaverDef

PerDevice = list[tuple[str, list[SaveableObject]]]


class BulkSaverBuilder:
    """Builds a Saver that saves with one op per shard and restores with one.

    A subclass may override ``save_op`` and ``bulk_restore``.
    """

    def __init__(self, write_version: Any = SaverDef.V2) -> None:
        if write_version != SaverDef.V2:
            raise errors.unimplemented(
                "flowray writes checkpoints in the format V2 only (write_version)"
            )
        self._write_version = write_version

    def save_op(self, filename_tensor: Tensor, saveables: Sequence[SaveableObject]) -> Operation:
        """Makes the op that writes ``saveables`` to one file."""
        specs = [spec for saveable in saveables for spec in saveable.specs]
        operation: Operation = apply_op(
            "SaveV2",
            filename_tensor,
            [s.name for s in specs],
            [s.slice_spec for s in specs],
            [s.tensor for s in specs],
        )
        return operation

    def bulk_restore(
        self,
        filename_tensor: Tensor,
        saveables: Sequence[SaveableObject],
        preferred_shard: int,
        restore_sequentially: bool,
    ) -> list[Tensor]:
        """Makes the tensors of all specs of ``saveables`` in the checkpoint."""
        specs = [spec for saveable in saveables for spec in saveable.specs]
        with device("/device:CPU:0"):
            restored: list[Tensor] = apply_op(
                "RestoreV2",
                filename_tensor,
                [s.name for s in specs],
                [s.slice_spec for s in specs],
                dtypes=[s.dtype.base_dtype for s in specs],
            )
        return restored

    def build(
        self,
        names_to_saveables: Any,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        filename: str = "model",
    ) -> SaverDef:
        """Adds the nodes to the default graph; for the arguments see ``tf.train.Saver``.

        Raises:
            TypeError, ValueError: something cannot be saved.
        """
        saveables = saveable_objects(names_to_saveables)
        with name_scope(name, "save", [s.op for s in saveables]):
            default = placeholder_with_default(filename or "model", shape=(), name="filename")
            # The name that users and other clients feed.
            prefix = placeholder_with_default(default, shape=(), name="Const")
            if sharded:
                per_device = by_device(saveables)
                saved = self._add_sharded_save(prefix, per_device)
                restored = self._add_sharded_restore(
                    prefix, per_device, restore_sequentially, reshape
                )
            else:
                saved = self._add_save(prefix, saveables)
                restored = self._add_restore(prefix, saveables, restore_sequentially, reshape)
        return SaverDef(
            filename_tensor_name=prefix.name,
            save_tensor_name=saved.name,
            restore_op_name=restored.name,
            max_to_keep=max_to_keep,
            sharded=sharded,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            version=self._write_version,
        )

    def _add_save(self, filename: Tensor, saveables: Sequence[SaveableObject]) -> Tensor:
        save = self.save_op(filename, saveables)
        saved: Tensor = with_dependencies([save], filename)
        return saved

    def _add_restore(
        self,
        filename: Tensor,
        saveables: Sequence[SaveableObject],
        restore_sequentially: bool,
        reshape: bool,
        preferred_shard: int = -1,
        name: str = "restore_all",
    ) -> Operation:
        tensors = self.bulk_restore(filename, saveables, preferred_shard, restore_sequentially)
        assigned, start = [], 0
        for saveable in saveables:
            end = start + len(saveable.specs)
            shapes = shapes_for_reshape(saveable) if reshape else None
            assigned.append(saveable.restore(tensors[start:end], shapes))
            start = end
        return group(*assigned, name=name)

    def _add_sharded_save(self, prefix: Tensor, per_device: PerDevice) -> Tensor:
        """Lets each device write a checkpoint into a directory; one op merges them."""
        with device("CPU"):
            # In an object store nothing can be renamed, so there a directory would be in the way.
            suffix = where(
                apply_op("StaticRegexFullMatch", prefix, pattern="^s3://.*"),
                constant(".part"),
                constant("_temp/part"),
            )
            temporary = apply_op("StringJoin", [prefix, suffix])
        number = constant(len(per_device), name="num_shards")
        parts, saved = [], []
        last = ""
        for shard, (where_, saveables) in enumerate(per_device):
            last = where_
            with device(on_cpu(where_)):
                part = apply_op("ShardedFilename", temporary, shard, number)
                parts.append(part)
                saved.append(self._add_save(part, saveables))
        with control_dependencies([s.op for s in saved]), device(on_cpu(last)):
            merged = apply_op("MergeV2Checkpoints", parts, prefix, delete_old_dirs=True)
            with control_dependencies([merged]):
                return identity(prefix)

    def _add_sharded_restore(
        self, prefix: Tensor, per_device: PerDevice, restore_sequentially: bool, reshape: bool
    ) -> Operation:
        restored = []
        for shard, (where_, saveables) in enumerate(per_device):
            with device(where_):
                restored.append(
                    self._add_restore(
                        prefix, saveables, restore_sequentially, reshape, shard, "restore_shard"
                    )
                )
        return group(*restored, name="restore_all")


def by_device(saveables: Sequence[SaveableObject]) -> PerDevice:
    """Returns the saveables of each device, sorted by the devices' names.

    Raises:
        ValueError: the tensors of one are on several devices.
    """
    groups: dict[str, list[SaveableObject]] = {}
    for saveable in saveables:
        devices = {canonical(spec.device or "") for spec in saveable.specs}
        if len(devices) != 1:
            raise ValueError(
                f"All tensors of a saveable object must be on the same device: {saveable.name}"
            )
        groups.setdefault(devices.pop(), []).append(saveable)
    return sorted(groups.items())


def on_cpu(name: str) -> str:
    """Returns the CPU of the task that device ``name`` is on."""
    return merge(name, "/device:CPU:0").to_string()
