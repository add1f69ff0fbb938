"""Normalization: definitions."""
