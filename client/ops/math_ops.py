"""User functions for elementwise arithmetic, comparison, casts and matrix products."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from flowray.client.framework.conversion import (
    constant,
    convert_n_to_tensor,
    convert_to_tensor,
    convert_to_tensor_or_indexed_slices,
)
from flowray.client.framework.graph import Tensor, name_scope, override_operator
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import as_shape, is_compatible, merge

F = TypeVar("F", bound=Callable[..., Any])


class Unary(Protocol):
    """The type of functions of one operand."""

    def __call__(self, x: Any, name: str | None = None) -> Tensor: ...


class Binary(Protocol):
    """The type of functions of two operands that broadcast."""

    def __call__(self, x: Any, y: Any, name: str | None = None) -> Tensor: ...


def _unary(op_type: str, python_name: str, doc: str, default_name: str | None = None) -> Unary:
    """Makes the function ``python_name(x, name=None)`` that adds one op of ``op_type``."""

    def function(x: Any, name: str | None = None) -> Tensor:
        return output_of(op_type, x, name=name or default_name)

    return _named(function, python_name, doc)


def _binary(op_type: str, python_name: str, doc: str, default_name: str | None = None) -> Binary:
    """Makes the function ``python_name(x, y, name=None)`` that adds one op of two operands."""

    def function(x: Any, y: Any, name: str | None = None) -> Tensor:
        return output_of(op_type, x, y, name=name or default_name)

    return _named(function, python_name, doc)


def _named(function: F, name: str, doc: str) -> F:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


# Functions of one tensor -------------------------------------------------------------------------

negative = tf_export("negative", "math.negative")(_unary("Neg", "negative", "-x, elementwise."))
sign = tf_export("sign", "math.sign")(
    _unary("Sign", "sign", "-1, 0 or 1 as x is below, at or above 0; complex: x / |x|.")
)
square = tf_export("square", "math.square")(_unary("Square", "square", "x * x, elementwise."))
sqrt = tf_export("sqrt", "math.sqrt")(_unary("Sqrt", "sqrt", "The square root of x, elementwise."))
rsqrt = tf_export("rsqrt", "math.rsqrt")(_unary("Rsqrt", "rsqrt", "1 / sqrt(x), elementwise."))
reciprocal = tf_export("reciprocal", "math.reciprocal")(
    _unary("Reciprocal", "reciprocal", "1 / x, elementwise.")
)
exp = tf_export("exp", "math.exp")(_unary("Exp", "exp", "e to the power of x, elementwise."))
expm1 = tf_export("expm1", "math.expm1")(
    _unary("Expm1", "expm1", "exp(x) - 1, exact near 0, elementwise.")
)
log = tf_export("log", "math.log")(_unary("Log", "log", "The natural logarithm of x, elementwise."))
log1p = tf_export("log1p", "math.log1p")(
    _unary("Log1p", "log1p", "log(1 + x), exact near 0, elementwise.")
)
sin = tf_export("sin", "math.sin")(_unary("Sin", "sin", "The sine of x, elementwise."))
cos = tf_export("cos", "math.cos")(_unary("Cos", "cos", "The cosine of x, elementwise."))
tan = tf_export("tan", "math.tan")(_unary("Tan", "tan", "The tangent of x, elementwise."))
asin = tf_export("asin", "math.asin")(_unary("Asin", "asin", "The inverse sine of x, elementwise."))
acos = tf_export("acos", "math.acos")(
    _unary("Acos", "acos", "The inverse cosine of x, elementwise.")
)
atan = tf_export("atan", "math.atan")(
    _unary("Atan", "atan", "The inverse tangent of x, elementwise.")
)
sinh = tf_export("sinh", "math.sinh")(
    _unary("Sinh", "sinh", "The hyperbolic sine of x, elementwise.")
)
cosh = tf_export("cosh", "math.cosh")(
    _unary("Cosh", "cosh", "The hyperbolic cosine of x, elementwise.")
)
asinh = tf_export("asinh", "math.asinh")(
    _unary("Asinh", "asinh", "The inverse hyperbolic sine of x, elementwise.")
)
acosh = tf_export("acosh", "math.acosh")(
    _unary("Acosh", "acosh", "The inverse hyperbolic cosine of x, elementwise.")
)
atanh = tf_export("atanh", "math.atanh")(
    _unary("Atanh", "atanh", "The inverse hyperbolic tangent of x, elementwise.")
)
tanh = tf_export("tanh", "math.tanh", "nn.tanh")(
    _unary("Tanh", "tanh", "The hyperbolic tangent of x, elementwise.")
)
sigmoid = tf_export("sigmoid", "math.sigmoid", "nn.sigmoid")(
    _unary("Sigmoid", "sigmoid", "1 / (1 + exp(-x)), elementwise.")
)
erf = tf_export("erf", "math.erf")(
    _unary("Erf", "erf", "The Gauss error function of x, elementwise.")
)
erfc = tf_export("erfc", "math.erfc")(_unary("Erfc", "erfc", "1 - erf(x), elementwise."))
erfinv = tf_export("math.erfinv")(
    _unary("Erfinv", "erfinv", "The inverse of erf, elementwise.", "erfinv")
)
ndtri = tf_export("math.ndtri")(
    _unary("Ndtri", "ndtri", "The quantile of the standard normal distribution.", "ndtri")
)
lgamma = tf_export("lgamma", "math.lgamma")(
    _unary("Lgamma", "lgamma", "log |gamma(x)|, elementwise.")
)
digamma = tf_export("digamma", "math.digamma")(
    _unary("Digamma", "digamma", "The derivative of lgamma, elementwise.")
)
bessel_i0e = tf_export("math.bessel_i0e")(
    _unary("BesselI0e", "bessel_i0e", "exp(-|x|) times the Bessel function I0 of x.")
)
bessel_i1e = tf_export("math.bessel_i1e")(
    _unary("BesselI1e", "bessel_i1e", "exp(-|x|) times the Bessel function I1 of x.")
)
floor = tf_export("floor", "math.floor")(
    _unary("Floor", "floor", "The largest integer not above x, elementwise.")
)
ceil = tf_export("ceil", "math.ceil")(
    _unary("Ceil", "ceil", "The smallest integer not below x, elementwise.")
)
rint = tf_export("rint", "math.rint")(
    _unary("Rint", "rint", "The integer closest to x, half to even, elementwise.")
)
is_nan = tf_export("is_nan", "debugging.is_nan", "math.is_nan")(
    _unary("IsNan", "is_nan", "Whether x is NaN, elementwise; bool.")
)
is_inf = tf_export("is_inf", "debugging.is_inf", "math.is_inf")(
    _unary("IsInf", "is_inf", "Whether x is infinite, elementwise; bool.")
)
is_finite = tf_export("is_finite", "debugging.is_finite", "math.is_finite")(
    _unary("IsFinite", "is_finite", "Whether x is neither infinite nor NaN; bool.")
)
logical_not = tf_export("logical_not", "math.logical_not")(
    _unary("LogicalNot", "logical_not", "Not x, elementwise; bool.")
)


@tf_export("abs", "math.abs")
def abs(x: Any, name: str | None = None) -> Tensor:
    """Computes |x|, elementwise; for complex numbers the real modulus."""
    with name_scope(name, "Abs", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if x.dtype.is_complex:
            return output_of("ComplexAbs", x, Tout=x.dtype.real_dtype, name=scope)
        return output_of("Abs", x, name=scope)


@tf_export("round", "math.round")
def round(x: Any, name: str | None = None) -> Tensor:
    """Rounds x to the nearest integer, half to even, elementwise; integers stay."""
    tensor = convert_to_tensor(x, name="x")
    if tensor.dtype.is_integer:
        return tensor
    return output_of("Round", tensor, name=name)


@tf_export("log_sigmoid", "math.log_sigmoid", "nn.log_sigmoid")
def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """Computes log(sigmoid(x)) as -softplus(-x), elementwise."""
    with name_scope(name, "LogSigmoid", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        return output_of("Neg", apply_op("Softplus", apply_op("Neg", x)), name=scope)


# Functions of two tensors ------------------------------------------------------------------------

subtract = tf_export("subtract", "math.subtract")(_binary("Sub", "subtract", "x - y, elementwise."))
multiply = tf_export("multiply", "math.multiply")(_binary("Mul", "multiply", "x * y, elementwise."))
realdiv = tf_export("realdiv")(_binary("RealDiv", "realdiv", "x / y of real numbers, elementwise."))
floor_div = tf_export("floor_div")(
    _binary("FloorDiv", "floor_div", "x / y rounded down, elementwise.")
)
truncatediv = tf_export("truncatediv")(
    _binary("TruncateDiv", "truncatediv", "x / y rounded towards 0, elementwise.")
)
floormod = tf_export("floormod", "mod", "math.floormod", "math.mod")(
    _binary("FloorMod", "floormod", "The remainder of floor division; has the sign of y.")
)
mod = floormod
truncatemod = tf_export("truncatemod")(
    _binary("TruncateMod", "truncatemod", "The remainder of truncating division.")
)
div_no_nan = tf_export("div_no_nan", "math.divide_no_nan")(
    _binary("DivNoNan", "div_no_nan", "x / y, 0 where y is 0.", "div_no_nan")
)
multiply_no_nan = tf_export("math.multiply_no_nan")(
    _binary(
        "MulNoNan",
        "multiply_no_nan",
        "x * y, 0 where y is 0 even if x is infinite or NaN.",
        "multiply_no_nan",
    )
)
pow = tf_export("pow", "math.pow")(_binary("Pow", "pow", "x to the power of y, elementwise."))
maximum = tf_export("maximum", "math.maximum")(
    _binary("Maximum", "maximum", "The greater of x and y, elementwise.")
)
minimum = tf_export("minimum", "math.minimum")(
    _binary("Minimum", "minimum", "The lesser of x and y, elementwise.")
)
squared_difference = tf_export("squared_difference", "math.squared_difference")(
    _binary("SquaredDifference", "squared_difference", "(x - y)**2.")
)
xlogy = tf_export("math.xlogy")(_binary("Xlogy", "xlogy", "x * log(y), 0 where x is 0."))
xlog1py = tf_export("math.xlog1py")(_binary("Xlog1py", "xlog1py", "x * log1p(y), 0 where x is 0."))
xdivy = tf_export("math.xdivy")(_binary("Xdivy", "xdivy", "x / y, 0 where x is 0."))
less = tf_export("less", "math.less")(_binary("Less", "less", "x < y, elementwise; bool."))
less_equal = tf_export("less_equal", "math.less_equal")(
    _binary("LessEqual", "less_equal", "x <= y, elementwise; bool.")
)
greater = tf_export("greater", "math.greater")(
    _binary("Greater", "greater", "x > y, elementwise; bool.")
)
greater_equal = tf_export("greater_equal", "math.greater_equal")(
    _binary("GreaterEqual", "greater_equal", "x >= y, elementwise; bool.")
)
equal = tf_export("equal", "math.equal")(_binary("Equal", "equal", "x == y, elementwise; bool."))
not_equal = tf_export("not_equal", "math.not_equal")(
    _binary("NotEqual", "not_equal", "x != y, elementwise; bool.")
)
logical_and = tf_export("logical_and", "math.logical_and")(
    _binary("LogicalAnd", "logical_and", "x and y, elementwise; bool.")
)
logical_or = tf_export("logical_or", "math.logical_or")(
    _binary("LogicalOr", "logical_or", "x or y, elementwise; bool.")
)


@tf_export("add", "math.add")
def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Computes x + y, elementwise; strings are joined."""
    return _add(x, y, name or "Add")


