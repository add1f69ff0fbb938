"""The update ops of the optimizers: definitions."""
