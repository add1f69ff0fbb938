"""Elementwise arithmetic, comparison, casts and matrix products: gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Operation, Tensor, control_dependencies
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.gradients.registry import gradient
from flowray.client.ops import math_ops as tf
from flowray.client.ops.reduction_ops import reduce_sum
from flowray.proto.types.shapes import Shape, is_fully_defined


def _number(value: float, like: Tensor) -> Tensor:
    """Makes a scalar constant of the dtype of ``like``."""
    return constant(value, like.dtype.base_dtype)


def _zeros_like(x: Tensor) -> Tensor:
    return output_of("ZerosLike", x)


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return output_of("SelectV2", condition, x, y)


# Two operands that broadcast ---------------------------------------------------------------------


def reduce_to_inputs(op: Operation, *gradients: Tensor | None) -> list[Tensor | None]:
    """Sums each gradient over the axes along which its input was broadcast.

    Args:
        op: an op whose last ``len(gradients)`` inputs broadcast to the shape of its output.
        gradients: one for each of these, of the shape of the output.
    """
    inputs = op.inputs[len(op.inputs) - len(gradients) :]
    # Sparse gradients become dense here.
    gradients = tuple(None if g is None else convert_to_tensor(g) for g in gradients)
    shapes = [t.shape_tuple for t in inputs]
    if all(is_fully_defined(s) for s in shapes):
        return [
            None if g is None else _sum_to_static(g, s)
            for g, s in zip(gradients, shapes, strict=True)
        ]
    if len(inputs) == 2:
        dims = [apply_op("Shape", t) for t in inputs]
        axes = apply_op("BroadcastGradientArgs", *dims)
    else:
        # With three inputs each is compared to the output's shape.
        dims = [apply_op("Shape", t) for t in inputs]
        whole = apply_op("Shape", op.outputs[0])
        axes = [apply_op("BroadcastGradientArgs", d, whole)[0] for d in dims]
    return [
        None if g is None else apply_op("Reshape", apply_op("Sum", g, a), d)
        for g, a, d in zip(gradients, axes, dims, strict=True)
    ]


def _sum_to_static(g: Tensor, shape: Shape) -> Tensor:
    """Sums ``g`` to a known shape that broadcasts to its own."""
    whole = g.shape_tuple
    if whole == shape:
        return g
    assert shape is not None
    if not is_fully_defined(whole):
        target = constant(np.array(shape, np.int32))
        axes = apply_op("BroadcastGradientArgs", target, apply_op("Shape", g))[0]
        return output_of("Reshape", apply_op("Sum", g, axes), target)
    assert whole is not None
    lead = len(whole) - len(shape)
    axes = [i for i, n in enumerate(whole) if i < lead or (shape[i - lead] == 1 and n != 1)]
    summed = apply_op("Sum", g, constant(np.array(axes, np.int32)))
    return output_of("Reshape", summed, constant(np.array(shape, np.int32)))


@gradient("Add", "AddV2")
def _add(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return reduce_to_inputs(op, grad, grad)


@gradient("Sub")
def _sub(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return reduce_to_inputs(op, grad, tf.negative(grad))


@gradient("Mul")
def _mul(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = map(tf.conj, op.inputs)
    alike = is_fully_defined(x.shape_tuple) and x.shape_tuple == y.shape_tuple == grad.shape_tuple
    by_x = tf.multiply(grad, y)
    by_y = tf.multiply(grad, x) if alike else tf.multiply(x, grad)
    return reduce_to_inputs(op, by_x, by_y)


@gradient("MulNoNan")
def _mul_no_nan(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    return reduce_to_inputs(op, tf.multiply_no_nan(grad, y), tf.multiply_no_nan(x, grad))


@gradient("Div", "RealDiv")
def _div(op: Operation, grad: Tensor) -> list[Tensor | None]:
    if op.outputs[0].dtype.is_integer:
        return [None, None]
    x, y = map(tf.conj, op.inputs)
    slope = tf.realdiv(tf.realdiv(tf.negative(x), y), y)
    return reduce_to_inputs(op, tf.realdiv(grad, y), tf.multiply(grad, slope))


@gradient("DivNoNan")
def _div_no_nan(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = map(tf.conj, op.inputs)
    slope = tf.div_no_nan(tf.div_no_nan(tf.negative(x), y), y)
    return reduce_to_inputs(op, tf.div_no_nan(grad, y), tf.multiply(grad, slope))


@gradient("FloorMod")
def _floor_mod(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    return reduce_to_inputs(op, grad, tf.multiply(grad, tf.negative(tf.floor_div(x, y))))


@gradient("Mod", "TruncateMod")
def _truncate_mod(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    return reduce_to_inputs(op, grad, tf.multiply(grad, tf.negative(tf.truncatediv(x, y))))


@gradient("Pow")
def _pow(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = map(tf.conj, op.inputs)
    z = tf.conj(op.outputs[0])
    power = tf.pow(x, tf.subtract(y, _number(1, y)))
    # The logarithm counts only where it is defined; elsewhere its NaN must not get through.
    zero = _number(0, x)
    defined = tf.not_equal(x, zero) if x.dtype.is_complex else tf.greater(x, zero)
    logarithm = _where(defined, tf.log(_where(defined, x, _number(1, x))), zero)
    return reduce_to_inputs(
        op,
        tf.multiply(tf.multiply(grad, y), power),
        tf.multiply(tf.multiply(grad, z), logarithm),
    )


def _extremum(chooses_x: Callable[..., Tensor]) -> Callable[..., Any]:
    def function(op: Operation, grad: Tensor) -> list[Tensor | None]:
        chosen, zero = chooses_x(*op.inputs), _number(0, grad)
        return reduce_to_inputs(op, _where(chosen, grad, zero), _where(chosen, zero, grad))

    return function


gradient("Maximum")(_extremum(tf.greater_equal))
gradient("Minimum")(_extremum(tf.less_equal))


@gradient("SquaredDifference")
def _squared_difference(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    doubled = tf.multiply(_number(2, grad), grad)
    x_grad = tf.multiply(doubled, tf.subtract(x, y))
    return reduce_to_inputs(op, x_grad, tf.negative(x_grad))


@gradient("Atan2")
def _atan2(op: Operation, grad: Tensor) -> list[Tensor | None]:
    y, x = op.inputs
    scaled = tf.realdiv(grad, tf.add(tf.square(x), tf.square(y)))
    return reduce_to_inputs(op, tf.multiply(x, scaled), tf.multiply(tf.negative(y), scaled))


@gradient("Xlogy")
def _xlogy(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    some = tf.cast(tf.not_equal(x, _number(0, x)), x.dtype)
    return reduce_to_inputs(
        op, tf.multiply(tf.xlogy(some, y), grad), tf.multiply(tf.xdivy(x, y), grad)
    )


@gradient("Xlog1py")
def _xlog1py(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    some = tf.cast(tf.not_equal(x, _number(0, x)), x.dtype)
    slope = tf.xdivy(x, tf.add(y, _number(1, y)))
    return reduce_to_inputs(op, tf.multiply(tf.xlog1py(some, y), grad), tf.multiply(slope, grad))


@gradient("Xdivy")
def _xdivy(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    some = tf.cast(tf.not_equal(x, _number(0, x)), x.dtype)
    slope = tf.xdivy(tf.negative(x), tf.square(y))
    return reduce_to_inputs(op, tf.multiply(tf.xdivy(some, y), grad), tf.multiply(slope, grad))


@gradient("Zeta")
def _zeta(op: Operation, grad: Tensor) -> list[Tensor | None]:
    """Differentiates by q.

    The derivative by x has no closed form, and TensorFlow gives none either.
    """
    x, q = op.inputs
    slope = tf.multiply(tf.negative(x), tf.zeta(tf.add(x, _number(1, x)), q))
    return reduce_to_inputs(op, None, tf.multiply(grad, slope))


@gradient("Polygamma")
def _polygamma(op: Operation, grad: Tensor) -> list[Tensor | None]:
    """Differentiates by x. The order is an integer, so there is no derivative by it."""
    a, x = op.inputs
    slope = tf.polygamma(tf.add(a, _number(1, a)), x)
    return reduce_to_inputs(op, None, tf.multiply(grad, slope))


@gradient("Betainc")
def _betainc(op: Operation, grad: Tensor) -> list[Tensor | None]:
    """The derivatives by a and b have no closed form; TensorFlow gives none either.

    The density is computed from logarithms, since its factors can be large.
    """
    a, b, x = op.inputs
    log_beta = tf.subtract(tf.add(tf.lgamma(a), tf.lgamma(b)), tf.lgamma(tf.add(a, b)))
    one = _number(1, x)
    powers = tf.add(
        tf.xlog1py(tf.subtract(b, one), tf.negative(x)), tf.xlogy(tf.subtract(a, one), x)
    )
    slope = tf.exp(tf.subtract(powers, log_beta))
    return reduce_to_inputs(op, None, None, tf.multiply(grad, slope))


# One operand -------------------------------------------------------------------------------------


def _of_input(slope: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Returns a gradient ``grad * slope(x)``, for derivatives that are simplest in the input."""

    def function(op: Operation, grad: Tensor) -> Tensor:
        with control_dependencies([grad]):
            return tf.multiply(grad, tf.conj(slope(op.inputs[0])), "mul")

    return function


