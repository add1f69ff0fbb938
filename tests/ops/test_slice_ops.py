"""Slicing, gathering, scattering, and selecting by data."""

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
BF16 = dtypes.bfloat16.as_numpy_dtype
NAN = np.nan
A = np.arange(12, dtype=np.float32).reshape(3, 4)
CUBE = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
V = np.arange(5, dtype=np.float32)
EMPTY = np.zeros((0, 3), np.float32)
WORDS = np.array([b"a", b"", b"\x00\xff", b"dd"], object)


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def scalar(value: object) -> np.ndarray:
    """A string scalar."""
    result = np.empty((), object)
    result[()] = value
    return result


# Slices: every case of StridedSlice is one of its gradient, too.
def sliced(
    x: np.ndarray, index: object, begin: list, end: list, strides: list, **masks: int
) -> None:
    vectors = [np.array(v, np.int32) for v in (begin, end, strides)]
    selected = x[index]
    name = f"{x.shape}{index}"
    case("StridedSlice", [x, *vectors], expect=selected, id=name, **masks)
    gradient = np.zeros_like(x)
    gradient[index] = selected + 1
    case(
        "StridedSliceGrad",
        [i32(*x.shape), *vectors, selected + 1],
        expect=gradient,
        id=name,
        **masks,
    )


ALL = slice(None)
sliced(V, slice(1, 3), [1], [3], [1])
sliced(V, slice(None, None, 2), [9], [9], [2], begin_mask=1, end_mask=1)
sliced(V, slice(None, None, -1), [0], [0], [-1], begin_mask=1, end_mask=1)
sliced(V, slice(3, 0, -2), [3], [0], [-2])
sliced(V, slice(-3, -1), [-3], [-1], [1])
sliced(V, slice(-9, 9), [-9], [9], [1])
sliced(V, slice(3, 1), [3], [1], [1])
sliced(V, slice(1, 3, -1), [1], [3], [-1])
sliced(A, (1, ALL), [1], [2], [1], shrink_axis_mask=1)
sliced(A, (-1, slice(0, 2)), [-1, 0], [0, 2], [1, 1], shrink_axis_mask=1)
sliced(A, (ALL, 2), [0, 2], [0, 3], [1, 1], begin_mask=1, end_mask=1, shrink_axis_mask=2)
sliced(A, (1, 2, Ellipsis), [1, 2], [2, 3], [1, 1], shrink_axis_mask=3)
sliced(CUBE, (Ellipsis, 1), [0, 1], [0, 2], [1, 1], ellipsis_mask=1, shrink_axis_mask=2)
sliced(
    CUBE,
    (0, Ellipsis, slice(1, 3)),
    [0, 0, 1],
    [1, 0, 3],
    [1, 1, 1],
    ellipsis_mask=2,
    shrink_axis_mask=1,
)
sliced(
    CUBE,
    (None, ALL, None, 1),
    [0, 0, 0, 1],
    [0, 0, 0, 2],
    [1, 1, 1, 1],
    begin_mask=2,
    end_mask=2,
    new_axis_mask=5,
    shrink_axis_mask=8,
)
sliced(CUBE, (Ellipsis, None), [0, 0], [0, 0], [1, 1], ellipsis_mask=1, new_axis_mask=2)
sliced(
    CUBE,
    (slice(None, None, -1), ALL, slice(None, None, 3)),
    [0, 0, 0],
    [0, 0, 0],
    [-1, 1, 3],
    begin_mask=7,
    end_mask=7,
)
sliced(CUBE, (slice(1, 2), slice(2, None, -2)), [1, 2], [2, 0], [1, -2], end_mask=2)
sliced(EMPTY, (ALL, 1), [0, 1], [0, 2], [1, 1], begin_mask=1, end_mask=1, shrink_axis_mask=2)
sliced(np.float32(3)[...], (Ellipsis,), [], [], [])
sliced(np.float32(3)[...], (None,), [0], [0], [1], new_axis_mask=1)
for _dtype in (bool, np.int8, np.int64, np.float16, BF16, np.complex64):
    _x = V.astype(_dtype)
    case("StridedSlice", [_x, i64(1), i64(4), i64(2)], expect=_x[1:4:2], id=np.dtype(_dtype).name)
case(
    "StridedSlice",
    [WORDS, i32(1), i32(2), i32(1)],
    shrink_axis_mask=1,
    expect=scalar(b""),
    id="string",
    xla=False,
)
case("StridedSlice", [V, i32(5), i32(6), i32(1)], shrink_axis_mask=1, raises=BAD,
     match="slice index 5 of dimension 0 out of bounds.")  # fmt: skip
