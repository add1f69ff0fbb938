"""Recurrent networks: cells, and what calls them for one step after the other."""