def _add(x: Any, y: Any, name: str) -> Tensor:
    with name_scope(name, values=[x, y]) as scope:
        strings = any(getattr(v, "dtype", None) == dtypes.string for v in (x, y))
        if strings or isinstance(x, str | bytes):
            return output_of("Add", x, y, name=scope)
        return output_of("AddV2", x, y, name=scope)


@tf_export("atan2", "math.atan2")
def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """Computes the angle of the point (x, y), in (-pi, pi], elementwise."""
    return output_of("Atan2", y, x, name=name)


@tf_export("logical_xor", "math.logical_xor")
def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    """Tells where exactly one of x and y is true, elementwise."""
    either = logical_or(x, y)
    return output_of("LogicalAnd", either, logical_not(logical_and(x, y)), name=name)


@tf_export("zeta", "math.zeta")
def zeta(x: Any, q: Any, name: str | None = None) -> Tensor:
    """Computes the Hurwitz zeta function, elementwise."""
    return output_of("Zeta", x, q, name=name)


@tf_export("betainc", "math.betainc")
def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Tensor:
    """Computes the regularized incomplete beta function, elementwise.

    It is the integral of ``t ** (a - 1) * (1 - t) ** (b - 1)`` from 0 to x, divided by the integral
    from 0 to 1.

    Args:
        a, b: float32 or float64, positive.
        x: between 0 and 1. Each of the three is a scalar or has the shape of the others.

    Raises:
        ValueError: the shapes differ.
    """
    return output_of("Betainc", a, b, x, name=name)


