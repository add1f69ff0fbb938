"""Elementwise arithmetic, comparison, casts and matrix products: kernels."""
