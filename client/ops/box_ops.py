"""Boxes in images: the user's functions.

A box is [top, left, bottom, right], in parts of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


@tf_export("image.draw_bounding_boxes")
def draw_bounding_boxes(
    images: Any, boxes: Any, name: str | None = None, colors: Any = None
) -> Tensor:
    """Draws the frames of boxes on ``images``.

    Args:
        images: float [batch, height, width, 1, 3 or 4].
        boxes: float32 [batch, boxes, 4].
        colors: float32 [colors, channels], which take turns; ten of our own if None.
    """
    with name_scope(name, "draw_bounding_boxes", [images, boxes, colors]):
        if colors is None:
            return output_of("DrawBoundingBoxes", images, boxes)
        return output_of("DrawBoundingBoxesV2", images, boxes, colors)


@tf_export("image.non_max_suppression")
def non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: Any = 0.5,
    score_threshold: Any = float("-inf"),
    name: str | None = None,
) -> Tensor:
    """Returns the indices of the best boxes that overlap too much with no better one.

    Args:
        boxes: float [boxes, 4], two opposite corners each, in any units.
        scores: float [boxes].
        max_output_size: the most indices, an int32 scalar.
        iou_threshold: boxes overlap too much if their intersection is more than this part of their
            union.
        score_threshold: boxes with this score or less are left out.
    """
    with name_scope(name, "non_max_suppression"):
        return output_of(
            "NonMaxSuppressionV3",
            boxes,
            scores,
            max_output_size,
            convert_to_tensor(iou_threshold, dtypes.float32, name="iou_threshold"),
            convert_to_tensor(score_threshold, dtypes.float32, name="score_threshold"),
        )


@tf_export("image.non_max_suppression_padded")
def non_max_suppression_padded(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: Any = 0.5,
    score_threshold: Any = float("-inf"),
    pad_to_max_output_size: bool = False,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Returns the indices of ``non_max_suppression`` and their number.

    Args:
        pad_to_max_output_size: whether zeros follow them up to ``max_output_size``.
    """
    with name_scope(name, "non_max_suppression_padded"):
        selected, count = apply_op(
            "NonMaxSuppressionV4",
            boxes,
            scores,
            max_output_size,
            convert_to_tensor(iou_threshold, dtypes.float32, name="iou_threshold"),
            convert_to_tensor(score_threshold, dtypes.float32, name="score_threshold"),
            pad_to_max_output_size=pad_to_max_output_size,
        )
        return selected, count


@tf_export("image.sample_distorted_bounding_box")
def sample_distorted_bounding_box(
    image_size: Any,
    bounding_boxes: Any,
    seed: int | None = None,
    seed2: int | None = None,
    min_object_covered: Any = 0.1,
    aspect_ratio_range: Sequence[float] | None = None,
    area_range: Sequence[float] | None = None,
    max_attempts: int | None = None,
    use_image_if_no_bounding_boxes: bool | None = None,
    name: str | None = None,
) -> Any:
    """Draws a random box that covers enough of a given one: ``(begin, size, bboxes)``.

    The first two go into ``tf.slice`` of an image, the third into ``draw_bounding_boxes``. It is
    the whole image if no attempt succeeds.

    Args:
        image_size: [height, width, channels], a vector of integers.
        bounding_boxes: float32 [batch, boxes, 4].
        min_object_covered: the part of a box that must be covered.
        aspect_ratio_range: of its width and height; [0.75, 1.33] if None.
        area_range: of its part of the image; [0.05, 1] if None.
        max_attempts: 100 if None.
        use_image_if_no_bounding_boxes: whether the whole image is the box where there is none;
            else that is an error.
    """
    with name_scope(name, "sample_distorted_bounding_box"):
        return apply_op(
            "SampleDistortedBoundingBoxV2",
            image_size,
            bounding_boxes,
            min_object_covered,
            seed=seed,
            seed2=seed2,
            aspect_ratio_range=aspect_ratio_range,
            area_range=area_range,
            max_attempts=max_attempts,
            use_image_if_no_bounding_boxes=use_image_if_no_bounding_boxes,
        )