@tf_export("polygamma", "math.polygamma")
def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """Computes the a-th derivative of digamma at x, elementwise."""
    return output_of("Polygamma", a, x, name=name)


# Division, as Python understands it --------------------------------------------------------------


def _quotient_type(dtype: DType) -> DType | None:
    """Returns the float type in which integers of ``dtype`` are divided; None for floats."""
    if not dtype.is_integer:
        return None
    return dtypes.float32 if dtype.size <= 2 else dtypes.float64


@tf_export("truediv", "math.truediv")
def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Computes x / y, elementwise; integers are divided as floats (float64 from 32 bits on).

    Raises:
        TypeError: x and y have different dtypes.
    """
    with name_scope(name, "truediv", [x, y]) as scope:
        x, y = _convert_pair(x, y)
        if x.dtype.base_dtype != y.dtype.base_dtype:
            raise TypeError(
                f"`x` and `y` must have the same dtype, got {x.dtype!r} != {y.dtype!r}."
            )
        target = _quotient_type(x.dtype.base_dtype)
        if target is not None:
            x, y = cast(x, target), cast(y, target)
        return output_of("RealDiv", x, y, name=scope)


def _convert_pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Converts both to tensors; one that is not a tensor takes the other's dtype if it can."""
    hint = y.dtype.base_dtype if isinstance(y, Tensor) else None
    first = convert_to_tensor(x, name="x", preferred_dtype=hint)
    return first, convert_to_tensor(y, name="y", preferred_dtype=first.dtype.base_dtype)


