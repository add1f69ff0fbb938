"""Convolution and pooling: definitions."""
