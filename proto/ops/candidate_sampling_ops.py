"""Sampling of classes for losses over very many of them: definitions."""

from __future__ import annotations

from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.shapes import Shape, with_rank

_COUNT = attr("int", minimum=1)
_OUTPUTS = "sampled_candidates: int64, true_expected_count: float, sampled_expected_count: float"
_SAMPLER = {"num_true": _COUNT, "num_sampled": _COUNT, "unique": attr("bool")}
_SEEDS = {"seed": 0, "seed2": 0}


def _sampler_shape(c: ShapeContext) -> list[Shape]:
    batch, _ = with_rank(c.inputs[0], 2)
    sampled = (c.attr("num_sampled"),)
    return [sampled, (batch, c.attr("num_true")), sampled]


def _hits_shape(c: ShapeContext) -> list[Shape]:
    _, columns = with_rank(c.inputs[0], 2)
    if columns not in (None, c.attr("num_true")):
        raise ValueError(f"Dimension must be {c.attr('num_true')} but is {columns}")
    with_rank(c.inputs[1], 1)
    return [(None,)] * 3


# The number of draws for unique samples depends on the draws.
for _name in ("Uniform", "LogUniform", "LearnedUnigram", "ThreadUnsafeUnigram"):
    op(
        f"{_name}CandidateSampler",
        f"true_classes: int64 -> {_OUTPUTS}",
        **_SAMPLER,
        range_max=_COUNT,
        **_SEEDS,
        stateful=True,
        host_only=True,
        differentiable=False,
        shape=_sampler_shape,
    )
op(
    "FixedUnigramCandidateSampler",
    f"true_classes: int64 -> {_OUTPUTS}",
    **_SAMPLER,
    range_max=_COUNT,
    vocab_file="",
    distortion=1.0,
    num_reserved_ids=0,
    num_shards=attr("int", 1, minimum=1),
    shard=attr("int", 0, minimum=0),
    unigrams=attr("list(float)", []),
    **_SEEDS,
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=_sampler_shape,
)
op(
    "AllCandidateSampler",
    f"true_classes: int64 -> {_OUTPUTS}",
    **_SAMPLER,
    **_SEEDS,
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=_sampler_shape,
)
op(
    "ComputeAccidentalHits",
    "true_classes: int64, sampled_candidates: int64 -> indices: int32, ids: int64, weights: float",
    num_true=attr("int"),
    **_SEEDS,
    host_only=True,
    dynamic_shape=True,
    differentiable=False,
    shape=_hits_shape,
)
