"""Resizing images: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import FLOATING, SIGNED
from flowray.proto.types.shapes import Shape, merge_dims, with_rank, with_value

_WIDE = frozenset({dtypes.float32, dtypes.float64})
_PIXELS = FLOATING | SIGNED | {dtypes.uint8, dtypes.uint16}


def _size(c: ShapeContext, index: int) -> tuple[int | None, int | None]:
    """Returns height and width, which a vector input holds."""
    with_value(with_rank(c.inputs[index], 1)[0], 2)
    shape = c.constant_shape(index)
    return (None, None) if shape is None else (shape[0], shape[1])


def _resized(c: ShapeContext) -> Shape:
    batch, _, _, channels = with_rank(c.inputs[0], 4)
    return (batch, *_size(c, 1), channels)


for _name, _out in (
    ("ResizeBilinear", "float32"),
    ("ResizeBicubic", "float32"),
    ("ResizeNearestNeighbor", "T"),
):
    op(
        _name,
        f"images: T, size: int32 -> resized_images: {_out}",
        T=_PIXELS,
        align_corners=False,
        half_pixel_centers=False,
        static_inputs=(1,),
        shape=_resized,
    )
op(
    "ResizeArea",
    "images: T, size: int32 -> resized_images: float32",
    T=_PIXELS,
    align_corners=False,
    static_inputs=(1,),
    shape=_resized,
)


def _original(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 4)
    return with_rank(c.inputs[1], 4)


op(
    "ResizeBilinearGrad",
    "grads: float32, original_image: T -> output: T",
    T=FLOATING,
    align_corners=False,
    half_pixel_centers=False,
    differentiable=False,
    shape=_original,
)
op(
    "ResizeBicubicGrad",
    "grads: float32, original_image: T -> output: T",
    T=_WIDE,
    align_corners=False,
    half_pixel_centers=False,
    shape=_original,
)
op(
    "ResizeNearestNeighborGrad",
    "grads: T, size: int32 -> output: T",
    T=FLOATING | {dtypes.uint8, dtypes.int8, dtypes.int32},
    align_corners=False,
    half_pixel_centers=False,
    static_inputs=(1,),
    shape=_resized,
)

# Parts of images, resized ------------------------------------------------------------------------

_METHOD = attr("string", b"bilinear", allowed=[b"bilinear", b"nearest"])
_CROPPED = _PIXELS - {dtypes.bfloat16}


def _check_boxes(boxes: Shape, box_ind: Shape) -> int | None:
    """Checks the boxes; returns their number."""
    number, four = with_rank(boxes, 2)
    with_value(four, 4)
    return merge_dims(number, with_rank(box_ind, 1)[0])


def _crops(c: ShapeContext) -> Shape:
    channels = with_rank(c.inputs[0], 4)[3]
    return (_check_boxes(c.inputs[1], c.inputs[2]), *_size(c, 3), channels)


op(
    "CropAndResize",
    "image: T, boxes: float32, box_ind: int32, crop_size: int32 -> crops: float32",
    T=_CROPPED,
    method=_METHOD,
    extrapolation_value=0.0,
    static_inputs=(3,),
    shape=_crops,
)


def _image_of_size(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 4)
    _check_boxes(c.inputs[1], c.inputs[2])
    shape = c.constant_shape(3)
    return (None,) * 4 if shape is None else with_rank(shape, 4)


op(
    "CropAndResizeGradImage",
    "grads: float32, boxes: float32, box_ind: int32, image_size: int32 -> output: T",
    T=attr("type", allowed=_WIDE | {dtypes.float16}),
    method=_METHOD,
    static_inputs=(3,),
    shape=_image_of_size,
)


def _boxes(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 4)
    with_rank(c.inputs[1], 4)
    _check_boxes(c.inputs[2], c.inputs[3])
    return c.inputs[2]


op(
    "CropAndResizeGradBoxes",
    "grads: float32, image: T, boxes: float32, box_ind: int32 -> output: float32",
    T=_CROPPED,
    method=attr("string", b"bilinear", allowed=[b"bilinear"]),
    shape=_boxes,
)
