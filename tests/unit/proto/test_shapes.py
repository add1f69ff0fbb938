import operator
import pickle

import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.messages.tensor_pb2 import TensorShapeProto
from flowray.proto.types import dtypes, shapes
from flowray.proto.types.shapes import Dimension, TensorShape, as_shape

SHAPES = [None, (), (3,), (None,), (2, 3), (2, None), (0, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_round_trips(shape):
    assert shapes.from_proto(shapes.to_proto(shape)) == shape
    assert TensorShape(shape).as_tuple() == shape
    assert TensorShape(shapes.to_proto(shape)) == as_shape(shape)
    assert pickle.loads(pickle.dumps(TensorShape(shape))) == TensorShape(shape)
    assert hash(TensorShape(shape)) == hash(TensorShape(shape))


def test_protos():
    assert shapes.to_proto(None).unknown_rank
    assert [d.size for d in shapes.to_proto((2, None)).dim] == [2, -1]
    assert shapes.from_proto(TensorShapeProto()) == ()
    with pytest.raises(errors.InvalidArgumentError, match=r"\[-2\]"):
        shapes.from_proto(TensorShapeProto(dim=[TensorShapeProto.Dim(size=-2)]))


def test_text():
    assert [shapes.format_shape(s) for s in SHAPES] == [
        "<unknown>", "[]", "[3]", "[?]", "[2,3]", "[2,?]", "[0,5]",
    ]  # fmt: skip
    assert [str(TensorShape(s)) for s in SHAPES] == [
        "<unknown>", "()", "(3,)", "(?,)", "(2, 3)", "(2, ?)", "(0, 5)",
    ]  # fmt: skip
    assert repr(TensorShape([2, None])) == "TensorShape([Dimension(2), Dimension(None)])"
    assert repr(TensorShape(None)) == "TensorShape(None)"


def test_num_elements():
    assert [shapes.num_elements(s) for s in SHAPES] == [None, 1, 3, None, 6, None, 0]
    assert [shapes.is_fully_defined(s) for s in SHAPES] == [
        False, True, True, False, True, False, True,
    ]  # fmt: skip


def test_merge():
    assert shapes.merge(None, (2,)) == shapes.merge((2,), None) == (2,)
    assert shapes.merge((2, None), (None, 3)) == (2, 3)
    assert shapes.merge(None, None) is None
    with pytest.raises(ValueError, match=r"^Shapes \(2, 3\) and \(2, 4\) are not compatible$"):
        shapes.merge((2, 3), (2, 4))
    with pytest.raises(ValueError, match=r"^Shapes \(2,\) and \(\?, 4\) are not compatible$"):
        shapes.merge((2,), (None, 4))
    assert shapes.most_specific_compatible((2, 3), (2, 4)) == (2, None)
    assert shapes.most_specific_compatible((2,), (2, 4)) is None
    assert shapes.merge_dims(None, 3) == shapes.merge_dims(3, None) == shapes.merge_dims(3, 3) == 3
    with pytest.raises(ValueError, match="2 and 3"):
        shapes.merge_dims(2, 3)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((2, 3), (2, 3), (2, 3)),
        ((2, 3), (), (2, 3)),
        ((2, 3), (3,), (2, 3)),
        ((2, 1), (1, 4), (2, 4)),
        ((None,), (3,), (3,)),
        ((None,), (1,), (None,)),
        ((None,), (None,), (None,)),
        ((None, 3), (2, 1), (2, 3)),
        ((0,), (1,), (0,)),
        ((None,), (0,), (0,)),
        (None, (2,), None),
        (None, None, None),
    ],
)
def test_broadcast(a, b, expected):
    assert shapes.broadcast(a, b) == expected
    assert shapes.broadcast(b, a) == expected


def test_broadcast_refuses():
    with pytest.raises(ValueError, match="Dimensions must be equal, but are 3 and 2"):
        shapes.broadcast((3,), (2,))
    assert shapes.broadcast_all((2, 1), (3,), ()) == (2, 3)
    assert shapes.broadcast_all() == ()


