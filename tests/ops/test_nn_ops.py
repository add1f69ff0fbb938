"""Bias, activations, softmax and its losses, top-k, local response normalization."""

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BF16 = dtypes.bfloat16.as_numpy_dtype
INF, NAN = np.inf, np.nan
BAD = errors.InvalidArgumentError


def f32(*shape: int) -> np.ndarray:
    """Numbers of both signs, some of them equal."""
    values = np.arange(np.prod(shape, dtype=int)) * 7 % 11 - 5
    return values.reshape(shape).astype(np.float32)


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


# Bias
M, V = f32(2, 3), vector(1, 2, 3)
case("BiasAdd", [M, V], expect=M + V)
case("BiasAdd", [f32(2, 4, 5, 3), V], expect=f32(2, 4, 5, 3) + V)
case("BiasAdd", [f32(2, 3, 4, 5), V], data_format="NCHW", id="NCHW",
     expect=f32(2, 3, 4, 5) + V[:, None, None])  # fmt: skip
case("BiasAdd", [f32(2, 3, 4), V], data_format="NCHW", id="NCW", expect=f32(2, 3, 4) + V[:, None])
for _dtype in (np.float16, BF16, np.float64, np.int32, np.int64, np.complex64):
    _name = np.dtype(_dtype).name
    case("BiasAdd", [M.astype(_dtype), V.astype(_dtype)], id=_name, expect=(M + V).astype(_dtype))
    case("BiasAddGrad", [M.astype(_dtype)], id=_name, expect=M.sum(0).astype(_dtype))
case("BiasAdd", [np.zeros((0, 3), np.float32), V], expect=np.zeros((0, 3), np.float32), id="empty")
case("BiasAdd", [M, vector(1, 2)], raises=BAD,
     match=r"Must provide as many biases as the last dimension of the input tensor: \[2\] vs. \[2,3\]")  # fmt: skip  # noqa: E501
case("BiasAdd", [V, V], raises=BAD, match=r"Input tensor must be at least 2D: \[3\]")
case("BiasAdd", [M, np.ones((3, 1), np.float32)], raises=BAD, match=r"Biases must be 1D: \[3,1\]")
case("BiasAddV1", [M, V], expect=M + V)
case("BiasAddV1", [M, vector(1, 2)], raises=BAD, match="as many biases")
case("BiasAddGrad", [f32(2, 4, 3)], expect=f32(2, 4, 3).sum((0, 1)))
case("BiasAddGrad", [f32(2, 3, 4, 5)], data_format="NCHW", expect=f32(2, 3, 4, 5).sum((0, 2, 3)))
case("BiasAddGrad", [np.zeros((0, 3), np.float32)], expect=vector(0, 0, 0), id="empty")
case("BiasAddGrad", [V], raises=BAD, match=r"Input tensor must be at least 2D: \[3\]")

# Activations: the numbers are TensorFlow's.
X = vector(-INF, -20, -1, 0, 1, 6, 7, 20, INF, NAN)
case("Relu", [X], expect=vector(0, 0, 0, 0, 1, 6, 7, 20, INF, NAN))
case("Relu6", [X], expect=vector(0, 0, 0, 0, 1, 6, 6, 6, 6, NAN))
case("LeakyRelu", [X], expect=vector(-INF, -4, -0.2, 0, 1, 6, 7, 20, INF, NAN))
case("LeakyRelu", [X], alpha=1.5, id="steep",
     expect=vector(-INF, -30, -1.5, 0, 1, 6, 7, 20, INF, NAN))  # fmt: skip
case("Elu", [X], expect=vector(-1, -1, -0.63212055, 0, 1, 6, 7, 20, INF, NAN))
case("Selu", [X], expect=vector(-1.7580993, -1.7580993, -1.1113307, 0, 1.050701, 6.304206, 7.354907,
                                21.01402, INF, NAN))  # fmt: skip
case("Softplus", [X], expect=vector(0, 2.0611537e-09, 0.31326169, 0.69314718, 1.3132616, 6.0024757,
                                    7.0009117, 20, INF, NAN))  # fmt: skip
