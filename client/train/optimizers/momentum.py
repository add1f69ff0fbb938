"""``tf.train.MomentumOptimizer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer


@tf_export("train.MomentumOptimizer")
class MomentumOptimizer(SingleOpOptimizer):
    """Momentum: ``accum = momentum * accum + grad; var -= learning_rate * accum``.

    Args:
        learning_rate, momentum: numbers, scalar Tensors, or functions that return one.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients, and of the slots.
        use_nesterov: whether to step by ``grad + momentum * accum`` instead of ``accum``
            (Sutskever et al., 2013).
    """

    _step = "Momentum"
    _op_slots = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        hyper = {"lr": (learning_rate, "learning_rate"), "momentum": (momentum, "momentum")}
        super().__init__(use_locking, name, hyper, use_nesterov=use_nesterov)

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._zeros_slot(var, "momentum", self._name)
