"""Convolutions and pools for XLA: the functions of ``convolution_numpy``, with the same contracts.

``lax.conv_general_dilated`` becomes a convolution of cuDNN on GPUs and of Eigen on CPUs
(``xla.compiler_options``). Where XLA is slow on CPUs, the functions build something else. Gradients
of max-pools are masks instead of ``select_and_scatter`` (9 instead of 41 ms at the sizes of a small
CNN, 2 cores). Convolutions of few input channels avoid Eigen, whose overhead for each window then
exceeds the products.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flowray.proto.ops.windows import Window
from flowray.worker.execution import xla
from flowray.worker.kernels.support.convolution_numpy import counts

Windows = Sequence[Window]

_Comparison = Callable[[Any, Any], Any]

_FEW_PRODUCTS = 36
"""The most products whose sum is one fused loop on CPUs instead of a convolution of Eigen's.

3x3 filters, 3 to 16 channels at 64x64, batch 64: 8.2 ms as a convolution, 5.6 with rows stacked,
2.3 as a sum; 5x5 filters, 1 to 32 channels at 28x28: 2.8, 1.3 and 0.75. Sums of 48 gain nothing,
those of 75 take twice as long: the filters no longer fit into registers.
"""
_FEW = 4
"""The most input channels for which a filter's rows are stacked on CPUs (3: 4.9 -> 2.7 ms)."""
_SMALL_POOL = 16
"""The most taps for which a fused tree of maxima is faster on CPUs than ``reduce_window``."""


def _lax() -> Any:
    return xla.jax().lax


def conv(x: Any, weights: Any, windows: Windows) -> Any:
    """Convolves ``x`` with ``weights``, grouped if the depths differ; see ``convolution_numpy``.

    Filters of size 1 become a product of matrices. On CPUs, float32 convolutions of up to ``_FEW``
    input channels become one fused loop, or a convolution with the filter's rows stacked.
    """
    depth_in = weights.shape[-2]
    groups = x.shape[-1] // depth_in
    if groups == 1 and all(w.extent == 1 and not (w.before or w.after) for w in windows):
        x = x[(slice(None), *(slice(None, None, w.stride) for w in windows))]
        return xla.numpy().tensordot(x, weights.reshape(weights.shape[-2:]), 1)
    if groups == 1 and depth_in <= _FEW and x.dtype == np.float32:
        short = math.prod(weights.shape[:-1]) <= _FEW_PRODUCTS
        return _lax().platform_dependent(
            x,
            weights,
            cpu=functools.partial(_conv_as_sum if short else _conv_of_rows, windows=windows),
            default=functools.partial(_conv, windows=windows),
        )
    return _conv(x, weights, windows, groups)


def _conv(x: Any, weights: Any, windows: Windows, groups: int = 1) -> Any:
    return _lax().conv_general_dilated(
        x,
        weights,
        [w.stride for w in windows],
        _pads(windows),
        rhs_dilation=[w.dilation for w in windows],
        dimension_numbers=_forward(len(windows)),
        feature_group_count=groups,
    )


def _conv_as_sum(x: Any, weights: Any, windows: Windows) -> Any:
    """Sums, in one loop over the output, an input times all filters for each tap and channel.

    The barrier keeps XLA from padding again for every tap. XLA would still compute the sum again in
    each op that uses it, since barriers are gone by the time it fuses loops; it does not fuse
    across a conditional, so the sum stands in a branch of one. No weight is above infinity, so that
    branch is always taken.
    """

    def as_sum() -> Any:
        padded = _lax().optimization_barrier(_padded(x, windows, np.zeros((), x.dtype)))
        result: Any = None
        for tap in _taps(windows):
            inputs = _at(padded, tap, windows)
            for channel in range(weights.shape[-2]):
                product = inputs[..., channel : channel + 1] * weights[(*tap, channel)]
                result = product if result is None else result + product
        return result

    never = weights.ravel()[0] > np.inf
    return _lax().cond(never, lambda: _conv(x, weights, windows), as_sum)