case("Softsign", [X], expect=vector(NAN, -0.95238096, -0.5, 0, 0.5, 0.85714287, 0.875, 0.95238096,
                                    NAN, NAN))  # fmt: skip
Y = vector(-INF, -1, 0, 1, 6, 7, INF)
G = vector(2, 2, 2, 2, 2, 2, 2)
case("ReluGrad", [G, Y], expect=vector(0, 0, 0, 2, 2, 2, 2))
# TensorFlow's CPU multiplies the NaN with 0; its GPUs and XLA select, as flowray does.
case("ReluGrad", [vector(NAN, INF), vector(-1, 1)], expect=vector(0, INF), id="nan",
     conformance=False)  # fmt: skip
case("Relu6Grad", [G, Y], expect=vector(0, 0, 0, 2, 0, 0, 0))
case("LeakyReluGrad", [G, Y], expect=vector(0.4, 0.4, 0.4, 2, 2, 2, 2))
case("LeakyReluGrad", [G, Y], alpha=0.5, expect=vector(1, 1, 1, 2, 2, 2, 2))
case("EluGrad", [G, Y], expect=vector(-INF, 0, 2, 2, 2, 2, 2))
case("SeluGrad", [G, Y], expect=vector(-INF, 1.5161986, *[2.101402] * 5))
case("SoftplusGrad", [G, Y], expect=vector(0, 0.53788286, 1, 1.4621172, 1.9950548, 1.998178, 2))
case("SoftsignGrad", [G, Y], expect=vector(0, 0.5, 2, 0.5, 0.040816326, 0.03125, 0))
_SMALL = vector(-2, -0.5, 0, 3)
for _op, _of in {
    "Relu": lambda x: np.maximum(x, 0),
    "Relu6": lambda x: np.clip(x, 0, 6),
    "LeakyRelu": lambda x: np.where(x > 0, x, 0.2 * x),
    "Elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "Selu": lambda x: np.where(x > 0, 1.050701 * x, 1.7580993 * np.expm1(x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Softsign": lambda x: x / (1 + abs(x)),
}.items():
    for _dtype, _tol in ((np.float16, 2e-3), (BF16, 1e-2), (np.float64, 1e-6)):
        _want = _of(_SMALL.astype(np.float64)).astype(_dtype)
        # TensorFlow's bfloat16 Softplus is off by two units in the last place.
        case(_op, [_SMALL.astype(_dtype)], rtol=_tol, atol=_tol, id=np.dtype(_dtype).name,
             expect=_want, conformance=(_op, _dtype) != ("Softplus", BF16))  # fmt: skip
    case(_op, [np.zeros((0, 2), np.float32)], expect=np.zeros((0, 2), np.float32), id="empty")
    case(_op, [np.float32(1)], expect=np.float32(_of(np.float32(1))), id="scalar")
for _op in ("Relu", "Relu6"):
    _ints = np.array([-3, 0, 9], np.int32)
    case(_op, [_ints], expect=np.clip(_ints, 0, 6 if _op == "Relu6" else 9), id="int32")
    case(f"{_op}Grad", [_ints, _ints], id="int32",
         expect=np.array([0, 0, 9 if _op == "Relu" else 0], np.int32))  # fmt: skip
for _op in ("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign"):
    case(f"{_op}Grad", [M, vector(1, 2)], raises=BAD, id="shapes",
         match=rf"of type {_op}Grad must have the same size and shape.  Input 0: \[2,3\] != "
               r"input 1: \[2\]")  # fmt: skip
    for _dtype in (np.float16, BF16, np.float64):
        # At 1 the derivative is 1 but for the scaled and the soft ones.
        _slope = {"Selu": 1.050701, "Softplus": 0.7310586, "Softsign": 0.25}.get(_op, 1)
        case(f"{_op}Grad", [np.full((2,), 3, _dtype), np.ones(2, _dtype)], rtol=1e-2,
             id=np.dtype(_dtype).name, expect=np.full((2,), 3 * _slope, _dtype))  # fmt: skip


# Softmax and losses
def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


