"""Normalization: the user's functions."""
