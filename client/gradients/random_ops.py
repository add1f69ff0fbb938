"""Random numbers, equal to TensorFlow's for equal seeds: gradients."""

from __future__ import annotations

from flowray.client.framework.graph import Operation, Tensor, control_dependencies
from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.registry import gradient


@gradient("RandomGamma")
def random_gamma(op: Operation, grad: Tensor) -> tuple[None, Tensor]:
    """Differentiates the sample by alpha while the draws stay (implicit reparameterization)."""
    shape, alpha = op.inputs
    with control_dependencies([grad]):
        by_alpha = apply_op("RandomGammaGrad", alpha, op.outputs[0])
        sample_axes = apply_op("Range", 0, apply_op("Size", shape), 1)
        return None, apply_op("Sum", apply_op("Mul", grad, by_alpha), sample_axes)


@gradient("RandomGammaGrad")
def without(op: Operation, grad: Tensor) -> None:
    """Raises LookupError, as TensorFlow does; a gradient of None would be silently wrong."""
    raise LookupError(f"No gradient defined for operation '{op.name}' (op type: {op.type})")
