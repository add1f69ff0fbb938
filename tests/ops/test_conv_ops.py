"""Convolutions and pools, against a definition spelled out element by element."""

import itertools
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BF16 = dtypes.bfloat16.as_numpy_dtype
BAD = errors.InvalidArgumentError
ARRAY = np.ndarray[Any, Any]


def numbers(*shape: int, seed: int = 0) -> ARRAY:
    """Small integers, so that sums are exact and maxima have ties."""
    return np.random.RandomState(seed).randint(-4, 5, shape).astype(np.float32)


def places(size: int, extent: int, stride: int, padding: Any, dilation: int = 1) -> list[list[int]]:
    """The elements of each window of one dimension; those outside ``range(size)`` are padding."""
    effective = (extent - 1) * dilation + 1
    if padding == "SAME":
        count = -(-size // stride)
        before = max((count - 1) * stride + effective - size, 0) // 2
    else:
        before, after = (0, 0) if padding == "VALID" else padding
        count = (size + before + after - effective) // stride + 1
    return [
        [i * stride - before + k * dilation for k in range(extent)] for i in range(max(count, 0))
    ]


def conv(x: ARRAY, w: ARRAY, strides: Any, padding: Any, dilations: Any = None) -> ARRAY:
    """A convolution (grouped, if the depths say so), channels last, any number of dimensions."""
    rank = x.ndim - 2
    dilations = dilations or [1] * rank
    pads = padding if isinstance(padding, list) else [padding] * rank
    axes = [
        places(x.shape[1 + i], w.shape[i], strides[i], pads[i], dilations[i]) for i in range(rank)
    ]
    groups = x.shape[-1] // w.shape[-2]
    out = np.zeros((x.shape[0], *map(len, axes), w.shape[-1]), np.float64)
    for at in itertools.product(*(range(len(a)) for a in axes)):
        for tap in itertools.product(*(range(k) for k in w.shape[:-2])):
            source = [a[i][k] for a, i, k in zip(axes, at, tap, strict=True)]
            if all(0 <= s < n for s, n in zip(source, x.shape[1:-1], strict=True)):
                values = x[(slice(None), *source)].reshape(x.shape[0], groups, -1)
                weights = w[tap].reshape(w.shape[-2], groups, -1)
                out[(slice(None), *at)] += np.einsum("ngi,igo->ngo", values, weights).reshape(
                    x.shape[0], -1
                )
    return out.astype(x.dtype)


def jacobian(function: Any, at: ARRAY) -> ARRAY:
    """Of a linear function: its value at every unit vector, ``[*at.shape, *output]``."""
    rows = []
    for index in np.ndindex(*at.shape):
        unit = np.zeros(at.shape, np.float32)
        unit[index] = 1
        rows.append(function(unit))
    return np.stack(rows).reshape(*at.shape, *rows[0].shape)


def backprop(function: Any, at: ARRAY, g: ARRAY) -> ARRAY:
    full = jacobian(function, at)
    return np.tensordot(full, g, g.ndim).astype(np.float32)


def to_first(x: ARRAY) -> ARRAY:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def four(pair: Any, first: bool = False) -> list[int]:
    return [1, 1, *pair] if first else [1, *pair, 1]


# Conv2D and its gradients -------------------------------------------------------------------------

_GRID = [
    # input, filter, strides, padding, dilations
    ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), "SAME", (1, 1)),
    ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), "VALID", (1, 1)),
    ((1, 6, 7, 2), (2, 4, 2, 3), (1, 1), "SAME", (1, 1)),  # even filters pad more after
    ((1, 7, 6, 2), (3, 2, 2, 3), (2, 3), "SAME", (1, 1)),
    ((1, 7, 6, 2), (3, 2, 2, 3), (2, 3), "VALID", (1, 1)),  # the last rows are never read
    ((1, 5, 5, 2), (1, 1, 2, 3), (2, 2), "SAME", (1, 1)),  # a filter smaller than its stride
    ((1, 4, 4, 2), (1, 1, 2, 3), (1, 1), "VALID", (1, 1)),
    ((1, 7, 7, 1), (3, 3, 1, 2), (1, 1), "SAME", (2, 2)),
    ((1, 7, 7, 1), (3, 2, 1, 2), (1, 1), "VALID", (2, 3)),
    ((1, 4, 5, 2), (3, 3, 2, 2), (1, 1), [(2, 1), (0, 3)], (1, 1)),
    ((1, 4, 5, 2), (3, 3, 2, 2), (2, 2), [(1, 1), (1, 0)], (1, 1)),
    ((1, 4, 4, 4), (3, 3, 2, 6), (1, 1), "SAME", (1, 1)),  # two groups
    ((1, 3, 3, 60), (2, 2, 60, 2), (1, 1), "SAME", (1, 1)),  # too many channels to stack
    ((2, 7, 8, 4), (5, 4, 4, 3), (2, 1), "SAME", (1, 1)),  # few channels, many products
    ((1, 9, 8, 2), (5, 4, 2, 3), (1, 1), "VALID", (2, 1)),
]


