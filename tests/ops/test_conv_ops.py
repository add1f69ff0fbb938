"""Convolutions, against a definition spelled out element by element."""

import itertools
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test
from tests.ops.windows import ARRAY, four, numbers, places, to_first

BF16 = dtypes.bfloat16.as_numpy_dtype
BAD = errors.InvalidArgumentError


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
# The gradients of an empty filter are empty, or zeros.
for _sizes in ([2, 2, 3, 0], [0, 2, 3, 4], [2, 2, 0, 4]):
    _size, _empty = np.array(_sizes, np.int32), np.zeros(_sizes, np.float32)
    _g = np.zeros((1, 4, 4, _sizes[-1]), np.float32)
    case("Conv2DBackpropFilter", [X, _size, _g], **ONES, expect=_empty, id=f"empty{_sizes}")
    case("Conv2DBackpropInput", [_X_SIZE, _empty, _g], **ONES, expect=np.zeros_like(X),
         id=f"empty{_sizes}")  # fmt: skip
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
case("DepthwiseConv2dNative", [_DX, numbers(3, 3, 2, 0)], **ONES, raises=BAD,
     match="filter must not have zero elements")  # fmt: skip
for _sizes in ([3, 3, 2, 0], [0, 3, 2, 2]):
    _size, _empty = np.array(_sizes, np.int32), np.zeros(_sizes, np.float32)
    case("DepthwiseConv2dNativeBackpropFilter", [_DX, _size, _DX], **ONES, expect=_empty,
         id=f"empty{_sizes}")  # fmt: skip
    case("DepthwiseConv2dNativeBackpropInput", [np.array(_DX.shape, np.int32), _empty, _DX], **ONES,
         expect=np.zeros_like(_DX), id=f"empty{_sizes}")  # fmt: skip


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
_CUBE, _NO_FILTER = numbers(1, 1, 3, 3, 1), np.zeros((1, 2, 2, 1, 0), np.float32)
_CUBES = {"strides": [1] * 5, "padding": "SAME"}
case("Conv3D", [_CUBE, _NO_FILTER], **_CUBES, raises=BAD,
     match="filter must not have zero elements")  # fmt: skip
case("Conv3DBackpropFilterV2", [_CUBE, np.array(_NO_FILTER.shape, np.int32), _CUBE], **_CUBES,
     expect=_NO_FILTER, id="empty")  # fmt: skip
case("Conv3DBackpropInputV2", [np.array(_CUBE.shape, np.int32), _NO_FILTER, _CUBE[..., :0]],
     **_CUBES, expect=np.zeros_like(_CUBE), id="empty")  # fmt: skip
case("Conv3D", [X, W], strides=[1] * 5, padding="SAME", raises=BAD, conformance=False,
     match="input must be 5-dimensional")  # fmt: skip

test_case = table_test()