case(
    "StridedSlice", [V, i32(0), i32(1), i32(0)], raises=BAD, match=r"strides\[0\] must be non-zero"
)
case("StridedSlice", [V, i32(0), i32(1), i32(-1)], shrink_axis_mask=1, raises=BAD,
     match="only stride 1 allowed on non-range indexing.")  # fmt: skip
case(
    "StridedSlice",
    [V, i32(0, 0), i32(1, 1), i32(1, 1)],
    raises=BAD,
    match="Index out of range using input dim 1; input has only 1 dims",
)
case("StridedSlice", [CUBE, i32(0, 0), i32(1, 1), i32(1, 1)], ellipsis_mask=3, raises=BAD,
     match="Multiple ellipses in slice spec not allowed")  # fmt: skip
case("StridedSliceGrad", [i32(5), i32(1), i32(3), i32(1), V], raises=BAD,
     match=r"shape of dy was \[5\] instead of \[2\]")  # fmt: skip

case("Slice", [A, i32(1, 0), i32(2, 3)], expect=A[1:, :3])
case("Slice", [A, i64(1, 1), i64(-1, -1)], expect=A[1:, 1:])
case("Slice", [np.float32(2), i32(), i32()], expect=np.float32(2), id="scalar")
case("Slice", [A, i32(3, 0), i32(0, 4)], expect=A[3:], id="empty")
case("Slice", [WORDS, i32(1), i32(2)], expect=WORDS[1:3], id="string", xla=False)
case(
    "Slice",
    [A, i32(0, 0), i32(4, 1)],
    raises=BAD,
    match=r"Expected size\[0\] in \[0, 3\], but got 4",
)
case(
    "Slice",
    [A, i32(0, 5), i32(1, 1)],
    raises=BAD,
    match=r"Expected begin\[1\] in \[0, 4\], but got 5",
)
case(
    "Slice",
    [A, i32(0), i32(1)],
    raises=BAD,
    match="Expected begin and size arguments to be 1-D tensors of size 2",
)

# Gathering
for _op, _axis in (("Gather", ()), ("GatherV2", (0,))):
    case(_op, [A, i32(2, 0, 2), *_axis], expect=A[[2, 0, 2]])
    case(_op, [A, np.array([[0, 1], [1, 2]], np.int64), *_axis], expect=A[[[0, 1], [1, 2]]])
    case(_op, [A, np.int32(1), *_axis], expect=A[1], id="scalar")
    case(_op, [A, i32(), *_axis], expect=A[:0], id="empty")
    case(_op, [EMPTY, i32(), *_axis], expect=EMPTY, id="from empty")
    case(_op, [EMPTY.T, i32(1, 1), *_axis], expect=EMPTY.T[:2], id="empty slices")
    case(_op, [WORDS, i32(3, 0), *_axis], expect=WORDS[[3, 0]], id="string", xla=False)
    case(_op, [WORDS, np.int32(3), *_axis], expect=scalar(b"dd"), id="string scalar", xla=False)
    case(_op, [A, i32(0, 5), *_axis], raises=BAD, match=r"indices\[1\] = 5 is not in \[0, 3\)")
    case(_op, [A, np.array([[0, 1], [-1, 0]], np.int32), *_axis], raises=BAD,
         match=r"indices\[1,0\] = -1 is not in \[0, 3\)")  # fmt: skip
    case(
        _op,
        [EMPTY, i32(0), *_axis],
        raises=BAD,
        match=r"indices\[0\] = 0 is not in \[0, 0\)",
        id="none there",
    )
case("GatherV2", [CUBE, i32(2, 0), 1], expect=CUBE[:, [2, 0]])
case("GatherV2", [CUBE, np.array([[3, 0]], np.int32), -1], expect=CUBE[..., [[3, 0]]])
INDEX = np.array([[2, 0], [1, 1]], np.int32)
case(
    "GatherV2", [CUBE, INDEX, 1], batch_dims=1, expect=np.stack([CUBE[b][INDEX[b]] for b in (0, 1)])
)
case(
    "GatherV2",
    [CUBE, INDEX, 2],
    batch_dims=1,
    expect=np.stack([CUBE[b][:, INDEX[b]] for b in (0, 1)]),
)
case("GatherV2", [CUBE, INDEX[:, 0], 1], batch_dims=1, expect=CUBE[[0, 1], INDEX[:, 0]])
case(
    "GatherV2",
    [CUBE, INDEX, 1],
    batch_dims=-1,
    expect=np.stack([CUBE[b][INDEX[b]] for b in (0, 1)]),
)
case("GatherV2", [CUBE, np.ones((2, 3), np.int32), 2], batch_dims=2, expect=CUBE[..., 1])
case("GatherV2", [CUBE, i32(0), 3], raises=BAD, match="Shape must be at least rank 4 but is rank 3")

