"""Reading records: ``tf.parse_example`` and its like, ``tf.io``."""

from __future__ import annotations

import numpy as np
import pytest

import flowray as tf

FEATURES = {
    "image": tf.FixedLenFeature([2], tf.float32),
    "label": tf.FixedLenFeature([], tf.int64, default_value=-1),
    "words": tf.VarLenFeature(tf.string),
    "steps": tf.FixedLenSequenceFeature([], tf.float32, allow_missing=True),
}


def record(image: list[float], words: list[bytes], steps: list[float], **labels: int) -> bytes:
    features = {
        "image": tf.train.Feature(float_list=tf.train.FloatList(value=image)),
        "words": tf.train.Feature(bytes_list=tf.train.BytesList(value=words)),
        "steps": tf.train.Feature(float_list=tf.train.FloatList(value=steps)),
        **{
            key: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
            for key, value in labels.items()
        },
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


RECORDS = [record([1, 2], [b"a", b"b"], [1.5], label=7), record([3, 4], [], [2.5, 3.5])]


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def run(fetch, feeds=None):
    with tf.Session() as session:
        return session.run(fetch, feeds)


def test_a_batch_of_examples() -> None:
    serialized = tf.placeholder(tf.string, [None])
    parsed = tf.parse_example(serialized, FEATURES)
    assert parsed["image"].shape.as_list() == [None, 2]
    assert parsed["label"].shape.as_list() == [None]
    assert parsed["steps"].shape.as_list() == [None, None]
    values = run(parsed, {serialized: RECORDS})
    assert values["image"].tolist() == [[1, 2], [3, 4]]
    assert values["label"].tolist() == [7, -1]
    assert values["steps"].tolist() == [[1.5, 0], [2.5, 3.5]]
    assert isinstance(values["words"], tf.SparseTensorValue)
    assert values["words"].values.tolist() == [b"a", b"b"]
    assert values["words"].dense_shape.tolist() == [2, 2]


def test_one_example() -> None:
    serialized = tf.placeholder(tf.string, [])
    parsed = tf.parse_single_example(serialized, FEATURES)
    assert parsed["image"].shape.as_list() == [2]
    assert parsed["label"].shape.as_list() == []
    values = run(parsed, {serialized: RECORDS[1]})
    assert values["steps"].tolist() == [2.5, 3.5]
    assert values["words"].dense_shape.tolist() == [0]
    assert values["label"] == -1


def test_a_record_without_a_feature_names_the_node() -> None:
    parsed = tf.parse_example([b""], {"x": tf.FixedLenFeature([], tf.float32)}, name="reader")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Feature: x .* is required") as info:
        run(parsed["x"])
    assert info.value.op.type == "ParseExample"
    assert info.value.op.name.startswith("reader/")


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ({}, ValueError, "`features` cannot be None or falsy"),
        ({"x": 5}, ValueError, "Unsupported int 5 for key 'x'"),
        ({"x": tf.FixedLenFeature([None], tf.float32)}, ValueError, "Consider using FixedLenSeq"),
        ({"x": tf.FixedLenFeature([1, None], tf.float32)}, ValueError, "need to be known"),
        ({"x": tf.FixedLenFeature(None, tf.float32)}, ValueError, "Missing shape for feature x"),
        ({"x": tf.FixedLenFeature([], None)}, ValueError, "Missing type for feature x"),
        ({"x": tf.FixedLenSequenceFeature([], tf.float32)}, ValueError, "allow_missing to be True"),
        ({"x": tf.VarLenFeature(tf.int32)}, ValueError, "list of allowed values"),
        ({"x": tf.FixedLenFeature([2], tf.float32, [1.0, 2.0, 3.0])}, ValueError, "reshape"),
    ],
)
def test_invalid_descriptions(features, error, message) -> None:
    with pytest.raises(error, match=message):
        tf.parse_example([b""], features)


def test_lines_of_a_table() -> None:
    name, age = tf.decode_csv(["ann,30", "bob,"], [[""], [18]])
    assert (name.dtype, age.dtype) == (tf.string, tf.int32)
    assert [v.tolist() for v in run([name, age])] == [[b"ann", b"bob"], [30, 18]]
    (last,) = tf.decode_csv(["1,2,3"], [[0]], select_cols=[2])
    assert run(last).tolist() == [3]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([1, 0], "not strictly increasing"),
        ([-1, 0], "negative values"),
        ([0], "do not match"),
    ],
)
def test_columns_that_cannot_be_selected(columns, message) -> None:
    with pytest.raises(ValueError, match=message):
        tf.decode_csv(["1,2"], [[0], [0]], select_cols=columns)


def test_raw_bytes_and_tensors() -> None:
    raw = tf.decode_raw(np.float32([1, 2]).tobytes(), tf.float32)
    again = tf.parse_tensor(tf.serialize_tensor(raw), tf.float32)
    assert [v.tolist() for v in run([raw, again])] == [[1, 2], [1, 2]]
    with pytest.raises(ValueError, match="out_type"):
        tf.decode_raw("x")


def test_a_sequence_example() -> None:
    def feature(*values: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    record = tf.train.SequenceExample(
        context=tf.train.Features(feature={"length": feature(2)}),
        feature_lists=tf.train.FeatureLists(
            feature_list={"tokens": tf.train.FeatureList(feature=[feature(5), feature(6, 7)])}
        ),
    ).SerializeToString()
    context, sequences = tf.io.parse_single_sequence_example(
        tf.constant(record),
        {"length": tf.FixedLenFeature([], tf.int64)},
        {
            "tokens": tf.VarLenFeature(tf.int64),
            "none": tf.FixedLenSequenceFeature([], tf.float32, allow_missing=True),
        },
    )
    assert sequences["none"].shape.as_list() == [None]
    context, sequences = run([context, sequences])
    assert context["length"] == 2
    assert sequences["tokens"].values.tolist() == [5, 6, 7]
    assert sequences["tokens"].dense_shape.tolist() == [2, 2]
    assert sequences["none"].tolist() == []
    with pytest.raises(ValueError, match="argument are None"):
        tf.parse_single_sequence_example("")
    with pytest.raises(ValueError, match="Unsupported FixedLenFeature"):
        tf.parse_single_sequence_example("", None, {"x": tf.FixedLenFeature([], tf.int64)})


def test_the_namespace_has_the_same_functions() -> None:
    assert tf.io.parse_example is tf.parse_example
    assert tf.io.decode_jpeg is tf.image.decode_jpeg
    assert tf.io.read_file is tf.read_file
