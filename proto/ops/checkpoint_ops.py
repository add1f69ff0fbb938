"""Ops that save tensors to checkpoints and restore them: definitions.

The ops of the V1 format (Save, SaveSlices, Restore, RestoreSlice) are left out: TensorFlow's own
Saver has not made them by default since version 1.0.
"""

from __future__ import annotations

from flowray.proto import errors
from flowray.proto.files.checkpoint.slices import parse_shape_and_slice
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types.shapes import Shape, merge_all, with_rank


def save_shape(c: ShapeContext) -> list[Shape]:
    """Checks the vectors of names and slices; there are no outputs."""
    with_rank(c.inputs[0], 0)
    for names in c.inputs[1:3]:
        (count,) = with_rank(names, 1)
        wanted = len(c.attr("dtypes"))
        if count is not None and count != wanted:
            raise ValueError(f"Dimension must be {wanted} but is {count}")
    return []


def restore_shape(c: ShapeContext) -> list[Shape]:
    """Returns the shapes that the slice specifications tell; unknown where they are empty."""
    with_rank(c.inputs[0], 0)
    merge_all([with_rank(c.inputs[1], 1), with_rank(c.inputs[2], 1)])
    count = len(c.attr("dtypes"))
    specs = c.constant(2)
    if specs is None:
        return [None] * count
    if specs.size != count:
        raise ValueError("The number of shape_and_slice doesn't match tensor outputs.")
    return [slice_shape(spec) for spec in specs]


def slice_shape(spec: bytes) -> Shape:
    """Returns the shape of the slice that a specification selects; None for an empty one."""
    if not spec:
        return None
    try:
        full, piece = parse_shape_and_slice(spec.decode())
    except errors.OpError as error:
        raise ValueError(error.message) from None
    return piece.shape(full)


def merge_shape(c: ShapeContext) -> list[Shape]:
    """Checks the prefixes; there are no outputs."""
    with_rank(c.inputs[0], 1)
    with_rank(c.inputs[1], 0)
    return []


def sharded_filename_shape(c: ShapeContext) -> Shape:
    """Returns a scalar; ValueError if an input is not a scalar."""
    for shape in c.inputs:
        with_rank(shape, 0)
    return ()


_TYPES = attr("list(type)", minimum=1)

op(
    "SaveV2",
    "prefix: string, tensor_names: string, shape_and_slices: string, tensors: [dtypes] ->",
    dtypes=_TYPES,
    stateful=True,
    host_only=True,
    shape=save_shape,
)
op(
    "RestoreV2",
    "prefix: string, tensor_names: string, shape_and_slices: string -> tensors: [dtypes]",
    dtypes=_TYPES,
    stateful=True,
    host_only=True,
    dynamic_shape=True,
    differentiable=False,
    shape=restore_shape,
)
op(
    "MergeV2Checkpoints",
    "checkpoint_prefixes: string, destination_prefix: string ->",
    delete_old_dirs=True,
    allow_missing_files=False,
    stateful=True,
    host_only=True,
    shape=merge_shape,
)
op(
    "ShardedFilename",
    "basename: string, shard: int32, num_shards: int32 -> filename: string",
    host_only=True,
    shape=sharded_filename_shape,
)
