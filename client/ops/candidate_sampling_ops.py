"""Sampling of classes for losses over very many of them: the user's functions.

A sampler takes ``true_classes``, int64 ``[batch, num_true]``, and draws ``num_sampled`` classes for
the whole batch: ``unique`` ones, or not. It returns them, and how often each of the true classes
and each of the sampled ones is expected in such a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import name_scope
from flowray.client.framework.op_builder import apply_op
from flowray.client.framework.random_seed import get_seed
from flowray.client.ops import array_ops, math_ops
from flowray.client.ops.embedding_ops import embedding_lookup, shards_of
from flowray.client.ops.nn_ops import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
)
from flowray.client.ops.slice_ops import slice
from flowray.client.ops.sparse_ops import sparse_to_dense
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes


@tf_export("nn.uniform_candidate_sampler", "random.uniform_candidate_sampler")
def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Draws from ``range(range_max)``, all with the same probability."""
    return _sample(
        "UniformCandidateSampler",
        true_classes,
        num_true,
        num_sampled,
        unique,
        seed,
        name,
        range_max=range_max,
    )


@tf_export("nn.log_uniform_candidate_sampler", "random.log_uniform_candidate_sampler")
def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Draws class k with the probability ``log((k + 2) / (k + 1)) / log(range_max + 1)``.

    That fits classes by descending frequency, as of words.
    """
    return _sample(
        "LogUniformCandidateSampler",
        true_classes,
        num_true,
        num_sampled,
        unique,
        seed,
        name,
        range_max=range_max,
    )


@tf_export("nn.learned_unigram_candidate_sampler", "random.learned_unigram_candidate_sampler")
def learned_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Draws classes by how often they have been true classes before."""
    return _sample(
        "LearnedUnigramCandidateSampler",
        true_classes,
        num_true,
        num_sampled,
        unique,
        seed,
        name,
        range_max=range_max,
    )


@tf_export("nn.fixed_unigram_candidate_sampler", "random.fixed_unigram_candidate_sampler")
def fixed_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: str = "",
    distortion: float = 1.0,
    num_reserved_ids: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    unigrams: Sequence[float] = (),
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Draws classes by given frequencies.

    Args:
        vocab_file: a file of a line per class, whose last column is its frequency.
        distortion: the power of the frequencies that is used: 0 makes them equal.
        num_reserved_ids: so many classes come before the first given one, and are never drawn.
        num_shards, shard: only those classes are drawn whose remainder by the one is the other.
        unigrams: the frequencies, if there is no file.
    """
    return _sample(
        "FixedUnigramCandidateSampler",
        true_classes,
        num_true,
        num_sampled,
        unique,
        seed,
        name,
        range_max=range_max,
        vocab_file=vocab_file,
        distortion=distortion,
        num_reserved_ids=num_reserved_ids,
        num_shards=num_shards,
        shard=shard,
        unigrams=list(unigrams),
    )


@tf_export("nn.all_candidate_sampler", "random.all_candidate_sampler")
def all_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Returns all of ``range(num_sampled)``, to try a loss without sampling."""
    return _sample("AllCandidateSampler", true_classes, num_true, num_sampled, unique, seed, name)


def _sample(
    op_type: str,
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    seed: int | None,
    name: str | None,
    **attrs: Any,
) -> Any:
    seed, seed2 = get_seed(seed)
    return apply_op(
        op_type,
        true_classes,
        num_true=num_true,
        num_sampled=num_sampled,
        unique=unique,
        seed=seed,
        seed2=seed2,
        name=name,
        **attrs,
    )


