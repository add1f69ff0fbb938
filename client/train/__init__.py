"""``tf.train``: optimizers, learning rates, the global step, averages of variables."""
