"""Convolutions and pools in numpy, over any number of spatial dimensions, channels last.

``x`` is ``[batch, *spatial, channels]`` and a filter ``[*extents, in, out]``. ``windows`` has one
``Window`` for each spatial dimension (at least one), which says where the windows lie. Loops run
over the elements of one window (the *taps*), never over the data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flowray.proto.ops.windows import Window
from flowray.worker.execution import blas

Array = np.ndarray[Any, Any]
Windows = Sequence[Window]


def conv(x: Array, weights: Array, windows: Windows) -> Array:
    """Convolves ``x`` with ``weights``: ``[batch, *outputs, out]``.

    If ``x`` has ``groups`` times the filter's input channels, the convolution is grouped: each
    group of input channels meets its own group of output channels.
    """
    depth_in, depth_out = weights.shape[-2:]
    groups = x.shape[-1] // depth_in
    if groups > 1:
        parts = zip(_split(x, groups), _split(weights, groups), strict=True)
        return np.concatenate([conv(a, b, windows) for a, b in parts], -1)
    shape = (x.shape[0], *(w.output for w in windows), depth_out)
    return blas.matmul(_columns(x, windows), weights.reshape(-1, depth_out)).reshape(shape)


def conv_backprop_filter(x: Array, shape: tuple[int, ...], g: Array, windows: Windows) -> Array:
    """Computes the gradient of ``conv`` with respect to a filter of ``shape``.

    Args:
        g: the gradient of the output, ``[batch, *outputs, out]``.
    """
    groups = x.shape[-1] // shape[-2]
    if groups > 1:
        part = (*shape[:-1], shape[-1] // groups)
        parts = zip(_split(x, groups), _split(g, groups), strict=True)
        return np.concatenate([conv_backprop_filter(a, part, b, windows) for a, b in parts], -1)
    return blas.matmul(_columns(x, windows).T, g.reshape(-1, shape[-1])).reshape(shape)


def conv_backprop_input(
    shape: tuple[int, ...], weights: Array, g: Array, windows: Windows
) -> Array:
    """Computes the gradient of ``conv`` with respect to an input of ``shape``.

    Args:
        g: the gradient of the output, ``[batch, *outputs, out]``.
    """
    depth_in, depth_out = weights.shape[-2:]
    groups = shape[-1] // depth_in
    if groups > 1:
        part = (*shape[:-1], depth_in)
        parts = zip(_split(weights, groups), _split(g, groups), strict=True)
        return np.concatenate([conv_backprop_input(part, a, b, windows) for a, b in parts], -1)
    flat = g.reshape(-1, depth_out)
    padded = _padded_zeros(shape, windows, g.dtype)
    for tap in _taps(windows):
        part_of_tap = blas.matmul(flat, weights[tap].T).reshape(*g.shape[:-1], depth_in)
        _at(padded, tap, windows)[...] += part_of_tap
    return _unpadded(padded, windows)


def depthwise_conv(x: Array, weights: Array, windows: Windows) -> Array:
    """Convolves each channel with filters of its own: ``[batch, *outputs, channels * multiplier]``.

    Args:
        weights: ``[*extents, channels, multiplier]``; output channel ``c * multiplier + m`` is
            channel ``c`` convolved with filter ``m`` of that channel.
    """
    padded = _padded(x, windows, 0)
    shape = (x.shape[0], *(w.output for w in windows), *weights.shape[-2:])
    result = np.zeros(shape, x.dtype)
    for tap in _taps(windows):
        result += _at(padded, tap, windows)[..., None] * weights[tap]
    return result.reshape(*shape[:-2], -1)


def depthwise_conv_backprop_filter(
    x: Array, shape: tuple[int, ...], g: Array, windows: Windows
) -> Array:
    """Computes the gradient of ``depthwise_conv`` with respect to a filter of ``shape``."""
    padded = _padded(x, windows, 0)
    by_multiplier = g.reshape(*g.shape[:-1], *shape[-2:])
    result = np.empty(shape, g.dtype)
    axes = tuple(range(g.ndim - 1))
    for tap in _taps(windows):
        result[tap] = (_at(padded, tap, windows)[..., None] * by_multiplier).sum(axes)
    return result


def depthwise_conv_backprop_input(
    shape: tuple[int, ...], weights: Array, g: Array, windows: Windows
) -> Array:
    """Computes the gradient of ``depthwise_conv`` with respect to an input of ``shape``."""
    padded = _padded_zeros(shape, windows, g.dtype)
    by_multiplier = g.reshape(*g.shape[:-1], *weights.shape[-2:])
    for tap in _taps(windows):
        _at(padded, tap, windows)[...] += (by_multiplier * weights[tap]).sum(-1)
    return _unpadded(padded, windows)


def max_pool(x: Array, windows: Windows) -> Array:
    """Takes the maximum of each window: ``[batch, *outputs, channels]``.

    Padding never wins: it counts as the lowest value of the dtype. NaN wins over every value.
    """
    padded = _padded(x, windows, _lowest(x.dtype))
    taps = _taps(windows)
    result = _at(padded, next(taps), windows).copy()
    for tap in taps:
        np.maximum(result, _at(padded, tap, windows), out=result)
    return result


def max_pool_grad(x: Array, y: Array, g: Array, windows: Windows, to_all: bool = False) -> Array:
    """Spreads the gradient ``g`` of each window to the window's maximum.

    Args:
        x: the input of the pool.
        y: its output.
        to_all: whether every element equal to the maximum gets the gradient. Otherwise only the
            first one in row-major order does, as in TensorFlow's two-dimensional pools. Of a
            window that holds NaN, whose maximum is NaN, that is the first element above -inf.
    """
    if not to_all and x.dtype.kind not in "iu":
        # No element is below NaN, and all but -inf, which is also the padding, are at least this.
        y = np.where(np.isnan(y), np.nextafter(_lowest(y.dtype), y.dtype.type(0)), y)
    padded = _padded(x, windows, _lowest(x.dtype))
    result = _padded_zeros(x.shape, windows, g.dtype)
    free = np.ones(y.shape, bool)
    zero = g.dtype.type(0)
    for tap in _taps(windows):
        element = _at(padded, tap, windows)
        chosen = element == y if to_all else free & ~(element < y)
        if not to_all:
            free &= ~chosen
        _at(result, tap, windows)[...] += np.where(chosen, g, zero)
    return _unpadded(result, windows)


def max_pool_grad_grad(x: Array, y: Array, gg: Array, windows: Windows) -> Array:
    """Takes from each window the element of ``gg`` at the place of the first maximum of ``x``.

    A window without a maximum (it holds NaN) gives 0.
    """
    padded, values = _padded(x, windows, _lowest(x.dtype)), _padded(gg, windows, 0)
    free = np.ones(y.shape, bool)
    result = np.zeros(y.shape, gg.dtype)
    for tap in _taps(windows):
        first = free & (_at(padded, tap, windows) == y)
        free &= ~first
        np.copyto(result, _at(values, tap, windows), where=first)
    return result


def avg_pool(x: Array, windows: Windows) -> Array:
    """Takes the mean of each window, over the elements that are not padding."""
    padded = _padded(x, windows, 0)
    total = np.zeros((x.shape[0], *(w.output for w in windows), x.shape[-1]), x.dtype)
    for tap in _taps(windows):
        total += _at(padded, tap, windows)
    total /= counts(windows).astype(x.dtype)
    return total


def avg_pool_grad(shape: tuple[int, ...], g: Array, windows: Windows) -> Array:
    """Computes the gradient of ``avg_pool`` with respect to an input of ``shape``.

    Each element of ``g`` is divided equally among the elements of its window that are not padding.
    """
    share = g / counts(windows).astype(g.dtype)
    padded = _padded_zeros(shape, windows, g.dtype)
    for tap in _taps(windows):
        _at(padded, tap, windows)[...] += share
    return _unpadded(padded, windows)


def counts(windows: Windows) -> Array:
    """Counts the elements of each window without padding: int64 ``[1, *outputs, 1]``."""
    result: Array = np.ones((), np.int64)
    for w in windows:
        start = np.arange(w.output) * w.stride - w.before
        inside = np.minimum(start + w.extent, w.size) - np.maximum(start, 0)
        result = result[..., None] * inside
    return result[None, ..., None]


def _taps(windows: Windows) -> Iterator[tuple[int, ...]]:
    """The indices of a window's elements, in row-major order."""
    return itertools.product(*(range(w.extent) for w in windows))


