"""Kernels of pools: they check, put channels last and call a backend.

The backends are ``support/convolution_numpy.py`` and ``support/convolution_xla.py``. 16-bit floats
are added up in 32 bits by both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flowray.proto import errors
from flowray.proto.ops.windows import Window, assemble, channel_axis
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support.axes import extremum
from flowray.worker.kernels.support.precision import widened
from flowray.worker.kernels.support.windows import (
    Layout,
    Shape,
    backend,
    channels_last,
    last,
    restored,
)


def _pool(
    what: str,
    shape: Sequence[int],
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes,
    explicit_paddings: Sequence[int] = (),
) -> tuple[Shape, list[Window]]:
    """Checks the attributes of a pool; returns the shape with channels last and the windows.

    A stride along the channels is ignored, as by TensorFlow, whose windows do not move there.
    """
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
    steps = list(strides)
    steps[channel_axis(data_format, rank)] = 1
    layout = Layout(rank, data_format, padding, steps, (), explicit_paddings)
    extents = last(ksize, data_format)[1:-1]
    for side, (before, after), extent in zip(
        ("Top", "Left"), layout.explicit, extents, strict=False
    ):
        if max(before, after) >= extent:
            raise errors.invalid_argument(
                f"{side} padding {max(before, after)} needs to be smaller than the window size "
                f"{extent}"
            )
    source = last(shape, data_format)
    return source, layout.windows(source[1:-1], extents)


def _max_pool(
    xp: Any,
    x: Any,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes,
    explicit_paddings: Sequence[int] = (),
) -> Any:
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
        result = backend(xp).max_pool(channels_last(x, data_format), windows)
    return restored(xp, result, data_format, x.dtype)


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
    xp: Any,
    input: Any,
    *,
    ksize: list[int],
    strides: list[int],
    padding: bytes,
    explicit_paddings: list[int],
    data_format: bytes,
) -> Any:
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
    xp: Any,
    function: Callable[..., Any],
    x: Any,
    y: Any,
    g: Any,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: bytes,
    data_format: bytes,
    explicit_paddings: Sequence[int] = (),
    second: bool = False,
) -> Any:
    """Applies ``function`` of ``support`` to input, output and gradient, after checks.

    Args:
        second: whether the gradient has the input's shape, as for a second derivative.
    """
    depth = channel_axis(data_format, len(ksize))
    if x.ndim == len(ksize) and (ksize[depth] != 1 or strides[depth] != 1):
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
        result = xp.zeros(last(y.shape if second else x.shape, data_format), g.dtype)
    else:
        result = function(*(channels_last(t, data_format) for t in (x, y, g)), windows)
    return restored(xp, result, data_format, g.dtype)


@kernel("MaxPoolGrad")
def max_pool_grad(
    xp: Any,
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    *,
    ksize: list[int],
    strides: list[int],
    padding: bytes,
    explicit_paddings: list[int],
    data_format: bytes,
) -> Any:
    """Gives the gradient of each window to its first maximum (row-major); not over channels."""
    return _max_pool_gradient(
        xp,
        backend(xp).max_pool_grad,
        orig_input,
        orig_output,
        grad,
        ksize,
        strides,
        padding,
        data_format,
        explicit_paddings,
    )


@kernel("MaxPoolGradV2")
def max_pool_grad_v2(
    xp: Any,
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    ksize: Any,
    strides: Any,
    *,
    padding: bytes,
    data_format: bytes,
) -> Any:
    """Computes MaxPoolGrad with window sizes and strides as inputs."""
    return _max_pool_gradient(
        xp,
        backend(xp).max_pool_grad,
        orig_input,
        orig_output,
        grad,
        *_window_inputs(ksize, strides),
        padding,
        data_format,
    )


@kernel("MaxPoolGradGrad", "MaxPool3DGradGrad")
def max_pool_grad_grad(
    xp: Any,
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    *,
    ksize: list[int],
    strides: list[int],
    padding: bytes,
    data_format: bytes,
) -> Any:
    """Takes from each window the element of ``grad`` at the place of the first maximum."""
    return _max_pool_gradient(
        xp,
        backend(xp).max_pool_grad_grad,
        orig_input,
        orig_output,
        grad,
        ksize,
        strides,
        padding,
        data_format,
        second=True,
    )


@kernel("MaxPoolGradGradV2")
def max_pool_grad_grad_v2(
    xp: Any,
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    ksize: Any,
    strides: Any,
    *,
    padding: bytes,
    data_format: bytes,
) -> Any:
    """Computes MaxPoolGradGrad with window sizes and strides as inputs."""
    return _max_pool_gradient(
        xp,
        backend(xp).max_pool_grad_grad,
        orig_input,
        orig_output,
        grad,
        *_window_inputs(ksize, strides),
        padding,
        data_format,
        second=True,
    )


def _check_spatial_only(ksize: Sequence[int], data_format: bytes) -> None:
    if ksize[channel_axis(data_format, len(ksize))] != 1:
        raise errors.unimplemented("Non-spatial pooling is not yet supported.")


@kernel("AvgPool", "AvgPool3D")
def avg_pool(
    xp: Any,
    value: Any,
    *,
    ksize: list[int],
    strides: list[int],
    padding: bytes,
    data_format: bytes,
) -> Any:
    """Takes the mean of windows over the spatial dimensions; padding does not count."""
    _check_spatial_only(ksize, data_format)
    source, windows = _pool("Input", value.shape, ksize, strides, padding, data_format)
    shape = (source[0], *(w.output for w in windows), source[-1])
    if 0 in shape:
        result = xp.zeros(shape, value.dtype)
    else:
        result = backend(xp).avg_pool(widened(channels_last(value, data_format)), windows)
    return restored(xp, result, data_format, value.dtype)


@kernel("AvgPoolGrad", "AvgPool3DGrad")
def avg_pool_grad(
    xp: Any,
    orig_input_shape: Any,
    grad: Any,
    *,
    ksize: list[int],
    strides: list[int],
    padding: bytes,
    data_format: bytes,
) -> Any:
    """Computes the gradient of AvgPool or AvgPool3D for an input of shape ``orig_input_shape``."""
    if orig_input_shape.shape != (len(ksize),):
        raise errors.invalid_argument(
            f"out_backprop must be 1-dimensional and {len(ksize)} elements"
        )
    _check_spatial_only(ksize, data_format)
    shape = [int(size) for size in orig_input_shape]
    source, windows = _pool("out_backprop", shape, ksize, strides, padding, data_format)
    output = assemble(data_format, source[0], [w.output for w in windows], source[-1])
    if grad.shape != output:
        raise errors.invalid_argument(
            f"Expected grad shape to be {format_shape(output)}, but got {format_shape(grad.shape)}"
        )
    if 0 in source or grad.size == 0:
        result = xp.zeros(source, grad.dtype)
    else:
        g = widened(channels_last(grad, data_format))
        result = backend(xp).avg_pool_grad(source, g, windows)
    return restored(xp, result, data_format, grad.dtype)


# Three dimensions ---------------------------------------------------------------------------------


@kernel("MaxPool3D")
def max_pool_3d(
    xp: Any,
    input: Any,
    *,
    ksize: list[int],
    strides: list[int],
    padding: bytes,
    data_format: bytes,
) -> Any:
    """Takes the maximum of windows over depth, height and width."""
    return _max_pool(xp, input, ksize, strides, padding, data_format)


@kernel("MaxPool3DGrad")
def max_pool_3d_grad(
    xp: Any,
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    *,
    ksize: list[int],
    strides: list[int],
    padding: bytes,
    data_format: bytes,
) -> Any:
    """Gives the gradient of each window to every maximum.

    Unlike in two dimensions, where the first one gets all of it; so does TensorFlow.
    """
    function = functools.partial(backend(xp).max_pool_grad, to_all=True)
    return _max_pool_gradient(
        xp, function, orig_input, orig_output, grad, ksize, strides, padding, data_format
    )
