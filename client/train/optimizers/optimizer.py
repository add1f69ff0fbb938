"""``tf.train.Optimizer``: from a loss to an op that changes the variables.

``minimize`` is ``compute_gradients`` and then ``apply_gradients``. A subclass says how one variable
is updated (``_apply_dense`` and its three siblings) and which variables it keeps beside it: slots,
one per variable that is optimized (``W/Adam``), and non-slot variables (``beta1_power``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from flowray.client.framework.conversion import (
    convert_to_tensor,
    convert_to_tensor_or_indexed_slices,
)
from flowray.client.framework.graph import (
    Graph,
    GraphKeys,
    Operation,
    Tensor,
    colocate_with,
    control_dependencies,
    get_collection,
    get_collection_ref,
    get_default_graph,
    name_scope,
)
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.nest import flatten
from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.engine import gradients
from flowray.client.ops.array_ops import shape as shape_of
from flowray.client.ops.control_flow_ops import group
from flowray.client.ops.control_flow_ops import tuple as gated_tuple
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers import slot_creator
from flowray.client.variables.resource_variable import ResourceVariable, is_resource_variable
from flowray.client.variables.variables import Variable, trainable_variables
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType

Gradient = Tensor | IndexedSlices
GradientsAndVariables = Sequence[tuple[Gradient | None, Any]]


@tf_export("train.Optimizer")
class Optimizer:
    """The base of all optimizers; it cannot be used itself.

    A subclass overrides ``_apply_dense`` and ``_apply_sparse`` (for reference variables),
    ``_resource_apply_dense`` and ``_resource_apply_sparse``, and, as it needs them,
    ``_create_slots``, ``_prepare`` and ``_finish``.

    Args:
        use_locking: whether updates lock the variable; each update is atomic anyway.
        name: the name of the ops that apply gradients, and of the slots.

    Raises:
        ValueError: there is no name.
    """

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._use_locking = use_locking
        self._name = name
        self._slots: dict[str, dict[Hashable, Any]] = {}
        self._non_slot_dict: dict[tuple[str, Graph], Any] = {}

    def get_name(self) -> str:
        """Returns the name of the optimizer."""
        return self._name

    # The user's side ------------------------------------------------------------------------

    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """Makes an op that moves the variables so that ``loss`` becomes less.

        Args:
            loss: a Tensor to minimize.
            global_step: a variable to increase by one after the update.
            var_list: the variables to change; the trainable ones if None.
            gate_gradients: how far gradients wait for each other: ``GATE_NONE``, ``GATE_OP`` or
                ``GATE_GRAPH``.
            aggregation_method: one of ``tf.AggregationMethod``.
            colocate_gradients_with_ops: whether to place gradients with the ops they belong to.
            name: the name of the op.
            grad_loss: the gradient of ``loss`` to start from.

        Raises:
            ValueError: no variable has a gradient.
        """
        grads_and_vars = self.compute_gradients(
            loss,
            var_list,
            gate_gradients,
            aggregation_method,
            colocate_gradients_with_ops,
            grad_loss,
        )
        if all(grad is None for grad, _ in grads_and_vars):
            raise ValueError(
                "No gradients provided for any variable, check your graph for ops that do not "
                f"support gradients, between variables {[str(v) for _, v in grads_and_vars]} and "
                f"loss {loss}."
            )
        return self.apply_gradients(grads_and_vars, global_step=global_step, name=name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[tuple[Gradient | None, Any]]:
        """Computes the first half of ``minimize``: pairs of gradient and variable.

        The gradient is a Tensor, IndexedSlices, or None if ``loss`` does not depend on the
        variable.

        Raises:
            TypeError: ``var_list`` holds other things than variables.
            ValueError: there are no variables, or an argument or dtype is not allowed.
        """
        if callable(loss):
            loss = loss()
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise ValueError(
                "gate_gradients must be one of: Optimizer.GATE_NONE, Optimizer.GATE_OP, "
                f"Optimizer.GATE_GRAPH.  Not {gate_gradients}"
            )
        self._assert_valid_dtypes([loss])
        if grad_loss is not None:
            self._assert_valid_dtypes([grad_loss])
        if var_list is None:
            variables = trainable_variables()
            variables += get_collection(GraphKeys.TRAINABLE_RESOURCE_VARIABLES)
        else:
            variables = list(flatten(var_list))
        sources = [_source_of(variable) for variable in variables]
        if not variables:
            raise ValueError("No variables to optimize.")
        grads = gradients(
            loss,
            sources,
            grad_ys=grad_loss,
            aggregation_method=aggregation_method,
            gate_gradients=gate_gradients == self.GATE_OP,
            colocate_gradients_with_ops=colocate_gradients_with_ops,
        )
        if gate_gradients == self.GATE_GRAPH:
            grads = gated_tuple(grads)
        grads_and_vars = list(zip(grads, variables, strict=True))
        self._assert_valid_dtypes(
            v for g, v in grads_and_vars if g is not None and v.dtype != dtypes.resource
        )
        return grads_and_vars

    def apply_gradients(
        self,
        grads_and_vars: Iterable[tuple[Any, Any]],
        global_step: Any = None,
        name: str | None = None,
    ) -> Operation:
        """Makes the second half of ``minimize``: an op that applies gradients to variables.

        Args:
            grads_and_vars: pairs of gradient and variable, as ``compute_gradients`` returns them.
            global_step: a variable to increase by one after the update.
            name: the name of the op; the optimizer's if None.

        Raises:
            TypeError: a gradient is neither a Tensor nor IndexedSlices nor None.
            ValueError: there are no variables, or none of them has a gradient.
        """
        pairs = [(_as_gradient(grad), variable) for grad, variable in grads_and_vars]
        if not pairs:
            raise ValueError("No variables provided.")
        for _, variable in pairs:
            _source_of(variable)  # refuses what cannot be optimized before anything is made
        updated = [variable for grad, variable in pairs if grad is not None]
        if not updated:
            raise ValueError(
                f"No gradients provided for any variable: {[str(v) for _, v in pairs]}."
            )
        with control_dependencies(None):
            self._create_slots(updated)
        with name_scope(name, self._name) as scope:
            self._prepare()
            updates = []
            for grad, variable in pairs:
                if grad is not None:
                    with name_scope("update_" + variable.op.name), colocate_with(variable):
                        updates.append(self._update(grad, variable))
            if global_step is None:
                train_op = self._finish(updates, scope)
            else:
                with (
                    control_dependencies([self._finish(updates, "update")]),
                    colocate_with(global_step),
                ):
                    train_op = _increased(global_step, scope)
        if isinstance(train_op, Tensor):
            train_op = train_op.op
        assert isinstance(train_op, Operation)
        train_ops = get_collection_ref(GraphKeys.TRAIN_OP)
        if train_op not in train_ops:
            train_ops.append(train_op)
        return train_op

    def get_slot(self, var: Any, name: str) -> Any:
        """Returns the variable that is slot ``name`` of ``var``, or None."""
        return self._slots.get(name, {}).get(_key_of(var))

    def get_slot_names(self) -> list[str]:
        """Returns the names of all slots that were made."""
        return sorted(self._slots)

    def variables(self) -> list[Any]:
        """Returns this optimizer's variables of the default graph, sorted by name."""
        graph = get_default_graph()
        slots = [slot for named in self._slots.values() for slot in named.values()]
        made = [v for v in [*self._non_slot_variables(), *slots] if v.op.graph is graph]
        return sorted(made, key=lambda v: v.name)

    # For subclasses -------------------------------------------------------------------------

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        """Makes the slots that ``var_list`` needs; those made earlier stay."""

    def _prepare(self) -> None:
        """Makes what all updates use, such as the tensor of the learning rate."""

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        """Updates a reference variable by a gradient that is shaped like it."""
        raise NotImplementedError()

    def _resource_apply_dense(self, grad: Tensor, var: Any) -> Any:
        """Updates a resource variable by a gradient that is shaped like it."""
        raise NotImplementedError()

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        """Updates the rows of a reference variable that ``grad`` names, each of them once."""
        raise NotImplementedError()

    def _resource_apply_sparse(self, grad: Tensor, var: Any, indices: Tensor) -> Any:
        """Updates the rows ``indices`` of a resource variable, each of them once."""
        raise NotImplementedError()

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        """Updates as ``_apply_sparse``; the gradients of a repeated row add up."""
        values, indices = _deduplicated(grad.values, grad.indices)
        return self._apply_sparse(IndexedSlices(values, indices, grad.dense_shape), var)

    def _resource_apply_sparse_duplicate_indices(
        self, grad: Tensor, var: Any, indices: Tensor
    ) -> Any:
        """Updates as ``_resource_apply_sparse``; a row may be repeated."""
        values, indices = _deduplicated(grad, indices)
        return self._resource_apply_sparse(values, var, indices)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        """Makes the op ``name_scope``, which is done when all updates are."""
        return group(*update_ops, name=name_scope)

    def _valid_dtypes(self) -> set[DType]:
        """Returns the dtypes that a loss and a variable may have."""
        return {dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64}

    def _assert_valid_dtypes(self, tensors: Iterable[Any]) -> None:
        valid = self._valid_dtypes()
        for tensor in tensors:
            dtype = tensor.dtype.base_dtype
            if dtype not in valid:
                raise ValueError(
                    f"Invalid type {dtype!r} for {tensor.name}, expected: {list(valid)}."
                )

    def _call_if_callable(self, param: Any) -> Any:
        """Returns the value of a hyperparameter, which may be a function without arguments."""
        return param() if callable(param) else param

    # Variables beside those that are optimized ----------------------------------------------

    def _slot_dict(self, slot_name: str) -> dict[Hashable, Any]:
        return self._slots.setdefault(slot_name, {})

    def _get_or_make_slot(self, var: Any, val: Tensor, slot_name: str, op_name: str) -> Any:
        """Returns the slot of ``var``, a variable that starts with the tensor ``val``."""
        return self._slot(var, slot_name, lambda: slot_creator.create_slot(var, val, op_name))

    def _get_or_make_slot_with_initializer(
        self, var: Any, initializer: Any, shape: Any, dtype: Any, slot_name: str, op_name: str
    ) -> Any:
        """Returns the slot of ``var`` with its own shape and initializer."""
        return self._slot(
            var,
            slot_name,
            lambda: slot_creator.create_slot_with_initializer(
                var, initializer, shape, dtype, op_name
            ),
        )

    def _zeros_slot(self, var: Any, slot_name: str, op_name: str) -> Any:
        """Returns the slot of ``var``, a variable shaped like it, that starts with zeros."""
        return self._slot(var, slot_name, lambda: slot_creator.create_zeros_slot(var, op_name))

    def _slot(self, var: Any, slot_name: str, make: Callable[[], Any]) -> Any:
        slots, key = self._slot_dict(slot_name), _key_of(var)
        if key not in slots:
            slots[key] = make()
        return slots[key]

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any) -> Any:
        """Returns a variable that belongs to no single one; it is made once in each graph."""
        key = (name, colocate_with.graph)
        if key not in self._non_slot_dict:
            with get_default_graph().colocate_with(colocate_with):
                self._non_slot_dict[key] = Variable(
                    initial_value,
                    name=name,
                    trainable=False,
                    use_resource=is_resource_variable(colocate_with),
                )
        return self._non_slot_dict[key]

    def _get_non_slot_variable(self, name: str, graph: Graph | None = None) -> Any:
        return self._non_slot_dict.get((name, graph or get_default_graph()))

    def _non_slot_variables(self) -> list[Any]:
        return list(self._non_slot_dict.values())

    # Updating -------------------------------------------------------------------------------

    def _update(self, grad: Gradient, variable: Any) -> Any:
        """Updates one variable, of whichever kind, and applies its constraint."""
        resource = variable.op.type == "VarHandleOp"
        constraint = getattr(variable, "constraint", None)
        if isinstance(grad, IndexedSlices):
            if constraint is not None:
                raise RuntimeError("Cannot use a constraint function on a sparse variable.")
            if resource:
                return self._resource_apply_sparse_duplicate_indices(
                    grad.values, variable, grad.indices
                )
            return self._apply_sparse_duplicate_indices(grad, variable)
        apply = self._resource_apply_dense if resource else self._apply_dense
        update = apply(grad, variable)
        if constraint is None:
            return update
        with control_dependencies([update]):
            return variable.assign(constraint(variable))


