"""Every row of the tables of tests/ops on TensorFlow: values, dtypes, shapes, errors.

A row with an expected value is compared with flowray's numpy kernel (tests/ops compares that with
XLA), one without with both. Rows that TensorFlow does not agree with say why in their table.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest

from flowray.proto.ops import op_registry
from flowray.worker import kernel_registry as kernels
from flowray.worker.state.store import Variable
from tests.ops import harness
from tests.ops.harness import Case, VariableInput

pytest.importorskip("tensorflow")

from tests.conformance import tensorflow_side
from tests.conformance.tensorflow_side import errors, message_of

# Rows whose error has words of flowray's own.
OWN_WORDS = {
    "BatchToSpaceND-4": "TensorFlow's are those of its shape function, which wants to know shapes",
    "SpaceToBatchND-4": "as BatchToSpaceND-4",
}


@functools.cache
def runner(op: str) -> tensorflow_side.Runner:
    return tensorflow_side.Runner(tensorflow_side.tables_by_op()[op])


@pytest.mark.parametrize("row", tensorflow_side.all_rows(), ids=str)
def test_row(row: Case) -> None:
    if row.raises is not None:
        check_error(row)
        return
    outputs, state = runner(row.op).run(row)
    for backend in backends(row):
        our_outputs, variables = run_ours(row, backend)
        assert len(our_outputs) == len(outputs)
        for i, (ours, theirs) in enumerate(zip(our_outputs, outputs, strict=True)):
            compare(ours, theirs, row, f"{backend}, output {i}")
        for i, (variable, theirs) in enumerate(zip(variables, state, strict=True)):
            ours = np.asarray(variable.read()) if variable.is_initialized else None
            assert (ours is None) == (theirs is None), f"{backend}, variable {i}: {ours}, {theirs}"
            if ours is not None:
                compare(ours, theirs, row, f"{backend}, variable {i}")


def check_error(row: Case) -> None:
    assert row.raises is not None
    with pytest.raises(errors.OpError) as info:
        runner(row.op).run(row)
    assert type(info.value).__name__ == row.raises.__name__, str(info.value)
    if row.id not in OWN_WORDS:
        assert re.search(row.match, message_of(info.value)), message_of(info.value)


def backends(row: Case) -> tuple[str, ...]:
    definition = op_registry.lookup(row.op)
    compilable = row.xla and not (definition.host_only or definition.dynamic_shape)
    expected = row.expect if isinstance(row.expect, tuple) else (row.expect,)
    return ("numpy", "xla") if compilable and any(e is None for e in expected) else ("numpy",)


def run_ours(row: Case, backend: str) -> tuple[list[Any], list[Variable]]:
    kernel = kernels.lookup(row.op)
    variables = [
        Variable(f"v{i}", harness.dtype_of(v), None if v.value is None else v.value.copy())
        for i, v in enumerate(row.inputs)
        if isinstance(v, VariableInput)
    ]
    run = harness.run_numpy if backend == "numpy" else harness.run_xla
    inputs = [harness.copy_input(value) for value in row.inputs]
    outputs = run(kernel, inputs, variables, harness.complete_attrs(row))
    values = [np.asarray(o.read()) if isinstance(o, Variable) else o for o in outputs]
    return values, variables


def compare(ours: np.ndarray, theirs: np.ndarray, row: Case, where: str) -> None:
    assert ours.dtype == theirs.dtype, where
    assert ours.shape == theirs.shape, where
    if not is_unseeded(row):
        harness.assert_close(ours, theirs, row.rtol, row.atol, where)


def is_unseeded(row: Case) -> bool:
    """Tells whether the row's outputs are random, and differ from run to run."""
    seeded = row.attrs.get("seed") or row.attrs.get("seed2")
    return kernels.lookup(row.op).make_state is not None and not seeded