LOGITS = np.concatenate([f32(4, 3), vector(1000, 999, -1000)[None]])
LABELS = np.array([[0, 0, 1], [1, 0, 0], [0.5, 0.25, 0.25], [0, 0, 0], [1, 0, 0]], np.float32)
case("Softmax", [LOGITS], expect=softmax(LOGITS).astype(np.float32))
case("Softmax", [f32(2, 2, 5)], expect=softmax(f32(2, 2, 5)).astype(np.float32))
case("Softmax", [V], expect=softmax(V).astype(np.float32), id="vector")
case("Softmax", [vector(-INF, 0, 0)], expect=vector(0, 0.5, 0.5), id="minus_infinity")
case("Softmax", [np.zeros((2, 0), np.float32)], expect=np.zeros((2, 0), np.float32), id="no_class")
# oneDNN's kernel has its own words (and code) for this one.
case("Softmax", [np.float32(1)], raises=BAD, match="logits must have >= 1 dimension, got",
     conformance=False)  # fmt: skip
case("LogSoftmax", [LOGITS], expect=vector(*(
    np.array([r - r.max() - np.log(np.exp(r - r.max()).sum()) for r in LOGITS.astype(float)]).flat
)).reshape(5, 3))  # fmt: skip
case("LogSoftmax", [np.zeros((0, 3), np.float32)], expect=np.zeros((0, 3), np.float32), id="empty")
case("LogSoftmax", [np.float32(1)], raises=BAD, match=r"logits must have >= 1 dimension, got \[\]")
_P = softmax(LOGITS)
with np.errstate(divide="ignore"):
    _LOG_P = np.where(LABELS == 0, 0, np.log(_P))
_LOSS = -(LABELS * _LOG_P).sum(-1)
case("SoftmaxCrossEntropyWithLogits", [LOGITS, LABELS],
     expect=(_LOSS.astype(np.float32), (_P - LABELS).astype(np.float32)))  # fmt: skip
for _dtype, _tol in ((np.float16, 5e-3), (BF16, 3e-2), (np.float64, 1e-9)):
    _name = np.dtype(_dtype).name
    case("Softmax", [LOGITS.astype(_dtype)], rtol=_tol, atol=_tol, id=_name,
         expect=softmax(LOGITS.astype(_dtype)).astype(_dtype))  # fmt: skip
    case("LogSoftmax", [LOGITS[:4].astype(_dtype)], rtol=_tol, atol=_tol, id=_name,
         expect=np.log(_P[:4]).astype(_dtype))  # fmt: skip
    case("SoftmaxCrossEntropyWithLogits", [LOGITS[:4].astype(_dtype), LABELS[:4].astype(_dtype)],
         rtol=_tol, atol=_tol, id=_name,
         expect=(_LOSS[:4].astype(_dtype), (_P - LABELS)[:4].astype(_dtype)))  # fmt: skip
    case("SparseSoftmaxCrossEntropyWithLogits", [LOGITS[:2].astype(_dtype), np.array([2, 0])],
         rtol=_tol, atol=_tol, id=_name,
         expect=(_LOSS[:2].astype(_dtype), (_P - LABELS)[:2].astype(_dtype)))  # fmt: skip
case("SoftmaxCrossEntropyWithLogits", [f32(1, 3), vector(0, 1)[:, None]], id="broadcast",
     expect=(vector(0, -np.log(softmax(f32(1, 3))).sum()),
             np.stack([softmax(f32(1, 3))[0], softmax(f32(1, 3))[0] - 1]).astype(np.float32)))  # fmt: skip  # noqa: E501
case("SoftmaxCrossEntropyWithLogits", [np.zeros((0, 3), np.float32)] * 2, id="empty",
     expect=(np.zeros(0, np.float32), np.zeros((0, 3), np.float32)))  # fmt: skip
case("SoftmaxCrossEntropyWithLogits", [M, f32(2, 2)], raises=BAD,
     match=r"logits and labels must be broadcastable: logits_size=\[2,3\] labels_size=\[2,2\]")  # fmt: skip  # noqa: E501
