"""Sparse tensors: making, feeding and fetching them."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf

VALUE = tf.SparseTensorValue(
    np.array([[0, 1], [2, 0]]), np.array([1.5, 2.5], np.float32), np.array([3, 2])
)


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def assert_same(actual: object, want: tf.SparseTensorValue = VALUE) -> None:
    assert isinstance(actual, tf.SparseTensorValue)
    for part, expected in zip(actual, want, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_a_sparse_tensor_is_fetched_as_its_value() -> None:
    x = tf.SparseTensor([[0, 1], [2, 0]], [1.5, 2.5], [3, 2])
    with tf.Session() as session:
        assert_same(session.run(x))
        several, one = session.run([{"x": x}, x.values])
        assert_same(several["x"])
        np.testing.assert_array_equal(one, VALUE.values)
        assert_same(x.eval())
        assert_same(session.make_callable(x)())


def test_a_sparse_placeholder_takes_a_value_or_a_tuple() -> None:
    x = tf.sparse_placeholder(tf.float32, name="x")
    doubled = tf.SparseTensor(x.indices, x.values * 2, x.dense_shape)
    want = VALUE._replace(values=VALUE.values * 2)
    with tf.Session() as session:
        assert_same(session.run(doubled, {x: VALUE}), want)
        assert_same(session.run(doubled, {x: tuple(VALUE)}), want)
        assert_same(session.run(x, {x: VALUE}))
        with pytest.raises(ValueError, match="3 tensors with 2 values"):
            session.run(x, {x: (VALUE.indices, VALUE.values)})
    assert [x.indices.op.name, x.values.op.name, x.dense_shape.op.name] == [
        "x/indices",
        "x/values",
        "x/shape",
    ]


def test_the_static_shape_is_that_of_the_dense_tensor() -> None:
    assert tf.SparseTensor([[0, 1]], [1.0], [3, 2]).shape.as_list() == [3, 2]
    assert tf.sparse_placeholder(tf.float32, [3, 2]).get_shape().as_list() == [3, 2]
    assert tf.sparse_placeholder(tf.float32, [3, None]).indices.shape.as_list() == [None, 2]
    assert tf.sparse_placeholder(tf.float32).get_shape().ndims is None


def test_the_shape_of_a_sparse_placeholder_may_be_a_tensor() -> None:
    fed = tf.SparseTensorValue([[0, 1], [2, 0]], [2.0, 3.0], [3, 5])
    known = tf.sparse_placeholder(tf.float32, tf.constant([3, 5], tf.int64))
    unknown = tf.sparse_placeholder(tf.float32, tf.placeholder(tf.int64, [2]))
    assert known.indices.shape.as_list() == unknown.indices.shape.as_list() == [None, 2]
    assert known.get_shape().as_list() == [3, 5]
    with tf.Session() as session:
        for x in (known, unknown):
            dense = session.run(tf.sparse_tensor_to_dense(x), {x: fed})
            np.testing.assert_array_equal(dense, [[0, 2, 0, 0, 0], [0] * 5, [3, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match="int64"):
        tf.sparse_placeholder(tf.float32, tf.constant([3, 5]))
    with pytest.raises(ValueError, match="rank 1"):
        tf.sparse_placeholder(tf.float32, tf.constant(3, tf.int64))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (([0, 1], [1.0], [3, 2]), "rank 2"),
        (([[0, 1]], [[1.0]], [3, 2]), "rank 1"),
        (([[0, 1]], [1.0, 2.0], [3, 2]), "1 and 2"),
        (([[0, 1]], [1.0], [3, 2, 1]), "2 and 3"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts, message) -> None:
    with pytest.raises(ValueError, match=message):
        tf.SparseTensor(*parts)


def test_from_value() -> None:
    x = tf.SparseTensor.from_value(VALUE)
    with tf.Session() as session:
        assert_same(session.run(x))
        assert_same(session.run(tf.SparseTensor.from_value(x)))
    with pytest.raises(TypeError, match="Neither a SparseTensor nor SparseTensorValue"):
        tf.SparseTensor.from_value([1])


def test_indexed_slices_alone_are_fetched_whole() -> None:
    table = tf.constant([[1.0], [2.0], [3.0]])
    (slices,) = tf.gradients(tf.reduce_sum(tf.gather(table, [2, 0])), [table])
    assert isinstance(slices, tf.IndexedSlices)
    with tf.Session() as session:
        value = session.run(slices)
    np.testing.assert_array_equal(value.indices, [2, 0])
    np.testing.assert_array_equal(value.values, [[1.0], [1.0]])
    np.testing.assert_array_equal(value.dense_shape, [3, 1])
