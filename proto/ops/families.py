"""The families of ops: the one list of them, for all packages.

A family is a module of the same name in each package: its definitions in ``flowray.proto.ops``, its
kernels in ``flowray.worker.kernels``, its gradients in ``flowray.client.gradients``, its functions
in ``flowray.client.ops``, its tests in ``tests/ops``. A package may lack a family:
``tests/unit/proto/test_families.py`` lists these with the reasons.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Final

FAMILIES: Final = (
    "array_ops",
    "batch_dataset_ops",
    "box_ops",
    "candidate_sampling_ops",
    "checkpoint_ops",
    "control_flow_ops",
    "conv_ops",
    "dataset_ops",
    "file_dataset_ops",
    "functional_ops",
    "image_codec_ops",
    "image_ops",
    "io_ops",
    "iterator_ops",
    "layout_ops",
    "logging_ops",
    "map_dataset_ops",
    "math_ops",
    "nn_ops",
    "norm_ops",
    "parsing_ops",
    "pool_ops",
    "random_ops",
    "reduction_ops",
    "resize_ops",
    "resource_ops",
    "script_ops",
    "slice_ops",
    "sparse_ops",
    "stack_ops",
    "state_ops",
    "string_ops",
    "summary_ops",
    "summary_writer_ops",
    "tensor_array_ops",
    "training_ops",
)


def load(package: str) -> None:
    """Imports the families that ``package`` has, so that they register what they define."""
    path = importlib.import_module(package).__path__
    present = {module.name for module in pkgutil.iter_modules(path)}
    for family in FAMILIES:
        if family in present:
            importlib.import_module(f"{package}.{family}")