def conv_cases(name: str, function: Any, grid: Any) -> None:
    for number, (x_shape, w_shape, strides, padding, dilations) in enumerate(grid):
        x, w = numbers(*x_shape), numbers(*w_shape, seed=1)
        args = (strides, padding, dilations)
        y = function(x, w, *args)
        g = numbers(*y.shape, seed=2)
        to_x = backprop(lambda u, w=w, args=args: function(u, w, *args), x, g)
        to_w = backprop(lambda u, x=x, args=args: function(x, u, *args), w, g)
        attrs: dict[str, Any] = {
            "strides": four(strides), "dilations": four(dilations), "padding": padding
        }  # fmt: skip
        if isinstance(padding, list):
            flat = [p for pair in padding for p in pair]
            attrs.update(padding="EXPLICIT", explicit_paddings=[0, 0, *flat, 0, 0])
        # TensorFlow's CPU has no gradients of grouped convolutions, nor depthwise ones with
        # unequal strides or dilations.
        grouped = name == "Conv2D" and x_shape[-1] != w_shape[2]
        label = f"grid{number}"
        sizes = np.array(x_shape, np.int32), np.array(w_shape, np.int32)
        case(name, [x, w], **attrs, expect=y, id=label)
        case(f"{name}BackpropInput", [sizes[0], w, g], **attrs, expect=to_x, id=label,
             conformance=not grouped)  # fmt: skip
        case(f"{name}BackpropFilter", [x, sizes[1], g], **attrs, expect=to_w, id=label,
             conformance=not grouped)  # fmt: skip
        if number in (0, 3):
            attrs = {
                "strides": four(strides, True), "padding": padding, "data_format": "NCHW"
            }  # fmt: skip
            n = np.array([x_shape[0], x_shape[3], *x_shape[1:3]], np.int32)
            # TensorFlow's CPU convolves NHWC only (oneDNN builds accept some of NCHW).
            case(name, [to_first(x), w], **attrs, expect=to_first(y), id=f"{label}-NCHW",
                 conformance=False)  # fmt: skip
            case(f"{name}BackpropInput", [n, w, to_first(g)], **attrs, expect=to_first(to_x),
                 id=f"{label}-NCHW", conformance=False)  # fmt: skip
            case(f"{name}BackpropFilter", [to_first(x), sizes[1], to_first(g)], **attrs,
                 expect=to_w, id=f"{label}-NCHW", conformance=False)  # fmt: skip


conv_cases("Conv2D", conv, _GRID)
ONES = {"strides": [1, 1, 1, 1], "padding": "SAME"}
X, W = numbers(1, 4, 4, 3), numbers(2, 2, 3, 4, seed=1)
Y = conv(X, W, (1, 1), "SAME")
TO_X = backprop(lambda u: conv(u, W, (1, 1), "SAME"), X, Y / 8)
TO_W = backprop(lambda u: conv(X, u, (1, 1), "SAME"), W, Y / 8)
_X_SIZE, _W_SIZE = np.array(X.shape, np.int32), np.array(W.shape, np.int32)
for _dtype, _tol in ((np.float16, 2e-3), (BF16, 1e-2), (np.float64, 1e-9)):
    _how: dict[str, Any] = {**ONES, "rtol": _tol, "atol": _tol * 10, "id": np.dtype(_dtype).name}
    x_, w_, g_ = X.astype(_dtype), W.astype(_dtype), (Y / 8).astype(_dtype)
    case("Conv2D", [x_, w_], **_how, expect=Y.astype(_dtype))
    # The gradient is rounded to its 16 bits first, so a small sum may be off by more.
    _how["atol"] = 2.0 if _dtype == BF16 else 0.3 if _dtype == np.float16 else 1e-9
    case("Conv2DBackpropInput", [_X_SIZE, w_, g_], **_how, expect=TO_X.astype(_dtype))
    case("Conv2DBackpropFilter", [x_, _W_SIZE, g_], **_how, expect=TO_W.astype(_dtype))
