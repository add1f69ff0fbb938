"""Slicing, gathering and scattering: gradients."""
