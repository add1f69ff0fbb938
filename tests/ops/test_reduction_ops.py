"""Reductions, scans, segment reductions and counting: cases."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Graph
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops import clip_ops
from flowray.client.ops import reduction_ops as tf
from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.gradient_check import assert_gradient, evaluate
from tests.ops.harness import case, table_test

INVALID = errors.InvalidArgumentError
BF16 = np.dtype(ml_dtypes.bfloat16)
NAN, INF = np.nan, np.inf


def f32(*values):
    return np.array(values, np.float32)


def i32(*values):
    return np.array(values, np.int32)


X = np.array([[[1.5, -2.0, 0.25], [3.0, 0.5, -0.75]], [[2, 1, 4], [-1, 7, 0.5]]], np.float32)
MANY = ((np.arange(120) * 37 % 31 - 12) / 8).astype(np.float32).reshape(2, 3, 4, 5)
NO_ROWS = np.zeros((0, 3), np.float32)
ALL_AXES, NO_AXES, FIRST = i32(0, 1, 2), i32(), i32(0)
LEAST, GREATEST = np.iinfo(np.int32).min, np.iinfo(np.int32).max

# Reductions --------------------------------------------------------------------------------------

_EMPTY = {"Sum": 0, "Mean": NAN, "Prod": 1, "Max": -INF, "Min": INF, "EuclideanNorm": 0}
_EMPTY_INT = {"Sum": 0, "Mean": 0, "Prod": 1, "Max": LEAST, "Min": GREATEST, "EuclideanNorm": 0}


def _norm(x, axis, keepdims=False):
    return np.sqrt(np.sum(x * x, axis, keepdims=keepdims))


for _op, _function in {
    "Sum": np.sum, "Mean": np.mean, "Prod": np.prod, "Max": np.max, "Min": np.min,
    "EuclideanNorm": _norm,
}.items():  # fmt: skip
    case(_op, [X, ALL_AXES], expect=_function(X, (0, 1, 2)))
    case(_op, [X, np.int32(-1)], expect=_function(X, -1))
    case(_op, [X, np.int64([0, 2])], expect=_function(X, (0, 2)))
    case(_op, [X, i32(1)], keep_dims=True, expect=_function(X, 1, keepdims=True))
    for _axes in ((0, 1, 2), (1, 3), (0, 2), (2, 3), (0, 1, 3)):
        _of_many = _function(MANY, _axes)
        case(_op, [MANY, i32(*_axes)], expect=_of_many)
        case(_op, [MANY, i32(*_axes)], keep_dims=True, expect=_function(MANY, _axes, keepdims=True))
        if _op != "Prod":
            case(_op, [MANY.astype(BF16), i32(*_axes)], rtol=1e-2, expect=_of_many.astype(BF16))
    case(_op, [NO_ROWS, i32(1, 0)], expect=np.float32(_EMPTY[_op]))
    case(_op, [X, NO_AXES], expect=np.abs(X) if _op == "EuclideanNorm" else X)
    case(_op, [X, i32(1).reshape(1, 1)], expect=_function(X, 1))
    case(_op, [np.float32(3), NO_AXES], expect=np.float32(3))
    case(_op, [X.astype(np.float64), FIRST], expect=_function(X.astype(np.float64), 0))
    case(_op, [X.astype(np.float16), FIRST], rtol=2e-3, expect=_function(X, 0).astype(np.float16))
    case(_op, [X.astype(BF16), FIRST], rtol=2e-2, expect=_function(X, 0).astype(BF16))
    case(_op, [NO_ROWS, FIRST], expect=np.full(3, _EMPTY[_op], np.float32))
    case(_op, [np.zeros((0, 2), np.int32), FIRST], expect=np.full(2, _EMPTY_INT[_op], np.int32))
    case(_op, [f32(1, NAN, 3), FIRST], expect=np.float32(NAN))
    case(_op, [X, i32(4)], raises=INVALID,
         match=r"Invalid reduction dimension \(4 for input with 3 dimension\(s\)")  # fmt: skip
    case(_op, [X, i32(0, -3)], raises=INVALID,
         match="Invalid reduction arguments: Axes contains duplicate dimension: 0")  # fmt: skip
for _op, _expect in {"Sum": 145, "Prod": 8, "Max": 201, "Min": 200}.items():
    case(_op, [np.array([200, 201], np.uint8), FIRST], expect=np.uint8(_expect))
case("Sum", [i32(1, 2, 3, 4).reshape(2, 2), FIRST], expect=i32(4, 6))
case("Sum", [np.ones(4096, np.float16), FIRST], expect=np.float16(4096))
case("Sum", [np.complex64([1 + 2j, 3]), FIRST], expect=np.complex64(4 + 2j))
case("Mean", [i32(-7, 0), FIRST], expect=np.int32(-3))
case("Mean", [np.complex64([1 + 2j, 3]), FIRST], expect=np.complex64(2 + 1j))
case("Prod", [np.int64([3, -4]), FIRST], expect=np.int64(-12))
case("EuclideanNorm", [i32(3, 4, 1), FIRST], expect=np.int32(5))
case("EuclideanNorm", [np.complex64([3 + 4j]), FIRST], expect=np.complex64(5))
TRUTH = np.array([[True, False], [True, True]])
for _op, _function in {"All": np.all, "Any": np.any}.items():
    case(_op, [TRUTH, FIRST], expect=_function(TRUTH, 0))
    case(_op, [MANY > 2.2, i32(0, 3)], expect=_function(MANY > 2.2, (0, 3)))
    case(_op, [MANY > -1.4, i32(3, 1)], expect=_function(MANY > -1.4, (1, 3)))
    case(_op, [TRUTH, i32(0, 1)], keep_dims=True, expect=_function(TRUTH, keepdims=True))
    case(_op, [np.zeros((0, 2), bool), FIRST], expect=_function(np.zeros((0, 2), bool), 0))
    case(_op, [TRUTH, i32(2)], raises=INVALID, match="Invalid reduction dimension")

# Positions and scans -----------------------------------------------------------------------------

for _op, _function in {"ArgMax": np.argmax, "ArgMin": np.argmin}.items():
    case(_op, [X, np.int32(1)], expect=_function(X, 1))
    case(_op, [X, np.int32(-1)], output_type=dtypes.int32, expect=_function(X, -1).astype(np.int32))
    case(_op, [X.astype(BF16), np.int32(0)], expect=_function(X, 0))
    case(_op, [i32(2, 5, 5, 2), np.int64(0)], expect=np.int64(1 if _op == "ArgMax" else 0))
    case(_op, [f32(NAN, NAN), np.int32(0)], expect=np.int64(0))
    case(_op, [np.zeros((2, 0), np.float32), np.int32(0)], expect=np.zeros(0, np.int64))
    case(_op, [X, np.int32(4)], raises=INVALID,
         match=r"Expected dimension in the range \[-3, 3\), but got 4")  # fmt: skip
    case(_op, [np.zeros((2, 0), np.float32), np.int32(1)], raises=INVALID,
         match=r"Reduction axis 1 is empty in shape \[2,0\]")  # fmt: skip
case("ArgMax", [f32(1, NAN, 3), np.int32(0)], expect=np.int64(2))
case("ArgMax", [f32(NAN, 1, 3), np.int32(0)], expect=np.int64(2))
case("ArgMin", [f32(NAN, 1, 0.5), np.int32(0)], expect=np.int64(2))
case("ArgMax", [f32(-INF, -INF), np.int32(0)], expect=np.int64(0))
case("ArgMax", [[False, True], np.int32(0)], expect=np.int64(1))
case("ArgMax", [i32(1, 3), np.int32(0)], output_type=dtypes.uint16, expect=np.uint16(1))

for _op, _function in {"Cumsum": np.cumsum, "Cumprod": np.cumprod}.items():
    case(_op, [X, np.int32(1)], expect=_function(X, 1))
    case(_op, [X, np.int32(-1)], reverse=True,
         expect=np.flip(_function(np.flip(X, -1), -1), -1))  # fmt: skip
    case(_op, [X.astype(BF16), np.int64(0)], rtol=2e-2, expect=_function(X, 0).astype(BF16))
    case(
        _op,
        [np.int8([100, 100]), np.int32(0)],
        expect=_function(np.int8([100, 100]), dtype=np.int8),
    )
    case(_op, [NO_ROWS, np.int32(0)], exclusive=True, expect=NO_ROWS)
    case(_op, [NO_ROWS, np.int32(1)], expect=NO_ROWS)
    case(_op, [X, np.int32(3)], raises=INVALID,
         match=r"ScanOp: Expected scan axis in the range \[-3, 3\), but got 3")  # fmt: skip
    case(_op, [np.float32(1), np.int32(0)], raises=INVALID, match="ScanOp: Expected scan axis")
case("Cumsum", [f32(1, 2, 3), np.int32(0)], exclusive=True, expect=f32(0, 1, 3))
case("Cumprod", [f32(1, 2, 3), np.int32(0)], exclusive=True, reverse=True, expect=f32(6, 3, 1))
case("Cumsum", [i32(1, 2, 3), np.int32(0)], reverse=True, expect=i32(6, 5, 3))

# Segments ----------------------------------------------------------------------------------------

DATA = f32(1, 2, 3, 4, 5, 6).reshape(3, 2)
for _op, _whole, _empty in [
    ("Sum", [6, 8], 0), ("Prod", [5, 12], 1), ("Max", [5, 6], -3.4028235e38),
    ("Min", [1, 2], 3.4028235e38),
]:  # fmt: skip
    _op = f"UnsortedSegment{_op}"
    case(_op, [DATA, i32(0, -1, 0), np.int32(2)], expect=f32(*_whole, _empty, _empty).reshape(2, 2))
    case(_op, [DATA.astype(BF16), np.int64([1, 1, 0]), np.int64(2)])
    case(_op, [DATA, i32(0, 1, 1, 2, -1, 0).reshape(3, 2), np.int32(3)])
    case(_op, [NO_ROWS, i32(), np.int32(1)], expect=np.full((1, 3), _empty, np.float32))
    case(_op, [np.float32(7), np.int32(1), np.int32(2)], expect=f32(_empty, 7))
    case(_op, [f32(1, 2), i32(0, 5), np.int32(2)], raises=INVALID,
         match=r"segment_ids\[1\] = 5 is out of range \[0, 2\)")  # fmt: skip
    case(_op, [f32(1, 2).reshape(1, 2), i32(0, 1), np.int32(2)], raises=INVALID,
         match=r"data.shape = \[1,2\] does not start with segment_ids.shape = \[2\]")  # fmt: skip
    case(_op, [f32(1), i32(0), np.int32(-2)], raises=INVALID,
         match="Input num_segments == -2 must not be negative")  # fmt: skip
for _op, _expect in {"Sum": [1, 9, 0], "Prod": [1, 24, 1], "Max": [1, 4, LEAST],
                     "Min": [1, 2, GREATEST]}.items():  # fmt: skip
    case(f"UnsortedSegment{_op}", [i32(1, 2, 3, 4).reshape(2, 2), i32(0, 1, 1, 1).reshape(2, 2),
         np.int32(3)], expect=i32(*_expect))  # fmt: skip

for _op, _expect in {"Sum": [1, 0, 5], "Mean": [1, 0, 2.5], "Prod": [1, 1, 6], "Max": [1, 0, 3],
                     "Min": [1, 0, 2]}.items():  # fmt: skip
    _op = f"Segment{_op}"
    case(_op, [f32(1, 2, 3), i32(0, 2, 2)], expect=f32(*_expect))
    case(_op, [DATA, np.int64([0, 0, 1])])
    case(_op, [NO_ROWS, i32()], expect=NO_ROWS)
    case(_op, [f32(1, 2), i32(1, 0)], raises=INVALID, match="segment ids are not increasing")
    case(_op, [f32(1, 2), i32(0, -2)], raises=INVALID, match="segment ids must be >= 0")
    case(_op, [f32(1, 2, 3, 4), i32(0, 1, 2, 0)], raises=INVALID, match="Segment id 1 out of range")
    case(_op, [f32(1, 2), i32(-1, 0)], raises=INVALID, match=r"Segment id -1 out of range \[0, 1\)")
    case(_op, [f32(1, 2), i32(0)], raises=INVALID,
         match="segment_ids should be the same size as dimension 0 of input")  # fmt: skip
    case(_op, [DATA, i32(0, 0).reshape(1, 2)], raises=INVALID, match="should be a vector")
case("SegmentMean", [i32(1, 2), i32(0, 0)], expect=i32(1))
case("SegmentSum", [np.int8([100, 100]), i32(0, 0)], expect=np.int8([-56]))

CHOSEN, IDS = i32(0, 1, 1), i32(0, 0, 2)
ROWS = f32(1, 2, 3, 4).reshape(2, 2)
for _op, _expect in {"Sum": [4, 6, 0, 0, 3, 4], "Mean": [2, 3, 0, 0, 3, 4],
                     "SqrtN": [2.8284271, 4.2426405, 0, 0, 3, 4]}.items():  # fmt: skip
    _expect = f32(*_expect).reshape(3, 2)
    case(f"SparseSegment{_op}", [ROWS, CHOSEN, IDS], expect=_expect)
    case(f"SparseSegment{_op}", [ROWS, i32(), i32()], expect=np.zeros((0, 2), np.float32))
    case(f"SparseSegment{_op}", [ROWS, i32(0, 7), i32(0, 0)], raises=INVALID,
         match=r"indices\[1\] == 7 out of range \[0, 2\)")  # fmt: skip
    case(
        f"SparseSegment{_op}", [ROWS, i32(0, 1), i32(1, 0)], raises=INVALID, match="not increasing"
    )
    _op = f"SparseSegment{_op}WithNumSegments"
    case(_op, [ROWS, CHOSEN, IDS, np.int32(4)], expect=np.vstack([_expect, f32(0, 0)]))
    case(_op, [ROWS, i32(0, 1), i32(0, 5), np.int32(2)], raises=INVALID,
         match="segment ids must be < num_segments")  # fmt: skip
for _op, _expect in {
    "Mean": [0.5, 1, 3.5, 5],
    "SqrtN": [0.70710678, 1.4142135, 3.7071068, 5.4142136],
}.items():
    _op = f"SparseSegment{_op}Grad"
    _grad = f32(1, 2, 0, 0, 3, 4).reshape(3, 2)
    case(_op, [_grad, CHOSEN, IDS, np.int32(2)], expect=f32(*_expect).reshape(2, 2))
    case(
        _op,
        [_grad, i32(0), i32(5), np.int32(2)],
        raises=INVALID,
        match="Invalid number of segments",
    )

# Counting ----------------------------------------------------------------------------------------

case("Bincount", [i32(1, 1, 5), np.int32(3), i32()], expect=i32(0, 2, 0))
case("Bincount", [i32(1, 1, 2), np.int32(3), f32(1, 2, 0.5)], expect=f32(0, 3, 0.5))
case("Bincount", [i32(), np.int32(2), i32()], expect=i32(0, 0))
case("Bincount", [i32(1, -1), np.int32(3), f32()], raises=INVALID, match="must be non-negative")
case("DenseBincount", [i32(1, 1, 5), np.int32(3), i32()], binary_output=False, expect=i32(0, 2, 0))
case("DenseBincount", [i32(1, 1, 5, 0, 9, 2).reshape(2, 3), np.int32(3), f32()],
     binary_output=False, expect=f32(0, 2, 0, 1, 0, 1).reshape(2, 3))  # fmt: skip
case("DenseBincount", [i32(1, 1, 0), np.int32(3), i32()], binary_output=True, expect=i32(1, 1, 0))
case("HistogramFixedWidth", [f32(-1, 0, 1.5, 2, 5, 15), f32(0, 5), np.int32(5)],
     expect=i32(2, 1, 1, 0, 2))  # fmt: skip
case("HistogramFixedWidth", [i32(0, 3, 9), i32(0, 10), np.int32(2)], dtype=dtypes.int64,
     expect=np.int64([2, 1]))  # fmt: skip
case("HistogramFixedWidth", [f32(), f32(0, 5), np.int32(2)], expect=i32(0, 0))
case("HistogramFixedWidth", [f32(1), f32(5, 5), np.int32(5)], raises=INVALID,
     match=r"value_range should satisfy value_range\[0\] < value_range\[1\], but got '\[5, 5\]'")  # fmt: skip  # noqa: E501
case("HistogramFixedWidth", [f32(NAN), f32(0, 5), np.int32(5)], raises=INVALID, match="NaN")

test_case = table_test()

# Gradients ---------------------------------------------------------------------------------------

V = np.array([[[1.5, -2.0, 0.25], [3.0, 0.5, -0.75]], [[2, 1, 4], [-1, 7, 0.5]]])


@pytest.mark.parametrize("op", ["Sum", "Mean", "Prod", "Max", "Min", "EuclideanNorm"])
@pytest.mark.parametrize("keep_dims", [False, True])
def test_gradient_of_reductions(op: str, keep_dims: bool) -> None:
    for axes in (i32(0, 1, 2), np.int32(-2), i32(2, 0), i32()):

        def with_constant_axes(x, axes=axes):
            return apply_op(op, x, constant(axes), keep_dims=keep_dims)

        assert_gradient(with_constant_axes, V)
        assert_gradient(lambda x, axes: apply_op(op, x, axes, keep_dims=keep_dims), V, axes)


def test_gradient_of_a_product_with_zeros() -> None:
    zeros = np.array([[0.0, 2, 3], [0, 0, 5]])
    assert_gradient(lambda x: apply_op("Prod", x, [1]), zeros)
    ids = i32(0, 0, 1)
    assert_gradient(lambda x: apply_op("SegmentProd", x, ids), zeros.T)
    assert_gradient(lambda x: apply_op("UnsortedSegmentProd", x, ids, 3), zeros.T)


@pytest.mark.parametrize("op", ["Cumsum", "Cumprod"])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradient_of_scans(op: str, exclusive: bool, reverse: bool) -> None:
    assert_gradient(lambda x: apply_op(op, x, 1, exclusive=exclusive, reverse=reverse), V)


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Prod", "Max", "Min"])
def test_gradient_of_segments(kind: str) -> None:
    data = V.reshape(4, 3)
    assert_gradient(lambda x, ids: apply_op(f"Segment{kind}", x, ids), data, i32(0, 2, 2, 3))
    if kind != "Mean":
        for ids, count in (i32(1, -1, 1, 0), 2), (i32(*range(-1, 11)).reshape(4, 3) // 3, 4):
            assert_gradient(
                lambda x, ids, n=count: apply_op(f"UnsortedSegment{kind}", x, ids, n), data, ids
            )


@pytest.mark.parametrize("kind", ["Sum", "Mean", "SqrtN"])
def test_gradient_of_sparse_segments(kind: str) -> None:
    data, indices, ids = V.reshape(4, 3), i32(3, 0, 0), i32(0, 0, 2)
    assert_gradient(lambda x: apply_op(f"SparseSegment{kind}", x, indices, ids), data)
    name = f"SparseSegment{kind}WithNumSegments"
    assert_gradient(lambda x: apply_op(name, x, indices, ids, 5), data)
    if kind != "Sum":
        grad = f"SparseSegment{kind}Grad"
        assert_gradient(lambda x: apply_op(grad, x, indices, ids, 5), data[:3])


# The user's functions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x: tf.reduce_logsumexp(x), np.log(np.sum(np.exp(V)))),
        (lambda x: tf.reduce_logsumexp(x, 1), np.log(np.sum(np.exp(V), 1))),
        (lambda x: tf.reduce_logsumexp(x - 1e308, [0, 2], keepdims=True), np.full((1, 2, 1), -1e308)),  # noqa: E501
        (lambda x: tf.reduce_variance(x, 1), np.var(V, 1)),
        (lambda x: tf.reduce_std(x), np.std(V)),
        (lambda x: tf.count_nonzero(x - 0.5, -1), np.count_nonzero(V - 0.5, -1)),
        (lambda x: tf.norm(x), np.linalg.norm(V.reshape(-1))),
        (lambda x: tf.norm(x, 3, axis=1), np.linalg.norm(V, 3, axis=1)),
        (lambda x: tf.norm(x, np.inf, axis=[1, 2]), np.linalg.norm(V, np.inf, axis=(1, 2))),
        (lambda x: tf.norm(x, 1, axis=[1, 2]), np.linalg.norm(V, 1, axis=(1, 2))),
        (lambda x: tf.norm(x, 1, 0, keepdims=True), np.linalg.norm(V, 1, axis=0, keepdims=True)),
        (lambda x: tf.tensordot(x, x, 3), np.tensordot(V, V, 3)),
        (lambda x: tf.tensordot(x, x, 0), np.tensordot(V, V, 0)),
        (lambda x: tf.tensordot(x, x, [[1], [0]]), np.tensordot(V, V, [[1], [0]])),
        (lambda x: tf.tensordot(x, x, [[-1, 0], [2, 1]]), np.tensordot(V, V, [[-1, 0], [2, 1]])),
        (lambda x: tf.unsorted_segment_mean(x, [1, 1], 3),
         np.stack([V[0] * 0, V.mean(0), V[0] * 0])),
        (lambda x: tf.unsorted_segment_sqrt_n(x, [1, 1], 2),
         np.stack([V[0] * 0, V.sum(0) / np.sqrt(2)])),
        (lambda x: tf.bincount([1, 1, 3]), i32(0, 2, 0, 1)),
        (lambda x: tf.bincount([1, 1, 3], minlength=5, maxlength=6), i32(0, 2, 0, 1, 0)),
        (lambda x: tf.bincount([], maxlength=2), i32()),
        (lambda x: clip_ops.clip_by_value(x, -1.0, 1.0), np.clip(V, -1, 1)),
        (lambda x: clip_ops.clip_by_norm(x, 2.0), V * 2 / np.linalg.norm(V.reshape(-1))),
        (lambda x: clip_ops.clip_by_norm(x * 0, 2.0), V * 0),
        (lambda x: clip_ops.clip_by_norm(x, 3.0, axes=[2]),
         V * 3 / np.maximum(3, np.linalg.norm(V, axis=2, keepdims=True))),
        (lambda x: clip_ops.global_norm([x, None, 2 * x]), np.sqrt(5 * np.sum(V * V))),
        (lambda x: clip_ops.clip_by_global_norm([x, None, x], 1.0)[0][2],
         V / np.sqrt(2 * np.sum(V * V))),
        (lambda x: clip_ops.clip_by_global_norm([x], 1.0, use_norm=x[0, 0, 0] + np.inf)[0][0],
         np.full_like(V, NAN)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("known", [True, False])
def test_functions(build, expected, known: bool) -> None:
    with Graph().as_default() as graph:
        x = graph.create_op(
            "Placeholder", [], attrs={"dtype": dtypes.float64, "shape": V.shape if known else None}
        ).outputs[0]
        result = build(x)
        (value,) = evaluate([result], {x: V})
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-12)
    assert result.get_shape().is_compatible_with(value.shape)
    if known and "bincount" not in result.name:
        assert result.shape_tuple == value.shape


def test_gradient_of_functions() -> None:
    assert_gradient(lambda x: tf.reduce_logsumexp(x, 1), V)
    assert_gradient(lambda x: tf.tensordot(x, x, [[1], [0]]), V)
    assert_gradient(lambda x: clip_ops.clip_by_norm(x, 2.0), V)
    assert_gradient(lambda x: clip_ops.clip_by_value(x, -0.9, 1.1), V)


def test_older_argument_names() -> None:
    with Graph().as_default():
        x = constant(V)
        assert tf.reduce_sum(x, reduction_indices=1, keep_dims=True).shape_tuple == (2, 1, 3)
        assert tf.argmax(x, dimension=2).shape_tuple == (2, 2)
        with pytest.raises(ValueError, match="Cannot specify both 'axis' and 'reduction_indices'"):
            tf.reduce_sum(x, 1, reduction_indices=1)


def test_static_shape_errors() -> None:
    with Graph().as_default():
        x = constant(V)
        with pytest.raises(ValueError, match="Invalid reduction dimension 4 for input with 3 dim"):
            tf.reduce_sum(x, 4)
        with pytest.raises(ValueError, match="Different number of contraction axes"):
            tf.tensordot(x, x, [[0, 1], [1]])
        with pytest.raises(TypeError, match="t_list should be a sequence"):
            clip_ops.global_norm(x)
