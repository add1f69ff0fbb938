"""Elementwise arithmetic, comparison, casts and matrix products: definitions."""

from __future__ import annotations

import math

from flowray.proto.ops.common_shapes import broadcast_binary, merged, unchanged
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import (
    ALL,
    COMPLEX,
    FLOATING,
    FLOATING_OR_COMPLEX,
    INDEX,
    INTEGERS,
    NUMERIC,
    REAL,
    SIGNED,
)
from flowray.proto.types.shapes import (
    Shape,
    broadcast,
    broadcast_all,
    concatenate,
    merge_all,
    merge_dims,
    with_rank,
    with_rank_at_least,
    with_value,
)

_SIGNED_NUMERIC = FLOATING_OR_COMPLEX | SIGNED
_WIDE = frozenset({dtypes.float32, dtypes.float64})
_REMAINDER = FLOATING | INDEX

# One operand -------------------------------------------------------------------------------------

_UNARY = {
    "Neg Sign Reciprocal Inv": _SIGNED_NUMERIC,
    "Abs": FLOATING | SIGNED,
    "Square": NUMERIC,
    "Sqrt Rsqrt Exp Expm1 Log Log1p Sigmoid Tanh": FLOATING_OR_COMPLEX,
    "Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh": FLOATING_OR_COMPLEX,
    "Erf Erfc Erfinv Ndtri Lgamma Digamma BesselI0e BesselI1e": FLOATING,
}
for _names, _types in _UNARY.items():
    for _name in _names.split():
        op(_name, "x: T -> y: T", T=_types, shape=unchanged)

op("Round", "x: T -> y: T", T=_SIGNED_NUMERIC, differentiable=False, shape=unchanged)
for _name in ("Floor", "Ceil", "Rint"):
    op(_name, "x: T -> y: T", T=FLOATING, differentiable=False, shape=unchanged)

for _name in ("IsNan", "IsInf", "IsFinite"):
    op(_name, "x: T -> y: bool", T=FLOATING, shape=unchanged)

op("LogicalNot", "x: bool -> y: bool", shape=unchanged)

for _name in ("SqrtGrad", "RsqrtGrad", "TanhGrad", "SigmoidGrad", "ReciprocalGrad", "InvGrad"):
    op(_name, "y: T, dy: T -> z: T", T=FLOATING_OR_COMPLEX, shape=merged)

op(
    "Cast",
    "x: SrcT -> y: DstT",
    SrcT=attr("type"),
    DstT=attr("type"),
    Truncate=False,
    shape=unchanged,
)

op(
    "Bucketize",
    "input: T -> output: int32",
    T=_WIDE | INDEX,
    boundaries=attr("list(float)"),
    shape=unchanged,
)

# Complex numbers ---------------------------------------------------------------------------------

_complex_type = attr("type", dtypes.complex64, allowed=COMPLEX)
_part_type = attr("type", dtypes.float32, allowed=_WIDE)

op("ComplexAbs", "x: T -> y: Tout", T=_complex_type, Tout=_part_type, shape=unchanged)
for _name in ("Real", "Imag", "Angle"):
    op(_name, "input: T -> output: Tout", T=_complex_type, Tout=_part_type, shape=unchanged)
op("Conj", "input: T -> output: T", T=_complex_type, shape=unchanged)
op(
    "Complex",
    "real: T, imag: T -> out: Tout",
    T=_part_type,
    Tout=_complex_type,
    shape=broadcast_binary,
)

# Two operands that broadcast ---------------------------------------------------------------------

_BINARY = {
    "AddV2 Sub Mul Div RealDiv": NUMERIC,
    "Add": _SIGNED_NUMERIC | {dtypes.uint8, dtypes.string},
    "Mod TruncateMod": _REMAINDER,
    "FloorMod Maximum Minimum": REAL,
    "DivNoNan MulNoNan Xlogy Xdivy Xlog1py": FLOATING_OR_COMPLEX,
    "Pow": _SIGNED_NUMERIC,
    "SquaredDifference": FLOATING_OR_COMPLEX | INDEX,
}
for _names, _types in _BINARY.items():
    for _name in _names.split():
        op(_name, "x: T, y: T -> z: T", T=_types, shape=broadcast_binary)

for _name in ("FloorDiv", "TruncateDiv"):
    op(_name, "x: T, y: T -> z: T", T=NUMERIC, differentiable=False, shape=broadcast_binary)