case("Conv2D", [X.astype(np.int32), W.astype(np.int32)], **ONES, expect=Y.astype(np.int32),
     id="int32")  # fmt: skip
# For an empty input, TensorFlow's oneDNN kernel gives the input's depth instead of the filter's.
case("Conv2D", [np.zeros((0, 4, 4, 3), np.float32), W], **ONES, id="no_batch",
     expect=np.zeros((0, 4, 4, 4), np.float32), conformance=False)  # fmt: skip
case("Conv2D", [np.zeros((1, 0, 4, 3), np.float32), W], **ONES, id="no_height",
     expect=np.zeros((1, 0, 4, 4), np.float32), conformance=False)  # fmt: skip
case("Conv2DBackpropInput", [np.array([4, 4], np.int32), W, Y / 8], **ONES, expect=TO_X,
     id="spatial_sizes")  # fmt: skip
case("Conv2DBackpropFilter",
     [np.zeros((0, 4, 4, 3), np.float32), _W_SIZE, np.zeros((0, 4, 4, 4), np.float32)], **ONES,
     expect=np.zeros(W.shape, np.float32), id="no_batch")  # fmt: skip
case("Conv2D", [X, numbers(2, 2, 2, 4)], **ONES, raises=BAD,
     match="input depth must be evenly divisible by filter depth: 3 vs 2")  # fmt: skip
case("Conv2D", [X, numbers(2, 2, 1, 4)], **ONES, raises=BAD,
     match="output depth must be evenly divisible by number of groups: 4 vs 3")  # fmt: skip
case("Conv2D", [X, numbers(2, 3, 4)], **ONES, raises=BAD,
     match=r"filter must be 4-dimensional: \[2,3,4\]")  # fmt: skip
case("Conv2D", [X, np.zeros((2, 2, 3, 0), np.float32)], **ONES, raises=BAD,
     match="filter must not have zero elements")  # fmt: skip
case("Conv2D", [X, W], strides=[1, 1, 1, 1], dilations=[2, 1, 1, 1], padding="SAME", raises=BAD,
     match="dilations in the batch and depth dimensions")  # fmt: skip
case("Conv2D", [X, W], strides=[2, 1, 1, 1], padding="SAME", raises=errors.UnimplementedError,
     match="strides in the batch and depth dimensions")  # fmt: skip
# TensorFlow crashes, or its oneDNN kernels fail in words of their own.
case("Conv2D", [X[0], W], **ONES, raises=BAD, match="input must be 4-dimensional",
     conformance=False)  # fmt: skip
case("Conv2D", [X, numbers(9, 9, 3, 4)], strides=[1, 1, 1, 1], padding="VALID", raises=BAD,
     match="Computed output size would be negative", conformance=False)  # fmt: skip
for _sizes, _text in (
    ([2, 4, 4, 3], "input and out_backprop must have the same batch size. Input batch: 2, "),
    ([1, 5, 4, 3], "Size of out_backprop doesn't match computed: actual = 4, computed = 5"),
    ([1, 4, 4], "requires input_sizes to contain 4 values or 2 values, but got: 3"),
):
    case("Conv2DBackpropInput", [np.array(_sizes, np.int32), W, Y], **ONES, raises=BAD,
         match=_text, conformance=False)  # fmt: skip
case("Conv2DBackpropInput", [_X_SIZE, numbers(2, 2, 3, 3), Y], **ONES, raises=BAD,
     match="filter and out_backprop must have the same out_depth", conformance=False)  # fmt: skip
case("Conv2DBackpropInput", [np.array([1, 4, 4, 5], np.int32), W, Y], **ONES, raises=BAD,
     match="input depth must be evenly divisible by filter depth: 5 vs 3")  # fmt: skip
case("Conv2DBackpropFilter", [X, np.array([2, 2, 4, 4], np.int32), Y], **ONES, raises=BAD,
     match="input depth must be evenly divisible by filter depth: 3 vs 4")  # fmt: skip
case("Conv2DBackpropFilter", [X, np.array([2, 2, 4], np.int32), Y], **ONES, raises=BAD,
     match=r"filter must be 4-dimensional: \[2,2,4\]")  # fmt: skip
case("Conv2DBackpropFilter", [X, np.array([2, 2, 3, 5], np.int32), Y], **ONES, raises=BAD,
     match="must have the same out_depth", conformance=False)  # fmt: skip


