"""Reference variables."""

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

UNINITIALIZED = errors.FailedPreconditionError
A = np.array([[1, -2, 3], [4, 5, -6]])
B = np.array([[7, 8, -9], [1, 0, 2]])


def unset(dtype: Any = np.float32) -> Any:
    return variable(None, dtypes.as_dtype(dtype))


# Reading ------------------------------------------------------------------------------------------

case("IsVariableInitialized", [variable(np.zeros(3, np.float32))], expect=np.array(True))
case("IsVariableInitialized", [unset()], expect=np.array(False))
case("IsVariableInitialized", [variable(np.array([b"x"], object))], expect=np.array(True))

# Assigning ----------------------------------------------------------------------------------------

for _dtype in (*REAL, np.complex64, np.bool_):
    _a, _b = A.astype(_dtype), B.astype(_dtype)
    case("Assign", [variable(_a), _b], expect=_b, expect_state=[_b])
_text = np.array([b"a", b"bc"], object)
case("Assign", [variable(_text), _text[::-1].copy()], expect_state=[_text[::-1]], xla=False)
_f, _g = A.astype(np.float32), B.astype(np.float32)
case(
    "Assign",
    [unset(), _f],
    expect=_f,
    expect_state=[_f],
    id="uninitialized",
    xla=False,
    conformance=False,
)  # TensorFlow takes a variable of an unknown shape for a scalar
case("Assign", [variable(np.float32(2)), np.float32(3)], expect_state=[np.float32(3)], id="scalar")
case("Assign", [variable(_f[:0]), _g[:0]], expect_state=[_g[:0]], id="empty")
case("Assign", [variable(_f), _g[0]], validate_shape=False, expect=_g[0], expect_state=[_g[0]])
case("Assign", [variable(_f), _g], use_locking=False, expect_state=[_g])
case(
    "Assign", [variable(_f), _g[0]], raises=BAD,
    match=r"Assign requires shapes of both tensors to match. lhs shape= \[2,3\] rhs shape= \[3\]",
)  # fmt: skip

for _op, _symbol in (("AssignAdd", np.add), ("AssignSub", np.subtract)):
    for _dtype in (*REAL, np.complex64, np.uint8):
        _a, _b = A.astype(_dtype), B.astype(_dtype)
        _new = _symbol(_a, _b)
        case(_op, [variable(_a), _b], expect=_new, expect_state=[_new])
    _new = _symbol(np.float32(2), np.float32(3))
    case(_op, [variable(np.float32(2)), np.float32(3)], expect=_new, id="scalar")
    case(_op, [variable(_f[:0]), _g[:0]], expect=_f[:0], id="empty")
    case(_op, [variable(_f), _g], use_locking=True, expect=_symbol(_f, _g), id="locked")
    case(
        _op, [variable(_f), _g[0]], raises=BAD,
        match="Parameters and update must be the same size",
    )  # fmt: skip
    case(_op, [unset(), _g], raises=UNINITIALIZED, match="Attempting to use uninitialized value")
_limit = np.array([2**31 - 1, -(2**31)], np.int32)
case("AssignAdd", [variable(_limit), np.array([1, -1], np.int32)], expect=_limit[::-1], id="wraps")

for _dtype in (np.int32, np.int64):
    case("CountUpTo", [variable(_dtype(4))], limit=6, expect=_dtype(4), expect_state=[_dtype(5)])
case("CountUpTo", [variable(np.int32(-5))], limit=-4, expect=np.int32(-5))
for _value in (6, 7):
    case(
        "CountUpTo", [variable(np.int32(_value))], limit=6, raises=errors.OutOfRangeError,
        match="Reached limit of 6",
    )  # fmt: skip
case("CountUpTo", [unset(np.int32)], limit=6, raises=UNINITIALIZED, match="uninitialized value")

# Slices -------------------------------------------------------------------------------------------

for _slice in slice_cases():
    _inputs = [np.array(i, np.int32) for i in (_slice.begin, _slice.end, _slice.strides)]
    case(
        "StridedSliceAssign", [variable(SLICED), *_inputs, _slice.value], **_slice.masks,
        expect=_slice.new, expect_state=[] if _slice.new is None else [_slice.new],
        raises=_slice.raises, id=_slice.note,
    )  # fmt: skip
_wide = [np.array(i, np.int64) for i in ([1], [3], [1])]
case(
    "StridedSliceAssign", [variable(np.arange(4)), *_wide, np.array([8, 9])],
    expect=np.array([0, 8, 9, 3]), id="int64 indices",
)  # fmt: skip
case(
    "StridedSliceAssign", [unset(), *_wide, np.zeros(2, np.float32)],
    raises=UNINITIALIZED, match="uninitialized value", id="uninitialized",
)  # fmt: skip

# Scattering ---------------------------------------------------------------------------------------


def scatter(op: str, row: ScatterCase) -> None:
    half = row.updates.dtype in (np.float16, BF16)
    raises, match = row.raises, row.match
    if row.old is None:
        raises, match = UNINITIALIZED, "uninitialized value"
    case(
        op, [unset() if row.old is None else variable(row.old), row.indices, row.updates],
        expect=row.new, expect_state=[] if row.new is None else [row.new], raises=raises,
        match=match, rtol=1e-2 if half else 1e-5, id=row.note,
    )  # fmt: skip


for _how in FORMULAS:
    for _row in scatter_cases(_how):
        scatter(f"Scatter{_how}", _row)
for _how in ("Update", "Add", "Sub"):
    for _row in scatter_nd_cases(_how):
        scatter(f"ScatterNd{_how}", _row)

_two = np.array([1, 0], np.int32)
case("ScatterUpdate", [variable(_text), _two, _text], expect=_text[::-1], xla=False, id="string")
case("ScatterUpdate", [variable(np.array([True, True])), _two, np.array([False, True])],
     expect=np.array([True, False]), id="bool")  # fmt: skip
case("ScatterNdUpdate", [variable(_text), _two[:, None], _text], expect=_text[::-1], xla=False,
     id="string")  # fmt: skip

test_case = table_test()
