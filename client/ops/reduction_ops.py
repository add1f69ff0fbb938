"""Reductions, arg reductions, cumulative and segment ops: the user's functions."""
