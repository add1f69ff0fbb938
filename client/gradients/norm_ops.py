"""Normalization: gradients."""
