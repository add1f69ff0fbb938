"""Resource variables: definitions."""
