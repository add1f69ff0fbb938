"""Gradients of stacks: there are none, as only gradients use them."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable("StackV2", "StackPushV2", "StackPopV2", "StackCloseV2")
