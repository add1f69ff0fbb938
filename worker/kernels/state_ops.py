"""Reference variables: kernels."""