@tf_export("div")
def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Computes Python 2's x / y: integers are divided rounding down. Deprecated by TensorFlow."""
    with name_scope(name, "div", [x, y]) as scope:
        x, y = _convert_pair(x, y)
        op_type = "RealDiv" if x.dtype.is_floating or x.dtype.is_complex else "FloorDiv"
        return output_of(op_type, x, y, name=scope)


@tf_export("divide", "math.divide")
def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Computes Python 3's x / y."""
    return truediv(x, y, name)


@tf_export("floordiv", "math.floordiv")
def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Computes x / y rounded down, elementwise."""
    return output_of("FloorDiv", x, y, name=name or "floordiv")


@tf_export("scalar_mul", "math.scalar_mul")
def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor | IndexedSlices:
    """Computes ``scalar * x`` for a tensor or IndexedSlices; ValueError unless it is a scalar."""
    dtype = x.dtype if isinstance(x, Tensor | IndexedSlices) else convert_to_tensor(x).dtype
    scalar = convert_to_tensor(scalar, dtype=dtype.base_dtype, name="scalar")
    if scalar.shape_tuple not in (None, ()):
        raise ValueError(f"Only scalar multiply works, got shape {scalar.shape_tuple}")
    if isinstance(x, IndexedSlices):
        return IndexedSlices(multiply(scalar, x.values, name), x.indices, x.dense_shape)
    return multiply(scalar, x, name)


@tf_export("add_n", "math.add_n")
def add_n(inputs: Sequence[Any], name: str | None = None) -> Tensor:
    """Adds tensors of one shape and dtype; IndexedSlices are made dense.

    Raises:
        ValueError: ``inputs`` is empty or no list.
    """
    if not inputs or not isinstance(inputs, list | tuple):
        raise ValueError(
            "inputs must be a list of at least one Tensor/IndexedSlices with the same dtype and "
            "shape"
        )
    tensors = convert_n_to_tensor([convert_to_tensor_or_indexed_slices(v) for v in inputs])
    if len(tensors) == 1:
        return apply_op("Identity", tensors[0], name=name) if name else tensors[0]
    return output_of("AddN", tensors, name=name)


@tf_export("accumulate_n", "math.accumulate_n")
def accumulate_n(
    inputs: Sequence[Any],
    shape: Any = None,
    tensor_dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """Adds tensors as ``add_n``; their shapes and dtypes are checked when the op is made.

    Raises:
        ValueError: they differ from each other, ``shape`` or ``tensor_dtype``.
    """
    message = "inputs must be a list of at least one Tensor with the same dtype and shape"
    if not inputs or not isinstance(inputs, list | tuple):
        raise ValueError(message)
    tensors = [convert_to_tensor(v) for v in inputs]
    common = as_shape(shape).as_tuple()
    for tensor in tensors:
        same = tensor.dtype.base_dtype == tensors[0].dtype.base_dtype
        if not same or not is_compatible(common, tensor.shape_tuple):
            raise ValueError(message)
        common = merge(common, tensor.shape_tuple)
    if tensor_dtype is not None and dtypes.as_dtype(tensor_dtype) != tensors[0].dtype.base_dtype:
        raise TypeError(
            f"tensor_dtype is {dtypes.as_dtype(tensor_dtype)}, but input is of type "
            f"{tensors[0].dtype}"
        )
    result = add_n(tensors, name)
    result.set_shape(common)
    return result


# Casts and complex numbers -----------------------------------------------------------------------


@tf_export("cast", "dtypes.cast")
def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """Converts x to another dtype: floats lose their fraction, complex numbers the imaginary part.

    IndexedSlices stay such. A tensor or resource variable that has the dtype already is returned
    itself.
    """
    target = dtypes.as_dtype(dtype).base_dtype
    if (isinstance(x, Tensor) or hasattr(x, "_as_graph_element")) and x.dtype == target:
        return x  # the dtype of a reference variable is a reference dtype, and no other's
    with name_scope(name, "Cast", [x]) as scope:
        if isinstance(x, IndexedSlices):
            values = cast(x.values, target, name=scope)
            return IndexedSlices(values, x.indices, x.dense_shape)
        x = convert_to_tensor(x, name="x")
        if x.dtype.base_dtype != target:
            x = apply_op("Cast", x, DstT=target, name=scope)
        return x


@tf_export("saturate_cast", "dtypes.saturate_cast")
def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """Converts as ``cast``; values out of the new dtype's range become its bounds."""
    with name_scope(name, "saturate_cast", [value]) as scope:
        value = convert_to_tensor(value, name="value")
        target, source = dtypes.as_dtype(dtype).base_dtype, value.dtype.base_dtype
        if source.min < target.min:
            value = maximum(value, constant(target.min, source, name="min"))
        if source.max > target.max:
            value = minimum(value, constant(target.max, source, name="max"))
        result: Tensor = cast(value, target, name=scope)
        return result


