"""Reductions over several axes, which XLA's CPU backend is given one axis at a time.

XLA vectorizes a CPU reduction over one axis, but reduces scalar by scalar over several: the sum
over the first three axes of float32 [64, 64, 64, 16] takes 1.9 ms, and 0.18 ms over one axis of
262,144; the maximum over axes 1 and 2 takes 2.6 and 0.36 ms (2 cores, AVX-512). So neighboring axes
are merged by a reshape and reduced as one. XLA would undo the reshapes, so optimization barriers
guard them. The barriers also keep XLA from fusing the producer of the array into the reduction;
still, the sum of squares over those three axes takes 0.8 instead of 2.6 ms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.worker.execution import xla


def reduced(
    xp: Any,
    function: Callable[..., Any],
    x: Any,
    axes: tuple[int, ...],
    keep: bool = False,
    **options: Any,
) -> Any:
    """Applies ``function`` of ``xp`` (sum, max, ...) over ``axes``.

    Args:
        function: takes an array, an axis or axes, and ``keepdims``. It may be called once for each
            axis, so it must give the same result axis by axis.
        axes: none of them negative.
        keep: whether the axes stay, with size 1.
        options: further keyword arguments for ``function``.
    """

    def whole(x: Any) -> Any:
        return function(x, axes, keepdims=keep, **options)

    def one_by_one(x: Any) -> Any:
        shape = [
            1 if a in axes else size for a, size in enumerate(x.shape) if keep or a not in axes
        ]
        groups = [
            (gone, math.prod(x.shape[a] for a in group))
            for gone, group in itertools.groupby(range(x.ndim), lambda a: a in axes)
        ]
        x = x.reshape([size for _, size in groups])
        for axis in reversed(range(x.ndim)):
            if groups[axis][0]:
                x = function(xla.jax().lax.optimization_barrier(x), axis, **options)
        return x.reshape(shape)

    if xp is np or len(axes) < 2 or not x.size:
        return whole(x)
    return xla.jax().lax.platform_dependent(x, cpu=one_by_one, default=whole)


def extremum(
    xp: Any, function: Callable[..., Any], x: Any, axes: tuple[int, ...], keep: bool = False
) -> Any:
    """Returns the maximum or minimum over ``axes``; NaN where an element is NaN, as in TensorFlow.

    The library to which XLA gives reductions on CPUs (``xla.compiler_options``) ignores NaNs in
    maxima and minima, so they are looked for in a reduction of their own.
    """

    def guarded(x: Any) -> Any:
        has_nan = reduced(xp, xp.any, xp.isnan(x), axes, keep)
        return xp.where(has_nan, np.asarray(np.nan, x.dtype), reduced(xp, function, x, axes, keep))

    def plain(x: Any) -> Any:
        return reduced(xp, function, x, axes, keep)

    if xp is np or not xp.issubdtype(x.dtype, np.inexact):
        return plain(x)
    return xla.jax().lax.platform_dependent(x, cpu=guarded, default=plain)
