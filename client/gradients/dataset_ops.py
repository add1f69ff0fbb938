"""Datasets, iterators and optionals: gradients, of which there are none."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.ops import op_registry

not_differentiable(
    *(
        name
        for name in op_registry.registered_ops()
        if "Dataset" in name or "Iterator" in name or name.startswith("Optional")
    )
)