def _caster(target: DType, python_name: str, default_name: str) -> Callable[..., Any]:
    def function(x: Any, name: str = default_name) -> Any:
        return cast(x, target, name=name)

    return _named(function, python_name, f"``tf.cast(x, tf.{target.name})``.")


to_float = tf_export("to_float")(_caster(dtypes.float32, "to_float", "ToFloat"))
to_double = tf_export("to_double")(_caster(dtypes.float64, "to_double", "ToDouble"))
to_int32 = tf_export("to_int32")(_caster(dtypes.int32, "to_int32", "ToInt32"))
to_int64 = tf_export("to_int64")(_caster(dtypes.int64, "to_int64", "ToInt64"))
to_bfloat16 = tf_export("to_bfloat16")(_caster(dtypes.bfloat16, "to_bfloat16", "ToBFloat16"))
to_complex64 = tf_export("to_complex64")(_caster(dtypes.complex64, "to_complex64", "ToComplex64"))
to_complex128 = tf_export("to_complex128")(
    _caster(dtypes.complex128, "to_complex128", "ToComplex128")
)


@tf_export("complex", "dtypes.complex")
def complex(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """Computes real + i * imag: complex64 from float32 parts, complex128 from float64 ones."""
    real, imag = _convert_pair(real, imag)
    pairs = {dtypes.float32: dtypes.complex64, dtypes.float64: dtypes.complex128}
    target = pairs.get(real.dtype.base_dtype)
    if target is None or imag.dtype.base_dtype != real.dtype.base_dtype:
        raise TypeError(
            "The `real` and `imag` components have incorrect types: "
            f"{real.dtype.name} {imag.dtype.name}. They must be consistent, and one of float32, "
            "float64"
        )
    return output_of("Complex", real, imag, Tout=target, name=name or "Complex")


def _complex_part(op_type: str, x: Any, name: str | None) -> Tensor | None:
    """Returns the op's result for a complex ``x``, None for a real one."""
    if not x.dtype.is_complex:
        return None
    return output_of(op_type, x, Tout=x.dtype.real_dtype, name=name)


@tf_export("real", "math.real")
def real(input: Any, name: str | None = None) -> Tensor:
    """Returns the real part; a real tensor itself."""
    x = convert_to_tensor(input, name="input")
    part = _complex_part("Real", x, name)
    return x if part is None else part


@tf_export("imag", "math.imag")
def imag(input: Any, name: str | None = None) -> Tensor:
    """Returns the imaginary part; 0 for a real tensor."""
    x = convert_to_tensor(input, name="input")
    part = _complex_part("Imag", x, name)
    return apply_op("ZerosLike", x, name=name) if part is None else part


@tf_export("angle", "math.angle")
def angle(input: Any, name: str | None = None) -> Tensor:
    """Returns the argument in (-pi, pi]; for a real tensor 0 or pi."""
    x = convert_to_tensor(input, name="input")
    part = _complex_part("Angle", x, name)
    if part is not None:
        return part
    with name_scope(name, "Angle", [x]) as scope:
        zeros = apply_op("ZerosLike", x)
        pi = add(zeros, constant(np.pi, x.dtype.base_dtype))
        return output_of("Select", less(x, zeros), pi, zeros, name=scope)


@tf_export("conj", "math.conj")
def conj(x: Any, name: str | None = None) -> Tensor:
    """Returns the complex conjugate; a real tensor itself."""
    tensor = convert_to_tensor(x, name="x")
    if not tensor.dtype.is_complex:
        return tensor
    return output_of("Conj", tensor, name=name)


# Matrix products ---------------------------------------------------------------------------------


@tf_export("matmul", "linalg.matmul")
def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """Computes the matrix product over the last two dimensions; the others are batch dimensions.

    Args:
        a, b: tensors of one dtype and of rank 2 or more; batch dimensions broadcast.
        transpose_a, transpose_b: whether to transpose an operand's last two dimensions first.
        adjoint_a, adjoint_b: whether to transpose and conjugate it.
        a_is_sparse, b_is_sparse: hints that many elements are 0; the result is the same.
        name: the name of the op.

    Raises:
        ValueError: an operand is to be transposed and adjoint; or the inner dimensions differ.
    """
    if transpose_a and adjoint_a:
        raise ValueError("Only one of transpose_a and adjoint_a can be True.")
    if transpose_b and adjoint_b:
        raise ValueError("Only one of transpose_b and adjoint_b can be True.")
    with name_scope(name, "MatMul", [a, b]) as scope:
        a = convert_to_tensor(a, name="a")
        b = convert_to_tensor(b, dtype=a.dtype.base_dtype, name="b")
        if any(t.shape_tuple is None or len(t.shape_tuple) > 2 for t in (a, b)):
            if transpose_a:
                a, adjoint_a = conj(a), True
            if transpose_b:
                b, adjoint_b = conj(b), True
            return output_of("BatchMatMulV2", a, b, adj_x=adjoint_a, adj_y=adjoint_b, name=scope)
        if adjoint_a:
            a, transpose_a = conj(a), True
        if adjoint_b:
            b, transpose_b = conj(b), True
        return output_of(
            "MatMul", a, b, transpose_a=transpose_a, transpose_b=transpose_b, name=scope
        )


@tf_export("cross", "linalg.cross")
def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """Computes the cross product of 3-vectors along the last dimension of a and b."""
    return output_of("Cross", a, b, name=name)


# Sequences ---------------------------------------------------------------------------------------


@tf_export("range")
def range(
    start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range"
) -> Tensor:
    """Returns start, start + delta, ... below ``limit``; ``range(limit)`` starts at 0.

    Args:
        start, limit, delta: numbers or scalar tensors.
        dtype: the result's; by default the widest of the arguments' (int32 < int64 < float32 <
            float64).
        name: the name of the op.
    """
    if limit is None:
        start, limit = 0, start
    with name_scope(name, "Range", [start, limit, delta]) as scope:
        wanted = None if dtype is None else dtypes.as_dtype(dtype)
        ends = {"start": start, "limit": limit, "delta": delta}
        tensors = [
            v if isinstance(v, Tensor) else convert_to_tensor(v, wanted, name=key)
            for key, v in ends.items()
        ]
        if wanted is None:
            order = [dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64]
            wanted = max((t.dtype.base_dtype for t in tensors), key=order.index)
        return output_of("Range", *(cast(t, wanted) for t in tensors), name=scope)


@tf_export("lin_space", "linspace")
def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """Returns ``num`` values at equal distances from ``start`` to ``stop``, both included."""
    return output_of("LinSpace", start, stop, num, name=name)


lin_space = linspace


@tf_export("math.polyval")
def polyval(coeffs: list[Any], x: Any, name: str | None = None) -> Tensor:
    """Evaluates the polynomial with these coefficients, the highest power's first, at x."""
    if not isinstance(coeffs, list):
        raise ValueError(f"Argument coeffs must be list type. Found {type(coeffs)}.")
    with name_scope(name, "polyval", [*coeffs, x]) as scope:
        x = convert_to_tensor(x, name="x")
        if not coeffs:
            return output_of("ZerosLike", x, name=scope)
        result, *others = convert_n_to_tensor(coeffs, name="coeff")
        for coefficient in others:
            result = _add(coefficient, apply_op("Mul", result, x, name="mul"), "add")
        return result


# Python's operators ------------------------------------------------------------------------------


def _xor(x: Any, y: Any) -> Tensor:
    with name_scope(None, "xor", [x, y]) as scope:
        return logical_xor(x, y, name=scope)


def _matmul_operator(x: Any, y: Any) -> Tensor:
    return matmul(x, y, name="matmul")


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: _add(x, y, "add"),
    "sub": lambda x, y: subtract(x, y, "sub"),
    "mul": lambda x, y: multiply(x, y, "mul"),
    "div": div,
    "truediv": truediv,
    "floordiv": floordiv,
    "mod": lambda x, y: floormod(x, y, "mod"),
    "pow": lambda x, y: pow(x, y, "pow"),
    "and": lambda x, y: logical_and(x, y, "and"),
    "or": lambda x, y: logical_or(x, y, "or"),
    "xor": _xor,
    "matmul": _matmul_operator,
}
_COMPARISONS = {"lt": less, "le": less_equal, "gt": greater, "ge": greater_equal}

