"""Shapes, constants, placeholders, and ops that rearrange tensors: gradients."""
