"""The explicit list of gradient families. Importing it registers them all."""

from flowray.client.gradients import (  # noqa: F401 - imported for their registrations
    array_ops,
    checkpoint_ops,
    control_flow_ops,
    conv_ops,
    functional_ops,
    io_ops,
    layout_ops,
    logging_ops,
    math_ops,
    nn_ops,
    norm_ops,
    random_ops,
    reduction_ops,
    resource_ops,
    slice_ops,
    state_ops,
    string_ops,
    summary_ops,
    summary_writer_ops,
    training_ops,
)
