"""``tf.contrib.layers``: layers as functions, initializers and regularizers of weights."""
