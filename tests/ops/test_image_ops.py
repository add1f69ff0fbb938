"""Colors of images."""

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
BF16 = dtypes.bfloat16.as_numpy_dtype
IMAGES = np.random.default_rng(11).uniform(0, 1, (2, 3, 4, 3)).astype(np.float32)
NONE = IMAGES[:0]


def f32(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


RGB = f32([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0.5, 0.5, 0.5], [0, 0, 0], [0.2, 0.4, 0.1])
HSV = f32(
    [0, 1, 1], [1 / 3, 1, 1], [2 / 3, 1, 1], [1 / 6, 1, 1], [0, 0, 0.5], [0, 0, 0],
    [5 / 18, 0.75, 0.4],
)  # fmt: skip
# Beyond the usual range: too bright, negative, mixed.
STRANGE = f32([1.5, -0.5, 2], [-1, -2, -3], [2, 1, 0.5])
case("RGBToHSV", [RGB], expect=HSV)
case("HSVToRGB", [HSV], expect=RGB)
for _op, _values in (("RGBToHSV", STRANGE), ("HSVToRGB", f32([1.5, 0.3, 1], [-0.2, 2, 0.7]))):
    case(_op, [_values], id="strange")
    case(_op, [IMAGES], id="images")
    case(_op, [IMAGES.astype(np.float64)], id="float64")
    for _dtype in (np.float16, BF16):
        # TensorFlow computes these in 16 bits.
        case(_op, [IMAGES.astype(_dtype)], rtol=0.05, atol=0.05, id=np.dtype(_dtype).name)
    case(_op, [NONE], expect=NONE, id="empty")
    case(_op, [f32(0.2, 0.4, 0.1)], id="one pixel")
    case(_op, [np.float32(1)], raises=BAD, match=r"input must be at least 1D\[\]")
    case(_op, [IMAGES[..., :2]], raises=errors.FailedPreconditionError,
         match="input must have 3 channels but input only has 2 channels")  # fmt: skip

case(
    "AdjustContrastv2",
    [f32([[0, 8], [4, 8]]).reshape(1, 2, 2, 1), np.float32(0.5)],
    expect=f32([[2.5, 6.5], [4.5, 6.5]]).reshape(1, 2, 2, 1),
)
case("AdjustHue", [RGB[None, :3], np.float32(1 / 3)], expect=f32([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
     atol=1e-5)  # fmt: skip
case("AdjustHue", [RGB[None, 4:6], np.float32(0.4)], expect=RGB[None, 4:6], id="gray")
case("AdjustSaturation", [f32([[[0.2, 0.4, 0.1]]]), np.float32(0)], expect=f32([[[0.4, 0.4, 0.4]]]))
for _op, _name in (
    ("AdjustContrastv2", "contrast_factor"), ("AdjustHue", "delta"), ("AdjustSaturation", "scale"),
):  # fmt: skip
    for _by in (0.3, -7.3, 0.0, 1.0, 5.5):
        case(_op, [IMAGES, np.float32(_by)], atol=2e-5, id=f"{_by}")
    case(_op, [IMAGES[0], np.float32(0.3)], id="one image")
    case(_op, [IMAGES[None], np.float32(0.3)], id="five dimensions")
    case(_op, [IMAGES * 2 - 1, np.float32(0.3)], atol=2e-5, id="negative")
    case(_op, [NONE, np.float32(0.3)], expect=NONE, id="empty")
    # TensorFlow has this on GPUs only. One rounding to float16 separates numpy and XLA: the last
    # bits of float32 may decide it.
    case(_op, [IMAGES.astype(np.float16), np.float32(0.3)], rtol=2**-10, conformance=False,
         id="float16")  # fmt: skip
    case(_op, [IMAGES, f32(1)], raises=BAD, match=rf"{_name} must be scalar: \[1\]")
    case(_op, [IMAGES[0, 0], np.float32(1)], raises=BAD,
         match=r"input must be at least 3-D, got shape\[4,3\]")  # fmt: skip
    if _op != "AdjustContrastv2":
        case(_op, [IMAGES[..., :2], np.float32(1)], raises=BAD,
             match="input must have 3 channels but instead has 2 channels")  # fmt: skip
case("AdjustContrastv2", [IMAGES[..., :1], np.float32(2)], id="gray")
case("AdjustContrastv2", [IMAGES[:, :0], np.float32(2)], expect=IMAGES[:, :0], id="no rows")

test_case = table_test()