case("GatherNd", [A, np.array([[0, 1], [2, 3]], np.int32)], expect=A[[0, 2], [1, 3]])
case("GatherNd", [A, np.array([[2], [0]], np.int64)], expect=A[[2, 0]])
case(
    "GatherNd",
    [CUBE, np.array([[[0, 1]], [[1, 2]]], np.int32)],
    expect=CUBE[[[0], [1]], [[1], [2]]],
)
case("GatherNd", [A, i32(1, 2)], expect=A[1, 2], id="one")
case("GatherNd", [A, np.zeros((2, 0), np.int32)], expect=np.stack([A, A]), id="no index")
case("GatherNd", [A, np.zeros((0, 2), np.int32)], expect=f32(), id="empty")
case(
    "GatherNd",
    [WORDS, np.array([[1], [3]], np.int32)],
    expect=WORDS[[1, 3]],
    id="string",
    xla=False,
)
case("GatherNd", [WORDS, i32(3)], expect=scalar(b"dd"), id="string scalar", xla=False)
case("GatherNd", [A, np.array([[0, 1], [0, 4]], np.int32)], raises=BAD,
     match=r"indices\[1\] = \[0, 4\] does not index into param shape \[3,4\]")  # fmt: skip
case(
    "GatherNd",
    [A, i32(0, 0, 0)],
    raises=BAD,
    match="index innermost dimension length must be <= params rank; saw: 3 vs. 2",
)
case("GatherNd", [A, np.array([[5], [-1], [1]], np.int32)], bad_indices_policy="IGNORE",
     expect=np.stack([A[0] * 0, A[0] * 0, A[1]]))  # fmt: skip

# Scattering
ROWS = np.array([[1], [3], [1]], np.int32)
case("ScatterNd", [ROWS, f32(1, 2, 3), i32(4)], expect=f32(0, 4, 0, 2))
case(
    "ScatterNd",
    [ROWS.astype(np.int64), A, i64(4, 4)],
    expect=np.stack([A[0] * 0, A[0] + A[2], A[0] * 0, A[1]]),
)
case(
    "ScatterNd",
    [np.array([[0, 1], [1, 0]], np.int32), i32(5, 6), i32(2, 2)],
    expect=np.array([[0, 5], [6, 0]], np.int32),
)
case("ScatterNd", [np.zeros((0, 1), np.int32), f32(), i32(2)], expect=f32(0, 0), id="empty")
case(
    "ScatterNd",
    [np.array([[1]], np.int32), np.array([b"x"], object), i32(2)],
    expect=np.array([b"", b"x"], object),
    id="string",
    xla=False,
)
case(
    "ScatterNd",
    [np.array([[1], [1]], np.int32), np.array([True, True]), i32(2)],
    expect=np.array([False, True]),
    id="bool",
)
case(
    "ScatterNd",
    [np.array([[7]], np.int32), f32(1), i32(3)],
    raises=BAD,
    match=r"indices\[0\] = \[7\] does not index into shape \[3\]",
)
case(
    "ScatterNd",
    [np.array([[1], [7], [-1]], np.int32), f32(1, 2, 3), i32(3)],
    bad_indices_policy="IGNORE",
    expect=f32(0, 1, 0),
)
case("ScatterNd", [ROWS, f32(1, 2), i32(4)], raises=BAD, match="must match|Dimensions")
TARGET = f32(10, 20, 30, 40)
PLACES = np.array([[3], [0]], np.int32)
for _op, _want in (("Update", (35, 20, 30, 5)), ("Add", (45, 20, 30, 45)), ("Sub", (-25, 20, 30, 35)),  # noqa: E501
                   ("Min", (10, 20, 30, 5)), ("Max", (35, 20, 30, 40))):  # fmt: skip
    _op = f"TensorScatter{_op}"
    case(_op, [TARGET, PLACES, f32(5, 35)], expect=f32(*_want))
    case(_op, [TARGET.astype(np.int64), PLACES.astype(np.int64), i64(5, 35)], expect=i64(*_want))
    case(_op, [TARGET, np.zeros((0, 1), np.int32), f32()], expect=TARGET, id="empty")
    case(
        _op,
        [TARGET, np.array([[4]], np.int32), f32(1)],
        raises=BAD,
        match=r"indices\[0\] = \[4\] does not index into shape \[4\]",
    )
case(
    "TensorScatterUpdate",
    [A, np.array([[1, 2]], np.int32), f32(-1)],
    expect=np.where(A == 6, -1, A).astype(np.float32),
)
case(
    "TensorScatterAdd",
    [A, np.array([[1], [1]], np.int32), A[:2]],
    expect=A + np.array([[0], [1], [0]], np.float32) * (A[0] + A[1]),
)
case("TensorScatterUpdate", [WORDS, np.array([[0]], np.int32), np.array([b"z"], object)],
     expect=np.array([b"z", *WORDS[1:]], object), id="string", xla=False)  # fmt: skip