case("SoftmaxCrossEntropyWithLogits", [V, V], raises=BAD, match="must be either 2-dimensional")
for _index in (np.int32, np.int64):
    case("SparseSoftmaxCrossEntropyWithLogits", [LOGITS[:2], np.array([2, 0], _index)],
         id=np.dtype(_index).name,
         expect=(_LOSS[:2].astype(np.float32), (_P - LABELS)[:2].astype(np.float32)))  # fmt: skip
case("SparseSoftmaxCrossEntropyWithLogits", [np.zeros((0, 3), np.float32), np.zeros(0, np.int64)],
     id="empty", expect=(np.zeros(0, np.float32), np.zeros((0, 3), np.float32)))  # fmt: skip
for _labels, _text in (
    ([0, 5], r"Received a label value of 5 which is outside the valid range of \[0, 3\).  "
             "Label values: 0 5"),
    ([0, -1], r"Received a label value of -1 which is outside the valid range of \[0, 3\).  "
              "Label values: 0 -1"),
    ([1], r"logits and labels must have the same first dimension, got logits shape \[2,3\] and "
          r"labels shape \[1\]"),
    ([[1], [1]], r"labels must be 1-D, but got shape \[2,1\]"),
):  # fmt: skip
    case("SparseSoftmaxCrossEntropyWithLogits", [M, np.array(_labels)], raises=BAD, match=_text)
case("SparseSoftmaxCrossEntropyWithLogits", [V, np.array([1])], raises=BAD,
     match=r"logits must be 2-D, but got shape \[3\]")  # fmt: skip
case("SparseSoftmaxCrossEntropyWithLogits", [np.zeros((2, 0), np.float32), np.array([0, 0])],
     raises=BAD, match=r"Must have at least one class, but got logits shape \[2,0\]")  # fmt: skip
case("L2Loss", [M], expect=np.float32((M**2).sum() / 2))
case("L2Loss", [np.float64(3)], expect=np.float64(4.5), id="scalar")
case("L2Loss", [np.zeros((0, 2), np.float32)], expect=np.float32(0), id="empty")
case("L2Loss", [np.full(3000, 1, np.float16)], expect=np.float16(1500), id="half", rtol=1e-3)

# Top-k
PREDICTIONS = np.array(
    [[0.1, 0.5, 0.4], [1, NAN, 2], [INF, 0, 1], [1, 1, 1], [0, 1, 2]], np.float32
)
TARGETS = np.array([2, 0, 0, 2, 7], np.int32)
case("InTopK", [PREDICTIONS, TARGETS], k=2, expect=np.array([True, False, False, True, False]))
case("InTopK", [PREDICTIONS, TARGETS.astype(np.int64)], k=1, id="int64",
     expect=np.array([False, False, False, True, False]))  # fmt: skip
case("InTopK", [PREDICTIONS, TARGETS[:2]], k=1, raises=BAD,
     match="First dimension of predictions 5 must match length of targets 2")  # fmt: skip
case("InTopK", [V, TARGETS], k=1, raises=BAD, match="predictions must be 2-dimensional")
case("InTopK", [M, np.array([[0, 1]], np.int32)], k=1, raises=BAD,
     match="targets must be 1-dimensional")  # fmt: skip
case("InTopKV2", [PREDICTIONS, TARGETS, 2], expect=np.array([True, False, False, True, False]))
case("InTopKV2", [PREDICTIONS, TARGETS, 0], expect=np.zeros(5, bool), id="none")
case("InTopKV2", [PREDICTIONS[:1], TARGETS[:1], 10], expect=np.ones(1, bool), id="all")
case("InTopKV2", [M, np.array([0, 1], np.int32), np.array([1], np.int32)], raises=BAD,
     match=r"k must be 0-D, got shape \[1\]")  # fmt: skip
ROWS = np.array([[1, 3, 3, -2, 5], [0, 0, 0, 0, -1]], np.float32)
_TOP = np.array([[5, 3, 3], [0, 0, 0]], np.float32)
_AT = np.array([[4, 1, 2], [0, 1, 2]], np.int32)
case("TopKV2", [ROWS, 3], expect=(_TOP, _AT))
case("TopKV2", [ROWS, np.int64(3)], index_type="int64", id="int64",
     expect=(_TOP, _AT.astype(np.int64)))  # fmt: skip
