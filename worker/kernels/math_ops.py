"""Kernels of elementwise arithmetic, comparison, casts and matrix products.

Differences from numpy: results keep the dtype of the operands (integer division truncates, and Mean
and Sum of small integers do not widen), operands have one dtype, and integer division by zero is an
error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.execution import blas, xla
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.kernels.support.elementwise import (
    binary,
    broadcast_error,
    broadcasting,
    in_float32,
    is_complex,
    is_integer,
    unary,
)
from flowray.worker.kernels.support.precision import is_half, widened

F = TypeVar("F", bound=Callable[..., Any])

# One operand -------------------------------------------------------------------------------------


_UNARY = {
    "Neg": "negative",
    "Abs": "abs",
    "Sign": "sign",
    "Square": "square",
    "Sqrt": "sqrt",
    "Exp": "exp",
    "Expm1": "expm1",
    "Log": "log",
    "Log1p": "log1p",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "arcsin",
    "Acos": "arccos",
    "Atan": "arctan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asinh": "arcsinh",
    "Acosh": "arccosh",
    "Atanh": "arctanh",
    "Tanh": "tanh",
    "Floor": "floor",
    "Ceil": "ceil",
    "Rint": "rint",
    "IsNan": "isnan",
    "IsInf": "isinf",
    "IsFinite": "isfinite",
    "LogicalNot": "logical_not",
    "Conj": "conj",
}
_PARTS = {"ComplexAbs": "abs", "Real": "real", "Imag": "imag", "Angle": "angle"}  # fmt: skip


def _part(name: str) -> Callable[..., Any]:
    """Returns a kernel that makes a real number of a complex one."""
    function = unary(name)

    def compute(xp: Any, x: Any, *, Tout: DType) -> Any:
        return function(xp, x).astype(Tout.as_numpy_dtype, copy=False)

    return compute


@kernel("Round")
def _round(xp: Any, x: Any) -> Any:
    """Rounds half to even."""
    if is_integer(x):
        return x
    return xp.round(x) if is_complex(x) else xp.rint(x)


@kernel("Rsqrt")
def _rsqrt(xp: Any, x: Any) -> Any:
    return 1 / np.sqrt(x) if xp is np else xla.jax().lax.rsqrt(x)


@kernel("Reciprocal", "Inv")
def _reciprocal(xp: Any, x: Any) -> Any:
    return _truncate_div(xp, xp.ones_like(x), x) if is_integer(x) else 1 / x


@kernel("Sigmoid")
@in_float32
def _sigmoid(xp: Any, x: Any) -> Any:
    return 1 / (1 + np.exp(-x)) if xp is np else xla.jax().nn.sigmoid(x)


def _special(name: str) -> Callable[..., Any]:
    """Returns a kernel that calls ``name`` of scipy.special and of jax.scipy.special."""

    @in_float32
    def compute(xp: Any, x: Any) -> Any:
        return getattr(_special_module(xp), name)(x)

    return compute


def _special_module(xp: Any) -> Any:
    if xp is not np:
        return xla.jax().scipy.special
    import scipy.special  # noqa: PLC0415 - it takes 0.1 s, and few graphs need it

    return scipy.special


_SPECIAL = {
    "Erf": "erf", "Erfc": "erfc", "Erfinv": "erfinv", "Ndtri": "ndtri",
    "BesselI0e": "i0e", "BesselI1e": "i1e",
}  # fmt: skip


@kernel("Lgamma")
@in_float32
def _lgamma(xp: Any, x: Any) -> Any:
    return xp.where(xp.isinf(x), abs(x), _special_module(xp).gammaln(x))


@kernel("Digamma")
@in_float32
def _digamma(xp: Any, x: Any) -> Any:
    pole = (x <= 0) & (xp.floor(x) == x)
    return xp.where(pole, x.dtype.type(np.nan), _special_module(xp).digamma(x))


@kernel("Bucketize")
def _bucketize(xp: Any, x: Any, *, boundaries: list[float]) -> Any:
    if any(a > b for a, b in itertools.pairwise(boundaries)):
        raise errors.invalid_argument("Expected sorted boundaries")
    return xp.searchsorted(np.array(boundaries, np.float32), x, side="right").astype(np.int32)


# Two operands that broadcast ---------------------------------------------------------------------


_BINARY = {
    "AddV2": "add", "Sub": "subtract", "Mul": "multiply", "Atan2": "arctan2",
    "Maximum": "maximum", "Minimum": "minimum", "Less": "less", "LessEqual": "less_equal",
    "Greater": "greater", "GreaterEqual": "greater_equal", "LogicalAnd": "logical_and",
    "LogicalOr": "logical_or",
}  # fmt: skip


_add_numbers = binary("add")


@kernel("Add")
def _add(xp: Any, x: Any, y: Any) -> Any:
    result = _add_numbers(xp, x, y)
    # The sum of two scalars of dtype object is their elements' sum and no array.
    return np.array(result, object) if type(result) is bytes else result


def _check_divisor(xp: Any, x: Any, y: Any) -> None:
    if x.size:
        check(xp.all(y != 0), lambda: errors.invalid_argument("Integer division by zero"))


def _truncate_div(xp: Any, x: Any, y: Any) -> Any:
    """Divides and rounds towards zero, as C++ does."""
    if not is_integer(x):
        return xp.trunc(x / y)
    _check_divisor(xp, x, y)
    return (x - xp.fmod(x, y)) // y


broadcasting("TruncateDiv")(_truncate_div)


@broadcasting("Div", "RealDiv")
def _div(xp: Any, x: Any, y: Any) -> Any:
    return _truncate_div(xp, x, y) if is_integer(x) else x / y


@broadcasting("FloorDiv")
def _floor_div(xp: Any, x: Any, y: Any) -> Any:
    if not is_integer(x):
        # numpy's own corrects the rounding of the quotient (1 // 0.1 is 9); TensorFlow does not.
        return xp.floor(x / y)
    _check_divisor(xp, x, y)
    return x // y


@broadcasting("FloorMod")
def _floor_mod(xp: Any, x: Any, y: Any) -> Any:
    if is_integer(x):
        _check_divisor(xp, x, y)
    return xp.remainder(x, y)


@broadcasting("Mod", "TruncateMod")
def _truncate_mod(xp: Any, x: Any, y: Any) -> Any:
    if is_integer(x):
        _check_divisor(xp, x, y)
    return xp.fmod(x, y)


@broadcasting("DivNoNan")
def _div_no_nan(xp: Any, x: Any, y: Any) -> Any:
    return xp.where(y == 0, x.dtype.type(0), x / xp.where(y == 0, y.dtype.type(1), y))


@broadcasting("MulNoNan")
def _mul_no_nan(xp: Any, x: Any, y: Any) -> Any:
    return xp.where(y == 0, x.dtype.type(0), x * y)


@broadcasting("Xlogy")
def _xlogy(xp: Any, x: Any, y: Any) -> Any:
    return xp.where(x == 0, x.dtype.type(0), x * xp.log(y))


@broadcasting("Xlog1py")
def _xlog1py(xp: Any, x: Any, y: Any) -> Any:
    return xp.where(x == 0, x.dtype.type(0), x * xp.log1p(y))


@broadcasting("Xdivy")
def _xdivy(xp: Any, x: Any, y: Any) -> Any:
    return xp.where(x == 0, x.dtype.type(0), x / y)


@broadcasting("Pow")
def _pow(xp: Any, x: Any, y: Any) -> Any:
    if is_integer(x):
        text = "Integers to negative integer powers are not allowed"
        check(xp.all(y >= 0), lambda: errors.invalid_argument(text))
    return xp.power(x, y)


@broadcasting("SquaredDifference")
def _squared_difference(xp: Any, x: Any, y: Any) -> Any:
    difference = x - y
    return difference * (xp.conj(difference) if is_complex(x) else difference)


@broadcasting("Zeta")
def _zeta(xp: Any, x: Any, q: Any) -> Any:
    return _special_module(xp).zeta(x, q)


@broadcasting("Polygamma")
def _polygamma(xp: Any, a: Any, x: Any) -> Any:
    """Computes the a-th derivative of digamma, through Hurwitz' zeta.

    It is NaN unless ``a`` is a natural number or 0.
    """
    special = _special_module(xp)
    derivative = xp.exp(special.gammaln(a + 1)) * special.zeta(a + 1, x)
    derivative = xp.where(a % 2 == 0, -derivative, derivative)
    order = (a >= 0) & (xp.floor(a) == a)
    derivative = xp.where(order, derivative, x.dtype.type(np.nan))
    return xp.where(a == 0, special.digamma(x), derivative)


def _equality(xp: Any, x: Any, y: Any, negated: bool, incompatible_shape_error: bool) -> Any:
    try:
        equal = xp.equal(x, y)
    except (TypeError, ValueError) as error:
        explained = broadcast_error(error, (x, y))
        if incompatible_shape_error or explained is error:
            raise explained from None
        equal = np.False_
    return xp.logical_not(equal) if negated else equal


@kernel("Equal")
def _equal(xp: Any, x: Any, y: Any, *, incompatible_shape_error: bool) -> Any:
    return _equality(xp, x, y, False, incompatible_shape_error)


@kernel("NotEqual")
def _not_equal(xp: Any, x: Any, y: Any, *, incompatible_shape_error: bool) -> Any:
    return _equality(xp, x, y, True, incompatible_shape_error)


@kernel("ApproximateEqual")
def _approximate_equal(xp: Any, x: Any, y: Any, *, tolerance: float) -> Any:
    if x.shape != y.shape:
        raise errors.invalid_argument(
            f"x and y must be of the same shape. x shape: {format_shape(x.shape)}. "
            f"y shape: {format_shape(y.shape)}"
        )
    distance = abs(x - y)
    return distance < distance.dtype.type(tolerance)


@kernel("Complex")
def _complex(xp: Any, real: Any, imag: Any, *, Tout: DType) -> Any:
    if xp is not np:
        try:
            return xla.jax().lax.complex(*xp.broadcast_arrays(real, imag))
        except (TypeError, ValueError) as error:
            raise broadcast_error(error, (real, imag)) from None
    try:
        result = np.empty(np.broadcast_shapes(real.shape, imag.shape), Tout.as_numpy_dtype)
    except ValueError as error:
        raise broadcast_error(error, (real, imag)) from None
    # The formula real + 1j * imag would turn an infinite part into NaN.
    result.real, result.imag = real, imag
    return result


# Gradients of elementwise functions, given their results -----------------------------------------


def _result_gradient(*op_names: str, conjugate: bool = False) -> Callable[[F], F]:
    """Registers a kernel ``f(y, dy)`` of arguments of one shape.

    Args:
        conjugate: whether the function gets ``y`` conjugated.
    """

    def register(function: F) -> F:
        def compute(xp: Any, y: Any, dy: Any) -> Any:
            if y.shape != dy.shape:
                raise errors.invalid_argument(
                    "The two arguments to a cwise op must have same number of elements, got "
                    f"{y.size} and {dy.size}"
                )
            return function(xp.conj(y) if conjugate and is_complex(y) else y, dy)

        kernel(*op_names)(compute)
        return function

    return register


@_result_gradient("SqrtGrad", conjugate=True)
def _sqrt_grad(y: Any, dy: Any) -> Any:
    return dy * y.dtype.type(0.5) / y


@_result_gradient("RsqrtGrad", conjugate=True)
def _rsqrt_grad(y: Any, dy: Any) -> Any:
    return dy * y.dtype.type(-0.5) * (y * y * y)


@_result_gradient("ReciprocalGrad", "InvGrad", conjugate=True)
def _reciprocal_grad(y: Any, dy: Any) -> Any:
    return -dy * y * y


@_result_gradient("TanhGrad")
def _tanh_grad(y: Any, dy: Any) -> Any:
    return dy * (1 - y * y)


@_result_gradient("SigmoidGrad")
def _sigmoid_grad(y: Any, dy: Any) -> Any:
    return dy * y * (1 - y)


# Selection ---------------------------------------------------------------------------------------


@kernel("Select")
def _select(xp: Any, condition: Any, t: Any, e: Any) -> Any:
    """Selects by a condition: a scalar, one of the same shape, or a vector for whole rows."""
    if t.shape != e.shape:
        raise errors.invalid_argument(
            f"'then' and 'else' must have the same size.  but received: {format_shape(t.shape)} "
            f"vs. {format_shape(e.shape)}"
        )
    if condition.shape not in ((), t.shape):
        if condition.ndim != 1 or not t.ndim:
            raise errors.invalid_argument(
                f"'cond' must be a scalar or have the shape of 'then': "
                f"{format_shape(condition.shape)} vs. {format_shape(t.shape)}"
            )
        if len(condition) != t.shape[0]:
            raise errors.invalid_argument(
                "Number of batches of 'then' must match size of 'cond', but saw: "
                f"{t.shape[0]} vs. {len(condition)}"
            )
        condition = condition.reshape((-1,) + (1,) * (t.ndim - 1))
    return xp.where(condition, t, e)


@kernel("SelectV2")
def _select_v2(xp: Any, condition: Any, t: Any, e: Any) -> Any:
    try:
        return xp.where(condition, t, e)
    except (TypeError, ValueError):
        raise errors.invalid_argument(
            f"condition {format_shape(condition.shape)}, then {format_shape(t.shape)}, and else "
            f"{format_shape(e.shape)} must be broadcastable"
        ) from None


@kernel("Betainc")
def _betainc(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """Computes the regularized incomplete beta function; NaN outside of its domain.

    Operands that are not scalars must have one shape, as in TensorFlow: they do not broadcast.
    scipy and JAX have limits for ``a`` and ``b`` of 0 and infinity, where TensorFlow has NaN.
    """
    operands = {"a": a, "b": b, "x": x}
    for (name, first), (other, second) in itertools.combinations(operands.items(), 2):
        if first.ndim and second.ndim and first.shape != second.shape:
            raise errors.invalid_argument(
                f"Shapes of {name} and {other} are inconsistent: {format_shape(first.shape)} vs. "
                f"{format_shape(second.shape)}"
            )
    domain = (a > 0) & (b > 0) & xp.isfinite(a) & xp.isfinite(b)
    return xp.where(domain, _special_module(xp).betainc(a, b, x), x.dtype.type(np.nan))


@kernel("ClipByValue")
def _clip_by_value(xp: Any, t: Any, low: Any, high: Any) -> Any:
    if not {low.shape, high.shape} <= {(), t.shape}:
        raise errors.invalid_argument(
            "clip_value_min and clip_value_max must be either of the same shape as input, or a "
            f"scalar. input shape: {format_shape(t.shape)}clip_value_min shape: "
            f"{format_shape(low.shape)}clip_value_max shape: {format_shape(high.shape)}"
        )
    return xp.maximum(xp.minimum(t, high), low)


# Casts -------------------------------------------------------------------------------------------


@kernel("Cast")
def cast(xp: Any, x: Any, *, DstT: DType, Truncate: bool) -> Any:
    """Converts as C++ does: towards zero; complex numbers lose their imaginary part.

    A float that an integer type cannot hold becomes what x86 instructions make of it (int32:
    -2**31). XLA by itself would give the nearest value, so the traced cast selects. Casts from and
    to strings raise UnimplementedError.
    """
    target = np.dtype(DstT.as_numpy_dtype)
    if object in (x.dtype, target):
        source = "string" if x.dtype == object else x.dtype.name
        raise errors.unimplemented(f"Cast {source} to {DstT.name} is not supported")
    if x.dtype == target:
        return x
    if is_complex(x) and target.kind != "c":
        x = x.real
    if not (is_integer(x) or x.dtype == bool):
        if target.kind in "iu":
            return _float_to_integer(xp, x, target)
        if Truncate:
            x = _drop_low_bits(xp, x, target)
    return x.astype(target)


def _float_to_integer(xp: Any, x: Any, target: np.dtype[Any]) -> Any:
    if target == np.uint64:
        negative = _float_to_integer(xp, x, np.dtype(np.int64)).astype(target)
        return xp.where(x < 0, negative, x.astype(target))
    signed = np.dtype(np.int64 if target in (np.int64, np.uint32) else np.int32)
    if xp is np:
        return x.astype(signed).astype(target, copy=False)
    x = widened(x)
    bound = 2.0 ** (8 * signed.itemsize - 1)
    lowest = np.array(-(2 ** (8 * signed.itemsize - 1)), signed)
    fits = (x >= -bound) & (x < bound)
    return xp.where(fits, x.astype(signed), lowest).astype(target)


def _drop_low_bits(xp: Any, x: Any, target: np.dtype[Any]) -> Any:
    """Clears the mantissa bits that ``target`` lacks, so that the cast rounds towards zero."""
    if x.dtype.kind != "f" or target.kind == "c" or x.dtype.itemsize <= target.itemsize:
        return x
    excess = _mantissa_bits(x.dtype) - _mantissa_bits(target)
    bits = np.dtype(f"int{8 * x.dtype.itemsize}")
    mask = np.array(-1 << excess, bits)
    return (x.view(bits) & mask).view(x.dtype)


def _mantissa_bits(dtype: np.dtype[Any]) -> int:
    import ml_dtypes  # noqa: PLC0415 - slow, and most programs never get here

    return int(ml_dtypes.finfo(dtype).nmant)  # type: ignore[no-untyped-call]


# Sums and products of whole tensors --------------------------------------------------------------


@kernel("AddN", "AccumulateNV2")
def _add_n(xp: Any, inputs: list[Any]) -> Any:
    first = inputs[0]
    for i, other in enumerate(inputs):
        if other.shape != first.shape:
            raise errors.invalid_argument(
                "Inputs to operation of type AddN must have the same size and shape.  "
                f"Input 0: {format_shape(first.shape)} != input {i}: {format_shape(other.shape)}"
            )
    if len(inputs) == 1:
        return first
    total = first + inputs[1]
    for other in inputs[2:]:
        total += other
    return total


@kernel("Cross")
def _cross(xp: Any, a: Any, b: Any) -> Any:
    if a.shape != b.shape:
        raise errors.invalid_argument(
            f"Both inputs must be of same shape: {format_shape(a.shape)} vs. "
            f"{format_shape(b.shape)}"
        )
    if a.ndim < 1:
        raise errors.invalid_argument(f"Input must be at least 1D{format_shape(a.shape)}")
    if a.shape[-1] != 3:
        raise errors.failed_precondition("Cross-products are only defined for 3-element vectors.")
    a1, a2 = xp.roll(a, -1, -1), xp.roll(a, -2, -1)
    b1, b2 = xp.roll(b, -1, -1), xp.roll(b, -2, -1)
    return a1 * b2 - a2 * b1


def _product(xp: Any, a: Any, b: Any) -> Any:
    """Multiplies matrices with the operands' own dtype; 16-bit floats accumulate in float32."""
    if xp is np and is_half(a.dtype):
        return blas.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    return blas.matmul(a, b) if xp is np else xp.matmul(a, b)


