"""Sparse tensors in one tensor: gradients, of which there are none."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable(
    "DeserializeManySparse", "DeserializeSparse", "SerializeManySparse", "SerializeSparse"
)
