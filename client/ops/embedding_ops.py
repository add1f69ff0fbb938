"""User functions for lookups in embedding tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import colocate_with, name_scope
from flowray.client.framework.op_builder import apply_op
from flowray.client.framework.sparse_tensor import SparseTensor
from flowray.client.ops import array_ops, math_ops, reduction_ops
from flowray.client.ops.clip_ops import clip_by_norm
from flowray.client.ops.slice_ops import dynamic_partition, gather, unique, where
from flowray.client.platform import logging
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import as_shape


def shards_of(params: Any) -> list[Any]:
    """Returns the tensors or variables of a list, of a partitioned variable, or of one of them.

    Arrays, lists and numbers become constants.
    """
    get_parts = getattr(params, "_get_variable_list", None)
    if isinstance(params, list | tuple):
        parts = list(params)
    else:
        parts = [params] if get_parts is None else list(get_parts())
    return [
        convert_to_tensor(p, name="params")
        if isinstance(p, np.ndarray | np.generic | list | tuple | float | int)
        else p
        for p in parts
    ]


@tf_export("nn.embedding_lookup")
def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Any:
    """Looks up the rows ``ids`` of an embedding table, which may be split over several tensors.

    Args:
        params: a table ``[rows, ...]``, or a list of its shards (or a partitioned variable).
        ids: int32 or int64 tensor of row numbers.
        partition_strategy: how rows are spread over the shards: ``"mod"``, row ``i`` in shard
            ``i % n``; ``"div"``, in contiguous stretches.
        validate_indices: ignored, as in TensorFlow: indices are always checked.
        max_norm: embeddings with a larger l2 norm are scaled down to it.

    Returns:
        A tensor of shape ``ids.shape + params.shape[1:]``.
    """
    shards = shards_of(params)
    if not shards:
        raise ValueError(f"Need at least one param, got {params}")
    with name_scope(name, "embedding_lookup", [*shards, ids]) as scope:
        ids = convert_to_tensor(ids, name="ids")
        if len(shards) == 1:
            with colocate_with(shards[0]):
                rows = _clipped(gather(shards[0], ids, name=scope), ids, max_norm)
            # The result itself need not be where the table is.
            return array_ops.identity(rows)
        flat = array_ops.reshape(ids, [-1])
        places = math_ops.range(array_ops.size(flat))
        shard_of, row_in_shard = _partition(flat, shards, partition_strategy)
        shard_of = math_ops.cast(shard_of, dtypes.int32)
        rows = dynamic_partition(row_in_shard, shard_of, len(shards))
        origins = dynamic_partition(places, shard_of, len(shards))
        found = []
        for shard, wanted in zip(shards, rows, strict=True):
            with colocate_with(shard):
                found.append(gather(shard, wanted))
        stitched = apply_op("ParallelDynamicStitch", origins, found, name=scope)
        row_shape = as_shape(shards[0].shape)[1:]
        for shard in shards[1:]:
            row_shape = row_shape.merge_with(as_shape(shard.shape)[1:])
        tail: Any = row_shape
        if not row_shape.is_fully_defined():
            with colocate_with(shards[0]):
                tail = array_ops.shape(shards[0])[1:]
        shape = array_ops.concat([array_ops.shape(ids), tail], 0)
        result = array_ops.reshape(stitched, shape)
        result.set_shape(ids.shape.concatenate(row_shape))
        return _clipped(result, ids, max_norm)


@tf_export("nn.embedding_lookup_sparse")
def embedding_lookup_sparse(
    params: Any,
    sp_ids: SparseTensor,
    sp_weights: SparseTensor | None,
    partition_strategy: str = "mod",
    name: str | None = None,
    combiner: str | None = None,
    max_norm: float | None = None,
) -> Any:
    """Looks up and combines the embeddings of each example's ids.

    Args:
        params, partition_strategy, max_norm: as for ``embedding_lookup``.
        sp_ids: int64 SparseTensor ``[batch, ...]`` of row numbers, in order. Examples without any
            get zeros, but those after the last one that has some are left out.
        sp_weights: a SparseTensor with the same indices; None counts all ids alike.
        combiner: ``"sum"``, ``"mean"`` (the default) or ``"sqrtn"``: the weighted sum; divided by
            the sum of the weights; or by the root of the sum of their squares.

    Returns:
        A tensor ``[batch] + params.shape[1:]``.
    """
    if combiner is None:
        logging.warning(
            'The default value of combiner will change from "mean" to "sqrtn" after 2016/11/01.'
        )
        combiner = "mean"
    if combiner not in ("mean", "sqrtn", "sum"):
        raise ValueError("combiner must be one of 'mean', 'sqrtn' or 'sum'")
    shards = shards_of(params)
    for given in (sp_ids, sp_weights):
        if not isinstance(given, SparseTensor | None):
            raise TypeError("sp_ids and sp_weights must be SparseTensor")
    if sp_weights is not None:
        for mine, other in (
            (sp_ids.values, sp_weights.values),
            (sp_ids.indices, sp_weights.indices),
            (sp_ids.dense_shape, sp_weights.dense_shape),
        ):
            mine.shape.assert_is_compatible_with(other.shape)
    with name_scope(name, "embedding_lookup_sparse", [*shards, sp_ids.values]) as scope:
        examples = math_ops.cast(sp_ids.indices[:, 0], dtypes.int32)
        ids, places = unique(sp_ids.values)
        rows = embedding_lookup(
            shards, ids, partition_strategy=partition_strategy, max_norm=max_norm
        )
        if sp_weights is not None:
            return _weighted(rows, places, sp_weights.values, examples, combiner, scope)
        combine = {
            "sum": reduction_ops.sparse_segment_sum,
            "mean": reduction_ops.sparse_segment_mean,
            "sqrtn": reduction_ops.sparse_segment_sqrt_n,
        }[combiner]
        return combine(rows, places, examples, name=scope)


def _weighted(
    rows: Any, places: Any, weights: Any, examples: Any, combiner: str, scope: str
) -> Any:
    rows = gather(rows, places)
    weights = math_ops.cast(weights, rows.dtype)
    more = array_ops.expand_dims(array_ops.rank(rows) - 1, 0)
    ones = array_ops.ones(more, dtypes.int32)
    shape = array_ops.concat([array_ops.shape(weights), ones], 0)
    static = weights.shape
    weights = array_ops.reshape(weights, shape)
    if rows.shape.rank is not None:
        weights.set_shape(static.concatenate([1] * (rows.shape.rank - 1)))
    rows *= weights
    if combiner == "sum":
        return reduction_ops.segment_sum(rows, examples, name=scope)
    total = reduction_ops.segment_sum(rows, examples)
    if combiner == "mean":
        return math_ops.div_no_nan(total, reduction_ops.segment_sum(weights, examples), name=scope)
    squares = reduction_ops.segment_sum(math_ops.pow(weights, 2), examples)
    return math_ops.div_no_nan(total, math_ops.sqrt(squares), name=scope)


def _partition(ids: Any, shards: list[Any], strategy: str) -> tuple[Any, Any]:
    """Returns the shard of each id, and its row there."""
    count = len(shards)
    if strategy == "mod":
        return ids % count, ids // count
    if strategy != "div":
        raise ValueError("Unrecognized partition strategy: " + strategy)
    sizes = [as_shape(shard.shape)[0].value for shard in shards]
    if all(size is not None for size in sizes):
        total: Any = constant(sum(s or 0 for s in sizes), ids.dtype.base_dtype)
    else:
        total = math_ops.cast(
            math_ops.add_n([array_ops.shape(s)[0] for s in shards]), ids.dtype.base_dtype
        )
    # The first ``extras`` shards have one row more than the others.
    per_shard, extras = total // count, total % count
    shard_of: Any = math_ops.maximum(ids // (per_shard + 1), (ids - extras) // per_shard)
    row = where(shard_of < extras, ids % (per_shard + 1), (ids - extras) % per_shard)
    return shard_of, row


def _clipped(rows: Any, ids: Any, max_norm: float | None) -> Any:
    """Scales down embeddings whose norm, over all axes but those of the ids, is above it."""
    if max_norm is None:
        return rows
    ids_rank, rank = ids.shape.rank, rows.shape.rank
    axes: Any
    if ids_rank is None or rank is None:
        axes = math_ops.range(array_ops.rank(ids), array_ops.rank(rows))
    else:
        axes = list(range(ids_rank, rank))
    return clip_by_norm(rows, max_norm, axes)
