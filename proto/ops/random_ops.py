"""Random numbers, equal to TensorFlow's for equal seeds: definitions."""

from __future__ import annotations

from flowray.proto.ops.array_ops import constant_size
from flowray.proto.ops.common_shapes import broadcast_binary, unchanged
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.dtypes import FLOATING, INDEX, REAL, float16, float32, float64, int64
from flowray.proto.types.shapes import Shape, concatenate, format_shape, with_rank

_COMPUTED_IN_DOUBLE = frozenset({float16, float32, float64})
_RATES = _COMPUTED_IN_DOUBLE | INDEX


def _random_shape(c: ShapeContext) -> Shape:
    """Returns the shape that input 0, a vector, holds."""
    with_rank(c.inputs[0], 1)
    return c.constant_shape(0)


def _random_int_shape(c: ShapeContext) -> Shape:
    for name, bound in zip(("minval", "maxval"), c.inputs[1:], strict=True):
        if bound is not None and bound != ():
            raise ValueError(
                f"{name} must be a scalar; got a tensor of shape {format_shape(bound)}"
            )
    return _random_shape(c)


def _per_parameter_shape(c: ShapeContext) -> Shape:
    """Returns the shape of samples of shape input 0 for each element of input 1."""
    return concatenate(_random_shape(c), c.inputs[1])


def _multinomial_shape(c: ShapeContext) -> Shape:
    batch, _ = with_rank(c.inputs[0], 2)
    with_rank(c.inputs[1], 0)
    return batch, constant_size(c, 1)


for _name in ("RandomUniform", "RandomStandardNormal", "TruncatedNormal"):
    op(
        _name,
        "shape: T -> output: dtype",
        seed=0,
        seed2=0,
        dtype=FLOATING,
        T=INDEX,
        stateful=True,
        static_inputs=(0,),
        differentiable=False,
        shape=_random_shape,
    )

op(
    "RandomUniformInt",
    "shape: T, minval: Tout, maxval: Tout -> output: Tout",
    seed=0,
    seed2=0,
    Tout=INDEX,
    T=INDEX,
    stateful=True,
    static_inputs=(0,),
    shape=_random_int_shape,
)

op(
    "RandomShuffle",
    "value: T -> output: T",
    seed=0,
    seed2=0,
    stateful=True,
    differentiable=False,
    shape=unchanged,
)

op(
    "Multinomial",
    "logits: T, num_samples: int32 -> output: output_dtype",
    seed=0,
    seed2=0,
    T=REAL,
    output_dtype=attr("type", int64, allowed=INDEX),
    stateful=True,
    static_inputs=(1,),
    shape=_multinomial_shape,
)

# The number of draws of rejection sampling depends on the draws, so it runs on the host.
op(
    "RandomGamma",
    "shape: S, alpha: T -> output: T",
    seed=0,
    seed2=0,
    S=INDEX,
    T=_COMPUTED_IN_DOUBLE,
    stateful=True,
    host_only=True,
    expensive=True,
    shape=_per_parameter_shape,
)

op(
    "RandomGammaGrad",
    "alpha: T, sample: T -> output: T",
    T=frozenset({float32, float64}),
    expensive=True,
    shape=broadcast_binary,
)

op(
    "RandomPoissonV2",
    "shape: S, rate: R -> output: dtype",
    seed=0,
    seed2=0,
    S=INDEX,
    R=attr("type", float64, allowed=_RATES),
    dtype=attr("type", int64, allowed=_RATES),
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=_per_parameter_shape,
)
