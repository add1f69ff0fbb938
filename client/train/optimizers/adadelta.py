"""``tf.train.AdadeltaOptimizer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer


@tf_export("train.AdadeltaOptimizer")
class AdadeltaOptimizer(SingleOpOptimizer):
    """Adadelta (Zeiler, 2012): steps in proportion to the earlier steps.

    Args:
        learning_rate: a number or scalar Tensor; the paper's form has 1.0.
        rho: the decay of the two averages.
        epsilon: what keeps roots and divisions well conditioned.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients, and of the slots.
    """

    _step = "Adadelta"
    _op_slots = ("accum", "accum_update")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        hyper = {"lr": (learning_rate, "lr"), "rho": (rho, "rho"), "epsilon": (epsilon, "epsilon")}
        super().__init__(use_locking, name, hyper)

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._zeros_slot(var, "accum", self._name)
            self._zeros_slot(var, "accum_update", self._name)
