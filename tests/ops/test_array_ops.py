"""Constants, identities, shapes, and reshaping, joining and splitting."""

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import TensorShape
from tests.ops.harness import case, table_test

BF16 = dtypes.bfloat16.as_numpy_dtype
INF, NAN = np.inf, np.nan
BAD = errors.InvalidArgumentError
A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = A + 10
CUBE = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
EMPTY = np.zeros((0, 3), np.float32)
WORDS = np.array([b"a", b"", b"\x00\xff", b"dd"], object)
TYPES = (bool, np.int8, np.uint8, np.int16, np.int64, np.float16, BF16, np.float64, np.complex64)


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def scalar(value: object) -> np.ndarray:
    """A string scalar."""
    result = np.empty((), object)
    result[()] = value
    return result


# Constants and placeholders
case("Const", [], value=A, dtype=dtypes.float32, expect=A)
case("Const", [], value=i64(3)[0:0], dtype=dtypes.int64, expect=i64(), id="empty")
case("Const", [], value=WORDS, dtype=dtypes.string, expect=WORDS, id="string", xla=False)
case("Placeholder", [], dtype=dtypes.float32, shape=[None, 2], raises=BAD,
     match=r"You must feed a value for placeholder tensor .*with dtype float and shape \[\?,2\]$")  # fmt: skip  # noqa: E501
case("Placeholder", [], dtype=dtypes.int32, raises=BAD, match="with dtype int32$", id="any shape")
# TensorFlow has removed this op from GraphDef version 23 on.
case("PlaceholderV2", [], dtype=dtypes.float64, shape=[], raises=BAD, conformance=False,
     match=r"with dtype double and shape \[\]")  # fmt: skip
case("PlaceholderWithDefault", [A], shape=[None, 3], expect=A)
case("PlaceholderWithDefault", [WORDS], shape=[4], expect=WORDS, id="string", xla=False)
# TensorFlow refuses it while it builds the graph.
case("PlaceholderWithDefault", [A], shape=[3], raises=BAD, match="not compatible",
     conformance=False)  # fmt: skip

# Identities
for _op in ("Identity", "StopGradient", "Snapshot", "GuaranteeConst", "PreventGradient"):
    case(_op, [A], expect=A)
    case(_op, [np.float32(2)], expect=np.float32(2), id="scalar")
    case(_op, [EMPTY], expect=EMPTY, id="empty")
for _dtype in TYPES:
    case("Identity", [A.astype(_dtype)], expect=A.astype(_dtype), id=np.dtype(_dtype).name)
case("Identity", [WORDS], expect=WORDS, id="string", xla=False)
case("IdentityN", [(A, i32(1, 2))], expect=(A, i32(1, 2)))
case("IdentityN", [(A, WORDS)], expect=(A, WORDS), id="string", xla=False)
case("CheckNumerics", [A], message="fine", expect=A)
case("CheckNumerics", [EMPTY.astype(BF16)], message="", expect=EMPTY.astype(BF16), id="empty")
for _bad, _found in (([1, INF], "Inf"), ([NAN, 1], "NaN"), ([NAN, -INF], "Inf and NaN")):
    case("CheckNumerics", [np.array(_bad, np.float32)], message="bad", raises=BAD,
         match=f"bad : Tensor had {_found}", id=_found)  # fmt: skip
case("EnsureShape", [A], shape=[2, None], expect=A)
case("EnsureShape", [A], shape=TensorShape(None), expect=A, id="any shape")
case("EnsureShape", [WORDS], shape=[4], expect=WORDS, id="string", xla=False)
case("EnsureShape", [A], shape=[3, 3], raises=BAD,
     match=r"Shape of tensor .*\[2,3\] is not compatible with expected shape \[3,3\]")  # fmt: skip

