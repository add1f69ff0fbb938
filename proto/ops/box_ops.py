"""Boxes in images: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import SIGNED
from flowray.proto.types.shapes import Shape, merge_dims, with_rank, with_value

_HALF_OR_FLOAT = attr("type", dtypes.float32, allowed={dtypes.float16, dtypes.float32})


def _drawn(c: ShapeContext) -> Shape:
    images, boxes = with_rank(c.inputs[0], 4), with_rank(c.inputs[1], 3)
    if images[3] not in (None, 1, 3, 4):
        raise ValueError("Channel depth should be either 1 (GRY), 3 (RGB), or 4 (RGBA)")
    with_value(boxes[2], 4)
    if len(c.inputs) > 2:
        with_rank(c.inputs[2], 2)
    return (merge_dims(images[0], boxes[0]), *images[1:])


op(
    "DrawBoundingBoxes",
    "images: T, boxes: float32 -> output: T",
    T=_HALF_OR_FLOAT,
    host_only=True,
    differentiable=False,
    shape=_drawn,
)
op(
    "DrawBoundingBoxesV2",
    "images: T, boxes: float32, colors: float32 -> output: T",
    T=_HALF_OR_FLOAT,
    host_only=True,
    differentiable=False,
    shape=_drawn,
)

# Non-maximum suppression -------------------------------------------------------------------------


def _selected(c: ShapeContext) -> Shape:
    """Returns the shape of the indices of the chosen boxes. Their number depends on the data."""
    boxes, scores = with_rank(c.inputs[0], 2), with_rank(c.inputs[1], 1)
    for threshold in c.inputs[2:]:
        with_rank(threshold, 0)
    merge_dims(boxes[0], scores[0])
    with_value(boxes[1], 4)
    return (None,)


op(
    "NonMaxSuppression",
    "boxes: float32, scores: float32, max_output_size: int32 -> selected_indices: int32",
    iou_threshold=0.5,
    host_only=True,
    shape=_selected,
)
op(
    "NonMaxSuppressionV2",
    "boxes: T, scores: T, max_output_size: int32, iou_threshold: T_threshold "
    "-> selected_indices: int32",
    T=_HALF_OR_FLOAT,
    T_threshold=_HALF_OR_FLOAT,
    host_only=True,
    shape=_selected,
)
op(
    "NonMaxSuppressionV3",
    "boxes: T, scores: T, max_output_size: int32, iou_threshold: T_threshold, "
    "score_threshold: T_threshold -> selected_indices: int32",
    T=_HALF_OR_FLOAT,
    T_threshold=_HALF_OR_FLOAT,
    host_only=True,
    shape=_selected,
)


def _selected_and_padded(c: ShapeContext) -> list[Shape]:
    size = c.constant(2) if c.attr("pad_to_max_output_size") else None
    return [_selected(c) if size is None else (int(size),), ()]


op(
    "NonMaxSuppressionV4",
    "boxes: T, scores: T, max_output_size: int32, iou_threshold: T_threshold, "
    "score_threshold: T_threshold -> selected_indices: int32, valid_outputs: int32",
    T=_HALF_OR_FLOAT,
    T_threshold=_HALF_OR_FLOAT,
    pad_to_max_output_size=False,
    host_only=True,
    shape=_selected_and_padded,
)

# Random boxes ------------------------------------------------------------------------------------


def _sampled(c: ShapeContext) -> list[Shape]:
    with_value(with_rank(c.inputs[0], 1)[0], 3)
    with_value(with_rank(c.inputs[1], 3)[2], 4)
    for threshold in c.inputs[2:]:
        with_rank(threshold, 0)
    return [(3,), (3,), (1, 1, 4)]


_SAMPLED = {
    "T": attr("type", allowed=SIGNED | {dtypes.uint8}),
    "seed": 0,
    "seed2": 0,
    "aspect_ratio_range": attr("list(float)", [0.75, 1.33]),
    "area_range": attr("list(float)", [0.05, 1.0]),
    "max_attempts": 100,
    "use_image_if_no_bounding_boxes": False,
}
op(
    "SampleDistortedBoundingBox",
    "image_size: T, bounding_boxes: float32 -> begin: T, size: T, bboxes: float32",
    min_object_covered=0.1,
    **_SAMPLED,
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=_sampled,
)
op(
    "SampleDistortedBoundingBoxV2",
    "image_size: T, bounding_boxes: float32, min_object_covered: float32 "
    "-> begin: T, size: T, bboxes: float32",
    **_SAMPLED,
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=_sampled,
)
