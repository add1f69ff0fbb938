"""``tf.train.ProximalGradientDescentOptimizer`` and ``tf.train.ProximalAdagradOptimizer``.

After each step of the gradient, both shrink the variable towards 0 by the proximal operator of an
L1 and an L2 penalty (Duchi and Singer, 2009), which makes small values just 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Tensor, colocate_with
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer


@tf_export("train.ProximalGradientDescentOptimizer")
class ProximalGradientDescentOptimizer(SingleOpOptimizer):
    """Gradient descent with proximal steps.

    Args:
        learning_rate: a number or scalar Tensor.
        l1_regularization_strength, l2_regularization_strength: the penalties; not negative.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients.
    """

    _step = "ProximalGradientDescent"

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        hyper = {
            "alpha": (learning_rate, "learning_rate"),
            "l1": (l1_regularization_strength, "l1_regularization_strength"),
            "l2": (l2_regularization_strength, "l2_regularization_strength"),
        }
        super().__init__(use_locking, name, hyper)


@tf_export("train.ProximalAdagradOptimizer")
class ProximalAdagradOptimizer(SingleOpOptimizer):
    """Adagrad with proximal steps.

    Args:
        learning_rate: a number or scalar Tensor.
        initial_accumulator_value: what the accumulators start with; positive.
        l1_regularization_strength, l2_regularization_strength: the penalties; not negative.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients, and of the slots.

    Raises:
        ValueError: ``initial_accumulator_value`` is not positive.
    """

    _step = "ProximalAdagrad"
    _op_slots = ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        if initial_accumulator_value <= 0:
            raise ValueError(
                f"initial_accumulator_value must be positive: {initial_accumulator_value}"
            )
        hyper = {
            "lr": (learning_rate, "learning_rate"),
            "l1": (l1_regularization_strength, "l1_regularization_strength"),
            "l2": (l2_regularization_strength, "l2_regularization_strength"),
        }
        super().__init__(use_locking, name, hyper)
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            with colocate_with(var):
                start: Tensor = constant(
                    self._initial_accumulator_value,
                    shape=var.get_shape(),
                    dtype=var.dtype.base_dtype,
                )
            self._get_or_make_slot(var, start, "accumulator", self._name)
