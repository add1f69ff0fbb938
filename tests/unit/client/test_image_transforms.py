"""``tf.image``: flips, turns, crops, padding and colors against numpy."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf

IMAGE = np.random.default_rng(2).uniform(0, 1, (5, 8, 3)).astype(np.float32)
BATCH = np.stack([IMAGE, 1 - IMAGE])


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def run(fetch, feeds=None):
    with tf.Session() as session:
        return session.run(fetch, feeds)


def on_all(function, expect, atol=1e-6) -> None:
    """The function gives what numpy gives for one image, for a batch, and for unknown sizes."""
    for image in (IMAGE, BATCH):
        unknown = tf.placeholder(tf.float32, [None] * image.ndim)
        wanted = expect(image) if image.ndim == 3 else np.stack([expect(i) for i in image])
        known = function(tf.constant(image))
        assert known.shape.is_compatible_with(wanted.shape)
        np.testing.assert_allclose(run(known), wanted, rtol=1e-5, atol=atol)
        np.testing.assert_allclose(
            run(function(unknown), {unknown: image}), wanted, rtol=1e-5, atol=atol
        )


def test_flipping_and_turning() -> None:
    on_all(tf.image.flip_left_right, lambda x: x[:, ::-1])
    on_all(tf.image.flip_up_down, lambda x: x[::-1])
    on_all(tf.image.transpose_image, lambda x: x.transpose(1, 0, 2))
    for k in range(5):
        on_all(lambda x, k=k: tf.image.rot90(x, k), lambda x, k=k: np.rot90(x, k))
    turns = tf.placeholder_with_default(3, [])
    on_all(lambda x: tf.image.rot90(x, turns), lambda x: np.rot90(x, 3))


def test_cropping_and_padding() -> None:
    on_all(lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 3, 4), lambda x: x[1:4, 2:6])
    on_all(
        lambda x: tf.image.pad_to_bounding_box(x, 1, 2, 9, 11),
        lambda x: np.pad(x, ((1, 3), (2, 1), (0, 0))),
    )
    on_all(lambda x: tf.image.central_crop(x, 0.5), lambda x: x[1:4, 2:6])
    on_all(
        lambda x: tf.image.resize_image_with_crop_or_pad(x, 8, 4),
        lambda x: np.pad(x[:, 2:6], ((1, 2), (0, 0), (0, 0))),
    )
    on_all(
        lambda x: tf.image.resize_image_with_pad(x, 5, 12),
        lambda x: np.pad(x, ((0, 0), (2, 2), (0, 0))),
    )


def test_a_crop_out_of_an_image_of_unknown_size_fails_the_run() -> None:
    image = tf.placeholder(tf.float32, [None, None, 3])
    cropped = tf.image.crop_to_bounding_box(image, 3, 3, 4, 4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(cropped, {image: IMAGE})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: tf.image.crop_to_bounding_box(x, 3, 0, 3, 3), "height must be >= target"),
        (lambda x: tf.image.crop_to_bounding_box(x, 0, -1, 3, 3), "offset_width must be >= 0"),
        (lambda x: tf.image.crop_to_bounding_box(x, 0, 0, 0, 3), "target_height must be > 0"),
        (lambda x: tf.image.pad_to_bounding_box(x, 0, 0, 4, 9), "height must be <= target"),
        (lambda x: tf.image.pad_to_bounding_box(x, -1, 0, 9, 9), "offset_height must be >= 0"),
        (lambda x: tf.image.resize_image_with_crop_or_pad(x, 0, 4), "target_height must be > 0"),
        (lambda x: tf.image.central_crop(x, 1.5), r"within \(0, 1\]"),
        (lambda x: tf.image.flip_up_down(x[0]), "at least three-dimensional"),
        (lambda x: tf.image.flip_up_down(x[None, None]), "either 3 or 4 dimensions"),
        (lambda x: tf.image.flip_up_down(x[:0]), "inner 3 dims"),
        (lambda x: tf.image.adjust_gamma(x, -1), "Gamma should be a non-negative real number"),
        (lambda x: tf.image.random_brightness(x, -1), "max_delta must be non-negative"),
        (lambda x: tf.image.random_hue(x, 0.7), "max_delta must be <= 0.5"),
        (lambda x: tf.image.random_contrast(x, 1, 1), "upper must be > lower"),
        (lambda x: tf.image.random_saturation(x, -1, 1), "lower must be non-negative"),
        (lambda x: tf.image.total_variation(x[0]), "either 3 or 4-dimensional"),
        (lambda x: tf.image.image_gradients(x), "expects a 4D tensor"),
        (lambda x: tf.image.psnr(x, x[1:], 1.0), "not compatible"),
    ],
)
def test_what_is_refused_while_the_graph_is_built(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(tf.constant(IMAGE))


def test_random_flips_do_both() -> None:
    flipped = tf.image.random_flip_left_right(IMAGE, seed=1)
    several = tf.image.random_flip_up_down(np.stack([IMAGE] * 20), seed=1)
    with tf.Session() as session:
        seen = {session.run(flipped).tobytes() for _ in range(20)}
        images = session.run(several)
    assert seen == {IMAGE.tobytes(), np.ascontiguousarray(IMAGE[:, ::-1]).tobytes()}
    up = [np.array_equal(image, IMAGE) for image in images]
    down = [np.array_equal(image, IMAGE[::-1]) for image in images]
    assert any(up)
    assert any(down)
    assert all(u or d for u, d in zip(up, down, strict=True))


def test_colors() -> None:
    on_all(tf.image.rgb_to_grayscale, lambda x: (x @ np.float32([0.2989, 0.587, 0.114]))[..., None])
    gray = tf.image.grayscale_to_rgb(IMAGE[..., :1])
    assert gray.shape.as_list() == [5, 8, 3]
    np.testing.assert_array_equal(run(gray), np.repeat(IMAGE[..., :1], 3, axis=2))
    on_all(lambda x: tf.image.hsv_to_rgb(tf.image.rgb_to_hsv(x)), lambda x: x)
    # The matrices are TensorFlow's, of a few digits.
    on_all(lambda x: tf.image.yiq_to_rgb(tf.image.rgb_to_yiq(x)), lambda x: x, atol=2e-4)
    on_all(lambda x: tf.image.yuv_to_rgb(tf.image.rgb_to_yuv(x)), lambda x: x, atol=2e-4)


def test_adjustments_keep_the_dtype() -> None:
    image = (IMAGE * 255).astype(np.uint8)
    for adjusted in (
        tf.image.adjust_brightness(image, 0.1),
        tf.image.adjust_contrast(image, 1.5),
        tf.image.adjust_gamma(image, 0.5),
        tf.image.adjust_hue(image, 0.1),
        tf.image.adjust_saturation(image, 0.5),
    ):
        assert adjusted.dtype == tf.uint8
    brighter = run(tf.image.adjust_brightness(image, 0.5))
    expect = np.minimum(image.astype(int) + 128, 255)
    assert np.abs(brighter.astype(int) - expect).max() <= 1


def test_standardization() -> None:
    on_all(tf.image.per_image_standardization, lambda x: (x - x.mean()) / x.std())
    flat = run(tf.image.per_image_standardization(np.full((4, 4, 3), 7, np.uint8)))
    np.testing.assert_allclose(flat, np.zeros((4, 4, 3)), atol=1e-5)


def test_measures() -> None:
    dy, dx = run(tf.image.image_gradients(BATCH))
    np.testing.assert_allclose(dy[:, :-1], BATCH[:, 1:] - BATCH[:, :-1])
    np.testing.assert_allclose(dx[:, :, :-1], BATCH[:, :, 1:] - BATCH[:, :, :-1])
    assert not dy[:, -1].any()
    total = run(tf.image.total_variation(BATCH))
    np.testing.assert_allclose(total, np.abs(dy).sum((1, 2, 3)) + np.abs(dx).sum((1, 2, 3)), 1e-5)
    other = IMAGE * 0.9
    noise = run(tf.image.psnr(IMAGE, other, 1.0))
    np.testing.assert_allclose(noise, -10 * np.log10(((IMAGE - other) ** 2).mean()), rtol=1e-5)


def test_gradients_go_through_resizing_and_crops() -> None:
    image = tf.constant(IMAGE)
    resized = tf.image.resize_images(tf.image.flip_left_right(image), [10, 16])
    (gradient,) = tf.gradients(tf.reduce_sum(resized), [image])
    np.testing.assert_allclose(run(gradient).sum(), 10 * 16 * 3, rtol=1e-5)


def test_a_pipeline_decodes_in_its_map(tmp_path) -> None:
    names = []
    for i in range(4):
        names.append(str(tmp_path / f"{i}.jpg"))
        data = run(tf.image.encode_jpeg(np.full((6, 7, 3), 60 * i, np.uint8)))
        (tmp_path / f"{i}.jpg").write_bytes(data)

    def load(name):
        image = tf.image.decode_jpeg(tf.read_file(name), channels=3)
        image = tf.image.resize_images(image, [3, 3])
        return tf.image.random_flip_left_right(image), tf.string_split([name], "/").values[-1]

    dataset = tf.data.Dataset.from_tensor_slices(names).map(load, num_parallel_calls=2).batch(4)
    images, labels = dataset.make_one_shot_iterator().get_next()
    values, texts = run([images, labels])
    assert values.shape == (4, 3, 3, 3)
    np.testing.assert_allclose(values[:, 0, 0, 0], [0, 60, 120, 180], atol=1)
    assert texts.tolist() == [b"0.jpg", b"1.jpg", b"2.jpg", b"3.jpg"]
