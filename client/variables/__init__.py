"""Variables of both kinds: their creation, names and initialization."""

from flowray.client.variables import variable_factory as _factory  # noqa: F401 - sets what makes them
