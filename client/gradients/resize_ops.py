"""Resizing images: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.array_ops import dense
from flowray.client.gradients.registry import gradient
from flowray.client.ops import array_ops, slice_ops
from flowray.proto.types import dtypes

_FLOATS = (dtypes.float16, dtypes.float32, dtypes.float64)


def _centers(op: Any) -> dict[str, Any]:
    return {name: op.get_attr(name) for name in ("align_corners", "half_pixel_centers")}


@gradient("ResizeBilinear")
def resize_bilinear(op: Any, grad: Any) -> Any:
    """Computes the gradient by the op that is made for it."""
    return apply_op("ResizeBilinearGrad", dense(grad), op.inputs[0], **_centers(op)), None


@gradient("ResizeBicubic")
def resize_bicubic(op: Any, grad: Any) -> Any:
    """Computes the gradient by the op that is made for it; None for integers."""
    image = op.inputs[0]
    if image.dtype not in (dtypes.float32, dtypes.float64):
        return None, None
    return apply_op("ResizeBicubicGrad", dense(grad), image, **_centers(op)), None


@gradient("ResizeNearestNeighbor")
def resize_nearest_neighbor(op: Any, grad: Any) -> Any:
    """Sums the gradients of the pixels that took each input pixel."""
    image = op.inputs[0]
    size = slice_ops.slice(array_ops.shape(image), [1], [2])
    return apply_op("ResizeNearestNeighborGrad", dense(grad), size, **_centers(op)), None


@gradient("CropAndResize")
def crop_and_resize(op: Any, grad: Any) -> Any:
    """Differentiates by images, if they are floats, and by boxes, as if bilinear."""
    image, boxes, box_ind, _ = op.inputs
    grad = dense(grad)
    by_image = None
    if image.dtype in _FLOATS:
        by_image = apply_op(
            "CropAndResizeGradImage",
            grad,
            boxes,
            box_ind,
            array_ops.shape(image),
            T=image.dtype,
            method=op.get_attr("method"),
        )
    by_boxes = apply_op("CropAndResizeGradBoxes", grad, image, boxes, box_ind)
    return by_image, by_boxes, None, None


# As TensorFlow says of it; of the others it says nothing.
@gradient(
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "ResizeArea",
    "ResizeBicubicGrad",
    "ResizeNearestNeighborGrad",
)
def without(op: Any, *grads: Any) -> None:
    """Raises LookupError, as TensorFlow does; a gradient of None would be silently wrong."""
    raise LookupError(f"No gradient defined for operation '{op.name}' (op type: {op.type})")
