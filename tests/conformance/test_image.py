"""``tf.image`` on whole images: the same calls on flowray and on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowray as tf

pytest.importorskip("tensorflow")

from tests.conformance.tensorflow_side import tf as real_tf

Call = Callable[[Any, Any], Any]
"""A function of a tf module and of an image tensor (or file) of that module."""

_y, _x = np.mgrid[0:187, 0:250]
_waves = np.stack(
    [np.sin(_x / 17) + np.cos(_y / 23), np.sin((_x + _y) / 31), np.cos(_x / 5) * np.sin(_y / 9)], -1
)
COLOR = (127 + 60 * _waves + np.random.default_rng(1).normal(0, 12, _waves.shape)).clip(0, 255)
COLOR = COLOR.astype(np.uint8)
SMALL = COLOR[40:69, 100:143]
FLOAT = (SMALL / np.float32(255)).astype(np.float32)
BATCH = np.stack([FLOAT, FLOAT[::-1], 1 - FLOAT])


def run(module: Any, call: Call, image: np.ndarray, static: bool, times: int = 1) -> list[Any]:
    """The results of ``times`` runs, and the static shape of the result."""
    with module.Graph().as_default():
        if static:
            value = module.constant(image)
        else:
            value = module.placeholder(module.as_dtype(image.dtype), [None] * image.ndim)
        result = call(module, value)
        with module.Session() as session:
            feeds = {} if static else {value: image}
            return [session.run(result, feeds) for _ in range(times)]


def assert_same(ours: Any, theirs: Any, atol: float) -> None:
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b, atol)
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if theirs.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=atol)
    elif theirs.dtype.kind in "iu":
        # Where a float was rounded, the last bit may have decided.
        difference = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
        assert difference.max(initial=0) <= 1
        assert (difference > 0).mean() < 1e-3
    else:
        np.testing.assert_array_equal(ours, theirs)


def compare(call: Call, image: np.ndarray, *, atol: float = 2e-6, times: int = 1) -> None:
    """Both sides give the same, whether the graph knows the image's size or not."""
    for static in (True, False):
        ours = run(tf, call, image, static, times)
        theirs = run(real_tf, call, image, static, times)
        assert_same(ours, theirs, atol)


