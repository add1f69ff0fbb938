"""``tf.contrib``: the parts of it that flowray has."""
