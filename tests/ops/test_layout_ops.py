"""Repeating, padding, reversing, diagonals and blocks."""

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
BF16 = dtypes.bfloat16.as_numpy_dtype
A = np.arange(6, dtype=np.float32).reshape(2, 3)
CUBE = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
V = np.arange(1, 6, dtype=np.float32)
EMPTY = np.zeros((0, 3), np.float32)
WORDS = np.array([b"a", b"", b"\x00\xff", b"dd"], object)


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


def f32(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


# Repeating, padding, reversing
case("Tile", [A, i32(2, 1)], expect=np.tile(A, (2, 1)))
case("Tile", [CUBE, np.array([1, 2, 3], np.int64)], expect=np.tile(CUBE, (1, 2, 3)))
case("Tile", [A, i32(0, 1)], expect=EMPTY, id="zero times")
case("Tile", [EMPTY, i32(2, 2)], expect=np.zeros((0, 6), np.float32), id="empty")
case("Tile", [np.float32(1), i32()], expect=np.float32(1), id="scalar")
case("Tile", [WORDS, i32(2)], expect=np.tile(WORDS, 2), id="string", xla=False)
case(
    "Tile",
    [A, i32(2)],
    raises=BAD,
    match="Expected multiples argument to be a vector of length 2 but got length 1",
)
case("Tile", [A, i32(2, -1)], raises=BAD, match=r"Expected multiples\[1\] >= 0, but got -1")
PAIRS = i32([1, 0], [0, 2])
for _dtype in (bool, np.int8, np.int64, np.float16, BF16, np.float64, np.complex64):
    case(
        "Pad",
        [A.astype(_dtype), PAIRS],
        expect=np.pad(A.astype(_dtype), PAIRS),
        id=np.dtype(_dtype).name,
    )
case("Pad", [A, PAIRS.astype(np.int64)], expect=np.pad(A, PAIRS))
case("Pad", [A, i32([0, 0], [0, 0])], expect=A, id="nothing")
case("Pad", [EMPTY, PAIRS], expect=np.zeros((1, 5), np.float32), id="empty")
case("Pad", [np.float32(1), np.zeros((0, 2), np.int32)], expect=np.float32(1), id="scalar")
case("Pad", [WORDS, i32([1, 0])], expect=np.array([b"", *WORDS], object), id="string", xla=False)
case(
    "Pad",
    [A, i32([1, 1])],
    raises=BAD,
    match=r"The first dimension of paddings must be the rank of inputs ?\[1,2\],? \[2,3\]",
)
case("Pad", [A, i32([0, 0], [-1, 0])], raises=BAD, match="Paddings must be non-negative: -1 0")
case("PadV2", [A, PAIRS, 7.0], expect=np.pad(A, PAIRS, constant_values=7))
case(
    "PadV2",
    [A[0].astype(np.int64), i32([2, 0]), np.int64(-1)],
    expect=np.array([-1, -1, 0, 1, 2], np.int64),
)
case(
    "PadV2",
    [WORDS, i32([1, 0]), np.array(b"x", object)],
    expect=np.array([b"x", *WORDS], object),
    id="string",
    xla=False,
)
case("PadV2", [A, PAIRS, A[0]], raises=BAD, match="must be a scalar")
for _mode, _pairs in (("REFLECT", i32([1, 1], [2, 0])), ("SYMMETRIC", i32([2, 1], [0, 3]))):
    case(
        "MirrorPad", [A, _pairs], mode=_mode, expect=np.pad(A, _pairs, mode=_mode.lower()), id=_mode
    )
    case("MirrorPad", [A, i32([0, 0], [0, 0])], mode=_mode, expect=A, id=f"{_mode} nothing")
    # The gradient adds what each place of the padding mirrored: a product with the matrix of pad.
    _grad = np.arange(np.pad(A, _pairs).size, dtype=np.float32)
    _matrix = np.stack(
        [
            np.pad(e.reshape(2, 3), _pairs, mode=_mode.lower()).ravel()
            for e in np.eye(6, dtype=np.float32)
        ]
    )
    case(
        "MirrorPadGrad",
        [_grad.reshape(np.pad(A, _pairs).shape), _pairs],
        mode=_mode,
        expect=(_matrix @ _grad).reshape(2, 3),
        id=_mode,
    )
case(
    "MirrorPad",
    [A, i32([2, 0], [0, 0])],
    mode="REFLECT",
    raises=BAD,
    match="paddings must be less than the dimension size: 2, 0 not less than 2",
)
case(
    "MirrorPad",
    [A, i32([0, 3], [0, 0])],
    mode="SYMMETRIC",
    raises=BAD,
    match="paddings must be no greater than the dimension size: 0, 3 greater than 2",
)
# TensorFlow's text differs between versions.
case(
    "MirrorPadGrad",
    [A, i32([1, 1], [0, 0])],
    mode="SYMMETRIC",
    raises=BAD,
    match="",
    conformance=False,
)
case("ReverseV2", [CUBE, i32(0, -1)], expect=CUBE[::-1, :, ::-1])
case("ReverseV2", [CUBE, np.array([1], np.int64)], expect=CUBE[:, ::-1])
case("ReverseV2", [A, i32()], expect=A, id="no axis")
case("ReverseV2", [np.float32(1), i32()], expect=np.float32(1), id="scalar")
case("ReverseV2", [WORDS, i32(0)], expect=WORDS[::-1], id="string", xla=False)
case("ReverseV2", [A, i32(2)], raises=BAD, match=r"'axis'\[0\] = 2 is out of valid range \[0, 1")
case("ReverseV2", [A, i32(1, -1)], raises=BAD, match="axis 1 specified more than once")
case(
    "ReverseSequence", [A, np.array([2, 0], np.int64)], seq_dim=1, expect=f32([1, 0, 2], [3, 4, 5])
)
case("ReverseSequence", [A, i32(2, 1, 2)], seq_dim=0, batch_dim=1, expect=f32([3, 1, 5], [0, 4, 2]))
case(
    "ReverseSequence",
    [CUBE, i32(3, 2)],
    seq_dim=1,
    expect=np.stack([CUBE[0, ::-1], CUBE[1, [1, 0, 2]]]),
)
case("ReverseSequence", [CUBE, i32(4, 2, 0)], seq_dim=2, batch_dim=1,
     expect=np.stack([CUBE[:, 0, ::-1], CUBE[:, 1, [1, 0, 2, 3]], CUBE[:, 2]], 1))  # fmt: skip
case(
    "ReverseSequence",
    [A, i32(4, 0)],
    seq_dim=1,
    raises=BAD,
    match=r"seq_lens\(0\) > input.dims\(1\)",
)
case("ReverseSequence", [A, i32(1, -1)], seq_dim=1, raises=BAD, match=r"seq_lens\(1\) < 0")
case("ReverseSequence", [A, i32(1)], seq_dim=1, raises=BAD, match=r"\(1 vs. 2\)")
case("Roll", [V, 2, 0], expect=np.roll(V, 2))
case("Roll", [A, i32(1, -1), i32(0, 1)], expect=np.roll(A, (1, -1), (0, 1)))
case("Roll", [CUBE, np.int64(-5), -1], expect=np.roll(CUBE, -5, -1))
case("Roll", [EMPTY, 1, 1], expect=EMPTY, id="empty")
case("Roll", [WORDS, 1, 0], expect=np.roll(WORDS, 1), id="string", xla=False)
case("Roll", [A, i32(1), i32(0, 1)], raises=BAD, match="shift and axis must have the same size")

# Diagonals
case("Diag", [V], expect=np.diag(V))
case("Diag", [A], expect=np.diag(A.ravel()).reshape(2, 3, 2, 3))
case("Diag", [EMPTY[:, 0]], expect=np.zeros((0, 0), np.float32), id="empty")
case("Diag", [V.astype(np.complex64)], expect=np.diag(V.astype(np.complex64)))
case("Diag", [np.float32(1)], raises=BAD, match="at least rank 1")
SQUARE = np.arange(16, dtype=np.float32).reshape(4, 4)
case("DiagPart", [SQUARE], expect=np.diag(SQUARE))
case("DiagPart", [np.arange(16, dtype=np.int32).reshape(2, 2, 2, 2)], expect=i32([0, 5], [10, 15]))
case("DiagPart", [A], raises=BAD, match="do not match")
case("DiagPart", [CUBE], raises=BAD, match=r"should be\s+even and positive")
BATCH = np.stack([SQUARE, SQUARE + 100])
case("MatrixDiag", [A], expect=np.stack([np.diag(A[0]), np.diag(A[1])]))
case("MatrixDiag", [f32(np.inf, np.nan)], expect=np.diag(f32(np.inf, np.nan)))
case("MatrixDiag", [np.array([True])], expect=np.array([[True]]))
case("MatrixDiag", [np.float32(1)], raises=BAD, match="must be at least 1-dim")
case("MatrixDiagPart", [BATCH], expect=np.diagonal(BATCH, axis1=1, axis2=2).copy())
case("MatrixDiagPart", [CUBE], expect=np.diagonal(CUBE, axis1=1, axis2=2).copy())
case("MatrixDiagPart", [V], raises=BAD, match="must be at least 2-dim")


def with_diagonal(x: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    x, n = x.copy(), diagonal.shape[-1]
    x[..., range(n), range(n)] = diagonal
    return x


case("MatrixSetDiag", [SQUARE, -V[:4]], expect=with_diagonal(SQUARE, -V[:4]))
case("MatrixSetDiag", [CUBE, -CUBE[:, 0, :3]], expect=with_diagonal(CUBE, -CUBE[:, 0, :3]))
case(
    "MatrixSetDiag",
    [CUBE.swapaxes(1, 2).copy(), -CUBE[:, 0, :3]],
    expect=with_diagonal(CUBE.swapaxes(1, 2), -CUBE[:, 0, :3]),
)
case("MatrixSetDiag", [EMPTY, EMPTY[:, 0]], expect=EMPTY, id="empty")
case("MatrixSetDiag", [SQUARE, V[:3]], raises=BAD, match="Either first dimensions of diagonal")
case("MatrixBandPart", [BATCH, 1, 0], expect=np.tril(np.triu(BATCH, -1), 0))
case("MatrixBandPart", [CUBE, np.int64(-1), np.int64(1)], expect=np.tril(CUBE, 1))
case("MatrixBandPart", [CUBE, 0, -1], expect=np.triu(CUBE))
case("MatrixBandPart", [CUBE, -1, -1], expect=CUBE)
case("MatrixBandPart", [EMPTY, 0, 0], expect=EMPTY, id="empty")
case(
    "MatrixBandPart",
    [SQUARE, 5, 0],
    raises=BAD,
    match=r"num_lower must be negative or less or equal to number of rows \(4\) got: 5",
)
case("MatrixBandPart", [V, 0, 0], raises=BAD, match="input must be at least 2-dim")

M = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
case("MatrixDiagPartV3", [M, 0, 0.0], expect=f32(1, 6, 11))
case("MatrixDiagPartV3", [M, 1, 0.0], expect=f32(2, 7, 12))
case("MatrixDiagPartV3", [M, i32(-2, -1), 9.0], expect=f32([5, 10], [9, 9]))
case("MatrixDiagPartV3", [M, i32(-1, 2), 0.0],
     expect=f32([0, 3, 8], [2, 7, 12], [1, 6, 11], [5, 10, 0]))  # fmt: skip
case("MatrixDiagPartV3", [M, i32(-1, 2), -1.0], align="LEFT_RIGHT",
     expect=f32([3, 8, -1], [2, 7, 12], [1, 6, 11], [-1, 5, 10]))  # fmt: skip
case("MatrixDiagPartV3", [M, i32(-1, 2), 0.0], align="LEFT_LEFT",
     expect=f32([3, 8, 0], [2, 7, 12], [1, 6, 11], [5, 10, 0]))  # fmt: skip
case("MatrixDiagPartV3", [M, i32(-1, 2), 0.0], align="RIGHT_RIGHT",
     expect=f32([0, 3, 8], [2, 7, 12], [1, 6, 11], [0, 5, 10]))  # fmt: skip
case("MatrixDiagPartV3", [M, 5, 0.0], raises=BAD, match="is out of bound")
case("MatrixDiagV3", [V[:3], 0, -1, -1, 0.0], expect=np.diag(V[:3]))
case(
    "MatrixDiagV3",
    [V[:3], 1, -1, -1, 9.0],
    expect=np.where(np.eye(4, k=1) > 0, np.diag(V[:3], 1), 9).astype(np.float32),
)
case("MatrixDiagV3", [f32([0, 3, 8], [2, 7, 12], [1, 6, 11], [5, 10, 0]), i32(-1, 2), 3, 4, 0.0],
     expect=f32([1, 2, 3, 0], [5, 6, 7, 8], [0, 10, 11, 12]))  # fmt: skip
case("MatrixDiagV3", [f32([3, 8, 0], [2, 7, 12], [1, 6, 11], [5, 10, 0]), i32(-1, 2), 3, 4, 0.0], align="LEFT_LEFT",  # noqa: E501
     expect=f32([1, 2, 3, 0], [5, 6, 7, 8], [0, 10, 11, 12]))  # fmt: skip
case("MatrixDiagV3", [V[:3], 0, 2, 3, 0.0], raises=BAD, match="The number of rows is too small")
case("MatrixSetDiagV3", [M, f32(-1, -2, -3), 0], expect=with_diagonal(M, f32(-1, -2, -3)))
case("MatrixSetDiagV3", [M, f32([0, -1, -2], [-4, -5, -6]), i32(1, 2)],
     expect=f32([1, -4, -1, 4], [5, 6, -5, -2], [9, 10, 11, -6]))  # fmt: skip
case("MatrixSetDiagV3", [M, f32([-1, -2, 0], [-4, -5, -6]), i32(1, 2)], align="LEFT_LEFT",
     expect=f32([1, -4, -1, 4], [5, 6, -5, -2], [9, 10, 11, -6]))  # fmt: skip
case(
    "MatrixSetDiagV3",
    [M, f32(1, 2), 0],
    raises=BAD,
    match="Either first dimensions of diagonal don't match",
)

# Blocks
IMAGE = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
DEEP = IMAGE.reshape(2, 2, 2, 3, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 2, 3, 12)
for _op, _x, _want in (("SpaceToDepth", IMAGE, DEEP), ("DepthToSpace", DEEP, IMAGE)):
    case(_op, [_x], block_size=2, expect=_want)
    # TensorFlow has NCHW on GPU only.
    case(
        _op,
        [_x.transpose(0, 3, 1, 2).copy()],
        block_size=2,
        data_format="NCHW",
        expect=_want.transpose(0, 3, 1, 2),
        id="NCHW",
        conformance=False,
    )
    case(_op, [_x[:0]], block_size=2, expect=_want[:0], id="empty")
case("SpaceToDepth", [IMAGE.astype(np.uint8)], block_size=2, expect=DEEP.astype(np.uint8))
case(
    "SpaceToDepth",
    [IMAGE[:, :3]],
    block_size=2,
    raises=BAD,
    match="should be divisible by block_size: 2",
)
case(
    "DepthToSpace",
    [IMAGE],
    block_size=2,
    raises=BAD,
    match="Input depth dimension 3 should be divisible by: 4",
)
S = np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1)
BLOCKED = S.reshape(2, 2, 2, 2).transpose(1, 3, 0, 2).reshape(4, 2, 2, 1)
NONE = np.zeros((2, 2), np.int32)
case("SpaceToBatchND", [S, i32(2, 2), NONE], expect=BLOCKED)
case(
    "SpaceToBatchND",
    [V[None, :, None], np.array([3], np.int64), i32([0, 1])],
    expect=f32([1, 4], [2, 5], [3, 0])[..., None],
)
case("SpaceToBatchND", [V[None, :], i32(2), i32([1, 0])], expect=f32([0, 2, 4], [1, 3, 5]))
case("SpaceToBatchND", [S[:0], i32(2, 2), NONE], expect=BLOCKED[:0], id="empty")
case(
    "SpaceToBatchND",
    [S, i32(3, 2), NONE],
    raises=BAD,
    match=r"padded_shape\[0\]=4 is not divisible by block_shape\[0\]=3",
)
case("BatchToSpaceND", [BLOCKED, i32(2, 2), NONE], expect=S)
case(
    "BatchToSpaceND",
    [f32([1, 4], [2, 5], [3, 0])[..., None], i32(3), np.array([[0, 1]], np.int64)],
    expect=V[None, :, None],
)
case("BatchToSpaceND", [f32([0, 2, 4], [1, 3, 5]), i32(2), i32([1, 0])], expect=V[None])
case("BatchToSpaceND", [BLOCKED[:0], i32(2, 2), NONE], expect=S[:0], id="empty")
case(
    "BatchToSpaceND",
    [BLOCKED[:3], i32(2, 2), NONE],
    raises=BAD,
    match=r"Input batch dimension \(3\) is not divisible by product of block sizes \(4\)",
)

test_case = table_test()
