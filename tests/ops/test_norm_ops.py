"""Batch normalization."""

from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BF16 = dtypes.bfloat16.as_numpy_dtype
BAD = errors.InvalidArgumentError
ARRAY = np.ndarray[Any, Any]
NONE = np.zeros(0, np.float32)
EPSILON = 0.01


def numbers(*shape: int, seed: int = 0) -> ARRAY:
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def to_first(x: ARRAY) -> ARRAY:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


X = numbers(2, 3, 4, 3) * 2 + 1
SCALE, OFFSET = numbers(3, seed=1), numbers(3, seed=2)
MEAN, VARIANCE = numbers(3, seed=3), abs(numbers(3, seed=4)) + 0.5
COUNT = X.size // 3
BATCH_MEAN, BATCH_VARIANCE = X.mean((0, 1, 2)), X.var((0, 1, 2))
UNBIASED = (BATCH_VARIANCE * COUNT / (COUNT - 1)).astype(np.float32)


def normalized(x: ARRAY, mean: ARRAY, variance: ARRAY) -> ARRAY:
    wide = x.astype(np.float64)
    return ((wide - mean) / np.sqrt(variance + EPSILON) * SCALE + OFFSET).astype(np.float32)


TRAINED = (normalized(X, BATCH_MEAN, BATCH_VARIANCE), BATCH_MEAN, UNBIASED, BATCH_MEAN,
           BATCH_VARIANCE)  # fmt: skip
FIXED = (normalized(X, MEAN, VARIANCE), MEAN, VARIANCE, MEAN, VARIANCE)
MOVED = (TRAINED[0], 0.7 * MEAN + 0.3 * BATCH_MEAN, 0.7 * VARIANCE + 0.3 * UNBIASED, BATCH_MEAN,
         BATCH_VARIANCE)  # fmt: skip
for _op, _more in (("FusedBatchNorm", ()), ("FusedBatchNormV2", ()), ("FusedBatchNormV3", (NONE,))):
    _how = {"epsilon": EPSILON, "rtol": 1e-4, "atol": 1e-5}
    case(_op, [X, SCALE, OFFSET, NONE, NONE], **_how, expect=TRAINED + _more, id="training")
    case(_op, [X, SCALE, OFFSET, MEAN, VARIANCE], **_how, is_training=False, id="inference",
         expect=FIXED + _more)  # fmt: skip
    case(_op, [X, SCALE, OFFSET, MEAN, VARIANCE], **_how, exponential_avg_factor=0.3, id="moving",
         expect=tuple(np.asarray(m, np.float32) for m in MOVED) + _more)  # fmt: skip
    case(_op, [to_first(X), SCALE, OFFSET, NONE, NONE], **_how, data_format="NCHW", id="NCHW",
         expect=(to_first(TRAINED[0]), *TRAINED[1:], *_more))  # fmt: skip
    # An empty batch: TensorFlow's running statistics are NaN, the reserves zeros.
    _nan, _zero = np.full(3, np.nan, np.float32), np.zeros(3, np.float32)
    case(_op, [X[:0], SCALE, OFFSET, NONE, NONE], **_how, id="empty",
         expect=(X[:0], _nan, _nan, _zero, _zero, *_more))  # fmt: skip
    case(_op, [X[:1, :1, :1], SCALE, OFFSET, NONE, NONE], **_how, id="one",
         expect=(np.broadcast_to(OFFSET, (1, 1, 1, 3)), X[0, 0, 0], _zero, X[0, 0, 0], _zero,
                 *_more))  # fmt: skip
    case(_op, [X[0], SCALE, OFFSET, NONE, NONE], raises=BAD,
         match=r"input must be 4-dimensional\[3,4,3\]")  # fmt: skip
    case(_op, [X, SCALE[:2], OFFSET, NONE, NONE], raises=BAD,
         match="scale must have the same number of elements as the channels of x, got 2 and 3")  # fmt: skip  # noqa: E501
    case(_op, [X, SCALE[:, None], OFFSET, NONE, NONE], raises=BAD,
         match=r"scale must be 1-dimensional\[3,1\]")  # fmt: skip
    case(_op, [X, SCALE, OFFSET, NONE, NONE], is_training=False, raises=BAD,
         match="When is_training=false, mean must have the same number of elements as the "
               "channels of x, got 0 and 3")  # fmt: skip
    case(_op, [X, SCALE, OFFSET, NONE, NONE], exponential_avg_factor=0.5, raises=BAD,
         match="When exponential_avg_factor != 1, mean must have the same number")  # fmt: skip
