"""``tf.train.AdagradDAOptimizer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import colocate_with, device
from flowray.client.ops.array_ops import identity
from flowray.client.ops.math_ops import cast
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer


@tf_export("train.AdagradDAOptimizer")
class AdagradDAOptimizer(SingleOpOptimizer):
    """Adagrad by dual averaging (Duchi et al., 2011), for large sparse models.

    It catches up with the regularization of features that were not there for a while; what it
    trains should start with zeros.

    Args:
        learning_rate: a number or scalar Tensor.
        global_step: an int64 variable with the number of steps so far.
        initial_gradient_squared_accumulator_value: what the accumulators start with; positive.
        l1_regularization_strength, l2_regularization_strength: numbers; not negative.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients, and of the slots.

    Raises:
        ValueError: ``initial_gradient_squared_accumulator_value`` is not positive.
    """

    _step = "AdagradDA"
    _op_slots = ("gradient_accumulator", "gradient_squared_accumulator")

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        if initial_gradient_squared_accumulator_value <= 0:
            raise ValueError(
                "initial_gradient_squared_accumulator_value must be positive: "
                f"{initial_gradient_squared_accumulator_value}"
            )
        super().__init__(use_locking, name, {"lr": (learning_rate, "learning_rate")})
        self._initial_value = initial_gradient_squared_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength
        self._global_step = global_step

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            shape, dtype = var.get_shape(), var.dtype.base_dtype
            with colocate_with(var):
                zeros = constant(0.0, shape=shape, dtype=dtype)
                filled = constant(self._initial_value, shape=shape, dtype=dtype)
            self._get_or_make_slot(var, zeros, "gradient_accumulator", self._name)
            self._get_or_make_slot(var, filled, "gradient_squared_accumulator", self._name)

    def _prepare(self) -> None:
        super()._prepare()
        with colocate_with(self._operands["lr"]):
            self._operands["global_step"] = identity(self._global_step) + 1

    def _operand(self, name: str, var: Any) -> Any:
        if name == "global_step":
            with device(var.device):
                return identity(self._operands[name])
        if name in ("l1", "l2"):
            return cast(self._l1 if name == "l1" else self._l2, var.dtype.base_dtype)
        return super()._operand(name, var)
