"""Embedding lookups: the user's functions."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, colocate_with, name_scope
from flowray.client.framework.op_builder import apply_op
from flowray.client.ops.slice_ops import gather
from flowray.proto import dtypes
from flowray.proto.shapes import as_shape


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Any:
    """The rows ``ids`` of an embedding table, which may be split over several tensors.

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
    shards = list(params) if isinstance(params, list | tuple) else None
    if shards is None:
        partitions = getattr(params, "_get_variable_list", None)
        shards = list(partitions()) if callable(partitions) else [params]
    if not shards:
        raise ValueError(f"Need at least one param, got {params}")
    with name_scope(name, "embedding_lookup", [*shards, ids]) as scope:
        ids = convert_to_tensor(ids, name="ids")
        ids_rank = apply_op("Rank", ids) if ids.shape.rank is None else ids.shape.rank
        if len(shards) == 1:
            return _clipped(_gather(shards[0], ids), ids_rank, max_norm, scope)
        flat = apply_op("Reshape", ids, [-1])
        places = apply_op("Range", 0, apply_op("Size", flat), 1)
        shard_of, row_in_shard = _partition(flat, shards, partition_strategy)
        shard_of = apply_op("Cast", shard_of, DstT=dtypes.int32)
        rows = apply_op("DynamicPartition", row_in_shard, shard_of, num_partitions=len(shards))
        origins = apply_op("DynamicPartition", places, shard_of, num_partitions=len(shards))
        found = [_gather(p, r) for p, r in zip(shards, rows, strict=True)]
        stitched = apply_op("DynamicStitch", origins, found)
        row_shape = as_shape(shards[0].shape)[1:]
        for shard in shards[1:]:
            row_shape = row_shape.merge_with(as_shape(shard.shape)[1:])
        tail = (
            convert_to_tensor(row_shape.as_list(), dtypes.int32)
            if row_shape.is_fully_defined()
            else apply_op("StridedSlice", apply_op("Shape", shards[0]), [1], [0], [1], end_mask=1)
        )
        shape = apply_op("ConcatV2", [apply_op("Shape", ids), tail], 0)
        result = apply_op("Reshape", stitched, shape)
        result.set_shape(ids.shape.concatenate(row_shape))
        return _clipped(result, ids_rank, max_norm, scope)


def _partition(ids: Tensor, shards: list[Any], strategy: str) -> tuple[Any, Any]:
    """The shard of each id, and its row there."""
    count = convert_to_tensor(len(shards), ids.dtype.base_dtype)
    if strategy == "mod":
        return apply_op("FloorMod", ids, count), apply_op("FloorDiv", ids, count)
    if strategy != "div":
        raise ValueError("Unrecognized partition strategy: " + strategy)
    sizes = [as_shape(shard.shape)[0].value for shard in shards]
    if all(size is not None for size in sizes):
        total: Any = convert_to_tensor(sum(s or 0 for s in sizes), ids.dtype.base_dtype)
    else:
        lengths = [
            apply_op("StridedSlice", apply_op("Shape", s), [0], [1], [1], shrink_axis_mask=1)
            for s in shards
        ]
        total = apply_op("Cast", apply_op("AddN", lengths), DstT=ids.dtype.base_dtype)
    # The first ``extras`` shards have one row more than the others.
    per_shard, extras = apply_op("FloorDiv", total, count), apply_op("FloorMod", total, count)
    shard_of = apply_op(
        "Maximum",
        apply_op("FloorDiv", ids, per_shard + 1),
        apply_op("FloorDiv", ids - extras, per_shard),
    )
    row = apply_op(
        "Select",
        apply_op("Less", shard_of, extras),
        apply_op("FloorMod", ids, per_shard + 1),
        apply_op("FloorMod", ids - extras, per_shard),
    )
    return shard_of, row


def _gather(params: Any, ids: Any) -> Any:
    """The rows, read where the table is."""
    with colocate_with(params):
        return gather(params, ids)


def _clipped(rows: Any, ids_rank: Any, max_norm: float | None, name: str) -> Any:
    """Scales down embeddings whose norm, over all axes but those of the ids, is above it."""
    if max_norm is None:
        return apply_op("Identity", rows, name=name)
    axes = apply_op("Range", ids_rank, apply_op("Rank", rows), 1)
    norm = apply_op("Sqrt", apply_op("Sum", apply_op("Square", rows), axes, keep_dims=True))
    limit = convert_to_tensor(max_norm, rows.dtype.base_dtype)
    scaled = rows * apply_op("RealDiv", limit, apply_op("Maximum", norm, limit))
    return apply_op("Identity", scaled, name=name)