def _conv_of_rows(x: Any, weights: Any, windows: Windows) -> Any:
    """Convolves with a filter of one row: the inputs of its rows stand side by side as channels.

    The barrier keeps XLA from building them again for every tap of the row.
    """
    first, *others = windows
    padded = _padded(x, windows, np.zeros((), x.dtype))
    rows = [padded[:, _places(i, first)] for i in range(first.extent)]
    x = _lax().optimization_barrier(xla.numpy().concatenate(rows, -1))
    depth_out = weights.shape[-1]
    weights = xla.numpy().moveaxis(weights, 0, -3)
    weights = weights.reshape(1, *(w.extent for w in others), x.shape[-1], depth_out)
    row = Window(first.output, 1, 1, 1, first.output, 0, 0)
    padded_already = [w._replace(size=_span(w), before=0, after=0) for w in others]
    return _conv(x, weights, [row, *padded_already])


def conv_backprop_input(shape: tuple[int, ...], weights: Any, g: Any, windows: Windows) -> Any:
    """Computes the gradient of ``conv`` with respect to an input of ``shape``.

    It is a convolution of ``g``, dilated by the strides, with the flipped filter.
    """
    depth_in, depth_out = weights.shape[-2:]
    groups = shape[-1] // depth_in
    spatial = tuple(range(len(windows)))
    flipped = xla.numpy().flip(weights, spatial)
    # [*extents, in, (group, out)] -> [*extents, out, (group, in)]
    extents = weights.shape[:-2]
    n = len(extents)
    flipped = flipped.reshape(*extents, depth_in, groups, depth_out // groups)
    flipped = flipped.transpose(*spatial, n + 2, n + 1, n)
    flipped = flipped.reshape(*extents, depth_out // groups, groups * depth_in)
    pads = []
    for w in windows:
        span = (w.extent - 1) * w.dilation
        before = span - w.before
        pads.append((before, w.size - (w.output - 1) * w.stride - 1 + span - before))
    return _lax().conv_general_dilated(
        g,
        flipped,
        [1] * n,
        pads,
        lhs_dilation=[w.stride for w in windows],
        rhs_dilation=[w.dilation for w in windows],
        dimension_numbers=_forward(n),
        feature_group_count=groups,
    )


def conv_backprop_filter(x: Any, shape: tuple[int, ...], g: Any, windows: Windows) -> Any:
    """Computes the gradient of ``conv`` with respect to a filter of ``shape``."""
    groups = x.shape[-1] // shape[-2]

    pads = []
    for w in windows:
        needed = (w.extent - 1) * w.dilation + (w.output - 1) * w.stride + 1
        pads.append((w.before, needed - w.size - w.before))
    space = "DHW"[-len(windows) :]
    return _lax().conv_general_dilated(
        x,
        g,
        [w.dilation for w in windows],
        pads,
        rhs_dilation=[w.stride for w in windows],
        dimension_numbers=(f"C{space}N", f"I{space}O", f"{space}NC"),
        batch_group_count=groups,
    )


def depthwise_conv(x: Any, weights: Any, windows: Windows) -> Any:
    """Convolves each channel with filters of its own; see ``convolution_numpy.depthwise_conv``."""
    return conv(x, _as_grouped(weights), windows)


def depthwise_conv_backprop_filter(x: Any, shape: tuple[int, ...], g: Any, windows: Windows) -> Any:
    """Computes the gradient of ``depthwise_conv`` with respect to a filter of ``shape``."""
    grouped = (*shape[:-2], 1, shape[-2] * shape[-1])
    return conv_backprop_filter(x, grouped, g, windows).reshape(shape)


def depthwise_conv_backprop_input(
    shape: tuple[int, ...], weights: Any, g: Any, windows: Windows
) -> Any:
    """Computes the gradient of ``depthwise_conv`` with respect to an input of ``shape``."""
    return conv_backprop_input(shape, _as_grouped(weights), g, windows)


def max_pool(x: Any, windows: Windows) -> Any:
    """Takes the maximum of each window. Padding never wins; NaN does."""
    jnp = xla.numpy()

    def reduced(x: Any) -> Any:
        largest = _reduce_window(x, _lowest(x.dtype), _lax().max, windows, _pads(windows))
        if not jnp.issubdtype(x.dtype, np.inexact):
            return largest
        # The library to which XLA gives windows that tile the input ignores NaNs (axes.extremum).
        has_nan = _reduce_window(jnp.isnan(x), False, _lax().bitwise_or, windows, _pads(windows))
        return jnp.where(has_nan, np.asarray(np.nan, x.dtype), largest)

    def tree(x: Any) -> Any:
        padded = _padded(x, windows, _lowest(x.dtype))
        taps = _taps(windows)
        result = _at(padded, next(taps), windows)
        for tap in taps:
            result = jnp.maximum(result, _at(padded, tap, windows))
        return result

    if math.prod(w.extent for w in windows) <= _SMALL_POOL:
        return _lax().platform_dependent(x, cpu=tree, default=reduced)
    return reduced(x)


def max_pool_grad(x: Any, y: Any, g: Any, windows: Windows, to_all: bool = False) -> Any:
    """Spreads the gradient of each window to its first maximum, or to all of them.

    See ``convolution_numpy.max_pool_grad``, also for windows that hold NaN.
    """
    jnp = xla.numpy()
    zero = jnp.zeros((), g.dtype)
    is_maximum: _Comparison = operator.eq
    if not to_all and jnp.issubdtype(y.dtype, np.inexact):
        y = jnp.where(jnp.isnan(y), jnp.finfo(y.dtype).min, y)
        is_maximum = _not_below
    if all(_tiles(w) for w in windows):
        in_tiles = functools.partial(jnp.expand_dims, axis=range(2, 2 * len(windows) + 1, 2))
        if to_all:
            chosen = _all_in_tiles(x, y, windows, in_tiles)
        else:
            chosen = _first_in_tiles(x, y, windows, in_tiles, is_maximum)
        return jnp.where(chosen, in_tiles(g), zero).reshape(x.shape)
    masks = (_all_maxima if to_all else _first_maxima)(x, y, windows, is_maximum)
    result = jnp.zeros((x.shape[0], *map(_span, windows), x.shape[-1]), g.dtype)
    for tap, mask in masks:
        result = result + _spread(jnp.where(mask, g, zero), tap, windows)
    return _unpadded(result, windows)


def max_pool_grad_grad(x: Any, y: Any, gg: Any, windows: Windows) -> Any:
    """Takes from each window the element of ``gg`` at the place of the first maximum of ``x``."""
    jnp = xla.numpy()
    values = _padded(gg, windows, np.zeros((), gg.dtype))
    result = jnp.zeros(y.shape, gg.dtype)
    for tap, mask in _first_maxima(x, y, windows):
        result = jnp.where(mask, _at(values, tap, windows), result)
    return result


def avg_pool(x: Any, windows: Windows) -> Any:
    """Takes the mean of each window, over the elements that are not padding."""
    total = _reduce_window(x, np.zeros((), x.dtype), _lax().add, windows, _pads(windows))
    return total / counts(windows).astype(x.dtype)


def avg_pool_grad(shape: tuple[int, ...], g: Any, windows: Windows) -> Any:
    """Computes the gradient of ``avg_pool``: each element sums the shares of its windows."""
    lax = _lax()
    zero = np.zeros((), g.dtype)
    share = g / counts(windows).astype(g.dtype)
    gaps, ones = [], []
    for w in windows:
        before = w.extent - 1 - w.before
        after = w.size - (w.output - 1) * w.stride - 1 + w.extent - 1 - before
        gaps.append((before, after, w.stride - 1))
        ones.append(w._replace(stride=1))
    spread = lax.pad(share, zero, [(0, 0, 0), *gaps, (0, 0, 0)])
    return _reduce_window(spread, zero, lax.add, ones, [(0, 0)] * len(windows))


# Helpers ------------------------------------------------------------------------------------------


def _forward(rank: int) -> tuple[str, str, str]:
    space = "DHW"[-rank:]
    return f"N{space}C", f"{space}IO", f"N{space}C"


def _pads(windows: Windows) -> list[tuple[int, int]]:
    return [(w.before, w.after) for w in windows]


def _lowest(dtype: Any) -> Any:
    return np.array(np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf, dtype)


def _as_grouped(weights: Any) -> Any:
    """Reshapes a depthwise filter to that of a convolution with one group per channel."""
    return weights.reshape(*weights.shape[:-2], 1, weights.shape[-2] * weights.shape[-1])


def _reduce_window(x: Any, start: Any, function: Any, windows: Windows, pads: Any) -> Any:
    return _lax().reduce_window(
        x,
        start,
        function,
        (1, *(w.extent for w in windows), 1),
        (1, *(w.stride for w in windows), 1),
        [(0, 0), *pads, (0, 0)],
    )


def _taps(windows: Windows) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(w.extent) for w in windows))


