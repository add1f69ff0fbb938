"""The switches between TensorFlow 1 and 2: flowray is TensorFlow 1, so some are set and stay so."""

from __future__ import annotations

from flowray.client.variables.variable_scope import disable_resource_variables
from flowray.proto import errors


def executing_eagerly() -> bool:
    """False: operations make graph."""
    return False


def executing_eagerly_outside_functions() -> bool:
    """False, as ``executing_eagerly``."""
    return False


def control_flow_v2_enabled() -> bool:
    """False: conditions and loops are Switch, Merge and their kin."""
    return False


def disable_eager_execution() -> None:
    """Changes nothing: operations make graph."""


def disable_v2_tensorshape() -> None:
    """Changes nothing: a shape's items are Dimensions."""


def disable_tensor_equality() -> None:
    """Changes nothing: tensors are equal if they are the same."""


def disable_control_flow_v2() -> None:
    """Changes nothing: conditions and loops are Switch, Merge and their kin."""


def disable_v2_behavior() -> None:
    """Makes everything as in TensorFlow 1; in flowray this is about the kind of variables only."""
    disable_resource_variables()


def enable_eager_execution(
    config: object = None, device_policy: object = None, execution_mode: object = None
) -> None:
    raise errors.unimplemented("flowray has no eager execution: tf.enable_eager_execution")


def enable_v2_behavior() -> None:
    raise errors.unimplemented("flowray has TensorFlow 1's behavior only: tf.enable_v2_behavior")


def enable_v2_tensorshape() -> None:
    raise errors.unimplemented("flowray has TensorFlow 1's shapes only: tf.enable_v2_tensorshape")


def enable_tensor_equality() -> None:
    raise errors.unimplemented(
        "flowray compares tensors by identity only: tf.enable_tensor_equality"
    )


def enable_control_flow_v2() -> None:
    raise errors.unimplemented(
        "flowray has TensorFlow 1's control flow only: tf.enable_control_flow_v2"
    )
