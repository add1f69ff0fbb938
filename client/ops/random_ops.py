"""Random numbers, equal to TensorFlow's for equal seeds: the user's functions."""
