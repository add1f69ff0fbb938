"""TensorBoard in a real browser, on a run of the dogs-and-cats example (``make test-browser``)."""
