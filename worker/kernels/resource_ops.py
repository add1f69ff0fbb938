"""Resource variables: kernels."""
