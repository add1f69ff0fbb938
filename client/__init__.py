"""The client: builds graphs and runs them. Its public names are in ``client.api``."""
