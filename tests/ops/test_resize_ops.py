"""Resizing images."""

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
BF16 = dtypes.bfloat16.as_numpy_dtype
X = np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3)
RANDOM = np.random.default_rng(7)
IMAGE = RANDOM.uniform(0, 255, (2, 7, 5, 3)).astype(np.float32)
BYTES = IMAGE.astype(np.uint8)
NO_BATCH = np.zeros((0, 2, 4, 3), np.float32)


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


def f32(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


MODES = {
    "": {},
    "corners": {"align_corners": True},
    "centers": {"half_pixel_centers": True},
}
# Larger, smaller, mixed, to one pixel, unchanged.
SIZES = [i32(14, 11), i32(3, 2), i32(4, 9), i32(1, 1), i32(7, 5)]

ROW = np.array([0, 10, 20, 60], np.float32).reshape(1, 1, 4, 1)


def row(*values: float, dtype: type = np.float32) -> np.ndarray:
    return np.array(values, dtype).reshape(1, 1, len(values), 1)


case("ResizeBilinear", [ROW, i32(1, 2)], expect=row(0, 20))
case("ResizeBilinear", [ROW, i32(1, 6)], expect=row(0, 20 / 3, 40 / 3, 20, 140 / 3, 60))
case("ResizeBilinear", [ROW, i32(1, 3)], align_corners=True, expect=row(0, 15, 60))
case("ResizeBilinear", [ROW, i32(1, 2)], half_pixel_centers=True, expect=row(5, 40))
case(
    "ResizeBilinear",
    [ROW, i32(1, 8)],
    half_pixel_centers=True,
    expect=row(0, 2.5, 7.5, 12.5, 17.5, 30, 50, 60),
)
case("ResizeNearestNeighbor", [ROW, i32(1, 3)], expect=row(0, 10, 20))
case("ResizeNearestNeighbor", [ROW, i32(1, 3)], align_corners=True, expect=row(0, 20, 60))
case("ResizeNearestNeighbor", [ROW, i32(1, 2)], half_pixel_centers=True, expect=row(10, 60))
case("ResizeBicubic", [ROW, i32(1, 2)], expect=row(0, 20))
case("ResizeArea", [ROW, i32(1, 2)], expect=row(5, 40))
case("ResizeArea", [ROW, i32(1, 3)], expect=row(2.5, 15, 50))
# The rest is compared with TensorFlow, and XLA with numpy.
for _op in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"):
    for _mode, _attrs in MODES.items():
        if _op == "ResizeArea" and _mode == "centers":
            continue
        for _size in SIZES:
            case(_op, [IMAGE, _size], **_attrs, rtol=2e-5, atol=1e-3 if _op == "ResizeArea" else
                 2e-5, id=f"{_mode} {_size}")  # fmt: skip
        case(_op, [BYTES, i32(10, 3)], **_attrs, atol=1e-3, id=f"{_mode} uint8")
    for _dtype in (np.int8, np.int16, np.uint16, np.int32, np.int64, np.float16, BF16, np.float64):
        case(_op, [(IMAGE / 2).astype(_dtype), i32(3, 4)], atol=1e-3, id=np.dtype(_dtype).name)
    case(_op, [NO_BATCH, i32(1, 2)], expect=np.zeros((0, 1, 2, 3), np.float32), id="empty")
    for _images, _size, _match in (
        (X[0], i32(2, 2), r"input must be 4-dimensional\[2,4,3\]"),
        (X, i32(2, 2, 2), r"shape_t must have two elements\[3\]"),
        (X, i32([2, 2]), r"shape_t must be 1-dimensional\[1,2\]"),
        (X, i32(0, 2), "output dimensions must be positive"),
        (X, i32(-1, 2), "output dimensions must be positive"),
        (X[:, :0], i32(1, 2), "input image must be of non-zero size"),
        (X[..., :0], i32(1, 2), "image must have at least one channel"),
    ):
        case(_op, [_images, _size], raises=BAD, match=_match)
    if _op != "ResizeArea":
        case(_op, [X, i32(2, 2)], align_corners=True, half_pixel_centers=True, raises=BAD,
             match="If half_pixel_centers is True, align_corners must be False")  # fmt: skip
INFINITE = f32(1, np.inf, -np.inf, np.nan).reshape(1, 1, 4, 1)
case("ResizeBilinear", [INFINITE, i32(1, 4)], expect=INFINITE, id="same size")

GRADS = RANDOM.uniform(-1, 1, (2, 4, 9, 3)).astype(np.float32)
for _mode, _attrs in MODES.items():
    for _shape in ((2, 7, 5, 3), (2, 2, 12, 3), (2, 1, 1, 3)):
        for _op in ("ResizeBilinearGrad", "ResizeBicubicGrad"):
            case(_op, [GRADS, np.zeros(_shape, np.float32)], **_attrs, rtol=1e-4, atol=1e-5,
                 id=f"{_mode} {_shape}")  # fmt: skip
        case("ResizeNearestNeighborGrad", [GRADS, i32(*_shape[1:3])], **_attrs, atol=1e-5,
             id=f"{_mode} {_shape}")  # fmt: skip
for _dtype in (np.float16, BF16, np.float64):
    # Only TensorFlow's rounding differs: it adds up in the result's dtype.
    case("ResizeBilinearGrad", [GRADS, np.zeros((2, 3, 3, 3), _dtype)], rtol=0.03, atol=0.03,
         id=np.dtype(_dtype).name)  # fmt: skip
    case("ResizeNearestNeighborGrad", [GRADS.astype(_dtype), i32(3, 3)], rtol=0.03, atol=0.03,
         id=np.dtype(_dtype).name)  # fmt: skip
case("ResizeBicubicGrad", [GRADS, np.zeros((2, 3, 3, 3))], id="float64", rtol=1e-4, atol=1e-5)
for _dtype in (np.int8, np.uint8, np.int32):
    case("ResizeNearestNeighborGrad", [row(1, 2, 3, 4, dtype=_dtype), i32(1, 2)],
         expect=row(3, 7, dtype=_dtype), id=_dtype.__name__)  # fmt: skip
case("ResizeBilinearGrad", [row(1, 2), ROW], expect=row(1, 0, 2, 0))
for _op in ("ResizeBilinearGrad", "ResizeBicubicGrad"):
    case(_op, [X[0], X], raises=BAD, match=r"input_grad must be 4-dimensional\[2,4,3\]")
    case(_op, [X, X[0]], raises=BAD, match=r"original_image must be 4-dimensional\[2,4,3\]")
    case(_op, [X, X], align_corners=True, half_pixel_centers=True, raises=BAD,
         match="If half_pixel_centers is True, align_corners must be False")  # fmt: skip
for _grads, _size, _match in (
    (X[0], i32(2, 2), r"input must be 4-dimensional\[2,4,3\]"),
    (X, i32(2, 2, 2), r"shape_t must have two elements\[3\]"),
    (X, i32(0, 2), "shape_t's elements must be positive"),
):
    case("ResizeNearestNeighborGrad", [_grads, _size], raises=BAD, match=_match)

# Parts of images. Box 1 reaches over the edges, box 2 is flipped, box 3 is a point.
BOXES = f32([0, 0, 1, 1], [-0.3, 0.1, 0.8, 1.4], [0.9, 0.7, 0.2, 0.1], [0.45, 0.3, 0.45, 0.3])
WHICH = i32(0, 1, 1, 0)
case(
    "CropAndResize",
    [ROW, f32([0, 0, 1, 1], [0, 0.5, 1, 1.5]), i32(0, 0), i32(1, 3)],
    extrapolation_value=-1.0,
    expect=f32([0, 15, 60], [15, 60, -1]).reshape(2, 1, 3, 1),
)
for _method in ("bilinear", "nearest"):
    for _size in (i32(3, 4), i32(1, 1), i32(9, 2)):
        case("CropAndResize", [IMAGE, BOXES, WHICH, _size], method=_method,
             extrapolation_value=-2.5, atol=2e-4, id=f"{_method} {_size}")  # fmt: skip
        _shape = (4, *_size, 3)
        case("CropAndResizeGradImage",
             [RANDOM.uniform(-1, 1, _shape).astype(np.float32), BOXES, WHICH, i32(2, 7, 5, 3)],
             T=dtypes.float32, method=_method, atol=1e-5, id=f"{_method} {_size}")  # fmt: skip
for _size in ((3, 4), (1, 1), (9, 2)):
    case("CropAndResizeGradBoxes",
         [RANDOM.uniform(-1, 1, (4, *_size, 3)).astype(np.float32), IMAGE, BOXES, WHICH],
         rtol=1e-4, atol=0.05, id=str(_size))  # fmt: skip
for _dtype in (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.float16, np.float64):
    _image = (IMAGE / 2).astype(_dtype)
    case("CropAndResize", [_image, BOXES, WHICH, i32(2, 3)], atol=1e-3, id=_dtype.__name__)
    case("CropAndResizeGradBoxes", [GRADS[:, :2, :2], _image, BOXES[:2], WHICH[:2]], atol=0.05,
         id=_dtype.__name__)  # fmt: skip
for _dtype in (dtypes.float16, dtypes.float64):
    case("CropAndResizeGradImage", [GRADS, BOXES[:2], WHICH[:2], i32(2, 7, 5, 3)], T=_dtype,
         rtol=0.01, atol=0.01, id=_dtype.name)  # fmt: skip
NONE = np.zeros((0, 4), np.float32)
case("CropAndResize", [X, NONE, i32(), i32(2, 2)], expect=np.zeros((0, 2, 2, 3), np.float32))
case("CropAndResizeGradImage", [X[:0], NONE, i32(), i32(1, 2, 2, 3)], T=dtypes.float32,
     expect=np.zeros((1, 2, 2, 3), np.float32), id="no boxes")  # fmt: skip
case("CropAndResizeGradBoxes", [X[:0], X, NONE, i32()], expect=NONE)
UNIT = f32([0, 0, 1, 1])
OUTSIDE = errors.OutOfRangeError
for _args, _error, _match in (
    ([X[0], UNIT, i32(0), i32(2, 2)], BAD, r"input image must be 4-D\[2,4,3\]"),
    ([X, UNIT[0], i32(0), i32(2, 2)], BAD, r"boxes must be 2-D, got: \[4\]"),
    ([X, UNIT[:, :3], i32(0), i32(2, 2)], BAD, "boxes must have 4 columns"),
    ([X, UNIT, i32(0, 0), i32(2, 2)], BAD, "box_index has incompatible shape"),
    ([X, UNIT, i32([0]), i32(2, 2)], BAD, r"box_indices must be rank 1 but is shape \[1,1\]"),
    ([X, UNIT, i32(0), i32(2)], BAD, r"crop_size must have two elements\[1\]"),
    ([X, UNIT, i32(0), i32([2, 2])], BAD, r"crop_size must be 1-D\[1,2\]"),
    ([X, UNIT, i32(0), i32(0, 2)], BAD, "crop dimensions must be positive"),
    ([X[:, :0], UNIT, i32(0), i32(2, 2)], BAD, "image dimensions must be positive"),
    ([X, UNIT, i32(1), i32(2, 2)], OUTSIDE, r"box_index has values outside \[0, batch_size\)"),
    ([X, UNIT, i32(-1), i32(2, 2)], OUTSIDE, r"box_index has values outside \[0, batch_size\)"),
    ([X, UNIT * np.nan, i32(0), i32(2, 2)], BAD, "at least one element that is not finite"),
):
    case("CropAndResize", _args, raises=_error, match=_match)
TWO = np.tile(UNIT, (2, 1))
for _args, _error, _match in (
    ([X[0], UNIT, i32(0), i32(1, 2, 4, 3)], BAD, r"grads image must be 4-D\[2,4,3\]"),
    ([X, TWO, i32(0, 0), i32(1, 2, 4, 3)], BAD, "boxes and grads have incompatible shape"),
    ([X, UNIT, i32(0), i32(1, 2, 4)], BAD, r"image_size must have 4 elements\[3\]"),
    ([X, UNIT, i32(0), i32(1, 2, 4, 2)], BAD, "image_size and grads are incompatible"),
    ([X, UNIT, i32(0), i32(1, 0, 4, 3)], BAD, "image dimensions must be positive"),
    ([X, UNIT, i32(1), i32(1, 2, 4, 3)], OUTSIDE, "box_index has values outside"),
):
    case("CropAndResizeGradImage", _args, T=dtypes.float32, raises=_error, match=_match)
for _args, _error, _match in (
    ([X[0], X, UNIT, i32(0)], BAD, r"grads image must be 4-D\[2,4,3\]"),
    ([X, X[0], UNIT, i32(0)], BAD, r"input image must be 4-D\[2,4,3\]"),
    ([X, X[..., :2], UNIT, i32(0)], BAD, "image, grads depth differ"),
    ([X, X, TWO, i32(0, 0)], BAD, "boxes and grads have incompatible shape"),
    ([X, X, UNIT, i32(1)], OUTSIDE, "box_index has values outside"),
):
    case("CropAndResizeGradBoxes", _args, raises=_error, match=_match)

test_case = table_test()
