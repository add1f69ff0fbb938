"""``tf.contrib``: the parts of it that flowray has."""

from __future__ import annotations

from flowray.client.contrib import data, framework, layers, slim

__all__ = ["data", "framework", "layers", "slim"]