op("Atan2", "y: T, x: T -> z: T", T=FLOATING, shape=broadcast_binary)
op("Zeta", "x: T, q: T -> z: T", T=_WIDE, shape=broadcast_binary)
op("Polygamma", "a: T, x: T -> z: T", T=_WIDE, shape=broadcast_binary)

for _name in ("Less", "LessEqual", "Greater", "GreaterEqual"):
    op(_name, "x: T, y: T -> z: bool", T=REAL, shape=broadcast_binary)
for _name in ("LogicalAnd", "LogicalOr"):
    op(_name, "x: bool, y: bool -> z: bool", shape=broadcast_binary)


def _equality_shape(c: ShapeContext) -> Shape:
    if c.attr("incompatible_shape_error"):
        return broadcast_binary(c)
    # Shapes that do not broadcast are known to differ, and the result is one scalar.
    try:
        shape = broadcast_binary(c)
    except ValueError:
        return ()
    known = shape is not None and not any(None in (s or ()) for s in c.inputs)
    return shape if known else None


for _name in ("Equal", "NotEqual"):
    op(
        _name,
        "x: T, y: T -> z: bool",
        T=ALL,
        incompatible_shape_error=True,
        shape=_equality_shape,
    )

op("ApproximateEqual", "x: T, y: T -> z: bool", T=NUMERIC, tolerance=1e-5, shape=merged)

# More operands -----------------------------------------------------------------------------------


def _select_shape(c: ShapeContext) -> Shape:
    condition, t, e = c.inputs
    shape = merge_all([t, e])
    if condition is None or shape is None or condition == ():
        return shape
    if len(condition) == 1 and len(shape) > 0:
        first = merge_all([condition, shape[:1]])
        return concatenate(first, shape[1:])
    return merge_all([shape, condition])


def _clip_shape(c: ShapeContext) -> Shape:
    shape = c.inputs[0]
    for bound in c.inputs[1:]:
        if bound is not None and bound != ():
            shape = merge_all([shape, bound])
    return shape


def _add_n_shape(c: ShapeContext) -> Shape:
    try:
        return merge_all(c.inputs)
    except ValueError as error:
        raise ValueError(f"{error}\n\tFrom merging shape 0 with other shapes.") from None


def _betainc_shape(c: ShapeContext) -> Shape:
    """Returns the common shape of the inputs that are not scalars."""
    shapes = [shape for shape in c.inputs if shape != ()]
    return merge_all(shapes) if shapes else ()


op("Select", "condition: bool, t: T, e: T -> output: T", shape=_select_shape)
op(
    "SelectV2",
    "condition: bool, t: T, e: T -> output: T",
    shape=lambda c: broadcast_all(*c.inputs),
)
op(
    "ClipByValue",
    "t: T, clip_value_min: T, clip_value_max: T -> output: T",
    T=NUMERIC,
    shape=_clip_shape,
)
op("Betainc", "a: T, b: T, x: T -> z: T", T=_WIDE, shape=_betainc_shape)
op("AddN", "inputs: N*T -> sum: T", T=NUMERIC, shape=_add_n_shape)
op(
    "AccumulateNV2",
    "inputs: N*T -> sum: T",
    T=NUMERIC,
    shape_=attr("shape"),
    hints=["shape"],
    shape=lambda c: merge_all([*c.inputs, c.attr("shape")]),
)


def _cross_shape(c: ShapeContext) -> Shape:
    shape = merged(c)
    if shape is None:
        return None
    if len(shape) < 1:
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    return (*shape[:-1], with_value(shape[-1], 3))


op("Cross", "a: T, b: T -> product: T", T=REAL, shape=_cross_shape)

# Matrix products ---------------------------------------------------------------------------------


def _matmul_shape(c: ShapeContext) -> Shape:
    a, b = with_rank(c.inputs[0], 2), with_rank(c.inputs[1], 2)
    if c.attr("transpose_a"):
        a = a[::-1]
    if c.attr("transpose_b"):
        b = b[::-1]
    merge_dims(a[1], b[0])
    return (a[0], b[1])


op(
    "MatMul",
    "a: T, b: T -> product: T",
    T=FLOATING_OR_COMPLEX | (INTEGERS - {dtypes.int8, dtypes.int16}),
    transpose_a=False,
    transpose_b=False,
    expensive=True,
    shape=_matmul_shape,
)


