"""The global step: the variable that counts the training steps of a graph."""

from __future__ import annotations

import logging
from typing import Any

from flowray.client.control_flow.cond import cond
from flowray.client.framework.graph import (
    Graph,
    GraphKeys,
    Tensor,
    control_dependencies,
    get_default_graph,
)
from flowray.client.session.session import Session
from flowray.client.tf_export import tf_export
from flowray.client.variables import initializers
from flowray.client.variables.variable_modes import VariableAggregation
from flowray.client.variables.variable_scope import get_variable
from flowray.client.variables.variables import Variable
from flowray.proto.types import dtypes

GLOBAL_STEP_READ_KEY = "global_step_read_op_cache"
"""The collection of the one tensor that reads the global step."""

_logger = logging.getLogger(__name__)


@tf_export("train.global_step")
def global_step(sess: Session, global_step_tensor: Any) -> int:
    """Returns the value of the global step in ``sess``, as a Python int.

    Args:
        global_step_tensor: the variable or tensor, or its name.
    """
    return int(sess.run(global_step_tensor))


@tf_export("train.get_global_step", "contrib.framework.get_global_step")
def get_global_step(graph: Graph | None = None) -> Any:
    """Returns the global step of ``graph`` (or the default graph); None if it is not unique.

    It is the item of the collection ``GLOBAL_STEP``, else the tensor ``global_step:0``.

    Raises:
        TypeError: it is not an integer scalar.
    """
    graph = graph or get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        _logger.error("Multiple tensors in global_step collection.")
        return None
    if found:
        step = found[0]
    else:
        try:
            step = graph.get_tensor_by_name("global_step:0")
        except KeyError:
            return None
    assert_global_step(step)
    return step


@tf_export("train.create_global_step", "contrib.framework.create_global_step")
def create_global_step(graph: Graph | None = None) -> Any:
    """Makes the variable ``global_step``, an int64 scalar that starts with 0.

    Raises:
        ValueError: there is a global step already.
    """
    graph = graph or get_default_graph()
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    with graph.as_default(), graph.name_scope(None):
        return get_variable(
            GraphKeys.GLOBAL_STEP,
            shape=[],
            dtype=dtypes.int64,
            initializer=initializers.zeros(),
            trainable=False,
            aggregation=VariableAggregation.ONLY_FIRST_REPLICA,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
        )


@tf_export(
    "train.get_or_create_global_step",
    "contrib.framework.get_or_create_global_step",
    "contrib.slim.get_or_create_global_step",
)
def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """Returns the global step of ``graph`` (or the default graph), made if needed."""
    graph = graph or get_default_graph()
    step = get_global_step(graph)
    return create_global_step(graph) if step is None else step


@tf_export("train.assert_global_step", "contrib.framework.assert_global_step")
def assert_global_step(global_step_tensor: Any) -> None:
    """Raises TypeError unless it is an integer variable or tensor, and a scalar as far as known."""
    if not isinstance(global_step_tensor, Variable | Tensor):
        raise TypeError(
            f'Existing "global_step" must be a Variable or Tensor: {global_step_tensor}.'
        )
    if not global_step_tensor.dtype.base_dtype.is_integer:
        raise TypeError(
            f'Existing "global_step" does not have integer type: {global_step_tensor.dtype}'
        )
    shape = global_step_tensor.get_shape()
    if shape.ndims != 0 and shape.is_fully_defined():
        raise TypeError(f'Existing "global_step" is not scalar: {shape}')


def _get_global_step_read(graph: Graph | None = None) -> Tensor | None:
    found = (graph or get_default_graph()).get_collection(GLOBAL_STEP_READ_KEY)
    if len(found) > 1:
        raise RuntimeError(
            f"There are multiple items in collection {GLOBAL_STEP_READ_KEY}. "
            "There should be only one."
        )
    return found[0] if found else None


def _get_or_create_global_step_read(graph: Graph | None = None) -> Tensor | None:
    """Returns the tensor that reads the global step before the step changes it, or None.

    It is the initial value as long as the global step has none.
    """
    graph = graph or get_default_graph()
    read = _get_global_step_read(graph)
    if read is not None:
        return read
    step = get_global_step(graph)
    if step is None:
        return None
    with graph.as_default(), graph.name_scope(None), graph.name_scope(step.op.name + "/"):
        value: Any = step
        if isinstance(step, Variable):
            value = cond(step.is_initialized(), step.read_value, lambda: step.initial_value)
        # A copy: a read of a reference variable may see later writes.
        graph.add_to_collection(GLOBAL_STEP_READ_KEY, value + 0)
    return _get_global_step_read(graph)


def _increment_global_step(increment: int, graph: Graph | None = None) -> Any:
    """Makes an op that adds ``increment`` once the global step has been read.

    Raises:
        ValueError: there is no global step.
    """
    graph = graph or get_default_graph()
    step = get_global_step(graph)
    if step is None:
        raise ValueError(
            "Global step tensor should be created by tf.train.get_or_create_global_step before "
            "calling increment."
        )
    read = _get_or_create_global_step_read(graph)
    with (
        graph.as_default(),
        graph.name_scope(None),
        graph.name_scope(step.op.name + "/"),
        control_dependencies([read]),
    ):
        return step.assign_add(increment)
