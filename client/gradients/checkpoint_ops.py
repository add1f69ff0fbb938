"""Ops that save tensors to checkpoints and restore them: they have no gradients."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename")