# Depthwise convolutions ---------------------------------------------------------------------------


def depthwise(x: ARRAY, w: ARRAY, strides: Any, padding: Any, dilations: Any) -> ARRAY:
    grouped = w.reshape(*w.shape[:2], 1, -1)
    return conv(x, grouped, strides, padding, dilations)


conv_cases(
    "DepthwiseConv2dNative",
    depthwise,
    [
        ((2, 5, 6, 3), (3, 3, 3, 2), (1, 1), "SAME", (1, 1)),
        ((1, 5, 6, 3), (2, 3, 3, 1), (1, 1), "VALID", (1, 1)),
        ((1, 7, 6, 2), (3, 2, 2, 3), (2, 2), "VALID", (1, 1)),
        ((1, 7, 6, 2), (3, 2, 2, 1), (2, 2), "SAME", (1, 1)),
        ((1, 4, 5, 2), (3, 3, 2, 2), (1, 1), [(2, 1), (0, 2)], (1, 1)),
    ],
)
_DX, _DW = numbers(1, 6, 6, 2), numbers(3, 3, 2, 2, seed=1)
case("DepthwiseConv2dNative", [_DX, _DW], strides=[1, 1, 1, 1], dilations=[1, 2, 2, 1],
     padding="SAME", expect=depthwise(_DX, _DW, (1, 1), "SAME", (2, 2)))  # fmt: skip
case("DepthwiseConv2dNative", [_DX.astype(np.float64), _DW.astype(np.float64)], **ONES,
     expect=depthwise(_DX, _DW, (1, 1), "SAME", (1, 1)).astype(np.float64))  # fmt: skip
case("DepthwiseConv2dNative", [_DX, numbers(3, 3, 3, 1)], **ONES, raises=BAD,
     match="input depth must be evenly divisible by filter depth: 2 vs 3")  # fmt: skip


# Three dimensions ---------------------------------------------------------------------------------

for _stride, _padding in ((1, "SAME"), (2, "VALID")):
    _x, _w = numbers(1, 4, 3, 5, 2), numbers(2, 3, 2, 2, 3, seed=1)
    _args = ((_stride,) * 3, _padding)
    _y = conv(_x, _w, *_args)
    _g = numbers(*_y.shape, seed=2)
    _how = {"strides": [1, *_args[0], 1], "padding": _padding}
    _sizes = [np.array(a.shape, np.int32) for a in (_x, _w)]
    _to_x = backprop(lambda u, w=_w, a=_args: conv(u, w, *a), _x, _g)
    case("Conv3D", [_x, _w], **_how, expect=_y)
    case("Conv3DBackpropInputV2", [_sizes[0], _w, _g], **_how, expect=_to_x)
    case("Conv3DBackpropInputV2", [_sizes[0].astype(np.int64), _w, _g], **_how, expect=_to_x)
    case("Conv3DBackpropFilterV2", [_x, _sizes[1], _g], **_how,
         expect=backprop(lambda u, x=_x, a=_args: conv(x, u, *a), _w, _g))  # fmt: skip
case("Conv3D", [X, W], strides=[1] * 5, padding="SAME", raises=BAD, conformance=False,
     match="input must be 5-dimensional")  # fmt: skip


# Pools --------------------------------------------------------------------------------------------


def windows_of(x: ARRAY, k: Any, s: Any, padding: Any) -> Any:
    """For each output place, the input places of its window in row-major order."""
    pads = padding if isinstance(padding, list) else [padding] * len(k)
    axes = [places(x.shape[1 + i], k[i], s[i], pads[i]) for i in range(len(k))]
    for at in itertools.product(*(range(len(axis)) for axis in axes)):
        inside = [
            place
            for place in itertools.product(*(axis[i] for axis, i in zip(axes, at, strict=True)))
            if all(0 <= p < size for p, size in zip(place, x.shape[1:-1], strict=True))
        ]
        yield at, inside, tuple(map(len, axes))


def pool(function: Any, x: ARRAY, k: Any, s: Any, padding: Any) -> ARRAY:
    out = None
    for at, inside, size in windows_of(x, k, s, padding):
        if out is None:
            out = np.zeros((x.shape[0], *size, x.shape[-1]), x.dtype)
        out[(slice(None), *at)] = function(np.stack([x[(slice(None), *p)] for p in inside]), axis=0)
    assert out is not None
    return out


