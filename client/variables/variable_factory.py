"""The choice between reference and resource variables for ``tf.Variable``."""

from __future__ import annotations

from typing import Any

from flowray.client.platform.behavior import resource_variables_enabled
from flowray.client.variables.ref_variable import RefVariable
from flowray.client.variables.resource_variable import ResourceVariable
from flowray.client.variables.variable_creation import set_default_creator
from flowray.client.variables.variable_scope import get_variable_scope
from flowray.client.variables.variables import Variable


def make_variable(**arguments: Any) -> Variable:
    """Makes a variable of the kind that its arguments, the variable scope or the default ask for.

    Args:
        arguments: those of ``tf.Variable``. ``variable_def`` decides for itself, then
            ``use_resource`` does.
    """
    variable_def = arguments.get("variable_def")
    use_resource = arguments.get("use_resource")
    if variable_def is not None:
        use_resource = variable_def.is_resource
    elif use_resource is None:
        use_resource = get_variable_scope().use_resource
    if use_resource is None:
        use_resource = resource_variables_enabled()
    return (ResourceVariable if use_resource else RefVariable)(**arguments)


set_default_creator(make_variable)
