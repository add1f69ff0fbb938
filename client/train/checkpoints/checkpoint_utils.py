"""``tf.train.init_from_checkpoint``: variables that start with the values of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flowray.client.framework.graph import device
from flowray.client.framework.op_builder import apply_op
from flowray.client.platform import logging
from flowray.client.tf_export import tf_export
from flowray.client.train.checkpoints.checkpoint_reader import (
    CheckpointReader,
    checkpoint_prefix,
    load_checkpoint,
)
from flowray.client.train.checkpoints.saveable import saveables_of
from flowray.client.variables.partitioned_variables import PartitionedVariable
from flowray.client.variables.variable_scope import variables_by_name
from flowray.client.variables.variables import Variable
from flowray.proto.types.shapes import TensorShape


@tf_export("train.init_from_checkpoint")
def init_from_checkpoint(
    ckpt_dir_or_file: str | os.PathLike[str], assignment_map: Mapping[str, Any]
) -> None:
    """Replaces the initializers of variables by ones that read the values from a checkpoint.

    It must be called before the initializers are put into an op, such as
    ``tf.global_variables_initializer()``.

    Args:
        ckpt_dir_or_file: the checkpoint, or a directory whose latest one is meant.
        assignment_map: from names in the checkpoint to variables, lists of the parts of one, or
            names of variables; also from scopes in the checkpoint to scopes here, which both end
            with ``/``: all variables in the scope are meant then.

    Raises:
        ValueError: a tensor or a variable does not exist, or they differ in shape.
    """
    source = _Source(ckpt_dir_or_file)
    for key in sorted(assignment_map):
        target = assignment_map[key]
        if isinstance(target, str):
            if key.endswith("/"):
                source.initialize_scope(key, target)
                continue
            target = _find(target, key)
        source.initialize(key, target)


class _Source:
    """The checkpoint to initialize from."""

    def __init__(self, ckpt_dir_or_file: str | os.PathLike[str]) -> None:
        self.given = os.fspath(ckpt_dir_or_file)
        self.prefix = checkpoint_prefix(ckpt_dir_or_file)
        reader: CheckpointReader = load_checkpoint(ckpt_dir_or_file)
        self.shapes = reader.get_variable_to_shape_map()

    def initialize_scope(self, scope: str, target: str) -> None:
        """Initializes the variables in the scope ``target`` from those in ``scope``."""
        if target and not target.endswith("/"):
            raise ValueError(
                f"Assignment map with scope only name {scope} should map to scope only {target}. "
                "Should be 'scope/': 'other_scope/'."
            )
        wanted = "" if target == "/" else target
        source = "" if scope == "/" else scope
        for name, variable in sorted(_variables().items()):
            if name.startswith(wanted):
                self.initialize(source + name.removeprefix(wanted), variable, in_scope=scope)

    def initialize(self, key: str, target: Any, in_scope: str | None = None) -> None:
        """Initializes a variable, or the parts of one, from the tensor ``key``."""
        parts = list(target) if isinstance(target, list | PartitionedVariable) else [target]
        for part in parts:
            if not isinstance(part, Variable):
                raise ValueError(f"assignment_map: {key} maps to {part!r}, which is not a variable")
        if key not in self.shapes:
            where = f" in scope {in_scope}" if in_scope else ""
            raise ValueError(
                f"Tensor {key} is not found in {self.given} checkpoint{where}: "
                f"{sorted(self.shapes)}"
            )
        info = parts[0]._save_slice_info
        if isinstance(target, Variable):
            name, shape = target.op.name, target.shape
        else:
            assert info is not None
            name, shape = str(info.full_name), TensorShape(info.full_shape)
        if not shape.is_compatible_with(self.shapes[key]):
            raise ValueError(
                f"Shape of variable {name} ({shape}) doesn't match with shape of tensor {key} "
                f"({self.shapes[key]}) from checkpoint reader."
            )
        for part in parts:
            whole = isinstance(target, Variable)
            self._set_initializer(part, key, "" if whole else part._save_slice_info.spec)
        logging.debug("Initialize variable %s from checkpoint %s with %s", name, self.given, key)

    def _set_initializer(self, variable: Variable, key: str, spec: str) -> None:
        # Not colocated with the variable: the op can run on the CPU only.
        with device(variable.device), device("/device:CPU:0"):
            (value,) = apply_op(
                "RestoreV2",
                self.prefix,
                [key],
                [spec],
                dtypes=[variable.dtype.base_dtype],
                name="checkpoint_initializer",
            )
        value.set_shape(variable.shape)
        (saveable,) = saveables_of(variable, variable.op.name)
        restored = saveable.restore([value], None)
        variable._initializer_op = restored if not hasattr(restored, "op") else restored.op
        variable._initial_value = value


def _variables() -> dict[str, Any]:
    """Returns the variables of ``tf.get_variable``, the parts of partitioned ones in lists."""
    result: dict[str, Any] = {}
    for name, variable in variables_by_name().items():
        info = variable._save_slice_info
        if info is None:
            result[name] = variable
        else:
            result.setdefault(str(info.full_name), []).append(variable)
    return result


def _find(name: str, key: str) -> Any:
    variables = _variables()
    if name not in variables:
        raise ValueError(
            f"assignment_map: {key} maps to {name}, but tf.get_variable has made no such variable"
        )
    return variables[name]
