"""Every op has its five pieces (docs/adding_an_op.md); what lacks one says here why."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import tests.ops
from flowray.client.gradients import families as _gradients  # noqa: F401 - registers them all
from flowray.client.gradients import registry as gradients
from flowray.proto import dtypes, op_registry
from flowray.proto.op_registry import ArgDef, OpDef
from flowray.proto.ops import common_shapes
from flowray.worker import kernels as _kernels  # noqa: F401 - registers them all
from flowray.worker.kernels import registry as kernels
from tests.ops import harness

for _module in pkgutil.iter_modules(tests.ops.__path__, "tests.ops."):
    if _module.name.rpartition(".")[2].startswith("test_"):
        importlib.import_module(_module.name)

OPS = op_registry.registered_ops()
# Before other tests register gradients of their own.
GRADIENTS = frozenset(gradients._registry)

_VARIABLE = "worker/program.py puts the variable into its slot when it loads a stage"
_DEAD = "its outputs can be dead, which no row can say; tests/unit/client/test_cond.py runs it"

_WRITER = "no row can open a writer; tests/unit/client/test_summary.py runs it"

NO_KERNEL = {"VarHandleOp": _VARIABLE, "Variable": _VARIABLE, "VariableV2": _VARIABLE}

NO_CASE = {
    **NO_KERNEL,
    "Switch": _DEAD,
    "Merge": _DEAD,
    "RefSwitch": _DEAD,
    "SummaryWriter": _WRITER,
    "CreateSummaryFileWriter": _WRITER,
    "ImportEvent": _WRITER,
    "FlushSummaryWriter": _WRITER,
    "CloseSummaryWriter": _WRITER,
}

NO_GRADIENT: Mapping[str, str] = {}

UNKNOWN_SHAPE: Mapping[str, str] = {}
"""Ops of which nothing is ever known of an output's shape."""

PENDING = {
    "dataset_ops": "datasets are being written: variants and functions as inputs need a table",
    "map_dataset_ops": "as dataset_ops",
    "file_dataset_ops": "as dataset_ops",
    "iterator_ops": "as dataset_ops",
    "functional_ops": "the client's side and its gradients are being written",
}
"""Families that may lack cases and gradients for now. None may lack a kernel."""


def family(name: str) -> str:
    """The stem of the module that defines the op."""
    return Path(OPS[name].defined_at.rpartition(":")[0]).stem


def told(names: set[str]) -> str:
    return "".join(f"\n  {name}, defined at {OPS[name].defined_at}" for name in sorted(names))


def check(lacking: set[str], excused: Mapping[str, str], what: str, pending: bool = True) -> None:
    """Nobody lacks it but those who are excused, and those do."""
    missing = lacking - set(excused)
    if pending:
        missing = {name for name in missing if family(name) not in PENDING}
    assert not missing, f"these ops have no {what}:{told(missing)}"
    needless = set(excused) - lacking
    assert not needless, f"these ops have a {what}; excuse them no more: {sorted(needless)}"


def test_every_op_has_a_kernel() -> None:
    check(set(OPS) - set(kernels.registered_kernels()), NO_KERNEL, "kernel", pending=False)


def test_every_op_has_a_shape_function() -> None:
    unknown = {n for n, op in OPS.items() if op.outputs and op.shape is common_shapes.unknown}
    check(unknown, UNKNOWN_SHAPE, "shape function of its own", pending=False)


def test_every_op_has_a_case() -> None:
    check(set(OPS) - set(harness.CASES), NO_CASE, "case in tests/ops")


def test_every_op_has_a_gradient_or_is_marked() -> None:
    """Those of whose outputs none can be of a type that has gradients need no mark."""
    lacking = {n for n, op in OPS.items() if n not in GRADIENTS and _may_get_a_gradient(op)}
    check(lacking, NO_GRADIENT, "gradient")


def _may_get_a_gradient(op: OpDef) -> bool:
    return any(_may_be_differentiable(op, output) for output in op.outputs)


def _may_be_differentiable(op: OpDef, output: ArgDef) -> bool:
    if output.dtype is not None:
        return _is_differentiable(output.dtype)
    attr = op.attrs[output.type_attr or output.type_list_attr or ""]
    return attr.allowed is None or any(map(_is_differentiable, attr.allowed))


def _is_differentiable(dtype: dtypes.DType) -> bool:
    return dtype.is_floating or dtype.is_complex or dtype is dtypes.resource


@pytest.mark.parametrize("kind", ["kernels", "cases", "gradients"])
def test_nothing_is_there_for_an_op_that_is_not_defined(kind: str) -> None:
    names = {
        "kernels": set(kernels.registered_kernels()),
        "cases": set(harness.CASES),
        "gradients": GRADIENTS,
    }[kind]
    assert names <= set(OPS)


def test_what_is_pending_exists() -> None:
    assert set(PENDING) <= {family(name) for name in OPS}
