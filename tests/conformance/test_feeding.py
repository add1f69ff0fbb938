"""Tests of feeding as in TensorFlow: the values that may be fed, their conversion, and refusals."""

from __future__ import annotations

import decimal
import re
from typing import Any

import numpy as np
import pytest
from numpy.dtypes import StringDType

import flowray

tf = pytest.importorskip("tensorflow").compat.v1


def objects(*values: Any) -> Any:
    return np.array(values, dtype=object)


STRINGS: list[Any] = [
    "é", b"a\0b", np.str_("é"), np.bytes_(b"ab"), ["a", "é"], [["a", "b"], ["c", "d"]],
    np.array(["é", "b"]), np.array([b"a\0", b"bc"]), objects("é", "b"), objects("é", b"\xff"),
    np.array(["é", "b"], dtype=StringDType()), np.array("é"), np.array("é", dtype=object),
    objects(np.str_("é"), np.bytes_(b"b")), [], np.zeros((0, 2), np.int32),
    [1, 2], 3, 1.5, True, None, ["a", None], ["a", 1], objects("a", 1), objects("a", None),
    objects("a", float("nan")), objects("a", ["b"]), [["a"], ["b", "c"]], {"a": 1}, {"a"},
    np.array([1, 2]), bytearray(b"x"), objects(bytearray(b"x")), np.void(b"ab"), "\udc80",
    objects("a", np.datetime64("2020")),
]  # fmt: skip

NUMBERS: list[tuple[str, Any]] = [
    ("float32", True), ("int32", 1.5), ("int32", [1.5]), ("int32", np.array([1.5, 2.7])),
    ("int32", True), ("int32", 2**31), ("int32", [2**31]), ("int32", np.int64(2**31)),
    ("int32", np.array([2**31])), ("uint8", 300), ("uint8", -1), ("uint8", [300]),
    ("uint64", 2**64), ("uint64", 2**63), ("int64", 2**63), ("int64", [2**63]), ("uint64", -1),
    ("uint64", [-1]), ("bool", 2), ("bool", [0, 2]), ("bool", "a"), ("float32", "a"),
    ("float32", "1.5"), ("float32", ["1"]), ("float32", None), ("float32", [None]),
    ("float32", objects(1, 2.5)), ("float32", objects(1, "a")), ("float32", [[1], [2, 3]]),
    ("float32", 1 + 2j), ("float32", [1 + 2j]), ("complex64", 1), ("float16", 1e6),
    ("float32", 1e300), ("int32", np.float32(1.5)), ("float32", {"a": 1}), ("float32", {1}),
    ("float32", np.datetime64("2020")), ("int32", range(3)), ("bfloat16", 1.5),
    ("float32", np.array([1.5], np.float16)), ("int32", np.array([1, 2], ">i4")),
    ("float32", np.ma.array([1.0, 2.0], mask=[0, 1])), ("int8", -129),
    ("int32", decimal.Decimal("1.5")), ("int32", 10**30), ("float32", 10**30),
]  # fmt: skip


def outcome(api: Any, dtype: str, value: Any) -> Any:
    """The dtype, shape and values that a step reads, or the error."""
    with api.Graph().as_default(), api.Session() as session:
        x = api.placeholder(getattr(api, dtype), name="p")
        try:
            result = session.run(api.identity(x), {x: value})
        except api.errors.OpError as error:
            # Our text goes on to say what was fed.
            text = error.message.removeprefix("Graph execution error:\n\n")
            return type(error).__name__, re.sub(r" \(in the value .*", "", text)
        except (TypeError, ValueError, OverflowError) as error:
            return type(error).__name__, str(error)
        return type(result), getattr(result, "dtype", None), np.shape(result), repr(result)


@pytest.mark.filterwarnings("ignore:.*(Casting complex|overflow|invalid value)")
@pytest.mark.parametrize(
    ("dtype", "value"), [*(("string", value) for value in STRINGS), *NUMBERS], ids=repr
)
def test_a_value(dtype: str, value: Any) -> None:
    assert outcome(flowray, dtype, value) == outcome(tf, dtype, value)


@pytest.mark.parametrize("producer", [0, 20, 21, 22, 23, 24, 134])
def test_a_scalar_shape_of_an_old_placeholder(producer: int) -> None:
    """Was an unknown shape before version 22 of graphs."""

    def static_and_value(api: Any) -> Any:
        graph_def = api.GraphDef()
        graph_def.versions.producer = producer
        node = graph_def.node.add(name="x", op="Placeholder")
        node.attr["dtype"].type = 1
        node.attr["shape"].shape.SetInParent()
        with api.Graph().as_default() as graph, api.Session() as session:
            api.import_graph_def(graph_def, name="")
            x = graph.get_tensor_by_name("x:0")
            try:
                value = session.run(api.identity(x), {x: [[1.0]]}).tolist()
            except ValueError as error:
                value = str(error).replace("'", "")
            return x.shape.ndims, value

    assert static_and_value(flowray) == static_and_value(tf)
