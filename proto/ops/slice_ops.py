"""Slicing, gathering and scattering: definitions."""
