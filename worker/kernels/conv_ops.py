"""Kernels of convolutions: they check, put channels last and call a backend.

The backends are ``support/convolution_numpy.py`` and ``support/convolution_xla.py``. 16-bit floats
are added up in 32 bits by both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.ops.windows import Window, assemble
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.support.precision import widened
from flowray.worker.kernels.support.windows import (
    Layout,
    Shape,
    backend,
    channels_last,
    last,
    restored,
)


def _wide(xp: Any, *arrays: Any) -> tuple[Any, ...]:
    """Converts 16-bit floats to float32 for numpy, which would add them up in 16 bits."""
    return tuple(map(widened, arrays)) if xp is np else arrays


def _check_rank(name: str, shape: Sequence[int], rank: int) -> None:
    if len(shape) != rank:
        raise errors.invalid_argument(
            f"{name} must be {rank}-dimensional: {format_shape(tuple(shape))}"
        )


def _check_not_empty(weights: Shape) -> None:
    if 0 in weights:
        raise errors.invalid_argument(
            "filter must not have zero elements (i.e. all dimensions must be non-zero)"
        )


def _check_depths(source: Shape, weights: Shape) -> None:
    """Checks the channels of shapes with channels last; groups are allowed."""
    if source[-1] % weights[-2]:
        raise errors.invalid_argument(
            f"input depth must be evenly divisible by filter depth: {source[-1]} vs {weights[-2]}"
        )
    groups = source[-1] // weights[-2]
    if groups and weights[-1] % groups:
        raise errors.invalid_argument(
            f"output depth must be evenly divisible by number of groups: {weights[-1]} vs {groups}"
        )


def _check_depthwise(source: Shape, weights: Shape) -> None:
    if source[-1] != weights[2]:
        raise errors.invalid_argument(
            f"input depth must be evenly divisible by filter depth: {source[-1]} vs {weights[2]}"
        )


def _check_backprop(
    label: str, source: Shape, weights: Shape, depth: int, g: Shape, windows: Sequence[Window]
) -> None:
    """Checks that the gradient ``g`` has the shape of the convolution's output."""
    if source[0] != g[0]:
        raise errors.invalid_argument(
            f"{label}: input and out_backprop must have the same batch size. Input batch: "
            f"{source[0]}, outbackprop batch: {g[0]}, batch_dim: 0"
        )
    if depth != g[-1]:
        raise errors.invalid_argument(
            f"{label}: filter and out_backprop must have the same out_depth"
        )
    for i, w in enumerate(windows):
        if w.output != g[1 + i]:
            raise errors.invalid_argument(
                f"{label}: Size of out_backprop doesn't match computed: actual = {g[1 + i]}, "
                f"computed = {w.output} spatial_dim: {1 + i} input: {w.size} filter: {w.extent} "
                f"output: {g[1 + i]} stride: {w.stride} dilation: {w.dilation}"
            )


def _vector(sizes: Any, name: str) -> Shape:
    if sizes.ndim != 1:
        raise errors.invalid_argument(
            f"Conv2DBackprop: {name} must be 1-dimensional, not {sizes.ndim}"
        )
    return tuple(int(size) for size in sizes)


class _Convolution:
    """One kind of convolution: dense or depthwise, of some rank."""

    def __init__(self, name: str, rank: int, function: str, depthwise: bool = False) -> None:
        self.name = name
        self.rank = rank
        self.function = function
        self.depthwise = depthwise

    def _check(self, source: Shape, weights: Shape) -> int:
        """Checks filter and depths, and returns the depth of the output."""
        _check_not_empty(weights)
        if self.depthwise:
            _check_depthwise(source, weights)
            return weights[2] * weights[3]
        _check_depths(source, weights)
        return weights[-1]

    def forward(self, xp: Any, x: Any, weights: Any, layout: Layout, data_format: bytes) -> Any:
        """Convolves ``x`` with ``weights``; an empty input gives zeros."""
        _check_rank("input", x.shape, self.rank)
        _check_rank("filter", weights.shape, self.rank)
        wide, filters = _wide(xp, channels_last(x, data_format), weights)
        depth = self._check(wide.shape, weights.shape)
        windows = layout.windows(wide.shape[1:-1], weights.shape[:-2])
        shape = (x.shape[0], *(w.output for w in windows), depth)
        if 0 in shape or x.size == 0:
            result = xp.zeros(shape, x.dtype)
        else:
            result = getattr(backend(xp), self.function)(wide, filters, windows)
        return restored(xp, result, data_format, x.dtype)

    def backprop_input(
        self, xp: Any, input_sizes: Any, weights: Any, g: Any, layout: Layout, data_format: bytes
    ) -> Any:
        """Computes the gradient with respect to the input.

        Args:
            input_sizes: the input's shape; in two dimensions also height and width alone.
        """
        label = f"{self.name}BackpropInput"
        sizes = _vector(input_sizes, "input_sizes")
        _check_rank("filter", weights.shape, self.rank)
        _check_rank("out_backprop", g.shape, self.rank)
        if len(sizes) == 2 and self.rank == 4:
            shape = assemble(data_format, g.shape[0], sizes, weights.shape[2])
            sizes = tuple(int(s or 0) for s in shape or ())
        if len(sizes) != self.rank:
            raise errors.invalid_argument(
                f"{label} requires input_sizes to contain {self.rank} values or 2 values, but "
                f"got: {len(sizes)}"
            )
        source = last(sizes, data_format)
        if 0 in weights.shape:
            return xp.zeros(sizes, g.dtype)  # as TensorFlow does, whatever the other sizes are
        wide, filters = _wide(xp, channels_last(g, data_format), weights)
        depth = self._check(source, weights.shape)
        windows = layout.windows(source[1:-1], weights.shape[:-2])
        _check_backprop(label, source, weights.shape, depth, wide.shape, windows)
        if 0 in source or g.size == 0:
            result = xp.zeros(source, g.dtype)
        else:
            function = getattr(backend(xp), f"{self.function}_backprop_input")
            result = function(source, filters, wide, windows)
        return restored(xp, result, data_format, g.dtype)

    def backprop_filter(
        self, xp: Any, x: Any, filter_sizes: Any, g: Any, layout: Layout, data_format: bytes
    ) -> Any:
        """Computes the gradient with respect to a filter of shape ``filter_sizes``."""
        label = f"{self.name}BackpropFilter"
        weights = _vector(filter_sizes, "filter_sizes")
        _check_rank("input", x.shape, self.rank)
        _check_rank("filter", weights, self.rank)
        _check_rank("out_backprop", g.shape, self.rank)
        if 0 in weights:
            return xp.zeros(weights, x.dtype)  # as TensorFlow does, whatever the other sizes are
        wide, gradient = _wide(xp, channels_last(x, data_format), channels_last(g, data_format))
        depth = self._check(wide.shape, weights)
        windows = layout.windows(wide.shape[1:-1], weights[:-2])
        _check_backprop(label, wide.shape, weights, depth, gradient.shape, windows)
        if x.size == 0 or g.size == 0:
            return xp.zeros(weights, x.dtype)
        function = getattr(backend(xp), f"{self.function}_backprop_filter")
        return function(wide, weights, gradient, windows).astype(x.dtype)