def _at(padded: Array, tap: tuple[int, ...], windows: Windows) -> Array:
    """Returns a view of the elements at ``tap`` of their windows: ``[batch, *outputs, c]``."""
    slices = []
    for i, w in zip(tap, windows, strict=True):
        start = i * w.dilation
        slices.append(slice(start, start + (w.output - 1) * w.stride + 1, w.stride))
    return padded[(slice(None), *slices)]


def _columns(x: Array, windows: Windows) -> Array:
    """Lays out the elements of each window as a row: ``[batch * outputs, extents * channels]``."""
    padded = _padded(x, windows, 0)
    outputs, extents = [w.output for w in windows], [w.extent for w in windows]
    size = math.prod(extents) * x.shape[-1]
    axes = range(1, 1 + len(windows))
    reach = [(w.extent - 1) * w.dilation + 1 for w in windows]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, tuple(axes))
    # [batch, *starts, channels, *reach] -> [batch, *outputs, *extents, channels]
    view = view[
        (
            slice(None),
            *(slice(0, (w.output - 1) * w.stride + 1, w.stride) for w in windows),
            slice(None),
            *(slice(None, None, w.dilation) for w in windows),
        )
    ]
    channels = 1 + len(windows)
    view = view.transpose(0, *axes, *range(channels + 1, view.ndim), channels)
    return view.reshape(x.shape[0] * math.prod(outputs), size)


def _split(array: Array, groups: int) -> list[Array]:
    return np.split(array, groups, -1)


def _span(w: Window) -> int:
    """Returns the padded size along a dimension, which holds all windows."""
    return max(w.size + w.before + w.after, w.reach)


def _padded(x: Array, windows: Windows, value: Any) -> Array:
    widths = [(w.before, _span(w) - w.size - w.before) for w in windows]
    if not any(map(any, widths)):
        return x
    return np.pad(x, [(0, 0), *widths, (0, 0)], constant_values=value)


def _padded_zeros(shape: Sequence[int], windows: Windows, dtype: Any) -> Array:
    return np.zeros((shape[0], *map(_span, windows), shape[-1]), dtype)


def _unpadded(padded: Array, windows: Windows) -> Array:
    return padded[(slice(None), *(slice(w.before, w.before + w.size) for w in windows))]


def _lowest(dtype: Any) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf
