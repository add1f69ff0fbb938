"""``tf.random``: random numbers."""

from __future__ import annotations  # noqa: I001

from flowray.client.framework.random_seed import (
    get_seed,
    set_random_seed,
)
from flowray.client.ops.array_ops import (
    split,
)
from flowray.client.ops.random_ops import (
    categorical,
    multinomial,
    random_gamma as gamma,
    random_normal as normal,
    random_poisson as poisson,
    random_shuffle as shuffle,
    random_uniform as uniform,
    truncated_normal,
)

__all__ = [
    "categorical",
    "gamma",
    "get_seed",
    "multinomial",
    "normal",
    "poisson",
    "set_random_seed",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
]