@kernel("MatMul")
def matmul(xp: Any, a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    """Multiplies two matrices. Unlike numpy's, it takes rank 2 only."""
    for i, x in enumerate((a, b)):
        if x.ndim != 2:
            raise errors.invalid_argument(
                f"In[{i}] is not a matrix. Instead it has shape {format_shape(x.shape)}"
            )
    left, right = a.T if transpose_a else a, b.T if transpose_b else b
    if left.shape[1] != right.shape[0]:
        raise errors.invalid_argument(
            f"Matrix size-incompatible: In[0]: {format_shape(a.shape)}, "
            f"In[1]: {format_shape(b.shape)}"
        )
    return _product(xp, left, right)


def _batch_product(xp: Any, x: Any, y: Any, adj_x: bool, adj_y: bool) -> Any:
    for i, operand in enumerate((x, y)):
        if operand.ndim < 2:
            raise errors.invalid_argument(f"In[{i}] ndims must be >= 2: {operand.ndim}")
    left, right = _adjoint(xp, x) if adj_x else x, _adjoint(xp, y) if adj_y else y
    if left.shape[-1] != right.shape[-2]:
        raise errors.invalid_argument(
            f"Matrix size-incompatible: In[0]: {format_shape(x.shape)}, "
            f"In[1]: {format_shape(y.shape)} {int(adj_x)} {int(adj_y)}"
        )
    return _product(xp, left, right)


def _adjoint(xp: Any, x: Any) -> Any:
    transposed = xp.swapaxes(x, -1, -2)
    return xp.conj(transposed) if is_complex(x) else transposed


@kernel("BatchMatMul")
def _batch_matmul(xp: Any, x: Any, y: Any, *, adj_x: bool, adj_y: bool) -> Any:
    if x.ndim != y.ndim:
        raise errors.invalid_argument(
            f"In[0] and In[1] has different ndims: {format_shape(x.shape)} vs. "
            f"{format_shape(y.shape)}"
        )
    for i, (m, n) in enumerate(zip(x.shape[:-2], y.shape[:-2], strict=True)):
        if m != n:
            raise errors.invalid_argument(
                f"In[0].dim({i}) and In[1].dim({i}) must be the same: {format_shape(x.shape)} vs "
                f"{format_shape(y.shape)}"
            )
    return _batch_product(xp, x, y, adj_x, adj_y)


@kernel("BatchMatMulV2")
def _batch_matmul_v2(xp: Any, x: Any, y: Any, *, adj_x: bool, adj_y: bool) -> Any:
    try:
        np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise errors.invalid_argument(
            "In[0] and In[1] must have compatible batch dimensions: "
            f"{format_shape(x.shape)} vs. {format_shape(y.shape)}"
        ) from None
    return _batch_product(xp, x, y, adj_x, adj_y)


@kernel("BatchMatMulV3")
def _batch_matmul_v3(xp: Any, x: Any, y: Any, *, Tout: DType, adj_x: bool, adj_y: bool) -> Any:
    target = Tout.as_numpy_dtype
    return _batch_matmul_v2(xp, x.astype(target), y.astype(target), adj_x=adj_x, adj_y=adj_y)


# Sequences and broadcasting, known while XLA compiles --------------------------------------------


@kernel("Range")
def _range(xp: Any, start: Any, limit: Any, delta: Any) -> Any:
    for name, value in (("start", start), ("limit", limit), ("delta", delta)):
        if value.size != 1 or value.ndim > 1:
            raise errors.invalid_argument(
                f"{name} must be a scalar, not shape {format_shape(value.shape)}"
            )
    first, last, step = start.item(), limit.item(), delta.item()
    if step == 0:
        raise errors.invalid_argument(f"Requires delta != 0: {step}")
    if (step > 0 and first > last) or (step < 0 and first < last):
        relation = "<= limit when delta > 0" if step > 0 else ">= limit when delta < 0"
        raise errors.invalid_argument(f"Requires start {relation}: {first:g}/{last:g}")
    if is_integer(start):
        return np.arange(first, last, step, dtype=start.dtype)
    count = int(np.ceil(abs((last - first) / step)))
    return start.reshape(()) + np.arange(count).astype(start.dtype) * delta.reshape(())


@kernel("LinSpace")
def _linspace(xp: Any, start: Any, stop: Any, num: Any) -> Any:
    for name, value in (("start", start), ("stop", stop), ("num", num)):
        if value.ndim:
            raise errors.invalid_argument(
                f"{name} must be a scalar, not shape {format_shape(value.shape)}"
            )
    count = int(num)
    if count <= 0:
        raise errors.invalid_argument(f"Requires num > 0: {count}")
    if count == 1:
        return start.reshape(1)
    step = (stop - start) / start.dtype.type(count - 1)
    inner = start + np.arange(count - 1).astype(start.dtype) * step
    return xp.concatenate([inner, stop.reshape(1)])


@kernel("BroadcastGradientArgs")
def _broadcast_gradient_args(xp: Any, s0: Any, s1: Any) -> tuple[Any, Any]:
    """Returns the axes over which to sum a broadcast result's gradient to get back to each shape.

    Where both sizes are 1 nothing was broadcast, yet the axis counts for both if the shapes differ.
    TensorFlow does so, and its clients' graphs rely on no more than the sum's shape.
    """
    if s0.shape == s1.shape and (s0 == s1).all():
        no_axes = np.zeros(0, s0.dtype)
        return no_axes, no_axes
    rank = max(len(s0), len(s1))
    x = np.concatenate([np.ones(rank - len(s0), s0.dtype), s0])
    y = np.concatenate([np.ones(rank - len(s1), s1.dtype), s1])
    if ((x != y) & (x != 1) & (y != 1)).any():
        raise errors.invalid_argument(
            f"Incompatible shapes: {format_shape(tuple(s0.tolist()))} vs. "
            f"{format_shape(tuple(s1.tolist()))}"
        )
    return tuple(np.flatnonzero(side == 1).astype(s0.dtype) for side in (x, y))  # type: ignore[return-value]


for _op_name, _name in _UNARY.items():
    add_kernel(_op_name, unary(_name))
for _op_name, _name in _PARTS.items():
    add_kernel(_op_name, _part(_name))
for _op_name, _name in _SPECIAL.items():
    add_kernel(_op_name, _special(_name))
for _op_name, _name in _BINARY.items():
    add_kernel(_op_name, binary(_name))
