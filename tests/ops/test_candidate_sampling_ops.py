"""Sampling of classes: the expected values are TensorFlow's, for the same seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.worker import kernel_registry as kernels
from flowray.worker.kernels.candidate_sampling_ops import _Fixed, _LogUniform, _Uniform
from flowray.worker.kernels.support import philox
from flowray.worker.state.store import Variable
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
SEEDS = {"seed": 1, "seed2": 2}
TRUE = np.array([[1, 2], [4, 0]])
OF_SIX = {"num_true": 2, "num_sampled": 4, "range_max": 6, **SEEDS}


def f32(values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def outputs(sampled: list[int], of_true: Any, of_sampled: Any) -> tuple[np.ndarray, ...]:
    shape = TRUE.shape
    return np.array(sampled), np.broadcast_to(f32(of_true), shape), f32(of_sampled)


for _unique in (True, False):
    case("UniformCandidateSampler", [TRUE], unique=_unique, **OF_SIX,
         expect=outputs([1, 2, 3, 5], 2 / 3, [2 / 3] * 4))  # fmt: skip
case("LogUniformCandidateSampler", [TRUE], unique=True, **OF_SIX, rtol=1e-5,
     expect=outputs([0, 1, 5, 4], [[0.7538836, 0.6170616], [0.44582492, 0.9288005]],
                    [0.9288005, 0.7538836, 0.39054513, 0.44582492]))  # fmt: skip
case("LogUniformCandidateSampler", [TRUE], unique=False, **OF_SIX, rtol=1e-5,
     expect=outputs([0, 1, 0, 0], [[0.8334714, 0.59135735], [0.374779, 1.4248288]],
                    [1.4248288, 0.8334714, 1.4248288, 1.4248288]))  # fmt: skip
for _name in ("LearnedUnigramCandidateSampler", "ThreadUnsafeUnigramCandidateSampler"):
    case(_name, [TRUE], unique=True, **OF_SIX, rtol=1e-5,
         expect=outputs([5, 0, 4, 1], 0.72091836, [0.72091836] * 4))  # fmt: skip
    case(_name, [TRUE], unique=False, **OF_SIX, expect=outputs([5, 5, 0, 5], 2 / 3, [2 / 3] * 4))
case("FixedUnigramCandidateSampler", [TRUE], unique=True, **OF_SIX, rtol=1e-5,
     unigrams=[3.0, 1.0, 0.5, 7.0, 2.0], num_reserved_ids=1, distortion=0.5, id="reserved",
     expect=outputs([5, 4, 1, 3], [[0.84092045, 0.6327938], [0.95244116, 0]],
                    [0.76841766, 0.95244116, 0.84092045, 0.50006026]))  # fmt: skip
case("FixedUnigramCandidateSampler", [TRUE], unique=False, **{**OF_SIX, "range_max": 5},
     unigrams=[3.0, 1.0, 0.5, 7.0, 2.0], rtol=1e-5,
     expect=outputs([0, 4, 3, 3], [[0.2962963, 0.14814815], [0.5925926, 0.8888889]],
                    [0.8888889, 0.5925926, 2.074074, 2.074074]))  # fmt: skip
case("AllCandidateSampler", [TRUE], num_true=2, num_sampled=5, unique=True,
     expect=outputs([0, 1, 2, 3, 4], 1.0, [1.0] * 5))  # fmt: skip
case("AllCandidateSampler", [np.zeros((0, 2), np.int64)], num_true=2, num_sampled=2, unique=False,
     expect=(np.array([0, 1]), np.zeros((0, 2), np.float32), f32([1, 1])))  # fmt: skip

for _classes, _text in (
    (TRUE[0], "true_classes must be a matrix"),
    (np.array([[1, 2, 3]]), "must have num_true columns, expected: 3 was: 2"),
    (np.array([[6, -1]]), r"`true_candidate` out of range \[0, 6\), received 6"),
    (np.array([[-1, 6]]), r"`true_candidate` out of range \[0, 6\), received -1"),
):
    case("UniformCandidateSampler", [_classes], unique=True, **OF_SIX, raises=BAD, match=_text)
case("LogUniformCandidateSampler", [TRUE], unique=True, **{**OF_SIX, "num_sampled": 7},
     raises=BAD, match="Sampler's range is too small")  # fmt: skip
case("AllCandidateSampler", [np.array([[5, 1]])], num_true=2, num_sampled=3, unique=True,
     raises=BAD, match=r"out of range \[0, 3\), received 5")  # fmt: skip
case("FixedUnigramCandidateSampler", [TRUE], unique=True, **OF_SIX, raises=BAD,
     match="Must provide either vocab_file or unigrams")  # fmt: skip
case("FixedUnigramCandidateSampler", [TRUE], unique=True, **OF_SIX, unigrams=[1.0, 2.0],
     raises=BAD, match="range is 6 must be equal to weights size  2")  # fmt: skip

_SAMPLE = np.array([2, 0, 7, 2, 9, 4])
case("ComputeAccidentalHits", [np.array([[1, 2], [4, 2], [7, 7]]), _SAMPLE], num_true=2,
     expect=(np.array([0, 1, 1, 2, 2], np.int32), np.array([3, 5, 3, 2, 2]),
             np.full(5, -np.finfo(np.float32).max, np.float32)))  # fmt: skip
case("ComputeAccidentalHits", [np.array([[1], [-1], [10]]), _SAMPLE], num_true=1,
     expect=(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32)))  # fmt: skip
case("ComputeAccidentalHits", [np.array([1, 2]), _SAMPLE], num_true=2, raises=BAD,
     match=r"must be a batch_size \* num_true matrix")  # fmt: skip
case("ComputeAccidentalHits", [np.array([[1, 2, 3]]), _SAMPLE], num_true=2, raises=BAD,
     match=r"must be a batch_size \* num_true matrix")  # fmt: skip
case("ComputeAccidentalHits", [np.array([[1, 2]]), _SAMPLE[None]], num_true=2, raises=BAD,
     match="sampled_candidates must be a vector")  # fmt: skip

test_case = table_test()


def draw(name: str, state: Variable, classes: Any, **attrs: Any) -> list[Any]:
    kernel = kernels.lookup(name)
    outputs = kernel.function(np, np.array(classes), state=state, **attrs, **SEEDS)
    return [output.tolist() for output in outputs]


def initial(name: str, **attrs: Any) -> Variable:
    make = kernels.lookup(name).make_state
    assert make is not None
    return Variable("state", dtypes.uint32, make(**attrs, **SEEDS))


def test_learned_classes_come_more_often() -> None:
    """The second and third run of what TensorFlow draws with these seeds."""
    name = "LearnedUnigramCandidateSampler"
    attrs = {"num_true": 2, "num_sampled": 4, "unique": False, "range_max": 6}
    state = initial(name, **attrs)
    runs = [draw(name, state, [[3, 3], [3, 3]], **attrs) for _ in range(3)]
    assert runs[0][0] == [5, 5, 0, 5]
    assert runs[1][1][0][0] == pytest.approx(4 * 5 / 10)
    assert runs[2][1][0][0] == pytest.approx(4 * 9 / 14)
    many = draw(name, state, [[0, 1]], **{**attrs, "num_sampled": 2000})[0]
    assert many.count(3) / 2000 == pytest.approx(13 / 18, abs=0.05)


def test_frequencies_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary"
    path.write_text("a,3\nb,1\n\nc,0\nd,4\n")
    name = "FixedUnigramCandidateSampler"
    attrs = {
        "num_true": 1, "num_sampled": 4000, "unique": False, "range_max": 5,
        "vocab_file": bytes(path), "distortion": 1.0, "num_reserved_ids": 1, "num_shards": 1,
        "shard": 0, "unigrams": [],
    }  # fmt: skip
    sampled, of_true, _ = draw(name, initial(name, **attrs), [[4]], **attrs)
    shares = np.bincount(sampled, minlength=5) / 4000
    np.testing.assert_allclose(shares, [0, 0.375, 0.125, 0, 0.5], atol=0.03)
    assert of_true == [[2000]]
    path.write_text("a,many\n")
    with pytest.raises(BAD, match="Wrong vocabulary format"):
        draw(name, initial(name, **attrs), [[4]], **attrs)


def test_words_that_favor_some_classes_are_passed_over() -> None:
    words = np.array([0, 5, 0x7FFFFF, 0, 0x7FFFFF, 9], np.uint32)  # 2**32 % 6 is 4
    sampler = _Fixed(np.ones(6, np.float32))
    assert sampler.sample(words).tolist() == [5, 0x7FFFFF % 6]
    rest = (1 << 64) % 6
    pairs = np.array([rest - 1, 0, rest + 1, 0], np.uint32)
    assert _Uniform(6).sample(pairs).tolist() == [(rest + 1) % 6]


def test_the_logarithmic_law() -> None:
    stream = philox.reserve(np, initial("LogUniformCandidateSampler"), 1 << 16)
    sampled = _LogUniform(100).sample(philox.words(np, stream, 40000))
    shares = np.bincount(sampled, minlength=100) / len(sampled)
    np.testing.assert_allclose(shares, _LogUniform(100).probability(np.arange(100)), atol=0.01)