def _span(w: Window) -> int:
    return max(w.size + w.before + w.after, w.reach)


def _padded(x: Any, windows: Windows, value: Any) -> Any:
    widths = [(w.before, _span(w) - w.size - w.before) for w in windows]
    if not any(map(any, widths)):
        return x
    return xla.numpy().pad(x, [(0, 0), *widths, (0, 0)], constant_values=value)


def _unpadded(padded: Any, windows: Windows) -> Any:
    return padded[(slice(None), *(slice(w.before, w.before + w.size) for w in windows))]


def _at(padded: Any, tap: tuple[int, ...], windows: Windows) -> Any:
    """Slices the elements at ``tap`` of their windows: ``[batch, *outputs, channels]``."""
    return padded[(slice(None), *map(_places, tap, windows))]


def _places(tap: int, w: Window) -> slice:
    """Returns the slice of a dimension that holds the elements at ``tap`` of its windows."""
    start = tap * w.dilation
    return slice(start, start + (w.output - 1) * w.stride + 1, w.stride)


def _spread(part: Any, tap: tuple[int, ...], windows: Windows) -> Any:
    """Puts ``part`` at its places among zeros, padding included: the inverse of ``_at``."""
    gaps = []
    for i, w in zip(tap, windows, strict=True):
        last = i + (w.output - 1) * w.stride
        gaps.append((i, _span(w) - last - 1, w.stride - 1))
    return _lax().pad(part, np.zeros((), part.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])


