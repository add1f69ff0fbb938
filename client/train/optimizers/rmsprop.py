"""``tf.train.RMSPropOptimizer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.ops.array_ops import ones_like
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer
from flowray.client.variables import initializers


@tf_export("train.RMSPropOptimizer")
class RMSPropOptimizer(SingleOpOptimizer):
    """RMSProp (Tieleman and Hinton, 2012): gradients over the root of their mean square.

    Args:
        learning_rate: a number, scalar Tensor, or function without arguments that returns one.
        decay: the decay of the averages; called rho in the op.
        momentum: how much of the last step is repeated.
        epsilon: what keeps the division well conditioned.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        centered: whether to divide by the root of the variance, which takes one slot more.
        name: the name of the ops that apply gradients, and of the slots.
    """

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        hyper = {
            "lr": (learning_rate, "learning_rate"),
            "rho": (decay, "decay"),
            "momentum": (momentum, "momentum"),
            "epsilon": (epsilon, "epsilon"),
        }
        super().__init__(use_locking, name, hyper)
        self._centered = centered

    @property
    def _step(self) -> str:  # type: ignore[override]
        return "CenteredRMSProp" if self._centered else "RMSProp"

    @property
    def _op_slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mg", "rms", "momentum") if self._centered else ("rms", "momentum")

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            dtype, shape = var.dtype.base_dtype, var.get_shape()
            known = shape.is_fully_defined()
            ones = initializers.ones(dtype=dtype) if known else ones_like(var)
            self._get_or_make_slot_with_initializer(var, ones, shape, dtype, "rms", self._name)
            if self._centered:
                self._zeros_slot(var, "mg", self._name)
            self._zeros_slot(var, "momentum", self._name)
