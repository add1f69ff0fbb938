"""Boxes in images."""

import numpy as np

from flowray.proto import errors
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
RANDOM = np.random.default_rng(13)


def f32(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


# Drawing ------------------------------------------------------------------------------------------

BLACK = np.zeros((1, 5, 6, 3), np.float32)
FRAMED = BLACK.copy()
FRAMED[0, [1, 3], 1:5] = FRAMED[0, 1:4, [1, 4]] = (1, 1, 0)
case("DrawBoundingBoxes", [BLACK, f32([[0.25, 0.2, 0.75, 0.8]])], expect=FRAMED)
IMAGES = RANDOM.uniform(0, 1, (2, 9, 11, 4)).astype(np.float32)
# Over the edges, outside, inverted, a point, the whole, and more boxes than colors.
BOXES = f32(
    [-0.2, 0.3, 0.5, 1.3], [1.1, 0, 1.5, 1], [0.5, 0.5, 0.2, 0.9], [0.7, 0.7, 0.7, 0.7],
    [0, 0, 1, 1],
)  # fmt: skip
MANY = RANDOM.uniform(-0.2, 1.2, (2, 13, 4)).astype(np.float32)
for _depth in (1, 3, 4):
    case("DrawBoundingBoxes", [IMAGES[..., :_depth], np.stack([BOXES, BOXES[::-1]])])
    case("DrawBoundingBoxes", [IMAGES[..., :_depth], MANY], id=f"many {_depth}")
    _colors = RANDOM.uniform(0, 1, (2, 4)).astype(np.float32)
    case("DrawBoundingBoxesV2", [IMAGES[..., :_depth], MANY, _colors])
case("DrawBoundingBoxes", [IMAGES.astype(np.float16), MANY], id="float16")
case("DrawBoundingBoxes", [IMAGES, MANY[:, :0]], expect=IMAGES, id="none")
case("DrawBoundingBoxesV2", [BLACK, f32([[0.25, 0.2, 0.75, 0.8]]), f32().reshape(0, 4)],
     expect=FRAMED, id="no colors")  # fmt: skip
for _images, _boxes, _match in (
    (IMAGES[0], MANY, "The rank of the images should be 4"),
    (IMAGES, MANY[0], "The rank of the boxes tensor should be 3"),
    (IMAGES, MANY[:1], "The batch sizes should be the same"),
    (
        IMAGES[..., :2],
        MANY,
        r"Channel depth should be either 1 \(GRY\), 3 \(RGB\), or 4 \(RGBA\)",
    ),
    (IMAGES, MANY[..., :3], "third dimension of the box must be 4. Received: 3"),
):
    case("DrawBoundingBoxes", [_images, _boxes], raises=BAD, match=_match)
for _colors, _match in (
    (f32([1, 1]), "colors must have equal or more channels than the image provided"),
    (f32(1, 1, 1, 1), r"colors must be a 2-D matrix\[4\]"),
):
    case("DrawBoundingBoxesV2", [IMAGES, MANY, _colors], raises=BAD, match=_match)

# Non-maximum suppression --------------------------------------------------------------------------

# Three that overlap, two that do, and one by itself.
CLUSTERS = f32(
    [0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1],
    [0, 100, 1, 101],
)  # fmt: skip
SCORES = f32(0.9, 0.75, 0.6, 0.95, 0.5, 0.3)
HALF, LOW = np.float32(0.5), np.float32(-np.inf)
V3 = "NonMaxSuppressionV3"
case("NonMaxSuppression", [CLUSTERS, SCORES, 3], expect=i32(3, 0, 5))
case("NonMaxSuppressionV2", [CLUSTERS, SCORES, 2, HALF], expect=i32(3, 0))
case(V3, [CLUSTERS, SCORES, 9, HALF, LOW], expect=i32(3, 0, 5))
case(V3, [CLUSTERS, SCORES, 9, HALF, np.float32(0.5)], expect=i32(3, 0), id="threshold")
case(V3, [CLUSTERS[:, [2, 3, 0, 1]], SCORES, 3, HALF, LOW], expect=i32(3, 0, 5), id="flipped")
case(V3, [CLUSTERS, np.ones(6, np.float32), 9, HALF, LOW], expect=i32(0, 3, 5), id="ties")
case(V3, [CLUSTERS, SCORES, 9, np.float32(1), LOW], expect=i32(3, 0, 1, 2, 4, 5), id="all")
case(V3, [CLUSTERS, SCORES, 0, HALF, LOW], expect=i32(), id="none wanted")
case(V3, [CLUSTERS[:0], SCORES[:0], 3, HALF, LOW], expect=i32(), id="none")
case(V3, [np.zeros((2, 4), np.float32), SCORES[:2], 3, HALF, LOW], expect=i32(0, 1), id="points")
case(V3, [CLUSTERS, f32(0.9, np.nan, 0.6, 0.95, 0.5, 0.3), 9, HALF, np.float32(0)],
     expect=i32(3, 0, 5), id="NaN")  # fmt: skip
case(V3, [*(x.astype(np.float16) for x in (CLUSTERS, SCORES)), 3, np.float16(0.5), np.float16(0)],
     expect=i32(3, 0, 5), id="float16")  # fmt: skip
_corners = RANDOM.uniform(0, 1, (200, 2)).astype(np.float32)
_sides = RANDOM.uniform(0.05, 0.3, (200, 2)).astype(np.float32)
CROWD = np.concatenate([_corners, _corners + _sides], axis=1)
CROWD_SCORES = RANDOM.uniform(0, 1, 200).astype(np.float32)
for _iou in (0.0, 0.2, 0.7):
    case(V3, [CROWD, CROWD_SCORES, 60, np.float32(_iou), np.float32(0.1)], id=f"crowd {_iou}")
for _pad, _expect in ((False, i32(3, 0)), (True, i32(3, 0, 0, 0))):
    case("NonMaxSuppressionV4", [CLUSTERS, SCORES, 4, HALF, HALF], pad_to_max_output_size=_pad,
         expect=(_expect, np.int32(2)))  # fmt: skip
for _args, _match in (
    ([CLUSTERS, SCORES, -1, HALF, LOW], "output size must be non-negative"),
    ([CLUSTERS, SCORES, 3, np.float32(1.5), LOW], r"iou_threshold must be in \[0, 1\]"),
    ([CLUSTERS[0], SCORES, 3, HALF, LOW], r"boxes must be 2-D\[4\]"),
    ([CLUSTERS[:, :3], SCORES, 3, HALF, LOW], "boxes must have 4 columns"),
    ([CLUSTERS, SCORES[:3], 3, HALF, LOW], "scores has incompatible shape"),
    ([CLUSTERS, SCORES[None], 3, HALF, LOW], r"scores must be 1-D\[1,6\]"),
    ([CLUSTERS, SCORES, i32(3), HALF, LOW], r"max_output_size must be 0-D, got shape \[1\]"),
    ([CLUSTERS, SCORES, 3, f32(0.5), LOW], r"iou_threshold must be 0-D, got shape \[1\]"),
    ([CLUSTERS, SCORES, 3, HALF, f32(0)], r"score_threshold must be 0-D, got shape \[1\]"),
):
    case(V3, _args, raises=BAD, match=_match)
case(
    "NonMaxSuppression", [CLUSTERS, SCORES, 3], iou_threshold=2.0, raises=BAD, match="iou_threshold"
)

# Random boxes -------------------------------------------------------------------------------------

SIZE = i32(100, 200, 3)
OBJECTS = f32([[0.1, 0.2, 0.6, 0.8], [0.5, 0.5, 0.9, 0.6]])
V2 = "SampleDistortedBoundingBoxV2"
NO_OBJECTS = np.zeros((1, 0, 4), np.float32)
for _seed in range(1, 9):
    case(V2, [SIZE, OBJECTS, np.float32(0.1)], seed=_seed, seed2=5, id=f"seed {_seed}")
    case(V2, [SIZE, OBJECTS, np.float32(0.9)], seed=_seed, seed2=5, area_range=[0.1, 0.9],
         aspect_ratio_range=[0.3, 3.0], max_attempts=10, id=f"hard {_seed}")  # fmt: skip
    case(V2, [SIZE, NO_OBJECTS, np.float32(0.1)], seed=_seed, use_image_if_no_bounding_boxes=True,
         id=f"the image {_seed}")  # fmt: skip
case("SampleDistortedBoundingBox", [SIZE, OBJECTS], min_object_covered=0.3, seed=3, seed2=4)
for _dtype in (np.int16, np.int64):
    case(V2, [SIZE.astype(_dtype), OBJECTS, np.float32(0.1)], seed=1, id=_dtype.__name__)
WHOLE = (i32(0, 0, 0), i32(100, 200, -1), f32([[0, 0, 1, 1]]))
case(V2, [SIZE, OBJECTS, np.float32(1)], seed=1, area_range=[0.05, 0.06], expect=WHOLE,
     id="impossible")  # fmt: skip
case(V2, [SIZE, f32([[0.5, 0.5, 0.5, 0.5]]), np.float32(0.1)], seed=1, expect=WHOLE, id="a point")
for _args, _attrs, _match in (
    ([SIZE[:2], OBJECTS, np.float32(0.1)], {}, r"image_size must contain 3 elements\[2\]"),
    ([SIZE[None], OBJECTS, np.float32(0.1)], {}, "image_size must be 1-dimensional"),
    ([SIZE, OBJECTS[0], np.float32(0.1)], {}, "input boxes must be 3-dimensional"),
    ([SIZE, np.zeros((1, 1, 5), np.float32), np.float32(0.1)], {}, r"must have shape \[4\] or"),
    ([SIZE, OBJECTS * 2, np.float32(0.1)], {}, r"coordinates must be in \[0.0, 1.0\]: 1.2"),
    ([SIZE, OBJECTS, f32(0.1)], {}, r"min_object_covered must be 0-D, got shape \[1\]"),
    ([SIZE, OBJECTS, np.float32(-1)], {}, "Min object covered must be non-negative: -1"),
    ([SIZE, NO_OBJECTS, np.float32(0.1)], {}, "No bounding boxes provided as input"),
    ([SIZE, OBJECTS, np.float32(0.1)], {"aspect_ratio_range": [1.0, -1.0]},
     r"Aspect ratio range must be non-negative: \[1, -1\]"),
    ([SIZE, OBJECTS, np.float32(0.1)], {"area_range": [0.0, 2.0]},
     r"Area range must be non-negative: \[0, 2\]"),
    ([SIZE, OBJECTS, np.float32(0.1)], {"max_attempts": 0}, "Max attempts must be non-negative: 0"),
):  # fmt: skip
    case(V2, _args, **_attrs, raises=BAD, match=_match)

test_case = table_test()


def test_sampled_boxes_cover_what_they_should() -> None:
    """Each box lies in the image, has an allowed shape, and covers enough of an object."""
    from flowray.proto.types import dtypes
    from flowray.worker.kernel_registry import lookup
    from flowray.worker.kernels.support import philox
    from flowray.worker.state.store import Variable

    state = Variable("state", dtypes.uint32, philox.initial_state(1, 2))
    kernel = lookup(V2)
    boxes = set()
    for _ in range(50):
        begin, size, box = kernel.function(
            np, SIZE, OBJECTS, np.float32(0.4), seed=1, seed2=2, aspect_ratio_range=[0.75, 1.33],
            area_range=[0.05, 1.0], max_attempts=100, use_image_if_no_bounding_boxes=False,
            state=state,
        )  # fmt: skip
        top, left, height, width = *begin[:2].tolist(), *size[:2].tolist()
        boxes.add((top, left, height, width))
        assert top >= 0 and left >= 0 and top + height <= 100 and left + width <= 200  # noqa: PT018
        assert 0.73 <= width / height <= 1.36
        scaled = (OBJECTS[0] * [100, 200, 100, 200]).astype(int)
        common = np.minimum(scaled[:, 2:], [top + height, left + width]) - np.maximum(
            scaled[:, :2], [top, left]
        )
        areas = (scaled[:, 2:] - scaled[:, :2]).prod(axis=1)
        assert (common.clip(0).prod(axis=1) / areas).max() >= 0.4
        np.testing.assert_allclose(
            box[0, 0], np.array([top, left, top + height, left + width]) / [100, 200, 100, 200],
            rtol=1e-6,
        )  # fmt: skip
    assert len(boxes) > 40
