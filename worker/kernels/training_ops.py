"""The update ops of the optimizers: kernels."""
