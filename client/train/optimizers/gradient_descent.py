"""``tf.train.GradientDescentOptimizer``."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Operation, Tensor
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import make_op, output_of
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer


@tf_export("train.GradientDescentOptimizer")
class GradientDescentOptimizer(SingleOpOptimizer):
    """Gradient descent: ``var -= learning_rate * grad``.

    Args:
        learning_rate: a number, scalar Tensor, or function without arguments that returns one.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients.
    """

    _step = "GradientDescent"

    def __init__(
        self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent"
    ) -> None:
        super().__init__(use_locking, name, {"alpha": (learning_rate, "learning_rate")})

    # Scattering adds up by itself what belongs to one row.

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Tensor:
        values: Any = grad.values
        delta = values * self._operand("alpha", var)
        return output_of("ScatterSub", var, grad.indices, delta, use_locking=self._use_locking)

    def _resource_apply_sparse_duplicate_indices(
        self, grad: Tensor, var: Any, indices: Tensor
    ) -> Operation:
        values: Any = grad
        delta = -values * self._operand("alpha", var)
        return make_op("ResourceScatterAdd", var.handle, indices, delta)
