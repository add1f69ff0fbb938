"""``tf.layers``: layers of neural networks, as classes and as functions."""
