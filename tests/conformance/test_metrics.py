"""``tf.metrics`` after several updates, and the names of what they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flowray

reference = pytest.importorskip("tensorflow").compat.v1
reference.disable_v2_behavior()

RANDOM = np.random.RandomState(3)
BATCHES = 3

NUMBERS = RANDOM.rand(BATCHES, 8).astype(np.float32)
OTHERS = RANDOM.rand(BATCHES, 8).astype(np.float32)
BOOLS = RANDOM.rand(BATCHES, 8) > 0.4
CLASSES = RANDOM.randint(0, 4, (BATCHES, 8)).astype(np.int64)
GUESSES = RANDOM.randint(0, 4, (BATCHES, 8)).astype(np.int64)
SCORES = RANDOM.rand(BATCHES, 8, 4).astype(np.float32)
VECTORS = RANDOM.rand(BATCHES, 4, 3).astype(np.float32)
OTHER_VECTORS = RANDOM.rand(BATCHES, 4, 3).astype(np.float32)
WEIGHTS = RANDOM.rand(BATCHES, 8).astype(np.float32)
LIMITS = [0.2, 0.5, 0.9]

CASES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "mean": ("mean", (NUMBERS,), {}),
    "mean_tensor": ("mean_tensor", (NUMBERS,), {}),
    "accuracy": ("accuracy", (CLASSES, GUESSES), {}),
    "mean_absolute_error": ("mean_absolute_error", (NUMBERS, OTHERS), {}),
    "mean_relative_error": ("mean_relative_error", (NUMBERS, OTHERS), {"normalizer": NUMBERS}),
    "mean_squared_error": ("mean_squared_error", (NUMBERS, OTHERS), {}),
    "root_mean_squared_error": ("root_mean_squared_error", (NUMBERS, OTHERS), {}),
    "mean_cosine_distance": ("mean_cosine_distance", (VECTORS, OTHER_VECTORS), {"dim": 1}),
    "percentage_below": ("percentage_below", (NUMBERS,), {"threshold": 0.4}),
    "mean_per_class_accuracy": (
        "mean_per_class_accuracy", (CLASSES, GUESSES), {"num_classes": 4},
    ),
    "mean_iou": ("mean_iou", (CLASSES, GUESSES), {"num_classes": 4}),
    "true_positives": ("true_positives", (BOOLS, NUMBERS > 0.5), {}),
    "true_negatives": ("true_negatives", (BOOLS, NUMBERS > 0.5), {}),
    "false_positives": ("false_positives", (BOOLS, NUMBERS > 0.5), {}),
    "false_negatives": ("false_negatives", (BOOLS, NUMBERS > 0.5), {}),
    "precision": ("precision", (BOOLS, NUMBERS > 0.5), {}),
    "recall": ("recall", (BOOLS, NUMBERS > 0.5), {}),
    "auc": ("auc", (BOOLS, NUMBERS), {}),
    "auc_pr": ("auc", (BOOLS, NUMBERS), {"curve": "PR"}),
    "auc_careful": (
        "auc", (BOOLS, NUMBERS), {"curve": "PR", "summation_method": "careful_interpolation"},
    ),
    "auc_minoring": ("auc", (BOOLS, NUMBERS), {"summation_method": "minoring"}),
    "auc_thresholds": ("auc", (BOOLS, NUMBERS), {"thresholds": LIMITS}),
    "precision_at_thresholds": (
        "precision_at_thresholds", (BOOLS, NUMBERS), {"thresholds": LIMITS},
    ),
    "recall_at_thresholds": ("recall_at_thresholds", (BOOLS, NUMBERS), {"thresholds": LIMITS}),
    "sensitivity_at_specificity": (
        "sensitivity_at_specificity", (BOOLS, NUMBERS), {"specificity": 0.6},
    ),
    "specificity_at_sensitivity": (
        "specificity_at_sensitivity", (BOOLS, NUMBERS), {"sensitivity": 0.6},
    ),
    "recall_at_k": ("recall_at_k", (CLASSES, SCORES), {"k": 2}),
    "precision_at_k": ("precision_at_k", (CLASSES, SCORES), {"k": 2}),
    "recall_at_k_class": ("recall_at_k", (CLASSES, SCORES), {"k": 2, "class_id": 1}),
}  # fmt: skip
SETS = RANDOM.randint(0, 4, (BATCHES, 8, 3)).astype(np.int64)
WITH_OTHERS = RANDOM.randint(-1, 6, (BATCHES, 8, 3)).astype(np.int64)
PREDICTED = RANDOM.randint(0, 4, (BATCHES, 8, 2)).astype(np.int64)
for _id, _labels in {"one": CLASSES, "sets": SETS, "others": WITH_OTHERS}.items():
    CASES[f"average_precision_at_k_{_id}"] = (
        "average_precision_at_k", (_labels, SCORES), {"k": 3},
    )  # fmt: skip
    for _kind in ("recall", "precision"):
        for _options in ({"k": 2}, {"k": 3, "class_id": 1}):
            _case = f"{_kind}_at_k_{_id}_{len(_options)}"
            CASES[_case] = (f"{_kind}_at_k", (_labels, SCORES), _options)
            CASES[f"top_{_case}"] = (f"{_kind}_at_top_k", (_labels, PREDICTED), _options)
CASES["sparse_precision_at_k"] = ("sparse_precision_at_k", (SETS, SCORES), {"k": 2})
CASES["sparse_average_precision_at_k"] = (
    "sparse_average_precision_at_k", (SETS, SCORES), {"k": 2},
)  # fmt: skip
CASES["recall_at_top_k_without_k"] = ("recall_at_top_k", (SETS, PREDICTED), {})
for _kind in ("true_positives", "true_negatives", "false_positives", "false_negatives"):
    CASES[f"{_kind}_at_thresholds"] = (
        f"{_kind}_at_thresholds", (BOOLS, NUMBERS), {"thresholds": LIMITS},
    )  # fmt: skip

UNWEIGHTED = {"mean_cosine_distance"}


def run(tf: Any, name: str, weighted: bool) -> tuple[list[Any], list[Any], list[str]]:
    """The update's values, the value after each, and the names of the variables."""
    metric, arrays, options = CASES[name]
    with tf.Graph().as_default(), tf.Session() as session:
        feeds = [tf.placeholder(a.dtype, a.shape[1:]) for a in arrays]
        given, extra = dict(options), {}
        if "normalizer" in given:
            given["normalizer"] = tf.placeholder(tf.float32, [8])
            extra[given["normalizer"]] = options["normalizer"]
        if weighted:
            given["weights"] = tf.placeholder(tf.float32, [8])
            extra[given["weights"]] = WEIGHTS
        value, update = getattr(tf.metrics, metric)(*feeds, **given)
        session.run(tf.local_variables_initializer())
        updates, values = [], []
        for batch in range(BATCHES):
            fed = {key: a[batch] for key, a in zip(feeds, arrays, strict=True)}
            fed.update((key, a[batch]) for key, a in extra.items())
            updates.append(session.run(update, fed))
            values.append(session.run(value))
        names = sorted(v.name for v in tf.local_variables())
        return updates, values, names


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_metric(name: str, weighted: bool) -> None:
    if weighted and name in UNWEIGHTED:
        pytest.skip("weights have another shape there")
    ours, theirs = run(flowray, name, weighted), run(reference, name, weighted)
    for mine, other in zip(ours[:2], theirs[:2], strict=True):
        for a, b in zip(mine, other, strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    # TensorFlow 2 has an op called "Max" before the variable "max".
    assert ours[2] == [variable.replace("/max_1:", "/max:") for variable in theirs[2]]


@pytest.mark.parametrize("class_id", [None, 2])
@pytest.mark.parametrize("metric", ["recall_at_k", "precision_at_k", "average_precision_at_k"])
def test_sparse_labels(metric: str, class_id: int | None) -> None:
    """Examples with two labels, one label twice, none, and one that is not a class."""
    options = {} if class_id is None else {"class_id": class_id}
    if metric == "average_precision_at_k" and options:
        pytest.skip("it has no such argument")
    indices = [[0, 0], [0, 2], [1, 0], [1, 1], [3, 1]]

    def run(tf: Any) -> list[Any]:
        with tf.Graph().as_default(), tf.Session() as session:
            labels = tf.SparseTensor(indices, tf.constant([1, 2, 2, 2, 7], tf.int64), [4, 3])
            scores = tf.placeholder(tf.float32, [4, 4])
            pair = getattr(tf.metrics, metric)(labels, scores, k=2, **options)
            session.run(tf.local_variables_initializer())
            updates = [session.run(pair[1], {scores: SCORES[i, :4]}) for i in range(BATCHES)]
            return [*updates, session.run(pair[0])]

    np.testing.assert_allclose(run(flowray), run(reference), rtol=1e-6)
