"""``tf.layers.InputSpec``: a layer's requirements of its inputs, and their check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowray.client.framework import nest
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import as_shape


@tf_export("layers.InputSpec")
class InputSpec:
    """The requirements of one input of a layer. None demands nothing.

    Args:
        dtype: the dtype.
        shape: the shape; None in it stands for any size.
        ndim: the rank; that of ``shape`` if there is one.
        max_ndim, min_ndim: bounds of the rank.
        axes: sizes by dimension (negative ones count from the end).
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.ndim = ndim if shape is None else len(shape)
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = dict(axes or {})

    def __repr__(self) -> str:
        values = [f"{key}={value}" for key, value in vars(self).items() if value]
        return f"InputSpec({', '.join(values)})"


def check_inputs(spec: InputSpec | Sequence[InputSpec | None] | None, inputs: Any, of: str) -> None:
    """Raises ValueError if the inputs of the layer ``of`` are not as ``spec`` demands."""
    if not spec:
        return
    specs: list[InputSpec | None] = nest.flatten(spec)
    tensors = nest.flatten(inputs)
    if len(tensors) != len(specs):
        raise ValueError(
            f"Layer {of} expects {len(specs)} inputs, but it received {len(tensors)} input "
            f"tensors. Inputs received: {tensors}"
        )
    for index, (one, tensor) in enumerate(zip(specs, tensors, strict=True)):
        problem = None if one is None else _problem(one, tensor)
        if problem:
            raise ValueError(
                f"Input {index} of layer {of} is incompatible with the layer: {problem}"
            )


def _problem(spec: InputSpec, tensor: Any) -> str | None:
    shape = tensor.shape.as_tuple()
    demands_rank = spec.ndim is not None or spec.min_ndim is not None or spec.max_ndim is not None
    if shape is None:
        if demands_rank:
            return "its rank is undefined, but the layer requires a defined rank."
        return None
    rank, full = len(shape), f"Full shape received: {list(shape)}"
    if spec.ndim is not None and rank != spec.ndim:
        return f"expected ndim={spec.ndim}, found ndim={rank}. {full}"
    if spec.max_ndim is not None and rank > spec.max_ndim:
        return f"expected max_ndim={spec.max_ndim}, found ndim={rank}"
    if spec.min_ndim is not None and rank < spec.min_ndim:
        return f"expected min_ndim={spec.min_ndim}, found ndim={rank}. {full}"
    if spec.dtype is not None and tensor.dtype.base_dtype != dtypes.as_dtype(spec.dtype):
        return f"expected dtype={spec.dtype}, found dtype={tensor.dtype.base_dtype}"
    for axis, size in spec.axes.items():
        if size is not None and shape[axis] not in (size, None):
            return (
                f"expected axis {axis} of input shape to have value {size} but received input "
                f"with shape {list(shape)}"
            )
    if spec.shape is not None and not as_shape(spec.shape).is_compatible_with(tensor.shape):
        return f"expected shape={tuple(spec.shape)}, found shape={list(shape)}"
    return None
