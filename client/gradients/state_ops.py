"""Reference variables: gradients.

A write is no function of what was there before, so nothing flows through it: what depends on a
variable gets its gradient at the read.
"""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable(
    "Variable", "VariableV2", "IsVariableInitialized", "CountUpTo",
    "Assign", "AssignAdd", "AssignSub", "StridedSliceAssign",
    "ScatterUpdate", "ScatterAdd", "ScatterSub", "ScatterMul", "ScatterDiv", "ScatterMin",
    "ScatterMax", "ScatterNdUpdate", "ScatterNdAdd", "ScatterNdSub",
)  # fmt: skip
