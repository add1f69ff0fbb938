"""Every family has its module in every package; the packages that lack one say here why."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from flowray.client.gradients import families as _gradients  # noqa: F401 - registers them all
from flowray.client.gradients import registry as gradients
from flowray.proto.ops import op_registry
from flowray.proto.ops.families import FAMILIES
from flowray.worker import kernel_registry as kernels
from flowray.worker import kernels as _kernels  # noqa: F401 - registers them all

OPS = op_registry.registered_ops()

PACKAGES = {
    "proto": "flowray.proto.ops",
    "worker": "flowray.worker.kernels",
    "gradients": "flowray.client.gradients",
    "client": "flowray.client.ops",
    "tests": "tests.ops",
}

_NOT_DIFFERENTIABLE = "none of its ops is differentiable"
_DATA = "flowray.client.data makes them"
_DATA_TESTS = "its ops take datasets: tests/unit/worker/test_datasets.py"
_STEP_TESTS = "its ops share resources: tests/unit/worker/test_step_resources.py"
_FUNCTION_TESTS = "its ops call functions: tests/unit/client/test_function.py and test_cond.py"

LACKING: Mapping[str, Mapping[str, str]] = {
    "proto": {},
    "worker": {},
    "gradients": dict.fromkeys(
        [
            "batch_dataset_ops",
            "box_ops",
            "candidate_sampling_ops",
            "checkpoint_ops",
            "dataset_ops",
            "file_dataset_ops",
            "image_codec_ops",
            "io_ops",
            "iterator_ops",
            "map_dataset_ops",
            "parsing_ops",
            "script_ops",
            "stack_ops",
            "state_ops",
            "string_ops",
            "summary_ops",
            "summary_writer_ops",
            "training_ops",
        ],
        _NOT_DIFFERENTIABLE,
    ),
    "client": {
        "batch_dataset_ops": _DATA,
        "checkpoint_ops": "flowray.client.train.checkpoints makes them",
        "dataset_ops": _DATA,
        "file_dataset_ops": _DATA,
        "iterator_ops": _DATA,
        "map_dataset_ops": _DATA,
        "resource_ops": "flowray.client.variables.resource_variable makes them",
        "stack_ops": "flowray.client.framework.stacks makes them",
        "summary_writer_ops": "flowray.client.summary makes them",
        "training_ops": "flowray.client.train.optimizers makes them",
    },
    "tests": {
        "batch_dataset_ops": _DATA_TESTS,
        "dataset_ops": _DATA_TESTS,
        "file_dataset_ops": _DATA_TESTS,
        "functional_ops": _FUNCTION_TESTS,
        "iterator_ops": _DATA_TESTS,
        "map_dataset_ops": _DATA_TESTS,
        "script_ops": "its ops call Python: tests/unit/client/test_data.py",
        "stack_ops": _STEP_TESTS,
        "summary_writer_ops": "its ops open files: tests/unit/client/test_summary.py",
        "tensor_array_ops": _STEP_TESTS,
    },
}


def modules(package: str) -> set[str]:
    path = importlib.import_module(PACKAGES[package]).__path__
    return {module.name.removeprefix("test_") for module in pkgutil.iter_modules(path)}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lacks_only_the_families_that_it_means_to(package: str) -> None:
    assert set(FAMILIES) - modules(package) == set(LACKING[package])


@pytest.mark.parametrize("package", ["proto", "worker", "gradients"])
def test_no_family_is_missing_from_the_list(package: str) -> None:
    assert {name for name in modules(package) if name.endswith("_ops")} <= set(FAMILIES)


def test_families_are_sorted() -> None:
    assert list(FAMILIES) == sorted(FAMILIES)


def test_every_op_stands_in_its_own_family() -> None:
    """The definition, the kernel and the gradient of an op are in modules of one name."""
    apart = {}
    for name, op in OPS.items():
        assert op.family in FAMILIES, f"{name} is defined at {op.defined_at}"
        functions = {}
        if name in kernels.registered_kernels():
            functions["kernel"] = kernels.lookup(name).function
        if name in gradients._registry:
            functions["gradient"] = gradients._registry[name]
        for what, function in functions.items():
            source = Path(inspect.getsourcefile(inspect.unwrap(function)) or "").stem
            # A function that wraps others is that of a module of helpers.
            if source in FAMILIES and source != op.family:
                apart[name, what] = (source, op.family)
    assert apart == {}
