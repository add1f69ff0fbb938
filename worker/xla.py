"""JAX, imported when first needed and set up as flowray needs it.

Importing JAX takes about a second, and a session's first steps run on numpy, so nothing imports it
at module level: ``xla.jax()`` and ``xla.numpy()`` do.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def jax() -> Any:
    """The ``jax`` module, with 64-bit types (results keep TensorFlow's dtypes)."""
    import jax as module

    module.config.update("jax_enable_x64", True)
    return module


@functools.cache
def numpy() -> Any:
    """The ``jax.numpy`` module, configured like ``jax()``."""
    jax()
    import jax.numpy as module

    return module
