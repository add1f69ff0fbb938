"""The switches between TensorFlow 1 and 2. flowray is TensorFlow 1, so most cannot be changed."""

from __future__ import annotations

from flowray.client.tf_export import tf_export
from flowray.proto import errors

_resource_variables = False


@tf_export("enable_resource_variables")
def enable_resource_variables() -> None:
    """Makes variables resource variables where neither they nor their scope say otherwise."""
    global _resource_variables
    _resource_variables = True


@tf_export("disable_resource_variables")
def disable_resource_variables() -> None:
    """Undoes ``enable_resource_variables``."""
    global _resource_variables
    _resource_variables = False


@tf_export("resource_variables_enabled")
def resource_variables_enabled() -> bool:
    """Returns True if variables are resource variables by default."""
    return _resource_variables


@tf_export("executing_eagerly")
def executing_eagerly() -> bool:
    """Returns False: operations make graph."""
    return False


@tf_export("executing_eagerly_outside_functions")
def executing_eagerly_outside_functions() -> bool:
    """Returns False, as ``executing_eagerly``."""
    return False


@tf_export("control_flow_v2_enabled")
def control_flow_v2_enabled() -> bool:
    """Returns False: conditions and loops are Switch, Merge and the like."""
    return False


@tf_export("disable_eager_execution")
def disable_eager_execution() -> None:
    """Does nothing: operations make graph."""


@tf_export("disable_v2_tensorshape")
def disable_v2_tensorshape() -> None:
    """Does nothing: a shape's items are Dimensions."""


@tf_export("disable_tensor_equality")
def disable_tensor_equality() -> None:
    """Does nothing: tensors are equal if they are the same."""


@tf_export("disable_control_flow_v2")
def disable_control_flow_v2() -> None:
    """Does nothing: conditions and loops are Switch, Merge and the like."""


@tf_export("disable_v2_behavior")
def disable_v2_behavior() -> None:
    """Makes everything as in TensorFlow 1; in flowray this is about the kind of variables only."""
    disable_resource_variables()


@tf_export("enable_eager_execution")
def enable_eager_execution(
    config: object = None, device_policy: object = None, execution_mode: object = None
) -> None:
    """Raises UnimplementedError: there is no eager execution."""
    raise errors.unimplemented("flowray has no eager execution: tf.enable_eager_execution")


@tf_export("enable_v2_behavior")
def enable_v2_behavior() -> None:
    """Raises UnimplementedError: there is only TensorFlow 1's behavior."""
    raise errors.unimplemented("flowray has TensorFlow 1's behavior only: tf.enable_v2_behavior")


@tf_export("enable_v2_tensorshape")
def enable_v2_tensorshape() -> None:
    """Raises UnimplementedError: there are only TensorFlow 1's shapes."""
    raise errors.unimplemented("flowray has TensorFlow 1's shapes only: tf.enable_v2_tensorshape")


@tf_export("enable_tensor_equality")
def enable_tensor_equality() -> None:
    """Raises UnimplementedError: tensors are equal only if they are the same."""
    raise errors.unimplemented(
        "flowray compares tensors by identity only: tf.enable_tensor_equality"
    )


@tf_export("enable_control_flow_v2")
def enable_control_flow_v2() -> None:
    """Raises UnimplementedError: there is only TensorFlow 1's control flow."""
    raise errors.unimplemented(
        "flowray has TensorFlow 1's control flow only: tf.enable_control_flow_v2"
    )
