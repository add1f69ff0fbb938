"""``tf.train.FtrlOptimizer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.ops.array_ops import ones
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer
from flowray.proto.types import dtypes


@tf_export("train.FtrlOptimizer")
class FtrlOptimizer(SingleOpOptimizer):
    """FTRL-Proximal (McMahan et al., 2013), which makes sparse models.

    Args:
        learning_rate: a number or scalar Tensor.
        learning_rate_power: how the rate falls with the accumulators; not positive.
        initial_accumulator_value: what the accumulators start with; not negative.
        l1_regularization_strength, l2_regularization_strength: the penalties; not negative.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients, and of the slots.
        accum_name, linear_name: the names of the two slots, if not ``name``.
        l2_shrinkage_regularization_strength: a penalty on the magnitude that is added to the
            gradient (of the rows that it has, if it is sparse); not negative.

    Raises:
        ValueError: a number has the wrong sign.
    """

    _op_slots = ("accum", "linear")

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        for what, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength),
        ):
            if value < 0:
                raise ValueError(f"{what} {value:f} needs to be positive or zero")
        if learning_rate_power > 0:
            raise ValueError(
                f"learning_rate_power {learning_rate_power:f} needs to be negative or zero"
            )
        hyper = {
            "lr": (learning_rate, "learning_rate"),
            "l1": (l1_regularization_strength, "l1_regularization_strength"),
            "l2": (l2_regularization_strength, "l2_regularization_strength"),
            "l2_shrinkage": (
                l2_shrinkage_regularization_strength, "l2_shrinkage_regularization_strength",
            ),
            "lr_power": (learning_rate_power, "learning_rate_power"),
        }  # fmt: skip
        super().__init__(use_locking, name, hyper)
        self._initial_accumulator_value = initial_accumulator_value
        self._shrinks = l2_shrinkage_regularization_strength > 0
        self._accum_name, self._linear_name = accum_name, linear_name

    @property
    def _step(self) -> str:  # type: ignore[override]
        return "FtrlV2" if self._shrinks else "Ftrl"

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        def filled(shape: Any, dtype: Any = dtypes.float32, partition_info: Any = None) -> Any:
            return ones(shape, dtype) * self._initial_accumulator_value

        for var in var_list:
            self._get_or_make_slot_with_initializer(
                var, filled, var.shape, var.dtype, "accum", self._accum_name or self._name
            )
            self._zeros_slot(var, "linear", self._linear_name or self._name)
