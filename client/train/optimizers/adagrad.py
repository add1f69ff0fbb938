"""``tf.train.AdagradOptimizer``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.framework.op_builder import apply_op
from flowray.client.ops.array_ops import shape as shape_of
from flowray.client.ops.math_ops import cast
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer
from flowray.client.variables import initializers


@tf_export("train.AdagradOptimizer")
class AdagradOptimizer(SingleOpOptimizer):
    """Adagrad (Duchi et al., 2011): ``accum += grad**2; var -= rate * grad / sqrt(accum)``.

    Args:
        learning_rate: a number, scalar Tensor, or function without arguments that returns one.
        initial_accumulator_value: what the accumulators start with; positive.
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients, and of the slots.

    Raises:
        ValueError: ``initial_accumulator_value`` is not positive.
    """

    _step = "Adagrad"
    _op_slots = ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        if initial_accumulator_value <= 0:
            raise ValueError(
                f"initial_accumulator_value must be positive: {initial_accumulator_value}"
            )
        super().__init__(use_locking, name, {"lr": (learning_rate, "learning_rate")})
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            dtype, shape = var.dtype.base_dtype, var.get_shape()
            if shape.is_fully_defined():
                start: Any = initializers.constant(self._initial_accumulator_value, dtype=dtype)
            else:
                start = self._filled_like(var)
            self._get_or_make_slot_with_initializer(
                var, start, shape, dtype, "accumulator", self._name
            )

    def _filled_like(self, var: Any) -> Callable[[], Any]:
        """Returns an initializer for a variable whose shape only the run tells."""

        def filled() -> Any:
            value = apply_op("Fill", shape_of(var), self._initial_accumulator_value)
            return cast(value, var.dtype.base_dtype)

        return filled