def max_pool_grads(x: ARRAY, g: ARRAY, gg: ARRAY, *args: Any) -> tuple[ARRAY, ARRAY]:
    """MaxPoolGrad of g and MaxPoolGradGrad of gg: to and from the first maximum."""
    to_x, second = np.zeros_like(x), np.zeros_like(g)
    for at, inside, _ in windows_of(x, *args):
        first = np.stack([x[(slice(None), *p)] for p in inside]).argmax(0)
        for n, c in np.ndindex(*first.shape):
            place = inside[first[n, c]]
            to_x[(n, *place, c)] += g[(n, *at, c)]
            second[(n, *at, c)] = gg[(n, *place, c)]
    return to_x, second


def to_all_maxima(x: ARRAY, y: ARRAY, g: ARRAY, *args: Any) -> ARRAY:
    """MaxPool3DGrad: every maximum of a window gets its gradient."""
    result = np.zeros_like(x)
    for at, inside, _ in windows_of(x, *args):
        at = (slice(None), *at)
        for place in inside:
            place = (slice(None), *place)
            result[place] += np.where(x[place] == y[at], g[at], 0)
    return result


def avg_pool_grad(x: ARRAY, g: ARRAY, *args: Any) -> ARRAY:
    result = np.zeros_like(x)
    for at, inside, _ in windows_of(x, *args):
        for place in inside:
            result[(slice(None), *place)] += g[(slice(None), *at)] / len(inside)
    return result


_POOLS = [
    ((2, 4, 6, 3), (2, 2), (2, 2), "VALID"),  # tiles
    ((1, 5, 7, 2), (2, 2), (2, 2), "SAME"),
    ((1, 5, 7, 2), (2, 2), (2, 2), "VALID"),
    ((1, 6, 6, 2), (3, 3), (2, 2), "SAME"),  # overlapping
    ((1, 6, 7, 2), (3, 2), (1, 3), "VALID"),
    ((1, 5, 5, 1), (1, 1), (2, 2), "SAME"),
    ((1, 7, 7, 1), (5, 4), (2, 1), "SAME"),  # more than 16 elements
]
for _number, (_shape, _k, _s, _padding) in enumerate(_POOLS):
    _x = numbers(*_shape)
    _args = (_k, _s, _padding)
    _y = pool(np.max, _x, *_args)
    _g, _gg = numbers(*_y.shape, seed=1), numbers(*_shape, seed=2)
    _to_x, _second = max_pool_grads(_x, _g, _gg, *_args)
    _how = {"padding": _padding}
    _attrs = {"ksize": four(_k), "strides": four(_s)}
    _inputs = [np.array(four(p), np.int32) for p in (_k, _s)]
    _id = f"grid{_number}"
    case("MaxPool", [_x], **_how, **_attrs, expect=_y, id=_id)
    case("MaxPoolV2", [_x, *_inputs], **_how, expect=_y, id=_id)
    case("MaxPoolGrad", [_x, _y, _g], **_how, **_attrs, expect=_to_x, id=_id)
    case("MaxPoolGradV2", [_x, _y, _g, *_inputs], **_how, expect=_to_x, id=_id)
    case("MaxPoolGradGrad", [_x, _y, _gg], **_how, **_attrs, expect=_second, id=_id)
    case("MaxPoolGradGradV2", [_x, _y, _gg, *_inputs], **_how, expect=_second, id=_id)
    _mean, _share = pool(np.mean, _x, *_args), avg_pool_grad(_x, _g, *_args)
    _sizes = np.array(_shape, np.int32)
    case("AvgPool", [_x], **_how, **_attrs, expect=_mean, id=_id)
    case("AvgPoolGrad", [_sizes, _g], **_how, **_attrs, expect=_share, id=_id)
    if _number in (0, 3):
        _attrs = {"ksize": four(_k, True), "strides": four(_s, True), "data_format": "NCHW"}
        case("MaxPool", [to_first(_x)], **_how, **_attrs, expect=to_first(_y), id=f"{_id}-NCHW")
        case("AvgPool", [to_first(_x)], **_how, **_attrs, expect=to_first(_mean),
             id=f"{_id}-NCHW")  # fmt: skip
        # TensorFlow's CPU kernels of these three take NHWC only.
        case("MaxPoolGrad", [to_first(_x), to_first(_y), to_first(_g)], **_how, **_attrs,
             expect=to_first(_to_x), id=f"{_id}-NCHW", conformance=False)  # fmt: skip
        case("MaxPoolGradGrad", [to_first(_x), to_first(_y), to_first(_gg)], **_how, **_attrs,
             expect=to_first(_second), id=f"{_id}-NCHW", conformance=False)  # fmt: skip
        case("AvgPoolGrad", [np.array(to_first(_x).shape, np.int32), to_first(_g)], **_how,
             **_attrs, expect=to_first(_share), id=f"{_id}-NCHW", conformance=False)  # fmt: skip

