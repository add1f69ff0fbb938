"""The windows of convolutions and pools, by TensorFlow's padding rules.

Shape functions and kernels both use this module, so that static and actual shapes cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flowray.proto.ops.op_registry import ShapeContext, attr
from flowray.proto.types.shapes import Shape, with_rank

FORMAT_2D = attr("string", b"NHWC", allowed=[b"NHWC", b"NCHW"])
FORMAT_3D = attr("string", b"NDHWC", allowed=[b"NDHWC", b"NCDHW"])
SAME_OR_VALID = attr("string", allowed=[b"SAME", b"VALID"])
ANY_PADDING = attr("string", allowed=[b"SAME", b"VALID", b"EXPLICIT"])
NO_PADDINGS = attr("list(int)", [])


class Window(NamedTuple):
    """The windows along one spatial dimension."""

    size: int
    """The number of elements."""
    extent: int
    """The number of elements in a window."""
    stride: int
    """The step from one window to the next."""
    dilation: int
    """The step from one element of a window to the next."""
    output: int
    """The number of windows."""
    before: int
    """Padding before the first element."""
    after: int
    """Padding after the last element."""

    @property
    def reach(self) -> int:
        """The number of padded elements from the first to the last element of all windows."""
        return (self.output - 1) * self.stride + (self.extent - 1) * self.dilation + 1


def window(
    size: int,
    extent: int,
    stride: int,
    padding: bytes,
    dilation: int = 1,
    explicit: tuple[int, int] = (0, 0),
) -> Window:
    """Returns the windows of ``extent`` elements, ``dilation`` apart, over ``size`` elements.

    Raises:
        ValueError: the windows are so large that TensorFlow computes a negative number of them. (If
            they are only a little too large, it computes 0.)
    """
    effective = (extent - 1) * dilation + 1
    if padding == b"SAME":
        output = -(-size // stride)
        total = max((output - 1) * stride + effective - size, 0)
        return Window(size, extent, stride, dilation, output, total // 2, total - total // 2)
    before, after = explicit if padding == b"EXPLICIT" else (0, 0)
    padded = size + before + after
    output = int((padded - effective + stride) / stride)  # towards zero, as C++ divides
    if output < 0:
        raise ValueError(
            f"Computed output size would be negative: {output} [input_size: {padded}, "
            f"effective_filter_size: {effective}, stride: {stride}]"
        )
    return Window(size, extent, stride, dilation, output, before, after)


def output_size(
    size: int | None,
    extent: int | None,
    stride: int,
    padding: bytes,
    dilation: int = 1,
    explicit: tuple[int, int] = (0, 0),
) -> int | None:
    """Returns ``window(...).output``; None if it is not known.

    Raises:
        ValueError: the window does not fit; the text is that of TensorFlow's graph builder.
    """
    if padding == b"SAME" and size is not None:
        return -(-size // stride)
    if size is None or extent is None:
        return size if extent == stride == 1 and padding != b"EXPLICIT" else None
    effective = (extent - 1) * dilation + 1
    before, after = explicit if padding == b"EXPLICIT" else (0, 0)
    padded = size + before + after
    if padded < effective:
        raise ValueError(f"Negative dimension size caused by subtracting {effective} from {padded}")
    return (padded - effective) // stride + 1


def channel_axis(data_format: bytes, rank: int) -> int:
    """Returns the axis of the channels of a tensor of ``rank`` dimensions."""
    return 1 if data_format.startswith(b"NC") else rank - 1


def spatial_axes(data_format: bytes, rank: int) -> range:
    """Returns the axes between batch and channels."""
    return range(2, rank) if data_format.startswith(b"NC") else range(1, rank - 1)


def pairs(explicit_paddings: Sequence[int], axes: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the (before, after) paddings of ``axes``; zeros if there are no explicit paddings."""
    if not explicit_paddings:
        return [(0, 0)] * len(axes)
    return [(explicit_paddings[2 * axis], explicit_paddings[2 * axis + 1]) for axis in axes]


def assemble(
    data_format: bytes, batch: int | None, spatial: Sequence[int | None], channels: int | None
) -> Shape:
    """Returns the shape of these dimensions in the order of ``data_format``."""
    if data_format.startswith(b"NC"):
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)


# Attributes and inputs of ops -----------------------------------------------------------------


def steps(c: ShapeContext, name: str, rank: int) -> list[int]:
    """Returns an attribute that has one positive number for each dimension.

    Raises:
        ValueError: it has another number of them, or one is not positive (TensorFlow's texts).
    """
    values: list[int] = c.attr(name)
    if len(values) != rank:
        what = {"strides": "stride", "dilations": "dilation"}.get(name, name)
        raise ValueError(
            f"The op on data format {c.attr('data_format').decode()} requires the {what} attribute "
            f"to contain {rank} values, but got: {len(values)}"
        )
    if name == "strides" and min(values) <= 0:
        raise ValueError(f"Stride must be > 0, but got {min(values)}")
    if name == "dilations" and min(values) < 1:
        raise ValueError(f"Dilation rate must be >= 1, but got {min(values)}")
    return values


def explicit_paddings(c: ShapeContext, rank: int) -> Sequence[int]:
    """Returns the explicit paddings, two for each dimension; () for another kind of padding.

    Raises:
        ValueError: the attribute does not fit (TensorFlow's texts).
    """
    if c.attr("padding") != b"EXPLICIT":
        return ()
    paddings: list[int] = c.attr("explicit_paddings")
    if len(paddings) != 2 * rank:
        raise ValueError(
            f"explicit_paddings attribute must contain {2 * rank} values, but got: {len(paddings)}"
        )
    if min(paddings) < 0:
        raise ValueError("All elements of explicit_paddings must be nonnegative")
    for axis in (0, channel_axis(c.attr("data_format"), rank)):
        if paddings[2 * axis] or paddings[2 * axis + 1]:
            raise ValueError(
                "Nonzero explicit padding in the batch or depth dimensions is not supported"
            )
    return paddings


def sizes_shape(c: ShapeContext, index: int, rank: int) -> Shape:
    """Returns the shape that input ``index``, a shape vector, holds, as far as it is known."""
    with_rank(c.inputs[index], 1)
    return with_rank(c.constant_shape(index), rank)
