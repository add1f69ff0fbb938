"""``tf.train.ExponentialMovingAverage`` and the assignment that it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    GraphKeys,
    Operation,
    add_to_collection,
    colocate_with,
    control_dependencies,
    get_default_graph,
    name_scope,
)
from flowray.client.ops.control_flow_ops import group
from flowray.client.ops.math_ops import cast, minimum, pow
from flowray.client.ops.state_ops import assign
from flowray.client.tf_export import tf_export
from flowray.client.train.optimizers import slot_creator
from flowray.client.variables import initializers
from flowray.client.variables.resource_variable import is_resource_variable
from flowray.client.variables.variable_scope import (
    get_variable,
    get_variable_scope,
    variable_scope,
)
from flowray.client.variables.variables import (
    Variable,
    global_variables,
    moving_average_variables,
    trainable_variables,
)
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes

_AVERAGED = frozenset({dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.float64})


def assign_moving_average(
    variable: Any, value: Any, decay: Any, zero_debias: bool = True, name: str | None = None
) -> Any:
    """Assigns ``variable = variable * decay + value * (1 - decay)``.

    Args:
        variable: the variable that holds the average.
        value: a tensor that is shaped like it.
        decay: a number or scalar Tensor.
        zero_debias: whether to correct for the 0 that the average starts with: two more variables,
            ``biased`` and ``local_step``, hold what that takes (Kingma and Ba, 2014).
        name: the name of the op.

    Returns:
        The new value.
    """
    with name_scope(name, "AssignMovingAvg", [variable, value, decay]) as scope:
        decay = convert_to_tensor(1.0 - decay, name="decay")
        if decay.dtype != variable.dtype.base_dtype:
            decay = cast(decay, variable.dtype.base_dtype)
        with colocate_with(variable):
            if zero_debias:
                return _assign_debiased(variable, value, decay, scope)
            delta = (variable - value) * decay
            if is_resource_variable(variable):
                return variable.assign_sub(delta)  # below the scope's name, as in TensorFlow
            return variable.assign_sub(delta, name=scope)


def _assign_debiased(variable: Any, value: Any, decay: Any, scope: str) -> Any:
    """Assigns the average that began with 0, over what ones would give.

    ``decay`` is 1 less the decay.
    """
    with variable_scope(variable.op.name, values=[variable, value, decay]):
        biased = _make_unique("biased", variable.get_shape(), variable.dtype)
        local_step = _make_unique("local_step", [], variable.dtype)
    average = biased.assign_sub((biased - value) * decay)
    left: Any = pow(1.0 - decay, local_step.assign_add(1))
    return assign(variable, average / (1 - left), name=scope)


def _make_unique(name: str, shape: Any, dtype: Any) -> Any:
    """Makes a variable of zeros in the current scope, called ``name``, ``name_1``..."""
    scope = get_variable_scope()
    chosen, number = name, 0
    if not scope.reuse:
        taken = {v.op.name for v in global_variables()}
        while f"{scope.name}/{chosen}" in taken:
            number += 1
            chosen = f"{name}_{number}"
    return get_variable(
        chosen, shape=shape, dtype=dtype, initializer=initializers.zeros(), trainable=False
    )


@tf_export("train.ExponentialMovingAverage")
class ExponentialMovingAverage:
    """Keeps averages of variables in which older values count less and less.

    ``apply`` makes for each variable a shadow variable and an op that updates it:
    ``shadow -= (1 - decay) * (shadow - variable)``. A shadow starts with its variable's initial
    value, or with zeros if it is the average of a Tensor.

    Args:
        decay: a number or scalar Tensor, near 1.
        num_updates: how many updates there were; then decay is at most
            ``(1 + num_updates) / (10 + num_updates)``, so that averages move faster at first.
        zero_debias: whether averages of Tensors are corrected for the zeros that they start with.
        name: of the ops and the shadow variables.
    """

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Any] = {}

    @property
    def name(self) -> str:
        """The name of the object."""
        return self._name

    def apply(self, var_list: Iterable[Any] | None = None) -> Operation:
        """Makes an op that updates the averages of ``var_list``; makes missing shadows.

        Args:
            var_list: variables and Tensors; all trainable variables if None.

        Raises:
            TypeError: one of them is not floating point.
        """
        variables = list(trainable_variables() if var_list is None else var_list)
        debiased = set()
        for var in variables:
            if var.dtype.base_dtype not in _AVERAGED:
                raise TypeError(f"The variables must be half, float, or double: {var.name}")
            if var not in self._averages:
                with control_dependencies(None):
                    self._averages[var] = self._shadow(var)
                if self._zero_debias and not isinstance(var, Variable):
                    debiased.add(var)
        with name_scope(self._name) as scope:
            decay = convert_to_tensor(self._decay, dtypes.float32, name="decay")
            if self._num_updates is not None:
                updates = cast(self._num_updates, dtypes.float32, name="num_updates")
                decay = minimum(decay, (1.0 + updates) / (10.0 + updates))
            assignments = [
                assign_moving_average(self._averages[var], var, decay, var in debiased)
                for var in variables
            ]
            return group(*assignments, name=scope)

    def _shadow(self, var: Any) -> Any:
        if isinstance(var, Variable):
            shadow = slot_creator.create_slot(var, var.initialized_value(), self._name)
            add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, var)
            return shadow
        of_variable = var.op._kind is OpKind.VARIABLE
        return slot_creator.create_zeros_slot(var, self._name, colocate_with_primary=of_variable)

    def average(self, var: Any) -> Any:
        """Returns the variable that holds the average of ``var``; None if none does."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """Returns the name of the variable with the average of ``var``."""
        if var in self._averages:
            return str(self._averages[var].op.name)
        return get_default_graph().unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(
        self, moving_avg_variables: Iterable[Any] | None = None
    ) -> dict[str, Any]:
        """Returns the names that a Saver should restore so that the variables get their averages.

        Args:
            moving_avg_variables: those that have averages; the trainable ones and the collection
                ``MOVING_AVERAGE_VARIABLES`` if None.

        Returns:
            Variables by the name in the checkpoint; those without an average by their own.
        """
        if moving_avg_variables is None:
            moving_avg_variables = trainable_variables() + moving_average_variables()
        averaged = list(dict.fromkeys(moving_avg_variables))
        result = {self.average_name(v): v for v in averaged}
        names = {v.name for v in averaged}
        for var in global_variables():
            if var.name not in names:
                result.setdefault(var.op.name, var)
        return result