case("TopKV2", [ROWS, np.int16(3)], index_type="int16", expect=(_TOP, _AT.astype(np.int16)))
for _dtype in (np.float16, BF16, np.float64, np.int32, np.int64, np.int8):
    case("TopKV2", [ROWS.astype(_dtype), 3], id=np.dtype(_dtype).name,
         expect=(_TOP.astype(_dtype), _AT))  # fmt: skip
case("TopKV2", [(ROWS + 2).astype(np.uint8), 2], id="uint8",
     expect=(np.array([[7, 5], [2, 2]], np.uint8), _AT[:, :2]))  # fmt: skip
case("TopKV2", [ROWS, 0], id="none",
     expect=(np.zeros((2, 0), np.float32), np.zeros((2, 0), np.int32)))  # fmt: skip
case("TopKV2", [ROWS[0], 1], expect=(vector(5), np.array([4], np.int32)), id="vector")
case("TopKV2", [np.stack([ROWS, ROWS]), 3], expect=(np.stack([_TOP] * 2), np.stack([_AT] * 2)))
# TensorFlow gives the same three in the order of its heap.
case("TopKV2", [ROWS, 3], sorted=False, expect=(_TOP, _AT), id="unsorted", conformance=False)
case("TopKV2", [M, 4], raises=BAD, match="input must have at least k columns. Had 3, needed 4")
case("TopKV2", [M, -1], raises=BAD, match="Need k >= 0, got -1")
case("TopKV2", [M, np.array([1], np.int32)], raises=BAD, match=r"k must be scalar, got shape \[1\]")
case("TopKV2", [np.float32(1), 1], raises=BAD, match=r"input must be >= 1-D, got shape \[\]")
# TensorFlow has removed this op from GraphDef version 7 on.
case("TopK", [ROWS], k=3, expect=(_TOP, _AT), conformance=False)
case("TopK", [M], k=4, raises=BAD, match="at least k columns", conformance=False)

# Local response normalization
IMAGE = f32(1, 2, 2, 7)


def lrn(x: np.ndarray, radius: int, bias: float, alpha: float, beta: float) -> np.ndarray:
    sums = np.stack(
        [(x[..., max(c - radius, 0) : c + radius + 1] ** 2).sum(-1) for c in range(x.shape[-1])], -1
    )
    return x * (bias + alpha * sums) ** -beta


def lrn_gradient(g: np.ndarray, x: np.ndarray, *args: float) -> np.ndarray:
    """By central differences."""
    wide, result = x.astype(np.float64), np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[at] = 1e-5
        result[at] = ((lrn(wide + step, *args) - lrn(wide - step, *args)) * g).sum() / 2e-5
    return result.astype(np.float32)


case("LRN", [IMAGE], expect=lrn(IMAGE, 5, 1, 1, 0.5))
_LRN = {"depth_radius": 1, "bias": 2.0, "alpha": 0.3, "beta": 0.7}
case("LRN", [IMAGE], **_LRN, expect=lrn(IMAGE, 1, 2, 0.3, 0.7).astype(np.float32))
for _dtype, _tol in ((np.float16, 2e-3), (BF16, 1e-2)):
    # TensorFlow's CPU has these only on paper.
    case("LRN", [IMAGE.astype(_dtype)], **_LRN, rtol=_tol, atol=_tol, id=np.dtype(_dtype).name,
         expect=lrn(IMAGE, 1, 2, 0.3, 0.7).astype(_dtype), conformance=False)  # fmt: skip
case("LRN", [M], raises=BAD, match="in must be 4-dimensional")
case("LRNGrad", [f32(1, 2, 2, 7) + 1, IMAGE, lrn(IMAGE, 1, 2, 0.3, 0.7).astype(np.float32)],
     **_LRN, expect=lrn_gradient(f32(1, 2, 2, 7) + 1, IMAGE, 1, 2, 0.3, 0.7), rtol=1e-4,
     atol=1e-5)  # fmt: skip
case("LRNGrad", [IMAGE, IMAGE, IMAGE[:, :1]], raises=BAD, match="should have the same shape")

test_case = table_test()
