"""Ops that call Python have no gradients."""

from flowray.client.gradients.registry import not_differentiable

not_differentiable("PyFunc", "PyFuncStateless")
