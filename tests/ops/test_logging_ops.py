"""Printing and the clock."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.op_builder import apply_op
from flowray.proto import errors
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError

case("Print", [[1.0, 2.0], (np.int32([1, 2]), np.array([b"x"], object))], expect=[1.0, 2.0])
case("Print", ["text", ()], expect="text", message="m", first_n=1, summarize=-1)
case("Print", [np.zeros((0, 2), np.int64), (np.bool_(True),)], expect=np.zeros((0, 2), np.int64))

case("PrintV2", ["text"])
case("PrintV2", ["text"], output_stream="stdout", end="")
case("PrintV2", ["text"], output_stream="log(info)")
case("PrintV2", [["a", "b"]], raises=BAD, match=r"Input is expected to be scalar, but got \[2\]")
case(
    "PrintV2", ["text"], output_stream="foo", raises=BAD,
    match=r"Unknown output stream: foo, Valid streams are: stdout stderr log\(info\) log\(warning\)"
    r" log\(error\)",
)  # fmt: skip
case(
    "PrintV2", ["text"], output_stream="file:///nowhere/there/x", raises=errors.NotFoundError,
    match="/nowhere/there/x; No such file or directory",
)  # fmt: skip

case("Timestamp", [], conformance=False)  # the time is another one there


def formats(value: object, expect: str | bytes, summarize: int = 3) -> None:
    if not isinstance(value, np.ndarray | np.generic | str | bytes):
        value = np.array(value)
    case(
        "StringFormat", [(value,)], expect=expect, template="{}",
        placeholder="{}", summarize=summarize,
    )  # fmt: skip


formats(np.float32(1.5), "1.5")
formats(np.int64(-3), "-3")
formats([True, False], "[1 0]")
formats(np.float32([1e-7, 1e10, 123456789, 0.1]), "[1e-07 1e+10 123456792 0.1]", -1)
formats([1e10, 123456789, 0.1, 1 / 3], "[10000000000 123456789 0.1 0.33333333333333331]")
formats(np.float32([np.nan, np.inf, -np.inf]), "[nan inf -inf]")
formats(np.float16([1.5, 2]), "[1.5 2]")
formats(np.array([b"a", b"b"], object), '["a" "b"]')
formats(np.array(b"\xff\x01\t'\\\"\xc3\xa9", object), b'"\xff\\001\\t\\\'\\\\\\"\xc3\xa9"')
for count, text in ((6, "[0 1 2 3 4 5]"), (7, "[0 1 2 ... 4 5 6]")):
    formats(np.arange(count), text)
formats(np.arange(7), "[0 ... 6]", 1)
formats(np.arange(7), "[0 1 2 3 4 5 6]", -1)
formats(np.zeros(0), "[]")
formats(np.zeros((0, 2)), "[]")
formats(np.arange(8).reshape(2, 2, 2), "[[[0 1]\n  [2 3]]\n\n [[4 5]\n  [6 7]]]")
formats(np.arange(12).reshape(3, 4), "[[0 ... 3]\n ...\n [8 ... 11]]", 1)
case("StringFormat", [()], expect="100%", template="100%", placeholder="{}")
case(
    "StringFormat", [(np.int32(1), np.array(b"x", object))], expect='1 is "x"', template="%s is %s"
)


test_case = table_test()


def test_print_stops_after_first_n(capsys: pytest.CaptureFixture[str]) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [])
        shown = tf.Print(x, [x, tf.constant(["a"])], "x is ", first_n=2)
        assert [session.run(shown, {x: i}) for i in range(4)] == [0, 1, 2, 3]
    assert capsys.readouterr().err == "x is [0][a]\nx is [1][a]\n"


def test_the_gradient_passes_through_print() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.constant(3.0)
        assert session.run(tf.gradients(tf.square(tf.Print(x, [x])), x)) == [6.0]


def test_print_formats_nested_values(capsys: pytest.CaptureFixture[str]) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.constant([[1.5, 2], [3, 4]])
        op = tf.print("x:", x[0], {"b": (x[1, 0], "q"), "a": [None]}, sep="|", end="!\n",
                      output_stream=sys.stdout)  # fmt: skip
        assert session.run(op) is None
    assert capsys.readouterr().out == "x:|[1.5 2]|{'a': [None], 'b': (3, 'q')}!\n"


def test_print_text_may_look_like_a_placeholder(capsys: pytest.CaptureFixture[str]) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.print("{} {}0", tf.constant(1)))
        with pytest.raises(ValueError, match="cannot print the character"):
            tf.print("\N{OBJECT REPLACEMENT CHARACTER}", tf.constant(1))
    assert capsys.readouterr().err == "{} {}0 1\n"


def test_print_appends_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with tf.Graph().as_default(), tf.Session() as session:
        op = tf.print(tf.constant(1), output_stream=f"file://{path}")
        session.run(op)
        session.run(op)
    assert path.read_text() == "1\n1\n"


def test_print_refuses_other_streams() -> None:
    with tf.Graph().as_default(), pytest.raises(ValueError, match="Unsupported output stream"):
        tf.print("x", output_stream="foo")


def test_print_logs(capsys: pytest.CaptureFixture[str]) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.print("careful", output_stream=tf.logging.warn))
    assert capsys.readouterr().err.endswith(": W careful\n")


def test_timestamp_is_the_time_of_the_run() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        now = tf.timestamp()
        before = time.time()
        assert before <= session.run(now) <= time.time()


def test_the_shape_of_what_print_v2_takes() -> None:
    with tf.Graph().as_default(), pytest.raises(ValueError, match="input must be a scalar, but"):
        apply_op("PrintV2", ["a", "b"])


def test_each_placeholder_takes_one_input() -> None:
    with (
        tf.Graph().as_default(),
        pytest.raises(
            ValueError, match="num placeholders in template and num inputs must match: 2"
        ),
    ):
        apply_op("StringFormat", [tf.constant(1)], template="%s %s")
