"""Convolution and pooling: the user's functions."""
