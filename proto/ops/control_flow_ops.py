"""No-ops and control edges: definitions."""