def test_ranks():
    assert shapes.with_rank(None, 2) == (None, None)
    assert shapes.with_rank((1, 2), 2) == (1, 2)
    with pytest.raises(ValueError, match="Shape must be rank 2 but is rank 1"):
        shapes.with_rank((1,), 2)
    assert shapes.with_rank_at_least(None, 2) is None
    with pytest.raises(ValueError, match="Shape must be at least rank 2 but is rank 1"):
        shapes.with_rank_at_least((1,), 2)
    with pytest.raises(ValueError, match="Shape must be at most rank 2 but is rank 3"):
        shapes.with_rank_at_most((1, 2, 3), 2)
    assert shapes.concatenate((1,), (None,)) == (1, None)
    assert shapes.concatenate(None, (1,)) is None


# Dimension


def test_dimension_values():
    assert Dimension(3).value == 3
    assert Dimension(None).value is None
    assert Dimension(Dimension(3)).value == 3
    assert Dimension(np.int64(3)).value == 3
    assert Dimension("7").value == 7
    assert int(Dimension(3)) == operator.index(Dimension(3)) == 3
    assert list(range(Dimension(2))) == [0, 1]
    assert np.zeros(Dimension(2)).shape == (2,)
    assert str(Dimension(None)) == "?"
    assert repr(Dimension(3)) == "Dimension(3)"
    for bad, error in [(-1, ValueError), (1.5, ValueError), (dtypes.float32, TypeError)]:
        with pytest.raises(error):
            Dimension(bad)
    with pytest.raises(TypeError):
        int(Dimension(None))
    with pytest.raises(TypeError):
        hash(Dimension(3))
    assert pickle.loads(pickle.dumps(Dimension(3))).value == 3


def test_dimension_comparison():
    assert Dimension(3) == 3
    assert Dimension(3) != 4
    assert (Dimension(3) == None) is None  # noqa: E711
    assert (Dimension(None) == Dimension(None)) is None
    assert (Dimension(None) != 3) is None
    assert Dimension(3) < 4 <= Dimension(4)
    assert Dimension(3) > 2 >= Dimension(2)
    assert (Dimension(None) < 3) is None
    assert (Dimension(3) == "x") is False
    assert Dimension(0)  # an object: true whatever its value, as in TensorFlow 1


@pytest.mark.parametrize(
    "function", [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]
)
def test_dimension_arithmetic(function):
    expected = function(7, 3)
    for a, b in [(Dimension(7), Dimension(3)), (Dimension(7), 3), (7, Dimension(3))]:
        result = function(a, b)
        assert isinstance(result, Dimension)
        assert result.value == expected
        assert function(Dimension(None), 3).value is None
        assert function(3, Dimension(None)).value is None
    if function is not operator.mul:  # a string can be repeated
        with pytest.raises(TypeError):
            function(Dimension(7), "x")


def test_dimension_division():
    with pytest.raises(TypeError, match="please use // instead"):
        Dimension(4) / 2
    with pytest.raises(TypeError, match="please use // instead"):
        4 / Dimension(2)


def test_dimension_merging():
    assert Dimension(None).merge_with(3).value == 3
    assert Dimension(3).merge_with(None).value == 3
    assert Dimension(3).is_compatible_with(None)
    with pytest.raises(ValueError, match="Dimensions 3 and 4 are not compatible"):
        Dimension(3).merge_with(4)
    assert shapes.as_dimension(3).value == 3
    assert shapes.dimension_value(Dimension(3)) == 3
    assert shapes.dimension_value(3) == 3
    assert shapes.dimension_at_index(TensorShape(None), 1).value is None
    assert shapes.dimension_at_index(TensorShape([1, 2]), 1).value == 2


# TensorShape


