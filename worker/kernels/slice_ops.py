"""Slicing, gathering and scattering: kernels."""
