"""Reference variables: the user's functions."""