def test_tensor_shape_from():
    assert TensorShape(3).as_list() == [3]
    assert TensorShape(Dimension(3)).as_list() == [3]
    assert TensorShape([Dimension(3), None, "2"]).as_list() == [3, None, 2]
    assert TensorShape(np.array([2, 3])).as_list() == [2, 3]
    assert TensorShape(np.array(2)).as_list() == [2]
    assert TensorShape(d for d in (1, 2)).as_list() == [1, 2]
    assert TensorShape(TensorShape([1])).as_list() == [1]
    with pytest.raises(TypeError, match="ambiguous TensorShape"):
        TensorShape("12")
    with pytest.raises(ValueError, match="must be >= 0"):
        TensorShape([-1])
    assert shapes.unknown_shape().rank is None
    assert shapes.unknown_shape(2).as_list() == [None, None]
    assert shapes.scalar().as_list() == []
    assert shapes.vector(2).as_list() == [2]
    assert shapes.matrix(2, None).as_list() == [2, None]


def test_tensor_shape_as_a_sequence():
    shape = TensorShape([2, None, 4])
    assert len(shape) == shape.ndims == shape.rank == 3
    assert [d.value for d in shape] == [2, None, 4]
    assert isinstance(shape[0], Dimension)
    assert shape[-1].value == 4
    assert shape[1:].as_list() == [None, 4]
    assert [d.value for d in shape.dims] == [2, None, 4]
    assert bool(TensorShape([]))
    assert (TensorShape([1]) + TensorShape(2)).as_list() == [1, 2]
    assert (operator.add([1], TensorShape([2]))).as_list() == [1, 2]


def test_tensor_shape_of_unknown_rank():
    shape = TensorShape(None)
    assert not shape
    assert shape.dims is None
    assert shape.ndims is None
    assert shape.num_elements() is None
    assert shape[3].value is None
    assert shape[1:3].as_list() == [None, None]
    assert shape[1:].rank is None
    assert shape[:-1].rank is None
    with pytest.raises(ValueError, match="Steps"):
        _ = shape[::2]
    for function in (len, iter, TensorShape.as_list):
        with pytest.raises(ValueError, match="unknown"):
            function(shape)


def test_tensor_shape_equality():
    assert TensorShape([2, None]) == [2, None]
    assert TensorShape([2]) == (2,)
    assert TensorShape([2]) != [3]
    assert TensorShape(None) == TensorShape(None)
    assert TensorShape(None) != TensorShape([])
    assert TensorShape([2]) != object()
    assert len({TensorShape([2]), TensorShape([2]), TensorShape(None)}) == 2


def test_tensor_shape_checks():
    shape = TensorShape([2, None])
    assert shape.merge_with([None, 3]).as_list() == [2, 3]
    assert shape.concatenate([4]).as_list() == [2, None, 4]
    assert shape.most_specific_compatible_shape([3, None]).as_list() == [None, None]
    assert shape.with_rank(2) == shape
    assert TensorShape(None).with_rank(1).as_list() == [None]
    assert shape.with_rank_at_least(2) is shape
    assert shape.with_rank_at_most(2) is shape
    assert shape.is_compatible_with([2, 9])
    assert not shape.is_compatible_with([3, 9])
    assert not shape.is_fully_defined()
    shape.assert_same_rank([1, 1])
    for call, text in [
        (lambda: shape.merge_with([3, 3]), r"Shapes \(2, \?\) and \(3, 3\) are not compatible"),
        (lambda: shape.with_rank(3), r"Shape \(2, \?\) must have rank 3"),
        (lambda: shape.with_rank_at_least(3), "must have rank at least 3"),
        (lambda: shape.with_rank_at_most(1), "must have rank at most 1"),
        (lambda: shape.assert_has_rank(1), "must have rank 1"),
        (lambda: shape.assert_same_rank([1]), "must have the same rank"),
        (lambda: shape.assert_is_compatible_with([3, 1]), "are incompatible"),
        (lambda: shape.assert_is_fully_defined(), r"Shape \(2, \?\) is not fully defined"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
