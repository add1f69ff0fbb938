"""Shapes, constants, placeholders, and ops that rearrange tensors: definitions."""
