"""No-ops and control edges: kernels."""
