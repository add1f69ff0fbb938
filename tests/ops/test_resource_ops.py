"""Resource variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test, variable
from tests.ops.variable_cases import (
    BAD,
    BF16,
    FORMULAS,
    REAL,
    SLICED,
    ScatterCase,
    scatter_cases,
    scatter_nd_cases,
    slice_cases,
)

A = np.array([[1, -2, 3], [4, 5, -6]])
B = np.array([[7, 8, -9], [1, 0, 2]])
MISSING = "Resource .* does not exist"


def unset(dtype: Any = np.float32) -> Any:
    return variable(None, dtypes.as_dtype(dtype))


_f, _g = A.astype(np.float32), B.astype(np.float32)
_text = np.array([b"a", b"bc"], object)

# Reading ------------------------------------------------------------------------------------------

case("VarIsInitializedOp", [variable(_f)], expect=np.array(True))
case("VarIsInitializedOp", [unset()], expect=np.array(False))

for _dtype in (*REAL, np.complex64, np.bool_):
    case("ReadVariableOp", [variable(A.astype(_dtype))], dtype=_dtype, expect=A.astype(_dtype))
case("ReadVariableOp", [variable(np.float32(2))], dtype=np.float32, expect=np.float32(2))
case("ReadVariableOp", [variable(_f[:0])], dtype=np.float32, expect=_f[:0], id="empty")
case("ReadVariableOp", [variable(_text)], dtype=dtypes.string, expect=_text, xla=False, id="string")
case("ReadVariableOp", [unset()], dtype=np.float32, raises=errors.FailedPreconditionError,
     match="Could not find variable")  # fmt: skip
# A handle of another dtype than the value's; TensorFlow has no such node in one graph.
case("ReadVariableOp", [variable(_f, np.int32)], dtype=np.int32, raises=BAD, conformance=False,
     match="wrong dtype. Expected int32 got float", id="dtype")  # fmt: skip

for _type in (np.int32, np.int64):
    case("VariableShape", [variable(_f)], out_type=_type, expect=np.array([2, 3], _type))
case("VariableShape", [variable(np.float32(2))], expect=np.zeros(0, np.int32), id="scalar")
case("VariableShape", [unset()], raises=errors.NotFoundError, match=MISSING)

case("DestroyResourceOp", [variable(_f)])
case("DestroyResourceOp", [unset()], id="missing")
case("DestroyResourceOp", [unset()], ignore_lookup_error=False, raises=errors.NotFoundError,
     match=MISSING)  # fmt: skip

# Assigning ----------------------------------------------------------------------------------------

for _dtype in (*REAL, np.complex64, np.bool_):
    case("AssignVariableOp", [variable(A.astype(_dtype)), B.astype(_dtype)],
         expect_state=[B.astype(_dtype)])  # fmt: skip
case("AssignVariableOp", [unset(), _f], expect_state=[_f], id="uninitialized", xla=False)
case("AssignVariableOp", [variable(_text), _text[::-1].copy()], expect_state=[_text[::-1]],
     xla=False)  # fmt: skip
case("AssignVariableOp", [variable(np.float32(2)), np.float32(3)], expect_state=[np.float32(3)])
case("AssignVariableOp", [variable(_f[:0]), _g[:0]], expect_state=[_g[:0]], id="empty")

for _op, _symbol in (("AssignAddVariableOp", np.add), ("AssignSubVariableOp", np.subtract)):
    for _dtype in (*REAL, np.complex64, np.uint8):
        _a, _b = A.astype(_dtype), B.astype(_dtype)
        case(_op, [variable(_a), _b], expect_state=[_symbol(_a, _b)])
    _new = _symbol(np.float32(2), np.float32(3))
    case(_op, [variable(np.float32(2)), np.float32(3)], expect_state=[_new], id="scalar")
    case(_op, [variable(_f[:0]), _g[:0]], expect_state=[_f[:0]], id="empty")
    case(_op, [variable(_f), _g[0]], raises=BAD, match="shapes must be equal|Shapes must be")
    case(_op, [unset(), _g], raises=errors.NotFoundError, match=MISSING)

for _dtype in (np.int32, np.int64):
    case("ResourceCountUpTo", [variable(_dtype(4))], limit=6, T=_dtype, expect=_dtype(4),
         expect_state=[_dtype(5)])  # fmt: skip
case("ResourceCountUpTo", [variable(np.int32(6))], limit=6, T=np.int32,
     raises=errors.OutOfRangeError, match="Reached limit of 6")  # fmt: skip
case("ResourceCountUpTo", [unset(np.int32)], limit=6, T=np.int32, raises=errors.NotFoundError,
     match=MISSING)  # fmt: skip

# Gathering ----------------------------------------------------------------------------------------

TABLE_OF_ROWS = np.arange(12).reshape(4, 3)
for _dtype in (*REAL, np.complex64, np.bool_):
    _rows = TABLE_OF_ROWS.astype(_dtype)
    _indices = np.array([3, 0, 3], np.int32)
    case("ResourceGather", [variable(_rows), _indices], dtype=_dtype, expect=_rows[_indices])
    _places = np.array([[3, 1], [0, 2]], np.int32)
    case("ResourceGatherNd", [variable(_rows), _places], dtype=_dtype, expect=_rows[[3, 0], [1, 2]])
_rows = TABLE_OF_ROWS.astype(np.float32)


def gather(indices: Any, expect: Any = None, rows: Any = _rows, **others: Any) -> None:
    case("ResourceGather", [variable(rows), indices], dtype=np.float32, expect=expect, **others)


gather(np.array(2, np.int64), _rows[2], id="scalar index")
gather(np.array([[1, 0], [2, 2]], np.int32), _rows[[[1, 0], [2, 2]]], id="matrix")
gather(np.zeros((0, 2), np.int32), np.zeros((0, 2, 3), np.float32), id="no indices")
gather(np.array([1], np.int32), np.zeros((1, 0), np.float32), _rows[:, :0], id="empty rows")
gather(np.array([[1, 0], [2, 2], [0, 1], [1, 1]], np.int32), batch_dims=1, id="batches",
       expect=np.take_along_axis(_rows, np.array([[1, 0], [2, 2], [0, 1], [1, 1]]), 1))  # fmt: skip
gather(np.array([1, -1], np.int32), raises=BAD, match=r"indices\[1\] = -1 is not in \[0, 4\)")
gather(np.array([4], np.int32), raises=BAD, match=r"indices\[0\] = 4 is not in \[0, 4\)")
gather(np.array([0], np.int32), rows=np.float32(1), raises=BAD, match="at least")
case("ResourceGather", [unset(), np.array([0], np.int32)], dtype=np.float32,
     raises=errors.NotFoundError, match=MISSING)  # fmt: skip


def gather_nd(indices: Any, expect: Any = None, **others: Any) -> None:
    case("ResourceGatherNd", [variable(_rows), indices], dtype=np.float32, expect=expect, **others)


gather_nd(np.array([[2], [1]], np.int64), _rows[[2, 1]], id="rows")
gather_nd(np.array([3, 2], np.int32), _rows[3, 2], id="one element")
gather_nd(np.zeros((2, 0), np.int32), np.stack([_rows, _rows]), id="everything")
gather_nd(np.zeros((0, 2), np.int32), np.zeros(0, np.float32), id="no indices")
gather_nd(np.array([[0, 0], [4, 0]], np.int32), raises=BAD,
          match=r"indices\[1\] = \[4, ?0\] does not index into param shape \[4,3\]")  # fmt: skip
gather_nd(np.zeros((1, 3), np.int32), raises=BAD, match="index innermost dimension|<= params.rank")
case("ResourceGatherNd", [unset(), np.array([[0]], np.int32)], dtype=np.float32,
     raises=errors.NotFoundError, match=MISSING)  # fmt: skip

# Slices -------------------------------------------------------------------------------------------

for _slice in slice_cases():
    _inputs = [np.array(i, np.int32) for i in (_slice.begin, _slice.end, _slice.strides)]
    case(
        "ResourceStridedSliceAssign", [variable(SLICED), *_inputs, _slice.value], **_slice.masks,
        expect_state=[] if _slice.new is None else [_slice.new], raises=_slice.raises,
        id=_slice.note,
    )  # fmt: skip
_one = [np.array([i], np.int64) for i in (0, 1, 1)]
case("ResourceStridedSliceAssign", [unset(), *_one, np.zeros(1, np.float32)],
     raises=errors.NotFoundError, match=MISSING, id="uninitialized")  # fmt: skip

# Scattering ---------------------------------------------------------------------------------------


def scatter(op: str, row: ScatterCase) -> None:
    half = row.updates.dtype in (np.float16, BF16)
    raises, match = row.raises, row.match
    if row.old is None:
        raises, match = errors.NotFoundError, MISSING
    case(
        op, [unset() if row.old is None else variable(row.old), row.indices, row.updates],
        expect_state=[] if row.new is None else [row.new], raises=raises, match=match,
        rtol=1e-2 if half else 1e-5, id=row.note,
    )  # fmt: skip


for _how in FORMULAS:
    for _row in scatter_cases(_how):
        scatter(f"ResourceScatter{_how}", _row)
for _how in ("Update", "Add", "Sub"):
    for _row in scatter_nd_cases(_how):
        scatter(f"ResourceScatterNd{_how}", _row)

_two = np.array([1, 0], np.int32)
case("ResourceScatterUpdate", [variable(_text), _two, _text], expect_state=[_text[::-1]], xla=False,
     id="string")  # fmt: skip
case("ResourceScatterUpdate", [variable(np.array([True, True])), _two, np.array([False, True])],
     expect_state=[np.array([True, False])], id="bool")  # fmt: skip
case("ResourceScatterNdUpdate", [variable(_text), _two[:, None], _text],
     expect_state=[_text[::-1]], xla=False, id="string")  # fmt: skip

test_case = table_test()