def _batch_matmul_shape(c: ShapeContext) -> Shape:
    """Returns ``[..., r, c]``, where the batch dimensions of both inputs broadcast."""
    x, y = (with_rank_at_least(shape, 2) for shape in c.inputs)
    rows, inner_x = (None, None) if x is None else x[-2:]
    inner_y, columns = (None, None) if y is None else y[-2:]
    if c.attr("adj_x"):
        rows, inner_x = inner_x, rows
    if c.attr("adj_y"):
        inner_y, columns = columns, inner_y
    merge_dims(inner_x, inner_y)
    if x is None or y is None:
        return None
    batch = broadcast(x[:-2], y[:-2])
    assert batch is not None
    return (*batch, rows, columns)


def _strict_batch_matmul_shape(c: ShapeContext) -> Shape:
    """Returns ``_batch_matmul_shape``; the batch dimensions must be the same."""
    x, y = (with_rank_at_least(shape, 2) for shape in c.inputs)
    if x is not None and y is not None:
        merge_all([x[:-2], y[:-2]])
    return _batch_matmul_shape(c)


op(
    "BatchMatMul",
    "x: T, y: T -> output: T",
    T=FLOATING_OR_COMPLEX | INDEX,
    adj_x=False,
    adj_y=False,
    expensive=True,
    shape=_strict_batch_matmul_shape,
)
op(
    "BatchMatMulV2",
    "x: T, y: T -> output: T",
    T=FLOATING_OR_COMPLEX | (INTEGERS - {dtypes.int8}),
    adj_x=False,
    adj_y=False,
    expensive=True,
    shape=_batch_matmul_shape,
)
op(
    "BatchMatMulV3",
    "x: Ta, y: Tb -> output: Tout",
    Ta=_SIGNED_NUMERIC | {dtypes.uint8},
    Tb=_SIGNED_NUMERIC | {dtypes.uint8},
    Tout=FLOATING_OR_COMPLEX | (SIGNED - {dtypes.int8}),
    adj_x=False,
    adj_y=False,
    expensive=True,
    shape=_batch_matmul_shape,
)

# Sequences ---------------------------------------------------------------------------------------


def _check_scalars(c: ShapeContext, *names: str) -> None:
    """Raises ValueError unless the inputs, which have these names, are scalars."""
    for name, shape in zip(names, c.inputs, strict=True):
        if shape is not None and shape != ():
            raise ValueError(f"Shape must be rank 0 but is rank {len(shape)}\n\t for '{name}'")


def _range_shape(c: ShapeContext) -> Shape:
    _check_scalars(c, "start", "limit", "delta")
    start, limit, delta = (c.constant(i) for i in range(3))
    if start is None or limit is None or delta is None:
        return (None,)
    if delta == 0:
        raise ValueError("Requires delta != 0")
    if (delta > 0 and start > limit) or (delta < 0 and start < limit):
        relation = "<= limit when delta > 0" if delta > 0 else ">= limit when delta < 0"
        raise ValueError(f"Requires start {relation}: {start}/{limit}")
    if start.dtype.kind in "iu":
        return (-((int(start) - int(limit)) // int(delta)),)
    return (math.ceil(abs((float(limit) - float(start)) / float(delta))),)


def _linspace_shape(c: ShapeContext) -> Shape:
    _check_scalars(c, "start", "stop", "num")
    count = c.constant(2)
    if count is None:
        return (None,)
    if count <= 0:
        raise ValueError(f"Requires num > 0: {count}")
    return (int(count),)


op(
    "Range",
    "start: Tidx, limit: Tidx, delta: Tidx -> output: Tidx",
    Tidx=attr("type", dtypes.int32, allowed=REAL - {dtypes.uint8}),
    static_inputs=(0, 1, 2),
    differentiable=False,
    shape=_range_shape,
)
op(
    "LinSpace",
    "start: T, stop: T, num: Tidx -> output: T",
    T=FLOATING,
    Tidx=attr("type", dtypes.int32, allowed=INDEX),
    static_inputs=(2,),
    differentiable=False,
    shape=_linspace_shape,
)

# Broadcasting itself -----------------------------------------------------------------------------

op(
    "BroadcastGradientArgs",
    "s0: T, s1: T -> r0: T, r1: T",
    T=attr("type", dtypes.int32, allowed=INDEX),
    static_inputs=(0, 1),
    shape=lambda c: [(None,), (None,)],
)
