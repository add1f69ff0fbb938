"""Ops that only order or check others: they have no gradients."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable("NoOp", "ControlTrigger", "Assert")