HALVES = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}
IMAGE = numbers(1, 4, 4, 2)
_MAX, _MEAN = (pool(f, IMAGE, (2, 2), (2, 2), "VALID") for f in (np.max, np.mean))
_TO_X, _ = max_pool_grads(IMAGE, _MAX, IMAGE, (2, 2), (2, 2), "VALID")
for _dtype in (np.float16, BF16, np.float64, np.int32, np.int64, np.int8, np.uint8):
    # Unsigned numbers must not wrap around the padding's value.
    _shift = 10 if _dtype == np.uint8 else 0
    _low = _MAX.min()
    case("MaxPool", [(IMAGE + _shift).astype(_dtype)], **HALVES, id=np.dtype(_dtype).name,
         expect=(_MAX + _shift).astype(_dtype))  # fmt: skip
    case("MaxPoolGrad", [(IMAGE + _shift).astype(_dtype), (_MAX + _shift).astype(_dtype),
         np.ones(_MAX.shape, _dtype)], **HALVES, id=np.dtype(_dtype).name,
         expect=max_pool_grads(IMAGE, np.ones_like(_MAX), IMAGE, (2, 2), (2, 2), "VALID")[0].astype(
             _dtype))  # fmt: skip
for _dtype in (np.float16, BF16, np.float64):
    case("AvgPool", [IMAGE.astype(_dtype)], **HALVES, id=np.dtype(_dtype).name,
         expect=_MEAN.astype(_dtype))  # fmt: skip
    case("AvgPoolGrad", [np.array(IMAGE.shape, np.int32), _MAX.astype(_dtype)], **HALVES,
         id=np.dtype(_dtype).name,
         expect=avg_pool_grad(IMAGE, _MAX, (2, 2), (2, 2), "VALID").astype(_dtype))  # fmt: skip
# flowray hands NaN and -inf on, as numpy's max does; TensorFlow's oneDNN kernel drops them.
_ODD = np.array([1, np.nan, 3, 2, -np.inf, -np.inf, -np.inf, -np.inf], np.float32)
case("MaxPool", [_ODD.reshape(2, 2, 2, 1)], **HALVES, conformance=False, id="nan",
     expect=np.array([np.nan, -np.inf], np.float32).reshape(2, 1, 1, 1))  # fmt: skip
# A window's gradient is its first maximum's, also where all are -inf; TensorFlow's as above.
_LOW = np.array([1, 3, 3, 2, -np.inf, -np.inf, -np.inf, -np.inf], np.float32).reshape(2, 2, 2, 1)
case("MaxPoolGrad", [_LOW, np.array([3, -np.inf], np.float32).reshape(2, 1, 1, 1),
     np.array([5, 7], np.float32).reshape(2, 1, 1, 1)], **HALVES, conformance=False, id="infinite",
     expect=np.array([0, 5, 0, 0, 7, 0, 0, 0], np.float32).reshape(2, 2, 2, 1))  # fmt: skip
_PADS = {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 0, 0, 1, 0, 0]}
_PADDED = pool(np.max, IMAGE, (2, 2), (2, 2), [(1, 0), (0, 1)])
case("MaxPool", [IMAGE], **{**HALVES, **_PADS}, expect=_PADDED, id="explicit")
case("MaxPoolGrad", [IMAGE, _PADDED, _PADDED], **{**HALVES, **_PADS}, id="explicit",
     expect=max_pool_grads(IMAGE, _PADDED, IMAGE, (2, 2), (2, 2), [(1, 0), (0, 1)])[0])  # fmt: skip
case("MaxPool", [numbers(0, 4, 4, 1)], **HALVES, expect=numbers(0, 2, 2, 1), id="empty")
case("AvgPool", [numbers(0, 4, 4, 1)], **HALVES, expect=numbers(0, 2, 2, 1), id="empty")
DEPTH = numbers(1, 2, 2, 6)
case("MaxPool", [DEPTH], ksize=[1, 1, 1, 2], strides=[1, 1, 1, 2], padding="VALID", id="depth",
     expect=DEPTH.reshape(1, 2, 2, 3, 2).max(-1))  # fmt: skip
