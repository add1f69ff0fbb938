"""No-ops and control edges: the user's functions."""
