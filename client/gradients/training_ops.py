"""The update ops of the optimizers: gradients."""
