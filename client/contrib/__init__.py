"""``tf.contrib``: the parts of it that flowray has."""

from __future__ import annotations

from flowray.client.contrib import framework, layers

__all__ = ["framework", "layers"]
