"""The update ops of the optimizers: none has a gradient."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable
from flowray.proto.ops import training_ops

not_differentiable(*training_ops.OPS)
