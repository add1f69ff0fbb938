"""Reductions, arg reductions, cumulative and segment ops: gradients."""
