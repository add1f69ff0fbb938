"""Cases of the ops that make one tensor of a sparse one."""

from __future__ import annotations

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes, tensors
from tests.ops.harness import case, table_test

INDICES = np.array([[0, 1], [2, 0], [2, 2]])
VALUES = np.array([1, 2, 3], np.float32)
SHAPE = np.array([3, 4])
NO_INDICES, NO_VALUES = np.zeros([0, 1], np.int64), np.zeros(0, np.float32)


def packed(indices: np.ndarray, values: np.ndarray, shape: np.ndarray) -> list[bytes]:
    return [tensors.encode(part).SerializeToString() for part in (indices, values, shape)]


WHOLE = np.array(packed(INDICES, VALUES, SHAPE), object)
ROWS = np.array(
    [
        packed(INDICES[:1, 1:], VALUES[:1], SHAPE[1:]),
        packed(NO_INDICES, NO_VALUES, SHAPE[1:]),
        packed(INDICES[1:, 1:], VALUES[1:], SHAPE[1:]),
    ],
    object,
)
LONG = np.array(packed(np.array([[5]]), np.float32([9]), np.array([6])), object)
STRINGS = np.array(packed(np.array([[0]]), np.array([b"x"], object), np.array([2])), object)

case("SerializeSparse", [INDICES, VALUES, SHAPE], expect=WHOLE)
case("SerializeSparse", [np.array([[0]]), np.array([b"x"], object), np.array([2])], expect=STRINGS)
case(
    "SerializeSparse", [INDICES, VALUES[:2], SHAPE],
    raises=errors.InvalidArgumentError, match="Number of values must match first dimension",
    conformance=False,  # TensorFlow notices when somebody uses it
)  # fmt: skip
case(
    "SerializeSparse", [INDICES, VALUES, SHAPE[:1]],
    raises=errors.InvalidArgumentError, match="Number of dimensions must match second dimension",
    conformance=False,  # likewise
)  # fmt: skip

case("SerializeManySparse", [INDICES, VALUES, SHAPE], expect=ROWS)
case(
    "SerializeManySparse", [np.zeros([0, 2], np.int64), NO_VALUES, np.array([0, 4])],
    expect=np.zeros([0, 3], object),
)  # fmt: skip
case(
    "SerializeManySparse", [INDICES[:, :1], VALUES, SHAPE[:1]],
    raises=errors.InvalidArgumentError, match="Rank of input SparseTensor should be > 1",
)  # fmt: skip
case(
    "SerializeManySparse", [INDICES[::-1].copy(), VALUES, SHAPE],
    raises=errors.InvalidArgumentError, match="out of order",
)  # fmt: skip

case("DeserializeSparse", [WHOLE], dtype=dtypes.float32, expect=(INDICES, VALUES, SHAPE))
case("DeserializeSparse", [ROWS], dtype=dtypes.float32, expect=(INDICES, VALUES, SHAPE))
case(
    "DeserializeSparse", [np.stack([ROWS, ROWS])], dtype=dtypes.float32,
    expect=(
        np.concatenate([np.insert(INDICES, 0, i, axis=1) for i in range(2)]),
        np.concatenate([VALUES, VALUES]), np.array([2, 3, 4]),
    ),
)  # fmt: skip
case(
    "DeserializeSparse", [np.stack([ROWS[0], LONG])], dtype=dtypes.float32,
    expect=(np.array([[0, 1], [1, 5]]), np.float32([1, 9]), np.array([2, 6])),
)  # fmt: skip
case(
    "DeserializeSparse", [STRINGS], dtype=dtypes.string,
    expect=(np.array([[0]]), np.array([b"x"], object), np.array([2])),
)  # fmt: skip
case(
    "DeserializeSparse", [WHOLE], dtype=dtypes.int32,
    raises=errors.InvalidArgumentError, match="Requested SparseTensor of type int32 but",
)  # fmt: skip
case(
    "DeserializeSparse", [np.stack([WHOLE, LONG])], dtype=dtypes.float32,
    raises=errors.InvalidArgumentError, match=r"rank of SparseTensor\[1\] is: 1",
)  # fmt: skip
case(
    "DeserializeSparse", [np.concatenate([WHOLE, WHOLE])], dtype=dtypes.float32,
    raises=errors.InvalidArgumentError, match="3 as the last dimension",
)  # fmt: skip