# Shapes as values
case("Shape", [A], expect=i32(2, 3))
case("Shape", [A], out_type=dtypes.int64, expect=i64(2, 3))
case("Shape", [np.float32(1)], expect=i32(), id="scalar")
case("Shape", [WORDS], expect=i32(4), id="string", xla=False)
case("ShapeN", [(A, A[0], EMPTY)], expect=(i32(2, 3), i32(3), i32(0, 3)))
case("ShapeN", [(A, A[0, 0])], out_type=dtypes.int64, expect=(i64(2, 3), i64()))
case("Size", [A], expect=np.int32(6))
case("Size", [EMPTY], out_type=dtypes.int64, expect=np.int64(0))
case("Size", [np.float32(1)], expect=np.int32(1), id="scalar")
case("Rank", [A], expect=np.int32(2))
case("Rank", [np.float32(1)], expect=np.int32(0), id="scalar")
case("BroadcastArgs", [i32(3, 1), i32(2)], expect=i32(3, 2))
case("BroadcastArgs", [i64(), i64(2, 0)], expect=i64(2, 0))
case("BroadcastArgs", [i32(1, 0), i32(4, 1, 1)], expect=i32(4, 1, 0), id="empty")
case("BroadcastArgs", [i32(2), i32(3)], raises=BAD, match=r"Incompatible shapes: \[2\] vs. \[3\]")
case("ConcatOffset", [1, (i32(2, 3), i32(2, 5), i32(2, 1))],
     expect=(i32(0, 0), i32(0, 3), i32(0, 8)))  # fmt: skip
case("ConcatOffset", [-1, (i32(2, 3), i32(2, 5))], expect=(i32(0, 0), i32(0, 3)), id="negative")
case("ConcatOffset", [1, (i32(2, 3), i32(3, 3))], raises=BAD,
     match=r"All dimensions except 1 must match. Input 1 has shape \[3 3\] and doesn't match")  # fmt: skip  # noqa: E501
case("ConcatOffset", [2, (i32(2, 3), i32(3, 3))], raises=BAD, match="Concat dim is out of range: 2")
case("InvertPermutation", [i32(2, 0, 1)], expect=i32(1, 2, 0))
case("InvertPermutation", [i64(3, 4, 0, 2, 1)], expect=i64(2, 4, 3, 0, 1))
case("InvertPermutation", [i32()], expect=i32(), id="empty")
case("InvertPermutation", [i32(0, 3, 1)], raises=BAD, match="3 is not between 0 and 3")
case("InvertPermutation", [i32(0, 1, 1)], raises=BAD, match="1 is duplicated in the input")

# Filling
for _dtype in TYPES:
    _name = np.dtype(_dtype).name
    case("ZerosLike", [A.astype(_dtype)], expect=np.zeros((2, 3), _dtype), id=_name)
    case("OnesLike", [A.astype(_dtype)], expect=np.ones((2, 3), _dtype), id=_name)
    case("Fill", [i32(2, 2), np.ones((), _dtype)], expect=np.ones((2, 2), _dtype), id=_name)
case("ZerosLike", [WORDS], expect=np.array([b""] * 4, object), id="string", xla=False)
case("OnesLike", [EMPTY], expect=EMPTY, id="empty")
case("Fill", [i64(3), 2.5], expect=np.full(3, 2.5, np.float32))
case("Fill", [i32(), 7], expect=np.int32(7), id="scalar")
case("Fill", [i32(2, 0), 7], expect=np.zeros((2, 0), np.int32), id="empty")
case("Fill", [i32(2), scalar(b"x")], expect=np.array([b"x", b"x"], object), id="string", xla=False)
case("Fill", [i32(-1, 2), 1.0], raises=BAD, match="must be >= 0|must be non-negative|< 0")
case("Fill", [i32(2), A[0]], raises=BAD, match="value must represent a scalar")
EYE = np.eye(3, dtype=np.float32)
case("OneHot", [i32(0, 2), 3, 1.0, 0.0], expect=EYE[[0, 2]])
case("OneHot", [i64(0, 2), 3, 1.0, 0.0], axis=0, expect=EYE[[0, 2]].T)
case("OneHot", [np.array([[0, 1], [2, 0]], np.uint8), 3, 5, -1], axis=1,
     expect=np.where(EYE[[[0, 1], [2, 0]]].swapaxes(1, 2) == 1, 5, -1).astype(np.int32))  # fmt: skip  # noqa: E501