def _key_of(variable: Any) -> Hashable:
    return variable.op.graph, variable.op.name


def _source_of(variable: Any) -> Any:
    """Returns the tensor to differentiate by for a variable: its reference or its handle."""
    if isinstance(variable, ResourceVariable):
        return variable.handle
    if isinstance(variable, Variable):
        return variable._ref()
    if isinstance(variable, Tensor):
        return variable
    raise NotImplementedError("Trying to optimize unsupported type ", variable)


def _as_gradient(grad: Any) -> Gradient | None:
    if grad is None:
        return None
    try:
        return convert_to_tensor_or_indexed_slices(grad)
    except TypeError:
        raise TypeError(
            f"Gradient must be convertible to a Tensor or IndexedSlices, or None: {grad}"
        ) from None


def _deduplicated(values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Returns values and indices in which each index comes once, its values summed."""
    unique, positions = apply_op("Unique", indices)
    rows: Any = shape_of(unique)[0]
    return apply_op("UnsortedSegmentSum", values, positions, rows), unique


def _increased(global_step: Any, name: str) -> Any:
    if isinstance(global_step, ResourceVariable):
        one = convert_to_tensor(1, dtype=global_step.dtype)
        return apply_op("AssignAddVariableOp", global_step.handle, one, name=name)
    return apply_op("AssignAdd", global_step, 1, name=name)