# Partitions
case("DynamicPartition", [A, i32(1, 0, 1)], num_partitions=3, expect=(A[1:2], A[::2], A[:0]))
case("DynamicPartition", [i32(4, 5), i32(0, 0)], num_partitions=1, expect=i32(4, 5))
case("DynamicPartition", [CUBE, np.array([[0, 1, 0], [1, 1, 0]], np.int32)], num_partitions=2,
     expect=(CUBE[[0, 0, 1], [0, 2, 2]], CUBE[[0, 1, 1], [1, 0, 1]]))  # fmt: skip
case(
    "DynamicPartition",
    [np.float32(2), np.int32(1)],
    num_partitions=2,
    expect=(f32(), f32(2)),
    id="scalar",
)
case(
    "DynamicPartition",
    [WORDS, i32(0, 1, 1, 0)],
    num_partitions=2,
    expect=(WORDS[[0, 3]], WORDS[1:3]),
    id="string",
)
case("DynamicPartition", [EMPTY, i32()], num_partitions=2, expect=(EMPTY, EMPTY), id="empty")
case(
    "DynamicPartition",
    [A, i32(0, 3, 1)],
    num_partitions=3,
    raises=BAD,
    match=r"partitions\[1\] = 3 is not in \[0, 3\)",
)
case(
    "DynamicPartition",
    [A, i32(0, 1)],
    num_partitions=3,
    raises=BAD,
    match="data.shape must start with partitions.shape",
)
for _op in ("DynamicStitch", "ParallelDynamicStitch"):
    case(_op, [(i32(0, 2), i32(1)), (f32(1, 3), f32(2))], expect=f32(1, 2, 3))
    case(
        _op, [(np.int32(1), np.array([[0, 2]], np.int32)), (A[0], A[None, 1:])], expect=A[[1, 0, 2]]
    )
    case(_op, [(i32(), i32(0)), (A[:0], A[:1])], expect=A[:1], id="empty")
    case(_op, [(i32(),), (A[:0],)], expect=A[:0], id="nothing")
    case(_op, [(i32(1, 0), i32(3, 2)), (WORDS[1::-1], WORDS[:1:-1])], expect=WORDS, id="string")
    case(
        _op,
        [(i32(0, 1),), (f32(1),)],
        raises=BAD,
        match=r"data\[0\].shape = \[1\] does not start with indices\[0\].shape = \[2\]",
    )
case(
    "DynamicStitch",
    [(i32(0, 1), i32(1)), (i64(1, 2), i64(3))],
    expect=i64(1, 3),
    id="the last one counts",
)

# Selecting by data
case(
    "Where",
    [np.array([[True, False], [True, True]])],
    expect=np.array([[0, 0], [1, 0], [1, 1]], np.int64),
)
case("Where", [f32(0, -1, NAN)], expect=np.array([[1], [2]], np.int64))
case("Where", [np.array([0, 2], BF16)], expect=np.array([[1]], np.int64))
case("Where", [np.array([False, False])], expect=np.zeros((0, 1), np.int64), id="none")
case("Where", [np.zeros((0, 3), bool)], expect=np.zeros((0, 2), np.int64), id="empty")
case("Where", [np.array(True)], raises=BAD, match="Unhandled input dimensions: 0", id="scalar")
for _op in ("Unique", "UniqueWithCounts"):
    _cut = slice(2) if _op == "Unique" else slice(3)
    case(_op, [i32(3, 1, 3, 2, 1)], expect=(i32(3, 1, 2), i32(0, 1, 0, 2, 1), i32(2, 2, 1))[_cut])
    case(_op, [f32(2, 2)], out_idx=dtypes.int64, expect=(f32(2), i64(0, 0), i64(2))[_cut])
    case(_op, [i32()], expect=(i32(), i32(), i32())[_cut], id="empty")
    case(_op, [np.array([b"b", b"a", b"b"], object)], id="string",
         expect=(np.array([b"b", b"a"], object), i32(0, 1, 0), i32(2, 1))[_cut])  # fmt: skip
    case(_op, [CUBE], raises=BAD, match="unique expects a 1D vector")
case("ListDiff", [i32(1, 2, 3, 4, 2), i32(2, 4)], expect=(i32(1, 3), i32(0, 2)))
case("ListDiff", [f32(1, 2), f32()], out_idx=dtypes.int64, expect=(f32(1, 2), i64(0, 1)))
case("ListDiff", [WORDS, WORDS[1:]], expect=(WORDS[:1], i32(0)), id="string")
case("ListDiff", [i32(), i32(1)], expect=(i32(), i32()), id="empty")
case("ListDiff", [CUBE, i32(1)], raises=BAD, match="x should be a 1D vector")

test_case = table_test()