case("OneHot", [i32(-1, 3, 1), 3, True, False], expect=np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0]], bool),  # noqa: E501
     id="out of range")  # fmt: skip
case("OneHot", [np.int64(1), 3, 1.0, 0.0], expect=EYE[1], id="scalar")
case("OneHot", [i32(), 3, 1.0, 0.0], expect=EMPTY, id="empty")
case("OneHot", [i32(0), 0, 1.0, 0.0], expect=np.zeros((1, 0), np.float32), id="no depth")
case("OneHot", [i32(0), -1, 1.0, 0.0], raises=BAD, match="depth must be non-negative, got: -1")

# Reshaping
case("Reshape", [A, i32(3, 2)], expect=A.reshape(3, 2))
case("Reshape", [A, i64(-1)], expect=A.reshape(-1))
case("Reshape", [CUBE, i32(-1, 4)], expect=CUBE.reshape(6, 4))
case("Reshape", [EMPTY, i32(3, -1)], expect=np.zeros((3, 0), np.float32), id="empty")
for _shape, _target, _result in [
    ((0, 6), (0, -1, 3), (0, 2, 3)),
    ((0, 6), (-1, 0), (6, 0)),
    ((0, 6), (0, -1, 4), (0, 1, 4)),
    ((2, 0), (-1, 0, 5), (0, 0, 5)),
]:
    case("Reshape", [np.zeros(_shape, np.float32), i32(*_target)],
         expect=np.zeros(_result, np.float32), id=f"empty {_shape} to {_target}")  # fmt: skip
case("Reshape", [np.float32(2), i32(1, 1)], expect=np.array([[2]], np.float32), id="from scalar")
case("Reshape", [i32(5), i32()], expect=np.int32(5), id="to scalar")
case("Reshape", [WORDS, i32(2, 2)], expect=WORDS.reshape(2, 2), id="string", xla=False)
case("Reshape", [A, i32(2, 2)], raises=BAD,
     match="Input to reshape is a tensor with 6 values, but the requested shape has 4")  # fmt: skip
case("Reshape", [A, i32(-1, 4)], raises=BAD,
     match="a tensor with 6 values, but the requested shape requires a multiple of 4")  # fmt: skip
case("Reshape", [A, i32(-1, -1)], raises=BAD,
     match="Only one input size may be -1, not both 0 and 1")  # fmt: skip
case("Reshape", [A, i32(-3, -2)], raises=BAD, match="Size 0 must be non-negative, not -3")
case("ExpandDims", [A, 0], expect=A[None])
case("ExpandDims", [A, np.int64(-1)], expect=A[..., None])
case("ExpandDims", [A, i32(1)], expect=A[:, None], id="vector")
case("ExpandDims", [np.float32(3), 0], expect=np.array([3], np.float32), id="scalar")
case("ExpandDims", [WORDS, 1], expect=WORDS[:, None], id="string", xla=False)
case("ExpandDims", [A, 3], raises=BAD,
     match="Tried to expand dim index 3 for tensor with 2 dimensions")  # fmt: skip
ONES = np.ones((1, 2, 1, 3), np.float32)
case("Squeeze", [ONES], expect=ONES[0, :, 0])
case("Squeeze", [ONES], squeeze_dims=[2], expect=ONES[:, :, 0])
case("Squeeze", [ONES], squeeze_dims=[-4], expect=ONES[0])
case("Squeeze", [np.ones((1, 1), np.int64)], expect=np.int64(1), id="to scalar")
case("Squeeze", [ONES], squeeze_dims=[1], raises=BAD,
     match=r"Can not squeeze dim\[1\], expected a dimension of 1, got 2")  # fmt: skip