def _register_2d(convolution: _Convolution, name: str) -> None:
    def forward(
        xp: Any,
        input: Any,
        filter: Any,
        *,
        strides: list[int],
        padding: bytes,
        explicit_paddings: list[int],
        data_format: bytes,
        dilations: list[int],
    ) -> Any:
        layout = Layout(4, data_format, padding, strides, dilations, explicit_paddings)
        return convolution.forward(xp, input, filter, layout, data_format)

    def backprop_input(
        xp: Any,
        input_sizes: Any,
        filter: Any,
        out_backprop: Any,
        *,
        strides: list[int],
        padding: bytes,
        explicit_paddings: list[int],
        data_format: bytes,
        dilations: list[int],
    ) -> Any:
        layout = Layout(4, data_format, padding, strides, dilations, explicit_paddings)
        return convolution.backprop_input(
            xp, input_sizes, filter, out_backprop, layout, data_format
        )

    def backprop_filter(
        xp: Any,
        input: Any,
        filter_sizes: Any,
        out_backprop: Any,
        *,
        strides: list[int],
        padding: bytes,
        explicit_paddings: list[int],
        data_format: bytes,
        dilations: list[int],
    ) -> Any:
        layout = Layout(4, data_format, padding, strides, dilations, explicit_paddings)
        return convolution.backprop_filter(
            xp, input, filter_sizes, out_backprop, layout, data_format
        )

    add_kernel(name, forward)
    add_kernel(f"{name}BackpropInput", backprop_input)
    add_kernel(f"{name}BackpropFilter", backprop_filter)


_register_2d(_Convolution("Conv2D", 4, "conv"), "Conv2D")
_register_2d(
    _Convolution("DepthwiseConv2dNative", 4, "depthwise_conv", depthwise=True),
    "DepthwiseConv2dNative",
)

_conv_3d = _Convolution("Conv3D", 5, "conv")


@kernel("Conv3D")
def conv_3d(
    xp: Any,
    input: Any,
    filter: Any,
    *,
    strides: list[int],
    padding: bytes,
    data_format: bytes,
    dilations: list[int],
) -> Any:
    """Convolves ``[batch, depth, height, width, channels]`` (NDHWC) or NCDHW with a 5-D filter.

    Strides and dilations of the batch and the channels must be 1.
    """
    layout = Layout(5, data_format, padding, strides, dilations)
    return _conv_3d.forward(xp, input, filter, layout, data_format)


@kernel("Conv3DBackpropInputV2")
def conv_3d_backprop_input(
    xp: Any,
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    *,
    strides: list[int],
    padding: bytes,
    data_format: bytes,
    dilations: list[int],
) -> Any:
    """Computes the gradient of Conv3D with respect to its input."""
    layout = Layout(5, data_format, padding, strides, dilations)
    return _conv_3d.backprop_input(xp, input_sizes, filter, out_backprop, layout, data_format)


@kernel("Conv3DBackpropFilterV2")
def conv_3d_backprop_filter(
    xp: Any,
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    *,
    strides: list[int],
    padding: bytes,
    data_format: bytes,
    dilations: list[int],
) -> Any:
    """Computes the gradient of Conv3D with respect to its filter."""
    layout = Layout(5, data_format, padding, strides, dilations)
    return _conv_3d.backprop_filter(xp, input, filter_sizes, out_backprop, layout, data_format)