@tf_export("nn.compute_accidental_hits")
def compute_accidental_hits(
    true_classes: Any,
    sampled_candidates: Any,
    num_true: int,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Finds sampled classes that are true ones: ``(row, index in the sample, -float32 max)``."""
    seed, seed2 = get_seed(seed)
    return apply_op(
        "ComputeAccidentalHits",
        true_classes,
        sampled_candidates,
        num_true=num_true,
        seed=seed,
        seed2=seed2,
        name=name,
    )


# Losses -------------------------------------------------------------------------------------------


@tf_export("nn.nce_loss")
def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Any:
    """Computes the loss of noise-contrastive estimation (Gutmann and Hyvärinen, 2010): ``[batch]``.

    Args:
        weights: ``[num_classes, dim]``, or a list of its shards (or a partitioned variable).
        biases: ``[num_classes]``, likewise.
        labels: int64 ``[batch, num_true]``.
        inputs: ``[batch, dim]``.
        num_sampled: how many classes are drawn for the batch.
        num_classes: how many there are.
        num_true: how many of an example are true.
        sampled_values: the result of a sampler; None is the log-uniform one, with unique classes.
        remove_accidental_hits: whether to leave out sampled classes that are true ones.
        partition_strategy: see ``tf.nn.embedding_lookup``.
    """
    logits, targets = _sampled_logits(
        weights,
        biases,
        labels,
        inputs,
        num_sampled,
        num_classes,
        num_true,
        sampled_values,
        remove_accidental_hits,
        partition_strategy,
        name,
        None,
    )
    losses = sigmoid_cross_entropy_with_logits(labels=targets, logits=logits, name="sampled_losses")
    return _sum_rows(losses)


@tf_export("nn.sampled_softmax_loss")
def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
    seed: int | None = None,
) -> Any:
    """Computes the softmax cross entropy over true and sampled classes: ``[batch]``.

    It underestimates the loss over all classes and is for training only. The arguments are those of
    ``nce_loss``.

    It is for training only, and too small. Arguments are as for ``nce_loss``.
    """
    logits, targets = _sampled_logits(
        weights,
        biases,
        labels,
        inputs,
        num_sampled,
        num_classes,
        num_true,
        sampled_values,
        remove_accidental_hits,
        partition_strategy,
        name,
        seed,
    )
    targets = array_ops.stop_gradient(targets, name="labels_stop_gradient")
    return softmax_cross_entropy_with_logits_v2(labels=targets, logits=logits)


def _sampled_logits(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int,
    sampled_values: Any,
    remove_accidental_hits: bool,
    partition_strategy: str,
    name: str,
    seed: int | None,
) -> tuple[Any, Any]:
    """Returns ``[batch, num_true + num_sampled]`` logits and labels.

    The logits are less the logarithms of the expected counts; the labels of a row add up to 1.
    """
    shards = shards_of(weights)
    with name_scope(name, "compute_sampled_logits", [*shards, biases, inputs, labels]):
        labels = math_ops.cast(labels, dtypes.int64)
        inputs = convert_to_tensor(inputs)
        flat = array_ops.reshape(labels, [-1])
        if sampled_values is None:
            sampled_values = log_uniform_candidate_sampler(
                labels, num_true, num_sampled, True, num_classes, seed=seed
            )
        sampled, true_expected, sampled_expected = map(array_ops.stop_gradient, sampled_values)
        sampled = math_ops.cast(sampled, dtypes.int64)
        ids = array_ops.concat([flat, sampled], 0)

        all_weights = math_ops.cast(
            embedding_lookup(shards, ids, partition_strategy=partition_strategy), inputs.dtype
        )
        true_weights = slice(all_weights, [0, 0], array_ops.stack([array_ops.shape(flat)[0], -1]))
        sampled_weights = slice(
            all_weights, array_ops.stack([array_ops.shape(flat)[0], 0]), [-1, -1]
        )
        sampled_logits = math_ops.matmul(inputs, sampled_weights, transpose_b=True)

        all_biases = math_ops.cast(
            embedding_lookup(biases, ids, partition_strategy=partition_strategy), inputs.dtype
        )
        true_biases = slice(all_biases, [0], array_ops.shape(flat))
        sampled_biases = slice(all_biases, array_ops.shape(flat), [-1])

        size = array_ops.shape(true_weights)[1:2]
        by_example = array_ops.reshape(true_weights, array_ops.concat([[-1, num_true], size], 0))
        products = math_ops.multiply(array_ops.expand_dims(inputs, 1), by_example)
        rows = array_ops.reshape(products, array_ops.concat([[-1], size], 0))
        true_logits = array_ops.reshape(_sum_rows(rows), [-1, num_true])
        true_logits += array_ops.reshape(true_biases, [-1, num_true])
        sampled_logits += sampled_biases

        if remove_accidental_hits:
            sampled_logits += _at_hits(labels, sampled, num_true, num_sampled, sampled_logits.dtype)
        true_logits -= math_ops.log(true_expected)
        sampled_logits -= math_ops.log(sampled_expected)
        logits = array_ops.concat([true_logits, sampled_logits], 1)
        targets = array_ops.concat(
            [array_ops.ones_like(true_logits) / num_true, array_ops.zeros_like(sampled_logits)], 1
        )
        return logits, targets


def _at_hits(labels: Any, sampled: Any, num_true: int, num_sampled: int, dtype: Any) -> Any:
    """Returns ``[batch, num_sampled]``: very low numbers at accidental hits, 0 elsewhere."""
    rows, places, weights = compute_accidental_hits(labels, sampled, num_true)
    rows = array_ops.reshape(rows, [-1, 1])
    places = array_ops.reshape(math_ops.cast(places, dtypes.int32), [-1, 1])
    indices = array_ops.concat([rows, places], 1, "sparse_indices")
    batch = array_ops.shape(labels)[:1]
    shape = array_ops.concat([batch, array_ops.expand_dims(num_sampled, 0)], 0)
    return sparse_to_dense(
        indices, shape, math_ops.cast(weights, dtype), default_value=0.0, validate_indices=False
    )


def _sum_rows(x: Any) -> Any:
    """Sums the rows of a matrix as a product, whose gradient is another product."""
    columns = array_ops.shape(x)[1]
    ones = array_ops.ones(array_ops.stack([columns, 1]), x.dtype)
    return array_ops.reshape(math_ops.matmul(x, ones), [-1])
