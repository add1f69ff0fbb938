"""Datasets, iterators and optionals: gradients, of which there are none."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable
from flowray.proto import op_registry
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops

not_differentiable(
    *(
        name
        for name in op_registry.registered_ops()
        if "Dataset" in name or "Iterator" in name or name.startswith("Optional")
    )
)
