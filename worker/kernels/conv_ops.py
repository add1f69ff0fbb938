"""Convolution and pooling: kernels."""
