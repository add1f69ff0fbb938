"""Explanations of errors in restoring a checkpoint, with remedies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from flowray.client.framework.graph import Tensor
from flowray.client.train.checkpoints.checkpoint_reader import CheckpointReader
from flowray.client.train.checkpoints.saveable import SaveableObject, saveable_objects
from flowray.client.variables.resource_variable import ResourceVariable
from flowray.proto import errors
from flowray.proto.types.shapes import format_shape

_NAMED: Final = 5
"""How many variables a message names."""


def explained(error: errors.OpError, prefix: str, var_list: Any) -> errors.OpError:
    """Adds to ``error``, raised for the checkpoint ``prefix``, an explanation if one is known.

    Args:
        var_list: the variables that were to be restored, as a Saver takes them; None if unknown.
    """
    kind = type(error)
    if isinstance(error, errors.NotFoundError):
        text = _mismatch_text(
            "a Variable name or other graph key that is missing", prefix, var_list
        )
    elif isinstance(error, errors.InvalidArgumentError):
        text = _mismatch_text(
            "a mismatch between the current graph and the graph", prefix, var_list
        )
    elif isinstance(error, errors.DataLossError | errors.OutOfRangeError):
        # A file that was cut off must not be taken for the end of the input, as training loops do
        # with TensorFlow's OutOfRangeError.
        kind = errors.DataLossError
        state = os.path.join(os.path.dirname(prefix), "checkpoint")
        text = (
            f"Restoring from checkpoint {prefix} failed: its files are damaged. To go on from an "
            f"older one, name that in {state} instead."
        )
    else:
        return error
    message = f"{text} Original error:\n\n{error.message}"
    return kind(error.node_def, error.op, message)  # type: ignore[call-arg]


def check_resources(prefix: str, var_list: Any) -> None:
    """Checks the shapes of resource variables, which restoring would let the checkpoint change.

    Raises:
        InvalidArgumentError: a shape is another one in the checkpoint.
        DataLossError: the checkpoint is damaged.
    """
    resources = [s for s in saveable_objects(var_list) if isinstance(s.op, ResourceVariable)]
    if resources:
        for _, stored, wanted in _other_shapes(_shapes_in(prefix), resources):
            raise errors.invalid_argument(
                "Assign requires shapes of both tensors to match. lhs shape= "
                f"{wanted} rhs shape= {stored}"
            )


def _mismatch_text(reason: str, prefix: str, var_list: Any) -> str:
    text = (
        f"Restoring from checkpoint failed. This is most likely due to {reason} from the "
        "checkpoint. Please ensure that you have not altered the graph expected based on the "
        "checkpoint."
    )
    lines = [] if var_list is None else _differences(prefix, var_list)
    if not lines:
        return text
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    return (
        f"{text} In {prefix}, {'; '.join([*lines[:_NAMED], *more])}. If this is another model, "
        "give it a directory of its own; to keep what fits, restore only that "
        "(tf.train.Saver(var_list), tf.train.init_from_checkpoint)."
    )


def _differences(prefix: str, var_list: Any) -> list[str]:
    """Returns the differences of checkpoint and graph; nothing if it cannot be read here."""
    saveables = saveable_objects(var_list)
    try:
        shapes = _shapes_in(prefix)
    except errors.OpError:
        return []  # then that is what the error is about
    other = [
        f"{name} has shape {stored}, and {wanted} in the graph"
        for name, stored, wanted in _other_shapes(shapes, saveables)
    ]
    missing = [
        f"{spec.name} is missing"
        for saveable in saveables
        for spec in saveable.specs
        if spec.name not in shapes
    ]
    return [*other, *missing]


def _shapes_in(prefix: str) -> dict[str, list[int]]:
    return CheckpointReader(prefix).get_variable_to_shape_map()


def _other_shapes(
    shapes: dict[str, list[int]], saveables: list[SaveableObject]
) -> Iterator[tuple[str, str, str]]:
    """Returns the variables with another shape in the checkpoint: names and both shapes.

    Of those that are saved in parts nothing is said.
    """
    for saveable in saveables:
        variable, spec = saveable.op, saveable.specs[0]
        if not isinstance(variable, ResourceVariable | Tensor) or spec.slice_spec:
            continue
        stored, wanted = shapes.get(spec.name), variable.get_shape()
        if stored is not None and not wanted.is_compatible_with(stored):
            yield spec.name, format_shape(tuple(stored)), format_shape(wanted.as_tuple())
