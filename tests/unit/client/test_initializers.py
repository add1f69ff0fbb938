"""tf.initializers: shapes, dtypes, spreads and seeds. Their numbers: tests/conformance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.variables.initializers import Initializer
from flowray.proto import errors
from flowray.proto.ops import op_registry


@pytest.fixture(autouse=True)
def graph() -> Iterator[tf.Graph]:
    with tf.Graph().as_default() as graph:
        yield graph


def value(initializer: Any, shape: list[int], dtype: Any = None) -> Any:
    with tf.Session() as session:
        return session.run(initializer(shape, dtype=dtype))


def test_constants() -> None:
    assert value(tf.zeros_initializer(), [2]).tolist() == [0, 0]
    assert value(tf.ones_initializer(tf.int32), [2]).dtype == np.int32
    assert value(tf.ones_initializer(), [1], tf.bool).tolist() == [True]
    assert value(tf.zeros_initializer(), [1], tf.string).tolist() == [b""]
    assert value(tf.constant_initializer([1, 2]), [2, 2]).tolist() == [[1, 2], [2, 2]]
    assert value(tf.constant_initializer("x"), [2], tf.string).tolist() == [b"x", b"x"]
    with pytest.raises(TypeError, match="Expected Tensor's shape"):
        tf.constant_initializer([1, 2], verify_shape=True)([3])
    with pytest.raises(TypeError, match="Invalid type for initial value"):
        tf.constant_initializer(object())


@pytest.mark.parametrize(
    ("name", "stddev", "limit"),
    [
        ("glorot_uniform", math.sqrt(2 / 240), math.sqrt(6 / 240)),
        ("glorot_normal", math.sqrt(2 / 240), math.inf),
        ("he_uniform", math.sqrt(2 / 90), math.sqrt(6 / 90)),
        ("he_normal", math.sqrt(2 / 90), math.inf),
        ("lecun_uniform", math.sqrt(1 / 90), math.sqrt(3 / 90)),
        ("lecun_normal", math.sqrt(1 / 90), math.inf),
        ("uniform_unit_scaling", math.sqrt(1 / 90), math.sqrt(3 / 90)),
        ("random_normal", 1.0, math.inf),
        ("truncated_normal", 0.8796, 2.0),
        ("random_uniform", math.sqrt(1 / 12), 1.0),
    ],
)
def test_spreads(name: str, stddev: float, limit: float) -> None:
    """Of units with 90 inputs and 150 outputs."""
    numbers = value(getattr(tf.initializers, name)(seed=1), [90, 150])
    assert numbers.dtype == np.float32
    assert numbers.std() == pytest.approx(stddev, rel=0.02)
    assert np.abs(numbers).max() <= limit


def test_a_convolution_counts_its_window() -> None:
    limit = math.sqrt(6 / (9 * 4 + 9 * 8))
    numbers = value(tf.glorot_uniform_initializer(seed=1), [3, 3, 4, 8])
    assert 0.95 * limit < np.abs(numbers).max() <= limit


def test_other_dtypes() -> None:
    assert value(tf.glorot_uniform_initializer(), [2, 2], tf.float64).dtype == np.float64
    assert value(tf.random_normal_initializer(dtype=tf.float16), [2]).dtype == np.float16
    integers = value(tf.random_uniform_initializer(3, 5, seed=1, dtype=tf.int64), [50])
    assert set(integers) == {3, 4}
    for initializer in (tf.random_normal_initializer, tf.glorot_uniform_initializer):
        with pytest.raises(ValueError, match="`dtype` is expected to be floating point"):
            initializer(dtype=tf.int32)


def test_wrong_arguments_of_variance_scaling() -> None:
    with pytest.raises(ValueError, match=r"`scale` must be a positive float. Received: -1"):
        tf.variance_scaling_initializer(-1)
    with pytest.raises(ValueError, match=r"`mode` should be one of .* Received: x"):
        tf.variance_scaling_initializer(mode="x")
    with pytest.raises(ValueError, match=r"`distribution` should be one of .* Received: x"):
        tf.variance_scaling_initializer(distribution="x")


def test_identity() -> None:
    assert value(tf.initializers.identity(2.0), [2, 3]).tolist() == [[2, 0, 0], [0, 2, 0]]
    with pytest.raises(ValueError, match="must be at least two-dimensional"):
        tf.initializers.identity()([2])


def test_orthogonal() -> None:
    with pytest.raises(ValueError, match="must be at least two-dimensional"):
        tf.orthogonal_initializer()([2])
    if "Qr" not in op_registry.registered_ops():
        with pytest.raises(errors.UnimplementedError, match="Qr"):
            tf.orthogonal_initializer()([2, 2])
        return
    for shape in ([5, 3], [3, 5], [2, 2, 3]):
        rows = value(tf.orthogonal_initializer(2.0, seed=1), shape).reshape(-1, shape[-1])
        gram = rows.T @ rows if rows.shape[0] >= rows.shape[1] else rows @ rows.T
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_seeds_go_by_the_rules_of_1_15(graph: tf.Graph) -> None:
    """An op's seed is its own, else the number of ops before it, where the graph has a seed."""

    def seeds(initializer: Any) -> tuple[int, int]:
        op = initializer([2, 2]).op
        while op.type not in ("RandomUniform", "TruncatedNormal"):
            op = op.inputs[0].op
        return op.get_attr("seed"), op.get_attr("seed2")

    assert seeds(tf.glorot_uniform_initializer()) == (0, 0)
    assert seeds(tf.glorot_uniform_initializer(seed=5)) == (87654321, 5)
    tf.set_random_seed(42)
    assert seeds(tf.truncated_normal_initializer(seed=5)) == (42, 5)
    before = len(graph.get_operations())
    # The shape and the two bounds come before the op.
    assert seeds(tf.glorot_uniform_initializer()) == (42, before + 3)


def test_configurations_make_equal_initializers() -> None:
    names = (
        "zeros", "ones", "random_uniform", "random_normal", "truncated_normal", "orthogonal",
        "uniform_unit_scaling", "variance_scaling", "glorot_uniform", "glorot_normal", "identity",
        "he_normal", "lecun_uniform",
    )  # fmt: skip
    for name in names:
        initializer = getattr(tf.initializers, name)()
        config = initializer.get_config()
        again = type(initializer).from_config(config)
        assert isinstance(again, Initializer)
        assert again.get_config() == config
    assert tf.initializers.he_normal(seed=3).get_config() == {
        "scale": 2.0, "mode": "fan_in", "distribution": "truncated_normal", "seed": 3,
        "dtype": "float32",
    }  # fmt: skip
    assert tf.initializers.constant([1]).get_config() == {"value": [1], "dtype": "float32"}