CALLS: dict[str, Call] = {
    "adjust_brightness": lambda t, x: t.image.adjust_brightness(x, 0.2),
    "adjust_contrast": lambda t, x: t.image.adjust_contrast(x, 1.7),
    "adjust_gamma": lambda t, x: t.image.adjust_gamma(x, 0.6, 1.1),
    "adjust_hue": lambda t, x: t.image.adjust_hue(x, 0.3),
    "adjust_saturation": lambda t, x: t.image.adjust_saturation(x, 1.4),
    "central_crop": lambda t, x: t.image.central_crop(x, 0.37),
    "central_crop all": lambda t, x: t.image.central_crop(x, 1.0),
    "crop_to_bounding_box": lambda t, x: t.image.crop_to_bounding_box(x, 3, 5, 20, 30),
    "flip_left_right": lambda t, x: t.image.flip_left_right(x),
    "flip_up_down": lambda t, x: t.image.flip_up_down(x),
    "grayscale_to_rgb": lambda t, x: t.image.grayscale_to_rgb(x[..., :1]),
    "pad_to_bounding_box": lambda t, x: t.image.pad_to_bounding_box(x, 3, 5, 50, 70),
    "per_image_standardization": lambda t, x: t.image.per_image_standardization(x),
    "random_brightness": lambda t, x: t.image.random_brightness(x, 0.3, seed=4),
    "random_contrast": lambda t, x: t.image.random_contrast(x, 0.3, 1.8, seed=4),
    "random_flip_left_right": lambda t, x: t.image.random_flip_left_right(x, seed=4),
    "random_flip_up_down": lambda t, x: t.image.random_flip_up_down(x, seed=5),
    "random_hue": lambda t, x: t.image.random_hue(x, 0.3, seed=4),
    "random_saturation": lambda t, x: t.image.random_saturation(x, 0.3, 1.8, seed=4),
    "resize_image_with_crop_or_pad": lambda t, x: t.image.resize_image_with_crop_or_pad(x, 20, 60),
    "resize_image_with_crop": lambda t, x: t.image.resize_image_with_crop_or_pad(x, 20, 20),
    "resize_image_with_pad": lambda t, x: t.image.resize_image_with_pad(x, 40, 40),
    "rgb_to_grayscale": lambda t, x: t.image.rgb_to_grayscale(x),
    "rot90": lambda t, x: t.image.rot90(x),
    "rot90 three times": lambda t, x: t.image.rot90(x, 3),
    "rot90 not at all": lambda t, x: t.image.rot90(x, 4),
    "rot90 by a tensor": lambda t, x: t.image.rot90(x, t.shape(x)[-1] - 1),
    "total_variation": lambda t, x: t.image.total_variation(t.cast(x, "float32")),
    "transpose": lambda t, x: t.image.transpose_image(x),
    "psnr": lambda t, x: t.image.psnr(x, t.image.flip_left_right(x), 1.0),
    **{
        f"resize_images {name}": lambda t, x, m=method: t.image.resize_images(x, [21, 80], m)
        for method, name in enumerate(("bilinear", "nearest", "bicubic", "area"))
    },
    "resize_images corners": lambda t, x: t.image.resize_images(x, [60, 30], align_corners=True),
    "resize_images proportions": lambda t, x: t.image.resize_images(
        x, [60, 30], preserve_aspect_ratio=True
    ),
}
FLOAT_CALLS: dict[str, Call] = {
    name: lambda t, x, name=name: getattr(t.image, name)(x)
    for name in (
        "rgb_to_hsv", "hsv_to_rgb", "rgb_to_yiq", "yiq_to_rgb", "rgb_to_yuv", "yuv_to_rgb",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["uint8", "float32", "batch"])
def test_call(name: str, kind: str) -> None:
    image = {"uint8": SMALL, "float32": FLOAT, "batch": BATCH}[kind]
    random = name.startswith("random")
    # Areas and standard deviations are sums of many floats.
    atol = 2e-4 if "area" in name or "bicubic" in name or "total" in name else 5e-6
    compare(
        CALLS[name], image, atol=atol * (255 if kind == "uint8" else 1), times=3 if random else 1
    )


@pytest.mark.parametrize("name", FLOAT_CALLS)
def test_call_on_floats(name: str) -> None:
    compare(FLOAT_CALLS[name], BATCH)


def test_image_gradients() -> None:
    compare(lambda t, x: t.image.image_gradients(x), BATCH)


def test_an_image_of_one_color_can_be_standardized() -> None:
    compare(lambda t, x: t.image.per_image_standardization(x), np.full((5, 6, 3), 0.4, np.float32))


@pytest.mark.parametrize("seed", [1, 2])
def test_random_crops_and_boxes_are_the_same_in_every_run(seed: int) -> None:
    def crop(t: Any, x: Any) -> Any:
        return t.random_crop(x, [10, 12, 3], seed=seed)

    def box(t: Any, x: Any) -> Any:
        boxes = t.constant([[[0.2, 0.1, 0.6, 0.9]]])
        drawn = t.image.sample_distorted_bounding_box(t.shape(x), boxes, seed=seed, seed2=3)
        return [*drawn, t.slice(x, drawn[0], drawn[1])]

    compare(crop, SMALL, times=4)
    compare(box, SMALL, times=4)


def test_boxes() -> None:
    def drawn(t: Any, x: Any) -> Any:
        boxes = t.constant([[[0.1, 0.2, 0.6, 0.8]]] * 3)
        return [
            t.image.draw_bounding_boxes(x, boxes),
            t.image.draw_bounding_boxes(x, boxes, colors=t.constant([[0.1, 0.2, 0.3]])),
            t.image.crop_and_resize(x, boxes[0], [1], [5, 6]),
        ]

    def chosen(t: Any, x: Any) -> Any:
        boxes = t.concat([x[:, :2], x[:, :2] + 0.3], 1)
        return [
            t.image.non_max_suppression(boxes, x[:, 2], 7, 0.4),
            *t.image.non_max_suppression_padded(
                boxes, x[:, 2], 20, 0.4, 0.3, pad_to_max_output_size=True
            ),
        ]

    compare(drawn, BATCH)
    compare(chosen, FLOAT[0])


QUALITIES = (30, 75, 95)


@pytest.mark.parametrize("quality", QUALITIES)
def test_files(quality: int) -> None:
    """Encoding gives the same bytes, decoding the same pixels."""

    def call(t: Any, x: Any) -> Any:
        jpeg = t.image.encode_jpeg(x, quality=quality)
        fine = t.image.encode_jpeg(x, quality=quality, chroma_downsampling=False, progressive=True)
        gray = t.image.encode_jpeg(t.image.rgb_to_grayscale(x), quality=quality)
        decode = t.image.decode_jpeg
        return [
            jpeg, fine, gray,
            decode(jpeg), decode(jpeg, channels=1), decode(jpeg, ratio=4), decode(fine),
            decode(jpeg, dct_method="INTEGER_ACCURATE"), decode(jpeg, fancy_upscaling=False),
            decode(gray), decode(gray, channels=3), t.image.decode_image(jpeg, dtype="float32"),
            t.image.extract_jpeg_shape(jpeg), t.image.is_jpeg(jpeg),
            t.image.decode_png(t.image.encode_png(x)),
            t.image.adjust_jpeg_quality(t.image.convert_image_dtype(x, "float32"), quality),
        ]  # fmt: skip

    ours, theirs = (run(module, call, COLOR, static=True)[0] for module in (tf, real_tf))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", range(4))
@pytest.mark.parametrize("size", [(224, 224), (100, 333), (500, 600)])
def test_resizing_a_whole_image(method: int, size: tuple[int, int]) -> None:
    """uint8 and float images; ``resize_images`` and gradients of what can be differentiated."""

    def call(t: Any, x: Any) -> Any:
        image = t.cast(x, "float32")
        resized = t.image.resize_images(image, size, method)
        if method == 3:
            return resized
        (gradient,) = t.gradients(t.reduce_sum(t.square(resized)), [image])
        return [t.image.resize_images(x, size, method), resized, gradient]

    ours, theirs = (run(module, call, COLOR, static=True)[0] for module in (tf, real_tf))
    for a, b in zip(*((x if isinstance(x, list) else [x]) for x in (ours, theirs)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda t, x: t.image.central_crop(x, 0.0), ValueError),
        (lambda t, x: t.image.crop_to_bounding_box(x, 20, 0, 20, 5), ValueError),
        (lambda t, x: t.image.crop_to_bounding_box(x, -1, 0, 20, 5), ValueError),
        (lambda t, x: t.image.crop_to_bounding_box(x, 0, 0, 0, 5), ValueError),
        (lambda t, x: t.image.pad_to_bounding_box(x, 0, 0, 10, 50), ValueError),
        (lambda t, x: t.image.pad_to_bounding_box(x, 0, -1, 100, 100), ValueError),
        (lambda t, x: t.image.resize_image_with_crop_or_pad(x, 0, 5), ValueError),
        (lambda t, x: t.image.flip_left_right(x[0]), ValueError),
        (lambda t, x: t.image.rot90(x[None, None]), ValueError),
        (lambda t, x: t.image.random_brightness(x, -1), ValueError),
        (lambda t, x: t.image.random_contrast(x, 2, 1), ValueError),
        (lambda t, x: t.image.random_saturation(x, -1, 1), ValueError),
        (lambda t, x: t.image.random_hue(x, 0.6), ValueError),
        (lambda t, x: t.image.total_variation(x[0]), ValueError),
        (lambda t, x: t.image.image_gradients(x), ValueError),
    ],
)
def test_calls_that_are_refused(call: Call, error: type[Exception]) -> None:
    for module in (tf, real_tf):
        with module.Graph().as_default(), pytest.raises(error):
            call(module, module.constant(FLOAT))