case("Squeeze", [ONES], squeeze_dims=[4], raises=BAD,
     match="Tried to squeeze dim index 4 for tensor with 4 dimensions")  # fmt: skip
case("Transpose", [CUBE, i32(2, 0, 1)], expect=CUBE.transpose(2, 0, 1))
case("Transpose", [CUBE, i64(0, 2, 1)], expect=CUBE.transpose(0, 2, 1))
case("Transpose", [np.float32(1), i32()], expect=np.float32(1), id="scalar")
case("Transpose", [EMPTY, i32(1, 0)], expect=EMPTY.T, id="empty")
case("Transpose", [WORDS.reshape(2, 2), i32(1, 0)], expect=WORDS.reshape(2, 2).T, id="string",
     xla=False)  # fmt: skip
case("Transpose", [A, i32(0)], raises=BAD,
     match="transpose expects a vector of size 2. But input\\(1\\) is a vector of size 1")  # fmt: skip  # noqa: E501
case("Transpose", [A, i32(0, 0)], raises=BAD, match="1 is missing from")
case("Transpose", [A, i32(0, 2)], raises=BAD, match="2 is out of range")
COMPLEX = (A + 1j * B).astype(np.complex64)
case("ConjugateTranspose", [COMPLEX, i32(1, 0)], expect=COMPLEX.conj().T)
case("ConjugateTranspose", [A, i32(1, 0)], expect=A.T)
case("BroadcastTo", [A[0], i32(2, 3)], expect=np.stack([A[0]] * 2))
case("BroadcastTo", [A[:, None], i64(2, 4, 3)], expect=np.repeat(A[:, None], 4, 1))
case("BroadcastTo", [np.float32(1), i32(0, 2)], expect=np.zeros((0, 2), np.float32), id="empty")
case("BroadcastTo", [np.float32(1), i32()], expect=np.float32(1), id="scalar")
case("BroadcastTo", [A, i32(3, 3)], raises=BAD, match="Incompatible shapes")
case("Bitcast", [A], type=dtypes.int32, expect=A.view(np.int32))
case("Bitcast", [A], type=dtypes.uint8, expect=A.view(np.uint8).reshape(2, 3, 4))
case("Bitcast", [np.arange(8, dtype=np.uint8).reshape(2, 4)], type=dtypes.float32,
     expect=np.arange(8, dtype=np.uint8).view(np.float32))  # fmt: skip
case("Bitcast", [A.astype(BF16)], type=dtypes.uint16, expect=A.astype(BF16).view(np.uint16))
case("Bitcast", [COMPLEX], type=dtypes.float32, expect=COMPLEX.view(np.float32).reshape(2, 3, 2))
case("Bitcast", [COMPLEX], type=dtypes.uint8, expect=COMPLEX.view(np.uint8).reshape(2, 3, 8))
case("Bitcast", [COMPLEX], type=dtypes.int64, expect=COMPLEX.view(np.int64))
case(
    "Bitcast",
    [A[:, :2]],
    type=dtypes.complex64,
    expect=np.ascontiguousarray(A[:, :2]).view(np.complex64)[:, 0],
)
case(
    "Bitcast",
    [A.astype(np.float64)],
    type=dtypes.complex64,
    expect=A.astype(np.float64).view(np.complex64),
)
case("Bitcast", [np.float32(1)], type=dtypes.int32, expect=np.int32(0x3F800000), id="scalar")
case("Bitcast", [A], type=dtypes.int64, raises=BAD, match="Cannot bitcast")

# Joining and splitting
case("Pack", [[A, B]], expect=np.stack([A, B]))
case("Pack", [[A, B]], axis=-1, expect=np.stack([A, B], -1))
case("Pack", [[A, B]], axis=1, expect=np.stack([A, B], 1))
for _dtype in TYPES:
    _x = np.ones((), _dtype)
    case("Pack", [(_x, _x)], expect=np.ones(2, _dtype), id=f"{np.dtype(_dtype).name} scalars")
