"""Variables: their two kinds, how they are made, found by name and initialized."""

from flowray.client.variables import variable_factory as _factory  # noqa: F401 - sets what makes them
