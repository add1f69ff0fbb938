"""Elementwise arithmetic, comparison, casts and matrix products: cases."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Graph
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops import math_ops as tf
from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.gradient_check import assert_gradient
from tests.ops.harness import case, table_test

INVALID = errors.InvalidArgumentError
BF16 = np.dtype(ml_dtypes.bfloat16)
NAN, INF = np.nan, np.inf


def f32(*values):
    return np.array(values, np.float32)


def i32(*values):
    return np.array(values, np.int32)


A = np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -0.75]], np.float32)
B = np.array([[2.0, 4.0, -1.0], [0.5, -3.0, 1.25]], np.float32)
C = np.array([[1 + 2j, -0.5j], [2.0, -1 - 1j]], np.complex64)
EMPTY = np.zeros((0, 3), np.float32)

# One operand -------------------------------------------------------------------------------------

for _op, _function in {
    "Neg": np.negative, "Abs": np.abs, "Sign": np.sign, "Square": np.square, "Exp": np.exp,
    "Expm1": np.expm1, "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Atan": np.arctan,
    "Sinh": np.sinh, "Cosh": np.cosh, "Asinh": np.arcsinh, "Tanh": np.tanh, "Floor": np.floor,
    "Ceil": np.ceil, "Round": np.rint, "Reciprocal": np.reciprocal,
    "Inv": np.reciprocal,
}.items():  # fmt: skip
    case(_op, [A], expect=_function(A))
    case(_op, [A.astype(np.float64)], expect=_function(A.astype(np.float64)))
    case(_op, [A.astype(np.float16)], expect=_function(A).astype(np.float16), rtol=2e-3, atol=2e-3)
    case(_op, [A.astype(BF16)], expect=_function(A).astype(BF16), rtol=2e-2, atol=2e-2)
    case(_op, [EMPTY], expect=EMPTY)
    case(_op, [np.float32(0.5)], expect=np.float32(_function(np.float32(0.5))))
    case(_op, [f32(NAN, INF)])

case("Rint", [A], expect=np.rint(A))
case("Rint", [A.astype(np.float64)], expect=np.rint(A).astype(np.float64))
case("Rint", [EMPTY], expect=EMPTY)

POSITIVE = np.abs(A)
UNIT = A / 4
for _op, _function, _x in [
    ("Sqrt", np.sqrt, POSITIVE),
    ("Rsqrt", lambda x: 1 / np.sqrt(x), POSITIVE),
    ("Log", np.log, POSITIVE),
    ("Log1p", np.log1p, POSITIVE),
    ("Acosh", np.arccosh, POSITIVE + 1),
    ("Asin", np.arcsin, UNIT),
    ("Acos", np.arccos, UNIT),
    ("Atanh", np.arctanh, UNIT),
    ("Sigmoid", lambda x: 1 / (1 + np.exp(-x)), A),
]:
    case(_op, [_x], expect=_function(_x))
    case(_op, [_x.astype(np.float64)], expect=_function(_x.astype(np.float64)))
    case(_op, [_x.astype(BF16)], expect=_function(_x).astype(BF16), rtol=2e-2, atol=2e-2)
    case(_op, [EMPTY], expect=EMPTY)
    case(_op, [f32(-4)[0]])
for _op, _function in {
    "Neg": np.negative, "Square": np.square, "Exp": np.exp, "Sqrt": np.sqrt, "Sin": np.sin,
    "Cos": np.cos, "Tanh": np.tanh, "Log": np.log, "Reciprocal": np.reciprocal,
    "Sign": lambda x: x / np.abs(x), "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Rsqrt": lambda x: 1 / np.sqrt(x),
}.items():  # fmt: skip
    case(_op, [C], expect=_function(C).astype(np.complex64), id="complex")

case("Neg", [i32(1, -(2**31))], expect=i32(-1, -(2**31)))
case("Abs", [i32(1, -2)], expect=i32(1, 2))
case("Sign", [i32(-5, 0, 7)], expect=i32(-1, 0, 1))
case("Sign", [f32(NAN, -0.0, 2)], expect=f32(NAN, 0, 1))
case("Square", [i32(-3, 4)], expect=i32(9, 16))
case("Square", [np.array([17], np.uint8)], expect=np.array([33], np.uint8))
case("Round", [f32(0.5, 1.5, -2.5)], expect=f32(0, 2, -2))
# TensorFlow 2.21's kernel makes 0 of every integer; its own client never sends one.
case("Round", [i32(2, -3)], expect=i32(2, -3), conformance=False)
case("Sigmoid", [f32(-200, 200, NAN)], expect=f32(0, 1, NAN))
case("Sigmoid", [np.array([-20.0, 20.0], np.float16)], expect=np.array([0, 1], np.float16))
case("Erf", [f32(-1, 0, 0.5)], expect=f32(-0.84270079, 0, 0.52049988))
case("Erf", [A.astype(np.float16)])
case("Erfc", [f32(-1, 0, 0.5)], expect=f32(1.84270079, 1, 0.47950012))
case("Erfinv", [f32(-1, 1, 0.5)], expect=f32(-INF, INF, 0.47693628))
case("Ndtri", [f32(0.5, 0.975)], expect=f32(0, 1.959964))
case("Lgamma", [f32(0, -1, -1.5, 5, INF, -INF)],
     expect=f32(INF, INF, 0.86004704, 3.1780538, INF, INF))  # fmt: skip
case("Digamma", [f32(0, -1, -1.5, 2, INF, -INF)],
     expect=f32(NAN, NAN, 0.70315683, 0.42278434, INF, NAN))  # fmt: skip
case("BesselI0e", [f32(1, -2)], expect=f32(0.46575961, 0.30850832))
case("BesselI1e", [f32(1, -2)], expect=f32(0.20791042, -0.21526929))
for _op in ("Erf", "Erfc", "Erfinv", "Ndtri", "Lgamma", "Digamma", "BesselI0e", "BesselI1e"):
    case(_op, [EMPTY], expect=EMPTY)
    case(_op, [np.float64(0.5)])

SPECIAL = f32(1, NAN, INF, -INF)
case("IsNan", [SPECIAL], expect=np.isnan(SPECIAL))
case("IsInf", [SPECIAL], expect=np.isinf(SPECIAL))
case("IsFinite", [SPECIAL], expect=np.isfinite(SPECIAL))
case("IsNan", [SPECIAL.astype(BF16)], expect=np.isnan(SPECIAL))
case("IsFinite", [np.float16(1)], expect=True)
case("LogicalNot", [[True, False]], expect=[False, True])

# Two operands ------------------------------------------------------------------------------------

for _op, _function in {
    "Add": np.add, "AddV2": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
    "RealDiv": np.divide, "Maximum": np.maximum, "Minimum": np.minimum, "FloorMod": np.mod,
    "FloorDiv": lambda x, y: np.floor(x / y), "TruncateDiv": lambda x, y: np.trunc(x / y),
    "DivNoNan": np.divide, "MulNoNan": np.multiply,
    "SquaredDifference": lambda x, y: (x - y) ** 2, "Atan2": np.arctan2,
    "Less": np.less, "LessEqual": np.less_equal, "Greater": np.greater,
    "GreaterEqual": np.greater_equal, "Equal": np.equal, "NotEqual": np.not_equal,
}.items():  # fmt: skip
    case(_op, [A, B], expect=_function(A, B))
    case(_op, [A, B[0]], expect=_function(A, B[0]), id="broadcast")
    case(_op, [A[:, :1], B[0]], expect=_function(A[:, :1], B[0]), id="both broadcast")
    case(_op, [np.float64(2.5), B.astype(np.float64)], expect=_function(2.5, B.astype(np.float64)))
    case(_op, [A.astype(np.float16), B.astype(np.float16)], rtol=2e-3,
         expect=_function(A.astype(np.float16), B.astype(np.float16)))  # fmt: skip
    case(_op, [A.astype(BF16), B.astype(BF16)], rtol=2e-2)
    case(_op, [EMPTY, B[0]], expect=_function(EMPTY, B[0]))
    case(_op, [f32(1)[0], f32(3)[0]], expect=_function(f32(1), f32(3))[0])
    case(_op, [f32(1, 2), f32(1, 2, 3)], raises=INVALID,
         match=r"Incompatible shapes: \[2\] vs\. \[3\]")  # fmt: skip

for _op in ("Mod", "TruncateMod"):
    case(_op, [A, B], expect=np.fmod(A, B))
    case(_op, [A, B[0]], expect=np.fmod(A, B[0]), id="broadcast")
    case(_op, [EMPTY, B[0]], expect=EMPTY)
    # TensorFlow admits half precision, but has no kernel for it.
    case(_op, [A.astype(BF16), B.astype(BF16)], rtol=2e-2, conformance=False)

for _op, _function in {
    "AddV2": np.add, "Sub": np.subtract, "Mul": np.multiply, "Maximum": np.maximum,
    "Less": np.less, "Equal": np.equal,
}.items():  # fmt: skip
    for _dtype in (np.int8, np.uint8, np.int16, np.int32, np.int64):
        _x, _y = np.array([100, 7, 0], _dtype), np.array([100, 3, 1], _dtype)
        case(_op, [_x, _y], expect=_function(_x, _y), id=np.dtype(_dtype).name)
for _op, _function in {
    "AddV2": np.add, "Sub": np.subtract, "Mul": np.multiply, "RealDiv": np.divide,
    "Equal": np.equal, "Pow": np.power,
}.items():  # fmt: skip
    case(_op, [C, C.T + 1], expect=_function(C, C.T + 1), id="complex", rtol=1e-4)
case("Add", [np.array(b"a"), np.array(b"b")], expect=np.array(b"ab"), xla=False)
case("Add", [np.array([b"a"]), np.array([b"b", b""])], expect=np.array([b"ab", b"a"]), xla=False)
case("Equal", [np.array([b"a", b"b"]), b"a"], expect=[True, False], xla=False)
case("NotEqual", [np.array([b"a", b"b"]), b"a"], expect=[False, True], xla=False)
case("Equal", [[True, False], True], expect=[True, False])
case("Equal", [f32(1, 2), f32(1, 2, 3)], incompatible_shape_error=False, expect=False)
case("NotEqual", [f32(1, 2), f32(1, 2, 3)], incompatible_shape_error=False, expect=True)
case("Equal", [f32(NAN), f32(NAN)], expect=[False])
case("Maximum", [f32(NAN, 1), f32(1, NAN)], expect=f32(NAN, NAN))
case("Minimum", [f32(NAN, 1), f32(1, NAN)], expect=f32(NAN, NAN))

DIVIDENDS, DIVISORS = i32(-7, 7, -7, 7, 6), i32(2, -2, -2, 2, 3)
case("FloorDiv", [DIVIDENDS, DIVISORS], expect=i32(-4, -4, 3, 3, 2))
case("FloorDiv", [i32(-(2**31)), i32(-1)], expect=i32(-(2**31)))
case("FloorDiv", [f32(1, -1, 1), f32(0.1, 0, INF)], expect=f32(10, -INF, 0))
case("TruncateDiv", [DIVIDENDS, DIVISORS], expect=i32(-3, -3, 3, 3, 2))
case("Div", [DIVIDENDS, DIVISORS], expect=i32(-3, -3, 3, 3, 2))
case("Div", [np.array([200], np.uint8), np.uint8(3)], expect=np.array([66], np.uint8))
case("FloorMod", [DIVIDENDS, DIVISORS], expect=i32(1, -1, -1, 1, 0))
case("FloorMod", [f32(-1, 1, 5, -5), f32(INF, -INF, 0, 3)], expect=f32(INF, -INF, NAN, 1))
case("Mod", [DIVIDENDS, DIVISORS], expect=i32(-1, 1, -1, 1, 0))
case("TruncateMod", [np.int64([-7, 7]), np.int64(2)], expect=np.int64([-1, 1]))
for _op in ("FloorDiv", "TruncateDiv", "Div", "FloorMod", "Mod", "TruncateMod"):
    # TensorFlow has no text for the truncating ones, and calls the division an INTERNAL error.
    case(_op, [i32(1, 2), i32(1, 0)], raises=INVALID, match="Integer division by zero",
         conformance=not _op.startswith("Truncate"))  # fmt: skip
    case(_op, [i32(), np.int32(0)], expect=i32())
case("DivNoNan", [f32(NAN, 1, 1), f32(0, 0, 2)], expect=f32(0, 0, 0.5))
case("MulNoNan", [f32(NAN, INF, NAN), f32(0, 0, 1)], expect=f32(0, 0, NAN))
case("Xlogy", [f32(0, 1, 2), f32(NAN, 2, 3)], expect=f32(0, np.log(2), 2 * np.log(3)))
case("Xlog1py", [f32(0, 1), f32(NAN, 2)], expect=f32(0, np.log(3)))
case("Xdivy", [f32(0, 1), f32(0, 2)], expect=f32(0, 0.5))
for _op in ("Xlogy", "Xlog1py", "Xdivy"):
    case(_op, [POSITIVE, f32(3)[0]])
    case(_op, [EMPTY, f32(1)], expect=EMPTY)
case("SquaredDifference", [i32(3, -4), i32(1, 1)], expect=i32(4, 25))
case("SquaredDifference", [np.complex64([1 + 2j]), np.complex64([0])], expect=np.complex64([5]))
case("Pow", [POSITIVE, B], expect=POSITIVE**B)
case("Pow", [f32(0, -8, 2), f32(0, 1 / 3, -1)], expect=f32(1, NAN, 0.5))
case("Pow", [i32(2, 3, -2), i32(40, 2, 3)], expect=i32(0, 9, -8))
case("Pow", [np.int64(3), np.int64([0, 30])], expect=np.int64([1, 3**30]))
case("Pow", [i32(2), i32(-1)], raises=INVALID,
     match="Integers to negative integer powers are not allowed")  # fmt: skip
case("Pow", [EMPTY, f32(2)[0]], expect=EMPTY)
case("Zeta", [f32(2, 3), f32(1, 2)], expect=f32(1.6449341, 0.20205690))
case("Polygamma", [f32(1, 2, 0), f32(1, 2, 2)], expect=f32(1.6449341, -0.40411381, 0.42278434))
BETA = [f32(0.5, 1, 2, 40), f32(0.5, 3, 0.7, 60), f32(0.3, 0.9, 0.2, 0.4)]
BETAINC = f32(0.36901013, 0.999, 0.02485805, 0.50543705)
case("Betainc", BETA, expect=BETAINC, rtol=1e-4)
case("Betainc", [v.astype(np.float64) for v in BETA], expect=BETAINC.astype(np.float64), rtol=1e-5)
case("Betainc", [f32(2)[0], f32(3)[0], f32(0, 0.25, 0.5, 1)], expect=f32(0, 0.26171875, 0.6875, 1))
case("Betainc", [f32(1, 2), f32(1)[0], f32(0.5)[0]], expect=f32(0.5, 0.25), id="scalars")
case("Betainc", [f32(2)[0], f32(3)[0], f32(0.5)[0]], expect=f32(0.6875)[0], id="scalar")
case("Betainc", [f32(-1, 1, 0, 1, 1, NAN, 1, 2), f32(1, 0, 1, INF, 1, 1, 1, 2),
     f32(0.5, 0.5, 0.5, 0.5, 1.5, 0.5, NAN, 1)], id="domain",
     expect=f32(*[NAN] * 7, 1))  # fmt: skip
case("Betainc", [EMPTY, EMPTY, EMPTY], expect=EMPTY)
case("Betainc", [f32(1, 2), f32(1), f32(0.5)[0]], raises=INVALID,
     match=r"Shapes of a and b are inconsistent: \[2\] vs. \[1\]")  # fmt: skip
case("Betainc", [f32(1, 2), f32(1)[0], f32(0.5, 0.5, 0.5)], raises=INVALID,
     match=r"Shapes of a and x are inconsistent: \[2\] vs. \[3\]")  # fmt: skip
case("ApproximateEqual", [f32(1, 2), f32(1.1, 2.05)], tolerance=0.1, expect=[False, True])
case("ApproximateEqual", [f32(1, 2), f32(1)], raises=INVALID, match="must be of the same shape")
case("LogicalAnd", [[True, True, False], [True, False, False]], expect=[True, False, False])
case("LogicalOr", [[True, True, False], False], expect=[True, True, False])
case("LogicalAnd", [[True, True], [True, True, False]], raises=INVALID, match="Incompatible")

for _op, _expect in {"SqrtGrad": -0.1 + 0.3j, "RsqrtGrad": 6.5 + 4.5j, "TanhGrad": 8 + 0j,
                     "SigmoidGrad": 6 + 2j, "ReciprocalGrad": -1 + 7j, "InvGrad": -1 + 7j}.items():  # fmt: skip  # noqa: E501
    case(_op, [np.complex64([1 + 2j]), np.complex64([1 + 1j])], expect=np.complex64([_expect]))
    case(_op, [POSITIVE.astype(BF16), B.astype(BF16)], rtol=2e-2)
    case(_op, [EMPTY, EMPTY], expect=EMPTY)
case("SqrtGrad", [POSITIVE, B], expect=B / (2 * POSITIVE))
case("RsqrtGrad", [POSITIVE, B], expect=-B * POSITIVE**3 / 2)
case("TanhGrad", [A, B], expect=B * (1 - A**2))
case("SigmoidGrad", [A, B], expect=B * A * (1 - A))
case("ReciprocalGrad", [A, B], expect=-B * A**2)
case("TanhGrad", [f32(1), f32(1, 2)], raises=INVALID, match="same number of elements, got 1 and 2")

# Selection ---------------------------------------------------------------------------------------

T, E = i32(1, 2).reshape(2, 1), i32(3, 4).reshape(2, 1)
case("Select", [np.array([True, False]), T, E], expect=i32(1, 4).reshape(2, 1))
case("Select", [True, T, E], expect=T)
case("Select", [np.array([[False], [True]]), T, E], expect=i32(3, 2).reshape(2, 1))
case("Select", [np.zeros(0, bool), EMPTY, EMPTY], expect=EMPTY)
case("Select", [[True, False], np.array([b"a", b"b"]), np.array([b"c", b"d"])],
     expect=np.array([b"a", b"d"]), xla=False)  # fmt: skip
case("Select", [np.array([True, False, True]), T, E], raises=INVALID,
     match="Number of batches of 'then' must match size of 'cond', but saw: 2 vs. 3")  # fmt: skip
case("SelectV2", [np.array([True, False]), T, f32(9)[0].astype(np.int32)],
     expect=i32(1, 9, 2, 9).reshape(2, 2))  # fmt: skip
case("SelectV2", [True, A, B], expect=A)
case("SelectV2", [[True, False], i32(1, 2, 3), i32(1, 2, 3)], raises=INVALID,
     match=r"condition \[2\], then \[3\], and else \[3\] must be broadcastable")  # fmt: skip
case("ClipByValue", [A, np.float32(-1), np.float32(1)], expect=np.clip(A, -1, 1))
case("ClipByValue", [f32(NAN, 1, 5), np.float32(3), np.float32(2)], expect=f32(NAN, 3, 3))
case("ClipByValue", [i32(1, 5, 9), i32(2, 2, 2), np.int32(6)], expect=i32(2, 5, 6))
case("ClipByValue", [A, f32(1, 2), np.float32(3)], raises=INVALID,
     match="must be either of the same shape as input, or a scalar")  # fmt: skip

# Casts -------------------------------------------------------------------------------------------

WILD = np.array([NAN, INF, -INF, 3e9, -3e9, 1e20, 300.7, -300.7, -1.5, 0.3], np.float32)
INT_MIN, LONG_MIN = -(2**31), -(2**63)
case("Cast", [WILD], DstT=dtypes.int32, Truncate=False,
     expect=np.array([INT_MIN] * 6 + [300, -300, -1, 0], np.int32))  # fmt: skip
case("Cast", [WILD], DstT=dtypes.int64, Truncate=False,
     expect=np.array([LONG_MIN] * 3 + [3000000000, -3000000000, LONG_MIN, 300, -300, -1, 0]))  # fmt: skip  # noqa: E501
case("Cast", [WILD], DstT=dtypes.uint8, Truncate=False,
     expect=np.array([0] * 6 + [44, 212, 255, 0], np.uint8))  # fmt: skip
case("Cast", [WILD], DstT=dtypes.int8, Truncate=False,
     expect=np.array([0] * 6 + [44, -44, -1, 0], np.int8))  # fmt: skip
case("Cast", [WILD[6:].astype(BF16)], DstT=dtypes.int16, expect=np.int16([300, -300, -1, 0]))
case("Cast", [f32(3e9, 300.7, -300.7)], DstT=dtypes.uint32,
     expect=np.array([3000000000, 300, 2**32 - 300], np.uint32))  # fmt: skip
case("Cast", [f32(3e9, -3e9, 1e19)], DstT=dtypes.uint64,
     expect=np.array([3000000000, 2**64 - 3000000000, 9999999980506447872], np.uint64))  # fmt: skip
case("Cast", [WILD], DstT=dtypes.bool, expect=np.ones(10, bool))
case("Cast", [f32(0, -0.0, 0.1)], DstT=dtypes.bool, expect=[False, False, True])
case("Cast", [[True, False]], DstT=dtypes.float32, expect=f32(1, 0))
case("Cast", [[True]], DstT=dtypes.complex64, expect=np.complex64([1]))
case("Cast", [np.complex64([1.5 + 2j, 2j])], DstT=dtypes.float32, expect=f32(1.5, 0))
case("Cast", [np.complex64([1.5 + 2j, 2j])], DstT=dtypes.int32, expect=i32(1, 0))
case("Cast", [np.complex64([1.5 + 2j, 2j])], DstT=dtypes.bool, expect=[True, False])
case("Cast", [A], DstT=dtypes.float64, expect=A.astype(np.float64))
case("Cast", [A], DstT=dtypes.float16, expect=A.astype(np.float16))
case("Cast", [A], DstT=dtypes.float32, expect=A)
case("Cast", [i32(300, -1)], DstT=dtypes.uint8, expect=np.uint8([44, 255]))
case("Cast", [np.int64(2**40 + 5)], DstT=dtypes.int32, expect=np.int32(5))
case("Cast", [EMPTY], DstT=dtypes.int32, expect=EMPTY.astype(np.int32))
case("Cast", [f32(1.999999)], DstT=dtypes.bfloat16, expect=np.array([2], BF16))
case("Cast", [f32(1.999999, -1.999999, INF)], DstT=dtypes.bfloat16, Truncate=True,
     expect=np.array([1.9921875, -1.9921875, INF], BF16))  # fmt: skip
case("Cast", [f32(1.999999, 1e6)], DstT=dtypes.float16, Truncate=True,
     expect=np.array([1.9990234375, INF], np.float16))  # fmt: skip
case("Cast", [np.float64([1.99999999999])], DstT=dtypes.float32, Truncate=True,
     expect=f32(1.9999999))  # fmt: skip
case("Cast", [np.array([b"1"])], DstT=dtypes.int32, raises=errors.UnimplementedError,
     match="Cast string to int32 is not supported", xla=False)  # fmt: skip

# Complex numbers ---------------------------------------------------------------------------------

case("ComplexAbs", [C], expect=np.abs(C))
case("ComplexAbs", [C.astype(np.complex128)], Tout=dtypes.float64,
     expect=np.abs(C.astype(np.complex128)))  # fmt: skip
case("Real", [C], expect=C.real)
case("Imag", [C], expect=C.imag)
case("Imag", [C.astype(np.complex128)], Tout=dtypes.float64, expect=C.imag.astype(np.float64))
case("Angle", [C], expect=np.angle(C))
case("Conj", [C], expect=C.conj())
case("Complex", [f32(1, INF), f32(INF, 2)], expect=np.array([complex(1, INF), complex(INF, 2)],
     np.complex64))  # fmt: skip
case("Complex", [A, np.float32(2)], expect=(A + 2j).astype(np.complex64))
case(
    "Complex", [np.float64(1), np.float64(2)], Tout=dtypes.complex128, expect=np.complex128(1 + 2j)
)
case("Complex", [f32(1, 2), f32(1, 2, 3)], raises=INVALID, match="Incompatible shapes")

# Sums and products -------------------------------------------------------------------------------

case("AddN", [[A, B, A]], expect=A + B + A)
case("AddN", [[A]], expect=A)
case("AddN", [[np.int8([100]), np.int8([100])]], expect=np.int8([-56]))
case("AddN", [[np.array(1.5), np.array(2.0), np.array(3.0)]], expect=np.float64(6.5))
case("AddN", [[f32(1, 2), f32(1, 2, 3)]], raises=INVALID, match=r"of type AddN must have the same "
     r"size and shape\.  Input 0: \[2\] != input 1: \[3\]")  # fmt: skip
# TensorFlow has no kernel for this op: it rewrites the graph.
case("AccumulateNV2", [[A, B]], shape=[2, 3], expect=A + B, conformance=False)
case("Cross", [A, B], expect=np.cross(A, B))
case("Cross", [i32(1, 2, 3), i32(3, 2, 1)], expect=i32(-4, 8, -4))
case("Cross", [f32(1, 2), f32(1, 2)], raises=errors.FailedPreconditionError,
     match="Cross-products are only defined for 3-element vectors")  # fmt: skip
case("Cross", [f32(1, 2, 3), f32(1, 2, 3).reshape(1, 3)], raises=INVALID,
     match="Both inputs must be of same shape")  # fmt: skip

case("MatMul", [A, B.T], expect=A @ B.T)
case("MatMul", [A, B], transpose_b=True, expect=A @ B.T)
case("MatMul", [A, B], transpose_a=True, expect=A.T @ B)
case("MatMul", [A, B.T], transpose_a=True, transpose_b=True, expect=A.T @ B)
case("MatMul", [A.astype(np.float64), B.T.astype(np.float64)])
case("MatMul", [A.astype(np.float16), B.T.astype(np.float16)], rtol=2e-3)
case("MatMul", [A.astype(BF16), B.T.astype(BF16)], rtol=2e-2)
case("MatMul", [i32(1, 2).reshape(1, 2), i32(3, 4).reshape(2, 1)], expect=i32(11).reshape(1, 1))
case("MatMul", [C, C], expect=C @ C)
case("MatMul", [np.zeros((2, 0), np.float32), EMPTY], expect=np.zeros((2, 3), np.float32))
case("MatMul", [EMPTY, B.T], expect=np.zeros((0, 2), np.float32))
case("MatMul", [A, B], raises=INVALID,
     match=r"Matrix size-incompatible: In\[0\]: \[2,3\], In\[1\]: \[2,3\]")  # fmt: skip
case("MatMul", [A[0], B], raises=INVALID, match=r"In\[0\]")

X3, Y3 = np.stack([A, B, A + 1]), np.stack([B.T, A.T, B.T])
for _op in ("BatchMatMul", "BatchMatMulV2"):
    case(_op, [X3, Y3], expect=X3 @ Y3, rtol=1e-4)
    case(_op, [A, B.T], expect=A @ B.T)
    case(_op, [C[None], C[None]], adj_x=True, expect=C.conj().T[None] @ C)
    case(_op, [C[None], C[None]], adj_y=True, expect=C[None] @ C.conj().T)
    case(_op, [X3[:0], Y3[:0]], expect=np.zeros((0, 2, 2), np.float32))
    case(_op, [X3, X3], raises=INVALID, match="Matrix size-incompatible")
    case(_op, [A[0], X3], raises=INVALID, match="ndims")
case("BatchMatMulV2", [X3, B.T], expect=X3 @ B.T, rtol=1e-4)
case("BatchMatMulV2", [X3[:, None], Y3], expect=X3[:, None] @ Y3, rtol=1e-4)
case("BatchMatMulV2", [X3.astype(BF16), Y3.astype(BF16)], rtol=2e-2)
case("BatchMatMul", [X3, Y3[:2]], raises=INVALID,
     match=r"In\[0\].dim\(0\) and In\[1\].dim\(0\) must be the same: \[3,2,3\] vs \[2,3,2\]")  # fmt: skip  # noqa: E501
case("BatchMatMulV2", [X3, Y3[:2]], raises=INVALID,
     match=r"must have compatible batch dimensions: \[3,2,3\] vs. \[2,3,2\]")  # fmt: skip
case(
    "BatchMatMulV3",
    [np.int8([[100]]), np.int8([[2]])],
    Tout=dtypes.int32,
    expect=i32(200).reshape(1, 1),
)
case("BatchMatMulV3", [X3, Y3], Tout=dtypes.float32, expect=X3 @ Y3, rtol=1e-4)

# Sequences and broadcasting ----------------------------------------------------------------------

case("Range", [np.int32(0), np.int32(5), np.int32(2)], expect=i32(0, 2, 4))
case("Range", [np.int32(5), np.int32(0), np.int32(-2)], expect=i32(5, 3, 1))
case("Range", [np.int32(5), np.int32(5), np.int32(1)], expect=i32())
case(
    "Range",
    [np.int64(2**40), np.int64(2**40 + 2), np.int64(1)],
    expect=np.int64([2**40, 2**40 + 1]),
)
case("Range", [np.float32(0), np.float32(1), np.float32(0.1)], rtol=1e-6,
     expect=np.arange(10, dtype=np.float32) * np.float32(0.1))  # fmt: skip
case(
    "Range",
    [np.float64(1), np.float64(0), np.float64(-0.25)],
    expect=np.array([1, 0.75, 0.5, 0.25]),
)
case("Range", [np.int32(5), np.int32(0), np.int32(0)], raises=INVALID, match="Requires delta != 0")
case("Range", [np.int32(5), np.int32(0), np.int32(1)], raises=INVALID,
     match="Requires start <= limit when delta > 0: 5/0")  # fmt: skip
case("Range", [np.int32(0), np.int32(5), np.int32(-1)], raises=INVALID,
     match="Requires start >= limit when delta < 0: 0/5")  # fmt: skip
case("Range", [i32(0, 1), np.int32(5), np.int32(1)], raises=INVALID,
     match=r"start must be a scalar, not shape \[2\]")  # fmt: skip
case("LinSpace", [np.float32(0), np.float32(1), np.int32(4)], expect=f32(0, 1 / 3, 2 / 3, 1))
case("LinSpace", [np.float64(3), np.float64(1), np.int64(3)], expect=np.array([3.0, 2, 1]))
case("LinSpace", [np.float32(2), np.float32(9), np.int32(1)], expect=f32(2))
case(
    "LinSpace",
    [np.float32(0), np.float32(1), np.int32(0)],
    raises=INVALID,
    match="Requires num > 0: 0",
)
case("Bucketize", [i32(-1, 0, 5, 10)], boundaries=[0.0, 5.0, 7.0], expect=i32(0, 1, 2, 3))
case("Bucketize", [A], boundaries=[0.0, 1.0], expect=np.digitize(A, [0, 1]).astype(np.int32))
case(
    "Bucketize", [f32(1)], boundaries=[5.0, 0.0], raises=INVALID, match="Expected sorted boundaries"
)

for _s0, _s1, _r0, _r1 in [
    ([2, 3], [3], [], [0]),
    ([2, 1, 3], [1, 3], [1], [0, 1]),
    ([1, 1], [1], [0, 1], [0, 1]),
    ([2, 3], [2, 3], [], []),
    ([], [2, 1], [0, 1], [1]),
    ([1, 2, 1], [3, 1, 1], [0, 2], [1, 2]),
    ([0, 2], [1, 1], [], [0, 1]),
]:
    case("BroadcastGradientArgs", [i32(*_s0), i32(*_s1)], expect=(i32(*_r0), i32(*_r1)))
case("BroadcastGradientArgs", [np.int64([2, 3]), np.int64([3])],
     expect=(np.zeros(0, np.int64), np.int64([0])))  # fmt: skip
case("BroadcastGradientArgs", [i32(2, 3), i32(2)], raises=INVALID,
     match=r"Incompatible shapes: \[2,3\] vs. \[2\]")  # fmt: skip

test_case = table_test()

# Gradients ---------------------------------------------------------------------------------------

P = np.array([[0.3, 0.73, 0.45], [0.2, 0.55, 0.87]])
Q = np.array([[1.37, -0.41, 2.15], [0.62, -1.7, 0.93]])
Z = np.array([[0.5 + 1j, -0.3j + 0.2], [1.2, -1 - 0.4j]])

_ON_UNIT = [
    "Abs",
    "Acos",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BesselI0e",
    "BesselI1e",
    "Cos",
    "Cosh",
    "Digamma",
    "Erf",
    "Erfc",
    "Erfinv",
    "Exp",
    "Expm1",
    "Inv",
    "Lgamma",
    "Log",
    "Log1p",
    "Ndtri",
    "Neg",
    "Reciprocal",
    "Rsqrt",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Sqrt",
    "Square",
    "Tan",
    "Tanh",
]
_ON_COMPLEX = [
    "Cos",
    "Exp",
    "Log",
    "Neg",
    "Reciprocal",
    "Rsqrt",
    "Sigmoid",
    "Sin",
    "Sqrt",
    "Square",
    "Tanh",
    "Conj",
]
_ON_PAIRS = [
    "AddV2",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "RealDiv",
    "DivNoNan",
    "MulNoNan",
    "Maximum",
    "Minimum",
    "SquaredDifference",
    "Atan2",
    "FloorMod",
    "Mod",
    "TruncateMod",
]


@pytest.mark.parametrize("op", [*_ON_UNIT, "Acosh"])
def test_gradient_of_one_operand(op: str) -> None:
    assert_gradient(lambda x: apply_op(op, x), P + 1 if op == "Acosh" else P)


@pytest.mark.parametrize("op", _ON_COMPLEX)
def test_gradient_of_one_complex_operand(op: str) -> None:
    assert_gradient(lambda x: apply_op(op, x), Z)


@pytest.mark.parametrize("op", _ON_PAIRS)
def test_gradient_of_two_operands(op: str) -> None:
    def function(x, y):
        return apply_op(op, x, y)

    assert_gradient(function, P, Q)
    assert_gradient(function, P[:, :1], Q[0])
    assert_gradient(function, np.float64(0.7), Q)
    assert_gradient(function, Q.reshape(2, 1, 3), P)


@pytest.mark.parametrize("op", ["Pow", "Xlogy", "Xlog1py", "Xdivy"])
def test_gradient_of_two_positive_operands(op: str) -> None:
    assert_gradient(lambda x, y: apply_op(op, x, y), P, P[::-1, :1])
    assert_gradient(lambda x, y: apply_op(op, x, y), np.float64(0.7), P)


@pytest.mark.parametrize("op", ["Mul", "RealDiv", "Pow"])
def test_gradient_of_two_complex_operands(op: str) -> None:
    assert_gradient(lambda x, y: apply_op(op, x, y), Z, Z.T[:1] + 1)


@pytest.mark.parametrize("op", ["Zeta", "Polygamma"])
def test_gradient_of_the_second_operand_only(op: str) -> None:
    assert_gradient(lambda x, y: apply_op(op, x, y), np.array([2.0, 3.0]), P[:, :1],
                    differentiable=[1])  # fmt: skip


def test_gradient_of_the_incomplete_beta_function() -> None:
    x = np.array([0.1, 0.4, 0.8])
    for a, b in ((np.float64(2), np.float64(3)), (x + 1, x + 2)):
        assert_gradient(lambda a, b, x: apply_op("Betainc", a, b, x), a, b, x, differentiable=[2])
    a = np.array([0.5, 1, 2])
    assert_gradient(lambda a, b, x: apply_op("Betainc", a, b, x), a, a, np.float64(0.3),
                    differentiable=[2])  # fmt: skip


@pytest.mark.parametrize(
    "op", ["SqrtGrad", "RsqrtGrad", "TanhGrad", "SigmoidGrad", "ReciprocalGrad", "InvGrad"]
)
def test_second_gradient(op: str) -> None:
    assert_gradient(lambda y, dy: apply_op(op, y, dy), P, Q)


def test_gradient_of_complex_parts() -> None:
    for op in ("Real", "Imag", "Angle", "ComplexAbs"):
        assert_gradient(lambda x, op=op: apply_op(op, x, Tout=dtypes.float64), Z)
    assert_gradient(lambda x, y: apply_op("Complex", x, y, Tout=dtypes.complex128), P, Q[0])


def test_gradient_of_selection() -> None:
    choice = np.array([[True, False, True], [False, False, True]])
    assert_gradient(lambda c, x, y: apply_op("Select", c, x, y), choice, P, Q)
    assert_gradient(lambda c, x, y: apply_op("Select", c, x, y), choice[:, 0], P, Q)
    assert_gradient(lambda c, x, y: apply_op("SelectV2", c, x, y), choice, P[0], Q[:, :1])
    assert_gradient(lambda x, a, b: apply_op("ClipByValue", x, a, b), Q, np.float64(-0.5), P + 1)


def test_gradient_of_sums_and_casts() -> None:
    assert_gradient(lambda x, y: apply_op("AddN", [x, y, x]), P, Q)
    assert_gradient(lambda x: apply_op("Cast", apply_op("Cast", x, DstT=dtypes.complex128),
                                       DstT=dtypes.float64), P)  # fmt: skip
    assert_gradient(lambda x, y: apply_op("Cross", x, y), P, Q)


@pytest.mark.parametrize("t_a", [False, True])
@pytest.mark.parametrize("t_b", [False, True])
def test_gradient_of_matrix_products(t_a: bool, t_b: bool) -> None:
    a, b = P.T if t_a else P, Q if t_b else Q.T
    assert_gradient(lambda x, y: apply_op("MatMul", x, y, transpose_a=t_a, transpose_b=t_b), a, b)
    batch = np.stack([a, a + 1])
    for op in ("BatchMatMul", "BatchMatMulV2"):
        assert_gradient(lambda x, y, op=op: apply_op(op, x, y, adj_x=t_a, adj_y=t_b),
                        batch, np.stack([b, -b]))  # fmt: skip
    assert_gradient(lambda x, y: apply_op("BatchMatMulV2", x, y, adj_x=t_a, adj_y=t_b), batch, b)
    assert_gradient(lambda x, y: apply_op("BatchMatMulV2", x, y, adj_x=t_a, adj_y=t_b),
                    batch[:, None], np.stack([b, -b, 2 * b]))  # fmt: skip
    assert_gradient(lambda x, y: apply_op("BatchMatMulV2", x, y, adj_x=t_a, adj_y=t_b), Z[None], Z)


# The user's functions ----------------------------------------------------------------------------


def _nodes(build) -> list[str]:
    """The names and types of the ops that ``build(x, y, i, b)`` makes."""
    with Graph().as_default() as graph:
        given = [
            graph.create_op("Placeholder", [], attrs={"dtype": d, "shape": (2, 3)}).outputs[0]
            for d in (dtypes.float32, dtypes.float32, dtypes.int32, dtypes.bool)
        ]
        count = len(graph.get_operations())
        build(*given)
        return [f"{op.name}={op.type}" for op in graph.get_operations()[count:]]


@pytest.mark.parametrize(
    ("build", "nodes"),
    [
        (lambda x, y, i, b: x + y, ["add=AddV2"]),
        (lambda x, y, i, b: 2 + x, ["add/x=Const", "add=AddV2"]),
        (lambda x, y, i, b: x - 2.5, ["sub/y=Const", "sub=Sub"]),
        (lambda x, y, i, b: 2 * x, ["mul/x=Const", "mul=Mul"]),
        (lambda x, y, i, b: x / y, ["truediv=RealDiv"]),
        (lambda x, y, i, b: i / 2,
         ["truediv/y=Const", "truediv/Cast=Cast", "truediv/Cast_1=Cast", "truediv=RealDiv"]),
        (lambda x, y, i, b: 2 // x, ["floordiv/x=Const", "floordiv=FloorDiv"]),
        (lambda x, y, i, b: i % 2, ["mod/y=Const", "mod=FloorMod"]),
        (lambda x, y, i, b: x**2, ["pow/y=Const", "pow=Pow"]),
        (lambda x, y, i, b: -x, ["Neg=Neg"]),
        (lambda x, y, i, b: abs(x), ["Abs=Abs"]),
        (lambda x, y, i, b: i < 2, ["Less/y=Const", "Less=Less"]),
        (lambda x, y, i, b: i > 2, ["Greater/y=Const", "Greater=Greater"]),
        (lambda x, y, i, b: True & b, ["and/x=Const", "and=LogicalAnd"]),
        (lambda x, y, i, b: b | b, ["or=LogicalOr"]),
        (lambda x, y, i, b: b ^ b, ["xor/LogicalOr=LogicalOr", "xor/LogicalAnd=LogicalAnd",
                                    "xor/LogicalNot=LogicalNot", "xor=LogicalAnd"]),
        (lambda x, y, i, b: ~b, ["LogicalNot=LogicalNot"]),
        (lambda x, y, i, b: tf.add(x, y), ["Add=AddV2"]),
        (lambda x, y, i, b: tf.div(i, i), ["div=FloorDiv"]),
        (lambda x, y, i, b: tf.matmul(x, y, transpose_b=True), ["MatMul=MatMul"]),
        (lambda x, y, i, b: tf.cast(x, dtypes.float32), []),
        (lambda x, y, i, b: tf.to_float(i), ["ToFloat=Cast"]),
        (lambda x, y, i, b: tf.round(i), []),
        (lambda x, y, i, b: tf.add_n([x]), []),
        (lambda x, y, i, b: tf.add_n([x], name="q"), ["q=Identity"]),
        (lambda x, y, i, b: tf.scalar_mul(2.0, x), ["scalar=Const", "Mul=Mul"]),
        (lambda x, y, i, b: tf.range(5),
         ["range/start=Const", "range/limit=Const", "range/delta=Const", "range=Range"]),
    ],
)  # fmt: skip
def test_graph_is_tensorflows(build, nodes: list[str]) -> None:
    assert sorted(_nodes(build)) == sorted(nodes)


def test_operators_refuse_other_dtypes() -> None:
    with pytest.raises(TypeError, match="type"):
        _nodes(lambda x, y, i, b: i + 2.5)
    with pytest.raises(TypeError, match="same dtype"):
        _nodes(lambda x, y, i, b: x / i)
    with pytest.raises(TypeError, match="float32"):
        _nodes(lambda x, y, i, b: x & b)


def test_operators_leave_unknown_operands_their_turn() -> None:
    class Other:
        def __radd__(self, other: object) -> str:
            return "mine"

    with Graph().as_default():
        assert constant(1.0) + Other() == "mine"


def test_static_shape_errors_name_the_node() -> None:
    with pytest.raises(ValueError, match=r"Dimensions must be equal, but are 3 and 2 for .*MatMul"):
        _nodes(lambda x, y, i, b: tf.matmul(x, y))
    with pytest.raises(ValueError, match="Only one of transpose_a and adjoint_a"):
        _nodes(lambda x, y, i, b: tf.matmul(x, y, transpose_a=True, adjoint_a=True))