case("Pack", [[EMPTY, EMPTY]], expect=np.stack([EMPTY, EMPTY]), id="empty")
case("Pack", [(scalar(b"a"), scalar(b""))], expect=np.array([b"a", b""], object), id="strings",
     xla=False)  # fmt: skip
case("Pack", [[A, A[:, :2]]], raises=BAD,
     match=r"Shapes of all inputs must match: values\[0\].shape = \[2,3\] != values\[1\].shape = \[2,2\]")  # fmt: skip  # noqa: E501
case("Pack", [[A, A]], axis=3, raises=BAD, match=r"axis = 3 not in \[-3, 3\)")
case("Unpack", [A], num=2, expect=(A[0], A[1]))
case("Unpack", [A], num=3, axis=-1, expect=(A[:, 0], A[:, 1], A[:, 2]))
case("Unpack", [WORDS], num=4, expect=tuple(scalar(w) for w in WORDS), id="string", xla=False)
case("Unpack", [EMPTY], num=0, expect=(), id="empty")
case("Unpack", [A], num=3, raises=BAD, match="Input shape axis 0 must equal 3, got shape")
for _op in ("ConcatV2", "Concat"):

    def _inputs(values: list, axis: object, op: str = _op) -> list:
        return [values, axis] if op == "ConcatV2" else [axis, values]

    case(_op, _inputs([A, B], 0), expect=np.concatenate([A, B]))
    case(_op, _inputs([A, B, A], -1), expect=np.concatenate([A, B, A], 1))
    case(_op, _inputs([A, EMPTY], 0), expect=A, id="empty")
    case(_op, _inputs([WORDS, WORDS], 0), expect=np.concatenate([WORDS] * 2), id="str", xla=False)
    case(_op, _inputs([A, A[:1]], 1), raises=BAD,
         match=r"ConcatOp : Dimension 0 in both shapes must be equal: shape\[0\] = \[2,3\] vs. shape\[1\] = \[1,3\]")  # fmt: skip  # noqa: E501
    case(_op, _inputs([A, A[0]], 0), raises=BAD, match="Ranks of all input tensors should match")
    case(_op, _inputs([A, A], 2), raises=BAD,
         match=r"Expected concatenating dimensions in the range \[-2, 2\), but got 2")  # fmt: skip
case("ConcatV2", [[i64(1), i64(2)], np.int64(0)], expect=i64(1, 2))
case("Split", [1, A], num_split=3, expect=(A[:, :1], A[:, 1:2], A[:, 2:]))
case("Split", [-2, A], num_split=2, expect=(A[:1], A[1:]))
case("Split", [0, A], num_split=1, expect=A)
case("Split", [0, EMPTY], num_split=2, expect=(EMPTY, EMPTY), id="empty")
case("Split", [0, WORDS], num_split=2, expect=(WORDS[:2], WORDS[2:]), id="string", xla=False)
case("Split", [1, A], num_split=2, raises=BAD,
     match=r"evenly divide the split dimension, but got split_dim 1 \(size = 3\) and num_split 2")  # fmt: skip  # noqa: E501
case("Split", [2, A], num_split=2, raises=BAD,
     match=r"-input rank\(-2\) <= split_dim < input rank \(2\), but got 2")  # fmt: skip
case("SplitV", [A, i64(1, 2), 1], num_split=2, expect=(A[:, :1], A[:, 1:]))
case("SplitV", [A, i32(2, -1, 0), -1], num_split=3, expect=(A[:, :2], A[:, 2:], A[:, 3:]))
case("SplitV", [A, i32(2), 0], num_split=1, expect=A)
case(
    "SplitV", [A, i32(1, 1), 1], num_split=2, raises=BAD, match="Determined shape must either match"
)
case(
    "SplitV",
    [A, i32(4, -1), 1],
    num_split=2,
    raises=BAD,
    match="Determined shape must either match",
)
case("SplitV", [A, i32(-1, -1), 1], num_split=2, raises=BAD, match="only be one -1")

test_case = table_test()