OVERLOADED_OPERATORS: tuple[str, ...] = (
    *(f"__{name}__" for name in _OPERATORS),
    *(f"__r{name}__" for name in _OPERATORS),
    *(f"__{name}__" for name in _COMPARISONS),
    "__neg__",
    "__abs__",
    "__invert__",
)
"""The operators of Tensor; a Variable forwards each to its value."""


def _overload(name: str, function: Callable[[Any, Any], Any]) -> None:
    reflected = f"__r{name}__"

    def forward(x: Tensor, y: Any) -> Any:
        if isinstance(y, Tensor) or not hasattr(type(y), reflected):
            return function(x, y)
        try:
            return function(x, y)
        except (TypeError, ValueError):
            # The other operand's own operator may know better (numbers' never do).
            if isinstance(y, numbers.Number | np.ndarray):
                raise
            return NotImplemented

    def backward(y: Tensor, x: Any) -> Any:
        return function(x, y)

    override_operator(f"__{name}__", forward)
    override_operator(reflected, backward)


for _name, _function in _OPERATORS.items():
    _overload(_name, _function)
for _name, _compare in _COMPARISONS.items():
    override_operator(f"__{_name}__", _compare)
override_operator("__neg__", negative)
override_operator("__abs__", abs)
override_operator("__invert__", logical_not)