for _dtype, _tol in ((np.float16, 5e-3), (BF16, 5e-2)):
    for _op, _more in (("FusedBatchNormV2", ()), ("FusedBatchNormV3", (NONE,))):
        _want = (TRAINED[0].astype(_dtype), *TRAINED[1:], *_more)
        # TensorFlow's CPU has no bfloat16 kernel of V2 everywhere; of V3's last output, which its
        # gradient does not read, the shape depends on the kernel.
        case(_op, [X.astype(_dtype), SCALE, OFFSET, NONE, NONE], epsilon=EPSILON, rtol=_tol,
             atol=_tol, id=np.dtype(_dtype).name, expect=_want,
             conformance=not (_more and _dtype == np.float16))  # fmt: skip
_VOLUME = X.reshape(2, 3, 2, 2, 3)
_FOR_3D = np.float32(0)
case("FusedBatchNormV3", [_VOLUME, SCALE, OFFSET, NONE, NONE], epsilon=EPSILON, rtol=1e-4,
     atol=1e-5, data_format="NDHWC", id="NDHWC",
     expect=(TRAINED[0].reshape(_VOLUME.shape), *TRAINED[1:], _FOR_3D))  # fmt: skip
case("FusedBatchNormV3", [to_first(_VOLUME), SCALE, OFFSET, NONE, NONE], epsilon=EPSILON,
     rtol=1e-4, atol=1e-5, data_format="NCDHW", id="NCDHW",
     expect=(to_first(TRAINED[0].reshape(_VOLUME.shape)), *TRAINED[1:], _FOR_3D))  # fmt: skip


# Gradients, by central differences ----------------------------------------------------------------

DY = numbers(*X.shape, seed=5)


def gradient(function: Any, at: ARRAY) -> ARRAY:
    result = np.zeros(at.shape)
    for index in np.ndindex(*at.shape):
        step = np.zeros(at.shape)
        step[index] = 1e-5
        result[index] = (function(at + step) - function(at - step)) / 2e-5
    return result.astype(np.float32)


def loss(x: ARRAY, scale: ARRAY, offset: ARRAY, is_training: bool) -> float:
    mean = x.mean((0, 1, 2)) if is_training else MEAN
    variance = x.var((0, 1, 2)) if is_training else VARIANCE
    y = (x - mean) / np.sqrt(variance + EPSILON) * scale + offset
    return float((y * DY).sum())


_WIDE = [a.astype(np.float64) for a in (X, SCALE, OFFSET)]
for _training in (True, False):
    _grads = tuple(
        gradient(
            lambda u, i=i, t=_training: loss(*_WIDE[:i], u, *_WIDE[i + 1 :], is_training=t),
            _WIDE[i],
        )
        for i in range(3)
    )
    _stats = [BATCH_MEAN, BATCH_VARIANCE] if _training else [MEAN, VARIANCE]
    for _op, _more in (
        ("FusedBatchNormGrad", []),
        ("FusedBatchNormGradV2", []),
        ("FusedBatchNormGradV3", [NONE]),
    ):
        _id = "training" if _training else "inference"
        _how = {"epsilon": EPSILON, "is_training": _training, "rtol": 1e-3, "atol": 1e-4}
        case(_op, [DY, X, SCALE, *_stats, *_more], **_how, id=_id,
             expect=(*_grads, np.float32(0), np.float32(0)))  # fmt: skip
        case(_op, [to_first(DY), to_first(X), SCALE, *_stats, *_more], **_how, id=f"{_id}-NCHW",
             data_format="NCHW",
             expect=(to_first(_grads[0]), *_grads[1:], np.float32(0), np.float32(0)))  # fmt: skip
        if _op != "FusedBatchNormGrad":
            _half = {**_how, "rtol": 2e-2, "atol": 2e-2}
            # TensorFlow's two empty outputs are vectors for these, scalars for float32.
            case(_op, [DY.astype(np.float16), X.astype(np.float16), SCALE, *_stats, *_more],
                 **_half, id=f"{_id}-float16", conformance=False,
                 expect=(_grads[0].astype(np.float16), *_grads[1:], np.float32(0),
                         np.float32(0)))  # fmt: skip
for _op, _more in (
    ("FusedBatchNormGrad", []),
    ("FusedBatchNormGradV2", []),
    ("FusedBatchNormGradV3", [NONE]),
):
    case(_op, [DY, X[:, :1], SCALE, MEAN, VARIANCE, *_more], raises=BAD,
         match=r"x and y_backprop must have same shape, but x has shape \[2,1,4,3\] and y_backprop "
               r"has shape \[2,3,4,3\]")  # fmt: skip
    case(_op, [DY, X, SCALE[:2], MEAN, VARIANCE, *_more], raises=BAD,
         match="scale must have the same number of elements as the channels of x, got 2 and 3")  # fmt: skip  # noqa: E501
    case(_op, [DY[0], X, SCALE, MEAN, VARIANCE, *_more], raises=BAD,
         match=r"input must be 4-dimensional\[3,4,3\]")  # fmt: skip

test_case = table_test()
