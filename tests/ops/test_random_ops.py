"""Random numbers: the expected values are TensorFlow's, for the same seeds."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from flowray.client.framework.conversion import constant
from flowray.client.framework.graph import Graph
from flowray.client.gradients.engine import gradients
from flowray.client.ops import random_ops
from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.worker import kernel_registry as kernels
from flowray.worker.execution import xla
from flowray.worker.kernels.support import philox
from flowray.worker.state.store import Variable
from tests.ops.harness import case, table_test

INVALID = errors.InvalidArgumentError
SEEDS = {"seed": 1, "seed2": 2}
F32, F64, F16, BF16 = dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16
EMPTY = np.zeros(0, np.int32)
MATRIX_SHAPE = [2, 3]


def f32(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def f64(*values: Any) -> np.ndarray:
    return np.array(values, np.float64)


def f16(*values: Any) -> np.ndarray:
    return np.array(values, np.float16)


# RandomUniform
case("RandomUniform", [MATRIX_SHAPE], dtype=F32, **SEEDS, rtol=0, atol=5e-8,
     expect=f32([0.40639675, 0.8575996, 0.05539584],
                [0.08587229, 0.4121536, 0.03663087]))  # fmt: skip
case("RandomUniform", [[3]], dtype=F64, **SEEDS, rtol=0, atol=1e-9,
     expect=f64(0.251174498, 0.44316677, 0.297229629))  # fmt: skip
case("RandomUniform", [[3]], dtype=F16, **SEEDS, rtol=0, atol=1e-4,
     expect=f16(0.2021, 0.456, 0.8027))  # fmt: skip
case("RandomUniform", [[3]], dtype=BF16, **SEEDS, rtol=0, atol=0,
     expect=np.array([0.617188, 0.648438, 0.421875], ml_dtypes.bfloat16))  # fmt: skip
case("RandomUniform", [np.array([1], np.int64)], dtype=F32, **SEEDS, expect=f32(0.40639675))
case("RandomUniform", [np.zeros(0, np.int64)], dtype=F32, **SEEDS, expect=np.float32(0.40639675))
case("RandomUniform", [[2, 0]], dtype=F32, **SEEDS, expect=np.zeros((2, 0), np.float32))
case("RandomUniform", [[2, -1]], dtype=F32, raises=INVALID, match="Dimension -1 must be >= 0")
case("RandomUniform", [np.int32(2)], dtype=F32, raises=INVALID, match="shape must be a vector")
case("RandomUniform", [[[2]]], dtype=F32, raises=INVALID, match=r"got shape \[1,1\]")

# RandomStandardNormal
case("RandomStandardNormal", [MATRIX_SHAPE], dtype=F32, **SEEDS, rtol=3e-7, atol=0,
     expect=f32([-1.0467793, 0.8397046, 1.2358364], [2.0637853, 0.3037427, 1.2963251]))  # fmt: skip
case("RandomStandardNormal", [[3]], dtype=F64, **SEEDS, rtol=0, atol=1e-9,
     expect=f64(0.581058771, -1.557429114, 1.555896998))  # fmt: skip
case("RandomStandardNormal", [[3]], dtype=F16, **SEEDS, rtol=1e-3,
     expect=f16(-1.047, 0.84, 1.235))  # fmt: skip
case("RandomStandardNormal", [[0]], dtype=F64, **SEEDS, expect=np.zeros(0))
case("RandomStandardNormal", [EMPTY], dtype=BF16, **SEEDS,
     expect=np.array(-1.046875, ml_dtypes.bfloat16))  # fmt: skip
case("RandomStandardNormal", [np.int32(2)], dtype=F32, raises=INVALID, match="must be a vector")

# TruncatedNormal: the fourth number above lies beyond two sigmas
case("TruncatedNormal", [MATRIX_SHAPE], dtype=F32, **SEEDS, rtol=3e-7, atol=0,
     expect=f32([-1.0467793, 0.8397046, 1.2358364],
                [0.3037427, 0.38869092, 1.2367047]))  # fmt: skip
case("TruncatedNormal", [[3]], dtype=F64, **SEEDS, rtol=0, atol=1e-9,
     expect=f64(0.581058771, -1.557429114, -1.129584509))  # fmt: skip
case("TruncatedNormal", [[3]], dtype=F16, **SEEDS, rtol=1e-3, expect=f16(-1.047, 0.84, 1.235))
case("TruncatedNormal", [[4, 0, 2]], dtype=F32, **SEEDS, expect=np.zeros((4, 0, 2), np.float32))
case("TruncatedNormal", [[-2]], dtype=F32, raises=INVALID, match="Dimension -2 must be >= 0")

# RandomUniformInt
case("RandomUniformInt", [MATRIX_SHAPE, -3, 10], **SEEDS,
     expect=np.array([[3, -2, 4], [0, -2, 9]], np.int32))  # fmt: skip
case("RandomUniformInt", [[3], np.int64(-3), np.int64(10**12)], **SEEDS,
     expect=np.array([248667588866, 816831243956, 863481598188], np.int64))  # fmt: skip
case("RandomUniformInt", [[0], 5, 5], **SEEDS, expect=EMPTY)
case("RandomUniformInt", [[3], 5, 5], raises=INVALID, match="Need minval < maxval, got 5 >= 5")
case("RandomUniformInt", [[3], [1, 2], 5], raises=INVALID, match=r"minval must be 0-D.*\[2\]")
case("RandomUniformInt", [[3], 1, [5]], raises=INVALID, match=r"maxval must be 0-D.*\[1\]")

# RandomShuffle
case("RandomShuffle", [np.arange(10, dtype=np.int32)], **SEEDS,
     expect=np.array([9, 0, 8, 6, 1, 3, 7, 2, 4, 5], np.int32))  # fmt: skip
case("RandomShuffle", [np.arange(8, dtype=np.float32).reshape(4, 2)], **SEEDS,
     expect=f32([6, 7], [0, 1], [4, 5], [2, 3]))  # fmt: skip
case("RandomShuffle", [np.array([b"a", b"b", b"c"], object)], **SEEDS, xla=False,
     expect=np.array([b"c", b"a", b"b"], object))  # fmt: skip
case("RandomShuffle", [3.0], expect=3.0)
case("RandomShuffle", [np.zeros((0, 2), np.float32)], expect=np.zeros((0, 2), np.float32))
case("RandomShuffle", [[True]], expect=[True])

# Multinomial
LOGITS = f32([0, 1, 2], [-np.inf, 0, 0])
SAMPLES = [[1, 2, 1, 1, 2, 2, 2, 2], [2, 1, 1, 2, 2, 1, 2, 2]]
case("Multinomial", [LOGITS, 8], **SEEDS, expect=np.array(SAMPLES, np.int64))
case("Multinomial", [LOGITS.astype(np.float64), 8], output_dtype=dtypes.int32, **SEEDS,
     expect=np.array(SAMPLES, np.int32))  # fmt: skip
case("Multinomial", [LOGITS.astype(np.float16), 8], **SEEDS, expect=np.array(SAMPLES, np.int64))
# TensorFlow 1.15's CPU kernel takes integers, 2.21's does not.
case("Multinomial", [np.array([[0, 1, 2]]), 8], **SEEDS, conformance=False,
     expect=np.array(SAMPLES[:1], np.int64))  # fmt: skip
case("Multinomial", [LOGITS, 0], expect=np.zeros((2, 0), np.int64))
case("Multinomial", [LOGITS[:0], 3], expect=np.zeros((0, 3), np.int64))
case("Multinomial", [LOGITS, -1], raises=INVALID, match="num_samples should be non-negative")
case("Multinomial", [LOGITS, [1]], raises=INVALID, match="num_samples should be a scalar")
case("Multinomial", [LOGITS[0], 1], raises=INVALID, match="logits should be a matrix")
case("Multinomial", [LOGITS[:, :0], 1], raises=INVALID, match="num_classes should be positive")

# RandomGamma: alpha below, at and above 1 take different ways
case("RandomGamma", [[2], f32(0.5, 1, 3)], **SEEDS,
     expect=f32([0.014439558, 0.25191307, 2.9937944],
                [0.1910653, 0.33404183, 1.1744466]))  # fmt: skip
case("RandomGamma", [EMPTY, f64(0.5, 1, 3)], **SEEDS, rtol=1e-8,
     expect=f64(0.014439558, 1.129396132, 2.840017655))  # fmt: skip
case("RandomGamma", [[2, 0], f16(1, 2)], **SEEDS, expect=np.zeros((2, 0, 2), np.float16))
case("RandomGamma", [[-2], 1.0], raises=INVALID, match="Dimension -2 must be >= 0")
case("RandomGamma", [np.int32(2), 1.0], raises=INVALID, match="shape must be a vector")

# RandomGammaGrad
case("RandomGammaGrad", [f32(0.5, 1, 3), f32([0.5, 1, 3], [1, 2, 3])], rtol=1e-4,
     expect=f32([1.3373528, 1.1735628, 1.057027], [1.8782471, 1.6316917, 1.057027]))  # fmt: skip
case("RandomGammaGrad", [f64(0.5, 1, 3), f64(0.5, 1, 3)], rtol=1e-4,
     expect=f64(1.337352594, 1.173563027, 1.057026966))  # fmt: skip
case("RandomGammaGrad", [f64(), f64()], expect=f64())

# RandomPoissonV2: rates below 10 take another way than those above
case("RandomPoissonV2", [[2], f32(0.5, 1, 30)], **SEEDS,
     expect=np.array([[0, 0, 25], [1, 0, 32]], np.int64))  # fmt: skip
case("RandomPoissonV2", [[2], [2, 20]], dtype=F32, **SEEDS, expect=f32([1, 16], [2, 17]))
case("RandomPoissonV2", [[2], f64(-1, 0, np.inf)], dtype=F32, **SEEDS,
     expect=f32([0, 0, np.inf], [0, 0, np.inf]))  # fmt: skip
case("RandomPoissonV2", [[1], f64(np.inf)], dtype=dtypes.int32, **SEEDS,
     expect=np.zeros((1, 1), np.int32))  # fmt: skip
case("RandomPoissonV2", [[0], [2, 20]], dtype=F16, expect=np.zeros((0, 2), np.float16))
case("RandomPoissonV2", [[-2], 1.0], raises=INVALID, match="Dimension -2 must be >= 0")
case("RandomPoissonV2", [np.int32(2), 1.0], raises=INVALID, match="shape must be a vector")

test_case = table_test()


def _state(seed: int = 1, seed2: int = 2) -> Variable:
    return Variable("state", dtypes.uint32, philox.initial_state(seed, seed2))


def test_the_next_run_draws_the_next_numbers() -> None:
    kernel = kernels.lookup("RandomUniform").function
    state = _state()
    shape = np.array([2, 3], np.int32)
    for expected in (0.40639675, 0.49945498):
        values = kernel(np, shape, dtype=F32, seed=1, seed2=2, state=state)
        np.testing.assert_allclose(values[0, 0], expected, atol=5e-8)
    assert state.read().tolist() == [1, 0, 2 * 6 * 256, 0, 2, 0]


def test_shuffle_uses_up_four_words_at_a_time() -> None:
    kernel = kernels.lookup("RandomShuffle").function
    state = _state()
    runs = [kernel(np, np.arange(10), seed=1, seed2=2, state=state).tolist() for _ in range(2)]
    assert runs[1] == [8, 7, 4, 3, 2, 1, 9, 5, 6, 0]
    assert state.read()[2] == 2 * 3


def test_without_a_seed_every_state_is_another() -> None:
    states = [philox.initial_state(0, 0) for _ in range(2)]
    assert states[0].tolist() != states[1].tolist()
    assert states[0][2:4].tolist() == [0, 0]


def test_negative_seeds_and_the_carry_of_the_counter() -> None:
    state = Variable("state", dtypes.uint32, philox.initial_state(-1, -2))
    assert state.read().tolist() == [2**32 - 1, 2**32 - 1, 0, 0, 2**32 - 2, 2**32 - 1]
    philox.reserve(np, state, 2**32 + 5)
    assert state.read()[2:4].tolist() == [5, 1]


@pytest.mark.parametrize("count", [1, 2, 5, 1000])
def test_permutation_is_that_of_swapping_in_order(count: int) -> None:
    stream = philox.reserve(np, _state(), 0)
    draws = philox.words(np, stream, count - 1).astype(np.int64)
    wanted = list(range(count))
    for i, word in enumerate(draws):
        j = i + word % (count - i)
        wanted[i], wanted[j] = wanted[j], wanted[i]
    assert philox.permutation(np, stream, count).tolist() == wanted


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_truncated_normals_of_numpy_and_xla_agree(dtype: Any) -> None:
    stream = philox.reserve(np, _state(), 0)
    on_numpy = philox.truncated_normal(np, stream, 10_001, dtype)
    compiled = xla.jax().jit(
        lambda stream: philox.truncated_normal(xla.numpy(), stream, 10_001, dtype)
    )
    np.testing.assert_allclose(on_numpy, compiled(stream), rtol=1e-6)
    assert np.abs(on_numpy).max() < 2


def test_gamma_and_poisson_have_their_moments() -> None:
    shape = np.array([20_000], np.int32)
    alpha = np.array([0.3, 1.0, 7.0])
    gamma = kernels.lookup("RandomGamma").function(
        np, shape, alpha, seed=1, seed2=2, state=_state()
    )
    np.testing.assert_allclose(gamma.mean(0), alpha, rtol=0.03)
    np.testing.assert_allclose(gamma.var(0), alpha, rtol=0.06)
    rate = np.array([0.5, 9.0, 200.0])
    poisson = kernels.lookup("RandomPoissonV2").function(
        np, shape, rate, dtype=F64, seed=1, seed2=2, state=_state()
    )
    np.testing.assert_allclose(poisson.mean(0), rate, rtol=0.03)
    np.testing.assert_allclose(poisson.var(0), rate, rtol=0.06)


# The user's functions ----------------------------------------------------------------------------


def _nodes(graph: Graph) -> list[tuple[str, str]]:
    return [(op.name, op.type) for op in graph.get_operations()]


def test_random_uniform_makes_the_ops_of_tensorflow() -> None:
    with Graph().as_default() as graph:
        tensor = random_ops.random_uniform([2, 3], -1, 1.0, seed=4)
    assert _nodes(graph) == [
        ("random_uniform/shape", "Const"),
        ("random_uniform/min", "Const"),
        ("random_uniform/max", "Const"),
        ("random_uniform/RandomUniform", "RandomUniform"),
        ("random_uniform/sub", "Sub"),
        ("random_uniform/mul", "Mul"),
        ("random_uniform", "Add"),
    ]
    assert tensor.shape.as_list() == [2, 3]
    random = graph.get_operation_by_name("random_uniform/RandomUniform")
    assert (random.get_attr("seed"), random.get_attr("seed2")) == (87654321, 4)


def test_random_uniform_of_integers() -> None:
    with Graph().as_default() as graph:
        graph.seed = 7
        tensor = random_ops.random_uniform([2], maxval=10, dtype="int64", name="n")
    assert tensor.op.type == "RandomUniformInt"
    assert tensor.op.name == "n"
    # The id of the last op made: shape, min and max are 1, 2 and 3.
    assert (tensor.op.get_attr("seed"), tensor.op.get_attr("seed2")) == (7, 3)
    with pytest.raises(ValueError, match="Must specify maxval for integer dtype"):
        random_ops.random_uniform([2], dtype="int32")
    with pytest.raises(ValueError, match="Invalid dtype"):
        random_ops.random_uniform([2], dtype="uint8")


@pytest.mark.parametrize(
    ("function", "op_type"),
    [("random_normal", "RandomStandardNormal"), ("truncated_normal", "TruncatedNormal")],
)
def test_normals_make_the_ops_of_tensorflow(function: str, op_type: str) -> None:
    with Graph().as_default() as graph:
        getattr(random_ops, function)([], stddev=0.1, dtype=dtypes.float64)
    assert _nodes(graph) == [
        (f"{function}/shape", "Const"),
        (f"{function}/mean", "Const"),
        (f"{function}/stddev", "Const"),
        (f"{function}/{op_type}", op_type),
        (f"{function}/mul", "Mul"),
        (function, "Add"),
    ]


def test_the_other_functions_make_their_ops() -> None:
    with Graph().as_default() as graph:
        value = constant(np.zeros((5, 5, 3), np.float32))
        assert random_ops.random_shuffle(value).op.name == "RandomShuffle"
        assert random_ops.random_crop(value, [2, 2, 3]).shape.as_list() == [2, 2, 3]
        logits = constant(np.zeros((4, 3), np.float32))
        classes = random_ops.multinomial(logits, 7)
        assert (classes.op.name, classes.dtype) == ("multinomial/Multinomial", dtypes.int64)
        assert classes.shape.as_list() == [4, 7]
        assert random_ops.categorical(logits, 7, dtype="int32").dtype == dtypes.int32
        gamma = random_ops.random_gamma([2], [[0.5], [1.0]], beta=[3.0, 4.0, 5.0])
        assert gamma.shape.as_list() == [2, 2, 3]
        poisson = random_ops.random_poisson([3.0, 4.0], [5])
        assert (poisson.shape.as_list(), poisson.dtype) == ([5, 2], dtypes.float32)
    types = {op.name: op.type for op in graph.get_operations()}
    assert types["random_crop/Assert/Assert"] == "Assert"
    assert types["random_gamma/Maximum"] == "Maximum"


def test_gradients() -> None:
    with Graph().as_default():
        alpha = constant(f32(0.5, 3.0))
        sample = random_ops.random_gamma([4, 2], alpha, seed=1)
        (by_alpha,) = gradients(sample, [alpha])
        assert by_alpha.shape.as_list() == [2]
        mean = constant(1.0)
        normal = random_ops.random_normal([3], mean)
        assert gradients(normal, [mean])[0] is not None
        assert gradients(random_ops.random_shuffle(alpha), [alpha]) == [None]
        with pytest.raises(LookupError, match="op type: RandomGammaGrad"):
            gradients(by_alpha, [alpha])
