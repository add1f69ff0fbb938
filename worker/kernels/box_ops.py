"""Kernels of boxes in images, on the host.

A box is (top, left, bottom, right) in parts of the image, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support import philox
from flowray.worker.state.store import Variable

Array = np.ndarray[Any, Any]

# Drawing -----------------------------------------------------------------------------------------

# Yellow, blue, red, lime, purple, olive, maroon, navy, aqua, fuchsia; RGBA.
_COLORS = np.array(
    [[1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0.5, 0, 0.5, 1], [0.5, 0.5, 0, 1],
     [0.5, 0, 0, 1], [0, 0, 0.5, 1], [0, 1, 1, 1], [1, 0, 1, 1]],
    np.float32,
)  # fmt: skip


@kernel("DrawBoundingBoxes")
def draw_bounding_boxes(xp: Any, images: Array, boxes: Array) -> Array:
    """Draws boxes into a copy of the images, in ten colors by turns.

    Args:
        images: ``[batch, height, width, depth]`` with a depth of 1, 3 or 4.
        boxes: ``[batch, boxes, 4]``.
    """
    return _draw(images, boxes, None)


@kernel("DrawBoundingBoxesV2")
def draw_bounding_boxes_v2(xp: Any, images: Array, boxes: Array, colors: Array) -> Array:
    """Draws boxes into a copy of the images, in the rows of ``colors`` by turns."""
    return _draw(images, boxes, colors)


def _draw(images: Array, boxes: Array, colors: Array | None) -> Array:
    """Returns a copy of the images with frames one pixel wide; the colors take turns."""
    if images.ndim != 4:
        raise errors.invalid_argument("The rank of the images should be 4")
    if boxes.ndim != 3:
        raise errors.invalid_argument("The rank of the boxes tensor should be 3")
    if images.shape[0] != boxes.shape[0]:
        raise errors.invalid_argument("The batch sizes should be the same")
    if images.shape[3] not in (1, 3, 4):
        raise errors.invalid_argument(
            "Channel depth should be either 1 (GRY), 3 (RGB), or 4 (RGBA)"
        )
    if boxes.shape[2] != 4:
        raise errors.invalid_argument(
            f"The size of the third dimension of the box must be 4. Received: {boxes.shape[2]}"
        )
    result = images.copy()
    table = _color_table(colors, images.shape[3])
    for image, its_boxes in zip(result, boxes, strict=True):
        for number, box in enumerate(its_boxes):
            _draw_frame(image, box, table[number % len(table)])
    return result


def _color_table(colors: Array | None, depth: int) -> Array:
    if colors is not None and colors.ndim != 2:
        raise errors.invalid_argument(f"colors must be a 2-D matrix{format_shape(colors.shape)}")
    if colors is None or not len(colors):
        table = _COLORS.copy()
        if depth == 1:
            table[:, 0] = 1
        return table[:, :depth]
    if colors.shape[1] < depth:
        raise errors.invalid_argument(
            "colors must have equal or more channels than the image provided: "
            f"{format_shape(colors.shape)}"
        )
    return colors[:, :depth]


def _draw_frame(image: Array, box: Array, color: Array) -> None:
    height, width = image.shape[:2]
    scale = np.array([height - 1, width - 1] * 2, np.float32)
    top, left, bottom, right = (box * scale).astype(np.int64).tolist()
    if top > bottom or left > right:
        return
    if top >= height or bottom < 0 or left >= width or right < 0:
        return
    rows = slice(max(top, 0), min(bottom, height - 1) + 1)
    columns = slice(max(left, 0), min(right, width - 1) + 1)
    for row in {top, bottom}:
        if 0 <= row < height:
            image[row, columns] = color
    for column in {left, right}:
        if 0 <= column < width:
            image[rows, column] = color


# Non-maximum suppression -------------------------------------------------------------------------


def _check_rank(x: Array, rank: int, name: str) -> None:
    if x.ndim != rank:
        shown = f", got shape {format_shape(x.shape)}" if rank == 0 else format_shape(x.shape)
        raise errors.invalid_argument(f"{name} must be {rank}-D{shown}")


def _suppress(
    boxes: Array, scores: Array, max_output_size: Array, iou_threshold: Any, score_threshold: Any
) -> Array:
    """Selects the best boxes, best first, and drops those that overlap too much with a better one.

    Boxes with equal scores are taken in the order of their indices; a box without an area overlaps
    with no other. Returns int32 indices, at most ``max_output_size``.
    """
    _check_rank(max_output_size, 0, "max_output_size")
    for name, threshold in (("iou", iou_threshold), ("score", score_threshold)):
        _check_rank(np.asarray(threshold), 0, f"{name}_threshold")
    if not 0 <= iou_threshold <= 1:
        raise errors.invalid_argument("iou_threshold must be in [0, 1]")
    _check_rank(boxes, 2, "boxes")
    if boxes.shape[1] != 4:
        raise errors.invalid_argument("boxes must have 4 columns")
    _check_rank(scores, 1, "scores")
    if len(scores) != len(boxes):
        raise errors.invalid_argument("scores has incompatible shape")
    if max_output_size < 0:
        raise errors.invalid_argument("output size must be non-negative")
    boxes, scores = boxes.astype(np.float32), scores.astype(np.float32)
    low = np.minimum(boxes[:, :2], boxes[:, 2:])
    high = np.maximum(boxes[:, :2], boxes[:, 2:])
    areas = (high - low).prod(axis=1)
    candidates = np.flatnonzero(scores > score_threshold)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    selected: list[int] = []
    while candidates.size and len(selected) < max_output_size:
        best, candidates = candidates[0], candidates[1:]
        selected.append(int(best))
        sides = np.minimum(high[best], high[candidates]) - np.maximum(low[best], low[candidates])
        common = np.maximum(sides, 0).prod(axis=1)
        union = areas[best] + areas[candidates] - common
        # Boxes without an area overlap with none.
        has_area = (areas[best] > 0) & (areas[candidates] > 0)
        overlap = np.where(has_area, common / np.where(has_area, union, 1), 0)
        candidates = candidates[overlap <= iou_threshold]
    return np.array(selected, np.int32)


@kernel("NonMaxSuppression")
def non_max_suppression(
    xp: Any, boxes: Array, scores: Array, max_output_size: Array, *, iou_threshold: float
) -> Array:
    """Returns the indices of the selected boxes, best first; the threshold is an attribute."""
    return _suppress(boxes, scores, max_output_size, np.float32(iou_threshold), -np.inf)


@kernel("NonMaxSuppressionV2")
def non_max_suppression_v2(
    xp: Any, boxes: Array, scores: Array, max_output_size: Array, iou_threshold: Array
) -> Array:
    """Returns the indices of the selected boxes, best first."""
    return _suppress(boxes, scores, max_output_size, iou_threshold, -np.inf)


@kernel("NonMaxSuppressionV3")
def non_max_suppression_v3(
    xp: Any,
    boxes: Array,
    scores: Array,
    max_output_size: Array,
    iou_threshold: Array,
    score_threshold: Array,
) -> Array:
    """Returns the indices of the selected boxes, best first.

    Boxes whose score is not above ``score_threshold`` are left out.
    """
    return _suppress(boxes, scores, max_output_size, iou_threshold, score_threshold)


@kernel("NonMaxSuppressionV4")
def non_max_suppression_v4(
    xp: Any,
    boxes: Array,
    scores: Array,
    max_output_size: Array,
    iou_threshold: Array,
    score_threshold: Array,
    *,
    pad_to_max_output_size: bool,
) -> tuple[Array, Array]:
    """Returns the indices, padded with zeros if ``pad_to_max_output_size``, and their number."""
    selected = _suppress(boxes, scores, max_output_size, iou_threshold, score_threshold)
    count = np.array(len(selected), np.int32)
    if pad_to_max_output_size:
        selected = np.pad(selected, (0, int(max_output_size) - len(selected)))
    return selected, count


# Random boxes ------------------------------------------------------------------------------------


def _initial_state(*, seed: int, seed2: int, **_: Any) -> Array:
    return philox.initial_state(seed, seed2)


@kernel("SampleDistortedBoundingBox", state=_initial_state)
def sample_distorted_bounding_box(
    xp: Any,
    image_size: Array,
    bounding_boxes: Array,
    *,
    seed: int,
    seed2: int,
    min_object_covered: float,
    aspect_ratio_range: Sequence[float],
    area_range: Sequence[float],
    max_attempts: int,
    use_image_if_no_bounding_boxes: bool,
    state: Variable,
) -> Any:
    """Draws a random box; ``min_object_covered`` is an attribute. See ``_Sampler.sample``."""
    sampler = _Sampler(aspect_ratio_range, area_range, max_attempts, use_image_if_no_bounding_boxes)
    return sampler.sample(image_size, bounding_boxes, np.float32(min_object_covered), state)


@kernel("SampleDistortedBoundingBoxV2", state=_initial_state)
def sample_distorted_bounding_box_v2(
    xp: Any,
    image_size: Array,
    bounding_boxes: Array,
    min_object_covered: Array,
    *,
    seed: int,
    seed2: int,
    aspect_ratio_range: Sequence[float],
    area_range: Sequence[float],
    max_attempts: int,
    use_image_if_no_bounding_boxes: bool,
    state: Variable,
) -> Any:
    """Draws a random box; see ``_Sampler.sample``."""
    if min_object_covered.ndim:
        raise errors.invalid_argument(
            f"min_object_covered must be 0-D, got shape {format_shape(min_object_covered.shape)}"
        )
    sampler = _Sampler(aspect_ratio_range, area_range, max_attempts, use_image_if_no_bounding_boxes)
    return sampler.sample(image_size, bounding_boxes, np.float32(min_object_covered), state)


class _Words:
    """The random words of a stream one by one, as TensorFlow's SimplePhilox gives them."""

    def __init__(self, stream: philox.Stream) -> None:
        self._stream = stream
        self._words: list[int] = []
        self._blocks = 0

    def word(self) -> int:
        if not self._words:
            indices = np.arange(self._blocks, self._blocks + 16, dtype=np.uint64)
            self._words = philox.blocks(np, self._stream, indices).reshape(-1).tolist()[::-1]
            self._blocks += 16
        return self._words.pop()

    def unit(self) -> np.float32:
        """Draws a float32 in [0, 1)."""
        bits = np.uint32((self.word() & 0x7FFFFF) | 0x3F800000)
        return bits.view(np.float32) - np.float32(1)

    def below(self, n: int) -> int:
        """Draws an integer in [0, n), each with the same probability."""
        if n & (n - 1) == 0:
            return self.word() & (n - 1)
        least = 0xFFFFFFFF % n + 1
        while (word := self.word()) < least:
            pass
        return word % n


