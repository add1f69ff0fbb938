"""Slicing, gathering and scattering: the user's functions."""
