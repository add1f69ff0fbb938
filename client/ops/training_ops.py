"""The update ops of the optimizers: the user's functions."""
