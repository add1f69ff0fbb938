"""Elementwise arithmetic, comparison, casts and matrix products: the user's functions."""
