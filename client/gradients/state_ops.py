"""Reference variables: gradients."""
