"""Runs the rows of tests/ops on TensorFlow: the very NodeDefs that flowray's client makes.

To be imported only where TensorFlow can be.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow

from flowray.client.framework.graph import Graph, Operation, Tensor
from flowray.client.framework.op_builder import make_op
from tests import ops as tables
from tests.ops import harness
from tests.ops.harness import Case, Known, VariableInput

tf = tensorflow.compat.v1
errors = tensorflow.errors

Find = Callable[[Operation | Tensor], Any]


@functools.cache
def tables_by_op() -> dict[str, list[Case]]:
    """The rows of all tables that TensorFlow must agree with, by op type."""
    for path in sorted(Path(tables.__file__).parent.glob("test_*_ops.py")):
        importlib.import_module(f"{tables.__name__}.{path.stem}")
    chosen = {op: [row for row in rows if row.conformance] for op, rows in harness.CASES.items()}
    return {op: rows for op, rows in chosen.items() if rows}


def all_rows() -> list[Case]:
    return [row for rows in tables_by_op().values() for row in rows]


def import_into(graph: Any, ours: Graph, scope: str) -> Find:
    """Adds ``ours`` to a TensorFlow graph; returns what finds its counterparts there.

    Raises:
        ValueError: TensorFlow refuses a node (InvalidArgument, in a session).
    """
    graph_def = tf.GraphDef.FromString(ours.as_graph_def().SerializeToString())
    with graph.as_default():
        tf.import_graph_def(graph_def, name=scope)
    return lambda item: graph.as_graph_element(f"{scope}/{item.name}")


def flat_inputs(row: Case) -> list[Any]:
    flat: list[Any] = []
    for value in row.inputs:
        flat.extend(value if isinstance(value, list) else [value])
    return flat


def message_of(error: Exception) -> str:
    """Returns the text of the kernel or shape function, without TensorFlow's additions."""
    text = getattr(error, "message", str(error))
    text = re.sub(r"\AGraph execution error:.*?\nNode: '[^\n]*'\n", "", text, flags=re.DOTALL)
    text = re.split(r"\n\t \[\[| for '(?:\{\{node |[^']*' \(op: )", text)[0]
    return text.removeprefix("Graph execution error:\n\n")


@dataclass
class _Row:
    """A row in TensorFlow's graph: what to run, and what with."""

    fetches: list[Any]
    feeds: dict[Any, Any]
    initializers: list[Any] = field(default_factory=list)
    reads: list[Any] = field(default_factory=list)


class Runner:
    """A TensorFlow session over the nodes of the rows of one op type.

    Input shapes are unknown to it, so that kernels are what refuses bad ones; where TensorFlow
    wants to know more, it does. A session has its own variables and random generators.
    """

    def __init__(self, rows: Sequence[Case]) -> None:
        self._graph = tf.Graph()
        self._rows = {id(row): self._add(row, f"row{i}") for i, row in enumerate(rows)}
        self._session = tf.Session(graph=self._graph)
        if any(isinstance(v, VariableInput) for row in rows for v in row.inputs):
            self._make_container()

    def _make_container(self) -> None:
        """Makes a variable, since TensorFlow says other words where there was never one before."""
        with self._graph.as_default():
            handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="first")
            self._session.run(tf.raw_ops.AssignVariableOp(resource=handle, value=0.0))

    def _add(self, row: Case, scope: str) -> _Row | Exception:
        refusal = ""
        for known in reversed(harness.KNOWN):
            try:
                return self._add_with(row, f"{scope}_{known}", known)
            except ValueError as error:
                refusal = str(error)
        return errors.InvalidArgumentError(None, None, refusal)

    def _add_with(self, row: Case, scope: str, known: Known) -> _Row:
        ours = Graph()
        with ours.as_default():
            op = harness.build(row, known)
            pairs = list(zip(op.inputs, flat_inputs(row), strict=True))
            variables = [
                _add_variable(t, v, f"{scope}/{t.op.name}")
                for t, v in pairs
                if isinstance(v, VariableInput)
            ]
        find = import_into(self._graph, ours, scope)
        result = _Row(
            [find(t) for t in op.outputs] or [find(op)],
            {find(t): v for t, v in pairs if not isinstance(v, VariableInput)},
        )
        for value, initial, initializer, read in variables:
            result.reads.append(find(read))
            if value is not None:
                result.initializers.append(find(initializer))
                result.feeds[find(initial)] = value
        return result

    def run(self, row: Case) -> tuple[list[Any], list[Any]]:
        """The values of the row's outputs, and of its variables afterwards (None: none)."""
        found = self._rows[id(row)]
        if isinstance(found, Exception):
            raise found
        if found.initializers:
            self._session.run(found.initializers, found.feeds)
        outputs = self._session.run(found.fetches, found.feeds)
        return [_as_array(o) for o in outputs if o is not None], [
            self._value(read) for read in found.reads
        ]

    def _value(self, read: Any) -> Any:
        try:
            return self._session.run(read)
        except errors.FailedPreconditionError:
            return None


def _add_variable(
    variable: Tensor, given: VariableInput, shared_name: str
) -> tuple[np.ndarray | None, Tensor, Operation, Tensor]:
    """Nodes around a variable: its value, a placeholder for it, its initializer, its reader."""
    dtype = harness.dtype_of(given)
    initial = make_op("Placeholder", dtype=dtype, shape=None).outputs[0]
    if variable.dtype._is_ref_dtype:
        assign = make_op("Assign", variable, initial, validate_shape=False)
        return given.value, initial, assign, make_op("Identity", variable).outputs[0]
    # Handles without a shared name would all be of one variable.
    variable.op._node_def.attr["shared_name"].s = shared_name.encode()
    assign = make_op("AssignVariableOp", variable, initial, dtype=dtype)
    return given.value, initial, assign, make_op("ReadVariableOp", variable, dtype=dtype).outputs[0]


def _as_array(value: Any) -> np.ndarray:
    """A fetched value as flowray has it: strings are object arrays of bytes."""
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)
