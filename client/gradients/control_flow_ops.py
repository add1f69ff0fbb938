"""No-ops and control edges: gradients."""
