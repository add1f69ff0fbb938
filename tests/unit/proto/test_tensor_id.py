from __future__ import annotations

import pytest

from flowray.proto.graph.tensor_id import (
    TensorId,
    control_inputs,
    data_inputs,
    is_control,
    node_of,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", TensorId("a", 0)),
        ("a:0", TensorId("a", 0)),
        ("scope/a_1:12", TensorId("scope/a_1", 12)),
        ("a:999999999", TensorId("a", 999999999)),
    ],
)
def test_parse(name: str, expected: TensorId) -> None:
    assert TensorId.parse(name) == expected


@pytest.mark.parametrize("name", ["", ":", "a:", "a:b", "a:-1", "a:1.5", "a:٣", "a:1234567890"])
def test_what_has_no_index_is_taken_for_a_node(name: str) -> None:
    assert TensorId.parse(name) == TensorId(name, 0)


def test_names_are_written_as_they_are_read() -> None:
    for tensor in (TensorId("a", 0), TensorId("b/c", 3)):
        assert TensorId.parse(str(tensor)) == TensorId.parse(tensor.input_name) == tensor
    assert str(TensorId("a", 0)) == "a:0"
    assert TensorId("a", 0).input_name == "a"
    assert TensorId("a", 1).input_name == "a:1"


def test_they_sort_and_serve_as_keys() -> None:
    tensors = [TensorId("b", 0), TensorId("a", 10), TensorId("a", 9)]
    assert sorted(tensors) == [TensorId("a", 9), TensorId("a", 10), TensorId("b", 0)]
    assert {TensorId("a", 9): "x"}[TensorId.parse("a:9")] == "x"


def test_inputs_of_a_node() -> None:
    inputs = ["a", "b:1", "^c", "^d"]
    assert data_inputs(inputs) == [TensorId("a", 0), TensorId("b", 1)]
    assert control_inputs(inputs) == ["c", "d"]
    assert [node_of(text) for text in inputs] == ["a", "b", "c", "d"]
    assert [is_control(text) for text in inputs] == [False, False, True, True]
