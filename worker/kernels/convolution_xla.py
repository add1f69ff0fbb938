"""Convolutions and pools for XLA: the functions of ``convolution_numpy``, by the same contract.

``lax.conv_general_dilated`` becomes cuDNN's convolutions on GPUs, Eigen's on CPUs
(``xla.compiler_options``). Where XLA is slow on CPUs, it is given something else: gradients of
max-pools are masks, not ``select_and_scatter`` (measured on 2 cores at the sizes of a small CNN:
41 -> 9 ms).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flowray.proto.ops.windows import Window
from flowray.worker import xla
from flowray.worker.kernels.convolution_numpy import counts

Windows = Sequence[Window]

_FEW = 4
"""Up to so many input channels, a filter's rows are stacked on CPUs (3 channels: 4.9 -> 2.7 ms)."""
_SMALL_POOL = 16
"""Up to so many taps, a fused tree of maxima is faster on CPUs than ``reduce_window``."""


def _lax() -> Any:
    return xla.jax().lax


def conv(x: Any, weights: Any, windows: Windows) -> Any:
    depth_in = weights.shape[-2]
    groups = x.shape[-1] // depth_in
    if groups == 1 and all(w.extent == 1 and not (w.before or w.after) for w in windows):
        x = x[(slice(None), *(slice(None, None, w.stride) for w in windows))]
        return xla.numpy().tensordot(x, weights.reshape(weights.shape[-2:]), 1)
    if groups == 1 and depth_in <= _FEW and x.dtype == np.float32:
        return _lax().platform_dependent(
            x,
            weights,
            cpu=lambda x, weights: _conv(*_stacked(x, weights, windows)),
            default=lambda x, weights: _conv(x, weights, windows),
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


def _stacked(x: Any, weights: Any, windows: Windows) -> tuple[Any, Any, Windows]:
    """The same convolution by a filter of one row: what its rows meet, side by side as channels.

    The barrier keeps XLA from computing that again for every tap of the row.
    """
    first, *others = windows
    padded = _padded(x, windows, np.zeros((), x.dtype))
    rows = [padded[:, _places(i, first)] for i in range(first.extent)]
    x = _lax().optimization_barrier(xla.numpy().concatenate(rows, -1))
    depth_out = weights.shape[-1]
    weights = xla.numpy().moveaxis(weights, 0, -3)
    weights = weights.reshape(1, *(w.extent for w in others), x.shape[-1], depth_out)
    row = Window(first.output, 1, 1, 1, first.output, 0, 0)
    return x, weights, [row, *(w._replace(size=_span(w), before=0, after=0) for w in others)]


def conv_backprop_input(shape: tuple[int, ...], weights: Any, g: Any, windows: Windows) -> Any:
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
    return conv(x, _as_grouped(weights), windows)


def depthwise_conv_backprop_filter(x: Any, shape: tuple[int, ...], g: Any, windows: Windows) -> Any:
    grouped = (*shape[:-2], 1, shape[-2] * shape[-1])
    return conv_backprop_filter(x, grouped, g, windows).reshape(shape)


def depthwise_conv_backprop_input(
    shape: tuple[int, ...], weights: Any, g: Any, windows: Windows
) -> Any:
    return conv_backprop_input(shape, _as_grouped(weights), g, windows)


def max_pool(x: Any, windows: Windows) -> Any:
    jnp = xla.numpy()

    def reduced(x: Any) -> Any:
        return _reduce_window(x, _lowest(x.dtype), _lax().max, windows, _pads(windows))

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
    jnp = xla.numpy()
    zero = jnp.zeros((), g.dtype)
    masks = (_all_maxima if to_all else _first_maxima)(x, y, windows)
    if all(_tiles(w) for w in windows):
        parts = jnp.stack([jnp.where(mask, g, zero) for _, mask in masks])
        return _from_tiles(parts, x.shape, windows)
    result = jnp.zeros((x.shape[0], *map(_span, windows), x.shape[-1]), g.dtype)
    for tap, mask in masks:
        result = result + _spread(jnp.where(mask, g, zero), tap, windows)
    return _unpadded(result, windows)


def max_pool_grad_grad(x: Any, y: Any, gg: Any, windows: Windows) -> Any:
    jnp = xla.numpy()
    values = _padded(gg, windows, np.zeros((), gg.dtype))
    result = jnp.zeros(y.shape, gg.dtype)
    for tap, mask in _first_maxima(x, y, windows):
        result = jnp.where(mask, _at(values, tap, windows), result)
    return result


def avg_pool(x: Any, windows: Windows) -> Any:
    total = _reduce_window(x, np.zeros((), x.dtype), _lax().add, windows, _pads(windows))
    return total / counts(windows).astype(x.dtype)


def avg_pool_grad(shape: tuple[int, ...], g: Any, windows: Windows) -> Any:
    """Each element sums the shares of the windows that hold it."""
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
    """A depthwise filter as that of a convolution with one group per channel."""
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
    """The elements that stand at ``tap`` of their windows: ``[batch, *outputs, channels]``."""
    return padded[(slice(None), *map(_places, tap, windows))]


def _places(tap: int, w: Window) -> slice:
    """Where the elements at ``tap`` of the windows along a dimension are."""
    start = tap * w.dilation
    return slice(start, start + (w.output - 1) * w.stride + 1, w.stride)


def _spread(part: Any, tap: tuple[int, ...], windows: Windows) -> Any:
    """The inverse of ``_at``: ``part`` at its places among zeros, padding included."""
    gaps = []
    for i, w in zip(tap, windows, strict=True):
        last = i + (w.output - 1) * w.stride
        gaps.append((i, _span(w) - last - 1, w.stride - 1))
    return _lax().pad(part, np.zeros((), part.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])


def _all_maxima(x: Any, y: Any, windows: Windows) -> Iterator[tuple[tuple[int, ...], Any]]:
    """For each tap, which windows have a maximum there."""
    padded = _padded(x, windows, _lowest(x.dtype))
    for tap in _taps(windows):
        yield tap, _at(padded, tap, windows) == y


def _first_maxima(x: Any, y: Any, windows: Windows) -> Iterator[tuple[tuple[int, ...], Any]]:
    """For each tap, which windows have their first maximum (row-major) there."""
    taken = None
    for tap, equal in _all_maxima(x, y, windows):
        first = equal if taken is None else equal & ~taken
        taken = equal if taken is None else taken | equal
        yield tap, first


def _tiles(w: Window) -> bool:
    """Do the windows tile the elements: no overlap, no padding, no rest?"""
    return w.extent == w.stride and not w.before and not w.after and w.output * w.extent == w.size


def _from_tiles(parts: Any, shape: tuple[int, ...], windows: Windows) -> Any:
    """``[taps, batch, *outputs, c]`` put together again as ``shape``."""
    n = len(windows)
    parts = parts.reshape(*(w.extent for w in windows), *parts.shape[1:])
    # [*extents, batch, *outputs, c] -> [batch, output, extent, output, extent, ..., c]
    order = [n, *itertools.chain(*((n + 1 + i, i) for i in range(n))), 2 * n + 1]
    return parts.transpose(order).reshape(shape)