for _k, _s, _text in (
    ([1, 2, 1, 2], [1, 1, 1, 2], "exactly one of pooling across depth or pooling across"),
    ([1, 1, 1, 4], [1, 1, 1, 4], "requires the depth window to evenly divide the input depth"),
    ([1, 1, 1, 2], [1, 1, 1, 1], "requires the depth window to equal the depth stride"),
    ([2, 2, 2, 1], [1, 2, 2, 1], "Pooling is not yet supported on the batch dimension"),
):
    case("MaxPool", [DEPTH], ksize=_k, strides=_s, padding="SAME",
         raises=errors.UnimplementedError, match=_text)  # fmt: skip
case("MaxPool", [IMAGE], ksize=[1, 0, 2, 1], strides=[1, 2, 2, 1], padding="SAME", raises=BAD,
     match="Sliding window ksize must be positive. The specified or inferred ksize is: 1,0,2,1")  # fmt: skip  # noqa: E501
case("MaxPool", [IMAGE], **{**HALVES, **_PADS, "explicit_paddings": [0, 0, 2, 0, 0, 0, 0, 0]},
     raises=BAD, match="Top padding 2 needs to be smaller than the window size 2")  # fmt: skip
case("MaxPool", [IMAGE[0]], **HALVES, raises=BAD, match="Input must be 4")
case("MaxPoolGrad", [IMAGE[0], _MAX, _MAX], **HALVES, raises=BAD,
     match="tensor_in must be 4-dimensional")  # fmt: skip
case("MaxPoolGrad", [IMAGE, _MAX, _MAX[:, :1]], **HALVES, raises=BAD,
     match=r"Expected grad shape to be \[1,2,2,2\], but got \[1,1,2,2\]")  # fmt: skip
case("MaxPoolGrad", [IMAGE, _MAX[:, :1], _MAX], **HALVES, raises=BAD,
     match=r"Expected orig_output shape to be \[1,2,2,2\], but got \[1,1,2,2\]")  # fmt: skip
# TensorFlow's oneDNN kernel reads and writes past its arrays here.
case("AvgPoolGrad", [np.array([1, 4, 4, 2], np.int32), _MAX[:, :1]], **HALVES, raises=BAD,
     match=r"Expected grad shape to be \[1,2,2,2\]", conformance=False)  # fmt: skip
case("AvgPoolGrad", [np.array([4, 4, 2], np.int32), _MAX], **HALVES, raises=BAD,
     match="out_backprop must be 1-dimensional and 4 elements", conformance=False)  # fmt: skip
case("AvgPool", [DEPTH], ksize=[1, 1, 1, 2], strides=[1, 1, 1, 2], padding="VALID",
     raises=errors.UnimplementedError, match="Non-spatial pooling", conformance=False)  # fmt: skip

# Pools over three dimensions ----------------------------------------------------------------------

_POOLS_3D = [
    ((2, 2, 4, 6, 2), (2, 2, 2), (2, 2, 2), "VALID"),  # tiles
    ((1, 5, 3, 4, 2), (2, 2, 2), (2, 2, 2), "SAME"),
    ((1, 4, 5, 3, 1), (3, 2, 1), (1, 2, 1), "SAME"),  # overlapping
    ((1, 3, 4, 5, 2), (2, 3, 2), (1, 1, 2), "VALID"),
]
for _number, (_shape, _k, _s, _padding) in enumerate(_POOLS_3D):
    _x = numbers(*_shape)
    _args = (_k, _s, _padding)
    _y = pool(np.max, _x, *_args)
    _g, _gg = numbers(*_y.shape, seed=1), numbers(*_shape, seed=2)
    _to_x, (_, _second) = to_all_maxima(_x, _y, _g, *_args), max_pool_grads(_x, _g, _gg, *_args)
    _mean, _share = pool(np.mean, _x, *_args), avg_pool_grad(_x, _g, *_args)
    _how = {"padding": _padding, "ksize": four(_k), "strides": four(_s)}
    _id = f"grid{_number}"
    case("MaxPool3D", [_x], **_how, expect=_y, id=_id)
    case("MaxPool3DGrad", [_x, _y, _g], **_how, expect=_to_x, id=_id)
    case("MaxPool3DGradGrad", [_x, _y, _gg], **_how, expect=_second, id=_id)
    case("AvgPool3D", [_x], **_how, expect=_mean, id=_id)
    case("AvgPool3DGrad", [np.array(_shape, np.int32), _g], **_how, expect=_share, id=_id)
    if _number == 0:
        _how = {"padding": _padding, "ksize": four(_k, True), "strides": four(_s, True),
                "data_format": "NCDHW"}  # fmt: skip
        case("MaxPool3D", [to_first(_x)], **_how, expect=to_first(_y), id="NCDHW")
        case("MaxPool3DGrad", [to_first(_x), to_first(_y), to_first(_g)], **_how,
             expect=to_first(_to_x), id="NCDHW", conformance=False)  # fmt: skip
        case("MaxPool3DGradGrad", [to_first(_x), to_first(_y), to_first(_gg)], **_how,
             expect=to_first(_second), id="NCDHW", conformance=False)  # fmt: skip
        case("AvgPool3D", [to_first(_x)], **_how, expect=to_first(_mean), id="NCDHW")
        case("AvgPool3DGrad", [np.array(to_first(_x).shape, np.int32), to_first(_g)], **_how,
             expect=to_first(_share), id="NCDHW")  # fmt: skip

