"""Kernels of convolutions and pools: they check, put channels last and call a backend.

The backends are ``support/convolution_numpy.py`` and ``support/convolution_xla.py``. 16-bit floats
are added up in 32 bits by both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.ops.windows import (
    Window,
    assemble,
    channel_axis,
    pairs,
    spatial_axes,
    window,
)
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.support import convolution_numpy, convolution_xla
from flowray.worker.kernels.support.axes import extremum
from flowray.worker.kernels.support.precision import widened

Shape = tuple[int, ...]


def _backend(xp: Any) -> Any:
    return convolution_numpy if xp is np else convolution_xla


def _wide(xp: Any, *arrays: Any) -> tuple[Any, ...]:
    """Converts 16-bit floats to float32 for numpy, which would add them up in 16 bits."""
    return tuple(map(widened, arrays)) if xp is np else arrays


def _channels_last(array: Any, data_format: bytes) -> Any:
    if not data_format.startswith(b"NC"):
        return array
    return array.transpose(0, *range(2, array.ndim), 1)


def _restored(xp: Any, array: Any, data_format: bytes, dtype: Any) -> Any:
    """Brings a result into the order of ``data_format``.

    It is made contiguous, since numpy's transposes are views.
    """
    if data_format.startswith(b"NC"):
        array = array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))
    result = array.astype(dtype)
    return np.ascontiguousarray(result) if xp is np else result


def _last(shape: Sequence[int], data_format: bytes) -> Shape:
    """Reorders a shape of ``data_format`` to channels last."""
    if data_format.startswith(b"NC"):
        return (shape[0], *shape[2:], shape[1])
    return tuple(shape)


class _Layout:
    """The strides, dilations and paddings of a node, for its spatial dimensions only."""

    def __init__(
        self,
        rank: int,
        data_format: bytes,
        padding: bytes,
        strides: Sequence[int],
        dilations: Sequence[int] = (),
        explicit_paddings: Sequence[int] = (),
    ) -> None:
        axes = spatial_axes(data_format, rank)
        channels = channel_axis(data_format, rank)
        if strides[0] != 1 or strides[channels] != 1:
            raise errors.unimplemented(
                "Current implementation does not yet support strides in the batch and depth "
                "dimensions."
            )
        if dilations and (dilations[0] != 1 or dilations[channels] != 1):
            raise errors.invalid_argument(
                "Current implementation does not yet support dilations in the batch and depth "
                "dimensions."
            )
        self._strides = [strides[a] for a in axes]
        self._dilations = [dilations[a] for a in axes] if dilations else [1] * len(axes)
        self._padding = padding
        self._explicit = pairs(explicit_paddings if padding == b"EXPLICIT" else (), axes)

    def windows(self, sizes: Sequence[int], extents: Sequence[int]) -> list[Window]:
        try:
            return [
                window(size, extent, stride, self._padding, dilation, explicit)
                for size, extent, stride, dilation, explicit in zip(
                    sizes, extents, self._strides, self._dilations, self._explicit, strict=True
                )
            ]
        except ValueError as error:
            raise errors.invalid_argument(str(error)) from None


# Convolutions -------------------------------------------------------------------------------------


def _check_rank(name: str, shape: Sequence[int], rank: int) -> None:
    if len(shape) != rank:
        raise errors.invalid_argument(
            f"{name} must be {rank}-dimensional: {format_shape(tuple(shape))}"
        )


def _check_depths(source: Shape, weights: Shape) -> None:
    """Checks the channels of shapes with channels last; groups are allowed."""
    if 0 in weights:
        raise errors.invalid_argument(
            "filter must not have zero elements (i.e. all dimensions must be non-zero)"
        )
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
        """Checks the depths and returns that of the output."""
        if self.depthwise:
            _check_depthwise(source, weights)
            return weights[2] * weights[3]
        _check_depths(source, weights)
        return weights[-1]

    def forward(self, xp: Any, x: Any, weights: Any, layout: _Layout, data_format: bytes) -> Any:
        """Convolves ``x`` with ``weights``; an empty input gives zeros."""
        _check_rank("input", x.shape, self.rank)
        _check_rank("filter", weights.shape, self.rank)
        wide, filters = _wide(xp, _channels_last(x, data_format), weights)
        depth = self._check(wide.shape, weights.shape)
        windows = layout.windows(wide.shape[1:-1], weights.shape[:-2])
        shape = (x.shape[0], *(w.output for w in windows), depth)
        if 0 in shape or x.size == 0:
            result = xp.zeros(shape, x.dtype)
        else:
            result = getattr(_backend(xp), self.function)(wide, filters, windows)
        return _restored(xp, result, data_format, x.dtype)

    def backprop_input(
        self, xp: Any, input_sizes: Any, weights: Any, g: Any, layout: _Layout, data_format: bytes
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
        source = _last(sizes, data_format)
        wide, filters = _wide(xp, _channels_last(g, data_format), weights)
        depth = self._check(source, weights.shape)
        windows = layout.windows(source[1:-1], weights.shape[:-2])
        _check_backprop(label, source, weights.shape, depth, wide.shape, windows)
        if 0 in source or g.size == 0:
            result = xp.zeros(source, g.dtype)
        else:
            function = getattr(_backend(xp), f"{self.function}_backprop_input")
            result = function(source, filters, wide, windows)
        return _restored(xp, result, data_format, g.dtype)

    def backprop_filter(
        self, xp: Any, x: Any, filter_sizes: Any, g: Any, layout: _Layout, data_format: bytes
    ) -> Any:
        """Computes the gradient with respect to a filter of shape ``filter_sizes``."""
        label = f"{self.name}BackpropFilter"
        weights = _vector(filter_sizes, "filter_sizes")
        _check_rank("input", x.shape, self.rank)
        _check_rank("filter", weights, self.rank)
        _check_rank("out_backprop", g.shape, self.rank)
        wide, gradient = _wide(xp, _channels_last(x, data_format), _channels_last(g, data_format))
        depth = self._check(wide.shape, weights)
        windows = layout.windows(wide.shape[1:-1], weights[:-2])
        _check_backprop(label, wide.shape, weights, depth, gradient.shape, windows)
        if x.size == 0 or g.size == 0:
            return xp.zeros(weights, x.dtype)
        function = getattr(_backend(xp), f"{self.function}_backprop_filter")
        return function(wide, weights, gradient, windows).astype(x.dtype)


def _register_2d(convolution: _Convolution, name: str) -> None:
    def forward(
        xp: Any, input: Any, filter: Any, *, strides: list[int], padding: bytes,
        explicit_paddings: list[int], data_format: bytes, dilations: list[int],
    ) -> Any:  # fmt: skip
        layout = _Layout(4, data_format, padding, strides, dilations, explicit_paddings)
        return convolution.forward(xp, input, filter, layout, data_format)

    def backprop_input(
        xp: Any, input_sizes: Any, filter: Any, out_backprop: Any, *, strides: list[int],
        padding: bytes, explicit_paddings: list[int], data_format: bytes, dilations: list[int],
    ) -> Any:  # fmt: skip
        layout = _Layout(4, data_format, padding, strides, dilations, explicit_paddings)
        return convolution.backprop_input(
            xp, input_sizes, filter, out_backprop, layout, data_format
        )

    def backprop_filter(
        xp: Any, input: Any, filter_sizes: Any, out_backprop: Any, *, strides: list[int],
        padding: bytes, explicit_paddings: list[int], data_format: bytes, dilations: list[int],
    ) -> Any:  # fmt: skip
        layout = _Layout(4, data_format, padding, strides, dilations, explicit_paddings)
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
    xp: Any, input: Any, filter: Any, *, strides: list[int], padding: bytes, data_format: bytes,
    dilations: list[int],
) -> Any:  # fmt: skip
    """Convolves ``[batch, depth, height, width, channels]`` (NDHWC) or NCDHW with a 5-D filter.

    Strides and dilations of the batch and the channels must be 1.
    """
    layout = _Layout(5, data_format, padding, strides, dilations)
    return _conv_3d.forward(xp, input, filter, layout, data_format)


@kernel("Conv3DBackpropInputV2")
def conv_3d_backprop_input(
    xp: Any, input_sizes: Any, filter: Any, out_backprop: Any, *, strides: list[int],
    padding: bytes, data_format: bytes, dilations: list[int],
) -> Any:  # fmt: skip
    """Computes the gradient of Conv3D with respect to its input."""
    layout = _Layout(5, data_format, padding, strides, dilations)
    return _conv_3d.backprop_input(xp, input_sizes, filter, out_backprop, layout, data_format)


@kernel("Conv3DBackpropFilterV2")
def conv_3d_backprop_filter(
    xp: Any, input: Any, filter_sizes: Any, out_backprop: Any, *, strides: list[int],
    padding: bytes, data_format: bytes, dilations: list[int],
) -> Any:  # fmt: skip
    """Computes the gradient of Conv3D with respect to its filter."""
    layout = _Layout(5, data_format, padding, strides, dilations)
    return _conv_3d.backprop_filter(xp, input, filter_sizes, out_backprop, layout, data_format)


# Pools --------------------------------------------------------------------------------------------


def _pool(
    what: str, shape: Sequence[int], ksize: Sequence[int], strides: Sequence[int], padding: bytes,
    data_format: bytes, explicit_paddings: Sequence[int] = (),
) -> tuple[Shape, list[Window]]:  # fmt: skip
    """Checks the attributes of a pool; returns the shape with channels last and the windows."""
    rank = len(ksize)
    if len(shape) != rank:
        raise errors.invalid_argument(f"{what} must be {rank}-dimensional")
    if any(k <= 0 for k in ksize):
        listed = ",".join(map(str, ksize))
        raise errors.invalid_argument(
            "Sliding window ksize must be positive. The specified or inferred ksize is: " + listed
        )
    if any(s <= 0 for s in strides):
        listed = ",".join(map(str, strides))
        raise errors.invalid_argument(
            "Sliding window strides must be positive. The specified or inferred strides is: "
            + listed
        )
    if ksize[0] != 1 or strides[0] != 1:
        raise errors.unimplemented("Pooling is not yet supported on the batch dimension.")
    layout = _Layout(rank, data_format, padding, strides, (), explicit_paddings)
    extents = _last(ksize, data_format)[1:-1]
    for side, (before, after), extent in zip(
        ("Top", "Left"), layout._explicit, extents, strict=False
    ):
        if max(before, after) >= extent:
            raise errors.invalid_argument(
                f"{side} padding {max(before, after)} needs to be smaller than the window size "
                f"{extent}"
            )
    source = _last(shape, data_format)
    return source, layout.windows(source[1:-1], extents)


def _max_pool(
    xp: Any, x: Any, ksize: Sequence[int], strides: Sequence[int], padding: bytes,
    data_format: bytes, explicit_paddings: Sequence[int] = (),
) -> Any:  # fmt: skip
    depth = channel_axis(data_format, len(ksize))
    if x.ndim == len(ksize) and ksize[depth] != 1:
        return _max_pool_depth(xp, x, ksize, strides, depth)
    source, windows = _pool(
        "Input", x.shape, ksize, strides, padding, data_format, explicit_paddings
    )
    shape = (source[0], *(w.output for w in windows), source[-1])
    if 0 in shape:
        result = xp.zeros(shape, x.dtype)
    else:
        result = _backend(xp).max_pool(_channels_last(x, data_format), windows)
    return _restored(xp, result, data_format, x.dtype)


def _max_pool_depth(
    xp: Any, x: Any, ksize: Sequence[int], strides: Sequence[int], depth: int
) -> Any:
    """Takes the maximum over groups of neighboring channels."""
    size = ksize[depth]
    if x.ndim == 5:
        raise errors.unimplemented("Pooling is not yet supported on the depth dimension.")
    if any(k != 1 for a, k in enumerate(ksize) if a != depth):
        raise errors.unimplemented(
            "MaxPooling supports exactly one of pooling across depth or pooling across "
            "width/height."
        )
    if x.shape[depth] % size:
        raise errors.unimplemented(
            "Depthwise max pooling requires the depth window to evenly divide the input depth"
        )
    if size != strides[depth]:
        raise errors.unimplemented(
            "Depthwise max pooling requires the depth window to equal the depth stride"
        )
    parts = x.reshape(*x.shape[:depth], x.shape[depth] // size, size, *x.shape[depth + 1 :])
    return extremum(xp, xp.max, parts, (depth + 1,))


@kernel("MaxPool")
def max_pool(
    xp: Any, input: Any, *, ksize: list[int], strides: list[int], padding: bytes,
    explicit_paddings: list[int], data_format: bytes,
) -> Any:  # fmt: skip
    """Takes the maximum of windows over height and width, or over groups of channels.

    NHWC and NCHW; NaN wins over every value. A window over channels must divide them, and must have
    a stride equal to its size and a size of 1 along all other axes, as in TensorFlow.
    """
    return _max_pool(xp, input, ksize, strides, padding, data_format, explicit_paddings)


@kernel("MaxPoolV2")
def max_pool_v2(
    xp: Any, input: Any, ksize: Any, strides: Any, *, padding: bytes, data_format: bytes
) -> Any:
    """Takes the maximum of windows whose sizes and strides are inputs, vectors of 4."""
    return _max_pool(xp, input, *_window_inputs(ksize, strides), padding, data_format)


def _window_inputs(ksize: Any, strides: Any) -> tuple[list[int], list[int]]:
    for name, values in (("ksize", ksize), ("stride", strides)):
        if values.shape != (4,):
            raise errors.invalid_argument(f"Sliding window {name} field must specify 4 dimensions")
    return [int(k) for k in ksize], [int(s) for s in strides]


def _max_pool_gradient(
    xp: Any, function: Callable[..., Any], x: Any, y: Any, g: Any, ksize: Sequence[int],
    strides: Sequence[int], padding: bytes, data_format: bytes,
    explicit_paddings: Sequence[int] = (), second: bool = False,
) -> Any:  # fmt: skip
    """Applies ``function`` of ``support`` to input, output and gradient, after checks.

    Args:
        second: whether the gradient has the input's shape, as for a second derivative.
    """
    if x.ndim == len(ksize) and ksize[channel_axis(data_format, len(ksize))] != 1:
        raise errors.unimplemented("MaxPoolingGrad is not yet supported on the depth dimension.")
    source, windows = _pool(
        "tensor_in", x.shape, ksize, strides, padding, data_format, explicit_paddings
    )
    output = assemble(data_format, source[0], [w.output for w in windows], source[-1])
    for name, tensor, wanted in (
        ("orig_output", y, output),
        ("grad", g, x.shape if second else output),
    ):
        if tensor.shape != wanted:
            raise errors.invalid_argument(
                f"Expected {name} shape to be {format_shape(wanted)}, but got "
                f"{format_shape(tensor.shape)}"
            )
    if y.size == 0 or x.size == 0:
        result = xp.zeros(_last(y.shape if second else x.shape, data_format), g.dtype)
    else:
        result = function(*(_channels_last(t, data_format) for t in (x, y, g)), windows)
    return _restored(xp, result, data_format, g.dtype)


@kernel("MaxPoolGrad")
def max_pool_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, *, ksize: list[int],
    strides: list[int], padding: bytes, explicit_paddings: list[int], data_format: bytes,
) -> Any:  # fmt: skip
    """Gives the gradient of each window to its first maximum (row-major); not over channels."""
    return _max_pool_gradient(
        xp, _backend(xp).max_pool_grad, orig_input, orig_output, grad, ksize, strides, padding,
        data_format, explicit_paddings,
    )  # fmt: skip


@kernel("MaxPoolGradV2")
def max_pool_grad_v2(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, ksize: Any, strides: Any, *,
    padding: bytes, data_format: bytes,
) -> Any:  # fmt: skip
    """Computes MaxPoolGrad with window sizes and strides as inputs."""
    return _max_pool_gradient(
        xp, _backend(xp).max_pool_grad, orig_input, orig_output, grad,
        *_window_inputs(ksize, strides), padding, data_format,
    )  # fmt: skip


@kernel("MaxPoolGradGrad")
def max_pool_grad_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, *, ksize: list[int],
    strides: list[int], padding: bytes, data_format: bytes,
) -> Any:  # fmt: skip
    """Takes from each window the element of ``grad`` at the place of the first maximum."""
    return _max_pool_gradient(
        xp, _backend(xp).max_pool_grad_grad, orig_input, orig_output, grad, ksize, strides,
        padding, data_format, second=True,
    )  # fmt: skip


@kernel("MaxPoolGradGradV2")
def max_pool_grad_grad_v2(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, ksize: Any, strides: Any, *,
    padding: bytes, data_format: bytes,
) -> Any:  # fmt: skip
    """Computes MaxPoolGradGrad with window sizes and strides as inputs."""
    return _max_pool_gradient(
        xp, _backend(xp).max_pool_grad_grad, orig_input, orig_output, grad,
        *_window_inputs(ksize, strides), padding, data_format, second=True,
    )  # fmt: skip


def _check_spatial_only(ksize: Sequence[int], data_format: bytes) -> None:
    if ksize[channel_axis(data_format, len(ksize))] != 1:
        raise errors.unimplemented("Non-spatial pooling is not yet supported.")


def _avg_pool(
    xp: Any, x: Any, ksize: list[int], strides: list[int], padding: bytes, data_format: bytes
) -> Any:
    _check_spatial_only(ksize, data_format)
    source, windows = _pool("Input", x.shape, ksize, strides, padding, data_format)
    shape = (source[0], *(w.output for w in windows), source[-1])
    if 0 in shape:
        result = xp.zeros(shape, x.dtype)
    else:
        result = _backend(xp).avg_pool(widened(_channels_last(x, data_format)), windows)
    return _restored(xp, result, data_format, x.dtype)


def _avg_pool_gradient(
    xp: Any, sizes: Any, grad: Any, ksize: list[int], strides: list[int], padding: bytes,
    data_format: bytes,
) -> Any:  # fmt: skip
    if sizes.shape != (len(ksize),):
        raise errors.invalid_argument(
            f"out_backprop must be 1-dimensional and {len(ksize)} elements"
        )
    _check_spatial_only(ksize, data_format)
    shape = [int(size) for size in sizes]
    source, windows = _pool("out_backprop", shape, ksize, strides, padding, data_format)
    output = assemble(data_format, source[0], [w.output for w in windows], source[-1])
    if grad.shape != output:
        raise errors.invalid_argument(
            f"Expected grad shape to be {format_shape(output)}, but got {format_shape(grad.shape)}"
        )
    if 0 in source or grad.size == 0:
        result = xp.zeros(source, grad.dtype)
    else:
        g = widened(_channels_last(grad, data_format))
        result = _backend(xp).avg_pool_grad(source, g, windows)
    return _restored(xp, result, data_format, grad.dtype)


@kernel("AvgPool")
def avg_pool(
    xp: Any, value: Any, *, ksize: list[int], strides: list[int], padding: bytes,
    data_format: bytes,
) -> Any:  # fmt: skip
    """Takes the mean of windows over height and width; padding does not count."""
    return _avg_pool(xp, value, ksize, strides, padding, data_format)


@kernel("AvgPoolGrad", "AvgPool3DGrad")
def avg_pool_grad(
    xp: Any, orig_input_shape: Any, grad: Any, *, ksize: list[int], strides: list[int],
    padding: bytes, data_format: bytes,
) -> Any:  # fmt: skip
    """Computes the gradient of AvgPool or AvgPool3D for an input of shape ``orig_input_shape``."""
    return _avg_pool_gradient(xp, orig_input_shape, grad, ksize, strides, padding, data_format)


# Three dimensions ---------------------------------------------------------------------------------


@kernel("MaxPool3D")
def max_pool_3d(
    xp: Any, input: Any, *, ksize: list[int], strides: list[int], padding: bytes,
    data_format: bytes,
) -> Any:  # fmt: skip
    """Takes the maximum of windows over depth, height and width."""
    return _max_pool(xp, input, ksize, strides, padding, data_format)


@kernel("MaxPool3DGrad")
def max_pool_3d_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, *, ksize: list[int],
    strides: list[int], padding: bytes, data_format: bytes,
) -> Any:  # fmt: skip
    """Gives the gradient of each window to every maximum.

    Unlike in two dimensions, where the first one gets all of it; so does TensorFlow.
    """
    function = functools.partial(_backend(xp).max_pool_grad, to_all=True)
    return _max_pool_gradient(
        xp, function, orig_input, orig_output, grad, ksize, strides, padding, data_format
    )


@kernel("MaxPool3DGradGrad")
def max_pool_3d_grad_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, *, ksize: list[int],
    strides: list[int], padding: bytes, data_format: bytes,
) -> Any:  # fmt: skip
    """Takes from each window the element of ``grad`` at the place of the first maximum."""
    return _max_pool_gradient(
        xp, _backend(xp).max_pool_grad_grad, orig_input, orig_output, grad, ksize, strides,
        padding, data_format, second=True,
    )  # fmt: skip


@kernel("AvgPool3D")
def avg_pool_3d(
    xp: Any, input: Any, *, ksize: list[int], strides: list[int], padding: bytes,
    data_format: bytes,
) -> Any:  # fmt: skip
    """Takes the mean of windows over depth, height and width; padding does not count."""
    return _avg_pool(xp, input, ksize, strides, padding, data_format)
