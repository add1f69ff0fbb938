"""``tf.image``: what the kernels' tables do not say."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf

RANDOM = np.random.default_rng(5)
IMAGE = RANDOM.integers(0, 256, (5, 6, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def run(fetch, feeds=None):
    with tf.Session() as session:
        return session.run(fetch, feeds)


@pytest.mark.parametrize(
    ("value", "dtype", "expect"),
    [
        (np.uint8([0, 128, 255]), tf.float32, np.float32([0, 128 / 255, 1])),
        (np.float32([0, 0.5, 1]), tf.uint8, np.uint8([0, 127, 255])),
        (np.uint8([1, 255]), tf.uint16, np.uint16([256, 65280])),
        (np.uint16([255, 256, 65535]), tf.uint8, np.uint8([0, 1, 255])),
        (np.float32([0.25]), tf.float64, np.float64([0.25])),
        (np.uint8([7]), tf.uint8, np.uint8([7])),
    ],
)
def test_convert_image_dtype_scales_between_ranges(value, dtype, expect) -> None:
    result = run(tf.image.convert_image_dtype(value, dtype))
    assert result.dtype == expect.dtype
    np.testing.assert_allclose(result, expect, rtol=1e-6)


def test_convert_image_dtype_saturates_on_request() -> None:
    values = np.float32([-1, 2])
    assert run(tf.image.convert_image_dtype(values, tf.uint8, saturate=True)).tolist() == [0, 255]


def test_resize_images_takes_one_or_several() -> None:
    one = tf.image.resize_images(IMAGE, [3, 4])
    several = tf.image.resize_images(IMAGE[None], tf.constant([3, 4]))
    assert one.shape.as_list() == [3, 4, 3]
    assert several.shape.as_list() == [1, 3, 4, 3]
    one, several = run([one, several])
    np.testing.assert_array_equal(one, several[0])


def test_resize_images_leaves_an_image_of_that_size_alone() -> None:
    same = tf.image.resize_images(IMAGE, [5, 6])
    assert same.dtype == tf.uint8
    np.testing.assert_array_equal(run(same), IMAGE)


def test_resize_images_can_keep_the_proportions() -> None:
    known = tf.image.resize_images(IMAGE, [10, 100], preserve_aspect_ratio=True)
    image = tf.placeholder(tf.float32, [None, None, 3])
    unknown = tf.image.resize_images(image, [10, 100], preserve_aspect_ratio=True)
    assert unknown.shape.as_list() == [None, None, 3]
    assert run(known).shape == run(unknown, {image: IMAGE}).shape == (10, 12, 3)


def test_methods_of_resize_images() -> None:
    methods = tf.image.ResizeMethod
    images = {
        "ResizeBilinear": methods.BILINEAR,
        "ResizeNearestNeighbor": methods.NEAREST_NEIGHBOR,
        "ResizeBicubic": methods.BICUBIC,
        "ResizeArea": methods.AREA,
    }
    for op_type, method in images.items():
        resized = tf.image.resize_images(IMAGE[None], [2, 2], method, align_corners=True)
        assert resized.op.type == op_type
        assert resized.op.get_attr("align_corners")
        assert run(resized).shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    ("images", "size", "method", "message"),
    [
        (IMAGE[0], [2, 2], 0, "either 3 or 4 dimensions"),
        (IMAGE, [2, 2, 2], 0, "'size' must be a 1-D Tensor of 2 elements"),
        (IMAGE, [2, 2], 7, "Resize method is not implemented: 7"),
    ],
)
def test_what_resize_images_refuses(images, size, method, message) -> None:
    with pytest.raises(ValueError, match=message):
        tf.image.resize_images(images, size, method)


def test_resize_images_needs_a_rank() -> None:
    with pytest.raises(ValueError, match="'images' contains no shape"):
        tf.image.resize_images(tf.placeholder(tf.float32), [2, 2])


def test_files_go_both_ways() -> None:
    png = tf.image.encode_png(IMAGE)
    images = [tf.image.decode_png(png), tf.image.decode_image(png), tf.image.decode_jpeg(png)]
    for image in run(images):
        np.testing.assert_array_equal(image, IMAGE)
    jpeg = tf.image.encode_jpeg(IMAGE, quality=90)
    shape, is_jpeg, is_png = run(
        [tf.image.extract_jpeg_shape(jpeg), tf.image.is_jpeg(jpeg), tf.image.is_jpeg(png)]
    )
    assert (shape.tolist(), is_jpeg, is_png) == ([5, 6, 3], True, False)
    assert tf.image.decode_jpeg(jpeg, channels=3).shape.as_list() == [None, None, 3]
    assert tf.image.decode_and_crop_jpeg(jpeg, [0, 1, 2, 3]).shape.as_list() == [2, 3, None]
    double = tf.image.decode_image(png, dtype=tf.float64)
    np.testing.assert_allclose(run(double), IMAGE / 255, rtol=1e-6)


def test_an_input_pipeline_by_hand(tmp_path) -> None:
    """A file's name becomes a image and its label, as in many training scripts."""
    name = tmp_path / "cats" / "1.jpg"
    path = tf.placeholder(tf.string, [])
    image = tf.image.decode_jpeg(tf.read_file(path), channels=3)
    image = tf.image.convert_image_dtype(image, tf.float32)
    image = tf.image.resize_images(image, [4, 4])
    label = tf.string_split([path], delimiter="/").values[-2]
    run(tf.write_file(str(name), tf.image.encode_jpeg(IMAGE)))
    image, text = run([image, label], {path: str(name)})
    assert image.shape == (4, 4, 3)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1
    assert text == b"cats"


def test_a_broken_file_names_its_node() -> None:
    image = tf.image.decode_jpeg(b"xyz", name="reader")
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format") as info:
        run(image)
    assert info.value.op.name == "reader"


def test_adjust_jpeg_quality_changes_the_image_but_not_its_form() -> None:
    image = tf.image.convert_image_dtype(IMAGE, tf.float32)
    for quality in (20, tf.constant(20)):
        worse = tf.image.adjust_jpeg_quality(image, quality)
        value = run(worse)
        assert value.shape == IMAGE.shape
        assert value.dtype == np.float32
        assert np.abs(value - IMAGE / 255).max() > 0.01
