"""Recurrent networks: cells, and functions that call them step by step."""
