"""``tf.estimator``: models that train, evaluate and predict by themselves."""
