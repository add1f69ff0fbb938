"""Ops that only order or check others."""

import numpy as np

from flowray.proto import errors
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError

case("NoOp", [])
case("ControlTrigger", [])
case("Assert", [True, (np.int32(1),)])


def fails(text: str, *data: object, **attrs: int) -> None:
    case(
        "Assert",
        [False, tuple(data)],
        raises=BAD,
        match=rf"assertion failed: {text}(\n|$)",
        **attrs,
    )


WORDS = np.array([b"msg"], object)
fails(r"\[msg\] \[0 1 2...\]", WORDS[0:1].reshape(()), np.arange(5))
fails(r"\[0 1 2 3 4\]", np.arange(5), summarize=5)
fails(r"\[0 1 2 3 4\]", np.arange(5, dtype=np.int32), summarize=-1)
fails(r"\[0 1...\]", np.arange(5), summarize=2)
fails(r"\[\]", np.zeros(0, np.float32))
fails(r"\[1.5 -2 1e\+20\]", np.array([1.5, -2, 1e20], np.float32))
fails(
    r"\[0.1\] \[0.1\] \[inf\] \[nan\]",
    np.float32(0.1),
    np.float64(0.1),
    np.float32(np.inf),
    np.float32(np.nan),
)
fails(r"\[1 0\]", np.array([True, False]))
fails(r"\[\[1 2\]\[3 4\]\]", np.array([[1, 2], [3, 4]]), summarize=4)
fails(r"\[\[1 2\]\[3...\]...\]", np.array([[1, 2], [3, 4], [5, 6]]))
case("Assert", [np.array([True]), (np.int32(1),)], raises=BAD, match=r"should be a scalar")

test_case = table_test()