case("DeserializeManySparse", [ROWS], dtype=dtypes.float32, expect=(INDICES, VALUES, SHAPE))
case(
    "DeserializeManySparse", [ROWS[:, :2].copy()], dtype=dtypes.float32,
    raises=errors.InvalidArgumentError, match="3 as the last dimension",
)  # fmt: skip

# SparseToDense
ORDERED, DIMS = np.array([[0, 1], [1, 0]]), np.array([2, 3])
ONE_TWO, NINE = np.array([1, 2], np.float32), np.float32(9)
BAD = errors.InvalidArgumentError
case("SparseToDense", [ORDERED, DIMS, ONE_TWO, NINE],
     expect=np.float32([[9, 1, 9], [2, 9, 9]]))  # fmt: skip
case("SparseToDense", [ORDERED, DIMS, np.float32(3), NINE], id="one-value",
     expect=np.float32([[9, 3, 9], [3, 9, 9]]))  # fmt: skip
case("SparseToDense", [np.int32([0, 2]), np.int32([4]), ONE_TWO, np.float32(0)], id="vector",
     expect=np.float32([1, 0, 2, 0]))  # fmt: skip
case("SparseToDense", [np.int64(2), np.int64([4]), np.float32(1), np.float32(0)], id="scalar",
     expect=np.float32([0, 0, 1, 0]))  # fmt: skip
case("SparseToDense", [np.zeros([0, 2], np.int64), DIMS, np.zeros(0, np.int64), np.int64(7)],
     id="no-values", expect=np.full([2, 3], 7))  # fmt: skip
case("SparseToDense", [ORDERED, DIMS, np.array([b"a", b"b"], object), np.array(b"", object)],
     id="strings", xla=False,
     expect=np.array([[b"", b"a", b""], [b"b", b"", b""]], object))  # fmt: skip
case("SparseToDense", [ORDERED, DIMS, np.array([True, True]), np.array(False)], id="bool",
     expect=np.array([[False, True, False], [True, False, False]]))  # fmt: skip
case("SparseToDense", [np.array([2, 0]), np.array([4]), ONE_TWO, np.float32(0)],
     validate_indices=False, id="any-order", expect=np.float32([2, 0, 1, 0]))  # fmt: skip
case("SparseToDense", [np.array([0, 0]), np.array([2]), ONE_TWO, np.float32(0)],
     validate_indices=False, id="repeated", expect=np.float32([2, 0]))  # fmt: skip
for _indices, _dims, _text in (
    ([[1, 0], [0, 1]], [2, 3], r"indices\[1\] = \[0,1\] is out of order"),
    ([[0, 1], [0, 1]], [2, 3], r"indices\[1\] = \[0,1\] is repeated"),
    (
        [[0, 3], [1, 0]],
        [2, 3],
        r"indices\[0\] = \[0,3\] is out of bounds: need 0 <= index < \[2,3\]",
    ),
    ([[0, 1], [0, -1]], [2, 3], r"indices\[1\] = \[0,-1\] is out of bounds"),
    ([[[0]], [[1]]], [2], r"should be a scalar, vector, or matrix, got shape \[2,1,1\]"),
    ([[0, 1], [1, 0]], [[2, 3]], r"output_shape must be rank 1, got shape \[1,2\]"),
    ([[0, 1], [1, 0]], [2], "output_shape has incorrect number of elements: 1 should be: 2"),
    ([0, 1], [-2], "Dimension -2 must be >= 0"),
    ([0, 1, 2], [4], r"sparse_values has incorrect shape \[2\], should be \[\] or \[3\]"),
):
    case("SparseToDense", [np.array(_indices), np.array(_dims), ONE_TWO, NINE], raises=BAD,
         match=_text)  # fmt: skip
case("SparseToDense", [ORDERED, DIMS, ONE_TWO, NINE[None]], raises=BAD,
     match="default_value should be a scalar")  # fmt: skip
case("SparseToDense", [ORDERED + 2, DIMS, ONE_TWO, NINE], validate_indices=False, raises=BAD,
     match=r"Indices are not valid \(out of bounds\).  Shape: \[2,3\]")  # fmt: skip

test_case = table_test()
