"""``tf.strings`` and its older names: what the kernels' tables do not say."""

from __future__ import annotations

import pytest

import flowray as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def run(fetch, feeds=None):
    with tf.Session() as session:
        return session.run(fetch, feeds)


def test_the_parts_of_a_path() -> None:
    path = tf.placeholder(tf.string, [])
    parts = tf.string_split([path], delimiter="/")
    label = parts.values[-2]
    assert label.shape.as_list() == []
    assert run(label, {path: "/data/cats/1.jpg"}) == b"cats"
    assert run(tf.string_split(["a b", "c"])).dense_shape.tolist() == [2, 2]


def test_strings_split_takes_one_string_or_a_vector() -> None:
    assert run(tf.strings.split("a b  c")).values.tolist() == [b"a", b"b", b"c"]
    assert run(tf.strings.split(["a,b"], ",")).values.tolist() == [b"a", b"b"]


def test_arguments_by_two_names() -> None:
    with pytest.raises(ValueError, match="Cannot specify both 'sep' and 'delimiter'"):
        tf.string_split(["a"], sep=",", delimiter=";")
    with pytest.raises(tf.errors.UnimplementedError, match="RaggedTensor"):
        tf.strings.split(["a"], result_type="RaggedTensor")
    with pytest.raises(ValueError, match="result_type"):
        tf.strings.split(["a"], result_type="list")


def test_reduce_join_without_an_axis_joins_all_in_row_major_order() -> None:
    table = tf.placeholder_with_default([["a", "b"], ["c", "d"]], None)
    assert run(tf.reduce_join([["a", "b"], ["c", "d"]], separator=",")) == b"a,b,c,d"
    assert run(tf.reduce_join(table)) == b"abcd"
    assert run(tf.reduce_join(table, 0, keepdims=True)).tolist() == [[b"ac", b"bd"]]


def test_a_pattern_that_is_a_string_becomes_an_attribute() -> None:
    static = tf.regex_replace("aab", "a+", "x")
    dynamic = tf.regex_replace("aab", tf.constant("a+"), "x")
    assert (static.op.type, dynamic.op.type) == ("StaticRegexReplace", "RegexReplace")
    assert run([static, dynamic]) == [b"xb", b"xb"]
    matches = tf.strings.regex_full_match(["ab", "b"], "a.*")
    assert matches.op.type == "StaticRegexFullMatch"
    assert run(matches).tolist() == [True, False]


def test_numbers_and_text() -> None:
    assert run(tf.string_to_number("2.5")) == 2.5
    assert (
        run(tf.strings.format("{}: {}", (tf.constant([1, 2]), tf.constant("x")))) == b'[1 2]: "x"'
    )
    assert run(tf.as_string(3)) == b"3"
    assert run(tf.strings.to_hash_bucket_fast(["a"], 10)).tolist() == [9]


def test_files(tmp_path) -> None:
    name = str(tmp_path / "made" / "x.txt")
    write = tf.write_file(name, "abc")
    assert run(write) is None
    assert run(tf.read_file(name)) == b"abc"
    assert run(tf.matching_files(str(tmp_path / "*" / "*.txt"))).tolist() == [name.encode()]
    with pytest.raises(tf.errors.NotFoundError, match=r"/nonexistent; No such file or directory"):
        run(tf.read_file("/nonexistent"))
