"""Code that the kernels of convolutions and pools share: the order of dimensions, the windows.

Kernels check, put channels last and call a backend: ``convolution_numpy`` or ``convolution_xla``.
16-bit floats are added up in 32 bits by both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.ops.windows import Window, channel_axis, pairs, spatial_axes, window
from flowray.worker.kernels.support import convolution_numpy, convolution_xla

Shape = tuple[int, ...]


def backend(xp: Any) -> Any:
    """Returns the module that convolves and pools with ``xp``."""
    return convolution_numpy if xp is np else convolution_xla


def channels_last(array: Any, data_format: bytes) -> Any:
    """Brings an array of ``data_format`` into the order with the channels last."""
    if not data_format.startswith(b"NC"):
        return array
    return array.transpose(0, *range(2, array.ndim), 1)


def restored(xp: Any, array: Any, data_format: bytes, dtype: Any) -> Any:
    """Brings a result into the order of ``data_format``.

    It is made contiguous, since numpy's transposes are views.
    """
    if data_format.startswith(b"NC"):
        array = array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))
    result = array.astype(dtype)
    return np.ascontiguousarray(result) if xp is np else result


def last(shape: Sequence[int], data_format: bytes) -> Shape:
    """Reorders a shape of ``data_format`` to channels last."""
    if data_format.startswith(b"NC"):
        return (shape[0], *shape[2:], shape[1])
    return tuple(shape)


class Layout:
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
        self.explicit = pairs(explicit_paddings if padding == b"EXPLICIT" else (), axes)

    def windows(self, sizes: Sequence[int], extents: Sequence[int]) -> list[Window]:
        """Returns the windows along each spatial dimension.

        Raises:
            InvalidArgumentError: a window does not fit.
        """
        try:
            return [
                window(size, extent, stride, self._padding, dilation, explicit)
                for size, extent, stride, dilation, explicit in zip(
                    sizes, extents, self._strides, self._dilations, self.explicit, strict=True
                )
            ]
        except ValueError as error:
            raise errors.invalid_argument(str(error)) from None
