"""Optimizers whose update of a variable is one op, ``[Resource][Sparse]Apply<step>``."""

from __future__ import annotations

from typing import Any, ClassVar

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Operation, Tensor
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import make_op
from flowray.client.ops.math_ops import cast
from flowray.client.train.optimizers.optimizer import Optimizer
from flowray.proto.ops import op_registry


class SingleOpOptimizer(Optimizer):
    """The op's inputs are the variable, its slots, and by name hyperparameters and the gradient.

    A subclass names the step and the slots in the op's order. Its hyperparameters are
    ``{input name: (value, name of its tensor)}``; a value may be a function without arguments.
    """

    _step: ClassVar[str]
    _op_slots: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, use_locking: bool, name: str, hyper: dict[str, tuple[Any, str]], **attrs: Any
    ) -> None:
        super().__init__(use_locking, name)
        self._hyper = hyper
        self._attrs = attrs
        self._operands: dict[str, Any] = {}
        """The hyperparameters as tensors, once ``_prepare`` has made them."""

    def _prepare(self) -> None:
        for input_name, (value, name) in self._hyper.items():
            value = self._call_if_callable(value)
            self._operands[input_name] = convert_to_tensor(value, name=name)

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        return self._apply("Apply", var, grad)

    def _resource_apply_dense(self, grad: Tensor, var: Any) -> Any:
        return self._apply("ResourceApply", var, grad)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        return self._apply("SparseApply", var, grad.values, grad.indices)

    def _resource_apply_sparse(self, grad: Tensor, var: Any, indices: Tensor) -> Any:
        return self._apply("ResourceSparseApply", var, grad, indices)

    def _apply(self, form: str, var: Any, grad: Tensor, indices: Tensor | None = None) -> Operation:
        definition = op_registry.lookup(form + self._step)
        variables = [var, *(self.get_slot(var, slot) for slot in self._op_slots)]
        inputs = [v.handle for v in variables] if form.startswith("Resource") else list(variables)
        for argument in definition.inputs[len(variables) :]:
            if argument.name in ("grad", "delta"):
                inputs.append(grad)
            elif argument.name == "indices":
                inputs.append(indices)
            else:
                inputs.append(self._operand(argument.name, var))
        return make_op(definition.name, *inputs, use_locking=self._use_locking, **self._attrs)

    def _operand(self, name: str, var: Any) -> Any:
        """Returns a hyperparameter in the dtype of ``var``."""
        return cast(self._operands[name], var.dtype.base_dtype)
