"""Convolution and pooling: gradients."""
