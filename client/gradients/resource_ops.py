"""Resource variables: gradients."""
