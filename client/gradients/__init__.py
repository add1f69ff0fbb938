"""Gradients: the engine, the registry, and the gradient functions by op family."""

from flowray.client.gradients import families as _families  # noqa: F401 - registers gradients