def _of_output(slope: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Returns a gradient ``grad * slope(y)``, for derivatives that are simplest in the output."""

    def function(op: Operation, grad: Tensor) -> Tensor:
        with control_dependencies([grad]):
            return tf.multiply(grad, tf.conj(slope(op.outputs[0])), "mul")

    return function


@gradient("Square")
def _square(op: Operation, grad: Tensor) -> Tensor:
    with control_dependencies([grad]):
        x = tf.conj(op.inputs[0])
        return tf.multiply(grad, tf.multiply(x, _number(2, x)))


def _one_minus_square(x: Tensor) -> Tensor:
    return tf.subtract(_number(1, x), tf.square(x))


_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "Expm1": tf.exp,
    "Log": tf.reciprocal,
    "Log1p": lambda x: tf.reciprocal(tf.add(_number(1, x), x)),
    "Sin": tf.cos,
    "Cos": lambda x: tf.negative(tf.sin(x)),
    "Tan": lambda x: tf.square(tf.reciprocal(tf.cos(x))),
    "Asin": lambda x: tf.rsqrt(_one_minus_square(x)),
    "Acos": lambda x: tf.negative(tf.rsqrt(_one_minus_square(x))),
    "Atan": lambda x: tf.reciprocal(tf.add(_number(1, x), tf.square(x))),
    "Sinh": tf.cosh,
    "Cosh": tf.sinh,
    "Atanh": lambda x: tf.reciprocal(_one_minus_square(x)),
    "Erf": lambda x: tf.multiply(
        _number(2 / math.sqrt(math.pi), x), tf.exp(tf.negative(tf.square(x)))
    ),
    "Erfc": lambda x: tf.multiply(
        _number(-2 / math.sqrt(math.pi), x), tf.exp(tf.negative(tf.square(x)))
    ),
    "Lgamma": tf.digamma,
    "Digamma": lambda x: tf.polygamma(_number(1, x), x),
    "Abs": tf.sign,
}
for _op_type, _slope in _SLOPES.items():
    gradient(_op_type)(_of_input(_slope))

_OUTPUT_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "Exp": lambda y: y,
    "Asinh": lambda y: tf.reciprocal(tf.cosh(y)),
    "Acosh": lambda y: tf.reciprocal(tf.sinh(y)),
    "Erfinv": lambda y: tf.multiply(_number(math.sqrt(math.pi) / 2, y), tf.exp(tf.square(y))),
    "Ndtri": lambda y: tf.multiply(
        _number(math.sqrt(2 * math.pi), y), tf.exp(tf.multiply(tf.square(y), _number(0.5, y)))
    ),
}
for _op_type, _slope in _OUTPUT_SLOPES.items():
    gradient(_op_type)(_of_output(_slope))


@gradient("Neg")
def _neg(op: Operation, grad: Tensor) -> Tensor:
    return tf.negative(grad)


@gradient("Sign")
def _sign(op: Operation, grad: Tensor) -> Tensor:
    return _zeros_like(op.inputs[0])


@gradient("BesselI0e")
def _bessel_i0e(op: Operation, grad: Tensor) -> Tensor:
    x, y = op.inputs[0], op.outputs[0]
    return tf.multiply(grad, tf.subtract(tf.bessel_i1e(x), tf.multiply(tf.sign(x), y)))


@gradient("BesselI1e")
def _bessel_i1e(op: Operation, grad: Tensor) -> Tensor:
    x, y = op.inputs[0], op.outputs[0]
    zero = tf.equal(x, _number(0, x))
    safe = _where(zero, _number(1, x), x)
    slope = tf.subtract(
        tf.bessel_i0e(safe), tf.multiply(y, tf.add(tf.sign(safe), tf.reciprocal(safe)))
    )
    return tf.multiply(grad, _where(zero, _number(0.5, x), slope))


def _by_grad_op(grad_op: str, conjugate: bool) -> Callable[..., Tensor]:
    """The functions whose derivative, given their result, is an op of its own."""

    def function(op: Operation, grad: Tensor) -> Tensor:
        y = tf.conj(op.outputs[0]) if conjugate else op.outputs[0]
        return output_of(grad_op, y, grad)

    return function


for _op_type in ("Sqrt", "Rsqrt", "Reciprocal", "Inv"):
    gradient(_op_type)(_by_grad_op(f"{_op_type}Grad", conjugate=False))
for _op_type in ("Tanh", "Sigmoid"):
    gradient(_op_type)(_by_grad_op(f"{_op_type}Grad", conjugate=True))


@gradient("SqrtGrad")
def _sqrt_grad(op: Operation, grad: Tensor) -> list[Tensor]:
    quotient = tf.realdiv(grad, tf.conj(op.inputs[0]))
    y_grad = tf.negative(tf.multiply(tf.conj(quotient), op.outputs[0]))
    return [y_grad, tf.multiply(_number(0.5, grad), quotient)]


@gradient("RsqrtGrad")
def _rsqrt_grad(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = op.inputs
    conjugate = tf.conj(y)
    scaled = tf.multiply(tf.multiply(_number(-1.5, grad), tf.conj(grad)), dy)
    y_grad = tf.multiply(scaled, tf.square(conjugate))
    return [y_grad, apply_op("RsqrtGrad", conjugate, grad)]


@gradient("TanhGrad")
def _tanh_grad(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = map(tf.conj, op.inputs)
    scaled = tf.multiply(tf.multiply(grad, _number(-2, grad)), dy)
    return [tf.multiply(scaled, y), apply_op("TanhGrad", y, grad)]


@gradient("SigmoidGrad")
def _sigmoid_grad(op: Operation, grad: Tensor) -> list[Tensor]:
    y, dy = map(tf.conj, op.inputs)
    product = tf.multiply(grad, dy)
    y_grad = tf.subtract(product, tf.multiply(tf.multiply(_number(2, grad), product), y))
    return [y_grad, apply_op("SigmoidGrad", y, grad)]


def _reciprocal_grad(grad_op: str) -> Callable[..., list[Tensor]]:
    def function(op: Operation, grad: Tensor) -> list[Tensor]:
        y, dy = op.inputs
        conjugate = tf.conj(y)
        scaled = tf.multiply(tf.multiply(tf.conj(grad), _number(-2, grad)), dy)
        return [tf.multiply(scaled, conjugate), apply_op(grad_op, conjugate, grad)]

    return function


gradient("ReciprocalGrad")(_reciprocal_grad("ReciprocalGrad"))
gradient("InvGrad")(_reciprocal_grad("InvGrad"))


@gradient("Cast")
def _cast(op: Operation, grad: Tensor) -> Tensor | None:
    source, target = op.inputs[0].dtype.base_dtype, grad.dtype.base_dtype
    if all(t.is_floating or t.is_complex for t in (source, target)):
        result: Tensor = tf.cast(grad, source)
        return result
    return None


# Complex numbers ---------------------------------------------------------------------------------


@gradient("Complex")
def _complex(op: Operation, grad: Tensor) -> list[Tensor | None]:
    return reduce_to_inputs(op, tf.real(grad), tf.imag(grad))


@gradient("Real")
def _real(op: Operation, grad: Tensor) -> Tensor:
    return tf.complex(grad, _number(0, grad))


@gradient("Imag")
def _imag(op: Operation, grad: Tensor) -> Tensor:
    return tf.complex(_number(0, grad), grad)


@gradient("Angle")
def _angle(op: Operation, grad: Tensor) -> Tensor:
    x = op.inputs[0]
    turned = tf.reciprocal(tf.complex(tf.imag(x), tf.real(x)))
    return tf.multiply(tf.negative(tf.complex(grad, _number(0, grad))), turned)


@gradient("Conj")
def _conj(op: Operation, grad: Tensor) -> Tensor:
    return tf.conj(grad)


@gradient("ComplexAbs")
def _complex_abs(op: Operation, grad: Tensor) -> Tensor:
    zero = _number(0, grad)
    size = tf.complex(op.outputs[0], zero)
    return tf.multiply(tf.div_no_nan(tf.complex(grad, zero), size), op.inputs[0])


# Selection and sums ------------------------------------------------------------------------------


@gradient("Select")
def _select(op: Operation, grad: Tensor) -> list[Tensor | None]:
    condition, zeros = op.inputs[0], _zeros_like(grad)
    return [
        None,
        apply_op("Select", condition, grad, zeros),
        apply_op("Select", condition, zeros, grad),
    ]


@gradient("SelectV2")
def _select_v2(op: Operation, grad: Tensor) -> list[Tensor | None]:
    condition, zero = op.inputs[0], _number(0, grad)
    x_grad, y_grad = _where(condition, grad, zero), _where(condition, zero, grad)
    return reduce_to_inputs(op, None, x_grad, y_grad)


@gradient("ClipByValue")
def _clip_by_value(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, low, high = op.inputs
    zero = _number(0, grad)
    below, above = tf.less(x, low), tf.greater(x, high)
    return reduce_to_inputs(
        op,
        _where(tf.logical_or(below, above), zero, grad),
        _where(below, grad, zero),
        _where(above, grad, zero),
    )


@gradient("AddN", "AccumulateNV2")
def _add_n(op: Operation, grad: Tensor) -> list[Tensor]:
    return [grad] * len(op.inputs)


@gradient("Cross")
def _cross(op: Operation, grad: Tensor) -> list[Tensor]:
    u, v = op.inputs
    return [tf.cross(v, grad), tf.cross(grad, u)]


# Matrix products ---------------------------------------------------------------------------------


@gradient("MatMul")
def _matmul(op: Operation, grad: Tensor) -> list[Tensor]:
    t_a, t_b = op.get_attr("transpose_a"), op.get_attr("transpose_b")
    a, b = map(tf.conj, op.inputs)

    def product(x: Tensor, y: Tensor, transpose_x: bool, transpose_y: bool) -> Tensor:
        return output_of("MatMul", x, y, transpose_a=transpose_x, transpose_b=transpose_y)

    return [
        product(b, grad, t_b, True) if t_a else product(grad, b, False, not t_b),
        product(grad, a, True, t_a) if t_b else product(a, grad, not t_a, False),
    ]


@gradient("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def _batch_matmul(op: Operation, grad: Tensor) -> list[Tensor]:
    adj_x, adj_y = op.get_attr("adj_x"), op.get_attr("adj_y")
    x, y = op.inputs
    op_type = "BatchMatMul" if op.type == "BatchMatMul" else "BatchMatMulV2"
    wide = grad.dtype.base_dtype
    left, right = tf.cast(x, wide), tf.cast(y, wide)

    def product(a: Tensor, b: Tensor, adjoint_a: bool, adjoint_b: bool) -> Tensor:
        return output_of(op_type, a, b, adj_x=adjoint_a, adj_y=adjoint_b)

    if adj_x:
        grad_x = product(right, grad, adj_y, True)
    else:
        grad_x = product(grad, right, False, not adj_y)
    if adj_y:
        grad_y = product(grad, left, True, adj_x)
    else:
        grad_y = product(left, grad, not adj_x, False)
    if op_type == "BatchMatMul":
        return [grad_x, grad_y]
    return [tf.cast(_sum_batch(g, t), t.dtype.base_dtype) for g, t in ((grad_x, x), (grad_y, y))]


def _sum_batch(g: Tensor, x: Tensor) -> Tensor:
    """Sums ``g`` over the batch dimensions along which ``x`` was broadcast."""
    shape, whole = x.shape_tuple, g.shape_tuple
    if shape is not None and whole is not None:
        batch, target = whole[:-2], shape[:-2]
        if target == batch and None not in batch:
            return g
    dims, whole_dims = apply_op("Shape", x), apply_op("Shape", g)
    batches = [
        apply_op("StridedSlice", d, [0], [-2], [1], begin_mask=1) for d in (dims, whole_dims)
    ]
    axes = apply_op("BroadcastGradientArgs", *batches)[0]
    return output_of("Reshape", reduce_sum(g, axes), dims)
