"""Shapes, constants, placeholders, and ops that rearrange tensors: the user's functions."""
