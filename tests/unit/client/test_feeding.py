"""Tests of the conversion of fed values to arrays, and of the values that are refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.dtypes import StringDType

import flowray as tf


def echo(dtype: Any, value: Any, shape: Any = None) -> Any:
    """Feeds ``value`` to a placeholder called p, and returns what a step reads there."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(dtype, shape, name="p")
        return session.run(tf.identity(x), {x: value})


def objects(*values: Any) -> Any:
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    "value",
    [
        ["café", "b"],
        objects("café", "b"),
        objects("café", b"b"),
        objects(np.str_("café"), np.bytes_(b"b")),
        np.array(["café", "b"]),
        np.array(["café", "b"], dtype=StringDType()),
    ],
)
def test_text_is_fed_as_utf_8(value: Any) -> None:
    """As text columns of pandas come, among others."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.string, [None])
        results = [
            tf.identity(x),
            tf.strings.length(x),
            tf.equal(x, "b"),
            tf.string_to_hash_bucket_fast(x, 97),
        ]
        text, length, is_b, bucket = session.run(results, {x: value})
    assert text.tolist() == ["café".encode(), b"b"]
    assert list(map(type, text)) == [bytes, bytes]
    assert length.tolist() == [5, 1]
    assert is_b.tolist() == [False, True]
    assert bucket.tolist() == [19, 61]


@pytest.mark.parametrize("value", ["é", np.str_("é"), "é".encode(), np.array("é", object)])
def test_a_scalar_string_comes_back_as_bytes(value: Any) -> None:
    result = echo(tf.string, value)
    assert (type(result), result) == (bytes, b"\xc3\xa9")


def test_strings_keep_the_zeros_that_numpy_keeps() -> None:
    assert echo(tf.string, [b"a\0b", b"c\0"]).tolist() == [b"a\0b", b"c\0"]
    assert echo(tf.string, np.array([b"a\0b", b"c\0"])).tolist() == [b"a\0b", b"c"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([1, 2], "int"),
        (1.5, "float"),
        (None, "NoneType"),
        (objects("a", None), "NoneType"),
        (objects("a", float("nan")), "float"),
        (objects("a", 1), "int"),
        ([["a"], ["b", "c"]], "list"),
        ({"a": 1}, "dict"),
        (np.void(b"ab"), "numpy.void"),
    ],
)
def test_other_objects_are_not_strings(value: Any, kind: str) -> None:
    with pytest.raises(tf.errors.InternalError) as info:
        echo(tf.string, value)
    assert info.value.message == (
        f"Unsupported object type {kind} (in the value fed for p:0, which takes strings)"
    )


def test_text_that_utf_8_does_not_have() -> None:
    with pytest.raises(tf.errors.InternalError, match=r"^Unable to convert element to UTF-8"):
        echo(tf.string, "\udc80")


@pytest.mark.parametrize(
    ("dtype", "value", "name"),
    [
        (tf.int32, 2**31, "<class 'numpy.int32'>"),
        (tf.uint8, -1, "<class 'numpy.uint8'>"),
        (tf.int64, 2**63, "<class 'numpy.int64'>"),
        (tf.uint64, -1, "<class 'numpy.uint64'>"),
        (tf.bool, 2, "<class 'numpy.bool'>"),
        (tf.string, 3, "<class 'object'>"),
    ],
)
def test_a_python_integer_must_fit(dtype: Any, value: int, name: str) -> None:
    with pytest.raises(TypeError) as info:
        echo(dtype, value)
    assert str(info.value) == (
        f"Type of feed value {value} with type <class 'int'> is not compatible with Tensor type "
        f"{name}. Try explicitly setting the type of the feed tensor to a larger type (e.g. int64)."
    )


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (tf.int32, [2**31], [-(2**31)]),
        (tf.uint8, [300, -1], [44, 255]),
        (tf.int32, [1.7, -1.7], [1, -1]),
        (tf.int32, np.float32(1.5), 1),
        (tf.int32, True, 1),
        (tf.float32, 10**30, np.float32(1e30)),
        (tf.complex64, 1, 1 + 0j),
        (tf.bool, [0, 2], [False, True]),
        (tf.float32, objects(1, 2.5), [1, 2.5]),
        (tf.float32, "1.5", 1.5),
        (tf.bfloat16, 1.5, 1.5),
        (tf.uint64, 2**63, 2**63),
        (tf.int32, np.array([1, 2], ">i4"), [1, 2]),
    ],
)
def test_numbers_are_cast(dtype: Any, value: Any, expected: Any) -> None:
    result = echo(dtype, value)
    assert result.dtype == dtype.as_numpy_dtype
    assert result.tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize("value", ["a", ["a"], objects(1, "a"), [[1], [2, 3]]])
def test_values_that_are_not_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match=r"could not convert string|inhomogeneous"):
        echo(tf.float32, value)


def test_a_shape_that_does_not_fit() -> None:
    message = "Cannot feed value of shape (3,) for Tensor 'p:0', which has shape '(?, 3)'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        echo(tf.float32, [1, 2, 3], [None, 3])


def test_a_callable_converts_as_run_does() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.string, [None])
        length = session.make_callable(tf.strings.length(x), [x])
        assert length(objects("café", "b")).tolist() == [5, 1]
        with pytest.raises(tf.errors.InternalError, match="Unsupported object type int"):
            length([1])