# TensorFlow has no CPU kernels for some of these types and formats.
CUBE = numbers(1, 2, 2, 2, 2)
EIGHTH = {"ksize": [1, 2, 2, 2, 1], "strides": [1, 2, 2, 2, 1], "padding": "VALID"}
_WHOLE = ((2, 2, 2), (2, 2, 2), "VALID")
_MAX3, _MEAN3 = pool(np.max, CUBE, *_WHOLE), pool(np.mean, CUBE, *_WHOLE)
for _dtype in (np.float16, BF16):
    case("MaxPool3D", [CUBE.astype(_dtype)], **EIGHTH, expect=_MAX3.astype(_dtype),
         id=np.dtype(_dtype).name, conformance=False)  # fmt: skip
for _dtype in (np.float16, BF16, np.float64):
    case("AvgPool3D", [CUBE.astype(_dtype)], **EIGHTH, expect=_MEAN3.astype(_dtype),
         id=np.dtype(_dtype).name, conformance=False)  # fmt: skip
case("MaxPool3DGrad", [CUBE.astype(np.float16), _MAX3.astype(np.float16), _MAX3], **EIGHTH,
     conformance=False, id="two-types",
     expect=to_all_maxima(CUBE, _MAX3, _MAX3, *_WHOLE))  # fmt: skip
case("MaxPool3DGradGrad", [CUBE.astype(np.int32), _MAX3.astype(np.int32), CUBE.astype(np.int32)],
     **EIGHTH, expect=_MAX3.astype(np.int32), id="int32", conformance=False)  # fmt: skip
# TensorFlow's oneDNN kernels crash over no elements, too many dimensions and bad shapes of inputs.
case("MaxPool3D", [numbers(0, 2, 2, 2, 1)], **EIGHTH, expect=numbers(0, 1, 1, 1, 1), id="empty",
     conformance=False)  # fmt: skip
case("AvgPool3D", [numbers(0, 2, 2, 2, 1)], **EIGHTH, expect=numbers(0, 1, 1, 1, 1), id="empty",
     conformance=False)  # fmt: skip
case("MaxPool3D", [CUBE[0]], **EIGHTH, raises=BAD, match="Input must be 5", conformance=False)
case("MaxPool3D", [CUBE], **{**EIGHTH, "ksize": [1, 2, 2, 2, 2]},
     raises=errors.UnimplementedError, match="not yet supported on the depth dim")  # fmt: skip
case("MaxPool3DGrad", [CUBE, _MAX3, CUBE], **EIGHTH, raises=BAD,
     match=r"Expected grad shape to be \[1,1,1,1,2\], but got \[1,2,2,2,2\]")  # fmt: skip
case("MaxPool3DGradGrad", [CUBE, CUBE, CUBE], **EIGHTH, raises=BAD,
     match=r"Expected orig_output shape to be \[1,1,1,1,2\], but got \[1,2,2,2,2\]")  # fmt: skip
case("AvgPool3DGrad", [np.array([2, 2, 2, 2], np.int32), _MEAN3], **EIGHTH, raises=BAD,
     match="out_backprop must be 1-dimensional and 5 elements", conformance=False)  # fmt: skip
case("AvgPool3DGrad", [np.array([1, 2, 2, 2, 2], np.int32), CUBE], **EIGHTH, raises=BAD,
     match=r"Expected grad shape to be \[1,1,1,1,2\]", conformance=False)  # fmt: skip

test_case = table_test()