def _not_below(element: Any, maximum: Any) -> Any:
    """Tells whether an element is a maximum, which NaN always is.

    Unlike a test for NaN for each element of a window, this takes XLA no longer than ``==``.
    """
    return ~(element < maximum)


def _all_maxima(
    x: Any, y: Any, windows: Windows, is_maximum: _Comparison = operator.eq
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Yields each tap with a mask of the windows that have a maximum there."""
    padded = _padded(x, windows, _lowest(x.dtype))
    for tap in _taps(windows):
        yield tap, is_maximum(_at(padded, tap, windows), y)


def _first_maxima(
    x: Any, y: Any, windows: Windows, is_maximum: _Comparison = operator.eq
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Yields each tap with a mask of the windows whose first maximum (row-major) is there."""
    taken = None
    for tap, equal in _all_maxima(x, y, windows, is_maximum):
        first = equal if taken is None else equal & ~taken
        taken = equal if taken is None else taken | equal
        yield tap, first


def _all_in_tiles(x: Any, y: Any, windows: Windows, in_tiles: Callable[[Any], Any]) -> Any:
    """Builds the mask of the maxima of windows that tile ``x``.

    Args:
        in_tiles: makes ``[batch, output, 1, output, 1, ..., channels]`` of an array like ``y``.

    Returns:
        ``[batch, output, extent, output, extent, ..., channels]``: a reshaped ``x``, so that XLA
            computes the mask and its uses in one loop over ``x``.
    """
    tiles = itertools.chain.from_iterable((w.output, w.extent) for w in windows)
    return x.reshape(len(x), *tiles, x.shape[-1]) == in_tiles(y)


def _first_in_tiles(
    x: Any, y: Any, windows: Windows, in_tiles: Callable[[Any], Any], is_maximum: _Comparison
) -> Any:
    """Builds the mask of the first maxima (row-major): the taps whose index is that of the window.

    The index is -1 for a window without a maximum. Masks of overlapping windows are not made of
    indices: pools of 3x3 and stride 1 would take four times as long.
    """
    jnp = xla.numpy()
    first = jnp.full(y.shape, -1, np.int32)
    for index, (_, equal) in reversed(list(enumerate(_all_maxima(x, y, windows, is_maximum)))):
        first = jnp.where(equal, np.int32(index), first)
    indices = np.arange(math.prod(w.extent for w in windows), dtype=np.int32)
    extents = itertools.chain.from_iterable((1, w.extent) for w in windows)
    return in_tiles(first) == indices.reshape(1, *extents, 1)


def _tiles(w: Window) -> bool:
    """Tells whether the windows tile the elements: no overlap, no padding, no rest."""
    return w.extent == w.stride and not w.before and not w.after and w.output * w.extent == w.size