def _rounded(x: Any) -> int:
    """Rounds as C's lrintf: halves to even."""
    return int(np.rint(np.float32(x)))


class _Sampler:
    """Draws a box of random shape, size and place that covers enough of one of the given boxes."""

    def __init__(
        self,
        aspect_ratios: Sequence[float],
        areas: Sequence[float],
        attempts: int,
        allow_none: bool,
    ) -> None:
        for values, what in ((aspect_ratios, "Aspect ratio"), (areas, "Area")):
            if len(values) != 2:
                raise errors.invalid_argument(f"{what} range field must specify 2 dimensions")
        shown = ", ".join(f"{v:g}" for v in aspect_ratios)
        if min(aspect_ratios) <= 0:
            raise errors.invalid_argument(f"Aspect ratio range must be non-negative: [{shown}]")
        shown = ", ".join(f"{v:g}" for v in areas)
        if min(areas) <= 0 or max(areas) > 1:
            raise errors.invalid_argument(f"Area range must be non-negative: [{shown}]")
        if attempts <= 0:
            raise errors.invalid_argument(f"Max attempts must be non-negative: {attempts}")
        self._ratios = [np.float32(v) for v in aspect_ratios]
        self._areas = [np.float32(v) for v in areas]
        self._attempts = attempts
        self._allow_none = allow_none

    def sample(
        self, image_size: Array, boxes: Array, min_covered: np.float32, state: Variable
    ) -> tuple[Array, Array, Array]:
        """Draws a box that covers at least ``min_covered`` of the area of one of ``boxes``.

        If no attempt succeeds, the box is the whole image.

        Returns:
            Begin and size of the box for ``tf.slice``, and the box in parts of the image, ``[1, 1,
                4]``.
        """
        height, width = self._check(image_size, boxes, min_covered)
        given = boxes.reshape(-1, 4)
        if not len(given):
            if not self._allow_none:
                raise errors.invalid_argument(
                    "No bounding boxes provided as input. One must enable "
                    "use_image_if_no_bounding_boxes if you wish to not provide any bounding boxes."
                )
            given = np.array([[0, 0, 1, 1]], np.float32)
        scale = np.array([height, width] * 2, np.float32)
        objects = (given * scale).astype(np.int64)
        words = _Words(philox.reserve(np, state, self._attempts))
        chosen = (0, 0, height, width)
        for _ in range(self._attempts):
            low, high = self._ratios
            ratio = words.unit() * (high - low) + low
            box = self._crop(height, width, ratio, words)
            if box is not None and _covers(box, objects, min_covered):
                chosen = box
                break
        top, left, bottom, right = chosen
        begin = np.array([top, left, 0], image_size.dtype)
        size = np.array([bottom - top, right - left, -1], image_size.dtype)
        parts = np.array(chosen, np.float32) / scale
        return begin, size, parts.reshape(1, 1, 4)

    def _check(self, image_size: Array, boxes: Array, min_covered: np.float32) -> tuple[int, int]:
        if image_size.ndim != 1:
            raise errors.invalid_argument(
                f"image_size must be 1-dimensional{format_shape(image_size.shape)}"
            )
        if len(image_size) != 3:
            raise errors.invalid_argument(
                f"image_size must contain 3 elements{format_shape(image_size.shape)}"
            )
        if boxes.ndim != 3:
            raise errors.invalid_argument(
                "input boxes must be 3-dimensional [batch, num_boxes, coords]: "
                f"{format_shape(boxes.shape)}"
            )
        if boxes.shape[2] != 4:
            raise errors.invalid_argument(
                f"bounding boxes must have shape [4] or [*, 4], got {format_shape(boxes.shape)}"
            )
        for value in boxes.reshape(-1):
            if not 0 <= value <= 1:
                raise errors.invalid_argument(
                    f"All bounding box coordinates must be in [0.0, 1.0]: {value:g}"
                )
        if min_covered < 0:
            raise errors.invalid_argument(
                f"Min object covered must be non-negative: {min_covered:g}"
            )
        return int(image_size[0]), int(image_size[1])

    def _crop(
        self, height: int, width: int, ratio: np.float32, words: _Words
    ) -> tuple[int, int, int, int] | None:
        """Draws a box with this ratio of width to height.

        None if it cannot have an allowed area.
        """
        if height <= 0 or width <= 0:
            return None
        least, most = (area * np.float32(width) * np.float32(height) for area in self._areas)
        tallest = _rounded(np.sqrt(most / ratio))
        if _rounded(np.float32(tallest) * ratio) > width:
            tallest = int((width + 0.5 - 0.0000001) / ratio)
            if _rounded(np.float32(tallest) * ratio) > width:
                tallest -= 1
        tallest = min(tallest, height)
        rows = min(_rounded(np.sqrt(least / ratio)), tallest)
        if rows < tallest:
            rows += words.below(tallest - rows + 1)
        columns = _rounded(np.float32(rows) * ratio)
        if rows * columns < least:
            rows += 1
            columns = _rounded(np.float32(rows) * ratio)
        if rows * columns > most:
            rows -= 1
            columns = _rounded(np.float32(rows) * ratio)
        if not least <= rows * columns <= most or not (0 < columns <= width and rows <= height):
            return None
        top = words.below(height - rows) if rows < height else 0
        left = words.below(width - columns) if columns < width else 0
        return top, left, top + rows, left + columns


def _covers(box: tuple[int, int, int, int], objects: Array, least: np.float32) -> bool:
    """Tells whether the box has at least ``least`` of the area of some object that has an area."""
    area = (objects[:, 2:] - objects[:, :2]).clip(0).prod(axis=1)
    low = np.maximum(objects[:, :2], box[:2])
    high = np.minimum(objects[:, 2:], box[2:])
    common = (high - low).clip(0).prod(axis=1)
    counts = area > 0
    return bool(np.any(common[counts].astype(np.float32) / area[counts] >= least))
