"""Reference variables: definitions."""
