"""``tf.train.AdamOptimizer``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.framework.graph import Tensor, colocate_with, control_dependencies
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.control_flow_ops import group
from flowray.client.ops.math_ops import sqrt
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers.single_op import SingleOpOptimizer


@tf_export("train.AdamOptimizer")
class AdamOptimizer(SingleOpOptimizer):
    """Adam (Kingma and Ba, 2014): steps by the gradients' mean over the root of their squares'.

    Args:
        learning_rate: a number, scalar Tensor, or function without arguments that returns one.
        beta1, beta2: the decay of the mean and of the mean square.
        epsilon: what keeps the division well conditioned (the paper's epsilon hat).
        use_locking: accepted for TensorFlow's sake; each update is atomic.
        name: the name of the ops that apply gradients, and of the slots.

    The rows that a sparse gradient lacks count as zeros: their slots decay, and they move.
    """

    _step = "Adam"
    _op_slots = ("m", "v")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        hyper = {
            "lr": (learning_rate, "learning_rate"),
            "beta1": (beta1, "beta1"),
            "beta2": (beta2, "beta2"),
            "epsilon": (epsilon, "epsilon"),
        }
        super().__init__(use_locking, name, hyper)
        self._beta1, self._beta2 = beta1, beta2

    def _get_beta_accumulators(self) -> tuple[Any, Any]:
        """Returns the variables that hold beta1 and beta2 to the power of the step."""
        first = self._get_non_slot_variable("beta1_power")
        return first, self._get_non_slot_variable("beta2_power")

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        # Whatever the order of the list, the accumulators lie with the same variable.
        first = min(var_list, key=lambda var: var.name)
        for name, beta in (("beta1_power", self._beta1), ("beta2_power", self._beta2)):
            self._create_non_slot_variable(self._call_if_callable(beta), name, first)
        for var in var_list:
            self._zeros_slot(var, "m", self._name)
            self._zeros_slot(var, "v", self._name)

    def _prepare(self) -> None:
        super()._prepare()
        powers = self._get_beta_accumulators()
        self._operands["beta1_power"], self._operands["beta2_power"] = powers

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        def scatter_add(slot: Any, values: Tensor) -> Tensor:
            return output_of(
                "ScatterAdd", slot, grad.indices, values, use_locking=self._use_locking
            )

        return self._apply_to_rows(grad.values, var, scatter_add)

    def _resource_apply_sparse(self, grad: Tensor, var: Any, indices: Tensor) -> Any:
        def scatter_add(slot: Any, values: Tensor) -> Any:
            added = apply_op("ResourceScatterAdd", slot.handle, indices, values)
            with control_dependencies([added]):
                return slot.value()

        return self._apply_to_rows(grad, var, scatter_add)

    def _apply_to_rows(self, grad: Any, var: Any, scatter_add: Callable[[Any, Tensor], Any]) -> Any:
        """Updates rows by several ops; ``scatter_add`` gives the slot's new value."""
        operands = {name: self._operand(name, var) for name in ("beta1_power", "beta2_power")}
        for name in ("lr", "beta1", "beta2", "epsilon"):
            operands[name] = self._operand(name, var)
        beta1, beta2 = operands["beta1"], operands["beta2"]
        rate = operands["lr"] * sqrt(1 - operands["beta2_power"]) / (1 - operands["beta1_power"])

        def averaged(slot: Any, beta: Any, values: Any) -> Any:
            with control_dependencies([slot.assign(slot * beta, use_locking=self._use_locking)]):
                return scatter_add(slot, values)

        m = averaged(self.get_slot(var, "m"), beta1, grad * (1 - beta1))
        v = averaged(self.get_slot(var, "v"), beta2, grad * grad * (1 - beta2))
        root = sqrt(v)
        step = rate * m / (root + operands["epsilon"])
        return group(var.assign_sub(step, use_locking=self._use_locking), m, v)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        with control_dependencies(update_ops):
            power1, power2 = self._get_beta_accumulators()
            with colocate_with(power1):
                updates = [
                    power.assign(power * self._operands[beta], use_locking=self._use_locking)
                    for power, beta in ((power1, "beta1"), (power2, "beta2"))
                ]
        return group(*update_ops, *updates, name=name_scope)
