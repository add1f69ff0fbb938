"""Pools, against a definition spelled out element by element."""

import itertools
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test
from tests.ops.windows import ARRAY, four, numbers, places, to_first

BF16 = dtypes.bfloat16.as_numpy_dtype
BAD = errors.InvalidArgumentError


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
# Of a window with NaN, the first element above -inf gets the gradient. TensorFlow scans for the
# element that no later one exceeds: the same one, if it is NaN.
_NANS = np.array([np.nan, np.nan, np.nan, np.nan, np.nan, 3, 2, 1], np.float32).reshape(2, 2, 2, 1)
_TO_NANS = np.array([5, 0, 0, 0, 7, 0, 0, 0], np.float32).reshape(2, 2, 2, 1)
_OF_NANS = np.full((2, 1, 1, 1), np.nan, np.float32)
_BY_WINDOW = np.array([5, 7], np.float32).reshape(2, 1, 1, 1)
for _dtype in (np.float32, np.float16, BF16, np.float64):
    case("MaxPoolGrad", [_NANS.astype(_dtype), _OF_NANS.astype(_dtype), _BY_WINDOW.astype(_dtype)],
         **HALVES, expect=_TO_NANS.astype(_dtype), id=f"nan-{np.dtype(_dtype).name}")  # fmt: skip
_ONLY_NANS = np.full((1, 3, 3, 1), np.nan, np.float32)
_NUMBERED = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
for _k in (2, 3):  # windows that overlap, with padding after them and on both sides
    case("MaxPoolGrad", [_ONLY_NANS, _ONLY_NANS, _NUMBERED], ksize=[1, _k, _k, 1],
         strides=[1, 1, 1, 1], padding="SAME", id=f"nan-overlapping{_k}",
         expect=max_pool_grads(_ONLY_NANS, _NUMBERED, _ONLY_NANS, (_k, _k), (1, 1), "SAME")[0])  # fmt: skip  # noqa: E501
case("MaxPoolGrad", [np.array([3, np.nan, 4, 4], np.float32).reshape(1, 2, 2, 1), _OF_NANS[:1],
     _BY_WINDOW[:1]], **HALVES, conformance=False, id="nan-after-number",
     expect=np.array([5, 0, 0, 0], np.float32).reshape(1, 2, 2, 1))  # fmt: skip
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
# A stride along the channels is ignored, except by the gradients of MaxPool.
_DEEP = {**HALVES, "strides": [1, 2, 2, 2]}
case("MaxPool", [IMAGE], **_DEEP, expect=_MAX, id="depth-stride")
case("AvgPool", [IMAGE], **_DEEP, expect=_MEAN, id="depth-stride")
case("AvgPoolGrad", [np.array(IMAGE.shape, np.int32), _MAX], **_DEEP, id="depth-stride",
     expect=avg_pool_grad(IMAGE, _MAX, (2, 2), (2, 2), "VALID"))  # fmt: skip
case("MaxPoolGrad", [IMAGE, _MAX, _MAX], **_DEEP, raises=errors.UnimplementedError,
     match="MaxPoolingGrad is not yet supported on the depth dimension")  # fmt: skip

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
