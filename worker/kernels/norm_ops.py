"""Normalization: kernels."""
